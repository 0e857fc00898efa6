"""
The way in takes anything: an event that can be sent is legal, any other harms itself alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from zlib import crc32

import attrs
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter import DropReason, Exporter, ModelEvent, SessionProperties
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._records import Record
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import PATIENCE, assert_balanced, model_event
from tests.values.test_legalize import (
    SECRET,
    Attrs,
    Data,
    Model,
    Root,
    Slotted,
    Text,
    Weird,
    anything,
    nested,
)

PAYLOADS = tuple(
    a.name for a in attrs.fields(ModelEvent) if "Json" in str(a.type) or a.name == "extra"
)
DROPS = {DropReason.INVALID, DropReason.UNENCODABLE, DropReason.TOO_LARGE}

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@contextmanager
def offline(**arguments: Any) -> Iterator[Exporter]:
    """
    Make an exporter that never sends; its books balance at the end.
    """
    exporter = Exporter(base_url="http://127.0.0.1:1", **arguments)
    yield exporter
    assert_balanced(exporter)
    exporter._settler.drain(DropReason.CLOSED)


def records_in(exporter: Exporter) -> list[Record]:
    records = exporter._queue.pull(sys.maxsize)
    exporter._queue.put_back(records)
    return records


def pushed(dialect: str, **fields: Any) -> dict[str, Any]:
    """
    Push an event of *fields*, and parse its record.
    """
    with offline(dialect=dialect) as exporter:
        assert exporter.push(model_event(**fields))
        [record] = records_in(exporter)
    wire: dict[str, Any] = orjson.loads(record.data)
    return wire


class HostileEvent(ModelEvent):
    """
    An event that raises what is not even an Exception wherever it is looked at.
    """

    def __getattribute__(self, name: str) -> NoReturn:
        raise Weird(SECRET)


class HostileSession(SessionProperties):
    __getattribute__ = HostileEvent.__getattribute__


# Anything at all


def fields_of(cls: type[Any], **required: Any) -> st.SearchStrategy[dict[str, Any]]:
    """
    Give anything to any of its payload fields, and to one of the others at most.
    """
    names = [a.name for a in attrs.fields(cls)]
    payloads = {name: anything for name in names if name in PAYLOADS}
    payloads["extra"] |= st.dictionaries(st.text(), anything, max_size=3)
    scalars = st.sampled_from([name for name in names if name not in PAYLOADS])
    return st.builds(
        lambda some, other: required | some | other,
        st.fixed_dictionaries({}, optional=payloads),
        st.dictionaries(scalars, st.text() | st.floats() | anything, max_size=1),
    )


def bare(value: Any) -> Any:
    """
    Take what is hostile out of the tuple in which hypothesis bears it.
    """
    return value[0] if type(value) is tuple and len(value) == 1 else value


def make(cls: type[Any], fields: Any) -> Any:
    return cls(**{n: bare(v) for n, v in fields.items()}) if type(fields) is dict else bare(fields)


RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "hide": {"hide_inputs": True, "hide_outputs": True},
    "hook": {"before_send": lambda draft: draft},
}


@each_dialect
@pytest.mark.parametrize("rules", RULES)
@settings(deadline=None, max_examples=12)
@given(event=fields_of(ModelEvent, model="m"), session=st.none() | fields_of(SessionProperties))
def test_push_takes_anything(dialect: str, rules: str, event: Any, session: Any) -> None:
    """
    It says whether it accepted the event; then its record is JSON, and so are those beside it.
    """
    with offline(dialect=dialect, **RULES[rules]) as exporter:
        first = exporter.push(model_event(event_id="first"))
        accepted = exporter.push(make(ModelEvent, event), make(SessionProperties, session))
        last = exporter.push(model_event(event_id="last"))

        records = records_in(exporter)
        assert (first, last) == (True, True)
        assert type(accepted) is bool
        told = [r for r in records if b'"event_type":"session"' in r.data]
        assert len(records) - len(told) == 2 + accepted
        assert len(told) <= (dialect == "v1")
        assert exporter.stats().dropped == 1 - accepted
        assert set(exporter.stats().dropped_by_reason) <= DROPS
        batch = orjson.loads(DIALECTS[dialect]().wrap(records, records[1].session))
        [wires] = [value for value in batch.values() if isinstance(value, list)]
        assert [wires[0]["event_id"], wires[-1]["event_id"]] == ["first", "last"]
        assert [wire["event_id"] for wire in wires] == [record.event_id for record in records]


@settings(deadline=None, max_examples=50)
@given(anything, st.none() | anything)
def test_push_takes_what_is_no_event(event: Any, session: Any) -> None:
    """
    Such a thing is invalid, or unencodable where it can't be looked at.
    """
    with offline() as exporter:
        assert not exporter.push(bare(event))
        assert not exporter.push(bare(event), bare(session))

        assert exporter.stats().dropped == 2
        assert set(exporter.stats().dropped_by_reason) <= DROPS


def test_an_event_that_can_not_be_looked_at_harms_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is unencodable, whatever it raises, and what that says is said to nobody.
    """
    with offline() as exporter:
        assert not exporter.push(HostileEvent(model="m"))
        assert not exporter.push(model_event(), HostileSession())
        assert not exporter.push(model_event(event_id=HostileSession()))
        assert not exporter.update(HostileSession(), metrics={"score": 1})  # type: ignore[arg-type]
        assert exporter.push(model_event())

        assert exporter.stats().dropped_by_reason == {DropReason.UNENCODABLE: 4}
    assert SECRET not in caplog.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_the_events_fault(stop: type[BaseException]) -> None:
    """
    It goes on its way, and the event counts as never pushed.
    """

    class Interrupted(ModelEvent):
        def __getattribute__(self, name: str) -> Any:
            if name == "provider":
                raise stop
            return super().__getattribute__(name)

    with offline() as exporter:
        with pytest.raises(stop):
            exporter.push(Interrupted(model="m"))

        assert exporter.stats().pushed == 0


