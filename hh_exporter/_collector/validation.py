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
    "MODEL_EVENT",
    "MODEL_EVENT_BATCH_REQUEST",
    "MODEL_EVENT_REQUEST",
    "SESSION_PROPERTIES",
    "V1_EVENT",
    "V1_EVENT_BATCH",
    "V1_SESSION_PROPERTIES",
    "Schema",
]

Check: TypeAlias = Callable[[object], str | None]
"""Says what is wrong with a value, None if nothing is."""


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
        if type(values) is not list:
            return "must be an array"
        problems = ((index, self.problem(value)) for index, value in enumerate(values))
        return next((f"[{index}]: {problem}" for index, problem in problems if problem), None)


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
_ARRAY = _only("an array", list)
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

MODEL_EVENT_BATCH_REQUEST = Schema(
    required=("model_events",),
    fields={
        "model_events": _ARRAY,
        "is_single_session": _BOOLEAN,
        "single_session": _BOOLEAN,
        "session_properties": SESSION_PROPERTIES.problem,
        "session": SESSION_PROPERTIES.problem,
    },
)
"""
Body of POST /events/model/batch, but for the events.

Each of them is checked on its own: a bad one does not spoil the request.
"""

V1_EVENT = Schema(
    required=("event_type", "inputs"),
    is_closed=True,
    fields={
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
    },
)
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
