"""
A loop that is blocked, or a process that is frozen, costs no event and repeats none.
"""

from __future__ import annotations

import asyncio

import pytest

from hh_exporter import DeliveryError, DropReason, FlushResult, RetryPolicy
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer, hang, hang_after_storing, reset_before_storing
from tests.support import (
    FakeClock,
    assert_balanced,
    attempts_failed,
    model_event,
    push_all,
    settle,
    until,
)

LONG = 3600.0
"""Seconds of a standstill, longer than anything here is waited for."""

TIMEOUT = 10.0


async def test_an_answer_after_a_standstill_counts(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What the server stored meanwhile is not sent again, though `request_timeout` has passed.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(request_timeout=TIMEOUT)
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush(5.0))
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await settle()
    server.release()

    assert await flush == FlushResult(1, 0, 0, 0)
    assert exporter.stats().requests == 1


async def test_a_standstill_during_an_attempt_is_no_time_spent_on_retries(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event whose connection was lost meanwhile is sent again, far beyond `max_elapsed`.
    """
    server.script(hang())
    exporter = await make_exporter(
        request_timeout=TIMEOUT, retry=RetryPolicy(base=0.5, max_elapsed=5.0)
    )
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await server.stop()
    await attempts_failed(exporter, 1)
    await server.restart()
    await clock.advance(0.5)

    assert await flush == FlushResult(1, 0, 0, 0)
    assert exporter.stats().requests == 2


async def test_a_standstill_during_a_backoff_is_no_time_spent_on_retries(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A backoff counts for as long as it was meant to take.
    """
    server.script(reset_before_storing(), reset_before_storing())
    exporter = await make_exporter(retry=RetryPolicy(base=0.5, max_elapsed=5.0))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)

    clock.stand_still(LONG)
    await attempts_failed(exporter, 2)
    await clock.advance(1.0)

    assert await flush == FlushResult(1, 0, 0, 0)
    assert exporter.stats().requests == 3


async def test_time_in_which_the_loop_turns_is_spent(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Attempts without an answer end an event at `max_elapsed`, as before.
    """
    server.default = hang()
    exporter = await make_exporter(
        request_timeout=TIMEOUT, retry=RetryPolicy(base=0.5, max_elapsed=15.0)
    )
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())

    for number in (1, 2):
        await server.requests_seen(number)
        await clock.advance(TIMEOUT)
        await until(lambda number=number: exporter.stats().requests_by_status == {None: number})  # type: ignore[misc]
        await clock.advance(0.5)

    assert await flush == FlushResult(0, 0, 1, 0)
    assert exporter.stats().dropped_by_reason == {DropReason.RETRIES_EXHAUSTED: 1}


async def test_a_close_has_its_time_after_a_standstill(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A shutdown hook that blocks the loop for longer than `close_timeout` drops nothing.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(close_timeout=5.0)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await settle()
    server.release()

    assert await close == FlushResult(1, 0, 0, 0)
    assert not assert_balanced(exporter).dropped


async def test_an_answer_that_is_there_when_a_close_ends_counts(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What the server says at the last moment is read before what is left is dropped.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(close_timeout=5.0)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)
    await clock.advance(4.0)

    server.release()
    clock.stand_still(1.0)

    assert await close == FlushResult(1, 0, 0, 0)


async def test_a_close_ends_in_time_after_a_standstill(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It has no more than `close_timeout` of the time in which the loop turns.
    """
    server.default = hang()
    exporter = await make_exporter(close_timeout=5.0)
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose())
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await clock.advance(5.0)

    assert await close == FlushResult(0, 0, 1, 0)


async def test_a_flush_ends_in_time_after_a_standstill(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It has no more than its timeout of the time in which the loop turns.
    """
    server.default = hang()
    exporter = await make_exporter()
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush(5.0))
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await settle()
    assert not flush.done()
    await clock.advance(5.0)

    assert await flush == FlushResult(0, 0, 0, 1)


async def test_a_single_event_has_its_time_after_a_standstill(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    `create_model_event` tries again after a connection was lost meanwhile, and gives up in time.
    """
    server.default = hang()
    exporter = await make_exporter(request_timeout=TIMEOUT)
    making = asyncio.create_task(exporter.create_model_event(model_event(), timeout=20.0))
    await server.requests_seen(1)

    clock.stand_still(LONG)
    await server.stop()
    await attempts_failed(exporter, 1)
    await server.restart()
    await clock.advance(0.5)
    await server.requests_seen(2)
    await clock.advance(20.0)

    with pytest.raises(DeliveryError, match="no answer in time"):
        await making
