"""
Under load the exporter stays within its budget, keeps nothing, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import gc
import json.decoder
import logging
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

import pytest
from blockbuster import blockbuster_ctx

from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits
from hh_exporter._dialects.legacy import LegacyDialect
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import (
    Event,
    ScriptedServer,
    hang_after_storing,
    limit_bytes,
    partly,
    refuse_if,
    reset_before_storing,
    status,
    unavailable,
)
from tests.support import FakeClock, assert_balanced, model_event, settle

T = TypeVar("T")

FLOOD = 50_000
MAX_EVENTS = 2_000

ROUND = 1_000
WARM_UP = 10
REOPENINGS = 200

NOISE = 32 * 1024
"""Bytes by which a program that keeps nothing may seem to grow."""

FORGETTING = 100.0
"""Seconds after which the clock of a test has dropped the timers of past requests."""


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_a_silent_server_costs_no_more_memory_than_the_budget(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    bound: str,
    overflow: Literal["drop_oldest", "drop_newest"],
) -> None:
    """
    However much is pushed, the budget holds, and the log tells of the loss in one line.
    """
    server.script(*[hang_after_storing() for _ in range(4)])
    size = len(encoded(model_event(event_id="event-00000", inputs={"pad": "x" * 500})))
    limits = {
        "events": QueueLimits(max_events=MAX_EVENTS, overflow=overflow),
        "bytes": QueueLimits(
            max_events=FLOOD, max_bytes=MAX_EVENTS * size + size // 2, overflow=overflow
        ),
    }
    exporter = await make_exporter(queue=limits[bound], batch=BatchLimits(max_events=100))

    accepted = []
    for i in range(FLOOD):
        event_id = f"event-{i:05}"
        if exporter.push(model_event(event_id=event_id, inputs={"pad": "x" * 500})):
            accepted.append(event_id)
        if i == 400:
            await server.requests_seen(4)
        if i % 1000 == 0:
            stats = assert_balanced(exporter)
            assert stats.queued + stats.in_flight <= MAX_EVENTS
            assert stats.queued_bytes == stats.queued * size
    stats = assert_balanced(exporter)

    assert (stats.queued, stats.in_flight) == (MAX_EVENTS - 400, 400)
    assert stats.dropped == FLOOD - MAX_EVENTS
    said = warnings(caplog)
    assert len(said) == 1
    assert said[0].startswith("1 event dropped (queue_full)")
    # Those in flight are the first; of the rest the newest or the oldest are there.
    kept = accepted[:400] + (accepted[400:] if overflow == "drop_newest" else accepted[-1600:])
    server.release()
    await exporter.flush()
    assert sorted(server.created_ids) == kept


def encoded(event: ModelEvent) -> bytes:
    """
    Find the bytes of *event* by the way of all events.
    """
    exporter = Exporter(KEY, base_url="http://127.0.0.1:1", _clock=FakeClock())
    record = exporter._intake.codec.encode(event, str(event.event_id))
    return record.data


async def measure_growth(work: Callable[[], Awaitable[object]], rounds: int) -> int:
    """
    Tell by how many bytes *rounds* of *work* grow the memory of a program that is warm.
    """
    tracemalloc.start()
    try:
        for _ in range(WARM_UP):
            await work()
        before = measure_memory()
        for _ in range(rounds):
            await work()
        return measure_memory() - before
    finally:
        tracemalloc.stop()


def measure_memory() -> int:
    gc.collect()
    # The server's parser is no part of the exporter, and not constant.
    others = [tracemalloc.Filter(False, json.decoder.__file__)]
    traces = tracemalloc.take_snapshot().filter_traces(others)
    return sum(trace.size for trace in traces.statistics("filename"))


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(1_000, marks=(pytest.mark.soak, pytest.mark.timeout(0)))]
)
async def test_settled_events_leave_no_memory_behind(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, rounds: int
) -> None:
    """
    Memory does not grow with the number of events that have their outcome.
    """
    server.default = status(200)  # one that keeps nothing
    exporter = await make_exporter()

    async def deliver() -> None:
        for _ in range(ROUND):
            exporter.push(model_event())
        await exporter.flush()
        server.requests.clear()
        await clock.advance(FORGETTING)

    growth = await measure_growth(deliver, rounds)

    assert exporter.stats().delivered == (WARM_UP + rounds) * ROUND
    assert growth < NOISE


async def test_reopening_leaves_no_memory_behind(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An exporter that is closed and started again and again does not grow.
    """
    server.default = status(200)
    exporter = await make_exporter()

    async def reopen() -> None:
        exporter.push(model_event())
        await exporter.aclose()
        await exporter.start()
        server.requests.clear()
        await clock.advance(FORGETTING)

    growth = await measure_growth(reopen, REOPENINGS)

    assert growth < 200 * REOPENINGS


async def test_delivery_makes_no_reference_cycles(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    What is made for an event or a batch is freed at once, without the collector.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=10))
    exporter.push(model_event())
    await exporter.flush()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(200):
            exporter.push(model_event())
        await exporter.flush()
        for _ in range(20):
            await exporter.create_model_event(model_event())
        await settle()
        gc.collect()
        kinds = Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()

    assert exporter.stats().requests == 41
    # One of something is an accident of the collector; as many as batches are cycles.
    assert not {kind: n for kind, n in kinds.items() if n >= 20}


async def test_nothing_blocks_the_loop(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Neither start, push, put, create_model_event, flush nor aclose makes a call that blocks.
    """
    server.script(unavailable(), reset_before_storing())

    async def use() -> None:
        exporter = await make_exporter()
        for _ in range(500):
            exporter.push(model_event())
        await exporter.put(model_event())
        await exporter.create_model_event(model_event())
        await exporter.flush()
        await exporter.aclose()
        assert assert_balanced(exporter).delivered == 502

    with blockbuster_ctx():
        await finish(use(), clock)


async def finish(work: Coroutine[Any, Any, T], clock: FakeClock) -> T:
    """
    Await *work* while time passes.
    """
    task = asyncio.create_task(work)
    while not task.done():
        await clock.advance(0.5)
    return await task


class CountingDialect(LegacyDialect):
    """
    Counts how often an event is brought into the shape of the wire.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def unstructure(self, event: ModelEvent, *stamps: Any, **named: Any) -> dict[str, Any]:
        self.calls += 1
        return super().unstructure(event, *stamps, **named)


async def test_an_event_is_encoded_once(server: ScriptedServer, clock: FakeClock) -> None:
    """
    Retries, splits and single events alone send the bytes that were made at push.
    """
    server.script(
        unavailable(),
        reset_before_storing(),
        partly(is_bad, errors=False),
        limit_bytes(100),
    )
    server.default = refuse_if(is_bad)
    exporter = Exporter(KEY, base_url=server.url, _clock=clock)
    # There is no public way to give it one.
    exporter._life.dialect = exporter._intake.codec.dialect = dialect = CountingDialect()

    for n in range(100):
        exporter.push(model_event(inputs={"n": n}))
    result = await finish(exporter.flush(), clock)
    await exporter.aclose(0.0)

    assert (result.delivered, result.rejected) == (90, 10)
    assert assert_balanced(exporter).requests > 20
    assert dialect.calls == 100


def is_bad(event: Event) -> bool:
    return bool(event["inputs"]["n"] % 10 == 9)
