#!/usr/bin/env bash
# uvicorn 0.54.0: with --timeout-graceful-shutdown, which is to "start terminating requests" after
# that time, it calls cancel() on them and shuts the lifespan down without waiting for any: the
# app's shutdown code closes pools and clients while the requests, in their finally blocks, still
# use them. An await in such a block is enough.
#
# Seen with Python 3.11 and uvicorn 0.54.0:
#
#     request cancelled
#     lifespan.shutdown
#     request's cleanup ended
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uvicorn==0.54.0
cat >"$work/app.py" <<'PY'
import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            if stage == "shutdown":
                print("lifespan.shutdown", flush=True)
                await asyncio.sleep(0.5)  # as it takes to close what the requests use
            await send({"type": f"lifespan.{stage}.complete"})
        return
    print("asked", flush=True)
    try:
        await asyncio.sleep(3600)
    finally:
        print("request cancelled", flush=True)
        await asyncio.sleep(0.1)
        print("request's cleanup ended", flush=True)
PY
cat >"$work/look.py" <<'PY'
import socket
import subprocess
import sys

with socket.create_server(("127.0.0.1", 0)) as listener:
    address = listener.getsockname()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app:app", "--timeout-graceful-shutdown", "1"]
        + ["--fd", str(listener.fileno()), "--log-level", "critical"],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[listener.fileno()],
    )
with socket.create_connection(address) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert server.stdout.readline() == "asked\n"
    server.terminate()
    print(server.communicate()[0], end="")
PY
said=$(cd "$work" && "$work/venv/bin/python" look.py)
printf '%s\n' "$said"
[ "$said" = "request cancelled
lifespan.shutdown
request's cleanup ended" ] || { echo 'this has changed' >&2; exit 1; }
