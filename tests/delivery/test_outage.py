"""
A server that is gone for a while: nothing is lost, little is asked, nobody waits in vain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    DropReason,
    Exporter,
    FlushResult,
    QueueLimits,
    RetryPolicy,
)
from tests.conftest import MakeExporter, in_both_dialects
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    hang,
    status,
    too_many,
    unavailable,
)
from tests.support import (
    STEP,
    FakeClock,
    assert_balanced,
    attempts_failed,
    model_event,
    pass_time,
    push_all,
    quiet,
    settle,
    until,
)

OUTAGE = 600.0


async def opened(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    """
    Have one event fail until all sending is blocked.
    """
    push_all(exporter, "first")
    while "the server fails" not in exporter.stats().health_reason:
        await pass_time(exporter, server, clock, 1.0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


Begin = Callable[[ScriptedServer], Awaitable[None]]


def answering(answer: Scripted) -> Begin:
    async def begin(server: ScriptedServer) -> None:
        server.default = answer

    return begin


OUTAGES = [
    pytest.param(answering(unavailable()), id="503"),
    pytest.param(answering(status(500)), id="500 without a body"),
    pytest.param(answering(too_many(60)), id="429 with Retry-After"),
    pytest.param(answering(hang()), id="black hole"),
    pytest.param(ScriptedServer.stop, id="connection refused"),
]


async def heal(server: ScriptedServer) -> None:
    server.default = created()
    await server.restart()


@in_both_dialects
@pytest.mark.parametrize("begin", OUTAGES)
async def test_ten_minutes_of_outage_lose_nothing(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    begin: Begin,
) -> None:
    """
    All that is pushed meanwhile arrives afterwards, once; the server is asked now and then.

    It takes far longer than max_elapsed, which counts only while sending is not blocked.
    """
    exporter = await make_exporter(retry=RetryPolicy(max_elapsed=60.0))
    await begin(server)
    pushed = []
    for n in count():
        pushed += [f"e{n}", f"f{n}"]
        push_all(exporter, *pushed[-2:])
        await pass_time(exporter, server, clock, STEP)
        if clock.now() >= OUTAGE:
            break
    stats = assert_balanced(exporter)
    assert (stats.health, stats.dropped, stats.delivered) == ("retrying", 0, 0)
    assert stats.requests <= 40

    await heal(server)
    flush = asyncio.create_task(exporter.flush())
    while not flush.done():
        await pass_time(exporter, server, clock, STEP)

    assert flush.result() == FlushResult(delivered=len(pushed), rejected=0, dropped=0, left=0)
    assert sorted(server.created_ids) == sorted(pushed)
    assert exporter.stats().health == "ok"
    begun, ended = warnings(caplog)
    assert begun.startswith("hh_exporter: http://127.0.0.1:")
    assert ended.startswith("hh_exporter: resumed: ")


async def test_an_outage_drops_only_what_does_not_fit(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A queue that overflows drops the oldest, but for the few that were probes, and keeps its bound.
    """
    server.default = unavailable()
    exporter = await make_exporter(
        queue=QueueLimits(max_events=50), batch=BatchLimits(max_events=1)
    )
    await opened(exporter, server, clock)
    for n in range(100):
        exporter.push(model_event(event_id=f"e{n}"))
        await clock.advance(1.0)
    stats = assert_balanced(exporter)
    assert stats.queued + stats.in_flight == 50
    assert stats.dropped_by_reason == {DropReason.QUEUE_FULL: 51}

    await heal(server)
    assert (await exporter.flush()).delivered == 50
    assert {f"e{n}" for n in range(61, 100)} <= set(server.created_ids)
    assert not server.duplicates()


