"""
Events of every kind: each by the route that its dialect has for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Event,
    Exporter,
    ModelEvent,
    SessionProperties,
    Spool,
)
from hh_exporter._collector import Collector
from hh_exporter._dialects.vendor import to_session_uuid
from tests.collector_client import stored
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer, created, refuse_if, unavailable
from tests.support import FakeClock, assert_balanced, delivered, flushed, model_event

KINDS = {kind: to_session_uuid(kind) for kind in ("tool", "chain", "session", "model")}
"""An id for an event of each kind."""

both = pytest.mark.parametrize("dialect", ["legacy", "v1"])


def paths(server: ScriptedServer) -> dict[str, list[str]]:
    """
    Which events each path was sent.
    """
    found: dict[str, list[str]] = {}
    for request in server.requests:
        found.setdefault(request.path, []).extend(e["event_id"] for e in request.events)
    return found


def push_each(exporter: Exporter) -> list[str]:
    for kind, event_id in KINDS.items():
        assert exporter.push(Event(event_type=kind, event_id=event_id, inputs={"q": kind}))
    assert exporter.push(model_event(event_id="call"))
    return [*KINDS.values(), "call"]


@pytest.mark.parametrize("dialect", ["v1"])
async def test_v1_has_one_route_for_all_kinds(exporter: Exporter, server: ScriptedServer) -> None:
    """
    They share a batch, in the order in which they were pushed.
    """
    ids = push_each(exporter)
    await exporter.flush()

    [request] = server.requests
    assert paths(server) == {"/v1/events/batch": ids}
    assert [event["event_type"] for event in request.events] == [*KINDS, "model"]


async def test_legacy_keeps_model_events_apart(exporter: Exporter, server: ScriptedServer) -> None:
    """
    They go where they always went; all other kinds have a route of their own.
    """
    push_each(exporter)
    await exporter.flush()

    assert paths(server) == {
        "/events/batch": list(KINDS.values()),
        "/events/model/batch": ["call"],
    }
    assert assert_balanced(exporter).delivered == 5


async def test_each_route_fills_batches_of_its_own(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A full batch of one route leaves at once, and waits for no event of another.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=3, linger=60.0))
    for n in range(3):
        exporter.push(Event(event_type="tool", event_id=f"t{n}"))
        exporter.push(model_event(event_id=f"m{n}"))
    await delivered(exporter, 6)

    assert paths(server) == {
        "/events/batch": ["t0", "t1", "t2"],
        "/events/model/batch": ["m0", "m1", "m2"],
    }


@both
async def test_a_session_is_announced_once_whatever_comes_first(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, dialect: str
) -> None:
    """
    By its first event; those of another route wait until that is done.
    """
    session = SessionProperties(session_name="chat")
    exporter.push(Event(event_type="chain", event_id="e1"), session=session)
    exporter.push(model_event(event_id="e2"), session=session)
    exporter.push(Event(event_type="tool", event_id="e3"), session=session)
    await flushed(exporter, clock)

    announcing = [r for r in server.requests if "session_properties" in r.json]
    named = [e for r in server.requests for e in r.events if e.get("event_name") == "chat"]
    assert (len(announcing), len(named)) == ((1, 0) if dialect == "legacy" else (0, 1))
    ids = [e["event_id"] for r in server.requests for e in r.events]
    assert sorted(i for i in ids if i != session.session_id) == ["e1", "e2", "e3"]
    assert {e["session_id"] for r in server.requests for e in r.events} == {session.session_id}


@both
async def test_a_collector_takes_each_kind(
    dialect: str,
) -> None:
    """
    With what it says, in both dialects.
    """
    async with Collector() as collector:
        async with Exporter(base_url=collector.url, dialect=dialect) as exporter:  # type: ignore[arg-type]
            ids = push_each(exporter)
            assert (await exporter.flush()).delivered == len(ids)
        events = {event.event_id: event.event for event in await stored(collector)}

    assert sorted(events) == sorted(ids)
    for kind, event_id in KINDS.items():
        assert events[event_id]["event_type"] == kind
        assert events[event_id]["inputs"] == {"q": kind}


@both
async def test_one_event_may_be_sent_at_once(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    By the route for single events.
    """
    await exporter.create_model_event(Event(event_type="tool", event_id="t"))

    path = {"legacy": "/events", "v1": "/v1/events"}[dialect]
    assert paths(server) == {path: ["t"]}


async def test_a_bad_one_harms_only_itself(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Its batch is split on its own route.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "t3")
    for n in range(6):
        exporter.push(Event(event_type="tool", event_id=f"t{n}"))
    await flushed(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected) == (5, 1)
    assert paths(server).keys() == {"/events/batch"}


