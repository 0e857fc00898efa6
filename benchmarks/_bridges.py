"""
What else takes ended spans: processors of other clients, and encoders of OpenTelemetry's own.

One rule: all that they do for a span is done, up to the bytes of a request; there it ends. What
they would send is kept instead, so that the spans in it can be counted.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, TypeAlias

from attrs import frozen
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from benchmarks._peers._peer import find_missing

__all__ = ["BRIDGES", "ENCODERS", "Bridge", "Encoder", "count_spans", "unsent"]

Opened: TypeAlias = AbstractContextManager[SpanProcessor]

_NOWHERE = "http://127.0.0.1:9"


@frozen(kw_only=True)
class Bridge:
    """
    A span processor of another client.
    """

    name: str
    setting: str
    needs: Sequence[str]
    open: Callable[[], Opened]

    @property
    def missing(self) -> Sequence[str]:
        return find_missing(self.needs)


@frozen(kw_only=True)
class Encoder:
    """
    What makes bytes of spans, and nothing else.
    """

    name: str
    module: str
    """Where its `encode_spans` is."""
    write: str
    """What makes bytes, or text, of that."""
    needs: Sequence[str]

    @property
    def missing(self) -> Sequence[str]:
        return find_missing(self.needs)

    def load(self) -> Callable[[Sequence[ReadableSpan]], bytes]:
        encode_spans, write = import_module(self.module).encode_spans, self.write

        def encode(spans: Sequence[ReadableSpan]) -> bytes:
            written = getattr(encode_spans(spans), write)()
            return written.encode() if isinstance(written, str) else written

        return encode


@contextmanager
def unsent() -> Iterator[list[bytes]]:
    """
    Answer each request of the library requests with 200, without a connection.

    Yields:
        The bodies, in which they are as they would be sent.
    """
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

    bodies: list[bytes] = []

    def answer(_: HTTPAdapter, request: PreparedRequest, **__: Any) -> Response:
        assert isinstance(request.body, bytes)
        bodies.append(request.body)
        response = Response()
        response.status_code, response.url, response._content = 200, request.url or "", b""
        return response

    send = HTTPAdapter.send
    HTTPAdapter.send = answer
    try:
        yield bodies
    finally:
        HTTPAdapter.send = send


def count_spans(body: bytes) -> int:
    """
    Count the spans in the body of a request: OTLP as protobuf, perhaps compressed.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(
        gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    )
    return sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)


class _Catcher(TracerProvider):
    """
    A provider of which only the processor that is added to it is of use.
    """

    caught: SpanProcessor

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self.caught = span_processor


@contextmanager
def _open_langfuse() -> Iterator[SpanProcessor]:
    from langfuse import Langfuse

    provider = _Catcher(shutdown_on_exit=False)
    client = Langfuse(
        public_key="benchmarks", secret_key="-", base_url=_NOWHERE, tracer_provider=provider
    )
    yield provider.caught
    provider.caught.shutdown()
    client.shutdown()


@contextmanager
def _open_langsmith() -> Iterator[SpanProcessor]:
    from langsmith.integrations.otel.processor import OtelSpanProcessor

    processor: SpanProcessor = OtelSpanProcessor(
        api_key="benchmarks", project="benchmarks", url=_NOWHERE
    )
    yield processor
    processor.shutdown()


@contextmanager
def _open_opentelemetry() -> Iterator[SpanProcessor]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=f"{_NOWHERE}/v1/traces")
    processor: SpanProcessor = BatchSpanProcessor(exporter)
    yield processor
    processor.shutdown()


BRIDGES = (
    Bridge(
        name="Langfuse",
        setting="the processor that Langfuse(…) adds to a provider: OTLP as protobuf, gzip",
        needs=("langfuse",),
        open=_open_langfuse,
    ),
    Bridge(
        name="LangSmith",
        setting="its OtelSpanProcessor: OTLP as protobuf, not compressed",
        needs=("langsmith", "opentelemetry-exporter-otlp-proto-http"),
        open=_open_langsmith,
    ),
    Bridge(
        name="OpenTelemetry",
        setting="BatchSpanProcessor, OTLPSpanExporter over HTTP: as protobuf, not compressed",
        needs=("opentelemetry-exporter-otlp-proto-http",),
        open=_open_opentelemetry,
    ),
)

ENCODERS = (
    Encoder(
        name="encoding as OTLP JSON alone",
        module="opentelemetry.exporter.otlp.json.common.trace_encoder",
        write="to_json",
        needs=("opentelemetry-exporter-otlp-json-common",),
    ),
    Encoder(
        name="encoding as OTLP protobuf alone",
        module="opentelemetry.exporter.otlp.proto.common.trace_encoder",
        write="SerializePartialToString",
        needs=("opentelemetry-exporter-otlp-proto-http",),
    ),
)
