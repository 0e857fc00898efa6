"""
The exporter as its users meet it.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import random
import threading
import traceback
from collections import Counter
from typing import Any, Literal

import pytest

from hh_exporter import (
    BatchLimits,
    ConfigError,
    DropReason,
    Exporter,
    ExporterError,
    FlushResult,
    JetStream,
    ModelEvent,
    Outcome,
    QueueLimits,
    RetryPolicy,
    Settlement,
)
from hh_exporter.exceptions import DeliveryError, EncodeError, EventError
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    limit_bytes,
    partly,
    too_many,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    attempts_failed,
    delivered,
    flushed,
    ids_of,
    in_thread,
    model_event,
    push_all,
    settle,
    until,
)

NOWHERE = "nats://127.0.0.1:1"
NOTHING = FlushResult(delivered=0, rejected=0, dropped=0, left=0)


# Starting.


async def test_the_first_push_in_a_loop_starts_the_exporter(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Without start() the first push inside a running loop starts the worker.
    """
    exporter = build_exporter()
    assert exporter.stats().health == "starting"
    push_all(exporter, "e0")

    await clock.advance(1.0)
    await delivered(exporter, 1)

    assert exporter.stats().health == "ok"


async def test_what_was_pushed_before_any_loop_is_delivered_by_the_first(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    Events pushed where no loop runs wait in the queue until start.
    """
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, "e0", "e1")
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.health) == (2, "starting")

    await exporter.start()

    assert (await exporter.flush()).delivered == 2


async def test_a_thousand_events_without_a_loop_are_worth_one_warning(
    build_exporter: BuildExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A program that pushes a thousand events and runs no loop is told so, once.
    """
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, *(f"e{i}" for i in range(999)))
    assert not caplog.records

    await asyncio.to_thread(push_all, exporter, *(f"late{i}" for i in range(100)))

    [warning] = caplog.records
    assert "await start()" in warning.getMessage()


async def test_starting_twice_changes_nothing(exporter: Exporter, server: ScriptedServer) -> None:
    """
    start() is harmless where the exporter runs already.
    """
    push_all(exporter, "e0")

    await exporter.start()

    assert (await exporter.flush()).delivered == 1
    assert server.connections == 1


async def test_leaving_the_context_delivers(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    The exporter is an async context manager: leaving it flushes and closes.
    """
    async with build_exporter() as exporter:
        push_all(exporter, "e0")

    assert server.created_ids == ["e0"]
    assert exporter.stats().health == "closed"


# Pushing.


async def test_what_is_pushed_is_what_is_sent(exporter: Exporter, server: ScriptedServer) -> None:
    """
    An event is taken as it is at push: what changes later changes nothing, nor does push.
    """
    messages = [{"role": "user", "content": "before"}]
    event = model_event(messages=messages)
    exporter.push(event)
    messages.append({"role": "user", "content": "after"})
    event.model = "another"

    await exporter.flush()

    [sent] = server.created
    assert sent["messages"] == [{"role": "user", "content": "before"}]
    assert sent["model"] == "gpt-4o"
    assert (event.event_id, event.start_time, event.project) == (None, None, None)


async def test_threads_may_push(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    Events pushed from many threads at once are delivered once each.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=50))
    ids = [[f"{thread}-{i}" for i in range(250)] for thread in range(4)]

    await asyncio.gather(*(asyncio.to_thread(push_all, exporter, *part) for part in ids))
    await exporter.flush()

    assert Counter(server.created_ids) == Counter(i for part in ids for i in part)


async def test_a_push_from_a_thread_wakes_the_worker(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A thread that fills a batch has it sent at once.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=2))
    await settle()

    await asyncio.to_thread(push_all, exporter, "e0", "e1")

    await delivered(exporter, 2)


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        pytest.param({"model": "gpt-4o"}, DropReason.INVALID, "not a dict", id="no event"),
        pytest.param(
            model_event(cost="1"), DropReason.INVALID, "cost: must be a number", id="wrong type"
        ),
        pytest.param(
            model_event(error="x" * 5_000_000), DropReason.TOO_LARGE, "would exceed", id="too large"
        ),
    ],
)
async def test_an_event_that_can_not_be_sent_is_dropped(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    event: ModelEvent,
    reason: DropReason,
    words: str,
) -> None:
    """
    push returns False and raises nothing for data; the event is counted with its reason.

    One warning says what is wrong, however many events are.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)

    assert [exporter.push(event) for _ in range(3)] == [False] * 3
    assert not await exporter.put(event)

    assert assert_balanced(exporter).dropped_by_reason == {reason: 4}
    assert [(s.outcome, s.reason) for s in settlements] == [(Outcome.DROPPED, reason)] * 4
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert str(reason) in warning
    assert words in warning


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (
            {"jetstream": JetStream(NOWHERE, max_event_bytes=900)},
            "900 bytes (jetstream.max_event_bytes)",
        ),
        ({"queue": QueueLimits(max_bytes=800)}, "800 bytes (queue.max_bytes)"),
        (
            {"jetstream": JetStream(NOWHERE), "queue": QueueLimits(max_bytes=800)},
            "800 bytes (queue.max_bytes)",
        ),
    ],
    ids=["stream", "queue", "smaller"],
)
async def test_the_limit_that_an_event_exceeds_is_named(
    build_exporter: BuildExporter,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    limit: str,
) -> None:
    """
    A setting that makes an event too large can be raised.
    """
    exporter = build_exporter(**settings)

    assert not exporter.push(model_event(error="x" * 900))

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.TOO_LARGE: 1}
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"encoded it would exceed {limit}" in warning