async def test_a_blocked_exporter_sends_one_probe_at_a_time(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Once five attempts in a row have failed all batches wait but one, however full the queue.
    """
    server.default = unavailable()
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    await opened(exporter, server, clock)
    before = exporter.stats().requests
    server.default = hang()
    push_all(exporter, *(f"e{n}" for n in range(20)))

    await pass_time(exporter, server, clock, 5.0)

    stats = assert_balanced(exporter)
    assert (stats.requests, stats.in_flight, stats.queued) == (before + 1, 1, 20)
    await heal(server)


# What waits, in each state.


async def backing_off(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    server.default = unavailable()
    push_all(exporter, "first")
    await clock.advance(1.0)
    for attempt, delay in enumerate((0.5, 1.0, 2.0), start=1):
        await attempts_failed(exporter, attempt)
        await clock.advance(delay)
    await attempts_failed(exporter, 4)


async def open_breaker(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    server.default = unavailable()
    await opened(exporter, server, clock)


async def suspension(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    server.default = status(401)
    push_all(exporter, "first")
    await clock.advance(1.0)
    await until(lambda: exporter.stats().health == "suspended")


async def silence(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    server.default = too_many(60)
    push_all(exporter, "first")
    await clock.advance(1.0)
    await attempts_failed(exporter, 1)


async def silence_while_suspended(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    await suspension(exporter, server, clock)
    server.default = too_many(60)
    await clock.advance(1.0)
    await until(lambda: exporter.stats().requests == 2)


State = Callable[[Exporter, ScriptedServer, FakeClock], Awaitable[None]]

STATES = [
    pytest.param(backing_off, 0, 1, id="backing off"),
    pytest.param(open_breaker, 1, 1, id="open breaker"),
    pytest.param(suspension, 1, 1, id="suspended"),
    pytest.param(silence, 0, 0, id="silence"),
    pytest.param(silence_while_suspended, 0, 0, id="silence while suspended"),
]
"""With the requests that a flush, and a close, may still make in vain."""


@pytest.mark.parametrize(("state", "requests", "_"), STATES)
async def test_a_flush_in_vain_returns_early(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    state: State,
    requests: int,
    _: int,
) -> None:
    """
    flush(timeout) makes its probe, if one may go out, and does not sit out the rest of its time.
    """
    await state(exporter, server, clock)
    await quiet(exporter, server)
    before, began = exporter.stats().requests, clock.now()

    result = await exporter.flush(0.9)

    assert result == FlushResult(delivered=0, rejected=0, dropped=0, left=1)
    assert clock.now() == began
    assert exporter.stats().requests == before + requests


@pytest.mark.parametrize(("state", "_", "requests"), STATES)
async def test_a_close_in_vain_returns_early(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    state: State,
    requests: int,
    _: int,
) -> None:
    """
    aclose(timeout) tries once more, if it may, and drops the rest without sitting out its time.
    """
    await state(exporter, server, clock)
    await quiet(exporter, server)
    before, began = exporter.stats().requests, clock.now()

    result = await exporter.aclose(0.9)

    assert result == FlushResult(delivered=0, rejected=0, dropped=1, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}
    assert clock.now() == began
    assert exporter.stats().requests == before + requests


@pytest.mark.parametrize(("state", "_", "__"), STATES)
async def test_a_worker_that_may_not_send_sleeps(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, state: State, _: int, __: int
) -> None:
    """
    Until the next moment at which something may leave the worker looks at nothing.
    """
    await state(exporter, server, clock)
    push_all(exporter, *(f"e{n}" for n in range(250)))
    await quiet(exporter, server)
    before = clock.waits

    for _turn in range(5):
        await settle()

    assert clock.waits == before


@pytest.mark.parametrize(("state", "_", "__"), STATES[:3])
@pytest.mark.parametrize("closes", [False, True], ids=["flush", "aclose"])
async def test_who_waits_has_everything_once_the_server_is_back(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    state: State,
    closes: bool,
    _: int,
    __: int,
) -> None:
    """
    flush and aclose find out that the server takes events again, and deliver them.
    """
    await state(exporter, server, clock)
    push_all(exporter, "second")
    server.default = created()

    wait = asyncio.create_task(exporter.aclose(5.0) if closes else exporter.flush(5.0))
    while not wait.done():
        await pass_time(exporter, server, clock, 1.0)

    assert wait.result() == FlushResult(delivered=2, rejected=0, dropped=0, left=0)
    assert sorted(server.created_ids) == ["first", "second"]


@pytest.mark.parametrize("closes", [False, True], ids=["flush", "aclose"])
async def test_a_black_hole_costs_who_waits_the_whole_timeout(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, closes: bool
) -> None:
    """
    flush and aclose wait for the answer to their probe until their deadline, and no longer.
    """
    await open_breaker(exporter, server, clock)
    server.default = hang()
    before = len(server.requests)
    wait = asyncio.create_task(exporter.aclose(5.0) if closes else exporter.flush(5.0))
    await server.requests_seen(before + 1)

    await clock.advance(4.99)
    assert not wait.done()
    await clock.advance(0.01)
    await until(wait.done)

    result = wait.result()
    assert (result.left, result.dropped) == ((0, 1) if closes else (1, 0))


async def test_a_flush_without_limit_waits_for_the_end_of_an_outage(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A server that fails is no server that refuses us: flush() stays until all is delivered.
    """
    await open_breaker(exporter, server, clock)
    flush = asyncio.create_task(exporter.flush())
    await pass_time(exporter, server, clock, 100.0)
    assert not flush.done()

    await heal(server)
    await pass_time(exporter, server, clock, 30.0)

    assert (await flush).delivered == 1


async def test_a_flush_returns_early_where_all_slots_back_off_past_its_deadline(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What waits behind batches that back off can't be sent in time either.
    """
    server.default = unavailable()
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), max_in_flight=2, retry=RetryPolicy(base=10.0)
    )
    push_all(exporter, "e0", "e1", "e2")
    await attempts_failed(exporter, 2)
    await quiet(exporter, server)

    assert (await exporter.flush(9.0)).left == 3
    assert clock.now() == 0.0
    assert exporter.stats().requests == 2


async def test_a_free_slot_is_worth_waiting_for(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    flush(timeout) sends what is queued while another batch backs off past its deadline.
    """
    server.script(unavailable())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), max_in_flight=2, retry=RetryPolicy(base=10.0)
    )
    push_all(exporter, "e0")
    await attempts_failed(exporter, 1)
    push_all(exporter, "e1", "e2", "e3")

    assert await exporter.flush(9.0) == FlushResult(delivered=3, rejected=0, dropped=0, left=1)
    assert clock.now() == 0.0


