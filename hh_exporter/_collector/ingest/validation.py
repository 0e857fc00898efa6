"""
What the collector accepts: the events of both dialects, and the bodies around them.

The API's OpenAPI descriptions of these routes, as tables that are cheap to
check. A problem names fields of the description and says what they must be; it
never repeats a value or an unknown key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import frozen

__all__ = [
    "EVENT",
    "EVENT_BATCH_REQUEST",
    "EVENT_REQUEST",
    "EVENT_UPDATE",
    "FAULTS",
    "LOGIN",
    "MAX_EVENTS",
    "MODEL_EVENT",
    "MODEL_EVENT_BATCH_REQUEST",
    "MODEL_EVENT_REQUEST",
    "RUN",
    "SESSION_PROPERTIES",
    "SESSION_START",
    "SESSION_START_REQUEST",
    "SESSION_TRACES",
    "TRACES",
    "V1_EVENT",
    "V1_EVENT_BATCH",
    "V1_EVENT_UPDATE",
    "V1_SESSION",
    "V1_SESSION_EVENT_BATCH",
    "V1_SESSION_PROPERTIES",
    "Schema",
]

Check: TypeAlias = Callable[[object], str | None]
"""Says what is wrong with a value, None if nothing is."""

MAX_EVENTS = 100_000
"""Of one request: each may want an error of its own, of more than the three bytes that it has."""


@frozen
class Schema:
    """
    An object's fields: which must be there, and what each may hold.

    Fields that it does not list are refused if it is closed, else allowed and
    not looked at.
    """

    fields: Mapping[str, Check]
    required: tuple[str, ...] = ()
    is_closed: bool = False

    def problem(self, value: object) -> str | None:
        """
        Say all that is wrong with *value*, None if nothing is.
        """
        if type(value) is not dict:
            return "must be an object"
        problems = [f"{name}: is required" for name in self.required if name not in value]
        if self.is_closed and not value.keys() <= self.fields.keys():
            problems.append("must have no unknown fields")
        for name, content in value.items():
            check = self.fields.get(name)
            if check is not None and (problem := check(content)) is not None:
                problems.append(f"{name}: {problem}")
        return "; ".join(problems) or None

    def first_problem(self, values: object) -> str | None:
        """
        Say what is wrong with the first bad one of *values*, None if all are good.

        Not with each of them: the text would be longer than the request.
        """
        if type(values) is not list or len(values) > MAX_EVENTS:
            return _events(values)
        problems = ((index, self.problem(value)) for index, value in enumerate(values))
        return next((f"[{index}]: {problem}" for index, problem in problems if problem), None)


def _events(values: object) -> str | None:
    if type(values) is not list:
        return "must be an array"
    return None if len(values) <= MAX_EVENTS else f"must hold no more than {MAX_EVENTS:,} events"


def _only(expected: str, *types: type) -> Check:
    # By type(), not isinstance(): a bool is no number.
    def check(value: object) -> str | None:
        return None if type(value) in types else f"must be {expected}"

    return check


def _array_of(items: type, expected: str) -> Check:
    def check(value: object) -> str | None:
        if type(value) is list and {*map(type, value)} <= {items}:
            return None
        return f"must be an array of {expected}"

    return check


def _one_of(*choices: str) -> Check:
    def check(value: object) -> str | None:
        return None if value in choices else f"must be one of {', '.join(choices)}"

    return check


_STRING = _only("a string", str)
_STRING_OR_NULL = _only("a string or null", str, type(None))
_NUMBER = _only("a number", int, float)
_BOOLEAN = _only("true or false", bool)
_OBJECT = _only("an object", dict)
_OBJECT_OR_NULL = _only("an object or null", dict, type(None))
_OBJECTS = _array_of(dict, "objects")
_STRINGS = _array_of(str, "strings")
_EVENT_TYPE = _one_of("model", "tool", "chain", "session")

MODEL_EVENT = Schema(
    required=("project", "model", "provider", "messages", "response", "duration", "usage"),
    fields={
        "project": _STRING,
        "model": _STRING,
        "provider": _STRING,
        "messages": _OBJECTS,
        "response": _OBJECT,
        "duration": _NUMBER,
        "usage": _OBJECT,
        "cost": _NUMBER,
        "error": _STRING_OR_NULL,
        "source": _STRING,
        "event_name": _STRING,
        "hyperparameters": _OBJECT,
        "template": _OBJECTS,
        "template_inputs": _OBJECT,
        "tools": _OBJECTS,
        "tool_choice": _STRING,
        "response_format": _OBJECT,
        "event_id": _STRING,
        "session_id": _STRING,
        "parent_id": _STRING,
        "children_ids": _STRINGS,
        "event_type": _EVENT_TYPE,
        "start_time": _NUMBER,
        "end_time": _NUMBER,
        "config": _OBJECT,
        "inputs": _OBJECT,
        "outputs": _OBJECT,
        "metadata": _OBJECT,
        "feedback": _OBJECT,
        "metrics": _OBJECT,
        "user_properties": _OBJECT,
        "project_id": _STRING,
        "model_name": _STRING,
        "model_version": _STRING,
    },
)
"""CreateModelEvent."""

SESSION_PROPERTIES = Schema(
    fields={
        "session_name": _STRING,
        "source": _STRING,
        "session_id": _STRING,
        "start_time": _NUMBER,
        "config": _OBJECT,
        "inputs": _OBJECT,
        "outputs": _OBJECT,
        "error": _STRING_OR_NULL,
        "user_properties": _OBJECT,
        "metrics": _OBJECT,
        "feedback": _OBJECT,
        "metadata": _OBJECT,
    },
)
"""SessionPropertiesBatch."""

MODEL_EVENT_REQUEST = Schema(
    required=("model_event",),
    fields={"model_event": MODEL_EVENT.problem},
)
"""Body of POST /events/model."""

_SINGLE_SESSION = {
    "is_single_session": _BOOLEAN,
    "single_session": _BOOLEAN,
    "session_properties": SESSION_PROPERTIES.problem,
    "session": SESSION_PROPERTIES.problem,
}

MODEL_EVENT_BATCH_REQUEST = Schema(
    required=("model_events",), fields={"model_events": _events, **_SINGLE_SESSION}
)
"""
Body of POST /events/model/batch, but for the events.

