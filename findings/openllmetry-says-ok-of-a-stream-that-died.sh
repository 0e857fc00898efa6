#!/usr/bin/env bash
# OpenLLMetry 0.62.4 (opentelemetry-instrumentation-openai): where the connection of a streamed Chat
# Completions call is lost in the middle, the program gets an exception, and the span has the status
# OK, no exception and no error.type. Its code means to set ERROR, but does so after it has set OK
# and ended the span. The same loss in a streamed Responses call is an ERROR, but that span has
# neither gen_ai.operation.name nor the messages, so it is not counted among the chat calls. Either
# way a rate of failed calls, by operation and status, does not contain a lost stream.
#
# Seen with Python 3.11, opentelemetry-instrumentation-openai 0.62.4 and openai 3.57.0:
#
#     Chat Completions: APIConnectionError; span: OK, operation chat, with messages, 0 exceptions
#     Responses: APIConnectionError; span: ERROR, operation None, without messages, 1 exception
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet \
  openai==3.57.0 opentelemetry-sdk==1.45.2 opentelemetry-instrumentation-openai==0.62.4
cat >"$work/look.py" <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = {
    "id": "chatcmpl_1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}],
}
DELTA = {
    "type": "response.output_text.delta",
    "sequence_number": 0,
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "Hi",
    "logprobs": [],
}


class OpenAI(BaseHTTPRequestHandler):
    """
    Says the beginning of an answer, and closes the connection.
    """

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        event = DELTA if self.path.endswith("/responses") else CHUNK
        said = f"data: {json.dumps(event)}\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(2 * len(said)))
        self.end_headers()
        self.wfile.write(said)

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
client = openai.OpenAI(
    api_key="key", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0
)


def look(what: str, stream: object) -> None:
    read = 0
    try:
        for _ in stream:
            read += 1
    except openai.APIConnectionError as error:
        raised = type(error).__name__
    assert read == 1
    (span,) = spans.get_finished_spans()
    spans.clear()
    exceptions = sum(event.name == "exception" for event in span.events)
    print(
        f"{what}: {raised}; span: {span.status.status_code.name}, "
        f"operation {span.attributes.get('gen_ai.operation.name')}, "
        f"{'with' if 'gen_ai.input.messages' in span.attributes else 'without'} messages, "
        f"{exceptions} exception{'' if exceptions == 1 else 's'}"
    )


hi = [{"role": "user", "content": "Hi"}]
chat = client.chat.completions.create(model="gpt-4o-mini", messages=hi, stream=True)
look("Chat Completions", chat)
look("Responses", client.responses.create(model="gpt-4o-mini", input="Hi", stream=True))
PY
unset HTTP_PROXY HTTPS_PROXY
seen=$("$work/venv/bin/python" "$work/look.py" 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'Chat Completions: APIConnectionError; span: OK, operation chat, with messages, 0 exceptions
Responses: APIConnectionError; span: ERROR, operation None, without messages, 1 exception' ] ||
  { echo 'this has changed' >&2; exit 1; }
