"""
The dialect of /events/model[/batch]: what it sends, and what its classes read.
"""

from __future__ import annotations

import json
from copy import deepcopy
from math import isfinite, nan
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter.events import (
    CreateModelEventBatchRequestBody,
    CreateModelEventBatchResponseBody,
    CreateModelEventRequestBody,
    CreateModelEventResponseBody,
)
from hh_exporter.exceptions import EventError
from tests.builders import described, make_codec, make_record, model_events
from tests.support import EPOCH, model_event

GOLDEN = Path(__file__).parent / "wire/golden"
BODIES: dict[str, type[Any]] = {
    "/events/model": CreateModelEventRequestBody,
    "/events/model/batch": CreateModelEventBatchRequestBody,
}
NUMBERS = ("duration", "cost", "start_time", "end_time")
SECRET = "what the user typed"

dialect = LegacyDialect()
structure = dialect.converter.structure
unstructure = dialect.converter.unstructure


def recorded() -> list[Any]:
    requests = [json.loads(path.read_text("utf-8")) for path in sorted(GOLDEN.glob("*.json"))]
    return [
        pytest.param(BODIES[r["path"]], r["body"], id=f"{r['client']}-{r['case']}")
        for r in requests
        if r["path"] in BODIES
    ]


# Bodies, both ways.


@pytest.mark.parametrize(("body", "sent"), recorded())
def test_a_recorded_request_survives_the_round_trip(body: type[Any], sent: Any) -> None:
    """
    What the vendor's clients were recorded to send is read without loss.
    """
    before = deepcopy(sent)

    assert unstructure(structure(sent, body)) == before
    assert sent == before


def test_both_routes_were_recorded() -> None:
    """
    The round trip is not tested on nothing.
    """
    assert {param.values[0] for param in recorded()} == set(BODIES.values())
    assert len(recorded()) == 18


def test_every_field_is_one_of_the_api() -> None:
    """
    An event, and session properties, name no key that the API does not describe.
    """
    for cls, name in [
        (ModelEvent, "CreateModelEvent"),
        (SessionProperties, "SessionPropertiesBatch"),
    ]:
        components: Any = described(name).schema
        properties = components["components"]["schemas"][name]["properties"]
        assert {a.name for a in attrs.fields(cls)} - {"extra"} <= properties.keys()


def test_answers_are_read_and_written() -> None:
    """
    The bodies of answers convert both ways too.
    """
    one = {"event_id": "e1", "success": True}
    many = {"event_ids": ["e1"], "errors": ["missing model"], "success": True}

    assert unstructure(structure(one, CreateModelEventResponseBody)) == one
    assert unstructure(structure(many, CreateModelEventBatchResponseBody)) == many


def test_structuring_adds_nothing() -> None:
    """
    An event that is read gets no id, no times and no session, a session no id.
    """
    event = structure({"model": "m"}, ModelEvent)
    session = structure({"session_name": "s"}, SessionProperties)

    assert event == ModelEvent(model="m")
    assert session == SessionProperties(session_name="s", session_id=None)
    assert unstructure(session) == {"session_name": "s"}


def test_null_counts_as_unset() -> None:
    """
    A null leaves its field unset, also where the wire allows no null.
    """
    nulls = dict.fromkeys(a.name for a in attrs.fields(ModelEvent) if a.name != "extra")

    assert structure(nulls | {"model": "m"}, ModelEvent) == ModelEvent(model="m")
    body: dict[str, Any] = {
        "model_events": [],
        "is_single_session": None,
        "session_properties": None,
    }
    assert unstructure(structure(body, CreateModelEventBatchRequestBody)) == {"model_events": []}


def test_unknown_keys_go_to_extra_and_back() -> None:
    """
    A key that no field has is kept as it is, null and "extra" included.
    """
    wire = {"model": "m", "children_ids": ["e2"], "new": None, "extra": {"a": 1}}

    event = structure(wire, ModelEvent)

    assert event.extra == {"children_ids": ["e2"], "new": None, "extra": {"a": 1}}
    assert unstructure(event).items() >= wire.items()
    assert unstructure(structure({"new": 1}, SessionProperties)) == {"new": 1}


