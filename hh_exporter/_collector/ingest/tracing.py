"""
POST /opentelemetry/v1/traces: spans, each of which is stored as an event.

The answers are those of OTLP/HTTP, in the encoding of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.ingest.bodies import check_containers, parse
from hh_exporter._collector.ingest.otlp import (
    OtlpError,
    partial_success,
    spans_in_json,
    spans_in_protobuf,
)
from hh_exporter._collector.ingest.validation import TRACES
from hh_exporter._collector.storage.encoding import encode
from hh_exporter._collector.storage.rows import EventRow, SessionRow
from hh_exporter._collector.storage.sessions import described_by
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._spans.mapping import event_of

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hh_exporter._clock import Clock
    from hh_exporter._collector.ingest.calls import Call, Calls
    from hh_exporter._collector.storage.store import Store
    from hh_exporter._spans.span import Span

__all__ = ["Tracing"]

_PROTOBUF = "application/x-protobuf"


@frozen
class Tracing:
    """
    The handler, around the store that it fills.
    """

    store: Store
    clock: Clock
    calls: Calls

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve it.
        """
        handler = self.calls.reading(self._read, self.create_traces)
        app.router.add_post("/opentelemetry/v1/traces", handler)

    async def create_traces(self, call: Call[list[Span]]) -> web.Response:
        """
        Store an event for each span.
        """
        spans = call.body[::2] if call.is_partial else call.body
        time = int(self.clock.wall() * 1000)
        events = [_wire(span) for span in spans]
        sessions = [one for one in map(described_by, events) if one is not None]
        rows = [
            EventRow(
                event_id=event["event_id"],
                session_id=event["session_id"],
                event=encode(event),
                path=call.route,
                time=time,
            )
            for event in events
        ]
        said = [SessionRow(encode(one.properties), one.session_id, time) for one in sessions]
        await self.store.add(rows, *said)
        return _answer(call, refused=len(call.body) - len(spans))

    def _read(self, request: web.Request) -> AbstractAsyncContextManager[list[Span]]:
        is_protobuf = request.content_type == _PROTOBUF
        return self.calls.bodies.take(request, _protobuf_spans if is_protobuf else _json_spans)


def _wire(span: Span) -> dict[str, Any]:
    """
    Make the event of *span* as the API has it: one without a parent is its session's child.
    """
    wire = DIALECTS["v1"]().unstructure(event_of(span))
    if wire["event_type"] == "session":
        wire["event_id"] = wire["session_id"]
    else:
        wire.setdefault("parent_id", wire["session_id"])
    return wire


def _json_spans(text: bytes | bytearray) -> list[Span]:
    try:
        return spans_in_json(parse(text, TRACES))
    except OtlpError as exc:
        raise web.HTTPBadRequest(text=f"body: {exc}") from None


def _protobuf_spans(data: bytes | bytearray) -> list[Span]:
    check_containers(data)  # attributes hold JSON
    try:
        return spans_in_protobuf(data)
    except OtlpError as exc:
        raise web.HTTPBadRequest(text=f"body: {exc}") from None
    except ImportError:
        raise web.HTTPUnsupportedMediaType(
            text="body: protobuf needs a package, pip install opentelemetry-proto; "
            "or send JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)"
        ) from None


def _answer(call: Call[list[Span]], refused: int) -> web.Response:
    message = "refused by the fault: partial"
    if call.request.content_type != _PROTOBUF:
        partial = {"rejectedSpans": str(refused), "errorMessage": message}
        return json_answer({"partialSuccess": partial} if refused else {})
    return web.Response(
        body=partial_success(refused, message) if refused else b"", content_type=_PROTOBUF
    )
