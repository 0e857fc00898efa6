"""
The dialect of /v1/events[/batch]: where it puts what, and that it loses nothing.

The places are those of reading M2 in the wire contract.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter.events import (
    CreateModelEventBatchRequestBody,
    CreateModelEventRequestBody,
    new_id,
)
from tests.builders import described, described_body, make_codec, model_events
from tests.support import model_event

SESSION = new_id()

GOLDEN = Path(__file__).parents[1] / "wire/golden"
SPREAD = {
    "inputs": "inputs",
    "template_inputs": "inputs",
    "outputs": "outputs",
    "response": "outputs",
    "config": "config",
    "metadata": "metadata",
    "usage": "metadata",
    "metrics": "metrics",
    "feedback": "feedback",
    "user_properties": "user_properties",
}
"""The fields whose keys are found again, and in which object those are first sought."""

dialect = V1Dialect()
unstructure = dialect.converter.unstructure


def sent(**fields: Any) -> dict[str, Any]:
    """
    Say what is sent of an event with nothing but a model and *fields*, times and name aside.
    """
    wire = dialect.unstructure(ModelEvent(**{"model": "m"} | fields))
    described("V1Event", "v1").validate(wire)
    aside = {"duration", "start_time", "end_time"} | ({"event_name"} - fields.keys())
    return {k: v for k, v in wire.items() if k not in aside}


# Places.


def test_each_field_has_its_place() -> None:
    """
    An event with every field set is put where the API's events have each.
    """
    tool = {"type": "function", "function": {"name": "look_up"}}
    event = ModelEvent(
        model="gpt-4o",
        provider="openai",
        messages=[{"role": "user", "content": "Hello"}],
        response={"role": "assistant", "content": "Hi", "tool_calls": [], "refusal": None},
        usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached": 0},
        duration=12.5,
        cost=0.01,
        error="late",
        project="p",
        source="production",
        event_name="greet",
        hyperparameters={"temperature": 0},
        template=[{"role": "user", "content": "{{greeting}}"}],
        template_inputs={"greeting": "Hello"},
        tools=[tool],
        tool_choice={"type": "auto"},
        response_format={"type": "text"},
        event_id="e1",
        session_id=SESSION,
        parent_id="e0",
        start_time=1.0,
        end_time=13.5,
        metadata={"user": "u1"},
        metrics={"score": 1},
        feedback={"rating": 5},
        user_properties={"plan": "pro"},
        config={"prompt_version": 3},
        inputs={"question": "?"},
        outputs={"sources": []},
        extra={"project_id": "p1", "children_ids": ["e2"], "new": 1},
    )

    wire = dialect.unstructure(event, now=99.0, project="ours", source="ours")

    described("V1Event", "v1").validate(wire)
    assert wire == {
        "event_type": "model",
        "event_id": "e1",
        "session_id": SESSION,
        "parent_id": "e0",
        "children_ids": ["e2"],
        "project_id": "p1",
        "event_name": "greet",
        "source": "production",
        "error": "late",
        "start_time": 1.0,
        "end_time": 13.5,
        "duration": 12.5,
        "inputs": {
            "question": "?",
            "chat_history": [{"role": "user", "content": "Hello"}],
            "greeting": "Hello",
        },
        "outputs": {
            "sources": [],
            "role": "assistant",
            "content": "Hi",
            "tool_calls": [],
            "refusal": None,
        },
        "config": {
            "prompt_version": 3,
            "model": "gpt-4o",
            "provider": "openai",
            "hyperparameters": {"temperature": 0},
            "template": [{"role": "user", "content": "{{greeting}}"}],
            "tools": [tool],
            "tool_choice": {"type": "auto"},
            "response_format": {"type": "text"},
        },
        "metadata": {
            "user": "u1",
            "cost": 0.01,
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "cached": 0,
            "new": 1,
        },
        "metrics": {"score": 1},
        "feedback": {"rating": 5},
        "user_properties": {"plan": "pro"},
    }


def test_a_model_alone_makes_an_event() -> None:
    """
    Inputs are always there; of the rest nothing is made up but a duration and a name.
    """
    wire = dialect.unstructure(ModelEvent(model="m"), project="ours")

    assert wire == {
        "event_type": "model",
        "event_name": "m",
        "inputs": {},
        "config": {"model": "m"},
        "duration": 0,
    }


@pytest.mark.parametrize("response", ["text", "", 1, 0.5, False, [1]], ids=repr)
def test_a_response_that_is_no_object_becomes_content(response: object) -> None:
    """
    Whatever a model returned is the content of the outputs.
    """
    assert sent(response=response)["outputs"] == {"content": response}


def test_a_single_tool_is_sent_as_an_array() -> None:
    """
    An object of tools becomes an array of one; all else stays.
    """
    assert sent(tools={"type": "f"})["config"]["tools"] == [{"type": "f"}]
    assert sent(tools=[{"type": "f"}])["config"]["tools"] == [{"type": "f"}]
    assert sent(tools="f")["config"]["tools"] == "f"


# Places that are taken.


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        (
            {"inputs": {"chat_history": "mine"}, "messages": []},
            {"inputs": {"chat_history": "mine"}, "metadata": {"messages": []}},
        ),
        (
            {"inputs": {"a": 1}, "template_inputs": {"a": 2, "b": 3}},
            {"inputs": {"a": 1, "b": 3}, "metadata": {"template_inputs": {"a": 2}}},
        ),
        (
            {"messages": [], "template_inputs": {"chat_history": "x"}},
            {
                "inputs": {"chat_history": []},
                "metadata": {"template_inputs": {"chat_history": "x"}},
            },
        ),
        (
            {"outputs": {"content": "mine"}, "response": {"content": "Hi", "role": "r"}},
            {
                "outputs": {"content": "mine", "role": "r"},
                "metadata": {"response": {"content": "Hi"}},
            },
        ),
        (
            {"outputs": {"content": "mine"}, "response": "Hi"},
            {"outputs": {"content": "mine"}, "metadata": {"response": {"content": "Hi"}}},
        ),
        (
            {"config": {"model": "mine", "tools": 1}, "tools": {"a": 1}, "provider": "p"},
            {
                "config": {"model": "mine", "tools": 1, "provider": "p"},
                "metadata": {"model": "m", "tools": [{"a": 1}]},
            },
        ),
        (
            {"metadata": {"total_tokens": 1}, "usage": {"total_tokens": 2, "prompt_tokens": 3}},
            {"metadata": {"total_tokens": 1, "prompt_tokens": 3, "usage": {"total_tokens": 2}}},
        ),
        (
            {"cost": 0.1, "usage": {"cost": 7}},
            {"metadata": {"cost": 0.1, "usage": {"cost": 7}}},
        ),
        (
            {"cost": 0.1, "metadata": {"cost": 7}},
            {"metadata": {"cost": 7, "cost (2)": 0.1}},
        ),
        (
            {"metadata": {"a": 1, "a (2)": 2}, "extra": {"a": 3}},
            {"metadata": {"a": 1, "a (2)": 2, "a (3)": 3}},
        ),
        (
            {"metadata": {"usage": 1, "n": 1}, "usage": {"n": 2}},
            {"metadata": {"usage": 1, "n": 1, "usage (2)": {"n": 2}}},
        ),
    ],
)
def test_what_finds_its_place_taken_goes_to_the_metadata(
    fields: dict[str, Any], places: dict[str, Any]
) -> None:
    """
    What the user put at a place stays; the other is kept under the name of its field.
    """
    assert sent(**fields).items() >= places.items()


@pytest.mark.parametrize(
    "fields",
    [
        {"config": {"model": "m"}},
        {"outputs": {"content": ["Hi"]}, "response": {"content": ["Hi"]}},
        {"inputs": {"chat_history": [{"a": 1}]}, "messages": [{"a": 1}]},
        {"inputs": {"a": None}, "template_inputs": {"a": None}},
    ],
)
def test_what_is_there_already_is_not_kept_twice(fields: dict[str, Any]) -> None:
    """
    An equal value at its place is no collision.
    """
    assert "metadata" not in sent(**fields)


@pytest.mark.parametrize(("own", "other"), [(True, 1), (1, 1.0), (0, False), ("1", 1), (None, 0)])
def test_what_reads_differently_is_kept(own: object, other: object) -> None:
    """
    What Python takes for equal need not be so on the wire.
    """
    wire = orjson.dumps(sent(outputs={"a": own}, response={"a": other}))

    assert b'"outputs":{"a":%b}' % orjson.dumps(own) in wire
    assert b'"metadata":{"response":{"a":%b}}' % orjson.dumps(other) in wire


@pytest.mark.parametrize(
    "name",
    [
        *("inputs", "outputs", "config", "metadata", "metrics", "feedback", "user_properties"),
        *("usage", "template_inputs"),
    ],
)
@pytest.mark.parametrize("value", ["text", 0, False, [{"a": 1}]], ids=repr)
def test_what_must_be_an_object_and_is_none_goes_to_the_metadata(name: str, value: object) -> None:
    """
    A value that the wire would refuse at its place is kept under its field's name.
    """
    assert sent(**{name: value}) == {
        "event_type": "model",
        "inputs": {},
        "config": {"model": "m"},
        "metadata": {name: value},
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"project_id": 1},
        {"children_ids": "e1"},
        {"children_ids": ["e1", 2]},
        {"event_type": "tool"},
        {"event_type": None},
        {"new": None},
        {"inputs (2)": {}},
    ],
)
def test_a_key_that_the_wire_does_not_take_goes_to_the_metadata(extra: dict[str, Any]) -> None:
    """
    Of keys that no field has, the root gets those that it knows, in their type.
    """
    wire = sent(extra=extra)

    assert wire["metadata"] == extra
    assert wire["event_type"] == "model"
    assert sent(extra={"event_type": "model"}) == sent()


def test_containers_are_shared_where_nothing_is_added() -> None:
    """
    A push does not pay for copies of what stays as it is.
    """
    event = ModelEvent(model="m", response={"a": 1}, inputs={}, metadata={"b": 1}, metrics={})

    wire = dialect.unstructure(event)

    assert wire["outputs"] is event.response
    assert wire["metadata"] is event.metadata
    assert wire["metrics"] is event.metrics


# Any event.


def said(value: Any) -> str:
    """
    Say *value* as JSON, with keys in order, and without the numbers that JSON lacks.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def pairs(wire: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """
    List the keys and values of the event, of its objects and of what its metadata holds.
    """
    places = [wire, *wire.values(), *wire.get("metadata", {}).values()]
    for place in places:
        if isinstance(place, dict):
            yield from ((key, said(value)) for key, value in place.items())


known_extra = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.sampled_from(["model", "tool", None]),
        "project_id": st.text(max_size=3) | st.integers(0, 9),
        "children_ids": st.lists(st.text(max_size=3) | st.integers(0, 9), max_size=2),
    },
)


