#!/usr/bin/env bash
# opentelemetry-instrumentation-genai-langchain 1.3b0 with langchain-openai 1.7.4: every answer of
# ChatOpenAI(use_responses_api=True) has the finish reason "error" on its span, also one that is
# complete and went well. OpenAI's Responses API has a status and no finish reason, and what
# LangChain's message does not name is taken for an error. The span's own status says nothing of
# it, an answer that max_output_tokens cut looks the same, and with Chat Completions the same model
# gets "stop". Who counts failures by gen_ai.response.finish_reasons counts all of these calls.
#
# Seen with Python 3.11, opentelemetry-instrumentation-genai-langchain 1.3b0, langchain 1.5.2,
# langchain-core 1.8.3, langchain-openai 1.7.4 and openai 3.57.0:
#
#     Chat Completions: finish_reasons ('stop',), span UNSET
#     Responses, completed: finish_reasons ('error',), span UNSET
#     Responses, incomplete: finish_reasons ('error',), span UNSET
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  openai==3.57.0 langchain==1.5.2 langchain-core==1.8.3 langchain-openai==1.7.4 \
  opentelemetry-sdk==1.45.2 opentelemetry-instrumentation-genai-langchain==1.3b0
cat >"$work/look.py" <<'PY'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

status = "completed"


def completion() -> dict:
    return {
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


def response() -> dict:
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": "resp_1",
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
            "input_tokens": 1,
            "output_tokens": 1,
            "total_tokens": 2,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


class OpenAI(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = response() if self.path.endswith("/responses") else completion()
        body = json.dumps(answer).encode()
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

from langchain_openai import ChatOpenAI
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
LangChainInstrumentor().instrument(tracer_provider=provider)


def ask(what: str, **settings: bool) -> None:
    answer = ChatOpenAI(model="gpt-4o-mini", **settings).invoke("Hi")
    assert answer.text == "Hi"
    (span,) = spans.get_finished_spans()
    spans.clear()
    finish = span.attributes["gen_ai.response.finish_reasons"]
    print(f"{what}: finish_reasons {finish}, span {span.status.status_code.name}")


ask("Chat Completions")
for status in ("completed", "incomplete"):
    ask(f"Responses, {status}", use_responses_api=True)
PY
unset HTTP_PROXY HTTPS_PROXY
seen=$("$work/venv/bin/python" "$work/look.py" 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = "Chat Completions: finish_reasons ('stop',), span UNSET
Responses, completed: finish_reasons ('error',), span UNSET
Responses, incomplete: finish_reasons ('error',), span UNSET" ] ||
  { echo 'this has changed' >&2; exit 1; }
