"""
Small things that tests of single parts are made of.
"""

from __future__ import annotations

from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._encoding.codec import Codec
from hh_exporter._records import Record, Session
from hh_exporter._settings.batch import MAX_BODY_BYTES
from hh_exporter._spool.kept import Letter, SpooledRecord
from hh_exporter.events import EVENT_TYPES, Event, ModelEvent, SessionProperties
from tests.support import FakeClock

__all__ = [
    "described",
    "described_body",
    "dialects",
    "make_codec",
    "make_letter",
    "make_record",
    "make_spooled",
    "model_events",
    "session_properties",
]

_OPENAPI = Path(__file__).parent / "wire/openapi"
_DESCRIPTIONS = {"legacy": "legacy-model-events.yaml", "v1": "v1-events.yaml"}

dialects = pytest.mark.parametrize(
    "dialect", [make() for make in DIALECTS.values()], ids=list(DIALECTS)
)
"""Run a test once for each dialect."""


def make_record(
    event_id: str = "event",
    size: int = 10,
    *,
    seq: int = 0,
    pushed_at: float = 0.0,
    session: Session | None = None,
) -> Record:
    """
    Make a record of exactly *size* bytes of JSON.
    """
    data = b'"%s"' % (b"." * (size - 2)) if size > 1 else b"1"
    record = Record(event_id, data, pushed_at, session)
    record.seq = seq
    return record


def make_spooled(
    event_id: str = "event",
    data: bytes = b"{}",
    pushed_at: float = 1.0,
    session: bytes | None = None,
) -> SpooledRecord:
    """
    Make a record as it is put on disk.
    """
    return SpooledRecord(event_id=event_id, data=data, pushed_at=pushed_at, session=session)


def make_letter(
    event_id: str = "event",
    data: bytes = b"{}",
    pushed_at: float = 1.0,
    *,
    reason: str = "",
    status: int | None = 400,
    answer: str = "thé answer",
) -> Letter:
    """
    Make a dead letter: of a rejected event, or of one dropped for *reason*.
    """
    return Letter(
        event_id=event_id,
        data=data,
        pushed_at=pushed_at,
        died_at=pushed_at + 1.0,
        outcome="dropped" if reason else "rejected",
        reason=reason,
        status=status,
        answer=answer,
    )


def make_codec(clock: FakeClock | None = None, **arguments: Any) -> Codec:
    """
    Make a codec, for the legacy dialect unless another is given.
    """
    defaults: dict[str, Any] = {"dialect": LegacyDialect(), "max_bytes": MAX_BODY_BYTES}
    return Codec(clock=clock or FakeClock(), **defaults | arguments)


def described(schema: str, dialect: str = "legacy") -> Draft202012Validator:
    """
    Make a validator for one schema of the API's description.
    """
    return _validator(dialect, f"#/components/schemas/{schema}")


def described_body(dialect: Dialect, path: str) -> Draft202012Validator:
    """
    Make a validator for the body of a POST to *path*.
    """
    operation = _load(dialect.name)["paths"][path]["post"]
    return _validator(
        dialect.name, operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    )


@cache
def _validator(dialect: str, ref: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": ref, "components": _load(dialect)["components"]})


@cache
def _load(dialect: str) -> Any:
    return yaml.safe_load((_OPENAPI / _DESCRIPTIONS[dialect]).read_text(encoding="utf-8"))


# Keys that collide with places on a wire, or with each other, as often as not.
_texts = st.text(max_size=8)
_keys = _texts | st.sampled_from(
    [
        *("role", "content", "chat_history", "model", "tools", "cost", "total_tokens"),
        *("usage", "usage (2)", "response", "messages", "metadata", "template_inputs"),
    ]
)
_amounts = st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15) | st.just(nan) | st.just(inf)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)
_objects = st.dictionaries(_keys, _values, max_size=3)
_arrays = st.lists(_objects, max_size=3)


def _unknown(cls: type) -> st.SearchStrategy[Any]:
    return st.dictionaries(_keys.filter(lambda key: not hasattr(cls, key)), _values, max_size=3)


_SESSION_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("session_name", "source", "error"), _texts),
    "start_time": st.integers(0, 10**15) | st.floats(0, 1e15),
    **dict.fromkeys(("config", "inputs", "outputs", "metadata"), _objects | _values),
    **dict.fromkeys(("user_properties", "metrics", "feedback"), _objects | _values),
    "extra": _unknown(SessionProperties),
}
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("provider", "error", "project", "source", "event_name"), _texts),
    **dict.fromkeys(("session_id", "parent_id"), _texts),
    **dict.fromkeys(("duration", "cost", "start_time", "end_time"), _amounts),
    **dict.fromkeys(("messages", "template"), _arrays | _values),
    "tools": _objects | _arrays | _values,
    "tool_choice": _values,
    **dict.fromkeys(("response", "usage", "template_inputs"), _objects | _values),
    **dict.fromkeys(("hyperparameters", "response_format"), _objects | _values),
    **dict.fromkeys(("metadata", "metrics", "feedback", "user_properties"), _objects | _values),
    **dict.fromkeys(("config", "inputs", "outputs"), _objects | _values),
    "extra": _unknown(ModelEvent),
}


def _make_event(fields: dict[str, Any]) -> ModelEvent:
    return ModelEvent(**fields)


def _make_session(fields: dict[str, Any]) -> SessionProperties:
    return SessionProperties(**fields)


_EVENT_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **{name: _FIELDS[name] for name in _FIELDS.keys() & {a.name for a in attrs.fields(Event)}},
    "children_ids": st.lists(_texts, max_size=3) | _values,
    "extra": _unknown(Event),
}


def _make_plain_event(fields: dict[str, Any]) -> Event:
    return Event(**fields)


plain_events = st.fixed_dictionaries(
    {"event_type": st.sampled_from(sorted(EVENT_TYPES))}, optional=_EVENT_FIELDS
).map(_make_plain_event)
"""Events of every kind with any of their fields set, wrong shapes included."""

model_events = st.fixed_dictionaries({"model": _texts}, optional=_FIELDS).map(_make_event)
"""Events of plain data with any of their fields set, NaN and wrong shapes included."""

session_properties = st.fixed_dictionaries({}, optional=_SESSION_FIELDS).map(_make_session)
"""Sessions of plain data with any of their fields set, wrong shapes included."""
