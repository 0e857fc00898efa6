"""
Does an exporter that has nothing to do wake its process?
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from benchmarks._command import answer
from benchmarks._report import Report, Row, Table
from benchmarks._resting import Open, count_wakes, nothing, one_exporter, one_with_spool
from benchmarks._rounds import interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe

SETTLE = 1.5
"""Seconds after an event was delivered before the count begins: longer than a linger."""
SECONDS = 5.0
ROUNDS = 3

LOOP = "an event loop alone"
EXPORTER = "the exporter"
SPOOL = "with a durable spool"
WAYS: Mapping[str, Open] = {LOOP: nothing, EXPORTER: one_exporter, SPOOL: one_with_spool}
AT_MOST = {EXPORTER: 0.0, SPOOL: 0.0}


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    settle: float = SETTLE,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
) -> dict[str, list[float]]:
    """
    Let each rest once a round, after it delivered an event to *sink*.

    Returns:
        How often a second all threads of its process woke, by way and round.
    """
    count = partial(count_wakes, url=sink.url, event=events[0], settle=settle, seconds=seconds)
    return await interleave(
        {name: partial(asyncio.to_thread, count, open_) for name, open_ in WAYS.items()},
        rounds=rounds,
        warm_up=0,
    )


def report(
    events: Sequence[Fields],
    wakes: Mapping[str, Sequence[float]],
    *,
    seconds: float = SECONDS,
) -> Report:
    """
    Say what *wakes*, as `measure` returns them, mean.
    """
    table = Table(
        title="At rest",
        setting=(
            f"A process each, which has delivered an event; all its threads are counted for "
            f"{seconds:g} s, by the\ncontext switches with which each gave up its processor, in "
            f"{len(wakes[LOOP])} rounds."
        ),
        figure="wake-ups a second",
        rows=[
            Row(name=name, figures=figures, at_most=AT_MOST.get(name))
            for name, figures in wakes.items()
        ],
    )
    return Report(
        name="idle",
        question=(__doc__ or "").strip(),
        workload=describe(events),
        tables=[table],
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
