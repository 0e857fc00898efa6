"""
What holds for every dialect: one suite, run for each.
"""

from __future__ import annotations

from copy import deepcopy
from math import isfinite, nan
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import attrs
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._records import Record, Session
from hh_exporter._values.legalize import legalize
from hh_exporter.events import (
    CreateModelEventBatchRequestBody,
    CreateModelEventBatchResponseBody,
    CreateModelEventRequestBody,
    CreateModelEventResponseBody,
    Event,
    new_id,
)
from hh_exporter.exceptions import EventError
from tests.builders import (
    described_body,
    dialects,
    make_codec,
    make_record,
    model_events,
    plain_events,
    session_properties,
)
from tests.support import EPOCH, model_event

NUMBERS = ("duration", "cost", "start_time", "end_time")
SECRET = "what the user typed"


def test_each_dialect_is_known_by_its_name() -> None:
    """
    The name that a setting gives is the one that the dialect has.
    """
    assert {name: make().name for name, make in DIALECTS.items()} == {n: n for n in DIALECTS}


# Reading.


@dialects
def test_answers_are_read_and_written(dialect: Dialect) -> None:
    """
    The bodies of answers convert both ways, as the wire has them.
    """
    structure, unstructure = dialect.converter.structure, dialect.converter.unstructure
    one = {"event_id": "e1", "success": True}
    many = {"event_ids": ["e1"], "errors": ["x"], "session_id": "s1", "success": True}

    assert unstructure(structure(one, CreateModelEventResponseBody)) == one
    assert unstructure(structure(many, CreateModelEventBatchResponseBody)) == many


@dialects
def test_structuring_adds_nothing(dialect: Dialect) -> None:
    """
    An event that is read gets no id, no times and no session, a session no id.
    """
    event = dialect.converter.structure({"model": "m"}, ModelEvent)
    session = dialect.converter.structure({"session_name": "s"}, SessionProperties)

    assert event == ModelEvent(model="m")
    assert session == SessionProperties(session_name="s", session_id=None)
    assert dialect.converter.unstructure(session) == (
        {"session_name": "s"}
        if dialect.name == "legacy"
        else {"event_type": "session", "event_name": "s", "inputs": {}}
    )


@dialects
def test_null_counts_as_unset(dialect: Dialect) -> None:
    """
    A null leaves its field unset, also where the wire allows no null.
    """
    nulls = dict.fromkeys(a.name for a in attrs.fields(ModelEvent) if a.name != "extra")

    event = dialect.converter.structure(nulls | {"model": "m"}, ModelEvent)

    assert event == ModelEvent(model="m")


@dialects
def test_unknown_keys_are_kept_apart(dialect: Dialect) -> None:
    """
    A key that no field has goes to `extra` as it is, null and "extra" included.
    """
    extra = {"children_ids": ["e2"], "new": None, "extra": {"a": 1}}

    assert dialect.converter.structure({"model": "m"} | extra, ModelEvent).extra == extra


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
        "is not a known key",
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


@dialects
@pytest.mark.parametrize(
    ("body", "value", "path", "problem"),
    WRONG,
    ids=[f"{body.__name__} {path} {problem}" for body, _, path, problem in WRONG],
)
def test_a_wrong_value_is_named_by_its_path(
    dialect: Dialect, body: type[Any], value: Any, path: str | None, problem: str
) -> None:
    """
    The error says where and what, without the value and without its cause.
    """
    with pytest.raises(EventError) as caught:
        dialect.converter.structure(value, body)

    assert (caught.value.field, caught.value.problem) == (path, problem)
    assert str(caught.value) == (f"{path}: {problem}" if path else problem)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# What is sent of an event.


@dialects
def test_a_model_is_enough(dialect: Dialect) -> None:
    """
    What the wire requires beyond it is filled in.
    """
    described_body(dialect, dialect.single_path()).validate(
        orjson.loads(
            dialect.wrap_single(make_codec(dialect=dialect).encode(ModelEvent(model="m"), "e1"))
        )
    )


@dialects
@given(event=plain_events)
def test_an_event_of_any_kind_has_the_shape_of_its_route(dialect: Dialect, event: Event) -> None:
    """
    Whatever its fields are, nothing is sent that the API refuses, and nothing is lost.
    """
    record = make_codec(dialect=dialect).encode(event, "e1")

    wire = orjson.loads(record.data)
    if dialect.name == "legacy":
        assert {"project", "source", "config", "inputs", "duration"} <= wire.keys()
        del wire["project"]
    assert orjson.loads(dialect.wrap([record], None, record.route))["events"]
    described_body(V1Dialect(), "/v1/events/batch").validate({"events": [wire]})
    for name in ("inputs", "outputs", "config", "metrics", "feedback", "user_properties"):
        said = orjson.loads(orjson.dumps(legalize(getattr(event, name))))
        if type(said) is dict:
            assert wire[name] == said
        elif said is not None:
            assert said in wire["metadata"].values()


