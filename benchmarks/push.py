"""
What does `push` cost its caller, against the least that anybody must pay?
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import orjson

from benchmarks._command import answer
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits

T = TypeVar("T")

ROUNDS = 41
WARM_UP = 4

FLOOR = "the floor"
DUMPS = "orjson.dumps by itself"
PUSH = "push"
CONSTRUCT = "construct and push"
AT_MOST = {PUSH: 2.0, CONSTRUCT: 3.0}


async def measure(
    events: Sequence[Fields], sink: Sink, *, rounds: int = ROUNDS, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """
    Time each variant on all *events*, once a round.

    Every push is accepted and, outside of the timing, arrives at *sink*.

    Returns:
        Seconds for one event, by variant and round.
    """
    constructed = [ModelEvent(**fields) for fields in events]
    encoded = deque[bytes]()

    def pay_floor(fields: Fields) -> None:
        # The cheapest dict of ready values there is: none is looked at.
        wire = {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}
        encoded.append(orjson.dumps(wire))

    def dump(fields: Fields) -> None:
        encoded.append(orjson.dumps(fields))

    def construct(fields: Fields) -> None:
        exporter.push(ModelEvent(**fields))

    async def without_exporter(work: Callable[[Fields], object]) -> float:
        cost = _time(work, events)
        encoded.clear()
        return cost

    async def with_exporter(work: Callable[[T], object], items: Sequence[T]) -> float:
        # Nothing awaits within the timing, so nothing is sent within it either.
        before = exporter.stats().pushed
        cost = _time(work, items)
        stats = exporter.stats()
        if (stats.pushed - before, stats.queued) != (len(items), len(items)):
            raise RuntimeError(f"not all pushes were accepted: {stats}")
        await exporter.flush()
        sink.expect(len(items))
        return cost

    async with Exporter(
        base_url=sink.url,
        queue=QueueLimits(max_events=len(events), max_bytes=2**40),
        batch=BatchLimits(linger=60.0),
    ) as exporter:
        return await interleave(
            {
                DUMPS: lambda: without_exporter(dump),
                FLOOR: lambda: without_exporter(pay_floor),
                PUSH: lambda: with_exporter(exporter.push, constructed),
                CONSTRUCT: lambda: with_exporter(construct, events),
            },
            rounds=rounds,
            warm_up=warm_up,
        )


def _time(work: Callable[[T], object], items: Sequence[T]) -> float:
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


def report(
    events: Sequence[Fields], costs: Mapping[str, Sequence[float]], *, warm_up: int = WARM_UP
) -> Report:
    """
    Say what *costs*, as `measure` returns them, mean.
    """
    tight = Table(
        title="In a tight loop",
        setting=(
            "Each event once a round, from a coroutine, worker idle; "
            f"{warm_up} rounds to warm up, then {len(costs[FLOOR])}.\n"
            "The floor: a dict of the set fields, str(uuid.uuid4()), time.time(), "
            "orjson.dumps, deque.append."
        ),
        figure=f"time an event takes, over that of {FLOOR}",
        rows=[
            Row(
                name=name,
                figures=compare(figures, costs[FLOOR]),
                orientation=f"{median(figures) * 1e6:.2f} µs an event",
                at_most=AT_MOST.get(name),
            )
            for name, figures in costs.items()
        ],
    )
    return Report(name="push", question=__doc__.strip(), workload=describe(events), tables=[tight])


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
