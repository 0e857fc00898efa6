"""
In the dialect v1 a session is an event of its own, right before the first of its events.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import BatchLimits, Exporter, QueueLimits, SessionProperties, Settlement
from hh_exporter._collector import Collector
from tests.collector_client import known_sessions, stored
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    Event,
    ScriptedServer,
    created,
    hang_after_storing,
    partly,
    reset_after_storing,
    status,
    unavailable,
)
from tests.support import FakeClock, assert_balanced, model_event, push_all


@pytest.fixture
def dialect() -> str:
    return "v1"


def push_to(exporter: Exporter, session: SessionProperties, *event_ids: str) -> None:
    for event_id in event_ids:
        assert exporter.push(model_event(event_id=event_id), session=session)


def is_session(event: Event) -> bool:
    return bool(event["event_type"] == "session")


async def finish(exporter: Exporter, clock: FakeClock) -> None:
    """
    Flush until all have an outcome, through whatever time that takes.
    """
    while exporter.stats().queued + exporter.stats().in_flight:
        flush = asyncio.create_task(exporter.flush())
        while not flush.done():
            await clock.advance(1.0)


async def test_a_session_is_the_first_of_its_events(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    It is in the ordinary batch, beside events of other sessions, once, and in the books.
    """
    sessions = [SessionProperties(session_name=f"chat {n}") for n in range(3)]
    push_all(exporter, "other")
    for i in range(2):
        for n, session in enumerate(sessions):
            push_to(exporter, session, f"{n}-{i}")
    await exporter.flush()

    [request] = server.requests
    assert request.json.keys() == {"events"}
    ids = [str(session.session_id) for session in sessions]
    expected = ["other", ids[0], "0-0", ids[1], "1-0", ids[2], "2-0", "0-1", "1-1", "2-1"]
    assert [event["event_id"] for event in request.events] == expected
    told = [event for event in request.events if is_session(event)]
    assert [event["event_name"] for event in told] == ["chat 0", "chat 1", "chat 2"]
    assert [event["session_id"] for event in told] == ids
    stats = assert_balanced(exporter)
    assert (stats.pushed, stats.delivered) == (10, 10)


async def test_the_collector_knows_what_was_said_of_a_session(make_exporter: MakeExporter) -> None:
    """
    It has the session's properties, and the session among the events.
    """
    session = SessionProperties(session_name="chat", user_properties={"plan": "pro"})
    async with Collector() as collector:
        exporter = await make_exporter(base_url=collector.url)
        push_to(exporter, session, "e0")
        await exporter.flush()
        events = await stored(collector)
        [known] = await known_sessions(collector)

    assert [event.event_id for event in events] == [session.session_id, "e0"]
    assert known.session_id == session.session_id
    assert known.properties["session_name"] == "chat"
    assert known.properties["user_properties"] == {"plan": "pro"}