GOOD = {"model": "m"}
WRONG: list[Any] = [
    (ModelEvent, [], None, "must be an object"),
    (ModelEvent, {}, "model", "is missing"),
    (ModelEvent, {"model": None}, "model", "is missing"),
    (ModelEvent, {"model": 1}, "model", "must be a string"),
    (ModelEvent, GOOD | {"duration": "1"}, "duration", "must be a number"),
    (ModelEvent, GOOD | {"cost": True}, "cost", "must be a number"),
    (ModelEvent, GOOD | {"usage": [SECRET]}, "usage", "must be an object"),
    (ModelEvent, GOOD | {"messages": {}}, "messages", "must be an array of objects"),
    (ModelEvent, GOOD | {"messages": [SECRET]}, "messages", "must be an array of objects"),
    (ModelEvent, GOOD | {"tools": SECRET}, "tools", "must be an array of objects"),
    (SessionProperties, {"session_id": 1}, "session_id", "must be a string"),
    (CreateModelEventRequestBody, {}, "model_event", "is missing"),
    (CreateModelEventRequestBody, {"model_event": SECRET}, "model_event", "must be an object"),
    (
        CreateModelEventRequestBody,
        {"model_event": GOOD, "event": {}},
        "event",
        "is a key that does not belong here",
    ),
    (
        CreateModelEventBatchRequestBody,
        {"model_events": [GOOD] * 3 + [{"model": "m", "messages": [SECRET]}]},
        "model_events[3].messages",
        "must be an array of objects",
    ),
    (
        CreateModelEventBatchRequestBody,
        {"model_events": [GOOD, SECRET]},
        "model_events[1]",
        "must be an object",
    ),
    (
        CreateModelEventBatchRequestBody,
        {"model_events": [GOOD, {}]},
        "model_events[1].model",
        "is missing",
    ),
    (CreateModelEventBatchRequestBody, {"model_events": 1}, "model_events", "must be an array"),
    (
        CreateModelEventBatchRequestBody,
        {"model_events": [], "is_single_session": 1},
        "is_single_session",
        "must be true or false",
    ),
    (
        CreateModelEventBatchRequestBody,
        {"model_events": [], "session_properties": {"metadata": SECRET}},
        "session_properties.metadata",
        "must be an object",
    ),
    (CreateModelEventBatchResponseBody, {"event_ids": [1]}, "event_ids[0]", "must be a string"),
]


@pytest.mark.parametrize(
    ("body", "value", "path", "problem"),
    WRONG,
    ids=[f"{body.__name__} {path} {problem}" for body, _, path, problem in WRONG],
)
def test_a_wrong_value_is_named_by_its_path(
    body: type[Any], value: Any, path: str | None, problem: str
) -> None:
    """
    The error says where and what, without the value and without its cause.
    """
    with pytest.raises(EventError) as caught:
        structure(value, body)

    assert (caught.value.field, caught.value.problem) == (path, problem)
    assert str(caught.value) == (f"{path}: {problem}" if path else problem)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# What is sent.


def sent(event: ModelEvent, **stamps: Any) -> dict[str, Any]:
    return dialect.unstructure(event, **stamps)


def test_what_the_wire_requires_is_filled_in() -> None:
    """
    A model alone makes a complete event, and what is unset stays out.
    """
    wire = sent(ModelEvent(model="m"))

    assert wire == {
        "model": "m",
        "project": "default",
        "provider": "unknown",
        "messages": [],
        "response": {},
        "usage": {},
        "duration": 0,
    }
    described("CreateModelEvent").validate(wire)


def test_an_error_is_sent_or_left_out() -> None:
    """
    `error: null`, which some clients refuse, is never sent; an empty text is.
    """
    assert "error" not in sent(model_event(error=None))
    assert sent(model_event(error=""))["error"] == ""


def test_stamps_fill_gaps_and_leave_the_event_alone() -> None:
    """
    The id is the given one; project and source are the event's own before ours.
    """
    event = model_event(event_id="own", source="own")
    before = deepcopy(event)

    wire = sent(event, event_id="e1", project="ours", source="ours")

    assert (wire["event_id"], wire["project"], wire["source"]) == ("e1", "ours", "own")
    assert event == before


def test_a_field_wins_over_extra() -> None:
    """
    What `extra` says of a field that is set, or filled in, changes nothing.
    """
    wire = sent(ModelEvent(model="m", extra={"model": "other", "new": 1}), event_id="e1")

    assert (wire["model"], wire["new"]) == ("m", 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (100.0, 100.0, 0)),
        ({"duration": 30}, (70.0, 100.0, 30)),
        ({"start_time": 40}, (40, 100.0, 60.0)),
        ({"start_time": 400}, (400, 100.0, 0)),
        ({"end_time": 50}, (50, 50, 0)),
        ({"start_time": 40, "duration": 30}, (40, 70, 30)),
        ({"end_time": 90, "duration": 30}, (60, 90, 30)),
        ({"start_time": 40, "end_time": 90}, (40, 90, 50)),
        ({"start_time": 90, "end_time": 40}, (90, 40, 0)),
        ({"start_time": 40, "end_time": 90, "duration": 7}, (40, 90, 7)),
    ],
    ids=str,
)
def test_missing_times_are_derived(given: dict[str, Any], expected: tuple[float, ...]) -> None:
    """
    Two of start, end and duration give the third; the end is now if it must be.
    """
    wire = sent(ModelEvent(model="m", **given), now=100.0)

    assert (wire["start_time"], wire["end_time"], wire["duration"]) == expected


def test_times_are_unix_milliseconds() -> None:
    """
    An event that says nothing of time ended when it was pushed.
    """
    wire = orjson.loads(make_codec().encode(ModelEvent(model="m", duration=250), "e1").data)

    assert wire["end_time"] == EPOCH * 1000
    assert wire["start_time"] == EPOCH * 1000 - 250