@settings(deadline=None)
@given(model_events, known_extra)
@example(ModelEvent(model="m", metadata={"usage": 1}, usage={"usage": 2}, cost=1), {})
def test_nothing_is_lost(event: ModelEvent, known: dict[str, Any]) -> None:
    """
    Each value of the event, project aside, is in a lawful body, and what the user put
    at a place is at that place.
    """
    event = attrs.evolve(event, extra=(event.extra or {}) | known)
    codec = make_codec(dialect=dialect)

    wire = orjson.loads(codec.encode(event, "e1").data)

    described("V1Event", "v1").validate(wire)
    found = set(pairs(wire))
    values = {value for _, value in found}
    for name, value in attrs.asdict(event, recurse=False).items():
        if value is None or name in ("project", "extra") or said(value) == "null":
            continue
        if name in SPREAD and isinstance(value, dict):
            assert {(key, said(item)) for key, item in value.items()} <= found, name
        elif name == "tools" and isinstance(value, dict):
            assert said([value]) in values
        else:
            assert said(value) in values, name
    for name in ("inputs", "outputs", "config", "metadata", "metrics", "feedback"):
        if isinstance(own := getattr(event, name), dict):
            assert wire[name].items() >= json.loads(said(own)).items()
    for name, value in (event.extra or {}).items():
        assert any(v == said(value) and k.startswith(name) for k, v in found)