@each_dialect
@pytest.mark.parametrize("rules", [{}, {"before_send": lambda draft: draft}], ids=["", "hook"])
def test_what_is_too_deep_or_wide_is_still_sent(dialect: str, rules: dict[str, Any]) -> None:
    """
    1,000 levels are cut and marked, and a million odd members; a million plain ones are sent.
    """
    numbers = [7] * 1_000_000
    with offline(dialect=dialect, **rules) as exporter:
        assert exporter.push(model_event(inputs={"deep": nested(1000)}))
        assert exporter.push(model_event(inputs={"wide": numbers}))
        assert exporter.push(model_event(inputs={"wide": numbers, "odd": object()}))
        assert exporter.push(model_event(inputs={"odd": range(1_000_000)}))
        deep, wide, beside, odd = (record.data for record in records_in(exporter))

    assert b'"<too deep>"' in deep
    assert b'"<too large>"' not in wide + beside
    assert b'"<too large>"' in odd
    assert all(orjson.loads(data) for data in (deep, wide, beside, odd))


@each_dialect
def test_objects_arrive_as_what_they_hold(dialect: str) -> None:
    """
    Models, records and arrays stand for the plain data in them, in any payload field.
    """
    wire = pushed(
        dialect,
        inputs=Attrs({"a": np.float32(0.5)}),
        outputs=Data(np.arange(2)),
        metadata=Model.model_validate({"text": "t", "child": Root([1])}),
        metrics=Slotted(np.array([[True]])),
        feedback={"model": Model.model_validate({"text": "u"}), "data": [Slotted(1)]},
        messages=None,
        response=None,
        usage=None,
        cost=None,
    )

    wire["inputs"].pop("chat_history", None)
    assert wire["inputs"] == {"a": {"a": 0.5}}
    assert wire["outputs"] == {"name": [0, 1]}
    assert wire["metadata"] == {"text": "t", "child": [1], "key": "<SecretStr>"}
    assert wire["metrics"] == {"inner": [[True]]}
    assert wire["feedback"]["model"] == {"text": "u", "child": None, "key": "<SecretStr>"}
    assert wire["feedback"]["data"] == [{"inner": 1}]


@each_dialect
def test_messages_and_answers_of_clients_arrive_as_objects(dialect: str) -> None:
    """
    What a client library returns can be given as it is.
    """
    message, answer = Model.model_validate({"text": "question"}), Slotted({"content": "answer"})

    text = orjson.dumps(pushed(dialect, messages=[message], response=answer))

    assert b'{"text":"question","child":null,"key":"<SecretStr>"}' in text
    assert b'{"inner":{"content":"answer"}}' in text


@each_dialect
def test_what_another_thread_changes_meanwhile_is_legal(dialect: str) -> None:
    """
    Containers may grow and shrink under push: each record is one state of them or another.
    """
    grown: list[Any] = []
    table: dict[Any, Any] = {}
    event = model_event(messages=grown, metadata=table, inputs={"odd": object(), "t": table})
    is_over = threading.Event()

    def change() -> None:
        for n in itertools.count():
            if is_over.is_set():
                return
            grown.append({"content": [n]})
            table[f"k{n % 97}"] = {"n": {n}} if n % 2 else [n]
            if n % 200 == 199:
                grown.clear()
                table.clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        with offline(dialect=dialect) as exporter:
            assert {exporter.push(event) for _ in range(200)} == {True}
            assert all(orjson.loads(record.data) for record in records_in(exporter))
    finally:
        is_over.set()
        thread.join(PATIENCE)
        sys.setswitchinterval(interval)


