"""
The collector's tables say what the OpenAPI description says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hh_exporter._collector.validation import (
    MODEL_EVENT,
    MODEL_EVENT_BATCH_REQUEST,
    MODEL_EVENT_REQUEST,
    SESSION_PROPERTIES,
    Schema,
)

DESCRIPTION = Path(__file__).parent / "wire/openapi/legacy-model-events.yaml"
SCHEMAS = yaml.safe_load(DESCRIPTION.read_text())["components"]["schemas"]

MINIMAL: dict[str, Any] = {
    "project": "p",
    "model": "m",
    "provider": "o",
    "messages": [],
    "response": {},
    "duration": 42,
    "usage": {},
}

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


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (MODEL_EVENT, "CreateModelEvent"),
        (SESSION_PROPERTIES, "SessionPropertiesBatch"),
        (MODEL_EVENT_REQUEST, "ModelEventRequest"),
        (MODEL_EVENT_BATCH_REQUEST, "ModelEventBatchRequest"),
    ],
)
def test_every_described_field_is_checked(schema: Schema, name: str) -> None:
    """
    A table lists the fields of its schema, all of them and no other.
    """
    assert list(schema.fields) == list(SCHEMAS[name]["properties"])


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


@given(st.dictionaries(st.sampled_from([*MODEL_EVENT.fields, "secret"]), st.just("secret")))
def test_a_problem_never_shows_a_value(event: dict[str, str]) -> None:
    """
    Neither values nor unknown keys get into the text of a problem.
    """
    assert "secret" not in (MODEL_EVENT.problem(event) or "")
