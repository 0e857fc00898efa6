"""
What a program pushes, and the request and answer bodies of the API.

These classes know nothing of JSON or of a wire: each dialect converts them with
a converter of its own. They hold what the user gave, unchecked and unchanged:
an event is made on the request path of a service.

The fields of a ModelEvent are those of CreateModelEvent (POST /events/model), the
fields of an Event those of POST /v1/events; both in snake_case and with the API's
units: `duration`, `start_time` and `end_time` are milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Annotated, Any, Final, Self, TypeAlias

from attrs import define, field

from hh_exporter._values.text import map_fields

__all__ = [
    "EVENT_TYPES",
    "AnyEvent",
    "CreateModelEventBatchRequestBody",
    "CreateModelEventBatchResponseBody",
    "CreateModelEventRequestBody",
    "CreateModelEventResponseBody",
    "Event",
    "EventUpdate",
    "JsonArray",
    "JsonObject",
    "JsonObjects",
    "JsonValue",
    "ModelEvent",
    "SessionProperties",
    "new_id",
]

JsonObject: TypeAlias = Annotated[Any, "an object"]
"""A mapping with string keys, or an object that stands for one."""

JsonArray: TypeAlias = Annotated[Any, "an array of objects"]
"""A list of mappings, or of objects that stand for one."""

JsonObjects: TypeAlias = Annotated[Any, "an array of objects, or one object"]
"""A `JsonArray`, or a `JsonObject` that stands for an array of one."""

JsonValue: TypeAlias = Annotated[Any, "any JSON value"]
"""Whatever JSON can say."""


# Our own: a program that seeds the global one would make the same ids at each start.
_random = Random()  # noqa: S311 - unique, not secret
os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """
    Make the text of a random UUID (RFC 9562 §5.4), with 120 random bits.

    At a fifth of the cost of `str(uuid.uuid4())`, which push would pay each time.
    """
    digits = _random.randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


_TEXTS = (
    *("inputs", "outputs", "error", "config", "metadata", "metrics"),
    *("feedback", "user_properties", "extra"),
)
_EVENT_TEXTS = (
    *("event_name", "messages", "response", "usage", "hyperparameters", "template"),
    *("template_inputs", "tools", "tool_choice", "response_format"),
    *_TEXTS,
)
_PLAIN_EVENT_TEXTS = ("event_name", *_TEXTS)
_SESSION_TEXTS = ("session_name", *_TEXTS)
_UPDATE_TEXTS = ("outputs", "config", "metadata", "metrics", "feedback", "user_properties")
"""The fields of free text: all but ids, numbers, model, provider, project, source and types."""


@define(kw_only=True)
class ModelEvent:
    """
    One call of a model: what was asked, what came back, and how long it took.

    Only `model` is required. A field left None is not sent; what the API
    requires beyond `model` is filled in on the way out: project `"default"`,
    provider `"unknown"`, `messages` `[]`, `response` and `usage` `{}`,
    `duration` from the times, else 0, and the times from the clock.

    Nothing is checked here. `push` checks the scalar fields and drops an event
    with a wrong one; the payload fields take anything.
    """

    model: str
    """Name of the model, such as "gpt-4o"."""
    provider: str | None = None
    """Who serves the model, such as "openai"."""
    messages: JsonArray | None = field(default=None, repr=False)
    """Chat messages given to the model."""
    response: JsonObject | None = field(default=None, repr=False)
    """The model's answer; a value that is not an object is sent as `{"content": …}`."""
    usage: JsonObject | None = field(default=None, repr=False)
    """Token counts as the provider reports them."""
    duration: float | timedelta | None = field(default=None, repr=False)
    """How long the call took, in milliseconds or as a timedelta."""
    cost: float | Decimal | None = field(default=None, repr=False)
    """The cost of the call, in USD."""
    error: str | None = field(default=None, repr=False)
    """Error text of a failed call."""

    project: str | None = field(default=None, repr=False)
    """Name of the project; current servers take it from the key instead."""
    source: str | None = field(default=None, repr=False)
    """The environment, such as "production"."""
    event_name: str | None = field(default=None, repr=False)
    """A name for what the call was for."""

    hyperparameters: JsonObject | None = field(default=None, repr=False)
    """Temperature and the like."""
    template: JsonArray | None = field(default=None, repr=False)
    """The prompt template, with `{{name}}` placeholders."""
    template_inputs: JsonObject | None = field(default=None, repr=False)
    """Values for the placeholders of `template`."""
    tools: JsonObjects | None = field(default=None, repr=False)
    """Tool definitions; a single object is sent as an array of one."""
    tool_choice: JsonValue | None = field(default=None, repr=False)
    """A mode or a name; an object is sent as its JSON text."""
    response_format: JsonObject | None = field(default=None, repr=False)
    """The format that the model was asked for."""

    event_id: str | None = None
    """Id of the event; made by `push` where it is None."""
    session_id: str | None = None
    """The session that it belongs to; without one the server creates one."""
    parent_id: str | None = None
    """The event that led to this one."""
    start_time: float | datetime | None = field(default=None, repr=False)
    """
    When the call began, in Unix milliseconds or as a datetime.

    A datetime without a time zone is local time, as `datetime.timestamp` takes it.
    """
    end_time: float | datetime | None = field(default=None, repr=False)
    """When the call ended, in Unix milliseconds or as a datetime."""

    metadata: JsonObject | None = field(default=None, repr=False)
    metrics: JsonObject | None = field(default=None, repr=False)
    feedback: JsonObject | None = field(default=None, repr=False)
    user_properties: JsonObject | None = field(default=None, repr=False)
    config: JsonObject | None = field(default=None, repr=False)
    inputs: JsonObject | None = field(default=None, repr=False)
    outputs: JsonObject | None = field(default=None, repr=False)

    extra: dict[str, Any] | None = field(default=None, repr=False)
    """Keys of the wire that this class does not know, sent as they are."""

    def map_text(self, fn: Callable[[str], str]) -> Self:
        """
        Apply *fn* to all free text, as `before_send` may do to redact it.

        That is each string that is not a key, at any depth, in all fields but
        model, provider, project, source and the ids. *fn* sees what a person
        would read: if a string is JSON itself, such as the arguments and results
        of tools, it sees each string and number in it, keys included, without
        escapes; what *fn* returns unchanged stays exactly as it was. JSON that is
        cut short, or inside other text, is passed as the text that it is, and its
        pieces with ``\\u`` escapes are also passed without them.

        The fields become plain copies, bounded and marked like what
        `before_send` gets; containers that they held are not changed. If *fn*
        raises, so does this, and the event is not changed.

        Returns:
            The event itself.

        Raises:
            TypeError: *fn* returned no text.
        """
        map_fields(self, _EVENT_TEXTS, fn)
        return self


