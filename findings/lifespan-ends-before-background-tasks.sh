#!/usr/bin/env bash
# granian 2.8.9 and gunicorn 27.0.1 (its own ASGI worker): Starlette says that "the lifespan
# teardown will run once all connections have been closed, and any in-process background tasks
# have completed". That is so under uvicorn 0.54.0. These two wait for responses, and a background
# task begins after its response: they shut the lifespan down while it runs, and end the process
# before it is done; gunicorn cancels it, granian leaves it where it is, without its finally.
#
# Seen with Python 3.11 and Starlette 1.10.0, SIGTERM with one task of two seconds under way:
#
#     uvicorn: response, task ended, teardown
#     granian: response, teardown
#     gunicorn: response, teardown, task cancelled
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet \
  granian==2.8.9 gunicorn==27.0.1 starlette==1.10.0 uvicorn==0.54.0
cat >"$work/app.py" <<'PY'
import asyncio
import os
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def say(words):
    os.write(2, f"* {words}\n".encode())


@asynccontextmanager
async def lifespan(app):
    yield
    say("teardown")


async def task():
    try:
        await asyncio.sleep(2)
        say("task ended")
    except asyncio.CancelledError:
        say("task cancelled")
        raise


async def root(request):
    return PlainTextResponse("", background=BackgroundTask(task))


app = Starlette(routes=[Route("/", root)], lifespan=lifespan)
PY
cat >"$work/look.py" <<'PY'
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen


def look(name, *options):
    with socket.socket() as taken:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            taken.setsockopt(socket.SOL_SOCKET, option, 1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        words = [option.format(port=port) for option in options]
        server = subprocess.Popen(
            [sys.executable, "-m", name, "app:app", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}").read()
                break
            except URLError:
                assert server.poll() is None
                time.sleep(0.1)
    server.terminate()
    said = server.communicate()[1].splitlines()
    print(f"{name}:", ", ".join(["response", *(s[2:] for s in said if s.startswith("* "))]))


look("uvicorn", "--port", "{port}")
look("granian", "--port", "{port}", "--interface", "asgi")
look("gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "asgi")
PY
# Where gunicorn has a socket of its own.
said=$(cd "$work" && XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" look.py)
printf '%s\n' "$said"
[ "$said" = 'uvicorn: response, task ended, teardown
granian: response, teardown
gunicorn: response, teardown, task cancelled' ] || { echo 'this has changed' >&2; exit 1; }
