"""
How fast does a burst reach the server, against a bare client that does nothing else?
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle, islice
from statistics import median

import aiohttp
import orjson
from attrs import frozen

from benchmarks._command import answer
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits

BURST = 5_000
"""Events that are there at once; the workload is repeated to make up the number."""
BATCH_EVENTS = 500
BATCH_BYTES = 4 * 2**20
IN_FLIGHT = 4
ROUNDS = 15
WARM_UP = 2

LIMIT = "the limit"
CLIENT = "the limit with stamps"
EXPORTER = "the exporter"
AT_LEAST = {EXPORTER: 0.6}

_HEAD, _TAIL = b'{"model_events":[', b"]}"


@frozen
class Cost:
    """
    What one event cost until it was acknowledged, in seconds.
    """

    wall: float
    cpu: float
    """Of this process alone."""
    sink_cpu: float
    """Of the sink, which works beside this process: it bounds what `wall` can be."""


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    burst: int = BURST,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[Cost]]:
    """
    Send a burst with each variant, once a round; all of it arrives at *sink*.

    Returns:
        What one event cost, by variant and round.
    """
    workload = list(islice(cycle(events), burst))
    constructed = [ModelEvent(**fields) for fields in workload]
    stamped = [{**fields, "event_id": str(uuid.uuid4())} for fields in workload]

    async def post_all(wires: Iterable[Fields]) -> int:
        bodies = _make_bodies(wires)

        async def post() -> int:
            acknowledged = 0
            for body in bodies:
                # As aiohttp asks for large ones, and as the exporter does.
                async with session.post(url, data=BytesIO(body)) as response:
                    acknowledged += len(orjson.loads(await response.read())["event_ids"])
            return acknowledged

        return sum(await asyncio.gather(*(post() for _ in range(IN_FLIGHT))))

    async def push_all() -> int:
        for event in constructed:
            exporter.push(event)
        return (await exporter.flush()).delivered

    async def run(send: Callable[[], Awaitable[int]]) -> Cost:
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        acknowledged = await send()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        received = sink.expect(burst)
        if acknowledged != burst:
            raise RuntimeError(f"{acknowledged} of {burst} events were acknowledged")
        return Cost(wall / burst, cpu / burst, received.cpu / burst)

    url = f"{sink.url}/events/model/batch"
    async with (
        aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session,
        Exporter(
            base_url=sink.url,
            queue=QueueLimits(max_events=burst, max_bytes=2**40),
            batch=BatchLimits(max_events=BATCH_EVENTS, max_bytes=BATCH_BYTES, linger=60.0),
            max_in_flight=IN_FLIGHT,
        ) as exporter,
    ):
        return await interleave(
            {
                LIMIT: lambda: run(lambda: post_all(stamped)),
                CLIENT: lambda: run(lambda: post_all(map(_stamp, workload))),
                EXPORTER: lambda: run(push_all),
            },
            rounds=rounds,
            warm_up=warm_up,
        )


def _stamp(fields: Fields) -> Fields:
    return {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}


def _make_bodies(wires: Iterable[Fields]) -> Iterator[bytes]:
    """
    Encode events once their batch is wanted, and cut batches as the exporter does.
    """
    records: list[bytes] = []
    room = BATCH_BYTES - len(_HEAD) - len(_TAIL)
    for wire in wires:
        record = orjson.dumps(wire)
        if len(records) == BATCH_EVENTS or len(record) > room:
            yield _HEAD + b",".join(records) + _TAIL
            records = []
            room = BATCH_BYTES - len(_HEAD) - len(_TAIL)
        records.append(record)
        room -= len(record) + 1
    yield _HEAD + b",".join(records) + _TAIL


def report(
    events: Sequence[Fields],
    costs: Mapping[str, Sequence[Cost]],
    *,
    burst: int = BURST,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what *costs*, as `measure` returns them, mean.
    """
    walls = {name: [cost.wall for cost in figures] for name, figures in costs.items()}
    table = Table(
        title="A burst",
        setting=(
            f"Bursts of {burst} events, push to acknowledged; batches of {BATCH_EVENTS} events and "
            f"up to {BATCH_BYTES} bytes, {IN_FLIGHT} in flight;\n"
            f"{warm_up} rounds to warm up, then {len(costs[LIMIT])}.\n"
            f"{LIMIT}: orjson.dumps, join and aiohttp's POST of dicts that have their ids; "
            "with stamps: they get\nstr(uuid.uuid4()) and time.time() first."
        ),
        figure=f"events a second, over those of {LIMIT}",
        rows=[
            Row(
                name=name,
                figures=compare(walls[LIMIT], walls[name]),
                orientation=_describe(figures),
                at_least=AT_LEAST.get(name),
            )
            for name, figures in costs.items()
        ],
    )
    return Report(
        name="throughput", question=__doc__.strip(), workload=describe(events), tables=[table]
    )


def _describe(costs: Sequence[Cost]) -> str:
    rate = 1 / median(cost.wall for cost in costs)
    cpu = median(cost.cpu for cost in costs) * 1000
    sink_cpu = median(cost.sink_cpu for cost in costs) * 1000
    return f"{rate:,.0f} events/s; CPU s per 1,000: {cpu:.4f}, the sink's {sink_cpu:.4f}"


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
