"""
One event for each span: a ModelEvent for a call of a model, an Event for any other step.

Each family of instrumentation has a module with a function `read`, which takes the attributes
that it knows and returns parts: fields of a ModelEvent, and `event_type`. A span has one main
family, by the attribute that only this one writes; OpenTelemetry's conventions fill in what the
main family leaves open, and the vendor's own tracers take precedence over both. Attributes that
none knows become metadata, under their names.
"""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans import genai, honeyhive, langfuse, openinference
from hh_exporter._spans.attributes import Attributes
from hh_exporter._spans.endings import conclude
from hh_exporter._spans.parts import Parts, joined
from hh_exporter.events import AnyEvent, Event, ModelEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.span import Span

__all__ = ["MARKS", "event_id_of", "event_of", "kind_of", "session_of"]

_FAMILIES: Final = {openinference.MARK: openinference, langfuse.MARK: langfuse}
"""By the attribute that each span of the family has."""

MARKS: Final = (*_FAMILIES, *genai.MARKS, honeyhive.MARK)
"""A span with none of these attributes is no step of an LLM program."""

_DEFAULT_TYPE: Final = "tool"
"""Of a span that names no type, as PyPI honeyhive 1.7.0 decides."""
_NAMELESS: Final = "unknown"
_MILLION: Final = 1_000_000
_VARIANT: Final = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
"""Digits of a UUID that say how it was made, by what they take the place of."""

_SESSIONS: Final = (
    *("honeyhive.session_id", "traceloop.association.properties.session_id"),
    *("gen_ai.conversation.id", "session.id", "traceloop.association.properties.thread_id"),
)
"""Where families name the session of a span, if they do."""

_IN_CONFIG: Final = (
    *("model", "provider", "hyperparameters", "template"),
    *("tools", "tool_choice", "response_format"),
)
"""Where the vendor's examples have these fields, which an Event has not."""


def event_of(span: Span) -> AnyEvent:
    """
    Make the event that *span* is.

    Its id and its parent's follow from the span's, so a span that is read twice has one
    id. A span without a session is in the session of its trace.
    """
    attributes = Attributes(dict(span.attributes))
    parts: Parts = {}
    for mark, family in _FAMILIES.items():
        if mark in attributes.left:
            parts = family.read(attributes, span)
            break
    if attributes.has_below(genai.PREFIXES):
        parts = joined(genai.read(attributes, span), parts)
    if attributes.has_below(honeyhive.PREFIXES):
        parts = joined(parts, honeyhive.read(attributes))
    parts = joined(_base(span), parts)
    conclude(span, attributes, parts)
    if attributes.cut:
        parts["metadata"]["cut"] = sorted(set(attributes.cut))
    parts["metadata"] = {**attributes.left, **parts["metadata"]}
    kind = parts.pop("event_type", _DEFAULT_TYPE)
    if kind == "model":
        parts.setdefault("model", _NAMELESS)
        return ModelEvent(**parts)
    if kind == "session":
        parts["event_id"] = parts["session_id"]  # as the API has it
        parts.pop("parent_id", None)
    return _plain_event(kind, parts)


def kind_of(attributes: Mapping[str, Any]) -> str | None:
    """
    Find the type of the event of a span with *attributes*; None if it is no step.
    """
    if all(mark not in attributes for mark in MARKS):
        return None
    kind = honeyhive.kind_of(attributes)
    for mark, family in _FAMILIES.items():
        if kind is None and mark in attributes:
            kind = family.kind_of(attributes)
    return kind or genai.kind_of(attributes) or _DEFAULT_TYPE


def event_id_of(trace_id: str, span_id: str) -> str:
    """
    Name the event that a span becomes, by the hexadecimal ids that the span has.

    It is a UUID of version 5 (RFC 9562 §5.5) in the namespace of the trace, made in a sixth
    of the time of `uuid.uuid5`.
    """
    ids = bytes.fromhex(trace_id) + span_id.encode()
    h = sha1(ids, usedforsecurity=False).hexdigest()
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def session_of(attributes: Mapping[str, Any]) -> str | None:
    """
    Find the session that a span with *attributes* names, before it ends or after; None if none.
    """
    for name in _SESSIONS:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _base(span: Span) -> Parts:
    metadata = {"trace_id": span.trace_id, "span_id": span.span_id}
    if span.scope:
        metadata["scope"] = (
            f"{span.scope}@{span.scope_version}" if span.scope_version else span.scope
        )
    base: Parts = {
        "event_name": span.name or _NAMELESS,
        "event_id": event_id_of(span.trace_id, span.span_id),
        "session_id": _as_uuid(span.trace_id),
        "start_time": span.start // _MILLION,
        "end_time": span.end // _MILLION,
        "duration": max(0, span.end - span.start) / _MILLION,
        "metadata": metadata,
    }
    if span.parent_id is not None:
        base["parent_id"] = event_id_of(span.trace_id, span.parent_id)
    source = span.resource.get("deployment.environment.name")
    source = source or span.resource.get("deployment.environment")
    if isinstance(source, str):
        base["source"] = source
    return base


def _as_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _plain_event(kind: str, parts: Parts) -> Event:
    """
    Make an Event; its messages, model and usage go where the API has them.
    """
    pop = parts.pop
    config = {name: pop(name) for name in _IN_CONFIG if name in parts}
    asked = {"chat_history": pop("messages")} if "messages" in parts else {}
    moved: Parts = {
        "inputs": asked | pop("template_inputs", {}),
        "outputs": pop("response", {}),
        "config": config,
        "metadata": {**pop("usage", {}), **({"cost": pop("cost")} if "cost" in parts else {})},
    }
    parts = joined({name: value for name, value in moved.items() if value}, parts)
    return Event(event_type=kind, **parts)
