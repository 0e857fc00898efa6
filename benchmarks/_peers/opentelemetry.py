"""
OpenTelemetry: a span for each event, by BatchSpanProcessor and OTLP over HTTP.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from benchmarks._peers._peer import Emitter, Peer, in_one_go
from benchmarks._workload import Fields

__all__ = ["PEER"]

# Semantic conventions for generative AI; the rest goes by its own name.
_NAMES = {
    "model": "gen_ai.request.model",
    "provider": "gen_ai.provider.name",
    "messages": "gen_ai.input.messages",
    "response": "gen_ai.output.messages",
    "tools": "gen_ai.tool.definitions",
    "error": "error.type",
}
_SCALARS = (str, int, float)


@asynccontextmanager
async def _open(url: str, room: int) -> AsyncIterator[Emitter]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind

    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=max(2048, room)))
    tracer = provider.get_tracer(__name__)

    def emit(fields: Fields) -> int:
        ended_at = time.time_ns()
        span = tracer.start_span(
            f"chat {fields['model']}",
            kind=SpanKind.CLIENT,
            attributes=_describe(fields),
            start_time=ended_at - int(fields.get("duration", 0) * 1e6),
        )
        span.end(ended_at)
        return span.get_span_context().span_id

    async def drain() -> None:
        provider.force_flush()

    yield Emitter(emit, drain)
    provider.shutdown()


def _describe(fields: Fields) -> dict[str, str | int | float]:
    """
    Write what is no scalar as JSON text, as the conventions ask for.
    """
    attributes: dict[str, str | int | float] = {"gen_ai.operation.name": "chat"}
    for name, value in fields.items():
        scalar = value if isinstance(value, _SCALARS) else orjson.dumps(value).decode()
        attributes[_NAMES.get(name, name)] = scalar
    return attributes


PEER = Peer(
    name="OpenTelemetry",
    setting=(
        "BatchSpanProcessor and OTLP over HTTP, no compression, batches of 512 (its defaults); "
        "the queue holds a burst; a span per event, payloads as JSON text by orjson."
    ),
    start=in_one_go(_open),
    open=_open,
    needs=("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
)
