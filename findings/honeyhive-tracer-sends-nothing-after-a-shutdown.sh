#!/usr/bin/env bash
# honeyhive 1.7.0: after tracer.shutdown(), a tracer that the same process initializes anew starts
# its session, and then sends no span: nothing is raised, and force_flush returns. A test suite
# that has a tracer for each test, or a server that restarts its app in the process, traces the
# first time only.
#
# Seen with Python 3.11 and honeyhive 1.7.0, against a server that answers each request with 200:
#
#     first: sessions started 1, spans 1
#     second: sessions started 1, spans 0
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



def run(name):
    global starts
    starts = 0
    bodies.clear()
    tracer = init(name)

    @trace(tracer=tracer)
    def work():
        pass

    work()
    tracer.force_flush()
    tracer.shutdown()
    print(f"{name}: sessions started {starts}, spans {len(spans())}")


run("first")
run("second")
PY
cd "$work"
seen=$(venv/bin/python look.py 2>/dev/null)
echo "$seen"
[ "$seen" = 'first: sessions started 1, spans 1
second: sessions started 1, spans 0' ]
