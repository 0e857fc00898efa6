"""
Ways to hold events, each measured by the process that does it.

The exporter's server is stalled: a socket that nobody accepts from takes a
connection and what fits into the kernel's buffers, and says nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, islice
from math import inf
from statistics import median

import orjson
from attrs import Factory, define, frozen

from benchmarks._process import read_resident, trim
from benchmarks._workload import Fields
from hh_exporter import (
    BatchLimits,
    Exporter,
    ModelEvent,
    QueueLimits,
    SessionProperties,
)

__all__ = [
    "IN_FLIGHT",
    "Flood",
    "Held",
    "Overfilled",
    "hold_in_exporter",
    "hold_in_list",
    "hold_without_server",
    "overfill",
]

IN_FLIGHT = 4
_TURN = 100
"""Events that are made between two turns of the loop."""
_FOREVER = 3600.0
_BETWEEN_LOOKS = 0.5
"""Seconds."""


@frozen(kw_only=True)
class Held:
    """
    What it took to hold events.
    """

    json: int
    """Bytes of the events as JSON, before the exporter adds what the API requires."""
    resident: int
    """Bytes by which the process grew."""
    pause_before: float
    pause: float
    """Median seconds of processor time of a collection forced before and after."""
    longest: float
    """Seconds of the longest full collection that came by itself meanwhile."""
    tracked: int
    """Objects that a collection has to visit for them."""


_BESIDES = 300
"""Bytes beside its own that an event takes, as `QueueLimits` says; twice with its own session."""


@frozen(kw_only=True)
class Flood:
    """
    One event over and over, more often than a queue of *limits* can hold it.
    """

    fields: Fields
    session: Fields | None = None
    """Properties, which each event then announces of a session of its own."""
    count: int
    limits: QueueLimits

    def budget(self, events: int) -> int:
        """
        Say how many bytes *events* of it may take at most: as many as the limits say, what goes
        with each event besides, and beyond that one body and its events.
        """
        besides = _BESIDES * (2 if self.session else 1)
        size, batch = len(orjson.dumps(self.fields)), BatchLimits()
        body = max(size, min(batch.max_events * size, batch.max_bytes))
        return self.limits.max_bytes + events * besides + 2 * body

    @property
    def turn(self) -> int:
        """
        How many events are pushed between two looks at the memory.
        """
        return max(1, min(_TURN, BatchLimits().max_bytes // len(orjson.dumps(self.fields))))


@frozen(kw_only=True)
class Overfilled:
    """
    What an exporter took that was pushed far more than its queue may hold.
    """

    events: int
    """Those in memory at the end."""
    budget: int
    resident: int
    """Bytes by which the process grew at most."""


@define(eq=False)
class _Collections:
    """
    The full collections of the garbage collector, in seconds of processor time.
    """

    seconds: list[float] = Factory(list)
    _began: float = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        elif info["generation"] == 2:
            self.seconds.append(time.thread_time() - self._began)

    def force(self, times: int) -> float:
        """
        Collect so many *times*.

        Returns:
            The median.
        """
        self.seconds.clear()
        for _ in range(times):
            gc.collect()
        forced = median(self.seconds)
        self.seconds.clear()
        return forced


def hold_in_list(
    make: Callable[[bytes], object], lines: Sequence[bytes], count: int, *, collections: int
) -> Held:
    """
    Hold what *make* makes of an event's JSON, in a list.
    """

    async def hold() -> Held:
        kept: list[object] = []
        return await _measure(lambda line: kept.append(make(line)), lines, count, collections)

    return asyncio.run(hold())


def hold_in_exporter(lines: Sequence[bytes], count: int, url: str, *, collections: int) -> Held:
    """
    Hold events in the queue of an exporter that has all its requests under way to *url*.
    """

    async def hold() -> Held:
        room = max(QueueLimits().max_bytes, int(1.4 * sum(map(len, _repeat(lines, count)))))
        limits = QueueLimits(max_events=2**40, max_bytes=room)
        async with _stalled(url, limits) as exporter:

            def push(line: bytes) -> None:
                exporter.push(ModelEvent(**orjson.loads(line)))

            await _fill_slots(exporter, lambda: push(lines[0]))
            before = exporter.stats().queued
            held = await _measure(push, lines, count, collections, partial(_settle, exporter))
            queued = exporter.stats().queued - before
            if queued != count:
                raise RuntimeError(f"{queued} of {count} events are queued")
            return held

    return asyncio.run(hold())


def hold_without_server(
    lines: Sequence[bytes], count: int, place: Mapping[str, str], *, collections: int
) -> Held:
    """
    Hold events in the queue of an exporter to a *place* where nobody listens.

    Args:
        place: The argument of the exporter that names it.
    """

    async def hold() -> Held:
        room = max(QueueLimits().max_bytes, int(1.4 * sum(map(len, _repeat(lines, count)))))
        limits = QueueLimits(max_events=2**40, max_bytes=room)
        exporter = Exporter(**place, queue=limits)  # type: ignore[arg-type]
        logging.disable()  # of the outage that is meant to be

        def push(line: bytes) -> None:
            exporter.push(ModelEvent(**orjson.loads(line)))

        async with exporter:
            push(lines[0])
            await exporter.flush(timeout=1.0)  # now it knows
            held = await _measure(push, lines, count, collections, partial(_settle, exporter))
            stats = exporter.stats()
            await exporter.aclose(0.0)
        if stats.queued + stats.in_flight != count + 1:
            raise RuntimeError(f"{count + 1} events should wait: {stats}")
        return held

    return asyncio.run(hold())


async def _settle(exporter: Exporter) -> None:
    """
    Wait until what is queued takes no less from one look to the next.
    """
    before, now = inf, exporter.stats().queued_bytes
    while now < before:
        await asyncio.sleep(_BETWEEN_LOOKS)
        before, now = now, exporter.stats().queued_bytes


async def _rest() -> None:
    pass


async def _measure(
    keep: Callable[[bytes], None],
    lines: Sequence[bytes],
    count: int,
    collections: int,
    settle: Callable[[], Awaitable[None]] = _rest,
) -> Held:
    stopwatch = _Collections()
    gc.callbacks.append(stopwatch)
    try:
        pause_before = stopwatch.force(collections)
        tracked = len(gc.get_objects())
        trim()
        resident = read_resident()
        size = 0
        for number, line in enumerate(_repeat(lines, count)):
            keep(line)
            size += len(line)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        await settle()
        resident = read_resident() - resident
        longest = max(stopwatch.seconds, default=0.0)
        return Held(
            json=size,
            resident=resident,
            pause_before=pause_before,
            pause=stopwatch.force(collections),
            longest=longest,
            tracked=len(gc.get_objects()) - tracked,
        )
    finally:
        gc.callbacks.remove(stopwatch)


def _repeat(lines: Sequence[bytes], count: int) -> Iterator[bytes]:
    return islice(cycle(lines), count)


def is_full(exporter: Exporter) -> bool:
    """
    Whether the bodies in flight leave no room for another like them: they have a quarter.
    """
    stats = exporter.stats()
    if not stats.requests:
        return False
    return stats.body_bytes * (1 + 1 / stats.requests) > stats.capacity_bytes / 4


def overfill(flood: Flood, url: str) -> Overfilled:
    """
    Push *flood* to an exporter that has all its requests under way to *url*.
    """

    async def push_all() -> Overfilled:
        async with _stalled(url, flood.limits) as exporter:
            exporter._life.queue.packing.start_at(2**60)  # as of events that can't be packed
            trim()
            before = peak = read_resident()
            turn, is_filling = flood.turn, True
            for number in range(flood.count):
                session = SessionProperties(**flood.session) if flood.session else None
                exporter.push(ModelEvent(**flood.fields), session)
                if is_filling:
                    await asyncio.sleep(0.001)
                    is_filling = exporter.stats().requests < IN_FLIGHT and not is_full(exporter)
                elif number % turn == 0:
                    await asyncio.sleep(0)
                    peak = max(peak, read_resident())
            stats = exporter.stats()
            if not stats.dropped or not (stats.requests == IN_FLIGHT or is_full(exporter)):
                raise RuntimeError(f"the queue should be full, and all requests sent: {stats}")
            events = stats.queued + stats.in_flight
            return Overfilled(events=events, budget=flood.budget(events), resident=peak - before)

    return asyncio.run(push_all())


@asynccontextmanager
async def _stalled(url: str, limits: QueueLimits) -> AsyncIterator[Exporter]:
    logging.disable()  # of the losses that are meant to be
    exporter = Exporter(
        base_url=url, queue=limits, max_in_flight=IN_FLIGHT, request_timeout=_FOREVER
    )
    await exporter.start()
    yield exporter
    await exporter.aclose(0.0)


async def _fill_slots(exporter: Exporter, push: Callable[[], object]) -> None:
    """
    Push until all requests are under way.
    """
    while exporter.stats().requests < IN_FLIGHT:
        push()
        await asyncio.sleep(0.001)
