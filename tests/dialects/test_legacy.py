"""
The dialect of /events/model[/batch]: what it sends, and what its classes read.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter.events import (
    CreateModelEventBatchRequestBody,
    CreateModelEventRequestBody,
)
from tests.builders import described, make_codec, model_events
from tests.support import model_event

SESSION = "6a0c4a5e-44d4-4f0c-9a53-7f26d4a3f0a1"

GOLDEN = Path(__file__).parents[1] / "wire/golden"
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


def test_a_null_in_a_body_is_left_out() -> None:
    """
    What a batch says of no session is not said again as null.
    """
    nulls = {"is_single_session": None, "session_properties": None}

    body = structure({"model_events": [], **nulls}, CreateModelEventBatchRequestBody)

    assert unstructure(body) == {"model_events": []}


def test_unknown_keys_are_sent_as_they_came() -> None:
    """
    A key that no field has survives, null and "extra" included.
    """
    wire = {"model": "m", "children_ids": ["e2"], "new": None, "extra": {"a": 1}}

    event = structure(wire, ModelEvent)

    assert unstructure(event).items() >= wire.items()
    assert unstructure(structure({"new": 1}, SessionProperties)) == {"new": 1}


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


def test_the_project_is_the_events_own_or_ours() -> None:
    """
    The event's own project wins over the exporter's, and that over the filler.
    """
    assert sent(model_event(project="own"), project="ours")["project"] == "own"
    assert sent(model_event(), project="ours")["project"] == "ours"
    assert sent(model_event())["project"] == "default"


def test_a_field_wins_over_extra() -> None:
    """
    What `extra` says of a field that is set, or filled in, changes nothing.
    """
    wire = sent(ModelEvent(model="m", extra={"model": "other", "new": 1}), event_id="e1")

    assert (wire["model"], wire["new"]) == ("m", 1)


@pytest.mark.parametrize(
    ("name", "value", "shape"),
    [
        *(("response", x, {"content": x}) for x in ("text", "", 1, 0.5, False, [1])),
        ("response", {}, {}),
        ("response", {"content": "Hi"}, {"content": "Hi"}),
        ("tools", {"type": "function"}, [{"type": "function"}]),
        ("tools", [{"type": "function"}], [{"type": "function"}]),
        ("tools", ["look_up"], [{"content": "look_up"}]),
        ("messages", "Hello", [{"role": "user", "content": "Hello"}]),
        ("messages", {"role": "user"}, [{"role": "user"}]),
        ("messages", ["Hello", {"role": "user"}], [{"content": "Hello"}, {"role": "user"}]),
        ("messages", [["Hello"], None], [{"content": ["Hello"]}, {"content": None}]),
        ("messages", 1, [{"content": 1}]),
        ("messages", [], []),
        ("template", "Hello, {{name}}", [{"content": "Hello, {{name}}"}]),
        ("tool_choice", "auto", "auto"),
        ("tool_choice", {"name": "größe"}, '{"name":"größe"}'),
        ("tool_choice", 1, "1"),
        ("usage", 12, {"value": 12}),
        ("hyperparameters", [0.7], {"value": [0.7]}),
        ("response_format", "json", {"value": "json"}),
        ("metadata", False, {"value": False}),
        ("inputs", "", {"value": ""}),
    ],
)
def test_plain_data_is_fitted_to_the_wire(name: str, value: Any, shape: Any) -> None:
    """
    What has another type than the wire takes is sent within one that it takes.
    """
    wire = sent(model_event(**{name: value}))

    assert wire[name] == shape
    assert type(wire[name]) is type(shape)
    described("CreateModelEvent").validate(wire)


def test_what_is_unset_stays_out() -> None:
    """
    None is neither fitted nor sent where the wire requires nothing.
    """
    assert not {"tools", "tool_choice", "template", "metadata"} & sent(model_event()).keys()


@pytest.mark.parametrize("name", ["messages", "template", "tools", "tool_choice"])
def test_what_is_fitted_is_plain_data(name: str) -> None:
    """
    An array's items and a choice, too, are looked at by their exact type.
    """

    class Choice(str):
        __slots__ = ()

    values: list[Any] = [Choice("auto"), (1,)]
    if name != "tool_choice":
        values += [[{}, Choice("auto")], [{}, (1,)]]
    for value in values:
        with pytest.raises(TypeError):
            sent(model_event(**{name: value}))


def test_a_session_is_fitted_too() -> None:
    """
    Its objects are objects, and keys that no field has are sent as they are.
    """
    session = SessionProperties(
        session_id=SESSION, metadata="text", config={"a": 1}, extra={"new": 1, "source": "other"}
    )

    assert unstructure(attrs.evolve(session, source="own")) == {
        "session_id": SESSION,
        "source": "own",
        "config": {"a": 1},
        "metadata": {"value": "text"},
        "new": 1,
    }


# Any event.


@settings(deadline=None)
@given(model_events)
def test_what_is_sent_can_be_read(event: ModelEvent) -> None:
    """
    Our own bodies satisfy our own strict reading, and come out of it the same.
    """
    sent = orjson.loads(dialect.wrap([make_codec().encode(event, "e1")]))

    assert unstructure(structure(sent, CreateModelEventBatchRequestBody)) == sent
