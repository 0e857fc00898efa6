"""
Copies of all events for a second server: best effort, and nothing else knows of them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal

import attrs
import pytest

from hh_exporter import (
    BatchLimits,
    ConfigError,
    DropReason,
    Event,
    Exporter,
    FlushResult,
    ModelEvent,
    QueueLimits,
    SessionProperties,
    Stats,
)
from hh_exporter._collector import Collector
from hh_exporter._environment import read_settings
from hh_exporter._records import Record
from hh_exporter.testing import Kit
from tests.collector_client import known_sessions, stored
from tests.conftest import KEY, BuildExporter, MakeExporter, in_both_dialects
from tests.life.test_forks import forked
from tests.programs import run_program
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    html,
    partly,
    reset_before_storing,
    status,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    delivered,
    in_thread,
    model_event,
    push_all,
    settle,
    until,
)

SAID = "gets no copies"


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    """
    The server that gets the copies.
    """
    async with ScriptedServer() as other:
        yield other


@pytest.fixture
def nobody(unused_tcp_port: int) -> str:
    """
    An address at which nothing listens.
    """
    return f"http://127.0.0.1:{unused_tcp_port}"


def books(exporter: Exporter) -> Stats:
    """
    Read the books, without what depends on real time.
    """
    stats = assert_balanced(exporter)
    return attrs.evolve(stats, request_seconds=0.0, request_durations={}, oldest_age=0.0)


async def copied(exporter: Exporter, clock: FakeClock) -> None:
    """
    Wait until nothing is left to copy.
    """
    copy = exporter._life.copy
    assert copy is not None
    while copy.queue.has_open_records:
        await clock.advance(0.2)
        await asyncio.sleep(0)


def workers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "hh_exporter worker"]


# What is copied.


@in_both_dialects
async def test_each_event_is_copied_once(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer, dialect: str
) -> None:
    """
    Whichever way it came in, both servers have the same event, of the same bytes.
    """
    exporter = await make_exporter(dialect=dialect, also=other.url)
    push_all(exporter, "pushed", messages=[{"role": "user", "content": "é"}])
    await exporter.put(model_event(event_id="put"))
    with exporter.record(model="m", event_id="recorded"):
        pass
    exporter.push(Event(event_type="tool", event_name="search", event_id="tool"))
    await exporter.create_model_event(model_event(event_id="created"))

    assert (await exporter.flush()).delivered == 4

    assert sorted(other.created_ids) == ["created", "pushed", "put", "recorded", "tool"]
    assert {e["event_id"]: e for e in other.created} == {e["event_id"]: e for e in server.created}
    assert assert_balanced(exporter).pushed == 5


async def test_a_copy_has_all_that_a_record_is_made_of(
    make_exporter: MakeExporter, other: ScriptedServer
) -> None:
    """
    The bytes are the same object, and a session is one of its own.
    """
    exporter = await make_exporter(also=other.url)
    event = Event(event_type="tool", event_name="search")
    exporter.push(event, session=SessionProperties(session_name="support"))
    copies = exporter._life.copy
    assert copies is not None
    (record,), (copy,) = exporter._queue.ledger.waiting, copies.queue.ledger.waiting

    names = {a.name for a in attrs.fields(Record) if a.init}
    assert {n for n in names if getattr(record, n) is not getattr(copy, n)} == {"session"}
    assert record.session
    assert copy.session
    assert copy.session.data is record.session.data


@in_both_dialects
async def test_sessions_are_announced_to_both(dialect: Literal["legacy", "v1"]) -> None:
    """
    A session's properties are with either server, whether or not the other knows them already.
    """
    session = SessionProperties(session_name="support", user_properties={"plan": "pro"})
    async with (
        Collector() as collector,
        Collector() as local,
        Exporter(base_url=collector.url, also=local.url, dialect=dialect) as exporter,
    ):
        for _ in range(3):
            exporter.push(model_event(), session=session)
            await exporter.put(model_event(), session=session)
            await exporter.flush()

        for one in (collector, local):
            events = await stored(one)
            (known,) = await known_sessions(one)
            assert known.properties["session_name"] == "support"
            models = [stored for stored in events if stored.event.get("model") == "gpt-4o"]
            assert len(models) in (6, 0)
            assert {stored.session_id for stored in events} == {session.session_id}


async def test_a_session_is_announced_for_copies_alone(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    Each server is told until it knows: one that fails is told again, and the other is not.
    """
    other.script(unavailable())
    exporter = await make_exporter(also=other.url)
    session = SessionProperties(session_name="support")
    exporter.push(model_event(event_id="e0"), session=session)
    await exporter.flush()
    exporter.push(model_event(event_id="e1"), session=session)
    await exporter.flush()
    await copied(exporter, clock)

    def announcing(server: ScriptedServer) -> list[bool]:
        return ["session_properties" in request.json for request in server.requests]

    assert announcing(server) == [True, False]
    assert announcing(other)[:2] == [True, True]
    assert sorted(other.created_ids) == ["e0", "e1"]


