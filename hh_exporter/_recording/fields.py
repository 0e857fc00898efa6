"""
The fields of events and sessions as type checkers see them in calls, and at run time.

A test compares these with the classes of `hh_exporter.events`. What blocks yield has ids, so
that they can be passed on as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, get_type_hints

from hh_exporter.events import (
    Event,
    JsonArray,
    JsonObject,
    JsonObjects,
    JsonValue,
    SessionProperties,
)

__all__ = [
    "EventFields",
    "ModelEventFields",
    "Session",
    "SessionFields",
    "Step",
    "UpdateFields",
    "build",
]

T = TypeVar("T")

if TYPE_CHECKING:

    class Step(Event):
        """
        The `Event` of a block.
        """

        event_id: str
        session_id: str

    class Session(SessionProperties):
        """
        The `SessionProperties` of a block.
        """

        session_id: str

else:
    Step, Session = Event, SessionProperties


class _Payloads(TypedDict, total=False):
    metadata: JsonObject | None
    metrics: JsonObject | None
    feedback: JsonObject | None
    user_properties: JsonObject | None
    config: JsonObject | None
    inputs: JsonObject | None
    outputs: JsonObject | None
    error: str | None
    source: str | None
    session_id: str | None
    start_time: float | datetime | None
    extra: dict[str, Any] | None


class _AnyEvent(_Payloads, total=False):
    event_id: str | None
    event_name: str | None
    parent_id: str | None
    project: str | None
    end_time: float | datetime | None
    duration: float | timedelta | None


class ModelEventFields(_AnyEvent, total=False):
    """
    The fields of a `ModelEvent`.
    """

    model: Required[str]
    provider: str | None
    messages: JsonArray | None
    response: JsonObject | None
    usage: JsonObject | None
    cost: float | Decimal | None
    hyperparameters: JsonObject | None
    template: JsonArray | None
    template_inputs: JsonObject | None
    tools: JsonObjects | None
    tool_choice: JsonValue | None
    response_format: JsonObject | None


class EventFields(_AnyEvent, total=False):
    """
    The fields of an `Event`, but for `event_type`, which has a default in `trace`.
    """

    children_ids: list[str] | None


class SessionFields(_Payloads, total=False):
    """
    The fields of `SessionProperties`.
    """

    session_name: str | None


class UpdateFields(TypedDict, total=False):
    """
    The fields of an `EventUpdate`, but for `event_id`, which is a parameter of `update`.
    """

    feedback: JsonObject | None
    metrics: JsonObject | None
    metadata: JsonObject | None
    outputs: JsonObject | None
    config: JsonObject | None
    user_properties: JsonObject | None
    duration: float | timedelta | None


_OPTIONS = dict.fromkeys(("trace", "record"), ("session", "capture_inputs", "capture_outputs"))
"""What calls take besides fields; a wrong name may mean one of these, too."""


def build(cls: type[T], call: str, fields: Mapping[str, Any]) -> T:
    """
    Make an instance of *cls*, one of the classes of `hh_exporter.events`.

    Args:
        cls: The class.
        call: What the user called, for the error.
        fields: What it was called with.

    Raises:
        TypeError: There is no such field, or one is missing.
    """
    try:
        return cls(**fields)
    except TypeError:
        known = [name for name in get_type_hints(cls) if name[0] != "_"]
    known += _OPTIONS.get(call, ())
    for name in fields:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]!r}?" if near else f", but {', '.join(known)}"
            raise TypeError(f"{call}() has no field {name!r}{hint}") from None
    raise TypeError(f"{call}() needs a model, such as {call}(model='gpt-4o')") from None