Each of them is checked on its own: a bad one does not spoil the request.
"""

_EVENT_FIELDS = {
    "project_id": _STRING,
    "source": _STRING,
    "event_name": _STRING,
    "event_type": _EVENT_TYPE,
    "event_id": _STRING,
    "session_id": _STRING,
    "parent_id": _STRING,
    "children_ids": _STRINGS,
    "config": _OBJECT,
    "inputs": _OBJECT,
    "outputs": _OBJECT,
    "error": _STRING_OR_NULL,
    "start_time": _NUMBER,
    "end_time": _NUMBER,
    "duration": _NUMBER,
    "metadata": _OBJECT,
    "feedback": _OBJECT,
    "metrics": _OBJECT,
    "user_properties": _OBJECT,
}

EVENT = Schema(required=("event_type", "inputs"), fields=_EVENT_FIELDS)
"""An event of the deprecated routes /events and /events/batch: v1's, and open."""

EVENT_REQUEST = Schema(required=("event",), fields={"event": EVENT.problem})
"""Body of POST /events."""

EVENT_BATCH_REQUEST = Schema(required=("events",), fields={"events": _events, **_SINGLE_SESSION})
"""Body of POST /events/batch, but for the events."""

SESSION_START = Schema(
    fields={
        "project": _STRING,
        "session_name": _STRING,
        "event_name": _STRING,
        "source": _STRING,
        "session_id": _STRING,
        "children_ids": _STRINGS,
        "config": _OBJECT,
        "inputs": _OBJECT,
        "outputs": _OBJECT,
        "error": _STRING_OR_NULL,
        "duration": _NUMBER,
        "start_time": _NUMBER,
        "end_time": _NUMBER,
        "user_properties": _OBJECT,
        "metrics": _OBJECT,
        "feedback": _OBJECT,
        "metadata": _OBJECT,
    },
)
"""SessionStart."""

SESSION_START_REQUEST = Schema(required=("session",), fields={"session": SESSION_START.problem})
"""Body of POST /session/start."""

SESSION_TRACES = Schema(
    fields={"events": EVENT.first_problem, "logs": EVENT.first_problem},
)
"""AddSessionTracesRequest, the body of POST /session/{session_id}/traces."""

_UPDATE_FIELDS = {
    **dict.fromkeys(
        ("metadata", "feedback", "metrics", "outputs", "config", "user_properties"),
        _OBJECT_OR_NULL,
    ),
    "duration": _only("a number or null", int, float, type(None)),
}

EVENT_UPDATE = Schema(required=("event_id",), fields={"event_id": _STRING, **_UPDATE_FIELDS})
"""LegacyUpdateEventRequest, the body of PUT /events; other keys are ignored."""

V1_EVENT_UPDATE = Schema(fields=_UPDATE_FIELDS)
"""Body of PUT /v1/events/{event_id}; other keys are ignored."""

RUN = Schema(fields={"name": _STRING_OR_NULL, "event_ids": _STRINGS})
"""Body of POST and PUT /v1/runs, as far as it matters here."""

TRACES = Schema(fields={"resourceSpans": _only("an array", list)})
"""ExportTraceServiceRequest as JSON, the body of POST /opentelemetry/v1/traces."""

V1_EVENT = Schema(required=("event_type", "inputs"), is_closed=True, fields=_EVENT_FIELDS)
"""V1Event, the body of POST /v1/events."""

V1_SESSION_PROPERTIES = Schema(
    fields={
        "session_name": _STRING,
        "start_time": _NUMBER,
        "user_properties": _OBJECT,
        "metadata": _OBJECT,
    },
)
"""V1SessionProperties."""

V1_EVENT_BATCH = Schema(
    required=("events",),
    is_closed=True,
    fields={
        "events": V1_EVENT.first_problem,
        "single_session": _BOOLEAN,
        "session_properties": V1_SESSION_PROPERTIES.problem,
    },
)
"""V1EventBatch, the body of POST /v1/events/batch: a bad event spoils it."""

V1_SESSION = Schema(
    is_closed=True,
    fields={
        "session_id": _STRING,
        "session_name": _STRING,
        "event_name": _STRING,
        "source": _STRING,
        "start_time": _NUMBER,
        "end_time": _NUMBER,
        "duration": _NUMBER,
        "config": _OBJECT,
        "inputs": _OBJECT,
        "outputs": _OBJECT,
        "metadata": _OBJECT,
        "user_properties": _OBJECT,
        "children_ids": _STRINGS,
    },
)
"""V1Session, the body of POST /v1/sessions."""

V1_SESSION_EVENT_BATCH = Schema(
    required=("events",), is_closed=True, fields={"events": V1_EVENT.first_problem}
)
"""Body of POST /v1/sessions/{session_id}/events/batch."""

FAULTS = Schema(
    is_closed=True,
    fields={
        "latency": _NUMBER,
        "rate_limit": _only("a number or null", int, float, type(None)),
        "faults": _OBJECT,
    },
)
"""Body of PUT /api/faults; ours, as is the next."""

LOGIN = Schema(required=("key",), is_closed=True, fields={"key": _STRING})
"""Body of POST /api/login."""
