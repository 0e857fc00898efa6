#!/usr/bin/env bash
# asyncio.timeout around a read, on CPython's own loop and on uvloop 0.22.1: where the loop was held
# up by a blocking call beyond the timeout, the read is cancelled although what it waited for had
# arrived in good time: when the caller gets its TimeoutError the bytes are in the StreamReader's
# buffer. The loop reads in that turn, too, but the task that waits is only made ready by that, and
# the timer's callback, which runs in the same turn, cancels it.
#
# Seen with Python 3.11 and uvloop 0.22.1; the peer answers at once, the loop blocks for 0.1 s, the
# timeout is 0.05 s:
#
#     asyncio: TimeoutError, in the buffer: 6 bytes
#     uvloop: TimeoutError, in the buffer: 6 bytes
#     asyncio, without a blocked loop: answer
#     uvloop, without a blocked loop: answer
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uvloop==0.22.1
cat >"$work/look.py" <<'PY'
import asyncio
import socket
import time

import uvloop


async def ask(hold: float) -> str:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def read() -> bytes:
        async with asyncio.timeout(0.05):
            return await reader.readexactly(6)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    theirs.send(b"answer")
    time.sleep(hold)  # the loop is blocked, beyond the timeout or not at all
    try:
        return (await reading).decode()
    except TimeoutError:
        return f"TimeoutError, in the buffer: {len(reader._buffer)} bytes"
    finally:
        theirs.close()
        writer.close()


for held, after in ((0.1, ""), (0.0, ", without a blocked loop")):
    for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        with asyncio.Runner(loop_factory=factory) as runner:
            print(f"{name}{after}: {runner.run(ask(held))}")
PY
seen=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$seen"
[ "$seen" = 'asyncio: TimeoutError, in the buffer: 6 bytes
uvloop: TimeoutError, in the buffer: 6 bytes
asyncio, without a blocked loop: answer
uvloop, without a blocked loop: answer' ] || { echo 'this has changed' >&2; exit 1; }
