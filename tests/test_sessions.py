"""
A session's properties are announced once, and cost no event whatever becomes of them.

In the legacy dialect, where they travel in the body of an event; test_session_events.py has v1.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hh_exporter import BatchLimits, Exporter, QueueLimits, SessionProperties
from hh_exporter._collector import Collector
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._sessions import Sessions
from tests.collector_client import known_sessions, stored
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    Event,
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    limit_bytes,
    partly,
    reset_after_storing,
    reset_before_storing,
    status,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    delivered,
    model_event,
    push_all,
    settle,
    until,
)

SAID = "session properties are not sent"

both_dialects = pytest.mark.parametrize("dialect", ["legacy", "v1"])


def announced(request: Request) -> dict[str, Any] | None:
    """
    Find the session that a request announces.
    """
    is_single = request.json.get("is_single_session", request.json.get("single_session"))
    properties: dict[str, Any] | None = request.json.get("session_properties")
    assert (is_single is True) == (properties is not None)
    return properties


def announcements(server: ScriptedServer) -> Counter[str]:
    """
    Count how often each session was announced.
    """
    found = [announced(request) for request in server.requests]
    return Counter(properties["session_id"] for properties in found if properties)


def push_to(exporter: Exporter, session: SessionProperties, *event_ids: str) -> None:
    for event_id in event_ids:
        assert exporter.push(model_event(event_id=event_id), session=session)


def known_as(number: int) -> str:
    return to_session_uuid(f"s{number}")


def names(count: int, stem: str = "e") -> list[str]:
    return [f"{stem}{n}" for n in range(count)]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def assert_forgotten(exporter: Exporter) -> None:
    """
    Check that nothing is held any more of sessions that were announced.
    """
    gc.collect()
    life = exporter._life
    assert exporter._queue.ledger.session_bytes == 0
    worker = life.worker
    assert worker is not None
    assert not worker.batcher.sessions._pending
    assert worker.batcher.clear() == []
    assert not worker.batcher._announcing
    assert not worker.prober.aside


def assert_whole(server: ScriptedServer, session: SessionProperties, event_ids: list[str]) -> None:
    """
    Check that the server has each of *event_ids* once, all in *session*.
    """
    assert sorted(server.created_ids) == sorted(event_ids)
    assert {event["session_id"] for event in server.created} == {session.session_id}


# How many bodies.


@both_dialects
async def test_sessions_without_properties_share_bodies(
    make_exporter: MakeExporter, dialect: str
) -> None:
    """
    5,000 events of 5,000 sessions are at most 60 requests, each event in its own session.
    """
    async with Collector() as collector:
        exporter = await make_exporter(base_url=collector.url, dialect=dialect)
        for n in range(5_000):
            exporter.push(model_event(event_id=f"e{n}", session_id=f"s{n}"))
        await exporter.flush()

        events = await stored(collector)

    assert assert_balanced(exporter).requests <= 60
    assert {e.event_id: e.session_id for e in events} == {
        f"e{n}": to_session_uuid(f"s{n}") for n in range(5_000)
    }


@both_dialects
async def test_one_session_is_one_session(make_exporter: MakeExporter, dialect: str) -> None:
    """
    5,000 events in some 50 bodies are in the one session, which has its properties.
    """
    session = SessionProperties(session_name="chat", metadata={"tier": "gold"})
    async with Collector() as collector:
        exporter = await make_exporter(base_url=collector.url, dialect=dialect)
        push_to(exporter, session, *names(5_000))
        await exporter.flush()

        events = await stored(collector)
        [known] = await known_sessions(collector)

    assert assert_balanced(exporter).requests <= 60
    assert len(events) == 5_000 + (dialect == "v1")  # there the session is an event
    assert {e.session_id for e in events} == {known.session_id} == {session.session_id}
    assert (known.properties["session_name"], known.properties["metadata"]) == (
        "chat",
        {"tier": "gold"},
    )
    assert_forgotten(exporter)


async def test_many_sessions_are_announced_once_each(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Of 500 sessions at once each has one announcement, and what is left shares bodies.
    """
    exporter = await make_exporter()
    sessions = [SessionProperties(session_name=f"{n}") for n in range(500)]
    for i in range(3):
        for n, session in enumerate(sessions):
            push_to(exporter, session, f"{n}-{i}")

    await exporter.flush()

    assert announcements(server) == {session.session_id: 1 for session in sessions}
    assert len(server.requests) <= 600
    of = {f"{n}-{i}": session.session_id for n, session in enumerate(sessions) for i in range(3)}
    assert {event["event_id"]: event["session_id"] for event in server.created} == of
    assert not server.duplicates()
    assert_forgotten(exporter)


