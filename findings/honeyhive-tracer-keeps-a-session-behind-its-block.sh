#!/usr/bin/env bash
# honeyhive 1.7.0: "with tracer.with_session(...)" begins a session and does not end with its block.
# What is traced behind the block still belongs to the inner session, not to the one that the
# tracer was initialized with, so a worker that handles one job per block files all that it does
# between two jobs, such as fetching the next one, with the job before.
#
# Seen with Python 3.11 and honeyhive 1.7.0, against a server that numbers the sessions it starts:
#
#     before the block: session 1
#     inside the block: session 2
#     behind the block: session 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet honeyhive==1.7.0
cat >"$work/look.py" <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

bodies = []
starts = 0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        global starts
        body = self.rfile.read(int(self.headers["Content-Length"]))
        bodies.append((self.path, body))
        starts += self.path == "/session/start"
        names = ("session_id", "event_id", "org_id", "workspace_id", "project_id")
        answer = json.dumps(dict.fromkeys(names, f"5e551000-0000-4000-8000-{starts:012}")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

from honeyhive import HoneyHiveTracer, trace


def init(name):
    url = f"http://127.0.0.1:{server.server_port}"
    return HoneyHiveTracer.init(api_key="hh_" + "x" * 32, server_url=url, session_name=name)


def spans():
    return [
        span
        for path, body in bodies
        if path.endswith("/v1/traces")
        for resource in json.loads(body)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


tracer = init("outer")


@trace(tracer=tracer, event_name="before the block")
def before():
    pass


@trace(tracer=tracer, event_name="inside the block")
def inside():
    pass


@trace(tracer=tracer, event_name="behind the block")
def behind():
    pass


before()
with tracer.with_session("inner"):
    inside()
behind()
tracer.force_flush()
for span in spans():
    values = {a["key"]: a["value"] for a in span["attributes"]}
    print(f"{span['name']}: session {int(values['honeyhive.session_id']['stringValue'][-12:])}")
PY
cd "$work"
seen=$(venv/bin/python look.py 2>/dev/null)
echo "$seen"
[ "$seen" = 'before the block: session 1
inside the block: session 2
behind the block: session 2' ]
