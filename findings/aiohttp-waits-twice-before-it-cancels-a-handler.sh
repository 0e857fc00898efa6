#!/usr/bin/env bash
# aiohttp's server says of its shutdown: wait for handlers up to shutdown_timeout; then close what is
# left and cancel their handlers, and wait for these, again up to shutdown_timeout. But a handler
# that awaits anything else than the body of its request hears of no cancellation between the two:
# RequestHandler.shutdown sets an exception on the payload, waits once more for the handler, which
# goes on as before, and cancels its task only after that. So a slow handler runs for twice the
# timeout: a server with the default of 60 seconds takes two minutes to end, and Kubernetes' 30
# seconds are over before any `except CancelledError` or cleanup context of the app runs.
#
# Seen with Python 3.11 and aiohttp 3.14.5; times are in units of shutdown_timeout:
#
#     a handler that sleeps: cancelled after 2
#     a handler that reads its body: CancelledError in read() after 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet aiohttp==3.14.5
cat >"$work/look.py" <<'PY'
import asyncio
import time

from aiohttp import web

TIMEOUT = 2.0  # seconds


async def look(what: str) -> None:
    ending = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        ending.set()
        began = time.monotonic()
        try:
            if what == "reads its body":
                await request.read()
            else:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            after = round((time.monotonic() - began) / TIMEOUT)
            where = "CancelledError in read()" if what == "reads its body" else "cancelled"
            print(f"a handler that {what}: {where} after {after}")
            raise
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=TIMEOUT)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    # A body that never comes to its end.
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody")
    await ending.wait()
    await runner.cleanup()
    writer.close()


async def main() -> None:
    await look("sleeps")
    await look("reads its body")


asyncio.run(main())
PY
seen=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$seen"
[ "$seen" = 'a handler that sleeps: cancelled after 2
a handler that reads its body: CancelledError in read() after 1' ] || { echo 'this has changed' >&2; exit 1; }