@dialects
def test_events_of_every_kind_are_read_strictly(dialect: Dialect) -> None:
    """
    By the names of our fields, with an error that names what is wrong.
    """
    structure = dialect.converter.structure
    said = {"event_type": "tool", "children_ids": ["a"], "inputs": {"q": 1}, "x": 2}

    assert structure(said, Event) == Event(
        event_type="tool", children_ids=["a"], inputs={"q": 1}, extra={"x": 2}
    )
    for name, value in {"children_ids": "ab", "inputs": [], "event_name": 5}.items():
        with pytest.raises(EventError, match=name):
            structure({"event_type": "tool", name: value}, Event)
    with pytest.raises(EventError, match="event_type"):
        structure({"event_name": "x"}, Event)


OWN, OURS = new_id(), new_id()


@dialects
def test_a_session_id_that_is_no_uuid_becomes_one(dialect: Dialect) -> None:
    """
    The API replaces such an id by a new one each time: the UUID that is sent is always the same,
    and the program's own id is kept in the metadata.
    """
    assert to_session_uuid("chat 7") == str(uuid5(NAMESPACE_URL, "chat 7"))
    event = model_event(session_id="chat 7", parent_id="chat 7", metadata={"user": "u1"})
    session = SessionProperties(session_id="chat 7", metadata={"session_key": "mine"})

    wire = dialect.unstructure(event)
    described = dialect.converter.unstructure(session)

    assert wire["session_id"] == wire["parent_id"] == described["session_id"]
    assert wire["session_id"] == to_session_uuid("chat 7")
    assert wire["metadata"].items() >= {"user": "u1", "session_key": "chat 7"}.items()
    assert described["metadata"] == {"session_key": "mine", "session_key (2)": "chat 7"}
    assert (event.session_id, event.metadata) == ("chat 7", {"user": "u1"})


@dialects
@pytest.mark.parametrize("session_id", [OWN, OWN.upper()], ids=["lower case", "upper case"])
def test_a_session_id_that_is_a_uuid_stays(dialect: Dialect, session_id: str) -> None:
    """
    As it is written, and nothing is added for it.
    """
    wire = dialect.unstructure(model_event(session_id=session_id, parent_id="e0"))

    assert (wire["session_id"], wire["parent_id"]) == (session_id, "e0")
    assert "session_key" not in wire.get("metadata", {})


@dialects
def test_an_error_is_sent_or_left_out(dialect: Dialect) -> None:
    """
    `error: null`, which some servers refuse, is never sent; an empty text is.
    """
    assert "error" not in dialect.unstructure(model_event(error=None))
    assert dialect.unstructure(model_event(error=""))["error"] == ""


@dialects
def test_stamps_fill_gaps(dialect: Dialect) -> None:
    """
    The id is the given one; session and source are the event's own before ours.
    """
    ours: dict[str, Any] = {
        "event_id": "e1",
        "session_id": OURS,
        "project": "ours",
        "source": "ours",
    }
    own = model_event(event_id="own", session_id=OWN, source="own")
    gap = model_event()

    wire = dialect.unstructure(own, **ours)
    filled = dialect.unstructure(gap, **ours)

    assert [wire[name] for name in ("event_id", "session_id", "source")] == ["e1", OWN, "own"]
    assert [filled[name] for name in ("event_id", "session_id", "source")] == ["e1", OURS, "ours"]
    assert not {"event_id", "session_id", "source"} & dialect.unstructure(gap).keys()


@dialects
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
def test_missing_times_are_derived(
    dialect: Dialect, given: dict[str, Any], expected: tuple[float, ...]
) -> None:
    """
    Two of start, end and duration give the third; the end is now if it must be.
    """
    wire = dialect.unstructure(ModelEvent(model="m", **given), now=100.0)

    assert (wire["start_time"], wire["end_time"], wire["duration"]) == expected


@dialects
def test_times_are_unix_milliseconds(dialect: Dialect) -> None:
    """
    An event that says nothing of time ended when it was pushed.
    """
    event = ModelEvent(model="m", duration=250)

    wire = orjson.loads(make_codec(dialect=dialect).encode(event, "e1").data)

    assert wire["end_time"] == EPOCH * 1000
    assert wire["start_time"] == EPOCH * 1000 - 250


class Subclass(dict[str, Any]):
    """
    A mapping that could run code of its own when it is read.
    """


class Liar:
    """
    An object whose class says that it is a dict.
    """

    __class__ = dict  # type: ignore[assignment]


LOOKED_INTO = (
    *("response", "usage", "template_inputs", "tools", "inputs", "outputs", "config"),
    *("metadata", "metrics", "feedback", "user_properties"),
)


