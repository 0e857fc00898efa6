"""
Does a web app feel the exporter: is its event loop late, and are its answers?
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from statistics import median
from typing import Literal

import orjson
from attrs import frozen

from benchmarks._app import BEAT, App, read_answers
from benchmarks._calls import Calls, Timed
from benchmarks._command import answer
from benchmarks._holds import Held, Holds
from benchmarks._load import running_load
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import interleave, percentile
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import Exporter, ModelEvent

REQUESTS = 500
"""A second. One core answers four times as many, with nothing to spare for being on time."""
EVENTS = 4
"""That a request pushes: 2,000 a second."""
LARGE_EVERY = REQUESTS * EVENTS
"""One event in so many is large where some are: one a second."""
SECONDS = 3.0
"""Of each variant in each round."""
WARM_UP = 0.5
"""Seconds before, in which an exporter that just started meets its first batches."""
ROUNDS = 5

WITHOUT = "without the exporter"
WITH = "with the exporter"
LARGE = "and an event of 1 MB a second"
GZIP = "and gzip"
TRACED = "with spans that nobody takes"
CAPTURED = "with spans as events"
BASELINES = {CAPTURED: TRACED}
"""What a variant is compared with, if not the app without the exporter."""
LAG_AT_MOST = {"p99.9": 1.0, "longest": 5.0}
"""Milliseconds that the exporter may add to it."""
HOLD_AT_MOST = 5.0
"""Milliseconds for which it may hold the loop in one go."""

_PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "longest": 1.0}
_KINDS: Mapping[str, Callable[[Held], Sequence[float]]] = {
    "a step": lambda held: held.steps,
    "a push": lambda held: held.pushes,
}


@frozen(kw_only=True)
class Felt:
    """
    What was felt in one round, in seconds.
    """

    lags: Sequence[float]
    """How late each beat was."""
    own_lags: Sequence[float]
    """How much of that the exporter explains."""
    latencies: Sequence[float]
    """From each request to its answer, as the client sees it."""
    held: Held


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    warm_up: float = WARM_UP,
) -> dict[str, list[Felt]]:
    """
    Put the app under load with each variant, once a round; all events arrive at *sink*.

    Returns:
        What was felt, by variant and round.
    """
    wires = [orjson.dumps(event) for event in events]
    skipped, requests = int(warm_up * REQUESTS), int((warm_up + seconds) * REQUESTS)
    holds = Holds()

    async def serve(take: Callable[[Fields], object], *, has_large: bool = False) -> Felt:
        made = read_answers(wires, large_every=LARGE_EVERY if has_large else None)

        def work() -> None:
            for fields in islice(made, EVENTS):
                take(fields)

        gc.collect()
        holds.take()
        app = App(work, lambda: holds.spent)
        async with app.running() as port:
            latencies = await load.ask(port, requests=requests, rate=REQUESTS)
        beats = [beat for beat in app.beats if skipped < beat.handled < requests]
        return Felt(
            lags=[beat.lag for beat in beats],
            own_lags=[beat.own_lag for beat in beats],
            latencies=latencies[skipped:],
            held=holds.take(),
        )

    async def without_exporter() -> Felt:
        felt = await serve(dict)
        sink.expect(0)
        return felt

    async def with_exporter(
        *, has_large: bool = False, compression: Literal["gzip"] | None = None
    ) -> Felt:
        def push(fields: Fields) -> None:
            holds.time_push(lambda: exporter.push(ModelEvent(**fields)))

        async with Exporter(base_url=sink.url, compression=compression) as exporter:
            felt = await serve(push, has_large=has_large)
            await exporter.flush()
            sink.expect(requests * EVENTS)
            stats = exporter.stats()
        if stats.delivered != requests * EVENTS:
            raise RuntimeError(f"not all was delivered: {stats}")
        return felt

    async def with_spans() -> Felt:
        calls = Calls()
        felt = await serve(lambda _: calls.end(calls.begin(1)))
        sink.expect(0)
        return felt

    async def with_spans_as_events() -> Felt:
        from hh_exporter.integrations.genai import ModelEvents

        async with Exporter(base_url=sink.url) as exporter:
            calls = Calls(Timed(ModelEvents(exporter), holds))
            felt = await serve(lambda _: calls.end(calls.begin(1)))
            await exporter.flush()
            sink.expect(requests * EVENTS)
        return felt

    gc.collect()
    gc.freeze()  # the collector is on, as for users; but the workload is no app's garbage
    try:
        with holds.watching():
            async with running_load() as load:
                return await interleave(
                    {
                        WITHOUT: without_exporter,
                        WITH: with_exporter,
                        LARGE: lambda: with_exporter(has_large=True),
                        GZIP: lambda: with_exporter(has_large=True, compression="gzip"),
                        TRACED: with_spans,
                        CAPTURED: with_spans_as_events,
                    },
                    rounds=rounds,
                    warm_up=0,
                )
    finally:
        gc.unfreeze()


def report(
    events: Sequence[Fields],
    felt: Mapping[str, Sequence[Felt]],
    *,
    seconds: float = SECONDS,
    warm_up: float = WARM_UP,
) -> Report:
    """
    Say what was *felt*, as `measure` returns it.
    """
    added = [name for name in felt if name not in (WITHOUT, *BASELINES.values())]
    lag = Table(
        title="How late the app's loop is",
        setting=(
            f"An aiohttp app, the exporter with default settings; {REQUESTS} requests a second, "
            f"{EVENTS} events each; {warm_up:g} s to\nwarm up, then {seconds:g} s, "
            f"{len(felt[WITHOUT])} rounds. A task sleeps {BEAT * 1000:g} ms over and over, and "
            "sees how late it wakes.\nWithout the exporter the app reads the same events and "
            f"copies their dicts; {CAPTURED}, it is compared with itself\n{TRACED}."
        ),
        figure=f"lag, ms more than {WITHOUT}",
        rows=[
            _compare(felt, name, part, lambda one: one.lags, LAG_AT_MOST[part])
            for name in added
            for part in LAG_AT_MOST
        ],
    )
    own_lag = Table(
        title="How much of that the exporter may explain",
        setting=(
            "Of each lag no more than the processor time that pushes and the exporter's callbacks "
            "took since the last\nbeat. The rest comes of other programs, the server and the "
            "client on this machine included."
        ),
        figure="lag, ms",
        rows=[
            Row(
                name=f"{name}: {part}",
                figures=[percentile(one.own_lags, _PARTS[part]) * 1000 for one in felt[name]],
            )
            for name in added
            for part in LAG_AT_MOST
        ],
    )
    latency = Table(
        title="How late its answers are",
        setting="In the same rounds; the client is a process of its own.",
        figure=f"latency, ms more than {WITHOUT}",
        rows=[
            _compare(felt, name, part, lambda one: one.latencies)
            for name in added
            for part in ("p50", "p99")
        ],
    )
    hold = Table(
        title="For how long the exporter itself holds the loop",
        setting=(
            "In the same rounds, the warm-up included; processor time of the loop's thread. A "
            "step is one callback\nof the exporter's, up to its next await. Where it meets a "
            "garbage collection, that is part of it."
        ),
        figure="longest of a round, CPU ms",
        rows=[
            _show_held(f"{name}: {kind}", [pick(one.held) for one in felt[name]])
            for name in added
            for kind, pick in _KINDS.items()
        ],
    )
    return Report(
        name="loop_lag",
        question=__doc__.strip(),
        workload=describe(events),
        tables=[lag, own_lag, latency, hold],
    )


def _compare(
    felt: Mapping[str, Sequence[Felt]],
    name: str,
    part: str,
    pick: Callable[[Felt], Sequence[float]],
    at_most: float | None = None,
) -> Row:
    with_it, without = (
        [percentile(pick(one), _PARTS[part]) * 1000 for one in felt[each]]
        for each in (name, BASELINES.get(name, WITHOUT))
    )
    return Row(
        name=f"{name}: {part}",
        figures=[ours - base for ours, base in zip(with_it, without, strict=True)],
        orientation=f"{median(with_it):.2f} ms; without {median(without):.2f} ms",
        at_most=at_most,
    )


def _show_held(name: str, held: Sequence[Sequence[float]]) -> Row:
    middle, high = (median(percentile(one, part) * 1000 for one in held) for part in (0.5, 0.999))
    return Row(
        name=name,
        figures=[max(one) * 1000 for one in held],
        orientation=f"p50 {middle:.3f} ms, p99.9 {high:.2f} ms, {sum(map(len, held))} of them",
        at_most=HOLD_AT_MOST,
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