# Overflow.


@pytest.mark.parametrize(
    ("overflow", "accepted", "dropped", "kept"),
    [
        ("drop_oldest", True, "e2", ["e0", "e1", "e3"]),
        ("drop_newest", False, "e3", ["e0", "e1", "e2"]),
    ],
)
async def test_a_full_queue_drops_by_its_policy(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    overflow: Literal["drop_oldest", "drop_newest"],
    accepted: bool,
    dropped: str,
    kept: list[str],
) -> None:
    """
    drop_oldest makes room for the new event, drop_newest drops it; neither touches what is out.
    """
    server.script(hang_after_storing())
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        batch=BatchLimits(max_events=2),
        queue=QueueLimits(max_events=3, overflow=overflow),
        max_in_flight=1,
        on_outcome=settlements.append,
    )
    push_all(exporter, "e0", "e1")
    await server.requests_seen(1)
    push_all(exporter, "e2")

    assert exporter.push(model_event(event_id="e3")) is accepted

    [lost] = settlements
    assert (lost.outcome, lost.reason) == (Outcome.DROPPED, DropReason.QUEUE_FULL)
    assert lost.event_ids == (dropped,)
    server.release()
    await exporter.flush()
    assert server.created_ids == kept


async def test_a_full_queue_is_one_warning(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    An episode of losses is one warning when it begins and one, with the rest, at the close.
    """
    server.default = hang()
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), queue=QueueLimits(max_events=1), max_in_flight=1
    )
    push_all(exporter, "e0")
    await server.requests_seen(1)

    for i in range(50):
        assert not exporter.push(model_event(event_id=f"lost{i}"))
    await exporter.aclose(0.0)

    said = [r.getMessage() for r in caplog.records if "queue_full" in r.getMessage()]
    assert [text.split(" dropped")[0] for text in said] == [
        "hh_exporter: 1 event",
        "hh_exporter: 49 more events",
    ]


async def test_the_queue_is_bounded_by_bytes(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    The budget in bytes covers what is queued, what is in flight, and the body it is sent in.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1),
        queue=QueueLimits(max_bytes=7_500, overflow="drop_newest"),
        max_in_flight=1,
    )
    push_all(exporter, "e0", error="x" * 2_000)
    await server.requests_seen(1)
    push_all(exporter, "e1", error="x" * 2_000)

    assert not exporter.push(model_event(error="x" * 2_000))
    server.release()
    await delivered(exporter, 2)
    push_all(exporter, "e2", error="x" * 2_000)


# Waiting for room.


async def test_put_waits_for_room_first_come_first_served(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    put waits while the queue is full, in line, and ahead of any push.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=2),
        queue=QueueLimits(max_events=2, overflow="drop_newest"),
        max_in_flight=1,
    )
    push_all(exporter, "e0", "e1")
    await server.requests_seen(1)
    puts = []
    for i in range(3):
        puts.append(asyncio.create_task(exporter.put(model_event(event_id=f"put{i}"))))
        await settle()
    assert not exporter.push(model_event(event_id="pushed"))
    assert not any(put.done() for put in puts)
    assert assert_balanced(exporter).pushed == 3

    server.release()

    assert await asyncio.gather(*puts) == [True] * 3
    await exporter.flush()
    assert server.created_ids == ["e0", "e1", "put0", "put1", "put2"]


async def test_a_cancelled_put_counts_for_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A put that is cancelled is not counted, not sent, and takes nobody's room.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), queue=QueueLimits(max_events=1), max_in_flight=1
    )
    push_all(exporter, "e0")
    await server.requests_seen(1)
    first = asyncio.create_task(exporter.put(model_event(event_id="cancelled")))
    await settle()
    second = asyncio.create_task(exporter.put(model_event(event_id="e1")))
    await settle()

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.release()

    assert await second
    await exporter.flush()
    assert assert_balanced(exporter).pushed == 2
    assert server.created_ids == ["e0", "e1"]


async def test_put_raises_once_closed(exporter: Exporter) -> None:
    """
    put after aclose raises, and counts nothing.
    """
    await exporter.aclose()

    with pytest.raises(ExporterError, match="start"):
        await exporter.put(model_event())

    assert assert_balanced(exporter).pushed == 0


async def test_a_put_that_waits_raises_when_closed(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    aclose turns away those who wait for room; started again, the budget is what it was.
    """
    server.script(hang())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1),
        queue=QueueLimits(max_events=1, overflow="drop_newest"),
        max_in_flight=1,
    )
    push_all(exporter, "e0")
    await server.requests_seen(1)
    put = asyncio.create_task(exporter.put(model_event()))
    await settle()

    await exporter.aclose(0.0)

    with pytest.raises(ExporterError, match="start"):
        await put
    assert assert_balanced(exporter).pushed == 1
    await exporter.start()
    server.script(hang_after_storing())
    assert [exporter.push(model_event()) for _ in range(2)] == [True, False]