EVENT_TYPES: Final = frozenset({"model", "tool", "chain", "session"})
"""What an event can be, by the API (`event_type` of POST /v1/events)."""


@define(kw_only=True)
class Event:
    """
    One step of a program: a call of a tool, a chain of other steps, or a session itself.

    Only `event_type` is required. A field left None is not sent; what the API requires
    beyond `event_type` is filled in on the way out, as for a `ModelEvent`: an `event_name`
    that is not set is the `event_type`, `inputs` are `{}`, and the times come from the clock.

    Nothing is checked here. `push` checks the scalar fields and drops an event with a
    wrong one; the payload fields take anything.
    """

    event_type: str
    """What it was: "tool", "chain", "session" or "model"."""
    event_name: str | None = None
    """A name for the step, such as that of the function."""
    inputs: JsonObject | None = field(default=None, repr=False)
    """What the step was given; a value that is not an object is sent as `metadata.inputs`."""
    outputs: JsonObject | None = field(default=None, repr=False)
    """What came of it; a value that is not an object is sent as `metadata.outputs`."""
    duration: float | timedelta | None = field(default=None, repr=False)
    """How long it took, in milliseconds or as a timedelta."""
    error: str | None = field(default=None, repr=False)
    """Error text of a failed step."""

    project: str | None = field(default=None, repr=False)
    """Name of the project; current servers take it from the key instead."""
    source: str | None = field(default=None, repr=False)
    """The environment, such as "production"."""

    event_id: str | None = None
    """Id of the event; made by `push` where it is None."""
    session_id: str | None = None
    """The session that it belongs to; without one the server creates one."""
    parent_id: str | None = None
    """The event that led to this one."""
    children_ids: list[str] | None = field(default=None, repr=False)
    """The events that this one led to; the server finds them by their `parent_id`, too."""
    start_time: float | datetime | None = field(default=None, repr=False)
    """
    When the step began, in Unix milliseconds or as a datetime.

    A datetime without a time zone is local time, as `datetime.timestamp` takes it.
    """
    end_time: float | datetime | None = field(default=None, repr=False)
    """When the step ended, in Unix milliseconds or as a datetime."""

    metadata: JsonObject | None = field(default=None, repr=False)
    metrics: JsonObject | None = field(default=None, repr=False)
    feedback: JsonObject | None = field(default=None, repr=False)
    user_properties: JsonObject | None = field(default=None, repr=False)
    config: JsonObject | None = field(default=None, repr=False)

    extra: dict[str, Any] | None = field(default=None, repr=False)
    """Keys of the wire that this class does not know, sent as they are."""

    def map_text(self, fn: Callable[[str], str]) -> Self:
        """
        Apply *fn* to all free text, as `ModelEvent.map_text` does.

        That is in all fields but event_type, project, source and the ids.
        """
        map_fields(self, _PLAIN_EVENT_TEXTS, fn)
        return self


