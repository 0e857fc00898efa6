"""
The collector's tables say what the OpenAPI descriptions say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hh_exporter._collector.ingest.validation import (
    EVENT,
    EVENT_BATCH_REQUEST,
    EVENT_REQUEST,
    MODEL_EVENT,
    MODEL_EVENT_BATCH_REQUEST,
    MODEL_EVENT_REQUEST,
    SESSION_PROPERTIES,
    SESSION_START,
    V1_EVENT,
    V1_EVENT_BATCH,
    V1_SESSION,
    V1_SESSION_PROPERTIES,
    Schema,
)

SCHEMAS = {
    name: schema
    for description in ("v1-events.yaml", "legacy-model-events.yaml")
    for name, schema in yaml.safe_load(
        (Path(__file__).parents[1] / "wire/openapi" / description).read_text()
    )["components"]["schemas"].items()
}

MINIMAL: dict[str, Any] = {
    "project": "p",
    "model": "m",
    "provider": "o",
    "messages": [],
    "response": {},
    "duration": 42,
    "usage": {},
}

V1_MINIMAL: dict[str, Any] = {"event_type": "model", "inputs": {}}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
) | st.sampled_from(["model", "tool", "chain", "session"])


def mutations(name: str, base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """
    Objects near *base*: some fields of schema *name* replaced, added or removed.
    """
    names = st.sampled_from([*SCHEMAS[name]["properties"], "unknown"])
    return st.builds(
        lambda changes, missing: {
            key: value for key, value in {**base, **changes}.items() if key not in missing
        },
        st.dictionaries(names, values, max_size=3),
        st.just(frozenset()) | st.sets(names, max_size=1),
    )


events = mutations("CreateModelEvent", MINIMAL)
sessions = mutations("SessionPropertiesBatch", {})
batches = st.builds(
    lambda events, rest: {"model_events": events, **rest},
    st.lists(events | values, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "model_events": values,
            "is_single_session": values,
            "single_session": values,
            "session_properties": sessions | values,
            "session": sessions | values,
        },
    ),
)
v1_events = mutations("V1Event", V1_MINIMAL)
v1_batches = st.builds(
    lambda events, rest: {"events": events, **rest},
    st.lists(v1_events | values, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "events": values,
            "single_session": values,
            "is_single_session": values,
            "session_properties": mutations("V1SessionProperties", {}) | values,
            "session": values,
        },
    ),
)


def described(name: str) -> Draft202012Validator:
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    )


SAMPLES: list[Any] = [
    None,
    True,
    1,
    1.5,
    "x",
    "model",
    [],
    ["x"],
    [{}],
    [{}, "x"],
    [[]],
    {},
    {"x": 1},
]


@pytest.mark.parametrize(
    ("schema", "name", "base"),
    [
        (MODEL_EVENT, "CreateModelEvent", MINIMAL),
        (SESSION_PROPERTIES, "SessionPropertiesBatch", {}),
        (V1_EVENT, "V1Event", V1_MINIMAL),
        (V1_SESSION_PROPERTIES, "V1SessionProperties", {}),
        (SESSION_START, "SessionStart", {}),
        (V1_SESSION, "V1Session", {}),
    ],
)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_each_field_takes_the_described_types(
    schema: Schema, name: str, base: dict[str, Any], sample: Any
) -> None:
    """
    For each field and each kind of value, verdict and description agree.
    """
    valid = described(name).is_valid
    objects = [{**base, field: sample} for field in SCHEMAS[name]["properties"]]

    assert [schema.problem(each) is None for each in objects] == [valid(each) for each in objects]


@given(events | values)
def test_events_are_judged_as_the_description_judges_them(event: Any) -> None:
    """
    An event has a problem exactly if CreateModelEvent does not allow it.
    """
    assert (MODEL_EVENT.problem(event) is None) == described("CreateModelEvent").is_valid(event)


@given(st.dictionaries(st.sampled_from(["model_event", "unknown"]), events | values) | values)
def test_single_bodies_are_judged_as_the_description_judges_them(body: Any) -> None:
    """
    A body has a problem exactly if ModelEventRequest does not allow it.
    """
    problem = MODEL_EVENT_REQUEST.problem(body)

    assert (problem is None) == described("ModelEventRequest").is_valid(body)


@given(batches | values)
def test_batches_are_judged_as_the_description_judges_them(body: Any) -> None:
    """
    A batch or one of its events has a problem exactly if ModelEventBatchRequest does not allow it.
    """
    problem = MODEL_EVENT_BATCH_REQUEST.problem(body)
    if problem is None:
        problem = next(filter(None, map(MODEL_EVENT.problem, body["model_events"])), None)

    assert (problem is None) == described("ModelEventBatchRequest").is_valid(body)


@given(v1_events | values)
def test_v1_events_are_judged_as_the_description_judges_them(event: Any) -> None:
    """
    An event has a problem exactly if V1Event does not allow it.
    """
    assert (V1_EVENT.problem(event) is None) == described("V1Event").is_valid(event)


@given(v1_batches | values)
def test_v1_batches_are_judged_as_the_description_judges_them(body: Any) -> None:
    """
    A batch has a problem exactly if V1EventBatch does not allow it, with all its events.
    """
    assert (V1_EVENT_BATCH.problem(body) is None) == described("V1EventBatch").is_valid(body)


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (MODEL_EVENT, "CreateModelEvent"),
        (SESSION_PROPERTIES, "SessionPropertiesBatch"),
        (MODEL_EVENT_REQUEST, "ModelEventRequest"),
        (MODEL_EVENT_BATCH_REQUEST, "ModelEventBatchRequest"),
        (V1_EVENT, "V1Event"),
        (V1_SESSION_PROPERTIES, "V1SessionProperties"),
        (V1_EVENT_BATCH, "V1EventBatch"),
        (SESSION_START, "SessionStart"),
        (V1_SESSION, "V1Session"),
    ],
)
def test_every_described_field_is_checked(schema: Schema, name: str) -> None:
    """
    A table lists the fields of its schema, all of them and no other, and is as closed.
    """
    assert list(schema.fields) == list(SCHEMAS[name]["properties"])
    assert list(schema.required) == SCHEMAS[name].get("required", [])
    assert schema.is_closed == (SCHEMAS[name].get("additionalProperties") is False)


def test_wrapped_events_are_v1_events_with_more_fields_allowed() -> None:
    """
    The deprecated routes have v1's table, open, in the wrappers of the legacy routes.
    """
    assert (EVENT.fields, EVENT.required) == (V1_EVENT.fields, V1_EVENT.required)
    assert not EVENT.is_closed
    assert list(EVENT_REQUEST.fields) == list(EVENT_REQUEST.required) == ["event"]
    wrapper = ["events", *list(MODEL_EVENT_BATCH_REQUEST.fields)[1:]]
    assert list(EVENT_BATCH_REQUEST.fields) == wrapper


def test_a_problem_names_each_wrong_field() -> None:
    """
    One text says all that is wrong with an event.
    """
    event = {**MINIMAL, "messages": ["hi"], "duration": True, "error": None, "event_type": "x"}
    del event["model"]

    assert MODEL_EVENT.problem(event) == (
        "model: is required; "
        "messages: must be an array of objects; "
        "duration: must be a number; "
        "event_type: must be one of model, tool, chain, session"
    )


def test_a_problem_deeper_down_names_the_way() -> None:
    """
    A wrong field of the session is named with the field that holds the session.
    """
    body = {"model_events": [], "session_properties": {"start_time": "now"}}

    assert MODEL_EVENT_BATCH_REQUEST.problem(body) == (
        "session_properties: start_time: must be a number"
    )


def test_a_problem_of_a_v1_batch_names_the_first_bad_event() -> None:
    """
    One bad event is reason enough; where it stands and what is wrong with it is said.
    """
    body = {"events": [V1_MINIMAL, {"inputs": [], "model": "m"}, {}], "session": {}}

    assert V1_EVENT_BATCH.problem(body) == (
        "must have no unknown fields; "
        "events: [1]: event_type: is required; must have no unknown fields; "
        "inputs: must be an object"
    )


@pytest.mark.parametrize("schema", [MODEL_EVENT, V1_EVENT, V1_EVENT_BATCH])
@given(data=st.data())
def test_a_problem_never_shows_a_value(schema: Schema, data: st.DataObject) -> None:
    """
    Neither values nor unknown keys get into the text of a problem.
    """
    names = st.sampled_from([*schema.fields, "secret"])
    inner = st.dictionaries(st.sampled_from([*V1_EVENT.fields, "secret"]), st.just("secret"))
    value = data.draw(st.dictionaries(names, st.just("secret") | st.lists(inner) | inner))

    assert "secret" not in (schema.problem(value) or "")