# Flushing.


async def test_flush_sends_at_once_and_counts(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A flush waits for no linger, and returns once every event has its outcome.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=100))
    for _ in range(250):
        assert exporter.push(model_event())

    result = await exporter.flush()

    assert result == FlushResult(delivered=250, rejected=0, dropped=0, left=0)
    assert len(server.created) == 250
    assert assert_balanced(exporter).requests == 3


async def test_flush_keeps_its_deadline(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    flush(timeout) returns by then, says what is left, and leaves it where it is.
    """
    server.script(created(), hang_after_storing())
    exporter = await make_exporter(batch=BatchLimits(max_events=2), max_in_flight=1)
    push_all(exporter, "e0", "e1", "e2", "e3", "e4")
    flush = asyncio.create_task(exporter.flush(3.0))
    await server.requests_seen(2)

    await clock.advance(2.99)
    assert not flush.done()
    await clock.advance(0.01)

    assert await flush == FlushResult(delivered=2, rejected=0, dropped=0, left=3)
    server.release()
    await delivered(exporter, 5)


async def test_flush_concerns_what_was_pushed_before(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A flush neither waits for later events nor counts them, and they go on lingering.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter()
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)
    push_all(exporter, "later")
    server.release()

    assert await flush == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    assert assert_balanced(exporter).queued == 1


async def test_flushes_overlap(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    Each of several flushes counts what had no outcome when it began.
    """
    server.script(hang_after_storing(), hang_after_storing())
    exporter = await make_exporter()
    push_all(exporter, "e0")
    first = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)
    push_all(exporter, "e1")
    second = asyncio.create_task(exporter.flush())
    await server.requests_seen(2)
    server.release()

    assert (await first).delivered == 1
    assert (await second).delivered == 2