@pytest.mark.parametrize("response", ["text", "", 1, 0.5, False, [1], (1,)], ids=repr)
def test_a_response_that_is_no_object_becomes_content(response: object) -> None:
    """
    Whatever a model returned arrives as an object.
    """
    assert sent(model_event(response=response))["response"] == {"content": response}


def test_a_response_that_is_an_object_stays() -> None:
    """
    Also an empty one.
    """
    assert sent(model_event(response={}))["response"] == {}
    assert sent(model_event(response={"content": "Hi"}))["response"] == {"content": "Hi"}


def test_a_single_tool_is_sent_as_an_array() -> None:
    """
    An object of tools becomes an array of one; an array stays.
    """
    tool = {"type": "function"}

    assert sent(model_event(tools=tool))["tools"] == [tool]
    assert sent(model_event(tools=[tool]))["tools"] == [tool]
    assert "tools" not in sent(model_event())


def test_a_tool_choice_is_text() -> None:
    """
    An object is sent as its JSON text; a word stays a word.
    """
    choice = {"type": "function", "function": {"name": "größe"}}

    assert json.loads(sent(model_event(tool_choice=choice))["tool_choice"]) == choice
    assert sent(model_event(tool_choice="auto"))["tool_choice"] == "auto"
    assert "tool_choice" not in sent(model_event())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_body_is_its_records_and_the_overhead(count: int) -> None:
    """
    Wrapping copies the ready bytes; `overhead` says how many come on top.
    """
    records = [make_record(str(n), 10 + n) for n in range(count)]

    body = dialect.wrap(records)

    assert orjson.loads(body) == {"model_events": [orjson.loads(r.data) for r in records]}
    assert len(body) == dialect.overhead + sum(len(r.data) for r in records) + count - 1


# Any event.


def stamp(event: ModelEvent, event_id: str, now: float) -> ModelEvent:
    """
    Copy *event* with what push fills in, as ModelEvent documents it.
    """
    numbers = {name: getattr(event, name) for name in NUMBERS}
    odd: dict[str, Any] = {n: None for n, v in numbers.items() if v is not None and not isfinite(v)}
    event = attrs.evolve(event, event_id=event_id, **odd)
    start, end, duration = event.start_time, event.end_time, event.duration
    if end is None:
        end = now if start is None or duration is None else start + duration
    if duration is None:
        duration = 0 if start is None else max(0, end - start)
    if start is None:
        start = end - duration
    return attrs.evolve(
        event,
        start_time=start,
        end_time=end,
        duration=duration,
        project="ours" if event.project is None else event.project,
        source="ours" if event.source is None else event.source,
        provider="unknown" if event.provider is None else event.provider,
    )


def as_json(value: Any) -> Any:
    """
    Say *value* as JSON does, which has no NaN and no infinity.
    """
    match value:
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case list():
            return [as_json(item) for item in value]
        case float() if not isfinite(value):
            return None
        case _:
            return value


@settings(deadline=None)
@given(st.lists(model_events, min_size=1, max_size=3))
@example([model_event(response="\u2028😀", tool_choice=[nan], project="", cost=nan)])
def test_the_bytes_say_what_the_classes_say(batch: list[ModelEvent]) -> None:
    """
    A body parses equal to the unstructured request body of the stamped events.
    """
    codec = make_codec(project="ours", source="ours")
    records = [codec.encode(event, str(n)) for n, event in enumerate(batch)]
    stamped = [stamp(event, str(n), EPOCH * 1000) for n, event in enumerate(batch)]

    parsed = orjson.loads(dialect.wrap(records))

    assert parsed == as_json(unstructure(CreateModelEventBatchRequestBody(model_events=stamped)))
    described("ModelEventBatchRequest").validate(parsed)
    for record, event in zip(records, stamped, strict=True):
        single = orjson.loads(dialect.wrap_single(record))
        assert single == as_json(unstructure(CreateModelEventRequestBody(model_event=event)))
        described("ModelEventRequest").validate(single)


@settings(deadline=None)
@given(model_events)
def test_what_is_sent_can_be_read(event: ModelEvent) -> None:
    """
    Our own bodies satisfy our own strict reading, and come out of it the same.
    """
    sent = orjson.loads(dialect.wrap([make_codec().encode(event, "e1")]))

    assert unstructure(structure(sent, CreateModelEventBatchRequestBody)) == sent


@settings(deadline=None)
@given(model_events)
def test_a_record_is_what_the_event_was(event: ModelEvent) -> None:
    """
    Encoding leaves the event as it is, and what happens to it later leaves the bytes.
    """
    twin = deepcopy(event)

    record = make_codec().encode(event, "e1")

    assert repr(attrs.astuple(event)) == repr(attrs.astuple(twin))  # NaN is not equal to itself
    for name in (a.name for a in attrs.fields(ModelEvent)):
        if isinstance(payload := getattr(event, name), dict | list):
            payload.clear()
    assert record.data == make_codec().encode(twin, "e1").data
