#!/usr/bin/env bash
# Hypercorn 0.18.0: on SIGTERM a request that is being answered has `graceful_timeout`, 3 seconds,
# to end, and then the app's lifespan is shut down. With several workers that holds for one of
# them only: as soon as the first worker has ended, usually one that had nothing to do, the main
# process sends SIGTERM to the others, whose workers have no handler for it. Their requests break
# off, and their lifespans are never shut down.
#
# Seen with Python 3.11 and Hypercorn 0.18.0, with one request of a second under way:
#
#     1 worker: answered, 1 lifespan of 1 shut down
#     2 workers: broken off, 1 lifespan of 2 shut down
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet hypercorn==0.18.0
cat >"$work/app.py" <<'PY'
import asyncio
import os


def say(word):
    os.write(1, f"{word}\n".encode())  # in one piece, whoever else writes


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            say(stage)
            await send({"type": f"lifespan.{stage}.complete"})
        return
    say("asked")
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})
PY
cat >"$work/look.py" <<'PY'
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.request import urlopen


def look(workers):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = subprocess.Popen(
            [sys.executable, "-m", "hypercorn", "app:app", "--workers", str(workers)]
            + ["--bind", f"fd://{listener.fileno()}", "--log-level", "critical"],
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[listener.fileno()],
        )
    said = [server.stdout.readline().strip() for _ in range(workers)]
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(lambda: urlopen(url).read().decode())
        said.append(server.stdout.readline().strip())
        server.terminate()
        try:
            answer = asking.result()
        except (OSError, HTTPException):
            answer = "broken off"
    said += server.communicate()[0].split()
    ended = f"{said.count('shutdown')} lifespan of {said.count('startup')} shut down"
    print(f"{workers} worker{'s' if workers > 1 else ''}: {answer}, {ended}")


look(1)
look(2)
PY
said=$(cd "$work" && "$work/venv/bin/python" look.py)
printf '%s\n' "$said"
[ "$said" = '1 worker: answered, 1 lifespan of 1 shut down
2 workers: broken off, 1 lifespan of 2 shut down' ] || { echo 'this has changed' >&2; exit 1; }