@dialects
@pytest.mark.parametrize("value", [Subclass(a=1), Liar(), (1,), object()], ids=type)
@pytest.mark.parametrize("name", LOOKED_INTO)
def test_what_is_looked_into_is_plain_data(dialect: Dialect, name: str, value: object) -> None:
    """
    Anything else raises TypeError, whatever its class claims; nobody's code runs.
    """
    with pytest.raises(TypeError):
        dialect.unstructure(model_event(**{name: value}))


# Bodies.


@dialects
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_body_is_its_records_and_the_overhead(dialect: Dialect, count: int) -> None:
    """
    Wrapping copies the ready bytes; `overhead` and a session say how many come on top.
    """
    records = [make_record(str(n), 10 + n) for n in range(count)]
    session = Session("s1", b',"is_single_session":true')
    size = dialect.overhead + sum(len(r.data) for r in records) + max(0, count - 1)

    plain, announcing = dialect.wrap(records), dialect.wrap(records, session)

    assert (len(plain), len(announcing)) == (size, size + len(session.data))
    (events,) = orjson.loads(plain).values()
    assert events == [orjson.loads(record.data) for record in records]
    assert orjson.loads(announcing).items() > orjson.loads(plain).items()
    assert orjson.loads(announcing)["is_single_session"] is True


# Any event.


def stamp(event: ModelEvent, event_id: str, now: float) -> ModelEvent:
    """
    Copy *event* with what push fills in, as ModelEvent documents it.
    """
    numbers = {name: getattr(event, name) for name in NUMBERS}
    odd: dict[str, Any] = {n: None for n, v in numbers.items() if v is not None and not isfinite(v)}
    event = attrs.evolve(event, event_id=event_id, **odd)
    start: Any = event.start_time
    end: Any = event.end_time
    duration: Any = event.duration
    if end is None:
        end = now if start is None or duration is None else start + duration
    if duration is None:
        duration = 0 if start is None else max(0, end - start)
    if start is None:
        start = end - duration if 0 <= end - duration < 253_402_300_800_000 else end
    return attrs.evolve(
        event,
        start_time=start,
        end_time=end,
        duration=duration,
        project="ours" if event.project is None else event.project,
        source="ours" if event.source is None else event.source,
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


@dialects
@settings(deadline=None)
@given(st.lists(model_events, min_size=1, max_size=3), session_properties)
@example(
    [model_event(response="\u2028😀", tool_choice=[nan], project="", cost=nan)],
    SessionProperties(metadata={"usage": [nan]}),
)
def test_the_bytes_say_what_the_classes_say(
    dialect: Dialect, batch: list[ModelEvent], session: SessionProperties
) -> None:
    """
    Whatever plain data events and session hold, a body is lawful, and parses equal
    to the unstructured request body of the stamped events.
    """
    codec = make_codec(dialect=dialect, project="ours", source="ours")
    unstructure = dialect.converter.unstructure
    records = [codec.encode(event, str(n)) for n, event in enumerate(batch)]
    stamped = [stamp(event, str(n), EPOCH * 1000) for n, event in enumerate(batch)]
    described = dialect.describe(session)
    body = CreateModelEventBatchRequestBody(model_events=stamped)
    single = None if described.event_id else True
    announcing = attrs.evolve(body, is_single_session=single, session_properties=session)

    parsed = orjson.loads(dialect.wrap(records))
    if described.event_id is None:
        parsed_announcing = orjson.loads(dialect.wrap(records, described))
    else:
        opening = Record(described.event_id, described.data, 0.0)
        parsed_announcing = orjson.loads(dialect.wrap([opening, *records]))

    assert parsed == as_json(unstructure(body))
    assert parsed_announcing == as_json(unstructure(announcing))
    described_body(dialect, dialect.batch_path()).validate(parsed)
    described_body(dialect, dialect.batch_path()).validate(parsed_announcing)
    for record, event in zip(records, stamped, strict=True):
        single = orjson.loads(dialect.wrap_single(record))
        assert single == as_json(unstructure(CreateModelEventRequestBody(model_event=event)))
        described_body(dialect, dialect.single_path()).validate(single)


@dialects
@settings(deadline=None)
@given(model_events, session_properties)
def test_what_was_given_stays_as_it_is(
    dialect: Dialect, event: ModelEvent, session: SessionProperties
) -> None:
    """
    Unstructuring changes no container of the user's, and encoding is the snapshot.
    """
    twins = deepcopy((event, session))
    codec = make_codec(dialect=dialect, source="ours")

    record = codec.encode(event, "e1")
    dialect.converter.unstructure(session)

    assert repr(attrs.astuple(event)) == repr(attrs.astuple(twins[0]))  # NaN equals nothing
    assert repr(attrs.astuple(session)) == repr(attrs.astuple(twins[1]))
    for name in (a.name for a in attrs.fields(ModelEvent)):
        if isinstance(payload := getattr(event, name), dict | list):
            payload.clear()
    assert record.data == codec.encode(twins[0], "e1").data
