#!/usr/bin/env bash
# LiteLLM 1.110.2, its OpenTelemetry callback: within a span of the program, such as the one that a
# web framework's instrumentation opens for a request, a model call that went well sets the status
# OK on that span, which is not LiteLLM's. In OpenTelemetry OK is final: if the request fails later,
# because the model's answer was no JSON for instance, its ERROR is ignored, and the span of the
# failed request says OK beside its exception. That the call's attributes are put on the span around
# it is documented; its status is not. USE_OTEL_LITELLM_REQUEST_SPAN=true, which gives the call a
# span of its own, prevents both.
#
# Seen with Python 3.11, litellm 1.110.2, openai 3.57.0 and opentelemetry-sdk 1.45.2, for a request
# that asks a model and then raises:
#
#     without the callback: ERROR, with exception
#     with the callback: OK, with exception
#     with a span of its own: ERROR, with exception
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  litellm==1.110.2 openai==3.57.0 opentelemetry-sdk==1.45.2
cat >"$work/look.py" <<'PY'
import asyncio
import json
import os
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
os.environ["OPENAI_API_KEY"] = "key"
os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))


async def request() -> None:
    with provider.get_tracer("app").start_as_current_span("POST /report"):
        answer = await litellm.acompletion(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Answer in JSON."}]
        )
        await asyncio.sleep(1)  # what else the request has to do
        json.loads(answer.choices[0].message.content)


def look(what: str) -> None:
    spans.clear()
    try:
        asyncio.run(request())
    except json.JSONDecodeError:
        (span,) = (span for span in spans.get_finished_spans() if span.name == "POST /report")
    exception = "with" if any(e.name == "exception" for e in span.events) else "without"
    print(f"{what}: {span.status.status_code.name}, {exception} exception")


look("without the callback")
config = OpenTelemetryConfig(exporter=InMemorySpanExporter())
litellm.callbacks = [OpenTelemetry(config, tracer_provider=provider)]
look("with the callback")
os.environ["USE_OTEL_LITELLM_REQUEST_SPAN"] = "true"
look("with a span of its own")
PY
unset HTTP_PROXY HTTPS_PROXY
seen=$("$work/venv/bin/python" "$work/look.py" 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'without the callback: ERROR, with exception
with the callback: OK, with exception
with a span of its own: ERROR, with exception' ] ||
  { echo 'this has changed' >&2; exit 1; }