@both
@pytest.mark.parametrize("durable", [False, True])
async def test_the_spool_keeps_the_route(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    tmp_path: Path,
    dialect: str,
    durable: bool,
) -> None:
    """
    What the next process finds goes where it would have gone.
    """
    server.default = unavailable()
    spool = Spool(tmp_path, durable=durable)
    async with build_exporter(spool=spool) as first:
        ids = push_each(first)
        await first.aclose(0.0)
    server.default = created()
    server.requests.clear()

    async with build_exporter(spool=spool) as second:
        await delivered(second, len(ids))

    others, calls = list(KINDS.values()), ["call"]
    assert paths(server) == (
        {"/events/batch": others, "/events/model/batch": calls}
        if dialect == "legacy"
        else {"/v1/events/batch": others + calls}
    )


# What is checked and hidden.


@pytest.mark.parametrize(
    "fields",
    [{"event_type": "agent"}, {"event_type": None}, {"event_type": 1}, {"event_name": 5}],
)
async def test_a_wrong_field_is_invalid(exporter: Exporter, fields: dict[str, Any]) -> None:
    """
    As for a model event; the type must be one that the API knows.
    """
    assert not exporter.push(Event(**{"event_type": "tool"} | fields))

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.INVALID: 1}


async def test_the_message_says_which_types_there_are(
    exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    So that a person can mend it.
    """
    exporter.push(Event(event_type="agent"))

    assert "event_type: must be one of chain, model, session, tool" in caplog.text


@both
@pytest.mark.parametrize("hides", ["hide_inputs", "hide_outputs"])
async def test_payloads_are_hidden(
    make_exporter: MakeExporter, server: ScriptedServer, hides: str
) -> None:
    """
    Inputs or outputs, and metadata; the rest is sent.
    """
    exporter = await make_exporter(**{hides: True})
    payload = {"secret": "x"}
    exporter.push(
        Event(event_type="tool", inputs=payload, outputs=payload, metadata=payload, config={"a": 1})
    )
    await exporter.flush()

    [event] = server.requests[0].events
    hidden = "inputs" if hides == "hide_inputs" else "outputs"
    shown = "outputs" if hides == "hide_inputs" else "inputs"
    assert event.get(hidden, {}) == {}
    assert event[shown] == payload
    assert "metadata" not in event
    assert event["config"] == {"a": 1}


async def test_before_send_gets_each_kind(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    As the class that it is, with all that is filled in; None filters it.
    """
    seen: list[object] = []

    def hook(draft: Event | ModelEvent) -> Event | ModelEvent | None:
        seen.append((type(draft), draft.event_id, draft.source))
        if isinstance(draft, Event) and draft.event_name == "secret":
            return None
        return draft.map_text(str.upper)

    exporter = await make_exporter(before_send=hook, source="prod")
    exporter.push(Event(event_type="tool", event_id="t", inputs={"q": "x"}))
    exporter.push(Event(event_type="tool", event_id="u", event_name="secret"))
    exporter.push(model_event(event_id="m"))
    await exporter.flush()

    assert seen == [(Event, "t", "prod"), (Event, "u", "prod"), (ModelEvent, "m", "prod")]
    assert server.requests[0].events[0]["inputs"] == {"q": "X"}
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.FILTERED: 1}


@both
async def test_sessions_are_sampled_whole(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    An event of whichever kind goes with its session.
    """
    exporter = await make_exporter(sample_rate=0.5)
    for n in range(40):
        session_id = f"5e551000-0000-4000-8000-{n:012}"
        exporter.push(Event(event_type="tool", session_id=session_id))
        exporter.push(model_event(session_id=session_id))
    await exporter.flush()

    sent = [event["session_id"] for request in server.requests for event in request.events]
    assert 0 < len(sent) < 80
    assert all(sent.count(session_id) == 2 for session_id in sent)


# Sessions as events.


@both
@pytest.mark.parametrize("hooked", [False, True])
async def test_a_session_event_belongs_to_itself(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: str, hooked: bool
) -> None:
    """
    Whichever session it is pushed with: that one is not announced by it.
    """
    exporter = await make_exporter(before_send=(lambda draft: draft) if hooked else None)
    exporter.push(
        Event(event_type="session", event_id=KINDS["session"]),
        session=SessionProperties(session_name="chat"),
    )
    await exporter.flush()

    [request] = server.requests
    [event] = request.events
    assert event["session_id"] == event["event_id"] == KINDS["session"]
    assert "session_properties" not in request.json


@both
@pytest.mark.parametrize("given", ["event_id", "session_id"])
async def test_a_session_event_has_the_id_of_its_session(
    exporter: Exporter, server: ScriptedServer, given: str
) -> None:
    """
    Whichever of the two is given; one that is no UUID becomes one, as for all its events.
    """
    id_ = to_session_uuid("chat 1")
    fields: dict[str, Any] = {given: "chat 1"}
    exporter.push(Event(event_type="session", **fields))
    await exporter.flush()

    [event] = server.requests[0].events
    assert (event["event_id"], event["session_id"]) == (id_, id_)
