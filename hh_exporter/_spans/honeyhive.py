"""
The attributes of HoneyHive's own tracers: `honeyhive_*` and `honeyhive.*`.

As recorded of PyPI honeyhive 1.7.0 and npm honeyhive 1.0.42. Both take objects
apart, one attribute a value; Python writes lists as JSON text, npm null as "null".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hh_exporter._spans.attributes import data_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.attributes import Attributes

__all__ = ["MARK", "PREFIXES", "kind_of", "read"]

Json: TypeAlias = dict[str, Any]

MARK: Final = "honeyhive_event_type"
"""What spans of steps have, and others of these tracers have not."""
PREFIXES: Final = ("honeyhive", "traceloop.association.properties.")

_OBJECTS = ("inputs", "outputs", "config", "metadata", "metrics", "feedback", "user_properties")
_TYPES = ("model", "tool", "chain", "session")
_ASSOCIATED = "traceloop.association.properties"
_IGNORED = (
    "honeyhive.project",
    f"{_ASSOCIATED}.project",
    f"{_ASSOCIATED}.disable_http_tracing",
)
"""The key decides about the project; the rest is for the tracer itself."""
_RUN = ("run_id", "dataset_id", "datapoint_id")


def kind_of(attributes: Mapping[str, Any]) -> str | None:
    """
    Find the type of the event of a span of this family; None if it doesn't say.
    """
    kind = attributes.get(MARK)
    kind = kind.lower() if isinstance(kind, str) else None
    return kind if kind in _TYPES else None


def read(attributes: Attributes) -> Json:
    """
    Read the attributes of HoneyHive's tracers; {} for other spans.
    """
    event: Json = {}
    kind = kind_of(attributes.left)
    attributes.take(MARK)
    if kind is not None:
        event["event_type"] = kind
    for key, names in {
        "event_id": ("honeyhive_event_id",),
        "event_name": ("honeyhive_event_name",),
        "error": ("honeyhive_error",),
        "session_id": ("honeyhive.session_id", f"{_ASSOCIATED}.session_id"),
        "source": ("honeyhive.source", f"{_ASSOCIATED}.source"),
    }.items():
        value = attributes.take_text(*names)
        if value is not None:
            event[key] = value
    duration = attributes.take_number("honeyhive_duration_ms")
    if duration is not None:
        event["duration"] = duration
    attributes.drop(*_IGNORED)
    for key in _OBJECTS:
        value = attributes.take_below(f"honeyhive_{key}", _read_value)
        if value is not None:
            event[key] = value if isinstance(value, dict) else {"value": value}
    run = {name: attributes.take(f"honeyhive.{name}", f"{_ASSOCIATED}.{name}") for name in _RUN}
    run["error_type"] = attributes.take("honeyhive_error_type")
    metadata = {name: value for name, value in run.items() if value is not None}
    if metadata:
        event["metadata"] = metadata | event.get("metadata", {})
    return event


def _read_value(value: object) -> Any:
    return None if value == "null" else data_of(value)
