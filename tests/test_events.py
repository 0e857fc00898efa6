"""
The classes that users fill.
"""

from __future__ import annotations

import json
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
    Event,
    EventUpdate,
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


@pytest.mark.parametrize(("cls", "name"), [(Event, "event_type"), (EventUpdate, "event_id")])
def test_the_other_classes_need_one_field_too(cls: Callable[..., Any], name: str) -> None:
    """
    An event its type, an update the id of what it changes.
    """
    assert {k: v for k, v in attrs.asdict(cls(**{name: "x"})).items() if v is not None} == {
        name: "x"
    }
    with pytest.raises(TypeError, match=name):
        cls()


@pytest.mark.parametrize("cls", [Event, EventUpdate])
def test_what_other_classes_share_with_a_model_event_is_the_same(cls: type[Any]) -> None:
    """
    A field has one name, one type and one default wherever it stands.
    """
    known = {a.name: a for a in attrs.fields(attrs.resolve_types(ModelEvent))}

    own = {a.name for a in attrs.fields(cls)} - known.keys()

    assert own <= {"event_type", "children_ids"}
    for attribute in attrs.fields(attrs.resolve_types(cls)):
        if attribute.name in known and attribute.default is None:
            assert attribute.type == known[attribute.name].type


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

KEPT = {"model", "provider", "project", "source", "event_id", "session_id", "parent_id"}
"""What no text of is mapped; numbers aside."""
NUMBERS = {"cost", "duration", "start_time", "end_time"}
OTHER = {"event_type", "children_ids"}
"""What no text of is mapped in the other classes."""
NAMES = ("error", "event_name")


def redact(text: str) -> str:
    return text.replace(SECRET, "[redacted]")


def test_map_text_reaches_all_free_text() -> None:
    """
    Each text at whatever depth, but no key, and no field that holds an id, a name or a number.
    """
    payload = {"a": [SECRET, {"b": (1, f"<{SECRET}>", None, 2.5)}], SECRET: True}
    free = {a.name for a in attrs.fields(ModelEvent)} - KEPT - NUMBERS
    fields: dict[str, Any] = dict.fromkeys(free, payload) | dict.fromkeys((*NAMES, *KEPT), SECRET)
    event = ModelEvent(**fields | dict.fromkeys(NUMBERS, 1.5))

    assert event.map_text(redact) is event

    mapped = {"a": ["[redacted]", {"b": [1, "<[redacted]>", None, 2.5]}], SECRET: True}
    for name in free:
        assert getattr(event, name) == ("[redacted]" if name in NAMES else mapped), name
    assert {getattr(event, name) for name in KEPT} == {SECRET}
    assert {getattr(event, name) for name in NUMBERS} == {1.5}


@pytest.mark.parametrize("cls", [Event, EventUpdate, SessionProperties])
def test_map_text_reaches_the_other_classes(cls: Any) -> None:
    """
    The same fields, as far as these have them.
    """
    names = [a.name for a in attrs.fields(cls)]
    instance = cls(**dict.fromkeys(names, SECRET))

    assert instance.map_text(redact) is instance

    mapped = {name for name in names if getattr(instance, name) == "[redacted]"}
    assert mapped == set(names) - KEPT - NUMBERS - OTHER


