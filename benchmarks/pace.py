"""
What does a call cost at an even pace, beside the calls of others?
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import TypeAlias

from benchmarks._command import answer
from benchmarks._exporter import opening_exporter
from benchmarks._floor import pay_floor
from benchmarks._pacing import time_at_pace, time_in_thread
from benchmarks._peers import PEERS, Emitter, Open, Peer, secluded
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import interleave, percentile
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe

RATE = 2_000
"""Events a second."""
COUNT = 2_000
"""Events of each variant in a round."""
ROUNDS = 5
WARM_UP = 1

FLOOR = "the floor"
EXPORTER = "construct and push"
OWN = (FLOOR, EXPORTER)

THREADS = ("the event loop's thread", "another thread")

Spreads: TypeAlias = Mapping[str, Sequence[Sequence[float]]]
"""Seconds of each event, by variant and round."""


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    peers: Sequence[Peer] = PEERS,
    *,
    in_thread: bool = False,
    count: int = COUNT,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[list[float]]]:
    """
    Time each call while what was emitted is sent, once a round; all of it arrives at *sink*.
    """
    work = time_in_thread if in_thread else time_at_pace

    async def run(open_: Open, arrives: int) -> list[float]:
        async with open_(sink.url, count) as client:
            costs = await work(client.emit, events, rate=RATE, count=count)
            await client.drain()
        sink.expect(arrives)
        return costs

    variants: dict[str, Callable[[], Awaitable[list[float]]]] = {
        FLOOR: partial(run, _open_floor, 0),
        EXPORTER: partial(run, opening_exporter(), count),
    }
    for peer in peers:
        if peer.open is not None and not peer.missing:
            variants[peer.name] = partial(run, peer.open, count)
    with secluded():
        return await interleave(variants, rounds=rounds, warm_up=warm_up)


@asynccontextmanager
async def _open_floor(_url: str, room: int) -> AsyncIterator[Emitter]:
    async def drain() -> None:
        encoded.clear()

    encoded = deque[bytes](maxlen=room)
    yield Emitter(partial(pay_floor, encoded.append), drain)


def report(
    events: Sequence[Fields],
    measured: Sequence[Spreads],
    peers: Sequence[Peer] = PEERS,
    *,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what was *measured* means, which has an item for each of THREADS.
    """
    emitters = [peer for peer in peers if peer.open is not None]
    setting = (
        f"{RATE:,} events a second, each call timed by itself while what was emitted is sent, with "
        f"default limits;\n{warm_up} rounds to warm up, then {len(measured[0][FLOOR])}, with "
        f"{len(measured[0][FLOOR][0]):,} events each.\n\n"
    ) + "\n".join(f"- {peer.name}: {peer.description}" for peer in emitters)
    tables = [
        Table(
            title=f"From {thread}",
            setting=setting,
            figure="p99.9 of a call, µs",
            rows=_list_spreads(spreads),
        )
        for thread, spreads in zip(THREADS, measured, strict=True)
    ]
    installed = [name for peer in emitters if not peer.missing for name in peer.needs]
    return Report(
        name="pace",
        question=__doc__.strip(),
        workload=describe(events),
        tables=tables,
        versions=find_versions(*installed),
    )


def _list_spreads(spreads: Spreads) -> list[Row]:
    """
    Hold the exporter against the best of its peers.
    """
    worst = {
        name: [percentile(costs, 0.999) * 1e6 for costs in rounds]
        for name, rounds in spreads.items()
    }
    peers = [median(figures) for name, figures in worst.items() if name not in OWN]
    return [
        Row(
            name=name,
            figures=figures,
            orientation=_describe(spreads[name]),
            at_most=round(min(peers), 2) if peers and name == EXPORTER else None,
        )
        for name, figures in worst.items()
    ]


def _describe(rounds: Sequence[Sequence[float]]) -> str:
    middle = median(median(costs) for costs in rounds) * 1e6
    high = median(percentile(costs, 0.99) for costs in rounds) * 1e6
    return f"median {middle:.1f} µs, p99 {high:.1f} µs"


async def _measure_all(events: Sequence[Fields], sink: Sink) -> list[Spreads]:
    return [await measure(events, sink, in_thread=each) for each in (False, True)]


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(_measure_all(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
