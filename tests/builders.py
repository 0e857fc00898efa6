"""
Small things that tests of single parts are made of.
"""

from __future__ import annotations

from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hh_exporter._codec import Codec
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._records import MAX_BODY_BYTES, Record
from hh_exporter.events import ModelEvent
from tests.support import FakeClock

__all__ = ["described", "make_codec", "make_record", "model_events"]

_DESCRIPTION = Path(__file__).parent / "wire/openapi/legacy-model-events.yaml"


def make_record(
    event_id: str = "event", size: int = 10, *, seq: int = 0, pushed_at: float = 0.0
) -> Record:
    """
    Make a record of exactly *size* bytes of JSON.
    """
    record = Record(event_id, b'"%s"' % (b"." * (size - 2)) if size > 1 else b"1", pushed_at)
    record.seq = seq
    return record


def make_codec(clock: FakeClock | None = None, **arguments: Any) -> Codec:
    """
    Make a codec for the legacy dialect.
    """
    defaults: dict[str, Any] = {"dialect": LegacyDialect(), "max_bytes": MAX_BODY_BYTES}
    return Codec(clock=clock or FakeClock(), **defaults | arguments)


@cache
def described(schema: str) -> Draft202012Validator:
    """
    Make a validator for one schema of the API's description.
    """
    document = yaml.safe_load(_DESCRIPTION.read_text(encoding="utf-8"))
    components = document["components"]
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": components}
    )


_texts = st.text(max_size=8)
_amounts = st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15) | st.just(nan) | st.just(inf)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_objects = st.dictionaries(_texts, _values, max_size=3)
_arrays = st.lists(_objects, max_size=3)
_unknown = st.dictionaries(_texts.filter(lambda key: not hasattr(ModelEvent, key)), _values)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("provider", "error", "project", "source", "event_name"), _texts),
    **dict.fromkeys(("session_id", "parent_id"), _texts),
    **dict.fromkeys(("duration", "cost", "start_time", "end_time"), _amounts),
    **dict.fromkeys(("messages", "template"), _arrays),
    **dict.fromkeys(("response", "tool_choice"), _values),
    **dict.fromkeys(("usage", "hyperparameters", "template_inputs", "response_format"), _objects),
    **dict.fromkeys(("metadata", "metrics", "feedback", "user_properties"), _objects),
    **dict.fromkeys(("config", "inputs", "outputs"), _objects),
    "tools": _objects | _arrays,
    "extra": _unknown,
}


def _make_event(fields: dict[str, Any]) -> ModelEvent:
    return ModelEvent(**fields)


model_events = st.fixed_dictionaries({"model": _texts}, optional=_FIELDS).map(_make_event)
"""Events of plain data with any of their fields set, NaN and infinities included."""
