"""
Events become bytes once, at push, or say why not.
"""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import inf, nan
from typing import Any, NoReturn

import orjson
import pytest

from hh_exporter import DropReason, ModelEvent
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter.exceptions import EncodeError
from tests.builders import dialects, make_codec
from tests.support import EPOCH, FakeClock, model_event

SECRET = "what the user typed"
TEXTS = (
    "model",
    "provider",
    "error",
    "project",
    "source",
    "event_name",
    "event_id",
    "session_id",
    "parent_id",
)
NUMBERS = ("duration", "cost", "start_time", "end_time")
SHAPES = {"cost": "a number", "duration": "a number or a timedelta"}


class Number(float):
    """
    A float of another library, as numpy's float64 is.
    """


class Text(str):
    __slots__ = ()


class Model(StrEnum):
    GPT_4O = "gpt-4o"


class Unprintable:
    """
    A value whose own code raises whatever is done with it.
    """

    def __getattribute__(self, name: str) -> NoReturn:
        raise ZeroDivisionError(SECRET)


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def encoded(event: ModelEvent, **arguments: Any) -> dict[str, Any]:
    wire: dict[str, Any] = orjson.loads(make_codec(**arguments).encode(event, "e1").data)
    return wire


def refusal(event: Any, **arguments: Any) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        make_codec(**arguments).encode(event, "e1")
    assert SECRET not in str(caught.value)
    return caught.value


async def test_a_record_has_its_id_its_bytes_and_its_time(clock: FakeClock) -> None:
    """
    The record carries the given id, also inside its bytes, and the monotonic time.
    """
    await clock.advance(7.0)

    record = make_codec(clock).encode(model_event(), "e1")

    assert record.event_id == "e1"
    assert record.pushed_at == 7.0
    assert orjson.loads(record.data)["event_id"] == "e1"
    assert orjson.loads(record.data)["end_time"] == (EPOCH + 7.0) * 1000


