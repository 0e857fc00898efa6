#!/usr/bin/env bash
# pydantic-ai-slim 2.68.0 (PyPI) with anthropic 2.14.0 and no max_tokens of the program's own: for
# each answer it first calls messages.create without a stream, which the client refuses before any
# request since that many tokens may take more than ten minutes, and then again with a stream. Where
# the client is instrumented, each call that went well leaves a span with status ERROR as well as
# the one of the answer: twice the calls, and half of them failures that nobody saw.
#
# Seen with Python 3.11, pydantic-ai-slim 2.68.0, anthropic 2.14.0 and
# opentelemetry-instrumentation-genai-anthropic 1.3b0, for one answer:
#
#     requests: 1
#     pydantic-ai: UNSET
#     client: ERROR Streaming is required for operations that may take longer than 10 minutes
#     client: UNSET
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  'pydantic-ai-slim[anthropic]==2.68.0' anthropic==2.14.0 opentelemetry-sdk==1.45.2 \
  opentelemetry-instrumentation-genai-anthropic==1.3b0
cat >"$work/look.py" <<'PY'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

requests = 0

USAGE = {"input_tokens": 1, "output_tokens": 1}
EVENTS = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": USAGE,
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": USAGE,
    },
    {"type": "message_stop"},
)


class Claude(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        global requests
        requests += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in EVENTS:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_: object) -> None: ...


server = ThreadingHTTPServer(("127.0.0.1", 0), Claude)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["ANTHROPIC_API_KEY"] = "key"
os.environ["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"

from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent, InstrumentationSettings

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
AnthropicInstrumentor().instrument(tracer_provider=provider)
Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
assert Agent("anthropic:claude-sonnet-4-6").run_sync("Hi").output == "Hi"

print("requests:", requests)
lines = []
for span in spans.get_finished_spans():
    if (span.attributes or {}).get("gen_ai.operation.name") == "chat":
        scope = span.instrumentation_scope
        by = "client" if scope and "anthropic" in scope.name else "pydantic-ai"
        why = (span.status.description or "").partition(".")[0]
        lines.append(f"{by}: {span.status.status_code.name} {why}".rstrip())
print(*sorted(lines, key=lambda line: (line < "p", line)), sep="\n")
PY
seen=$(env --unset=HTTP_PROXY --unset=HTTPS_PROXY "$work/venv/bin/python" "$work/look.py" 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = $'requests: 1\npydantic-ai: UNSET\nclient: ERROR Streaming is required for operations that may take longer than 10 minutes\nclient: UNSET' ] ||
  { echo 'this has changed' >&2; exit 1; }
