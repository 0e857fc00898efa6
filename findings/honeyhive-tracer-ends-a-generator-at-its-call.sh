#!/usr/bin/env bash
# honeyhive 1.7.0: @trace takes generator functions without a word, and its span ends when the
# generator is made, before the first item: the output is the text of the generator object, and a
# traced function that the generator's body calls is no child of it but the root of another trace.
# A streamed answer, which is what generators are used for in these programs, has no duration and
# no text. The same holds for async generators.
#
# Seen with Python 3.11 and honeyhive 1.7.0, against a server that answers each request with 200:
#
#     stream: output "<generator object ...>", ended before its first item: True, children: 0
#     astream: output "<async_generator object ...>", ended before its first item: True, children: 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet honeyhive==1.7.0
cat >"$work/look.py" <<'PY'
import asyncio
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SESSION = "5e551000-0000-4000-8000-000000000001"
bodies = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        names = ("session_id", "event_id", "org_id", "workspace_id", "project_id")
        answer = json.dumps(dict.fromkeys(names, SESSION)).encode()
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

tracer = HoneyHiveTracer.init(
    api_key="hh_" + "x" * 32, server_url=f"http://127.0.0.1:{server.server_port}"
)
first_item_at = {}


@trace(tracer=tracer)
def look_up(word):
    return word


@trace(tracer=tracer)
def stream():
    for word in ("Hello", "there"):
        first_item_at.setdefault("stream", time.time_ns())
        yield look_up(word)


@trace(tracer=tracer)
async def astream():
    for word in ("Hello", "there"):
        first_item_at.setdefault("astream", time.time_ns())
        yield look_up(word)


async def read():
    async for _ in astream():
        await asyncio.sleep(0.01)


for _ in stream():
    time.sleep(0.01)
asyncio.run(read())
tracer.force_flush()
spans = [
    span
    for path, body in bodies
    if path.endswith("/v1/traces")
    for resource in json.loads(body)["resourceSpans"]
    for scope in resource["scopeSpans"]
    for span in scope["spans"]
]
for name in ("stream", "astream"):
    [span] = [s for s in spans if s["name"].endswith(f".{name}") or s["name"] == name]
    values = {a["key"]: a["value"] for a in span["attributes"]}
    output = re.sub(" object .*", ' object ...>"', values["honeyhive_outputs.result"]["stringValue"])
    ended = int(span["endTimeUnixNano"]) < first_item_at[name]
    children = sum(s["parentSpanId"] == span["spanId"] for s in spans)
    print(f"{name}: output {output}, ended before its first item: {ended}, children: {children}")
PY
cd "$work"
seen=$(venv/bin/python look.py 2>/dev/null)
echo "$seen"
[ "$seen" = 'stream: output "<generator object ...>", ended before its first item: True, children: 0
astream: output "<async_generator object ...>", ended before its first item: True, children: 0' ]
