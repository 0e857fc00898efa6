"""
What an event costs, as far as it can be counted: no clock decides here.
"""

from __future__ import annotations

import asyncio
import gc
import json.decoder
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import orjson
import pytest
from blockbuster import blockbuster_ctx

from hh_exporter import BatchLimits
from tests.conftest import MakeExporter
from tests.scripted_server import (
    Event,
    ScriptedServer,
    limit_bytes,
    partly,
    refuse_if,
    reset_before_storing,
    status,
    unavailable,
)
from tests.support import FakeClock, assert_balanced, model_event, settle

T = TypeVar("T")

BATCH = 100
"""Events of a full batch."""

ROUND = 1_000
WARM_UP = 10
REOPENINGS = 200

STRETCH = 5
"""How many times the rounds may grow more than they should, before it's believed."""

FORGETTING = 100.0
"""Seconds after which the clock of a test has dropped the timers of past requests."""


# Encodings.


async def test_an_event_is_encoded_once(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Retries, splits and single events alone send the bytes that were made at push.
    """
    encode, encoded = orjson.dumps, 0

    def dumps(*args: Any) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode(*args)

    server.script(
        unavailable(),
        reset_before_storing(),
        limit_bytes(100),
        partly(is_bad, errors=False),
    )
    server.default = refuse_if(is_bad)
    exporter = await make_exporter()
    monkeypatch.setattr(orjson, "dumps", dumps)

    for n in range(100):
        exporter.push(model_event(inputs={"n": n}))
    assert encoded == 100
    result = await finish(exporter.flush(), clock)

    assert (result.delivered, result.rejected) == (90, 10)
    assert assert_balanced(exporter).requests > 20
    assert encoded == 100


def is_bad(event: Event) -> bool:
    return bool(event["inputs"]["n"] % 10 == 9)


async def finish(work: Coroutine[Any, Any, T], clock: FakeClock) -> T:
    """
    Await *work* while time passes.
    """
    task = asyncio.create_task(work)
    while not task.done():
        await clock.advance(0.5)
    return await task


# Wake-ups.


@pytest.mark.parametrize(
    ("pushes", "at_most"),
    [
        pytest.param(20 * BATCH, 1, id="a burst"),
        # The first event of a batch starts its linger, the last one sends it.
        pytest.param(10, 2 * 20, id="in turns with the loop"),
        pytest.param(1, 2 * 20, id="one by one"),
    ],
)
async def test_pushes_wake_the_worker_for_batches_not_for_events(
    make_exporter: MakeExporter, monkeypatch: pytest.MonkeyPatch, pushes: int, at_most: int
) -> None:
    """
    A burst wakes it once; else a batch does when it begins and when it is full.
    """
    loop = asyncio.get_running_loop()
    wake, wakes = loop.call_soon_threadsafe, 0

    def call_soon_threadsafe(callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        nonlocal wakes
        wakes += 1
        return wake(callback, *args)

    exporter = await make_exporter(batch=BatchLimits(max_events=BATCH))
    await settle()
    for _ in range(0, 20 * BATCH, pushes):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
            for _ in range(pushes):
                exporter.push(model_event())
        await settle()
    await exporter.flush()

    stats = exporter.stats()
    assert (stats.delivered, stats.requests) == (20 * BATCH, 20)
    assert 0 < wakes <= at_most


# Memory.


async def measure_growth(
    work: Callable[[], Awaitable[object]], *, rounds: int, allowed: int
) -> float:
    """
    Tell by how many bytes each round of *work* grows the memory of a program that is warm.

    What is kept for each event or round grows for ever. What has a bound may grow meanwhile, too,
    but not for long: a set's table that stays as large as the most batches in flight at once
    wanted it (16 KiB and more: it's chance, and so is when), a library's cache, what coverage
    notes. So where *rounds* seem to cost as much as is *allowed* for each, or more, as many are
    added, up to `STRETCH` times, until those that are there cost less: a bound is left behind,
    what is kept each time is not.
    """
    tracemalloc.start()
    try:
        for _ in range(WARM_UP):
            await work()
        before = measure_memory()
        for done in range(rounds, STRETCH * rounds + 1, rounds):
            for _ in range(rounds):
                await work()
            growth = (measure_memory() - before) / done
            if growth < allowed:
                break
        return growth
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
    Memory does not grow with the number of events that have their outcome: by no byte for each.
    """
    server.default = status(200)  # one that keeps nothing
    exporter = await make_exporter()

    async def deliver() -> None:
        for _ in range(ROUND):
            exporter.push(model_event())
        result = await exporter.flush()
        assert result.delivered == ROUND
        server.requests.clear()
        await clock.advance(FORGETTING)

    growth = await measure_growth(deliver, rounds=rounds, allowed=ROUND)

    assert exporter.stats().delivered >= (WARM_UP + rounds) * ROUND
    assert growth < ROUND


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

    growth = await measure_growth(reopen, rounds=REOPENINGS, allowed=200)

    assert growth < 200


# Garbage.


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


# Time of the loop.


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