# Sessions and bodies.


def test_a_session_is_an_event_of_its_own() -> None:
    """
    Each of its fields stands where events have it; its id is the session's, its name the event's.
    """
    session = SessionProperties(
        session_name="chat",
        session_id=SESSION,
        start_time=1.0,
        user_properties={"plan": "pro"},
        metadata={"source": "mine"},
        metrics={"score": 1},
        feedback={"rating": 5},
        source="production",
        inputs={"q": 1},
        outputs={"a": 2},
        config={"c": 1},
        error="late",
        extra={"new": 1},
    )
    before = deepcopy(session)

    wire = unstructure(session)

    described("V1Event", "v1").validate(wire)
    assert session == before
    assert wire == {
        "event_type": "session",
        "event_name": "chat",
        "event_id": SESSION,
        "session_id": SESSION,
        "start_time": 1.0,
        "user_properties": {"plan": "pro"},
        "metadata": {"source": "mine", "new": 1},
        "metrics": {"score": 1},
        "feedback": {"rating": 5},
        "source": "production",
        "inputs": {"q": 1},
        "outputs": {"a": 2},
        "config": {"c": 1},
        "error": "late",
    }


def test_what_a_session_leaves_open_is_filled_in() -> None:
    """
    It gets a name, the time and the exporter's source, each unless it has its own.
    """
    bare = dialect.describe(SessionProperties(session_id=SESSION), now=9.0, source="ours")
    own = SessionProperties(session_id=SESSION, session_name="s", start_time=1.0, source="own")

    assert orjson.loads(bare.data) == {
        "event_type": "session",
        "event_name": "session",
        "event_id": SESSION,
        "session_id": SESSION,
        "start_time": 9.0,
        "source": "ours",
        "inputs": {},
    }
    assert (bare.session_id, bare.event_id) == (SESSION, SESSION)
    assert orjson.loads(dialect.describe(own, now=9.0, source="ours").data) == unstructure(own)