# Sampling


def shares(rate: float, names: list[str]) -> list[bool]:
    """
    Say which of *names* a rate keeps.
    """
    return [crc32(name.encode()) < rate * 2**32 for name in names]


NAMES = [f"s{n}" for n in range(400)]


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.999, 1.0])
def test_sampling_goes_by_the_event_where_there_is_no_session(
    rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The same events at each start, about as many as asked for, and no loss to warn of.
    """
    with offline(sample_rate=rate) as exporter:
        kept = [exporter.push(model_event(event_id=name)) for name in NAMES]

        assert kept == shares(rate, NAMES)
        assert abs(sum(kept) - rate * len(NAMES)) <= 40
        dropped = len(NAMES) - sum(kept)
        assert exporter.stats().dropped_by_reason.get(DropReason.SAMPLED, 0) == dropped
        assert exporter.stats().dropped == dropped
        warned = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert not warned


@pytest.mark.parametrize("place", ["event", "session"])
def test_sampling_keeps_sessions_whole(place: str) -> None:
    """
    All events of a session share its fate, wherever its id is named.
    """
    with offline(sample_rate=0.5) as exporter:
        for name, kept in zip(NAMES[:40], shares(0.5, NAMES), strict=False):
            own = name if place == "event" else None
            session = SessionProperties(session_id=name if own is None else "another")
            fates = {
                exporter.push(model_event(session_id=own, event_id=f"{name}/{n}"), session)
                for n in range(5)
            }
            assert fates == {kept}


def test_sampling_decides_first() -> None:
    """
    What is left out is neither shown to the hook nor looked at.
    """
    seen: list[Any] = []
    with offline(sample_rate=0.0, before_send=seen.append) as exporter:
        assert not exporter.push(model_event(cost="wrong"), SessionProperties())

        assert exporter.stats().dropped_by_reason == {DropReason.SAMPLED: 1}
    assert not seen


async def test_sampling_leaves_single_events_alone(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    What is sent by itself was asked for.
    """
    exporter = await make_exporter(sample_rate=0.0)

    assert await exporter.create_model_event(model_event(event_id="e1")) == "e1"
    assert not await exporter.put(model_event())
    assert server.created_ids == ["e1"]


# Sessions


def test_the_events_own_session_wins() -> None:
    """
    The properties of another one are not announced with it.
    """
    session = SessionProperties(session_id="s1", user_properties={"a": 1})
    with offline() as exporter:
        exporter.push(model_event(session_id="s2"), session)
        exporter.push(model_event(session_id=""), session)
        exporter.push(model_event(session_id="s1"), session)
        exporter.push(model_event(), session)
        records = records_in(exporter)

    named = [orjson.loads(record.data)["session_id"] for record in records]
    assert named == [to_session_uuid("s2"), "", *[to_session_uuid("s1")] * 2]
    assert [record.session is not None for record in records] == [False, False, True, True]
    assert records[2].session is records[3].session, "one for all records in memory"


@pytest.mark.parametrize(
    "session",
    [
        "s1",
        {"session_id": "s1"},
        SessionProperties,
        SessionProperties(session_id=None),
        SessionProperties(start_time="1"),  # type: ignore[arg-type]
        SessionProperties(extra={"source": 1}),
    ],
)
def test_a_wrong_session_makes_the_event_invalid(session: Any) -> None:
    """
    It is not sent without what it was to carry.
    """
    with offline() as exporter:
        assert not exporter.push(model_event(), session)
        assert exporter.stats().dropped_by_reason == {DropReason.INVALID: 1}


@pytest.mark.parametrize("odd", ["", "\ud800", 7, None, b"id", object(), Text("id")])
def test_an_id_that_can_not_be_used_is_made_new_or_legal(odd: Any) -> None:
    """
    What is announced of an event names a text that the server can know it by.
    """
    announced: list[Any] = []
    with offline(on_outcome=announced.append) as exporter:
        accepted = exporter.push(model_event(event_id=odd))
        records = records_in(exporter)

    [event_id] = [event_id for settlement in announced for event_id in settlement.event_ids]
    assert type(event_id) is str
    assert event_id.encode()
    if accepted:
        assert [record.event_id for record in records] == [event_id]
        assert orjson.loads(records[0].data)["event_id"] == event_id


async def test_a_thread_without_a_loop_pushes_anything() -> None:
    """
    All of this is done on the caller's thread, whichever that is.
    """
    with offline() as exporter:
        odd = model_event(inputs={1: object()})
        assert await asyncio.to_thread(exporter.push, odd, SessionProperties())
