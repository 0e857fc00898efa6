"""
What does `push` cost its caller, against the least that anybody must pay?
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, TypeAlias

import attrs
import orjson
from attrs import frozen

from benchmarks._command import answer
from benchmarks._exporter import idle_exporter
from benchmarks._floor import pay_floor
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import ModelEvent

ROUNDS = 31
WARM_UP = 4

FLOOR = "the floor"
DUMPS = "orjson.dumps by itself"
PUSH = "push"
CONSTRUCT = "construct and push"
PLAIN = "a plain attrs class with the same fields"
MODEL_EVENT = "ModelEvent"
AT_MOST = {PUSH: 1.5}
AT_MOST_CONSTRUCTION = {MODEL_EVENT: 1.1}

THREADS = ("the event loop's thread", "another thread")

Costs: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds of an event, by variant and round."""


@frozen(kw_only=True)
class Measured:
    """
    All that was measured.
    """

    tight: Sequence[Costs]
    """From `measure`, one for each of THREADS."""
    construction: Costs
    """From `measure_construction`."""


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    in_thread: bool = False,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[float]]:
    """
    Time each variant on all *events*, once a round.

    Every push is accepted and, outside of the timing, arrives at *sink*.
    """
    constructed = [ModelEvent(**fields) for fields in events]
    encoded = deque[bytes]()

    def dump(fields: Fields) -> None:
        encoded.append(orjson.dumps(fields))

    def construct(fields: Fields) -> None:
        exporter.push(ModelEvent(**fields))

    async def run(work: Callable[[Any], object], items: Sequence[Any]) -> float:
        if in_thread:
            return await asyncio.to_thread(_time, work, items)
        return _time(work, items)

    async def without_exporter(work: Callable[[Fields], object]) -> float:
        cost = await run(work, events)
        encoded.clear()
        return cost

    async def with_exporter(work: Callable[[Any], object], items: Sequence[Any]) -> float:
        # Its limits are out of reach, so nothing is sent within the timing.
        before = exporter.stats().pushed
        cost = await run(work, items)
        stats = exporter.stats()
        if (stats.pushed - before, stats.queued) != (len(items), len(items)):
            raise RuntimeError(f"not all pushes were accepted: {stats}")
        await exporter.flush()
        sink.expect(len(items))
        return cost

    async with idle_exporter(sink.url, len(events)) as exporter:
        return await interleave(
            {
                DUMPS: lambda: without_exporter(dump),
                FLOOR: lambda: without_exporter(partial(pay_floor, encoded.append)),
                PUSH: lambda: with_exporter(exporter.push, constructed),
                CONSTRUCT: lambda: with_exporter(construct, events),
            },
            rounds=rounds,
            warm_up=warm_up,
        )


async def measure_construction(
    events: Sequence[Fields], *, rounds: int = ROUNDS, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """
    Time making an event of its fields, once a round.
    """
    fields = {a.name: attrs.field(default=None) for a in attrs.fields(ModelEvent)}
    plain = attrs.make_class("Plain", fields, kw_only=True, slots=True)

    async def run(cls: type[Any]) -> float:
        return _time(lambda fields: cls(**fields), events)

    return await interleave(
        {PLAIN: partial(run, plain), MODEL_EVENT: partial(run, ModelEvent)},
        rounds=rounds,
        warm_up=warm_up,
    )


def _time(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """
    Do *work* for each of *items*, with the garbage of others out of the way.

    Returns:
        Seconds for one item.
    """
    gc.collect()
    began = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - began) / len(items)


def report(events: Sequence[Fields], measured: Measured, *, warm_up: int = WARM_UP) -> Report:
    """
    Say what was *measured* means.
    """
    rounds = len(measured.tight[0][FLOOR])
    tight = [
        Table(
            title=f"In a tight loop, from {thread}",
            setting=(
                f"Each event once a round, worker idle; {warm_up} rounds to warm up, then "
                f"{rounds}.\n"
                "The floor: a dict of the set fields, str(uuid.uuid4()), time.time(), "
                "orjson.dumps, deque.append."
            ),
            figure=f"time of an event, over that of {FLOOR}",
            rows=_compare(costs, FLOOR, AT_MOST),
        )
        for thread, costs in zip(THREADS, measured.tight, strict=True)
    ]
    construction = Table(
        title="Making the event",
        setting=f"Of the dict of its set fields; {warm_up} rounds to warm up, then {rounds}.",
        figure=f"time of an event, over that of {PLAIN}",
        rows=_compare(measured.construction, PLAIN, AT_MOST_CONSTRUCTION),
    )
    return Report(
        name="push",
        question=__doc__.strip(),
        workload=describe(events),
        tables=[*tight, construction],
    )


def _compare(costs: Costs, baseline: str, at_most: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            name=name,
            figures=compare(figures, costs[baseline]),
            orientation=f"{median(figures) * 1e6:.2f} µs an event",
            at_most=at_most.get(name),
        )
        for name, figures in costs.items()
    ]


async def _measure_all(events: Sequence[Fields], sink: Sink) -> Measured:
    return Measured(
        tight=[await measure(events, sink, in_thread=each) for each in (False, True)],
        construction=await measure_construction(events),
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(_measure_all(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