async def test_flushing_nothing_is_instant(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    A flush without events returns zeros, started or not, and sends nothing.
    """
    exporter = build_exporter()
    assert await exporter.flush() == NOTHING
    await exporter.start()
    assert await exporter.flush() == NOTHING
    await exporter.aclose()
    assert await exporter.flush() == NOTHING
    assert not server.requests


async def test_a_cancelled_flush_cancels_nothing_else(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Cancelling a flush stops the waiting, not the sending.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)

    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    server.release()

    await delivered(exporter, 1)
    assert len(server.requests) == 1


# Closing.


async def test_close_delivers_what_is_there(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    aclose sends everything, open batches included, and says what became of it.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=2, linger=60.0))
    push_all(exporter, "e0", "e1", "e2")

    result = await exporter.aclose()

    assert result == FlushResult(delivered=3, rejected=0, dropped=0, left=0)
    assert sorted(server.created_ids) == ["e0", "e1", "e2"]
    await server.disconnected()


@pytest.mark.parametrize(("timeout", "seconds"), [(2.0, 2.0), (None, 5.0)])
async def test_close_keeps_its_deadline(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    timeout: float | None,
    seconds: float,
) -> None:
    """
    aclose returns by its deadline, close_timeout by default; the rest is dropped as closed.
    """
    server.script(created(), hang())
    exporter = await make_exporter(batch=BatchLimits(max_events=2), max_in_flight=1)
    push_all(exporter, "e0", "e1", "e2", "e3", "e4")
    close = asyncio.create_task(exporter.aclose(timeout))
    await server.requests_seen(2)

    await clock.advance(seconds - 0.01)
    assert not close.done()
    await clock.advance(0.01)

    assert await close == FlushResult(delivered=2, rejected=0, dropped=3, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 3}


async def test_close_tries_once_more_what_backs_off(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    aclose ends a backoff at once: there may be no later.
    """
    server.script(unavailable())
    exporter = await make_exporter(retry=RetryPolicy(base=100.0, max_delay=100.0))
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await attempts_failed(exporter, 1)

    result = await exporter.aclose()

    assert result.delivered == 1
    assert clock.now() == 1.0


async def test_closing_twice_is_closing_once(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Closes at the same time and later ones all return what the first does.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0", "e1")
    first = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)
    second = asyncio.create_task(exporter.aclose(0.0))
    await settle()
    assert not second.done()
    server.release()

    result = await first

    assert result == FlushResult(delivered=2, rejected=0, dropped=0, left=0)
    assert await second == result
    assert await exporter.aclose() == result


async def test_a_push_after_close_counts_as_closed(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    push after aclose returns False and counts; nothing is sent.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    await exporter.aclose()

    assert not exporter.push(model_event(event_id="late"))

    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.CLOSED: 1}
    assert (stats.health, stats.health_reason) == ("closed", "aclose() was called")
    assert ids_of(settlements, Outcome.DROPPED) == ["late"]
    assert "closed" in caplog.text


async def test_a_push_while_closing_counts_as_closed(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    From the call of aclose on nothing more is taken, while the rest is still being sent.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)

    assert not exporter.push(model_event())
    server.release()

    assert await close == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


async def test_start_opens_a_closed_exporter_again(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    After aclose only start takes events again, and the next close has a result of its own.
    """
    push_all(exporter, "e0")
    first = await exporter.aclose()

    await exporter.start()
    push_all(exporter, "e1", "e2")
    second = await exporter.aclose()

    assert (first.delivered, second.delivered) == (1, 2)
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_closing_what_never_started(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    aclose delivers what was pushed where no loop ran, and is harmless with nothing to do.
    """
    idle = build_exporter()
    assert await idle.aclose() == NOTHING
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, "e0")

    assert (await exporter.aclose()).delivered == 1


# Other loops.


async def test_other_loops_are_served(exporter: Exporter, server: ScriptedServer) -> None:
    """
    put, flush, create_model_event and aclose work from the loop of another thread.
    """

    async def main() -> tuple[bool, FlushResult, str, FlushResult]:
        accepted = await exporter.put(model_event(event_id="put"))
        flushed = await exporter.flush()
        sent = await exporter.create_model_event(model_event(event_id="sent"))
        push_all(exporter, "pushed")
        return accepted, flushed, sent, await exporter.aclose()

    accepted, flushed, sent, closed = await in_thread(main)

    assert accepted
    assert flushed.delivered == 1
    assert sent == "sent"
    assert closed.delivered == 1
    assert server.created_ids == ["put", "sent", "pushed"]


async def test_a_put_of_another_loop_waits_for_room(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A put in the loop of another thread is woken when there is room.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), queue=QueueLimits(max_events=1), max_in_flight=1
    )
    push_all(exporter, "e0")
    await server.requests_seen(1)
    waits = threading.Event()

    async def main() -> bool:
        put = asyncio.create_task(exporter.put(model_event(event_id="e1")))
        await settle()
        assert not put.done()
        waits.set()
        return await put

    thread = asyncio.create_task(in_thread(main))
    await until(waits.is_set)
    server.release()

    assert await thread
    await exporter.flush()
    assert server.created_ids == ["e0", "e1"]


