"""
The classes that users fill.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from typing import Any

import attrs
import pytest

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter.events import (
    CreateModelEventBatchRequestBody,
    CreateModelEventBatchResponseBody,
    new_id,
)
from tests.support import model_event

SECRET = "what the user typed"
PAYLOADS = {a.name for a in attrs.fields(ModelEvent)} - {
    "model",
    "provider",
    "event_id",
    "session_id",
    "parent_id",
}


def test_an_event_needs_its_model_alone() -> None:
    """
    Whatever is not given is None, so that the wire can leave it out.
    """
    event = ModelEvent(model="gpt-4o")

    assert {k: v for k, v in attrs.asdict(event).items() if v is not None} == {"model": "gpt-4o"}
    with pytest.raises(TypeError, match="model"):
        ModelEvent()  # type: ignore[call-arg]


def test_fields_are_named() -> None:
    """
    An event takes no positional arguments: there are too many to count.
    """
    with pytest.raises(TypeError):
        ModelEvent("gpt-4o")  # type: ignore[call-arg]


def test_an_event_checks_nothing_and_can_be_filled_later() -> None:
    """
    Any value is taken and kept as it is; push is where they are checked.
    """
    messages = object()

    event = ModelEvent(model=None, messages=messages)  # type: ignore[arg-type]
    event.response = messages

    assert event.messages is messages
    assert event.response is messages


def test_an_unknown_attribute_is_an_error() -> None:
    """
    A misspelt field fails where it is set, not on the wire.
    """
    event = model_event()

    with pytest.raises(AttributeError):
        event.respones = {}  # type: ignore[attr-defined]


def test_no_repr_shows_a_payload() -> None:
    """
    The repr of an event, and of a body with it, holds no payload field.
    """
    payloads: dict[str, Any] = dict.fromkeys(PAYLOADS, SECRET)
    event = ModelEvent(model="gpt-4o", **payloads)

    assert SECRET not in repr(event)
    assert SECRET not in repr(CreateModelEventBatchRequestBody(model_events=[event]))


def test_the_repr_names_the_event() -> None:
    """
    What tells events apart is shown.
    """
    shown = repr(ModelEvent(model="gpt-4o", provider="openai", event_id="e1", session_id="s1"))

    assert all(word in shown for word in ("gpt-4o", "openai", "e1", "s1"))


def test_no_repr_shows_an_error_of_the_server() -> None:
    """
    Error texts of an answer may echo a prompt, so its repr has none.
    """
    answer = CreateModelEventBatchResponseBody(event_ids=["e1"], errors=[SECRET])

    assert SECRET not in repr(answer)


def test_events_compare_by_their_fields() -> None:
    """
    Two events with equal fields are equal.
    """
    event = model_event(metadata={"a": [1]})

    assert event == deepcopy(event)
    assert event != attrs.evolve(event, metadata={"a": [2]})


def test_one_object_is_one_session() -> None:
    """
    Each SessionProperties mints a session_id of its own, unless it is given one.
    """
    first, second = SessionProperties(), SessionProperties()

    assert first.session_id != second.session_id
    assert uuid.UUID(first.session_id).version == 4
    assert SessionProperties(session_id="mine").session_id == "mine"


def test_new_ids_are_random_uuids() -> None:
    """
    An id is the canonical text of a version 4 UUID, and each is new.
    """
    ids = [new_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122