@pytest.mark.parametrize("disabled", [False, True])
async def test_rules_hold_for_copies(
    make_exporter: MakeExporter, other: ScriptedServer, disabled: bool
) -> None:
    """
    A copy is made of what is sent: hooks are called once, and what they leave out is in neither.
    """
    seen: list[str | None] = []

    def before_send(item: Any) -> Any:
        seen.append(item.event_id)
        return None if item.event_id == "secret" else item

    exporter = await make_exporter(
        also=other.url, disabled=disabled, before_send=before_send, hide_inputs=True
    )
    exporter.push(model_event(event_id="e0"))
    exporter.push(model_event(event_id="secret"))
    exporter.push(ModelEvent(model=3, event_id="invalid"))  # type: ignore[arg-type]
    await exporter.flush()

    assert seen[:2] == ["e0", "secret"]
    assert other.created_ids == ["e0"]
    assert other.created[0]["messages"] == []


async def test_what_is_sampled_out_is_not_copied(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    Both servers get the same sample.
    """
    exporter = await make_exporter(also=other.url, sample_rate=0.5)
    for n in range(40):
        exporter.push(model_event(event_id=f"e{n}"))
    await exporter.flush()

    assert other.created_ids == server.created_ids
    assert 0 < len(other.created_ids) < 40


async def test_the_key_stays_with_its_server(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    No request with copies has the key, in whatever field.
    """
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    await exporter.create_model_event(model_event())
    await exporter.flush()

    assert all(f"Bearer {KEY}" == r.headers["authorization"] for r in server.requests)
    assert other.requests
    for request in other.requests:
        assert "authorization" not in request.headers
        assert KEY not in repr(dict(request.headers))


@pytest.mark.parametrize("given", [{"disabled": True}, {"api_key": None, "base_url": None}])
async def test_a_disabled_exporter_copies(
    make_exporter: MakeExporter,
    other: ScriptedServer,
    given: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Events are dropped as disabled, and shown all the same, with their session.
    """
    exporter = await make_exporter(also=other.url, **given)
    session = SessionProperties(session_name="support")
    assert not exporter.push(model_event(event_id="e0"), session=session)
    assert not await exporter.put(model_event(event_id="e1"), session=session)

    assert await exporter.flush() == FlushResult(0, 0, 0, 0)

    assert other.created_ids == ["e0", "e1"]
    assert other.requests[0].json["session_properties"]["session_name"] == "support"
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.DISABLED: 2}
    assert [m for m in caplog.messages if "no event is sent" not in m] == []
    await exporter.aclose()
    exporter.push(model_event(event_id="late"))
    await exporter.start()
    exporter.push(model_event(event_id="e2"))
    await exporter.flush()
    assert other.created_ids == ["e0", "e1", "e2"]


# What becomes of the rest if the second server fails.


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (None, "connection refused"),
        (unavailable(), "HTTP 503"),
        (status(401), "HTTP 401"),
        (status(404), "HTTP 404"),
        (status(400), "HTTP 400"),
        (html(200), "HTTP 200"),
        (reset_before_storing(), "connection failed"),
        (hang(), "no answer in time"),
        (partly(lambda _: True), "HTTP 500"),
    ],
)
async def test_nothing_else_notices_that_copies_fail(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    other: ScriptedServer,
    nobody: str,
    clock: FakeClock,
    answer: Scripted | None,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Books and health are those of an exporter without copies; one line of log names the failure.
    """
    caplog.set_level(logging.INFO)
    if answer is not None:
        other.default = answer
    alone = await make_exporter()
    exporter = await make_exporter(also=nobody if answer is None else other.url)
    for one in (alone, exporter):
        for n in range(12):
            push_all(one, f"e{n}")
            flush = asyncio.create_task(one.flush())
            await delivered(one, n + 1)
            if n == 0 and one is exporter and answer == hang():
                await other.requests_seen(1)
                await clock.advance(1.0)
            await flush
            await clock.advance(3.0)
            await settle()

    assert books(exporter) == books(alone)
    assert exporter.stats().health == "ok"
    (said,) = caplog.messages
    assert SAID in said
    assert trouble in said


async def test_a_failed_copy_delays_no_flush_and_no_close(
    make_exporter: MakeExporter, server: ScriptedServer, nobody: str, clock: FakeClock
) -> None:
    """
    The first attempt fails at once, and later ones are not waited for: no time passes.
    """
    exporter = await make_exporter(also=nobody)
    began = clock.now()
    for n in range(3):
        push_all(exporter, f"e{n}")
        assert (await exporter.flush()).delivered == 1
    push_all(exporter, "last")

    assert (await exporter.aclose()).delivered == 1

    assert clock.now() == began


async def test_a_short_script_is_told(
    make_exporter: MakeExporter, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The first attempt may be that of the close.
    """
    exporter = await make_exporter(also=nobody)
    push_all(exporter, "e0")

    await exporter.aclose()

    (said,) = caplog.messages
    assert SAID in said


async def test_a_flush_waits_a_second_for_copies(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    It waits no longer, nor past its own deadline.
    """
    other.default = hang_after_storing()
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await other.requests_seen(1)
    await delivered(exporter, 1)
    await clock.advance(0.9)
    assert not flush.done()
    await clock.advance(0.1)
    assert (await flush).delivered == 1

    flush = asyncio.create_task(exporter.flush(0.1))
    await settle()
    await clock.advance(0.1)
    assert await flush == FlushResult(0, 0, 0, 0)


async def test_a_close_waits_a_second_for_copies(
    make_exporter: MakeExporter,
    other: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    What is not taken by then is given up, and no task and no connection is left.
    """
    other.default = hang()
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await other.requests_seen(1)
    await delivered(exporter, 1)
    await clock.advance(0.9)
    assert not close.done()
    await clock.advance(0.1)

    assert await close == FlushResult(1, 0, 0, 0)

    (said,) = caplog.messages
    assert "no answer in time" in said
    await other.disconnected()


async def test_a_close_waits_for_no_server_that_hung_before(
    make_exporter: MakeExporter, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    Once an attempt had no answer, neither a flush nor the close takes any time.
    """
    other.default = hang()
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    await exporter.flush(0.0)
    await clock.advance(0.2)
    await other.requests_seen(1)
    copy = exporter._life.copy
    assert copy is not None
    await clock.advance(2.0)
    await until(lambda: copy.failure)
    began = clock.now()
    push_all(exporter, "e1")

    assert (await exporter.flush()).delivered == 1
    assert await exporter.aclose() == FlushResult(0, 0, 0, 0)

    assert clock.now() == began


async def test_a_close_that_has_no_time_gives_copies_none(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    Its timeout holds for both servers together.
    """
    server.default = hang()
    other.default = hang()
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose(0.5))
    await server.requests_seen(1)
    await clock.advance(0.5)

    assert await close == FlushResult(0, 0, 1, 0)


async def test_a_cancelled_close_ends_copies(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    No time need pass for them to end.
    """
    server.default = other.default = hang()
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)

    close.cancel()
    await asyncio.wait([close])

    assert close.cancelled()
    assert exporter._life.copy
    assert exporter._life.copy.worker
    assert exporter._life.copy.worker.is_over


async def test_the_budget_bounds_copies(
    build_exporter: BuildExporter, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    A server that hangs costs 5,000 records and 16 MiB at most, however much is pushed.
    """
    other.default = hang()
    exporter = build_exporter(also=other.url, disabled=True)
    await exporter.start()
    copy = exporter._life.copy
    assert copy is not None
    ledger = copy.queue.ledger
    push_all_disabled = partial(exporter.push, model_event())
    for _ in range(200):
        push_all_disabled()
    await clock.advance(0.2)
    await other.requests_seen(1)

    for _ in range(20_000):
        push_all_disabled()
    assert ledger.queued + ledger.in_flight == 5_000
    assert ledger.in_flight == 200
    large = model_event(response={"content": "x" * 2**20})
    for _ in range(100):
        exporter.push(large)

    assert ledger.queued < 20
    held = ledger.queued_bytes + ledger.in_flight_bytes + copy.queue.body_bytes
    assert held <= 16 * 2**20


async def test_a_collector_may_be_started_later(
    make_exporter: MakeExporter,
    clock: FakeClock,
    other: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It gets what was pushed before, within seconds of its start, however long that took.
    """
    other.default = unavailable()
    exporter = await make_exporter(also=other.url, batch=BatchLimits(linger=0.0))
    for n in range(10):
        push_all(exporter, f"e{n}")
        for _ in range(20):
            await clock.advance(1.0)
            await settle()
    other.default = created()
    began = clock.now()
    await copied(exporter, clock)

    assert clock.now() - began < 6.0

    assert sorted(other.created_ids) == [f"e{n}" for n in range(10)]
    assert len(caplog.messages) == 1


async def test_a_bad_event_costs_no_other_copy(
    make_exporter: MakeExporter, other: ScriptedServer, clock: FakeClock
) -> None:
    """
    As for the server itself: what is refused is split off.
    """
    other.default = partly(lambda event: event["event_id"] == "bad")
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "e0", "bad", "e1")
    await exporter.flush(0.0)
    await copied(exporter, clock)

    assert other.created_ids == ["e0", "e1"]


@in_both_dialects
@pytest.mark.parametrize("disabled", [False, True])
async def test_updates_are_copied(
    dialect: Literal["legacy", "v1"], disabled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Behind their events; one of an event that the second server lacks costs no other copy.
    """
    async with (
        Collector() as collector,
        Collector() as local,
        Exporter(
            KEY, base_url=collector.url, also=local.url, dialect=dialect, disabled=disabled
        ) as exporter,
    ):
        exporter.push(model_event(event_id="e0"))
        exporter.update("e0", feedback={"rating": 5})
        await exporter.flush()
        exporter.update("unknown", feedback={"rating": 5})
        await exporter.flush()
        exporter.push(model_event(event_id="e1"))
        await exporter.aclose()

        assert_balanced(exporter)
        events = {one.event["event_id"]: one.event for one in await stored(local)}
        assert list(events) == ["e0", "e1"]
        assert events["e0"]["feedback"] == {"rating": 5}
    assert not [m for m in caplog.messages if SAID in m]


async def test_what_the_queue_drops_is_copied(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    A server that fails keeps no event from the other one.
    """
    server.default = unavailable()
    limits = QueueLimits(max_events=1, overflow="drop_newest")
    exporter = await make_exporter(also=other.url, queue=limits)
    assert exporter.push(model_event(event_id="e0"))
    assert not exporter.push(model_event(event_id="e1"))
    await exporter.flush(0.0)
    assert exporter._life.copy
    await exporter._life.copy.flush(None)

    assert other.created_ids == ["e0", "e1"]


# Loops, processes and the end.


async def test_copies_move_with_their_exporter(
    build_exporter: BuildExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    A loop that ends takes nothing along, and the next one goes on.
    """
    exporter = build_exporter(also=other.url)

    async def push(event_id: str) -> None:
        push_all(exporter, event_id)
        await exporter.flush()

    await in_thread(lambda: push("e0"))
    await in_thread(lambda: push("e1"))
    await push("e2")

    assert other.created_ids == server.created_ids == ["e0", "e1", "e2"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_child_copies_its_own_events(
    make_exporter: MakeExporter, server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    Parent and child each send their own copies, once.
    """
    exporter = await make_exporter(also=other.url)
    push_all(exporter, "p0")
    await exporter.flush()
    push_all(exporter, "p1")

    def child() -> int:
        async def main() -> int:
            push_all(exporter, "c0")
            return (await exporter.aclose()).delivered

        return asyncio.run(main())

    assert await forked(child) == 1
    await exporter.flush()
    assert other.created_ids == server.created_ids == ["p0", "c0", "p1"]


async def test_a_forgotten_exporter_takes_them_along(
    server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    Once nobody holds the exporter, the last copies are sent, and both workers end.
    """
    exporter = Exporter(KEY, base_url=server.url, also=other.url)
    await exporter.start()
    push_all(exporter, "e0")
    ref, copy = weakref.ref(exporter), weakref.ref(exporter._life.copy)

    del exporter
    gc.collect()

    assert ref() is None
    await until(lambda: not workers())
    gc.collect()
    assert copy() is None
    assert other.created_ids == server.created_ids == ["e0"]


@pytest.mark.parametrize(
    "source",
    [
        """
        async def main():
            push("e0")

        asyncio.run(main())
        """,
        """
        async def main():
            push("e0")
            await asyncio.sleep(0.01)

        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(main(), loop).result()
        """,
        """
        exporter.install_signal_handlers()

        async def main():
            push("e0")
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

        asyncio.run(main())
        """,
    ],
    ids=["run", "thread", "signal"],
)
async def test_the_end_of_a_program_sends_copies(
    server: ScriptedServer, other: ScriptedServer, source: str
) -> None:
    """
    An exporter that nobody closes sends both, and is as silent as without copies.
    """
    done = await run_program(source, server.url, HH_EXPORTER_ALSO=other.url)

    assert other.created_ids == server.created_ids == ["e0"]
    assert done.stderr == ""


def test_an_exporter_in_a_thread_copies() -> None:
    """
    By a thread more, which ends with the first; a flush that blocks waits for both.
    """
    with Kit() as kit, Kit() as local:
        exporter = Exporter.in_thread(base_url=kit.url, also=local.url)
        with exporter:
            push_all(exporter, "e0")
            exporter.flush_sync()
            assert [event["event_id"] for event in local.events()] == ["e0"]
            push_all(exporter, "e1")
        assert not exporter.push(model_event())
        with exporter:
            push_all(exporter, "e2")

        assert [event["event_id"] for event in local.events()] == ["e0", "e1", "e2"]
        assert len(kit.events()) == 3
    assert_balanced(exporter)


async def test_the_end_of_a_loop_waits_a_second_for_copies(
    server: ScriptedServer,
    other: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    As asyncio.run ends one, which cancels the workers: the real one has two seconds of its own.
    """
    other.default = hang()
    exporter = Exporter(KEY, base_url=server.url, also=other.url, _clock=clock)
    push_all(exporter, "e0")
    await until(lambda: len(workers()) == 2)
    both = workers()
    for worker in both:
        worker.cancel()
    await other.requests_seen(1)
    await clock.advance(0.9)
    assert not all(worker.done() for worker in both)
    await clock.advance(0.1)
    await asyncio.wait(both)

    assert all(worker.cancelled() for worker in both)
    assert server.created_ids == ["e0"]
    (said,) = caplog.messages
    assert "no answer in time" in said


async def test_the_end_of_a_program_says_once_that_copies_failed(
    server: ScriptedServer, nobody: str
) -> None:
    """
    And nothing of events that are lost: none is.
    """
    source = """
    async def main():
        push("e0", "e1")

    asyncio.run(main())
    """
    done = await run_program(source, server.url, HH_EXPORTER_ALSO=nobody)

    assert done.stderr.count("hh_exporter: ") == 1
    assert SAID in done.stderr
    assert server.created_ids == ["e0", "e1"]


async def test_events_without_a_loop_are_warned_of_once(
    server: ScriptedServer, other: ScriptedServer
) -> None:
    """
    What is said of events that no loop sends is not said again of their copies.
    """
    source = """
    push(*(f"e{n}" for n in range(1500)))
    """
    done = await run_program(source, server.url, HH_EXPORTER_ALSO=other.url)

    assert done.stderr.count("no event loop sends them") == 1
    assert done.stderr.count("1500 events dropped") == 1
    assert other.created == []


# The setting.


@pytest.mark.parametrize(
    ("base_url", "also"),
    [
        ("http://127.0.0.1:{}", "http://127.0.0.1:{}/"),
        ("http://127.0.0.1:{}", "http://localhost:{}"),
        ("http://localhost:{}/", " HTTP://127.0.0.1:{} "),
    ],
)
async def test_the_same_server_gets_nothing_twice(
    make_exporter: MakeExporter, server: ScriptedServer, base_url: str, also: str
) -> None:
    """
    A shell that sets HH_EXPORTER_ALSO for good may also send there alone.
    """
    port = server.url.rpartition(":")[2]
    exporter = await make_exporter(base_url=base_url.format(port), also=also.format(port))
    push_all(exporter, "e0")
    await exporter.flush()

    assert server.created_ids == ["e0"]


def test_another_port_or_path_is_another_server() -> None:
    """
    Only what is certainly the same address is left out.
    """
    for also in ("http://127.0.0.1:2", "http://127.0.0.1:1/x", "https://127.0.0.1:1", "http://a:1"):
        given = {"base_url": "http://127.0.0.1:1", "also": also}
        assert read_settings(given, {}).copies_to == also


@pytest.mark.parametrize("also", ["127.0.0.1:8765", "ftp://a", "http://", "http://u:p@a", "a b"])
def test_what_is_no_address_is_refused(also: str) -> None:
    """
    The message says what it may be, and not what it was: it may hold a password.
    """
    shape = "must be an http:// or https:// address without user, password, query or fragment"
    with pytest.raises(ConfigError, match=f"^also {shape}$"):
        Exporter(also=also)
    with pytest.raises(ConfigError, match=f"^HH_EXPORTER_ALSO {shape}$"):
        read_settings({}, {"HH_EXPORTER_ALSO": also})


def test_a_kit_copies_nothing(other: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Tests that run in a shell which sets the variable send nothing there.
    """
    monkeypatch.setenv("HH_EXPORTER_ALSO", other.url)
    own = Exporter(KEY)
    assert own._life.copy

    with Kit() as kit:
        assert kit.make_exporter()._life.copy is None
        kit.adopt(own)
        assert own._life.copy is None

    assert own._life.copy