# Without a key.


@pytest.mark.parametrize(
    ("arguments", "warnings", "why"),
    [
        pytest.param({"disabled": True}, 0, "disabled", id="disabled"),
        pytest.param(
            {"api_key": None, "base_url": "https://api.honeyhive.ai"}, 1, "HH_API_KEY", id="no key"
        ),
    ],
)
async def test_a_disabled_exporter_drops_everything_and_is_harmless(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, object],
    warnings: int,
    why: str,
) -> None:
    """
    disabled=True and a missing key drop all events, counted; only the latter is worth a warning.
    """
    exporter = build_exporter(**arguments)
    assert len(caplog.records) == warnings

    await exporter.start()
    assert not exporter.push(model_event())
    assert not await exporter.put(model_event())
    assert await exporter.flush() == NOTHING
    stats = assert_balanced(exporter)
    assert await exporter.aclose() == NOTHING

    assert stats.dropped_by_reason == {DropReason.DISABLED: 2}
    assert stats.health == "closed"
    assert why in stats.health_reason
    assert not server.connections
    assert len(caplog.records) == warnings


async def test_a_disabled_exporter_is_started_again(build_exporter: BuildExporter) -> None:
    """
    After a close, put raises until then, and drops the event afterwards.
    """
    exporter = build_exporter(disabled=True)
    await exporter.aclose()
    with pytest.raises(ExporterError, match="closed"):
        await exporter.put(model_event())

    await exporter.start()

    assert not await exporter.put(model_event())
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.DISABLED: 1}


