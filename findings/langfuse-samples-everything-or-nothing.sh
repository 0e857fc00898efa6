#!/usr/bin/env bash
# langfuse 5.0.4: Langfuse(sample_rate=…), by its docstring a "sampling rate for traces", is the
# sampler of the program's tracer provider if langfuse is the first that needs one: the spans of
# all other instrumentations are thinned out with it, for every exporter. If the program has set its
# own provider before, or passes one, the rate does nothing and nothing is said of it, though a
# useless id_generator is warned about in the same place. So the order of two lines decides between
# no span for anybody and all spans for Langfuse. Shown with a rate of 0, to be the same each time.
#
# Seen with Python 3.11, langfuse 5.0.4, openai 3.57.0 and
# opentelemetry-instrumentation-genai-openai 1.3b0, for 4 model calls in requests of their own:
#
#     langfuse first: the app's exporter 0 of 8 spans, Langfuse's 0 of 4
#     provider first: the app's exporter 8 of 8 spans, Langfuse's 4 of 4
#     provider passed: the app's exporter 8 of 8 spans, Langfuse's 4 of 4
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  openai==3.57.0 langfuse==5.0.4 opentelemetry-sdk==1.45.2 \
  opentelemetry-instrumentation-genai-openai==1.3b0
cat >"$work/look.py" <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "id": "chatcmpl_1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class OpenAI(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


server = ThreadingHTTPServer(("127.0.0.1", 0), OpenAI)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

import openai
from langfuse import Langfuse
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

how = sys.argv[1]
told_langfuse, told_app = InMemorySpanExporter(), InMemorySpanExporter()


def langfuse(**more: object) -> Langfuse:
    return Langfuse(
        public_key="pk-lf-1",
        secret_key="sk-lf-1",
        base_url=url,
        sample_rate=0.0,
        span_exporter=told_langfuse,
        **more,
    )


if how == "langfuse first":
    client = langfuse()
elif how == "provider first":
    trace.set_tracer_provider(TracerProvider())
    client = langfuse()
else:
    trace.set_tracer_provider(TracerProvider())
    client = langfuse(tracer_provider=trace.get_tracer_provider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(told_app))
OpenAIInstrumentor().instrument()

model = openai.OpenAI(api_key="key", base_url=f"{url}/v1")
for _ in range(4):
    with trace.get_tracer("app").start_as_current_span("GET /"):
        hi = [{"role": "user", "content": "Hi"}]
        model.chat.completions.create(model="gpt-4o-mini", messages=hi)
client.flush()
app, own = (len(told.get_finished_spans()) for told in (told_app, told_langfuse))
print(f"{how}: the app's exporter {app} of 8 spans, Langfuse's {own} of 4")
PY
unset HTTP_PROXY HTTPS_PROXY
seen=$(for how in 'langfuse first' 'provider first' 'provider passed'; do
  "$work/venv/bin/python" "$work/look.py" "$how" 2>>"$work/said"
done)
printf '%s\n' "$seen"
[ "$seen" = "langfuse first: the app's exporter 0 of 8 spans, Langfuse's 0 of 4
provider first: the app's exporter 8 of 8 spans, Langfuse's 4 of 4
provider passed: the app's exporter 8 of 8 spans, Langfuse's 4 of 4" ] &&
  ! grep --ignore-case sampl "$work/said" || { echo 'this has changed' >&2; exit 1; }