# A program that ends, and one that sends by itself.


@pytest.mark.parametrize("state", [open_breaker, suspension])
async def test_a_cancelled_worker_probes_once_and_keeps_everything(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, state: State
) -> None:
    """
    A worker that is cancelled while sending is blocked asks once more, and ends without delay.
    """
    await state(exporter, server, clock)
    push_all(exporter, *(f"e{n}" for n in range(250)))
    await pass_time(exporter, server, clock, 30.0)
    before = exporter.stats().requests
    [worker] = [t for t in asyncio.all_tasks() if t.get_name() == "hh_exporter worker"]

    worker.cancel()
    began = clock.now()
    await until(worker.done)

    stats = assert_balanced(exporter)
    assert (stats.queued, stats.in_flight) == (251, 0)
    assert stats.requests == before + 1
    assert clock.now() == began
    await heal(server)
    assert (await exporter.flush()).delivered == 251
    assert not server.duplicates()


@in_both_dialects
async def test_one_event_is_tried_throughout_its_own_timeout(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    create_model_event goes on in an outage, backing off, and gives up at its timeout.
    """
    await open_breaker(exporter, server, clock)
    before, began = exporter.stats().requests, clock.now()
    server.default = unavailable()

    sending = asyncio.create_task(exporter.create_model_event(model_event(), timeout=20.0))
    await pass_time(exporter, server, clock, 20.0)

    with pytest.raises(DeliveryError) as caught:
        await sending
    assert caught.value.reason is DropReason.SEND_FAILED
    assert began + 10.0 < clock.now() <= began + 20.0
    assert before + 4 <= exporter.stats().requests <= before + 12
    assert assert_balanced(exporter).queued == 1


async def test_one_event_that_is_taken_ends_the_outage_for_all(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    create_model_event needs no probe to go before it, and what it learns frees the others.
    """
    await open_breaker(exporter, server, clock)
    await heal(server)

    assert await exporter.create_model_event(model_event(event_id="now")) == "now"
    await settle()
    await until(lambda: exporter.stats().delivered == 2)

    assert server.created_ids == ["now", "first"]
