#!/usr/bin/env bash
# Sanic waits GRACEFUL_SHUTDOWN_TIMEOUT, 15 seconds by default, for requests that are open at
# SIGTERM, aborts them, and calls after_server_stop. But its worker manager gives every worker
# 10 seconds (WorkerProcess.exit: 100 times 0.1), whatever that setting says, and then ends itself,
# and with it its daemonic workers: the loop stops in the middle of the wait, "Event loop stopped
# before Future completed", and after_server_stop is never called. So with the defaults one slow
# request is enough that no cleanup runs, and a larger timeout changes nothing. With a timeout that
# leaves time below the ten seconds the listener is called.
#
# Seen with Python 3.11 and Sanic 25.12.1; one request is open that takes a minute:
#
#     GRACEFUL_SHUTDOWN_TIMEOUT as it is, 15.0: no after_server_stop
#     GRACEFUL_SHUTDOWN_TIMEOUT = 1.0: after_server_stop
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet sanic==25.12.1
cat >"$work/app.py" <<'PY'
import asyncio
import os
from pathlib import Path

from sanic import Request, Sanic, text

app = Sanic("app")
if timeout := os.environ.get("TIMEOUT"):
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = float(timeout)
said = Path(os.environ["SAID"])


@app.get("/")
async def slow(request: Request):
    said.write_text(f"{app.config.GRACEFUL_SHUTDOWN_TIMEOUT}: no after_server_stop")
    await asyncio.sleep(60)
    return text("done")


@app.after_server_stop
async def stop(app: Sanic) -> None:
    said.write_text(f"{app.config.GRACEFUL_SHUTDOWN_TIMEOUT}: after_server_stop")
PY
cat >"$work/look.py" <<'PY'
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

work = Path(sys.argv[1])
for form, environ in (("as it is, ", {}), ("= ", {"TIMEOUT": "1.0"})):
    said = work / f"said{len(environ)}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "sanic", "app:app", "--port", str(port)],
        cwd=work,
        env=os.environ | environ | {"SAID": str(said)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = None
    while client is None:
        try:
            client = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not said.exists():
        time.sleep(0.1)
    time.sleep(2)  # until the manager knows that its worker is up
    server.send_signal(signal.SIGTERM)
    server.wait()
    client.close()
    print(f"GRACEFUL_SHUTDOWN_TIMEOUT {form}{said.read_text()}")
PY
seen=$("$work/venv/bin/python" "$work/look.py" "$work")
printf '%s\n' "$seen"
[ "$seen" = 'GRACEFUL_SHUTDOWN_TIMEOUT as it is, 15.0: no after_server_stop
GRACEFUL_SHUTDOWN_TIMEOUT = 1.0: after_server_stop' ] || { echo 'this has changed' >&2; exit 1; }