FAULTS: dict[str, Any] = {
    "unavailable": unavailable(),
    "partial success": partly(lambda event: not is_session(event)),
    "partial success to be retried": partly(is_session, errors=False),
    "refused as a whole": status(401),
    "stored without an answer": reset_after_storing(),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_costs_a_session_its_properties(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, fault: str
) -> None:
    """
    It is sent again like any event, under its id, until it is created.
    """
    server.script(FAULTS[fault])
    exporter = await make_exporter()
    session = SessionProperties(session_name="chat")
    push_to(exporter, session, "e0", "e1")
    await finish(exporter, clock)
    push_to(exporter, session, "e2")
    await exporter.flush()

    assert exporter.stats().delivered == 4
    assert {e["event_id"] for e in server.created} == {session.session_id, "e0", "e1", "e2"}
    assert {event["session_id"] for event in server.created} == {session.session_id}
    assert [is_session(event) for event in server.requests[-1].events] == [False]


@pytest.mark.parametrize("code", [400, 422, 413])
async def test_a_session_that_is_refused_costs_no_event(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    It has an outcome of its own, by its id, and its events go on without.
    """
    fates: list[Settlement] = []
    server.default = lambda r: status(code) if any(map(is_session, r.events)) else created()
    exporter = await make_exporter(on_outcome=fates.append)
    session = SessionProperties(session_name="chat")
    push_to(exporter, session, *(f"e{n}" for n in range(9)))
    await finish(exporter, clock)

    stats = exporter.stats()
    assert (stats.delivered, stats.rejected + stats.dropped) == (9, 1)
    lost = [fate.event_ids for fate in fates if fate.outcome != "delivered"]
    assert lost == [(session.session_id,)]
    losses = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(losses) == 1


async def test_an_event_that_names_another_session_tells_nothing(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    The session is told of with the first event that is in it.
    """
    session = SessionProperties()
    exporter.push(model_event(event_id="own", session_id="other"), session=session)
    await exporter.flush()
    push_to(exporter, session, "in it")
    await exporter.flush()

    assert [list(map(is_session, r.events)) for r in server.requests] == [[False], [True, False]]


async def test_an_event_that_is_not_sent_tells_nothing(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Where the first event is invalid, the session is told of with the next.
    """
    session = SessionProperties()
    assert not exporter.push(model_event(duration="1"), session=session)
    await exporter.flush()
    assert exporter.stats().pushed == 1
    push_to(exporter, session, "good")
    await exporter.flush()

    [request] = server.requests
    assert [event["event_id"] for event in request.events] == [session.session_id, "good"]


async def test_a_session_too_large_to_be_sent_is_left_out(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its events go without it, which is said once.
    """
    exporter = await make_exporter(queue=QueueLimits(max_bytes=50_000))
    session = SessionProperties(metadata={"pad": "x" * 60_000})
    push_to(exporter, session, "e0", "e1")
    await exporter.flush()

    assert server.created_ids == ["e0", "e1"]
    assert len([r for r in caplog.records if "properties are not sent" in r.getMessage()]) == 1


async def test_a_session_for_which_there_was_no_room_is_told_of_later(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    With the next of its events; that it was dropped is counted.
    """
    exporter = await make_exporter(
        queue=QueueLimits(max_events=1, overflow="drop_newest"), batch=BatchLimits(linger=0)
    )
    session = SessionProperties()
    push_all(exporter, "first")
    assert not exporter.push(model_event(event_id="e0"), session=session)
    await exporter.flush()
    assert exporter.stats().dropped_by_reason == {"queue_full": 2}
    assert await exporter.put(model_event(event_id="e1"), session=session)
    await exporter.flush()

    assert server.created_ids == ["first", session.session_id, "e1"]


async def test_put_waits_for_room_for_both(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A put that is cancelled while it waits tells of no session; the next one does.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(queue=QueueLimits(max_events=1), batch=BatchLimits(linger=0))
    session = SessionProperties()
    push_all(exporter, "first")
    put = asyncio.create_task(exporter.put(model_event(event_id="lost"), session=session))
    await server.next_request()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    server.release()
    assert await exporter.put(model_event(event_id="kept"), session=session)
    await exporter.flush()

    assert exporter.stats().pushed == 3
    assert {"kept", session.session_id} <= set(server.created_ids)
    assert "lost" not in server.created_ids


async def test_a_session_waits_on_disk_like_its_events(
    build_exporter: BuildExporter, server: ScriptedServer, tmp_path: Path
) -> None:
    """
    The next exporter to start delivers both, the session first.
    """
    session = SessionProperties(session_name="chat")
    first = build_exporter(spool=tmp_path)
    server.default = unavailable()
    await first.start()
    push_to(first, session, "e0")
    await first.aclose(0.0)
    server.default = created()

    second = build_exporter(spool=tmp_path)
    await second.start()
    await second.flush()

    assert server.created_ids == [session.session_id, "e0"]
    assert second.stats().recovered == 2


async def test_a_session_that_was_dropped_is_told_of_again(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    With the next of its events, though one of them took its place in the queue.
    """
    exporter = await make_exporter(queue=QueueLimits(max_events=2), batch=BatchLimits(linger=0))
    session = SessionProperties()
    push_to(exporter, session, "e0", "e1")
    await exporter.flush()
    for event_id in ("e2", "e3"):
        push_to(exporter, session, event_id)
        await exporter.flush()

    assert server.created_ids == ["e0", "e1", session.session_id, "e2", "e3"]
    assert exporter.stats().dropped_by_reason == {"queue_full": 1}
    assert_balanced(exporter)


async def test_a_session_that_a_close_dropped_is_told_of_after_the_restart(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Its next event is in a session that the server knows.
    """
    exporter = await make_exporter()
    session = SessionProperties()
    push_to(exporter, session, "lost")
    await exporter.aclose(0.0)
    await exporter.start()
    push_to(exporter, session, "e0")
    await exporter.flush()

    assert server.created_ids == [session.session_id, "e0"]
    assert exporter.stats().dropped_by_reason == {"closed": 2}


async def test_a_session_that_is_too_large_for_the_server_is_not_sent_again(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It would be refused each time.
    """
    server.default = lambda r: status(413) if any(map(is_session, r.events)) else created()
    exporter = await make_exporter()
    session = SessionProperties()
    push_to(exporter, session, "e0")
    await finish(exporter, clock)
    push_to(exporter, session, "e1")
    await finish(exporter, clock)

    assert server.created_ids == ["e0", "e1"]
    assert exporter.stats().dropped_by_reason == {"too_large": 1}


async def test_a_session_with_an_empty_id_has_one_as_an_event(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    By which an answer can say that it was created; no event is in it.
    """
    server.script(partly(lambda e: not is_session(e), errors=False))
    session = SessionProperties(session_id="", session_name="chat")
    push_to(exporter, session, "e0")
    await finish(exporter, clock)

    told, event = server.created
    assert told["event_id"] == told["session_id"] != ""
    assert (event["event_id"], event["session_id"]) == ("e0", "")
    assert not server.duplicates()