async def test_a_server_on_this_machine_needs_no_key(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A loopback base_url is used without a key.
    """
    exporter = await make_exporter(api_key=None)
    push_all(exporter, "e0")

    assert (await exporter.flush()).delivered == 1
    assert "authorization" not in server.requests[0].headers


# Looking in.


async def test_settlements_add_up_to_the_books(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Every event is announced once, in one settlement per group, and the sums are the ledger's.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    server.default = partly(lambda event: event["event_id"] in ("a1", "a2"))
    push_all(exporter, "a0", "a1", "a2", "a3")
    await flushed(exporter, clock)
    server.default = limit_bytes(10)
    push_all(exporter, "b0", "b1")
    await exporter.flush()
    exporter.push(model_event(event_id="c0", cost="free"))
    server.default = hang()
    push_all(exporter, "d0", "d1")
    await clock.advance(1.0)
    await exporter.aclose(0.0)
    exporter.push(model_event(event_id="e0"))

    stats = assert_balanced(exporter)
    announced = [i for s in settlements for i in s.event_ids]
    assert len(set(announced)) == len(announced) == stats.pushed
    sums = Counter(s.outcome for s in settlements for _ in s.event_ids)
    assert sums == {
        Outcome.DELIVERED: stats.delivered,
        Outcome.REJECTED: stats.rejected,
        Outcome.DROPPED: stats.dropped,
    }
    reasons = Counter(s.reason for s in settlements for _ in s.event_ids if s.reason)
    assert reasons == stats.dropped_by_reason
    assert reasons == {DropReason.TOO_LARGE: 2, DropReason.INVALID: 1, DropReason.CLOSED: 3}
    groups = [set(s.event_ids) for s in settlements]
    assert {"a0", "a3"} in groups
    assert {"d0", "d1"} in groups


async def test_what_a_callback_raises_is_logged_once(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An on_outcome that raises changes no outcome, and is one line of log.
    """
    calls: list[Settlement] = []

    def broken(settlement: Settlement) -> None:
        calls.append(settlement)
        raise LookupError

    exporter = await make_exporter(batch=BatchLimits(max_events=1), on_outcome=broken)
    push_all(exporter, "e0", "e1", "e2")

    assert (await exporter.flush()).delivered == 3
    assert len(calls) == 3
    [error] = [r.getMessage() for r in caplog.records]
    assert "on_outcome raised LookupError" in error


async def test_oldest_age_is_that_of_the_oldest_event_without_an_outcome(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    oldest_age looks at the queue, at open batches and at what is in flight.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(batch=BatchLimits(linger=10.0), request_timeout=100.0)
    assert exporter.stats().oldest_age == 0.0

    push_all(exporter, "e0")
    assert exporter.stats().oldest_age == 0.0
    await clock.advance(4.0)
    push_all(exporter, "e1")
    assert exporter.stats().oldest_age == 4.0
    await clock.advance(6.0)
    await server.requests_seen(1)
    push_all(exporter, "e2")
    await clock.advance(5.0)
    assert exporter.stats().oldest_age == 15.0

    server.release()
    await delivered(exporter, 2)
    assert exporter.stats().oldest_age == 5.0
    await exporter.flush()
    assert exporter.stats().oldest_age == 0.0


async def test_stats_count_bytes_and_events_where_they_are(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    queued and queued_bytes shrink when a delivery takes events, and in_flight grows.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter()
    push_all(exporter, "e0", error="x" * 1_000)
    before = assert_balanced(exporter)
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)
    during = assert_balanced(exporter)
    server.release()
    await flush

    assert (before.queued, before.in_flight) == (1, 0)
    assert 1_000 < before.queued_bytes < 2_000
    assert (during.queued, during.in_flight, during.queued_bytes) == (0, 1, 0)


async def test_repr_says_where_to_and_how_it_is(exporter: Exporter, server: ScriptedServer) -> None:
    """
    The repr names the server and the health, and nothing secret.
    """
    assert repr(exporter) == f"<Exporter {server.url} ok>"


# What programs around it do.


async def test_a_seeded_program_makes_other_ids_each_time(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    A program that seeds the global random numbers gets neither its own ids again nor others.
    """
    drawn = []
    for _ in range(2):
        random.seed(42)
        build_exporter().push(model_event())
        drawn.append(random.random())

    for exporter in (build_exporter(), build_exporter()):
        random.seed(42)
        exporter.push(model_event())
        await exporter.flush()

    assert drawn[0] == drawn[1]
    assert len(set(server.created_ids)) == 2


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_push_survives_a_callback_that_raises(
    build_exporter: BuildExporter, error: type[BaseException]
) -> None:
    """
    Whatever on_outcome raises, a push that drops its event only says so.
    """

    def raise_it(_: Settlement) -> None:
        raise error

    assert not build_exporter(on_outcome=raise_it).push(model_event(model=3))


def test_a_push_survives_an_id_that_has_no_truth(build_exporter: BuildExporter) -> None:
    """
    An event_id whose truth value raises makes the event invalid, as any other that is no text.
    """

    class Odd:
        def __bool__(self) -> bool:
            raise ValueError

    exporter = build_exporter()

    assert not exporter.push(model_event(event_id=Odd()))
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.INVALID: 1}


async def test_a_close_does_not_sit_out_a_silence_that_it_learns_of(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A close returns at once when its own request is told to come back after its deadline.
    """
    server.default = too_many(100)
    exporter = await make_exporter()
    exporter.push(model_event())

    result = await exporter.aclose(3.0)

    assert result == FlushResult(delivered=0, rejected=0, dropped=1, left=0)
    assert clock.now() == 0.0


async def test_a_flush_goes_on_when_the_workers_loop_ends(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    A flush that waits for a worker of another loop delivers in its own when that loop ends.
    """
    server.script(hang(), hang())
    exporter = build_exporter()
    flushing = threading.Event()

    async def serve() -> None:
        exporter.push(model_event())
        await until(lambda: flushing.is_set() and len(server.requests) == 1)
        worker = next(t for t in asyncio.all_tasks() if t.get_name() == "hh_exporter worker")
        worker.cancel()
        await until(lambda: len(server.requests) == 2)  # its last call
        worker.cancel()

    served = asyncio.create_task(asyncio.to_thread(asyncio.run, serve()))
    await until(lambda: exporter.stats().pushed)
    flush = asyncio.create_task(exporter.flush())
    await settle()
    flushing.set()

    assert await flush == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    await served


async def test_a_warning_about_no_loop_is_not_logged_under_the_lock(
    build_exporter: BuildExporter,
) -> None:
    """
    A log handler that waits for another thread's push does not stop both for good.
    """
    exporter = build_exporter()

    class Pushing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=exporter.push, args=(model_event(),))
            other.start()
            other.join(10.0)
            assert not other.is_alive()

    handler = Pushing()
    logger = logging.getLogger("hh_exporter._life.leftovers")
    logger.addHandler(handler)
    try:
        await asyncio.to_thread(push_all, exporter, *map(str, range(1_000)))
    finally:
        logger.removeHandler(handler)

    assert assert_balanced(exporter).queued == 1_001


# An object among others.


def test_a_copy_is_the_exporter_itself(build_exporter: BuildExporter) -> None:
    """
    Settings and agents that hold one may be copied, as deeply as one likes.
    """
    exporter = build_exporter()

    assert copy.copy(exporter) is exporter
    assert copy.deepcopy({"exporter": [exporter]}) == {"exporter": [exporter]}
    with pytest.raises(TypeError, match="an Exporter can't be pickled: make one in each process"):
        pickle.dumps(exporter)


@pytest.mark.parametrize("wrong", [{"max_in_flight": 0}, {"base_url": "nowhere"}])
def test_an_exporter_that_could_not_be_made_can_be_shown(wrong: dict[str, Any]) -> None:
    """
    A report with the locals of each frame tells of the wrong setting, and of no other error.
    """
    with pytest.raises(ConfigError) as caught:
        Exporter("k", **wrong)

    frames = [
        frame.f_locals.get("self") for frame, _ in traceback.walk_tb(caught.value.__traceback__)
    ]
    [half] = [thing for thing in frames if isinstance(thing, Exporter)]
    assert repr(half).startswith("<Exporter ")


@pytest.mark.parametrize(
    "error",
    [
        DeliveryError("it was rejected", status=400, body="b", reason=DropReason.CLOSED),
        EventError("cost", "must be a number"),
        EventError(None, "must be an object"),
        EncodeError(DropReason.INVALID, "cost: must be a number"),
    ],
    ids=repr,
)
def test_an_exception_can_be_copied(error: ExporterError) -> None:
    """
    And sent between processes, as pools do with what a worker raised.
    """
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_a_plain_with_says_what_to_write(build_exporter: BuildExporter) -> None:
    """
    Scripts without asyncio try it first.
    """
    exporter: Any = build_exporter()
    with pytest.raises(TypeError, match=r"use `async with`; .* Exporter\.in_thread\(\)"), exporter:
        pass
