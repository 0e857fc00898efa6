"""
Scalars are checked by type, quickly where they are plain, and never quoted.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import inf, isfinite, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter import DropReason, ModelEvent, SessionProperties
from hh_exporter._encoding.scalars import Scalars, copy_fields
from hh_exporter.exceptions import EncodeError
from tests.values.test_legalize import Colour, Level, Real, Text, Whole

EVENTS = Scalars(ModelEvent, required="model")
SESSIONS = Scalars(SessionProperties, required="session_id")

SHAPES = {"cost": "a number", "duration": "a number or a timedelta"}
NUMBERS = ("duration", "cost", "start_time", "end_time")
TEXTS = (
    *("model", "provider", "error", "project", "source", "event_name"),
    *("event_id", "session_id", "parent_id"),
)

numbers = st.integers() | st.floats() | st.fractions() | st.builds(Real, st.floats())


def refusal(instance: Any, scalars: Any = EVENTS) -> str:
    with pytest.raises(EncodeError) as caught:
        scalars.check(instance)
    assert caught.value.reason is DropReason.INVALID
    return str(caught.value)


def test_plain_scalars_cost_no_copy() -> None:
    """
    What needs no change comes back as it is.
    """
    full: dict[str, Any] = dict.fromkeys(TEXTS, "text") | dict.fromkeys(NUMBERS, 2**63 - 1)
    for event in (ModelEvent(model="m"), ModelEvent(**full, extra={"a": 1})):
        assert EVENTS.check(event) is event
    session = SessionProperties(session_name="s", start_time=-1.5)
    assert SESSIONS.check(session) is session


@given(st.sampled_from(NUMBERS), numbers)
def test_any_number_becomes_one_of_json(name: str, number: Any) -> None:
    """
    It is equal as far as a float can be, or unset where that has no finite value.
    """
    event = ModelEvent(model="m", **{name: number})

    value = getattr(EVENTS.check(event), name)

    assert getattr(event, name) is number
    if value is None:
        assert not (-(2**1023) <= number <= 2**1023)
    else:
        assert value in (number, float(number))
        assert isfinite(value)
        assert type(value) is float or abs(value) < 2**63


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, 2.0**63),
        (-(2**63), -(2.0**63)),
        (10**400, None),
        (Fraction(10**400), None),
        (nan, None),
        (-inf, None),
        (Whole(5), 5.0),
        (Level.HIGH, 3.0),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (Decimal("0.25"), 0.25),
        (Decimal("1e400"), None),
        (Decimal("sNaN"), None),
    ],
)
def test_an_odd_number_is_brought_to_a_plain_one(number: Any, value: float | None) -> None:
    """
    Others' kinds of number become floats, and what JSON lacks is unset.
    """
    plain = EVENTS.check(ModelEvent(model="m", cost=number, duration=1)).cost

    assert plain == value
    assert type(plain) in (int, float, type(None))


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("start_time", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000.0),
        ("end_time", datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0.0),
        ("duration", timedelta(days=1, microseconds=500), 86_400_000.5),
    ],
)
def test_a_time_of_python_becomes_milliseconds(name: str, value: Any, number: float) -> None:
    """
    Since 1970 for a point in time, whatever its zone.
    """
    event = EVENTS.check(ModelEvent(model="m", **{name: value}))

    assert getattr(event, name) == number


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", ["1", True, 1j, [1], date.min, np.bool_(True), np.zeros(2)])
def test_what_is_no_number_is_named_by_its_type(name: str, wrong: Any) -> None:
    """
    Also where the fields before it are fine.
    """
    text = refusal(ModelEvent(**{"model": "m", name: wrong}))

    shape = SHAPES.get(name, "a number or a datetime")
    assert text == f"{name}: must be {shape}, not a {type(wrong).__name__}"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("wrong", [1, False, b"text", ["text"], object()])
def test_what_is_no_text_is_named_by_its_type(name: str, wrong: Any) -> None:
    """
    Nothing is made a text of.
    """
    text = refusal(ModelEvent(**{"model": "m", name: wrong}))

    assert text == f"{name}: must be a string, not a {type(wrong).__name__}"


@pytest.mark.parametrize("text", [Text("a"), Colour.RED, np.str_("a"), ""])
def test_a_kind_of_text_becomes_the_text_that_it_is(text: str) -> None:
    """
    A subclass of str counts by its characters, whatever its own methods say; the empty text is one.
    """
    event = EVENTS.check(ModelEvent(model=text, error=text))

    assert type(event.model) is type(event.error) is str
    assert event.model == event.error == str.__str__(text)


def test_the_required_text_must_be_there() -> None:
    """
    A model for an event, an id for a session.
    """
    nothing: Any = None

    assert refusal(ModelEvent(model=nothing)) == "model: must be a string, not a NoneType"
    text = refusal(SessionProperties(session_id=None), SESSIONS)
    assert text == "session_id: must be a string, not a NoneType"


def test_a_session_is_checked_by_its_own_fields() -> None:
    """
    Its scalars are others than those of an event, and so are its keys.
    """
    wrong: Any = "1"

    assert refusal(SessionProperties(start_time=wrong), SESSIONS).startswith("start_time: ")
    assert refusal(SessionProperties(extra={"session_name": 1}), SESSIONS).startswith("extra: ")
    assert SESSIONS.check(SessionProperties(extra={"model": 1})).extra == {"model": 1}


@pytest.mark.parametrize("key", ["model", Text("metadata")])
def test_extra_names_no_field(key: str) -> None:
    """
    A key of it would overwrite the field, or be lost.
    """
    assert refusal(ModelEvent(model="m", extra={"a": 1, key: 2})).startswith("extra: must not")


def test_a_copy_is_of_the_plain_class() -> None:
    """
    Code of a subclass has no say in what is sent.
    """

    class Own(ModelEvent):
        pass

    copy = copy_fields(ModelEvent, Own(model="m", provider="p"), {"model": "n"})

    assert type(copy) is ModelEvent
    assert copy == ModelEvent(model="n", provider="p")
