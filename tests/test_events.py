"""
The classes that users fill.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
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


# map_text

FREE = (
    *("event_name", "messages", "response", "template", "template_inputs", "tools"),
    *("inputs", "outputs", "error", "config", "metadata"),
    *("feedback", "user_properties", "extra"),
)


NAMES = ("error", "event_name")


def redact(text: str) -> str:
    return text.replace(SECRET, "[redacted]")


def test_map_text_reaches_all_free_text() -> None:
    """
    Each text at whatever depth, but no key, and no field that holds none.
    """
    payload = {"a": [SECRET, {"b": (1, f"<{SECRET}>", None, 2.5)}], SECRET: True}
    fields: dict[str, Any] = dict.fromkeys(PAYLOADS, payload) | dict.fromkeys(NAMES, SECRET)
    event = ModelEvent(model=SECRET, event_id=SECRET, **fields)

    assert event.map_text(redact) is event

    mapped = {"a": ["[redacted]", {"b": [1, "<[redacted]>", None, 2.5]}], SECRET: True}
    for name in PAYLOADS:
        expected = mapped if name in FREE else payload
        assert getattr(event, name) == ("[redacted]" if name in NAMES else expected), name
    assert (event.model, event.event_id) == (SECRET, SECRET)


def test_map_text_reaches_a_session() -> None:
    """
    The same fields, as far as a session has them.
    """
    names = [a.name for a in attrs.fields(SessionProperties)]
    texts: dict[str, Any] = dict.fromkeys(names, SECRET)
    session = SessionProperties(**texts)

    assert session.map_text(redact) is session

    mapped = {name for name in names if getattr(session, name) == "[redacted]"}
    assert mapped == {"session_name", *FREE} & set(names)


@pytest.mark.parametrize(
    "call",
    [
        lambda text: {"tool_calls": [{"function": {"name": "f", "arguments": text}}]},
        lambda text: {"function_call": {"name": "f", "arguments": text}},
        lambda text: {"output": [{"type": "function_call", "arguments": text}]},
    ],
    ids=["chat", "older chat", "responses"],
)
def test_map_text_reads_tool_arguments(call: Callable[[str], Any]) -> None:
    """
    No escape hides a text in them; they are JSON again afterwards, numbers and all.
    """
    text = r'{"n": [1, 2.5, "J\u00f6rg \"J.\""], "more": {"arguments": "{\"a\": \"J\\u00f6rg\"}"}}'
    event = ModelEvent(model="m", messages=[call(text)], response=call(text))

    event.map_text(lambda seen: seen.replace("Jörg", "[name]"))

    inner = r"{\"a\":\"[name]\"}"
    mapped = call(f'{{"n":[1,2.5,"[name] \\"J.\\""],"more":{{"arguments":"{inner}"}}}}')
    assert event.messages == [mapped]
    assert event.response == mapped


@pytest.mark.parametrize(
    "text", ["Jörg", '{"name": "Jörg', '"Jörg"', "", "17", "{" * 5000, '{"n": ' + "9" * 5000 + "}"]
)
def test_map_text_takes_what_is_no_json_as_text(text: str) -> None:
    """
    Arguments that do not parse, or to no container, are shown as they are.
    """
    event = ModelEvent(model="m", inputs={"arguments": text})
    seen: list[str] = []

    def note(shown: str) -> str:
        seen.append(shown)
        return shown.upper()

    event.map_text(note)

    assert seen == [text]
    assert event.inputs == {"arguments": text.upper()}


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ('{"a": "secret", "a": "last"}', '{"a":"LAST"}'),
        ('{"a": NaN, "b": "\n"}', '{"a":null,"b":"\\n"}'),
        (r'["\ud800", 12345678901234567890123]', '["\ufffd","12345678901234567890123"]'),
        ("[" * 300 + "]" * 300, "[" * 200 + '"<TOO DEEP>"' + "]" * 200),
    ],
    ids=["key twice", "no JSON", "odd", "deep"],
)
def test_map_text_writes_what_it_has_shown(text: str, mapped: str) -> None:
    """
    Of loose JSON nothing is left that the function did not see, and what is left is legal.
    """
    event = ModelEvent(model="m", inputs={"arguments": text})

    event.map_text(str.upper)

    assert event.inputs == {"arguments": mapped}


def test_map_text_changes_no_container_of_the_users() -> None:
    """
    The event gets new ones, made plain where they are not.
    """
    inner = {"content": SECRET}
    messages = [inner, Message(SECRET)]
    event = ModelEvent(model="m", messages=messages)

    event.map_text(redact)

    assert event.messages == [{"content": "[redacted]"}, {"text": "[redacted]"}]
    assert messages == [inner, Message(SECRET)]
    assert inner == {"content": SECRET}


@attrs.frozen
class Message:
    text: str


@pytest.mark.parametrize("answer", [None, 1, b"text", ["text"]])
@pytest.mark.parametrize("place", [{"error": "x"}, {"extra": {"arguments": '["x"]'}}])
def test_map_text_takes_nothing_but_text(answer: Any, place: dict[str, Any]) -> None:
    """
    A function that returns another thing is an error that quotes nothing.
    """
    event = model_event(**place)

    with pytest.raises(TypeError) as caught:
        event.map_text(lambda text: answer if text == "x" else text)

    name = type(answer).__name__
    assert str(caught.value) == f"map_text takes a function that returns a str, not a {name}"
    assert event == model_event(**place)


def test_map_text_is_all_or_nothing() -> None:
    """
    Whatever the function raises goes through, and the event is as it was.
    """
    event = model_event(metadata={"a": [SECRET]}, extra={"z": 1, "last": "x"})
    before = deepcopy(event)

    def fail_late(text: str) -> str:
        if text == "x":
            raise KeyboardInterrupt
        return redact(text)

    with pytest.raises(KeyboardInterrupt):
        event.map_text(fail_late)

    assert event == before