def test_a_session_of_wrong_shapes_is_lawful() -> None:
    """
    What is no object where the API takes one is kept in the metadata.
    """
    session = SessionProperties(session_id=SESSION, metadata="text", user_properties=[1])

    wire = unstructure(session)

    described("V1Event", "v1").validate(wire)
    assert wire["metadata"] == {"metadata": "text", "user_properties": [1]}


def test_bodies_have_the_keys_of_the_wire() -> None:
    """
    A single body is the event itself; a batch has its session first among its events.
    """
    event = model_event()
    session = SessionProperties(session_name="s", session_id=SESSION)
    batch = CreateModelEventBatchRequestBody(model_events=[event])
    announcing = attrs.evolve(batch, is_single_session=True, session_properties=session)
    wire = dialect.unstructure(event)

    assert unstructure(CreateModelEventRequestBody(model_event=event)) == wire
    assert unstructure(batch) == {"events": [wire]}
    assert unstructure(announcing) == {
        "events": [unstructure(session), wire],
        "single_session": True,
    }


# Recorded requests.


def recorded(client: str) -> dict[str, Any]:
    """
    Load the recorded requests of *client* by case, those that carry events.
    """
    requests = [json.loads(p.read_text("utf-8")) for p in sorted(GOLDEN.glob(f"{client}.*.json"))]
    return {r["case"]: r for r in requests if "/events" in r["path"]}


V1 = recorded("python-1.x-v1")
LEGACY = recorded("python-1.x-legacy")


@pytest.mark.parametrize("case", V1)
def test_ours_agrees_with_a_recorded_request(case: str) -> None:
    """
    The vendor's client and we send the same event in one frame; that client's recorded
    mapping puts payloads elsewhere, the rest at the same places.
    """
    theirs, path = V1[case]["body"], V1[case]["path"]
    body = CreateModelEventRequestBody if path == "/v1/events" else CreateModelEventBatchRequestBody
    ours = unstructure(LegacyDialect().converter.structure(LEGACY[case]["body"], body))

    assert path in (dialect.single_path(), dialect.batch_path())
    for sent in (theirs, ours):
        described_body(dialect, path).validate(sent)
    frame = {"events", "single_session"}
    assert frame & ours.keys() == frame & theirs.keys()
    assert ours.get("single_session") == theirs.get("single_session")
    events = ours.get("events", [ours])
    sessions = [event for event in events if event["event_type"] == "session"]
    models = [event for event in events if event["event_type"] == "model"]
    for one, other in zip(models, theirs.get("events", [theirs]), strict=True):
        root = {"event_type", "source", "duration"}
        assert {k: one.get(k) for k in root} == {k: other.get(k) for k in root}
        assert one["config"].items() >= other["config"].items()
        assert one["inputs"]["chat_history"] == other["inputs"]["messages"]
        assert one["outputs"] == other["outputs"]["response"]
        assert one["metadata"].items() >= other["inputs"]["usage"].items()
    assert len(sessions) == ("session_properties" in theirs)
    for one in sessions:  # theirs has it beside its events
        other = theirs["session_properties"]
        assert one["event_name"] == other["session_name"]
        assert one["session_id"] == to_session_uuid(other["session_id"])
        assert one["user_properties"] == other["user_properties"]


def test_the_v1_routes_were_recorded() -> None:
    """
    The agreement is not tested on nothing.
    """
    assert {r["path"] for r in V1.values()} == {dialect.single_path(), dialect.batch_path()}
    assert len(V1) == 6
