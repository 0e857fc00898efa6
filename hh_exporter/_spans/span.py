"""
An ended span, as OTLP or a tracer describes it.

It is plain data, and knows nothing of events.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import define, field

__all__ = ["STREAM_BEGAN", "Span"]

STREAM_BEGAN: Final = "First Token Stream Event"
"""The event of a span of OpenInference at which the first token of a stream came."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@define(kw_only=True, eq=False)
class Span:
    """
    An ended span, which nobody changes.

    Values are JSON data: text, numbers, booleans, None, and lists and objects of these.
    """

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str | None = None
    """The span id of its parent; None for the first span of a trace."""
    name: str
    scope: str = ""
    """The name of the instrumentation that made it."""
    scope_version: str = ""
    start: int
    """In nanoseconds since 1970."""
    end: int
    is_error: bool = False
    """Whether its status is ERROR."""
    description: str = ""
    """The text of its status, if any."""
    attributes: Mapping[str, Any] = field(default=_NOTHING, repr=False)
    resource: Mapping[str, Any] = field(default=_NOTHING, repr=False)
    """The attributes of the program that made it."""
    exception: Mapping[str, Any] = field(default=_NOTHING, repr=False)
    """The attributes of its last `exception` event."""
    first_token: int | None = None
    """When its event STREAM_BEGAN was, in nanoseconds since 1970; None if it has none."""
