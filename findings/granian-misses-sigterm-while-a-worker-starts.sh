#!/usr/bin/env bash
# granian 2.8.9: SIGTERM that comes while a worker imports the app stops the main process from
# spawning, but is lost on the worker: it was forked with the main process's handler, which only
# notes that there was a signal, and sets one of its own after the import. So the worker goes on
# to start, serves requests, and never ends, and the main process waits for it without a limit,
# unless --workers-kill-timeout is set. A second SIGTERM changes nothing.
#
# Seen with Python 3.11 and granian 2.8.9:
#
#     SIGTERM while it serves: it ends
#     SIGTERM while it imports: it serves on, and so after a second SIGTERM
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet granian==2.8.9
cat >"$work/app.py" <<'PY'
import time

print("imports", flush=True)
time.sleep(2)


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
PY
cat >"$work/look.py" <<'PY'
import os
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen


def look(line):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "granian", "app:app", "--interface", "asginl"]
            + ["--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            while line not in server.stdout.readline():
                pass
            server.terminate()
            try:
                server.wait(5)
                return "it ends"
            except subprocess.TimeoutExpired:
                server.terminate()
            try:
                server.wait(5)
                return "it ends at the second"
            except subprocess.TimeoutExpired:
                assert urlopen(f"http://127.0.0.1:{port}").status == 200
                return "it serves on, and so after a second SIGTERM"
        finally:
            try:
                os.killpg(server.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            server.communicate()


print("SIGTERM while it serves:", look("Started worker-1"))
print("SIGTERM while it imports:", look("imports"))
PY
said=$(cd "$work" && "$work/venv/bin/python" look.py)
printf '%s\n' "$said"
[ "$said" = 'SIGTERM while it serves: it ends
SIGTERM while it imports: it serves on, and so after a second SIGTERM' ] ||
  { echo 'this has changed' >&2; exit 1; }