def test_records_take_no_more_memory_than_their_bytes() -> None:
    """
    A queued record has none of the slack that orjson leaves behind its bytes.
    """
    codec = make_codec()
    event = model_event(messages=[{"content": "x" * 5000}])
    codec.encode(event, "e1")

    tracemalloc.start()
    try:
        records = [codec.encode(event, "e1") for _ in range(100)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 1.1 * sum(len(record.data) for record in records)


def test_the_exporters_project_and_source_fill_gaps_alone() -> None:
    """
    An event's own project and source win over those of the exporter.
    """
    ours = {"project": "ours", "source": "ours"}

    assert encoded(ModelEvent(model="m"), **ours).items() >= ours.items()
    assert encoded(ModelEvent(model="m", project="own", source="own"), **ours).items() >= {
        ("project", "own"),
        ("source", "own"),
    }


@dialects
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_field_takes_nothing_but_text(dialect: Dialect, name: str) -> None:
    """
    A wrong type is `invalid` and names field and type, never the value.
    """
    for value in (1, True, SECRET.encode(), [SECRET], {SECRET: SECRET}):
        error = refusal(model_event(**{name: value}), dialect=dialect)

        assert error.reason is DropReason.INVALID
        assert str(error) == f"{name}: must be a string, not a {type(value).__name__}"


@dialects
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_field_takes_nothing_but_numbers(dialect: Dialect, name: str) -> None:
    """
    A wrong type is `invalid`; True and False are no numbers.
    """
    for value in (SECRET, True, False, 1j, [1], b"1"):
        error = refusal(model_event(**{name: value}), dialect=dialect)

        assert error.reason is DropReason.INVALID
        shape = SHAPES.get(name, "a number or a datetime")
        assert str(error) == f"{name}: must be {shape}, not a {type(value).__name__}"


def test_scalars_are_checked_again_after_good_ones() -> None:
    """
    That events of one shape were fine says nothing about the next shape.
    """
    codec = make_codec()
    for _ in range(3):
        codec.encode(model_event(duration=1.5), "e1")

    for wrong in ({"duration": "1.5"}, {"model": 1}, {"duration": True}):
        with pytest.raises(EncodeError):
            codec.encode(model_event(**wrong), "e1")


def test_an_event_needs_a_model() -> None:
    """
    None is no model, though it leaves any other field unset.
    """
    error = refusal(model_event(model=None))

    assert error.reason is DropReason.INVALID
    assert str(error) == "model: must be a string, not a NoneType"


@pytest.mark.parametrize("thing", [None, {"model": SECRET}, SECRET, ModelEvent])
def test_only_model_events_are_taken(thing: object) -> None:
    """
    Anything else is `invalid`, an object as a whole.
    """
    error = refusal(thing)

    assert error.reason is DropReason.INVALID
    assert str(error) == f"push takes a ModelEvent or an Event, not a {type(thing).__name__}"


@pytest.mark.parametrize("value", [Text("gpt-4o"), Model.GPT_4O])
def test_kinds_of_text_are_text(value: str) -> None:
    """
    Subclasses of str, enums among them, are sent as their text.
    """
    assert encoded(model_event(model=value, error=value)).items() >= {
        ("model", "gpt-4o"),
        ("error", "gpt-4o"),
    }


@pytest.mark.parametrize("value", [Number(1.5), Fraction(3, 2), Decimal("1.5")])
def test_kinds_of_number_are_numbers(value: float) -> None:
    """
    Real numbers of other libraries are sent as floats.
    """
    for _ in range(2):
        assert encoded(model_event(duration=value, cost=value)).items() >= {
            ("duration", 1.5),
            ("cost", 1.5),
        }


@dialects
def test_times_of_python_are_times(dialect: Dialect) -> None:
    """
    A datetime and a timedelta are sent as milliseconds; a datetime without a zone is local.
    """
    end = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    event = model_event(end_time=end, duration=timedelta(seconds=1.5))

    wire = encoded(event, dialect=dialect)
    naive = encoded(model_event(start_time=end.astimezone().replace(tzinfo=None)), dialect=dialect)

    stamp = end.timestamp() * 1000
    assert (wire["start_time"], wire["end_time"], wire["duration"]) == (stamp - 1500, stamp, 1500)
    assert naive["start_time"] == stamp
    assert event.end_time is end


@pytest.mark.parametrize("name", ["start_time", "end_time"])
def test_times_in_seconds_are_told_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    They are sent as they are, and one warning says that they look wrong.
    """
    codec = make_codec()
    codec.encode(model_event(**{name: EPOCH * 1000}), "e1")
    assert not caplog.records

    for _ in range(2):
        record = codec.encode(model_event(**{name: EPOCH}), "e1")

    assert orjson.loads(record.data)[name] == EPOCH
    assert [r.getMessage().split(": ")[1] for r in caplog.records] == [
        "an event starts before 1973"
    ]


@dialects
@pytest.mark.parametrize("odd", [nan, inf, -inf, Number("nan")])
def test_a_number_that_json_lacks_counts_as_unset(dialect: Dialect, odd: float) -> None:
    """
    NaN and infinities are left out, or filled in as if they were None.
    """
    odd_event = model_event(cost=odd, duration=odd, start_time=odd, end_time=odd)
    wire = encoded(odd_event, dialect=dialect)

    assert wire == encoded(model_event(cost=None, duration=None), dialect=dialect)
    assert "cost" not in wire | wire.get("metadata", {})
    assert wire["duration"] == 0


def test_such_a_number_in_a_payload_is_null() -> None:
    """
    Within payloads, NaN and infinities become null.
    """
    wire = encoded(model_event(metrics={"score": [nan, inf, -inf]}))

    assert wire["metrics"] == {"score": [None, None, None]}


@pytest.mark.parametrize("extra", [[("a", 1)], SECRET, 1])
def test_extra_is_a_dict(extra: object) -> None:
    """
    Nothing else can name keys.
    """
    error = refusal(model_event(extra=extra))

    assert error.reason is DropReason.INVALID
    assert str(error).startswith("extra: must ")


@pytest.mark.parametrize("name", ["model", "event_id", "metadata"])
def test_extra_names_no_known_field(name: str) -> None:
    """
    A key that is a field belongs into the field.
    """
    error = refusal(model_event(extra={"new": 1, name: SECRET}))

    assert error.reason is DropReason.INVALID
    assert str(error).startswith("extra: must ")


def test_the_limit_is_exact() -> None:
    """
    A record of max_bytes bytes is fine, and one byte more is `too_large`.
    """
    event = model_event(messages=[{"content": "ü" * 100}])
    size = len(make_codec().encode(event, "e1").data)

    assert len(make_codec(max_bytes=size).encode(event, "e1").data) == size
    error = refusal(event, max_bytes=size - 1)
    assert error.reason is DropReason.TOO_LARGE
    assert str(size - 1) in str(error)


ODD: dict[str, tuple[Callable[[], object], object]] = {
    "object": (object, "<object>"),
    "hostile object": (Unprintable, "<Unprintable>"),
    "lone surrogate": (lambda: "\ud800", "\ufffd"),
    "set": (lambda: {"one"}, ["one"]),
    "bytes": (lambda: b"bytes", "<bytes: 5>"),
    "65 bits": (lambda: 2**64, "18446744073709551616"),
    "float subclass": (lambda: Number(1.0), 1.0),
    "key that is no string": (lambda: {1: "one"}, {"1": "one"}),
    "key with a surrogate": (lambda: {"\ud800": 1}, {"\ufffd": 1}),
    "cycle": (cycle, ["<cycle>"]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["metadata", "response", "messages", "extra"])
def test_what_json_cannot_say_is_made_legal(dialect: str, kind: str, name: str) -> None:
    """
    The odd leaf is marked, and what stands beside it is untouched.
    """
    make, legal = ODD[kind]
    value: Any = {"odd": make(), "beside": [1, {"x": None}]}
    event = model_event(**{name: [value] if name == "messages" else value})

    text = make_codec(dialect=DIALECTS[dialect]()).encode(event, "e1").data

    odd, beside = (
        orjson.dumps({n: v})[1:-1] for n, v in [("odd", legal), ("beside", value["beside"])]
    )
    assert odd in text
    assert beside in text


def test_what_is_plain_stands_whole_beside_what_is_odd() -> None:
    """
    A time in the metadata cuts nothing off a large answer, in whatever it is held.
    """
    vectors = [{"index": i, "embedding": [0.125] * 1536} for i in range(200)]
    event = model_event(response={"data": vectors, "again": ((1, 2), vectors[0])})
    whole = encoded(event)
    event.metadata = {"at": datetime(2025, 1, 2, tzinfo=UTC), "tenant": "a"}

    beside = encoded(event)

    assert beside["response"] == whole["response"]
    assert beside["metadata"] == {"at": "2025-01-02T00:00:00+00:00", "tenant": "a"}


def test_what_is_cut_is_told_once_by_its_field(caplog: pytest.LogCaptureFixture) -> None:
    """
    One warning for each field, and none for what is only marked.
    """
    codec = make_codec()
    deep: Any = {object()}
    for _ in range(300):
        deep = [deep]
    for _ in range(3):
        codec.encode(model_event(metadata={"odd": object()}, inputs={"deep": deep}), "e1")
        codec.encode(model_event(config={"many": range(10**6)}), "e1")

    assert [r.getMessage().split(": ")[1] for r in caplog.records] == [
        "inputs was cut",
        "config was cut",
    ]


@pytest.mark.parametrize(
    ("scalar", "legal"),
    [({"model": "\ud800"}, "\ufffd"), ({"cost": 2**64}, 2.0**64), ({"cost": -(10**400)}, None)],
    ids=["text", "65 bits", "infinite"],
)
def test_an_odd_scalar_is_made_legal(scalar: dict[str, object], legal: object) -> None:
    """
    A field of the right type may hold a value without a form on the wire.
    """
    [name] = scalar

    assert encoded(model_event(**scalar)).get(name) == legal


@pytest.mark.parametrize("fields", [{}, {"duration": nan, "cost": Number(2.0)}])
def test_the_event_stays_as_it_is(fields: dict[str, Any]) -> None:
    """
    Stamps and fill-ins go into the bytes, never into the user's object.
    """
    event = ModelEvent(model="m", response="text", tools={"a": 1}, extra={"b": 1}, **fields)
    before = copy.deepcopy(event)

    make_codec(project="p", source="s").encode(event, "e1")

    assert repr_of_all(event) == repr_of_all(before)


def repr_of_all(event: ModelEvent) -> str:
    """
    Show all fields; unlike equality it takes NaN for NaN and 1 not for 1.0.
    """
    return repr([getattr(event, name) for name in ModelEvent.__slots__ if name[0] != "_"])
