"""
What does an instrumented call cost as an event, beside what others make of its span?
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from statistics import median
from typing import Any

from attrs import frozen
from opentelemetry.sdk.trace import SpanProcessor

from benchmarks._bridges import BRIDGES, ENCODERS, Bridge, Encoder, count_spans, unsent
from benchmarks._calls import Calls
from benchmarks._command import answer
from benchmarks._exporter import idle_exporter
from benchmarks._peers import secluded
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields

COUNT = 400
"""Calls of each variant in a round: fewer than the others' processors send at once."""
AT_ONCE = 20
"""Calls that begin, and then end, one after the other."""
ROUNDS = 15
WARM_UP = 2

OURS = "ModelEvents"
AT_MOST_END = 1.0
"""Microseconds of `on_end`."""
AT_LEAST = {"Langfuse": 5.0, "LangSmith": 5.0, ENCODERS[0].name: 1.0}
"""Times ours, from an ended span to bytes."""


@frozen(kw_only=True)
class Cost:
    """
    Seconds for a call.
    """

    start: float = 0.0
    """`on_start`, where the span begins: the median."""
    end: float = 0.0
    """`on_end`, where it ends: the median."""
    rest: float
    """Of processor time in the background, up to bytes."""

    @property
    def bytes_made(self) -> float:
        return self.end + self.rest


async def measure(
    sink: Sink,
    bridges: Sequence[Bridge] = BRIDGES,
    encoders: Sequence[Encoder] = ENCODERS,
    *,
    count: int = COUNT,
    at_once: int = AT_ONCE,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[Cost]]:
    """
    Have each variant take *count* calls, once a round; none of them is lost.

    Our events arrive at *sink*, outside of the timing; the others' requests are not sent.
    """
    from hh_exporter.integrations.genai import ModelEvents

    calls = Calls()

    def take(processor: SpanProcessor) -> Cost:
        starts, ends = [], []
        gc.collect()
        for _ in range(0, count, at_once):
            spans = calls.begin(at_once)
            starts.append(_time_each(processor.on_start, spans))
            ends.append(_time_each(processor.on_end, calls.end(spans)))
        rest = _time(processor.force_flush)
        return Cost(start=median(starts), end=median(ends), rest=rest / count)

    async def ours() -> Cost:
        cost = take(processor)
        if (made := exporter.stats().queued) != count:
            raise RuntimeError(f"{count} events should wait: {made}")
        await exporter.flush()
        sink.expect(count)
        return cost

    async def theirs(processor: SpanProcessor) -> Cost:
        bodies.clear()
        cost = take(processor)
        if (made := sum(map(count_spans, bodies))) != count:
            raise RuntimeError(f"{count} spans should be in requests: {made}")
        return cost

    async def encode(work: Callable[[Any], bytes]) -> Cost:
        spans = calls.end(calls.begin(count))
        return Cost(rest=_time(lambda: work(spans)) / count)

    async with AsyncExitStack() as stack:
        stack.enter_context(secluded())
        exporter = await stack.enter_async_context(idle_exporter(sink.url, count))
        processor = ModelEvents(exporter)
        variants: dict[str, Callable[[], Awaitable[Cost]]] = {OURS: ours}
        if any(not bridge.missing for bridge in bridges):
            bodies = stack.enter_context(unsent())
        for bridge in _installed(bridges):
            variants[bridge.name] = partial(theirs, stack.enter_context(bridge.open()))
        for encoder in _installed(encoders):
            variants[encoder.name] = partial(encode, encoder.load())
        return await interleave(variants, rounds=rounds, warm_up=warm_up)


def _installed(them: Iterable[Any]) -> list[Any]:
    return [each for each in them if not each.missing]


def _time_each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    began = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - began) / len(items)


def _time(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def report(
    costs: Mapping[str, Sequence[Cost]],
    bridges: Sequence[Bridge] = BRIDGES,
    encoders: Sequence[Encoder] = ENCODERS,
    *,
    count: int = COUNT,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what *costs*, as `measure` returns them, mean.
    """
    others: list[Bridge | Encoder] = [*bridges, *encoders]
    absent = [each for each in others if each.missing]
    caller = Table(
        title="Where a span begins and ends",
        setting=(
            f"{count} calls a round, {AT_ONCE} at once; {warm_up} rounds to warm up, then "
            f"{len(costs[OURS])}. The thread of the program pays this,\nthe median of a round."
        ),
        figure="on_end, µs",
        rows=[
            Row(
                name=name,
                figures=[cost.end * 1e6 for cost in costs[name]],
                orientation=f"on_start {median(cost.start for cost in costs[name]) * 1e6:.2f} µs",
                at_most=AT_MOST_END if name == OURS else None,
            )
            for name in [OURS, *(bridge.name for bridge in _installed(bridges))]
        ],
    )
    base = [cost.bytes_made for cost in costs[OURS]]
    made = Table(
        title="From an ended span to bytes that can be sent",
        setting="\n".join(
            [
                "In the same rounds: on_end, and the processor time in the background for a body.",
                f"{OURS}: an event is made, with its cost if genai-prices is there, and pushed.",
                *(f"{bridge.name}: {bridge.setting}." for bridge in bridges),
                *(
                    f"{each.name}: not installed: {', '.join(each.missing)}; pip install '.[bench]'"
                    for each in absent
                ),
            ]
        ),
        figure=f"time of a call, over that of {OURS}",
        rows=[
            Row(
                name=name,
                figures=compare([cost.bytes_made for cost in each], base),
                orientation=f"{median(cost.bytes_made for cost in each) * 1e6:.1f} µs",
                at_least=AT_LEAST.get(name),
            )
            for name, each in costs.items()
        ],
    )
    names = [name for each in _installed(others) for name in each.needs]
    return Report(
        name="capture",
        question=__doc__.strip(),
        workload=(
            "Calls of a model with four messages, 3.8 KB of attributes, as OpenTelemetry's "
            "instrumentation of openai writes them."
        ),
        tables=[caller, made],
        versions=find_versions("opentelemetry-sdk", *dict.fromkeys(names)),
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(asyncio.run(measure(sink)))


if __name__ == "__main__":
    answer(__doc__, run)