CALLS: dict[str, Callable[[str], Any]] = {
    "chat": lambda text: {"tool_calls": [{"function": {"name": "f", "arguments": text}}]},
    "older chat": lambda text: {"function_call": {"name": "f", "arguments": text}},
    "responses": lambda text: {"output": [{"type": "function_call", "arguments": text}]},
    "result": lambda text: {"role": "tool", "tool_call_id": "c1", "content": text},
    "result in parts": lambda text: {"role": "tool", "content": [{"type": "text", "text": text}]},
    "output": lambda text: {"type": "function_call_output", "output": text},
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_map_text_reads_json_in_text(call: Callable[[str], Any]) -> None:
    """
    No escape hides a text in it, and what was not changed stays to the letter.
    """
    text = r'{"n": [1, 2.50,"J\u00f6rg \"J.\"\u2026"], "more": {"a": "{\"a\": \"J\\u00f6rg\"}"}}'
    event = ModelEvent(model="m", messages=[call(text)], response=call(text), outputs=call(text))

    event.map_text(lambda seen: seen.replace("Jörg", "[name]"))

    inner = r"{\"a\": \"[name]\"}"
    mapped = call(f'{{"n": [1, 2.50,"[name] \\"J.\\"…"], "more": {{"a": "{inner}"}}}}')
    assert event.messages == [mapped]
    assert event.response == event.outputs == mapped


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        (r'{"J\u00f6rg": 1}', '{"[name]": 1}'),
        ('{"card": 4111111111111111}', '{"card": "[card]"}'),
        (' [\r\n"J\\u00f6rg" ]\n', ' [\r\n"[name]" ]\n'),
        (r'"J\u00f6rg"', '"[name]"'),
        (r'It said: {"name": "J\u00f6rg", "x": 1}.', 'It said: {"name": "[name]", "x": 1}.'),
        (r'data: ["J\u00f6rg"]' + "\n" + r'data: ["J\u00f6rg', 'data: ["[name]"]\ndata: ["[name]'),
        (r'Say "{\"a\": \"J\\u00f6rg\"}"', r'Say "{\"a\": \"[name]\"}"'),
        (r"C:\users\u00f6 J\u00f6rg \u00", r"C:\\usersö [name] \\u00"),
        (r'["\ud83d\ude00 J\u00f6rg \ud800"]', '["\U0001f600 [name] \ufffd"]'),
        ("[" * 5000 + r'"J\u00f6rg"', "[" * 5000 + '"[name]"'),
        (r'["\u0022J\u00f6rg\u005cu00f6"]', r'["\"[name]ö"]'),
    ],
)
def test_map_text_shows_what_a_person_would_see(text: str, mapped: str) -> None:
    """
    Whatever JSON stands in a text, whole, cut or within other text.
    """
    event = ModelEvent(model="m", error=text)

    event.map_text(lambda t: t.replace("Jörg", "[name]").replace("4111111111111111", "[card]"))

    assert event.error == mapped


@pytest.mark.parametrize(
    "text",
    [
        *(r'{"a": "J\u00f6rg"}', r'["\ud800", 1e5, NaN]', '{"a": 1, "a": "\n"}', "[1]", "[ ]"),
        *(r'"\u00f6" \x "\u00', "\\", r"\u", r"\\u00f6", "[link](x)", '{"n": -1.50E+2}', ""),
        "[" * 300 + "]" * 300,
        r"\u005c" + "u005c" * 5000,
    ],
)
def test_map_text_leaves_what_is_not_to_be_changed(text: str) -> None:
    """
    To the letter, whatever is JSON in it.
    """
    event = ModelEvent(model="m", error=text)

    event.map_text(lambda seen: seen)

    assert event.error == text


def nest(value: object, levels: int) -> str:
    for _ in range(levels):
        value = json.dumps([value])
    return str(value)


def test_map_text_follows_json_in_json_to_its_bound() -> None:
    """
    Ten levels are more than anybody writes; what is deeper is shown with its escapes.
    """
    event = ModelEvent(model="m", inputs=[nest("Jörg", 10), nest("Jörg", 12)])

    event.map_text(lambda seen: seen.replace("Jörg", "[name]"))

    assert event.inputs == [nest("[name]", 10), nest("Jörg", 12)]


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


def test_map_text_sees_a_key_that_is_there_twice() -> None:
    """
    Of loose JSON nothing is left that the function did not see.
    """
    event = ModelEvent(model="m", inputs={"arguments": '{"a": "secret", "a": "last"}'})

    event.map_text(str.upper)

    assert event.inputs == {"arguments": '{"A": "SECRET", "A": "LAST"}'}


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