async def test_nobody_is_starved_by_sessions(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An ordinary event and one of a lone session leave by their linger, whatever else comes.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=2, linger=1.0), max_in_flight=1)
    push_all(exporter, "ordinary")
    push_to(exporter, SessionProperties(), "lone")
    for n in range(50):
        push_to(exporter, SessionProperties(), f"{n}-0", f"{n}-1")
    await clock.advance(1.0)

    await delivered(exporter, 102)

    first = [event["event_id"] for request in server.requests[:5] for event in request.events]
    assert {"ordinary", "lone"} <= set(first)


# Whatever fails on the way.


def is_odd(event: Event) -> bool:
    return str(event["event_id"]).endswith("7")


def is_bad(event: Event) -> bool:
    return str(event["event_id"]).startswith("bad")


FAULTS: dict[str, tuple[list[Scripted], int]] = {
    "nothing": ([], 1),
    "partial success": ([partly(is_odd)], 1),
    "partial success to be retried": ([partly(is_odd, errors=False)], 1),
    "unavailable": ([unavailable()] * 6, 7),
    "asked for time": ([unavailable(retry_after=7)], 2),
    "reset before storing": ([reset_before_storing()] * 2, 3),
    "refused as a whole": ([status(401), status(403)], 3),
    "too large": ([limit_bytes(10_000), limit_bytes(10_000)], 2),
    "created in silence": ([partly(lambda _: True)], 2),
}
"""What the server answers first, and how often the session is announced then."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_costs_a_session_its_properties(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """
    It is announced until an event of it is created, and then no more; each event arrives once.
    """
    script, times = FAULTS[fault]
    server.script(*script)
    exporter = await make_exporter(batch=BatchLimits(max_events=50))
    session = SessionProperties(session_name="chat")
    push_to(exporter, session, *names(500))

    await finish(exporter, clock)
    push_to(exporter, session, "later")
    await exporter.flush()

    assert_whole(server, session, [*names(500), "later"])
    assert announcements(server) == {session.session_id: times}
    assert SAID not in "".join(warnings(caplog))
    assert_forgotten(exporter)


async def finish(exporter: Exporter, clock: FakeClock) -> None:
    """
    Flush until all have an outcome, through whatever time that takes.
    """
    while exporter.stats().queued + exporter.stats().in_flight:
        flush = asyncio.create_task(exporter.flush())
        while not flush.done():
            await clock.advance(1.0)


async def test_what_was_stored_without_an_answer_is_announced_again(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Nobody can know that the server took it; the copies are in the same session.
    """
    server.script(reset_after_storing())
    session = SessionProperties()
    push_to(exporter, session, "e0", "e1")

    await finish(exporter, clock)

    assert announcements(server) == {session.session_id: 2}
    assert {event["session_id"] for event in server.created} == {session.session_id}


