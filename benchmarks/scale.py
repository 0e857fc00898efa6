"""
Does an exporter deliver its millionth event as it did the first, in time and in memory?
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks._command import answer
from benchmarks._producer import CHUNK, Piece, running_producer
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe

FEW = 10_000
TOTALS = (100_000, 1_000_000)
ROUNDS = 20
WARM_UP = 6_000
"""Events that another exporter delivers first, in each process."""
AT_MOST = 1.1


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    few: int = FEW,
    totals: Sequence[int] = TOTALS,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[int, list[Piece]]:
    """
    Deliver *few* events with a fresh exporter each round, and an equal part of each of *totals*.

    So the one that delivers most is compared with a fresh one all along its way. Each exporter
    has a process of its own, and all events arrive at *sink*.

    Returns:
        What an event took, by what its exporter delivers in all, and by round.
    """

    def start(stack: ExitStack) -> Callable[[int], Piece]:
        send = stack.enter_context(running_producer(events, sink.url, warm_up=warm_up))
        sink.expect(warm_up)
        return send

    async def deliver(send: Callable[[int], Piece], count: int) -> Piece:
        piece = send(count)
        sink.expect(count)
        return piece

    async def deliver_few() -> Piece:
        with ExitStack() as stack:
            return await deliver(start(stack), few)

    with ExitStack() as stack:
        variants: dict[str, Callable[[], Awaitable[Piece]]] = {_name(few): deliver_few}
        for total in totals:
            variants[_name(total)] = partial(deliver, start(stack), total // rounds)
        pieces = await interleave(variants, rounds=rounds, warm_up=0)
    return {count: pieces[_name(count)] for count in (few, *totals)}


def _name(count: int) -> str:
    return f"{count:,} events"


def report(
    events: Sequence[Fields], pieces: Mapping[int, Sequence[Piece]], *, warm_up: int = WARM_UP
) -> Report:
    """
    Say what *pieces*, as `measure` returns them, mean.
    """
    few, *_, many = pieces
    rounds = len(pieces[few])
    setting = (
        f"Chunks of {CHUNK} events, pushed and flushed, with the default limits. In each of "
        f"{rounds} rounds a fresh exporter\ndelivers {few:,} events, and the others a part of "
        f"theirs. Each has a process of its own, where another one\ndelivered {warm_up:,} events "
        "before."
    )

    def tabulate(
        title: str,
        figure: str,
        read: Callable[[Sequence[Piece]], Sequence[float]],
        say: Callable[[float], str],
    ) -> Table:
        figures = {count: read(of_count) for count, of_count in pieces.items()}
        return Table(
            title=title,
            setting=setting,
            figure=f"{figure}, over that with {few:,}",
            rows=[
                Row(
                    name=_name(count),
                    figures=compare(of_count, figures[few]),
                    orientation=say(median(of_count)),
                    at_most=AT_MOST if count == many else None,
                )
                for count, of_count in figures.items()
            ],
        )

    def at_the_end(of_count: Sequence[Piece]) -> list[float]:
        # Fresh ones are at the end in each round; they differ, so each is compared.
        if of_count is pieces[few]:
            return [piece.resident for piece in of_count]
        return [of_count[-1].resident] * rounds

    def say_time(seconds: float) -> str:
        return f"{seconds * 1e6:.1f} µs an event"

    return Report(
        name="scale",
        question=(__doc__ or "").strip(),
        workload=describe(events),
        tables=[
            tabulate(
                "Processor time",
                "CPU time of an event",
                lambda all_: [p.cpu for p in all_],
                say_time,
            ),
            tabulate("Time", "time of an event", lambda all_: [p.wall for p in all_], say_time),
            tabulate(
                "Memory",
                "resident bytes after the last event",
                at_the_end,
                lambda size: f"{size / 2**20:.1f} MiB",
            ),
        ],
    )


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(measure(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
