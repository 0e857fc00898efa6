"""
Where does the processor time of an event in a burst go: with the bare client, and beyond it
with the exporter?
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from statistics import median
from typing import Any, TypeAlias
from uuid import uuid4

import orjson
from attrs import frozen

from benchmarks._command import answer
from benchmarks._exporter import idle_exporter, opening_exporter
from benchmarks._limit import start_limit
from benchmarks._peers import Send, in_one_go
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from benchmarks.throughput import BATCH, BURST, IN_FLIGHT
from hh_exporter import ModelEvent
from hh_exporter._clock import SystemClock
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._encoding.codec import Codec
from hh_exporter.events import new_id

ROUNDS = 25
WARM_UP = 3

DUMPS = "orjson.dumps of a dict that is ready"
LIMIT = "the bare client"
FIELDS = "an id, the time, a dict of the set fields, and orjson.dumps of it"
RECORD = "the same as a record"
PUSH = "push"
EXPORTER = "the exporter"

Costs: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds of processor time of an event, by variant and round."""


@frozen
class Stage:
    """
    A part of what an event costs: what some variants cost more than others.
    """

    name: str
    more: tuple[str, ...]
    less: tuple[str, ...] = ()

    def of(self, costs: Costs) -> list[float]:
        """
        Say what it costs, by round.
        """
        rounds = zip(*(costs[name] for name in (*self.more, *self.less)), strict=True)
        count = len(self.more)
        return [sum(each[:count]) - sum(each[count:]) for each in rounds]


STAGES = (
    Stage(f"both: {DUMPS}", (DUMPS,)),
    Stage("both: joining a body, POST and the answer", (LIMIT,), (DUMPS,)),
    Stage(f"{LIMIT}, in all", (LIMIT,)),
    Stage("an id, the time, and a dict of the set fields", (FIELDS,), (DUMPS,)),
    Stage("a copy of the bytes that wastes no memory, and the record", (RECORD,), (FIELDS,)),
    Stage(
        "the block around the caller, room in memory, books: the rest of push", (PUSH,), (RECORD,)
    ),
    Stage("batches, books, and what the answer says of each", (EXPORTER, DUMPS), (PUSH, LIMIT)),
    Stage(f"{EXPORTER}, in all", (EXPORTER,)),
)


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    burst: int = BURST,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[float]]:
    """
    Time each variant on a burst, once a round; what is sent arrives at *sink*.
    """
    fields = list(islice(cycle(events), burst))
    ready = [{**each, "event_id": str(uuid4())} for each in fields]
    made = [ModelEvent(**each) for each in fields]
    dialect, clock = LegacyDialect(), SystemClock()
    codec = Codec(dialect=dialect, clock=clock, max_bytes=BATCH.max_bytes)
    batch, queue = deque[bytes](maxlen=BATCH.max_events), list[object]()

    def encode(wire: Fields) -> None:
        batch.append(orjson.dumps(wire))

    def list_fields(event: ModelEvent) -> None:
        wire = dialect.unstructure(event, new_id(), None, clock.wall() * 1000)
        batch.append(orjson.dumps(wire))

    def record(event: ModelEvent) -> None:
        queue.append(codec.encode(event, new_id()))

    async def each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
        gc.collect()
        began = time.process_time()
        for item in items:
            work(item)
        cost = (time.process_time() - began) / burst
        batch.clear()
        queue.clear()
        return cost

    async def push() -> float:
        cost = await each(idle.push, made)
        await idle.flush()
        sink.expect(burst)
        return cost

    async def whole(send: Send) -> float:
        gc.collect()
        began = time.process_time()
        await send()
        cost = (time.process_time() - began) / burst
        sink.expect(burst)
        return cost

    exporter = in_one_go(opening_exporter(BATCH, IN_FLIGHT, makes_events=False), ModelEvent)
    async with (
        idle_exporter(sink.url, burst) as idle,
        start_limit(BATCH, IN_FLIGHT)(sink.url, fields) as send_bare,
        exporter(sink.url, fields) as send,
    ):
        return await interleave(
            {
                DUMPS: lambda: each(encode, ready),
                LIMIT: lambda: whole(send_bare),
                FIELDS: lambda: each(list_fields, made),
                RECORD: lambda: each(record, made),
                PUSH: push,
                EXPORTER: lambda: whole(send),
            },
            rounds=rounds,
            warm_up=warm_up,
        )


def report(
    events: Sequence[Fields], costs: Costs, *, burst: int = BURST, warm_up: int = WARM_UP
) -> Report:
    """
    Say what *costs*, as `measure` returns them, mean.
    """
    return Report(
        name="stages",
        question=" ".join(__doc__.split()),
        workload=describe(events),
        tables=[
            Table(
                title="An event in a burst",
                setting=(
                    f"Bursts of {burst} events; {LIMIT} and {EXPORTER} as in `throughput`, with a "
                    f"sink that answers at once.\nEach row is the difference of two variants in "
                    f"one round; {warm_up} rounds to warm up, then {len(costs[LIMIT])}."
                ),
                figure="µs of processor time of an event",
                rows=[_describe(stage, costs) for stage in STAGES],
            )
        ],
    )


def _describe(stage: Stage, costs: Costs) -> Row:
    figures = stage.of(costs)
    share = median(compare(figures, costs[LIMIT]))
    return Row(
        name=stage.name,
        figures=[figure * 1e6 for figure in figures],
        orientation=f"{share:.2f} times {LIMIT}",
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
