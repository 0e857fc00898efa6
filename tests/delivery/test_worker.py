"""
The background task: what it sends when, and how it begins and ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    Exporter,
    QueueLimits,
    SessionProperties,
    Settlement,
)
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    attempts_failed,
    delivered,
    flushed,
    in_thread,
    model_event,
    push_all,
    settle,
    until,
)

WORKER = "hh_exporter worker"


def sent_ids(server: ScriptedServer) -> list[list[str]]:
    """
    List the ids in each request.
    """
    return [[event["event_id"] for event in request.events] for request in server.requests]


def worker_task() -> asyncio.Task[Any]:
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == WORKER]
    return task


async def ended() -> None:
    """
    Cancel all that runs in this loop beside us, and see it end.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# What is sent when.


async def test_linger_sends_a_part_filled_batch(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A batch that never fills leaves when its first event has waited for the linger.
    """
    push_all(exporter, "e0")
    await clock.advance(0.6)
    push_all(exporter, "e1")
    await clock.advance(0.39)
    assert assert_balanced(exporter).requests == 0

    await clock.advance(0.01)
    await server.next_request()

    assert sent_ids(server) == [["e0", "e1"]]


async def test_a_full_batch_waits_for_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A batch that is full by count leaves at once; what is left over lingers.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=3))
    push_all(exporter, *(f"e{i}" for i in range(7)))

    await delivered(exporter, 6)

    assert assert_balanced(exporter).queued == 1
    assert sorted(map(len, sent_ids(server))) == [3, 3]


async def test_a_batch_is_full_by_bytes_too(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A body has at most max_bytes; the event that does not fit any more begins the next.
    """
    exporter = await make_exporter(batch=BatchLimits(max_bytes=10_000))
    push_all(exporter, *(f"e{i}" for i in range(40)), error="x" * 700)

    await exporter.flush()

    assert len(server.requests) > 1
    assert max(len(request.body) for request in server.requests) <= 10_000
    assert max(len(request.body) for request in server.requests) > 9_000


async def test_an_event_above_the_limit_travels_alone(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    An event larger than batch.max_bytes is sent, in a request of its own.
    """
    exporter = await make_exporter(batch=BatchLimits(max_bytes=2_000), max_in_flight=1)
    push_all(exporter, "e0", "e1")
    push_all(exporter, "large", error="x" * 5_000)
    push_all(exporter, "e2", "e3")

    result = await exporter.flush()

    assert result.delivered == 5
    assert sent_ids(server) == [["e0", "e1"], ["large"], ["e2", "e3"]]


async def test_events_of_one_id_never_share_a_request(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Two events that were given one event_id go out in two requests.
    """
    exporter = await make_exporter(max_in_flight=1)
    push_all(exporter, "e0", "twice", "twice", "e1", "e0")

    result = await exporter.flush()

    assert result.delivered == 5
    assert sent_ids(server) == [["e0", "twice"], ["twice", "e1", "e0"]]


@pytest.mark.parametrize("slots", [1, 3])
async def test_at_most_max_in_flight_requests_are_under_way(
    make_exporter: MakeExporter, server: ScriptedServer, slots: int
) -> None:
    """
    No more than max_in_flight batches are out; each that ends makes way for one.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=slots)
    push_all(exporter, *(f"e{i}" for i in range(3 * slots)))

    for turn in range(1, 4):
        await server.requests_seen(turn * slots)
        await settle()
        stats = assert_balanced(exporter)
        assert (stats.in_flight, stats.requests) == (slots, turn * slots)
        server.release()
        await delivered(exporter, turn * slots)

    assert server.connections == slots


async def test_a_batch_that_backs_off_keeps_its_slot(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A batch between two attempts is in flight, so the next one waits for it.
    """
    server.script(unavailable())
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=1)
    push_all(exporter, "e0", "e1")
    await attempts_failed(exporter, 1)
    assert (assert_balanced(exporter).in_flight, assert_balanced(exporter).queued) == (1, 1)

    await clock.advance(0.5)
    await delivered(exporter, 2)

    assert sent_ids(server) == [["e0"], ["e0"], ["e1"]]


# How it begins.


async def test_the_worker_starts_in_an_empty_context(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    The worker has a name, and sees no context variable of the task that pushed first.
    """
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []

    def note(_: Settlement) -> None:
        seen.append(request_id.get())

    exporter = build_exporter(on_outcome=note)
    request_id.set("of the first request")
    push_all(exporter, "e0")

    await exporter.flush()

    assert seen == ["none"]
    assert worker_task().get_name() == WORKER


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs Python 3.12")
async def test_an_eager_task_factory_runs_nothing_inside_push(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    With eager tasks too, push returns before the worker takes its first step.
    """
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    exporter = build_exporter(batch=BatchLimits(max_events=1))

    push_all(exporter, "e0")

    assert exporter.stats().health == "starting"
    assert assert_balanced(exporter).queued == 1
    assert (await exporter.flush()).delivered == 1


class FaultyCount(int):
    """
    A limit that fails of the worker, when it reckons with it, as often as it is told.
    """

    words = "what the worker was thinking of"
    faults = 0

    def __sub__(self, other: int) -> int:
        if self.faults:
            self.faults -= 1
            raise ArithmeticError(self.words)
        return super().__sub__(other)


async def test_a_worker_that_fails_starts_again(
    make_exporter: MakeExporter, clock: FakeClock
) -> None:
    """
    A worker that fails of a bug loses nothing and starts again, slower each time; health says so.
    """
    count = FaultyCount(100)
    exporter = await make_exporter(batch=BatchLimits(max_events=count))
    count.faults = 3
    push_all(exporter, "e0")

    for pause in (1.0, 2.0, 4.0):
        await until(lambda: exporter.stats().health == "degraded")
        await clock.advance(pause - 0.01)
        assert exporter.stats().health == "degraded"
        await clock.advance(0.01)
    await clock.advance(1.0)
    await delivered(exporter, 1)

    assert exporter.stats().health == "ok"


async def test_a_delivery_that_outlives_its_worker_drops_nothing(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A signal handler may raise where a worker that fails would end its deliveries: what one of
    them goes on with then is not out of time.
    """
    server.script(unavailable())
    exporter = await make_exporter()
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await attempts_failed(exporter, 1)
    worker = exporter._life.worker
    assert worker is not None
    worker.shipper.is_retired = True  # as its end does
    worker.shipper.hurry()
    await until(lambda: not exporter.stats().in_flight)
    worker.shipper.is_retired = False
    await flushed(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.dropped) == (1, 0)


async def test_a_fault_is_named_and_quotes_nothing(
    make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A worker that fails logs the type of the fault and where it happened, without its text.
    """
    count = FaultyCount(100)
    exporter = await make_exporter(batch=BatchLimits(max_events=count))
    count.faults = 1
    push_all(exporter, "e0")

    await until(lambda: exporter.stats().health == "degraded")

    [error] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "ArithmeticError" in exporter.stats().health_reason
    assert "ArithmeticError" in error
    assert "in __sub__" in error
    assert count.words not in caplog.text


async def test_a_close_does_not_wait_for_a_failed_worker(
    make_exporter: MakeExporter, clock: FakeClock
) -> None:
    """
    aclose keeps its deadline while a worker that failed waits to start again.
    """
    count = FaultyCount(100)
    exporter = await make_exporter(batch=BatchLimits(max_events=count))
    count.faults = 5
    push_all(exporter, "e0")
    for pause in (1.0, 2.0, 4.0, 8.0):
        await until(lambda: exporter.stats().health == "degraded")
        await clock.advance(pause)

    close = asyncio.create_task(exporter.aclose(2.0))
    await clock.advance(2.0)

    assert close.done()


async def test_a_worker_that_served_well_starts_again_soon(
    make_exporter: MakeExporter, clock: FakeClock
) -> None:
    """
    After more than a minute of service a fault is the first again: the pause is short.
    """
    count = FaultyCount(100)
    exporter = await make_exporter(batch=BatchLimits(max_events=count))
    count.faults = 3
    push_all(exporter, "e0")
    for pause in (1.0, 2.0, 4.0):
        await until(lambda: exporter.stats().health == "degraded")
        await clock.advance(pause)
    await delivered(exporter, 1)
    await clock.advance(61.0)

    count.faults = 1
    push_all(exporter, "e1")
    await until(lambda: exporter.stats().health == "degraded")
    await clock.advance(1.0)
    await clock.advance(1.0)
    await delivered(exporter, 2)


async def test_a_worker_that_never_starts_does_not_spin_while_closing(
    make_exporter: MakeExporter, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With a fault at each start aclose keeps its deadline, and starts are as rare as before.
    """
    count = FaultyCount(100)
    exporter = await make_exporter(batch=BatchLimits(max_events=count))
    count.faults = 10**9
    push_all(exporter, "e0")
    await until(lambda: exporter.stats().health == "degraded")

    close = asyncio.create_task(exporter.aclose(10.0))
    await clock.advance(9.99)
    assert not close.done()
    await clock.advance(0.01)

    assert (await close).dropped == 1
    assert sum(record.levelno == logging.ERROR for record in caplog.records) <= 4


async def test_a_worker_that_can_take_no_more_sleeps(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While all of a session waits for its announcement the worker does not look again and again.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    session = SessionProperties(session_name="chat")
    for n in range(100):
        assert exporter.push(model_event(event_id=f"e{n}"), session)
    await server.requests_seen(1)
    await settle()

    before = clock.waits
    for _ in range(5):
        await settle()
    assert clock.waits == before

    server.release()
    await delivered(exporter, 100)
    assert len(server.created_ids) == 100


# How it ends.


async def test_a_cancelled_worker_still_delivers(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    A worker that is cancelled sends what is there before it ends.
    """
    push_all(exporter, "e0", "e1")
    await settle()
    task = worker_task()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert assert_balanced(exporter).delivered == 2
    assert server.created_ids == ["e0", "e1"]


async def test_a_cancelled_worker_sends_again_what_was_on_the_wire(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Requests of a cancelled worker are cut off, and repeated under the same ids.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)
    task = worker_task()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await flush).delivered == 1
    assert server.created_ids == ["e0", "e0"]


async def test_the_last_call_takes_two_seconds_at_most(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A cancelled worker waits for a silent server for two seconds, then gives everything back.
    """
    server.default = hang()
    push_all(exporter, "e0", "e1")
    await clock.advance(1.0)
    await server.requests_seen(1)
    task = worker_task()
    task.cancel()
    await server.requests_seen(2)

    await clock.advance(1.99)
    assert not task.done()
    await clock.advance(0.01)

    with pytest.raises(asyncio.CancelledError):
        await task
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.in_flight, stats.dropped) == (2, 0, 0)
    assert "2 events" in caplog.text
    assert "aclose()" in caplog.text


async def test_a_second_cancellation_ends_at_once(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A worker that is cancelled in its last call ends there, and gives everything back.
    """
    server.default = hang()
    push_all(exporter, "e0", "e1")
    await clock.advance(1.0)
    await server.requests_seen(1)
    task = worker_task()
    task.cancel()
    await server.requests_seen(2)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.in_flight, stats.dropped) == (2, 0, 0)


async def test_what_was_given_back_is_in_order(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What a worker gives back stands at the head of the queue, oldest first.
    """
    server.default = hang()
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=3)
    for i in range(5):
        push_all(exporter, f"e{i}")
        await clock.advance(1.0)
    await server.requests_seen(3)
    task = worker_task()
    task.cancel()
    await server.requests_seen(6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert exporter.stats().oldest_age == 5.0


# Loops that come and go.


async def test_a_program_that_only_pushes_still_delivers(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    What main() pushed right before it returned is delivered while asyncio.run ends.
    """
    exporter = build_exporter()

    async def main() -> None:
        push_all(exporter, "e0", "e1")

    await in_thread(main)

    assert server.created_ids == ["e0", "e1"]
    assert assert_balanced(exporter).delivered == 2


async def test_a_program_that_ends_with_a_silent_server_keeps_its_events(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What a server did not take while asyncio.run ended is queued, and delivered by the next loop.
    """
    server.default = hang()
    exporter = build_exporter()

    async def stall() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await until(lambda: len(server.requests) == 2)
            await clock.advance(2.0)
            raise

    async def main() -> asyncio.Task[None]:
        push_all(exporter, "e0", "e1")
        stalling = asyncio.create_task(stall())
        await clock.advance(1.0)
        await until(lambda: len(server.requests) == 1)
        return stalling

    await in_thread(main)
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.in_flight, stats.health) == (2, 0, "starting")
    server.default = created()

    assert (await exporter.flush()).delivered == 2
    assert server.created_ids == ["e0", "e1"]


async def test_an_exporter_serves_one_loop_after_the_other(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    One exporter delivers in each of several asyncio.run.
    """
    exporter = build_exporter()

    async def main() -> int:
        push_all(exporter, f"e{len(server.created)}")
        return (await exporter.flush()).delivered

    assert [await in_thread(main) for _ in range(3)] == [1, 1, 1]
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_an_exporter_moves_on_from_a_loop_that_stopped(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    What a stopped loop holds goes out in the next one; run again, the old one sends nothing.
    """
    server.script(hang_after_storing())
    exporter = build_exporter()
    stopped = asyncio.new_event_loop()

    async def main() -> None:
        push_all(exporter, "on the wire")
        await clock.advance(1.0)
        await until(lambda: server.requests)
        push_all(exporter, "in the open batch")
        await settle()

    await asyncio.to_thread(stopped.run_until_complete, main())
    stats = assert_balanced(exporter)
    assert (stats.in_flight, stats.queued) == (1, 1)

    push_all(exporter, "new")
    await delivered(exporter, 3)
    push_all(exporter, "later")
    await asyncio.to_thread(stopped.run_until_complete, ended())
    stopped.close()

    assert assert_balanced(exporter).queued == 1
    assert not caplog.records
    assert (await exporter.flush()).delivered == 1
    assert sent_ids(server)[1:] == [["on the wire", "in the open batch", "new"], ["later"]]


async def test_a_backoff_in_a_loop_that_stopped_sends_nothing_later(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What backed off in a stopped loop is sent by the next one alone, though the old one runs again.
    """
    server.script(unavailable())
    exporter = build_exporter()
    stopped = asyncio.new_event_loop()

    async def main() -> None:
        push_all(exporter, "e0")
        await clock.advance(1.0)
        await attempts_failed(exporter, 1)

    async def go_on() -> None:
        await clock.advance(10.0)
        await ended()

    await asyncio.to_thread(stopped.run_until_complete, main())
    assert (await exporter.flush()).delivered == 1
    await asyncio.to_thread(stopped.run_until_complete, go_on())
    stopped.close()

    assert sent_ids(server) == [["e0"], ["e0"]]
    assert exporter.stats().requests == 2


async def test_a_put_that_waits_moves_on_from_a_loop_that_stopped(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A put sees within a second that nobody makes room any more, and has its own loop do so.
    """
    server.script(hang())
    # Full batches: timers of a loop in another thread are not for us to fire.
    exporter = build_exporter(queue=QueueLimits(max_events=1), batch=BatchLimits(max_events=1))
    other = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        push_all(exporter, "e0")
        await exporter.start()
        await stop.wait()

    serving = asyncio.create_task(asyncio.to_thread(other.run_until_complete, serve()))
    await server.requests_seen(1)
    put = asyncio.create_task(exporter.put(model_event(event_id="e1")))
    await settle()
    other.call_soon_threadsafe(stop.set)
    await serving
    await clock.advance(0.99)
    assert not put.done()

    await clock.advance(0.01)
    await delivered(exporter, 2)

    assert await put
    assert server.created_ids == ["e0", "e1"]
    await asyncio.to_thread(other.run_until_complete, ended())
    other.close()


# Who closes a loop under open sockets hears of it from asyncio and aiohttp, but not from us.
@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",
    "ignore:Unclosed:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "error:.*<coroutine object (Worker|Deliver|Ship):pytest.PytestUnraisableExceptionWarning",
)
async def test_an_exporter_moves_on_from_a_loop_that_was_closed(
    build_exporter: BuildExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What was on the wire when a loop was closed goes out in the next one, and no bug is reported.
    """
    server.script(hang_after_storing())
    # On the real clock: timers of the fake one would keep the closed loop's tasks alive.
    exporter = build_exporter(_clock=None, batch=BatchLimits(linger=0.0))

    async def main() -> None:
        push_all(exporter, "e0", "e1")
        await until(lambda: server.requests)

    def run_and_close() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()

    await asyncio.to_thread(run_and_close)
    result = await exporter.flush()
    gc.collect()

    assert result.delivered == 2
    assert sent_ids(server) == [["e0", "e1"], ["e0", "e1"]]
    assert not [record for record in caplog.records if record.name.startswith("hh_exporter")]
