#!/usr/bin/env bash
# gunicorn 27.0.1, its own ASGI worker: on SIGTERM the worker waits for open responses for
# `graceful_timeout`, then gives them up ("Forcing close of … connections") and shuts the lifespan
# down. But the master, which waits for as long, began earlier and kills the worker first: where
# one response is open for too long, nothing of the app's shutdown code ever runs, whatever
# `graceful_timeout` is. A worker with a shorter one than its master does as was meant.
#
# Seen with Python 3.11 and gunicorn 27.0.1:
#
#     graceful_timeout 3 for both: killed while it waits
#     graceful_timeout 6, and 1 in the worker: lifespan.shutdown, then the end
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet gunicorn==27.0.1
cat >"$work/app.py" <<'PY'
import asyncio

from gunicorn.workers.gasgi import ASGIWorker


class Shorter(ASGIWorker):
    def init_process(self):
        self.cfg.set("graceful_timeout", 1)
        super().init_process()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            print(stage, flush=True)
            await send({"type": f"lifespan.{stage}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.sleep(3600)
PY
cat >"$work/look.py" <<'PY'
import subprocess
import sys
import socket


def look(timeout, worker):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "app:app", "--worker-class", worker]
            + ["--graceful-timeout", str(timeout), "--bind", f"fd://{listener.fileno()}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[listener.fileno()],
        )
    with socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"begun" not in client.recv(4096):
            pass
        server.terminate()
        said, log = server.communicate()
    if "shutdown" in said.split():
        return "lifespan.shutdown, then the end"
    return log if "Forcing close" in log else "killed while it waits"


print("graceful_timeout 3 for both:", look(3, "asgi"))
print("graceful_timeout 6, and 1 in the worker:", look(6, "app.Shorter"))
PY
# Where gunicorn has a socket of its own.
said=$(cd "$work" && XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" look.py)
printf '%s\n' "$said"
[ "$said" = 'graceful_timeout 3 for both: killed while it waits
graceful_timeout 6, and 1 in the worker: lifespan.shutdown, then the end' ] ||
  { echo 'this has changed' >&2; exit 1; }
