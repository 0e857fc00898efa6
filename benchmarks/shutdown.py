"""
How long does a shutdown take: with a full queue, and with a server that is of no use?
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import TypeVar
from uuid import uuid4

import orjson

from benchmarks._bare import post_all
from benchmarks._command import answer
from benchmarks._hostile import HOSTILE, SILENT
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import BatchLimits, DropReason, Exporter, ModelEvent, QueueLimits

T = TypeVar("T")

QUEUED = 5_000
"""Events that a close has to deliver; the workload is repeated to make up the number."""
LATENCY = 0.03
IN_FLIGHT = 4
BATCHES = {
    "default batches": BatchLimits(linger=60.0),
    "batches of 500": BatchLimits(max_events=500, max_bytes=4 * 2**20, linger=60.0),
}
ROUNDS = 11
WARM_UP = 1
RATIO_AT_MOST = 1.5

STUCK = 1_000
"""Events that a server of no use is sent in vain."""
HEAD_START = 0.1
"""Seconds in which requests get stuck before the exporter is closed or flushed."""
TIMEOUT = 1.0
DEFAULT_TIMEOUT = 5.0
STUCK_ROUNDS = 3
EXCESS_AT_MOST = 0.2
"""Seconds."""

LIMIT = "the limit"
CLOSE = "close"
FLUSH = "flush"


async def measure_drain(
    events: Sequence[Fields],
    sink: Sink,
    *,
    queued: int = QUEUED,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[float]]:
    """
    Close an exporter with a full queue, once a round for each of `BATCHES`; all arrives at *sink*.

    Returns:
        Seconds that it took, and that the limit takes, by variant and round.
    """
    workload = list(islice(cycle(events), queued))
    constructed = [ModelEvent(**fields) for fields in workload]
    records = [orjson.dumps({**fields, "event_id": str(uuid4())}) for fields in workload]

    async def post(batch: BatchLimits) -> float:
        seconds, acknowledged = await _time(
            lambda: post_all(sink.url, records, batch=batch, in_flight=IN_FLIGHT)
        )
        return check(seconds, acknowledged)

    async def close(batch: BatchLimits) -> float:
        exporter = Exporter(
            base_url=sink.url,
            batch=batch,
            # Of a smaller queue a batch takes a quarter at most.
            queue=QueueLimits(max_events=4 * queued, max_bytes=2**40),
            max_in_flight=IN_FLIGHT,
            close_timeout=60.0,
        )
        await exporter.start()
        for event in constructed:
            exporter.push(event)
        seconds, result = await _time(exporter.aclose)
        _check_books(exporter)
        return check(seconds, result.delivered)

    def check(seconds: float, acknowledged: int) -> float:
        sink.expect(queued)
        if acknowledged != queued:
            raise RuntimeError(f"{acknowledged} of {queued} events were acknowledged")
        return seconds

    variants: dict[str, Callable[[], Awaitable[float]]] = {}
    for name, batch in BATCHES.items():
        variants[f"{LIMIT}: {name}"] = partial(post, batch)
        variants[f"{CLOSE}: {name}"] = partial(close, batch)
    return await interleave(variants, rounds=rounds, warm_up=warm_up)


async def measure_stuck(
    events: Sequence[Fields],
    *,
    count: int = STUCK,
    rounds: int = STUCK_ROUNDS,
    timeout: float = TIMEOUT,
    default_timeout: float = DEFAULT_TIMEOUT,
) -> dict[str, list[float]]:
    """
    Close and flush exporters whose server is of no use; no event gets lost without being counted.

    Returns:
        Seconds beyond the timeout, by variant and round.
    """
    constructed = [ModelEvent(**fields) for fields in islice(cycle(events), count)]

    async def close(url: str, timeout: float) -> float:
        exporter = await start(url, close_timeout=timeout)
        seconds, result = await _time(exporter.aclose)
        check_dropped(exporter, result.dropped)
        return seconds - timeout

    async def flush(url: str, timeout: float) -> float:
        exporter = await start(url, close_timeout=0.0)
        seconds, result = await _time(lambda: exporter.flush(timeout))
        if result.left != count:
            raise RuntimeError(f"all {count} events should be left: {result}")
        check_dropped(exporter, (await exporter.aclose()).dropped)
        return seconds - timeout

    async def start(url: str, *, close_timeout: float) -> Exporter:
        exporter = Exporter(base_url=url, close_timeout=close_timeout)
        await exporter.start()
        for event in constructed:
            exporter.push(event)
        await asyncio.sleep(HEAD_START)
        return exporter

    def check_dropped(exporter: Exporter, dropped: int) -> None:
        _check_books(exporter)
        reasons = exporter.stats().dropped_by_reason
        if (dropped, reasons) != (count, {DropReason.CLOSED: count}):
            raise RuntimeError(f"all {count} events should be dropped as closed: {reasons}")

    with ExitStack() as stack:
        urls = {name: stack.enter_context(run()) for name, run in HOSTILE.items()}
        variants: dict[str, Callable[[], Awaitable[float]]] = {}
        for name, url in urls.items():
            variants[f"{CLOSE}: {name}"] = partial(close, url, timeout)
        variants[f"{CLOSE}: {SILENT}, {default_timeout:g} s"] = partial(
            close, urls[SILENT], default_timeout
        )
        for name, url in urls.items():
            variants[f"{FLUSH}: {name}"] = partial(flush, url, timeout)
        return await interleave(variants, rounds=rounds, warm_up=0)


async def _time(work: Callable[[], Awaitable[T]]) -> tuple[float, T]:
    gc.collect()
    began = time.perf_counter()
    result = await work()
    return time.perf_counter() - began, result


def _check_books(exporter: Exporter) -> None:
    """
    Raise RuntimeError unless each event that was pushed has an outcome.
    """
    stats = exporter.stats()
    if (stats.settled, stats.queued, stats.in_flight, stats.spooled) != (stats.pushed, 0, 0, 0):
        raise RuntimeError(f"the books do not balance after a close: {stats}")


def report(
    events: Sequence[Fields],
    drained: Mapping[str, Sequence[float]],
    stuck: Mapping[str, Sequence[float]],
    *,
    queued: int = QUEUED,
    count: int = STUCK,
    timeout: float = TIMEOUT,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what *drained* and *stuck*, as `measure_drain` and `measure_stuck` return them, mean.
    """
    batches = "\n".join(
        f"{name.capitalize()}: {batch.max_events} events, {batch.max_bytes} bytes."
        for name, batch in BATCHES.items()
    )
    rounds = len(next(iter(drained.values())))
    drain = Table(
        title="With a full queue",
        setting=(
            f"{queued} events in the queue, nothing sent before, no connection open; a server that "
            f"takes {LATENCY * 1000:g} ms to answer;\n{IN_FLIGHT} in flight; {warm_up} rounds to "
            f"warm up, then {rounds}.\n{batches}\n"
            f"{LIMIT.capitalize()}: aiohttp's POST of the same bodies, joined from records that "
            "are JSON already."
        ),
        figure=f"seconds until all is delivered, over those of {LIMIT}",
        rows=[
            Row(
                name=what,
                figures=compare(seconds, drained[what.replace(CLOSE, LIMIT)]),
                orientation=f"{median(seconds):.3f} s",
                at_most=RATIO_AT_MOST if what.startswith(CLOSE) else None,
            )
            for what, seconds in drained.items()
        ],
    )
    hostile = Table(
        title="With a server that is of no use",
        setting=(
            f"{count} events, pushed {HEAD_START:g} s before, the first of them under way. A close "
            f"or flush may take {timeout:g} s, or as\nlong as its name says; one that ends before "
            "has found that nothing more can be had.\nAll events are dropped as closed, and the "
            "books balance."
        ),
        figure="seconds beyond the timeout",
        rows=[
            Row(
                name=name,
                figures=figures,
                orientation=f"longest {max(figures):.3f} s",
                at_most=EXCESS_AT_MOST,
            )
            for name, figures in stuck.items()
        ],
    )
    return Report(
        name="shutdown",
        question=__doc__.strip(),
        workload=describe(events),
        tables=[drain, hostile],
    )


def run(events: Sequence[Fields]) -> Report:
    logging.getLogger("hh_exporter").setLevel(logging.ERROR)  # it warns of what is lost on purpose
    with running_sink(LATENCY) as sink:
        drained = asyncio.run(measure_drain(events, sink))
    return report(events, drained, asyncio.run(measure_stuck(events)))


if __name__ == "__main__":
    answer(__doc__, run)
