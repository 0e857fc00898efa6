#!/usr/bin/env bash
# OpenLLMetry 0.62.4 (opentelemetry-instrumentation-openai): an answer of OpenAI's Responses API
# that max_output_tokens cut, with the status "incomplete", leaves no span, though it was answered
# and is billed: the calls that use up their limit are the ones that are not counted. Streamed, the
# same answer has its span, with the finish reason "length", so totals depend on who streams.
#
# Seen with Python 3.11, opentelemetry-instrumentation-openai 0.62.4 and openai 3.57.0:
#
#     whole, completed: 42 tokens billed, 42 on 1 span
#     whole, incomplete: 42 tokens billed, 0 on 0 spans
#     streamed, completed: 42 tokens billed, 42 on 1 span
#     streamed, incomplete: 42 tokens billed, 42 on 1 span
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  openai==3.57.0 opentelemetry-sdk==1.45.2 opentelemetry-instrumentation-openai==0.62.4
cat >"$work/look.py" <<'PY'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

status = "completed"


def response() -> dict:
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": f"resp_{os.urandom(4).hex()}",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4o-mini",
        "status": status,
        "incomplete_details": cut,
        "error": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": status,
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
            }
        ],
        "usage": {
            "input_tokens": 30,
            "output_tokens": 12,
            "total_tokens": 42,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


class OpenAI(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        final, kind = response(), "application/json"
        body = json.dumps(final)
        if asked.get("stream"):
            first = final | {"status": "in_progress", "output": [], "usage": None}
            events = (
                {"type": "response.created", "sequence_number": 0, "response": first},
                {"type": f"response.{status}", "sequence_number": 1, "response": final},
            )
            body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
            kind = "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


server = ThreadingHTTPServer(("127.0.0.1", 0), OpenAI)
threading.Thread(target=server.serve_forever, daemon=True).start()

import openai
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
OpenAIInstrumentor().instrument(tracer_provider=provider)
client = openai.OpenAI(api_key="key", base_url=f"http://127.0.0.1:{server.server_port}/v1")


def ask(stream: bool) -> openai.types.responses.Response:
    answer = client.responses.create(
        model="gpt-4o-mini", input="Hi", max_output_tokens=16, stream=stream
    )
    return list(answer)[-1].response if stream else answer


for stream in (False, True):
    for status in ("completed", "incomplete"):
        answer = ask(stream)
        assert answer.status == status
        told = spans.get_finished_spans()
        spans.clear()
        tokens = sum(
            span.attributes[f"gen_ai.usage.{kind}_tokens"]
            for span in told
            for kind in ("input", "output")
        )
        billed = answer.usage.total_tokens
        plural = "" if len(told) == 1 else "s"
        how = "streamed" if stream else "whole"
        print(f"{how}, {status}: {billed} tokens billed, {tokens} on {len(told)} span{plural}")
PY
unset HTTP_PROXY HTTPS_PROXY
seen=$("$work/venv/bin/python" "$work/look.py" 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'whole, completed: 42 tokens billed, 42 on 1 span
whole, incomplete: 42 tokens billed, 0 on 0 spans
streamed, completed: 42 tokens billed, 42 on 1 span
streamed, incomplete: 42 tokens billed, 42 on 1 span' ] ||
  { echo 'this has changed' >&2; exit 1; }