async def test_a_bad_event_costs_its_session_nothing(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A batch that is refused for one event announces its session with the others.
    """
    server.default = lambda request: status(400) if any(map(is_bad, request.events)) else created()
    exporter = await make_exporter()
    session = SessionProperties()
    push_to(exporter, session, "e0", "e1", "bad", *names(10, "more"))

    await finish(exporter, clock)
    push_to(exporter, session, "later")
    await exporter.flush()

    assert_whole(server, session, ["e0", "e1", *names(10, "more"), "later"])
    assert exporter.stats().rejected == 1
    took = [r for r in server.requests if announced(r) and not any(map(is_bad, r.events))]
    assert len(took) == 1
    assert SAID not in "".join(warnings(caplog))
    assert_forgotten(exporter)


# Properties that can't be sent.


@pytest.mark.parametrize("code", [400, 422, 413])
async def test_properties_that_are_refused_are_left_out(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    All events of all sessions arrive without them, and one warning says so.
    """
    server.default = lambda request: status(code) if announced(request) else created()
    exporter = await make_exporter()
    sessions = [SessionProperties(session_id=known_as(n)) for n in range(5)]
    for session in sessions:
        push_to(exporter, session, *names(4, f"{session.session_id}-"))
    await finish(exporter, clock)
    refused = announcements(server)
    for session in sessions:
        push_to(exporter, session, f"{session.session_id}-later")
    await exporter.flush()

    assert set(refused) == {known_as(n) for n in range(5)}
    assert announcements(server) == refused
    assert {e["event_id"]: e["session_id"] for e in server.created} == {
        f"{known_as(n)}-{i}": known_as(n) for n in range(5) for i in (0, 1, 2, 3, "later")
    }
    assert len(server.created) == 25
    assert len([line for line in warnings(caplog) if SAID in line]) == 1
    assert_forgotten(exporter)


async def test_properties_at_which_the_server_fails_are_left_out(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    That it takes others meanwhile shows that they are to blame.
    """
    server.default = lambda request: unavailable() if announced(request) else created()
    exporter = await make_exporter(batch=BatchLimits(linger=0.0))
    session = SessionProperties()
    push_to(exporter, session, "e0", "e1")
    for n in range(20):
        push_all(exporter, f"other{n}")
        await clock.advance(1.0)

    await finish(exporter, clock)

    assert set(server.created_ids) == {"e0", "e1", *names(20, "other")}
    assert announcements(server) == {session.session_id: 3}
    assert not server.duplicates()


async def test_a_large_announcement_does_not_shrink_other_bodies(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Where the server takes no body that large, what it took before it takes after.
    """
    server.default = limit_bytes(50_000)
    exporter = await make_exporter()
    session = SessionProperties(metadata={"pad": "x" * 60_000})
    push_to(exporter, session, "e0", "e1", "e2")
    await finish(exporter, clock)
    before = len(server.requests)
    push_all(exporter, *names(100, "other"))
    await exporter.flush()

    assert len(server.created) == 103
    assert len(server.requests) == before + 1


@pytest.mark.parametrize(
    ("size", "limits"),
    [
        (5_000_000, {}),
        (4_999_800, {}),
        (100_000, {"queue": QueueLimits(max_bytes=50_000)}),
        (50_000 - 300, {"queue": QueueLimits(max_bytes=50_000)}),
    ],
)
async def test_properties_too_large_for_any_body_are_left_out(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    size: int,
    limits: dict[str, Any],
) -> None:
    """
    Its events go without them, which is said once and found out once.
    """
    exporter = await make_exporter(**limits)
    session = SessionProperties(metadata={"pad": "x" * size})
    push_to(exporter, session, "e0", "e1")
    session.metadata = None  # nobody looks at it any more
    push_to(exporter, session, "e2")
    await exporter.flush()

    assert_whole(server, session, ["e0", "e1", "e2"])
    assert not announcements(server)
    assert len([line for line in warnings(caplog) if SAID in line]) == 1


async def test_an_event_too_large_for_the_announcement_goes_without(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Its session is announced with another one.
    """
    exporter = await make_exporter(queue=QueueLimits(max_bytes=50_000))
    session = SessionProperties(metadata={"pad": "x" * 10_000})
    assert exporter.push(model_event(event_id="large", error="x" * 45_000), session=session)
    await exporter.flush()
    push_to(exporter, session, "small")
    await exporter.flush()

    assert_whole(server, session, ["large", "small"])
    assert [announced(r) is not None for r in server.requests] == [False, True]


async def test_properties_above_batch_max_bytes_travel_with_one_event(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    As an event does that is larger than a batch may be.
    """
    exporter = await make_exporter(batch=BatchLimits(max_bytes=10_000))
    session = SessionProperties(metadata={"pad": "x" * 20_000})
    push_to(exporter, session, *names(5))
    await exporter.flush()

    assert_whole(server, session, names(5))
    first, *others = server.requests
    assert (announced(first) is not None, len(first.events)) == (True, 1)
    assert [announced(r) for r in others] == [None]


# What is announced.


async def test_the_first_push_says_what_a_session_is(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    What changes afterwards, in it or in another object with its id, changes nothing.
    """
    session = SessionProperties(session_name="first")
    push_to(exporter, session, "e0")
    session.session_name = "second"
    push_to(exporter, session, "e1")
    push_to(exporter, SessionProperties(session_id=session.session_id), "e2")
    await exporter.flush()
    push_to(exporter, session, "e3")
    await exporter.flush()

    assert [(announced(r) or {}).get("session_name") for r in server.requests] == ["first", None]
    assert_whole(server, session, ["e0", "e1", "e2", "e3"])


@both_dialects
async def test_an_events_own_session_wins(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: str
) -> None:
    """
    With another session_id it goes without the properties; naming the same changes nothing.
    """
    exporter = await make_exporter(dialect=dialect)
    session = SessionProperties()
    exporter.push(model_event(event_id="own", session_id="other"), session=session)
    exporter.push(model_event(event_id="same", session_id=session.session_id), session=session)
    assert await exporter.put(model_event(event_id="put"), session=session)
    with exporter.record(model="m", event_id="recorded", session_id=session.session_id):
        pass
    await exporter.flush()

    ids = {e["event_id"]: e["session_id"] for e in server.created}
    mine = dict.fromkeys(("same", "put", "recorded"), session.session_id)
    if dialect == "v1":
        mine |= {str(session.session_id): session.session_id}
    assert ids == mine | {"own": to_session_uuid("other")}
    if dialect == "legacy":
        [announcement] = [r for r in server.requests if announced(r)]
        assert sorted(event["event_id"] for event in announcement.events) == ["put", "same"]


@pytest.mark.parametrize(
    "session",
    [{}, "s1", SessionProperties(session_name=5), SessionProperties(session_id=None)],  # type: ignore[arg-type]
    ids=["dict", "text", "wrong name", "no id"],
)
async def test_a_session_of_wrong_types_is_invalid(
    exporter: Exporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture, session: Any
) -> None:
    """
    Its events are dropped like others with a wrong field, with one warning.
    """
    assert [exporter.push(model_event(), session=session) for _ in range(3)] == [False] * 3
    assert not await exporter.put(model_event(), session=session)

    assert exporter.stats().dropped_by_reason == {"invalid": 4}
    assert len(warnings(caplog)) == 1
    await exporter.flush()
    assert not server.requests


def test_a_session_is_forgotten_after_10_000_others() -> None:
    """
    The one that was learned first goes first.
    """
    sessions = Sessions()
    for n in range(10_001):
        sessions.learn(f"{n}")

    assert [sessions.is_known(f"{n}") for n in (0, 1, 10_000)] == [False, True, True]


async def test_threads_agree_on_one_session(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Whose first events are pushed by many threads at once is announced once.
    """
    exporter = await make_exporter()
    sessions = [SessionProperties() for _ in range(40)]
    barrier = threading.Barrier(4)

    def push(number: int) -> None:
        for n, session in enumerate(sessions):
            barrier.wait()
            push_to(exporter, session, f"{n}-{number}")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        await asyncio.gather(*(asyncio.to_thread(push, number) for number in range(4)))
    finally:
        sys.setswitchinterval(before)
    await exporter.flush()

    assert announcements(server) == {session.session_id: 1 for session in sessions}


# Its life.


async def test_a_session_survives_close_and_start(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    What a close cut off is announced after it, and what is known stays known.
    """
    server.script(hang())
    exporter = await make_exporter(batch=BatchLimits(max_events=2))
    session = SessionProperties()
    push_to(exporter, session, "lost0", "lost1", "lost2")
    await server.next_request()
    await exporter.aclose(0.0)
    for event_id in ("e0", "e1"):
        await exporter.start()
        push_to(exporter, session, event_id)
        await exporter.aclose()

    assert_whole(server, session, ["e0", "e1"])
    assert announcements(server) == {session.session_id: 2}
    assert exporter._queue.ledger.session_bytes == 0


async def test_a_session_outlives_its_loop(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    Events that one loop left behind are announced in the next, and once.
    """
    server.script(hang())
    exporter = build_exporter(batch=BatchLimits(max_events=2))
    session = SessionProperties()
    stopped = asyncio.new_event_loop()

    async def push_and_leave() -> None:
        push_to(exporter, session, "e0", "e1", "e2")
        await until(lambda: server.requests)

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    await asyncio.to_thread(stopped.run_until_complete, push_and_leave())
    await exporter.flush()
    await asyncio.to_thread(stopped.run_until_complete, end())
    stopped.close()

    assert_whole(server, session, names(3))
    assert [announced(r) is not None for r in server.requests] == [True, True, False]
    assert exporter._queue.ledger.session_bytes == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_a_close_settles_those_that_wait(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, overflow: Any
) -> None:
    """
    Events that wait for an announcement are dropped with it, and nothing of them is kept.
    """
    server.default = hang()
    exporter = await make_exporter(
        queue=QueueLimits(max_events=10, overflow=overflow), batch=BatchLimits(max_events=2)
    )
    session = SessionProperties()
    for n in range(15):
        exporter.push(model_event(event_id=f"e{n}"), session=session)
        if n == 4:
            await server.next_request()
    assert exporter._queue.ledger.session_bytes > 0
    assert exporter.stats().dropped == 5

    closing = asyncio.create_task(exporter.aclose(1.0))
    await clock.advance(1.0)
    await closing

    assert assert_balanced(exporter).dropped == 15
    assert exporter._queue.ledger.session_bytes == 0


class CountingClock(FakeClock):
    """
    Counts how often somebody begins to wait.
    """

    waits = 0

    def timeout_at(self, deadline: float | None) -> AbstractAsyncContextManager[object]:
        self.waits += 1
        return super().timeout_at(deadline)


@pytest.mark.parametrize("count", [3, 64, 65, 66, 200])
async def test_those_that_wait_do_not_keep_the_loop_awake(
    make_exporter: MakeExporter, server: ScriptedServer, count: int
) -> None:
    """
    While a session's first batch is out the worker sleeps, however many wait for it.
    """
    server.script(hang_after_storing())
    clock = CountingClock()
    exporter = await make_exporter(batch=BatchLimits(max_events=1), _clock=clock)
    session = SessionProperties()
    push_to(exporter, session, *names(count))
    await server.requests_seen(1)
    await settle()
    before = clock.waits

    await settle()

    assert clock.waits == before
    server.release()
    assert (await exporter.flush()).delivered == count


async def test_many_open_batches_do_not_keep_the_loop_awake(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    It sleeps until the first of them is due.
    """
    clock = CountingClock()
    exporter = await make_exporter(_clock=clock)
    for n in range(60):
        push_to(exporter, SessionProperties(), f"e{n}")
    await settle()
    before = clock.waits

    await settle()

    assert clock.waits == before
    assert not server.requests


async def test_chance_costs_no_session_its_properties(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A server that fails three times at an announcement, beside others, is told of it later.
    """
    failures = iter([unavailable()] * 3)
    server.default = lambda r: next(failures, created()) if announced(r) else created()
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    session = SessionProperties(session_name="chat")
    push_to(exporter, session, "e0")
    for n in range(20):
        assert exporter.push(model_event(event_id=f"other-{n}"))
        await clock.advance(1.0)
        await until(lambda: not exporter._keeper.need_worker().shipper.on_wire)
    await finish(exporter, clock)
    push_to(exporter, session, "e1")
    await finish(exporter, clock)

    assert announcements(server)[str(session.session_id)] == 4
    assert announced(server.requests[-1])


@pytest.mark.parametrize("code", [403, 500])
async def test_a_server_that_fails_at_properties_gets_the_events(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, code: int
) -> None:
    """
    Even where all events have a session: some probes go without its properties.
    """
    server.default = lambda request: status(code) if announced(request) else created()
    exporter = await make_exporter()
    session = SessionProperties(session_name="chat")
    push_to(exporter, session, *names(300))

    await finish(exporter, clock)

    assert sorted(server.created_ids) == sorted(names(300))
    assert {event["session_id"] for event in server.created} == {session.session_id}