AnyEvent: TypeAlias = ModelEvent | Event
"""What `push` takes."""


@define(kw_only=True)
class EventUpdate:
    """
    What `Exporter.update` adds to an event or a session after the fact (PUT /v1/events/{id}).

    The server merges `metadata`, `metrics`, `feedback`, `config` and `user_properties` into
    what the event has, key by key; `outputs` replaces what it has. `before_send` gets one as
    it gets an event.
    """

    event_id: str
    """The event, or the session, that it is about."""
    feedback: JsonObject | None = field(default=None, repr=False)
    metrics: JsonObject | None = field(default=None, repr=False)
    metadata: JsonObject | None = field(default=None, repr=False)
    outputs: JsonObject | None = field(default=None, repr=False)
    config: JsonObject | None = field(default=None, repr=False)
    user_properties: JsonObject | None = field(default=None, repr=False)
    duration: float | timedelta | None = field(default=None, repr=False)
    """How long the step took, in milliseconds or as a timedelta."""

    def map_text(self, fn: Callable[[str], str]) -> Self:
        """
        Apply *fn* to all free text, as `ModelEvent.map_text` does.

        That is in all fields but event_id.
        """
        map_fields(self, _UPDATE_TEXTS, fn)
        return self


@define(kw_only=True)
class SessionProperties:
    """
    A session that several events share (SessionPropertiesBatch of the API).

    One object is one session: making it mints the `session_id`.
    """

    session_name: str | None = None
    session_id: str | None = field(factory=new_id)
    source: str | None = None
    start_time: float | datetime | None = field(default=None, repr=False)
    """When the session began, in Unix milliseconds or as a datetime."""
    config: JsonObject | None = field(default=None, repr=False)
    inputs: JsonObject | None = field(default=None, repr=False)
    outputs: JsonObject | None = field(default=None, repr=False)
    error: str | None = field(default=None, repr=False)
    user_properties: JsonObject | None = field(default=None, repr=False)
    metrics: JsonObject | None = field(default=None, repr=False)
    feedback: JsonObject | None = field(default=None, repr=False)
    metadata: JsonObject | None = field(default=None, repr=False)
    extra: dict[str, Any] | None = field(default=None, repr=False)
    """Keys of the wire that this class does not know, sent as they are."""

    def map_text(self, fn: Callable[[str], str]) -> Self:
        """
        Apply *fn* to all free text, as `ModelEvent.map_text` does.

        That is in all fields but source and session_id.
        """
        map_fields(self, _SESSION_TEXTS, fn)
        return self


@define(kw_only=True)
class CreateModelEventRequestBody:
    """
    Body of POST /events/model.
    """

    model_event: ModelEvent


@define(kw_only=True)
class CreateModelEventBatchRequestBody:
    """
    Body of POST /events/model/batch.
    """

    model_events: list[ModelEvent]
    is_single_session: bool | None = None
    """Whether all events belong to one session; the server's default is false."""
    session_properties: SessionProperties | None = None


@define(kw_only=True)
class CreateModelEventResponseBody:
    """
    Answer to POST /events/model.
    """

    event_id: str | None = None
    success: bool | None = None


@define(kw_only=True)
class CreateModelEventBatchResponseBody:
    """
    Answer to POST /events/model/batch.

    With `errors`, or on HTTP 500, only the listed events are known to be created;
    newer servers need not list any. The API promises no order, gives `errors` no
    index, and sets `success` to true even then, so nothing here is read by position.
    """

    event_ids: list[str] | None = None
    errors: list[str] | None = field(default=None, repr=False)
    session_id: str | None = None
    success: bool | None = None
