"""
One event for each span.

Each family of instrumentation has a module with a function `read`, which takes
the attributes that it knows and returns a part of an event. FAMILIES lists them;
what a later one says counts more. Attributes that none knows become metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID, uuid5

from hh_exporter._spans import genai, honeyhive
from hh_exporter._spans.attributes import Attributes

if TYPE_CHECKING:
    from hh_exporter._spans.span import Span

__all__ = ["FAMILIES", "event_of"]

Json: TypeAlias = dict[str, Any]

FAMILIES: Final = (genai.read, honeyhive.read)

_DEFAULT_TYPE: Final = "tool"
"""Of a span that names no type, as PyPI honeyhive 1.7.0 decides."""
_MILLION: Final = 1_000_000


def event_of(span: Span) -> Json:
    """
    Make the v1 event that *span* is.

    Its id and its parent's follow from the span's, so a span that is read twice has one
    id. A span without a session is in the session of its trace.
    """
    attributes = Attributes(span.attributes)
    event = _base(span)
    for read in FAMILIES:
        for key, value in read(attributes).items():
            known = event.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                event[key] = {**known, **value}
            else:
                event[key] = value
    event["metadata"] = {**attributes.left_over(), **event["metadata"]}
    error = _error(span)
    if error is not None:
        event.setdefault("error", error)
    if event["event_type"] == "session":
        event["event_id"] = event["session_id"]  # as the API has it
        event.pop("parent_id", None)
    elif span.parent_id is None:
        event["parent_id"] = event["session_id"]
    return event


def _base(span: Span) -> Json:
    base: Json = {
        "event_type": _DEFAULT_TYPE,
        "event_name": span.name or "unknown",
        "event_id": _id(span, span.span_id),
        "session_id": str(UUID(hex=span.trace_id)),
        "start_time": span.start // _MILLION,
        "end_time": span.end // _MILLION,
        "duration": max(0, span.end - span.start) / _MILLION,
        "inputs": {},
        "outputs": {},
        "metadata": {"trace_id": span.trace_id, "span_id": span.span_id},
    }
    if span.parent_id is not None:
        base["parent_id"] = _id(span, span.parent_id)
    source = span.resource.get("deployment.environment.name")
    source = source or span.resource.get("deployment.environment")
    if isinstance(source, str):
        base["source"] = source
    return base


def _id(span: Span, span_id: str) -> str:
    return str(uuid5(UUID(hex=span.trace_id), span_id))


def _error(span: Span) -> str | None:
    """
    Say what went wrong: the exception, since a description may hold its whole traceback.
    """
    if not span.is_error and not span.exception:
        return None
    kinds = (span.exception.get("exception.type"), span.attributes.get("error.type"))
    texts = (span.exception.get("exception.message"), span.description, *kinds)
    return next((text for text in texts if isinstance(text, str) and text), "error")
