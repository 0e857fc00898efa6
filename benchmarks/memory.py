"""
What do events cost in memory while they wait, and does a silent server make them exceed the budget?
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median

import orjson

from benchmarks._command import answer
from benchmarks._holding import (
    IN_FLIGHT,
    Flood,
    Held,
    Overfilled,
    hold_in_exporter,
    hold_in_list,
    overfill,
)
from benchmarks._process import run_in_fresh_process
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import interleave
from benchmarks._workload import Fields, describe
from hh_exporter import ModelEvent, QueueLimits

COUNT = 20_000
"""Events that wait; the workload is repeated to make up the number."""
COLLECTIONS = 11
ROUNDS = 5
FLOOD_ROUNDS = 2

EXPORTER = "the exporter"
BYTES = "a list of their JSON"
OBJECTS = "a list of ModelEvents"
DICTS = "a list of dicts"
RESIDENT_AT_MOST = {EXPORTER: 0.6}
PAUSE_AT_MOST = {EXPORTER: 1.2}

_TINY: Fields = {"model": "m"}
_PLAN: Fields = {"session_name": "chat", "user_properties": {"plan": "free"}}
_NO_COUNT = QueueLimits(max_events=2**40, max_bytes=2**24)
"""Limits of which only that of bytes is reached, a quarter of the default one."""
FLOODS = {
    "5 MB": Flood(fields={"model": "m", "error": "x" * 4_990_000}, count=40, limits=QueueLimits()),
    "1 MB": Flood(fields={"model": "m", "error": "x" * 10**6}, count=150, limits=QueueLimits()),
    "6.5 KB": Flood(fields={"model": "m", "error": "x" * 6300}, count=25_000, limits=QueueLimits()),
    "tiny": Flood(fields=_TINY, count=75_000, limits=QueueLimits()),
    "tiny, own sessions": Flood(fields=_TINY, session=_PLAN, count=75_000, limits=QueueLimits()),
    "tiny, uncounted": Flood(fields=_TINY, count=200_000, limits=_NO_COUNT),
    "tiny, own sessions, uncounted": Flood(
        fields=_TINY, session=_PLAN, count=100_000, limits=_NO_COUNT
    ),
}
FLOOD_AT_MOST = 1.2


async def measure(
    events: Sequence[Fields],
    *,
    count: int = COUNT,
    collections: int = COLLECTIONS,
    rounds: int = ROUNDS,
) -> dict[str, list[Held]]:
    """
    Hold *count* of *events* in each way, in a fresh process each time.

    They are made of their JSON one by one and let go, as a program does.
    """
    lines = [orjson.dumps(event) for event in events]

    def in_list(make: Callable[[bytes], object]) -> Callable[[], Held]:
        return partial(
            run_in_fresh_process, hold_in_list, make, lines, count, collections=collections
        )

    with _stalled_server() as url:
        in_exporter = partial(
            run_in_fresh_process, hold_in_exporter, lines, count, url, collections=collections
        )
        ways: dict[str, Callable[[], Held]] = {
            EXPORTER: in_exporter,
            BYTES: in_list(_copy),
            OBJECTS: in_list(_construct),
            DICTS: in_list(orjson.loads),
        }
        return await interleave(
            {name: partial(asyncio.to_thread, way) for name, way in ways.items()},
            rounds=rounds,
            warm_up=0,
        )


async def measure_floods(
    floods: Mapping[str, Flood] = FLOODS, *, rounds: int = FLOOD_ROUNDS
) -> dict[str, list[Overfilled]]:
    """
    Push far more than fits to an exporter whose requests all hang, in a fresh process each time.
    """
    with _stalled_server() as url:
        return await interleave(
            {
                name: partial(asyncio.to_thread, run_in_fresh_process, overfill, flood, url)
                for name, flood in floods.items()
            },
            rounds=rounds,
            warm_up=0,
        )


@contextmanager
def _stalled_server() -> Iterator[str]:
    """
    Listen and never accept: connections are made, and nothing is read.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _copy(line: bytes) -> bytes:
    # Cut to size, as orjson does not; bytes() of bytes is the same object.
    return bytes(memoryview(orjson.dumps(orjson.loads(line))))


def _construct(line: bytes) -> ModelEvent:
    return ModelEvent(**orjson.loads(line))


def report(
    events: Sequence[Fields],
    held: Mapping[str, Sequence[Held]],
    floods: Mapping[str, Sequence[Overfilled]],
    *,
    count: int = COUNT,
) -> Report:
    """
    Say what the figures mean that `measure` and `measure_floods` return.
    """
    setting = (
        f"{count} events wait, made one by one and let go; the exporter has room for twice as "
        f"many, and {IN_FLIGHT}\nrequests under way besides, which nobody reads. A fresh process "
        f"each time, {len(held[EXPORTER])} rounds."
    )
    resident = Table(
        title="Memory of events that wait",
        setting=setting,
        figure="resident bytes they add, over their JSON",
        rows=[
            Row(
                name=name,
                figures=[figure.resident / figure.json for figure in figures],
                orientation=_describe_size([figure.resident / count for figure in figures]),
                at_most=RESIDENT_AT_MOST.get(name),
            )
            for name, figures in held.items()
        ],
    )
    pause = Table(
        title="What the garbage collector makes of them",
        setting=f"{setting} Medians of forced full\ncollections, in processor time.",
        figure="a full collection with them, over one without",
        rows=[
            Row(
                name=name,
                figures=[figure.pause / figure.pause_before for figure in figures],
                orientation=_describe_pause(figures),
                at_most=PAUSE_AT_MOST.get(name),
            )
            for name, figures in held.items()
        ],
    )
    return Report(
        name="memory",
        question=(__doc__ or "").strip(),
        workload=describe(events),
        tables=[resident, pause, _tabulate(floods)],
    )


def _tabulate(floods: Mapping[str, Sequence[Overfilled]]) -> Table:
    default = QueueLimits()
    return Table(
        title="The budget under a flood",
        setting=(
            f"Far more events than fit, all {IN_FLIGHT} requests under way and never read; "
            f"limits of {default.max_events} events and\n{default.max_bytes} bytes; uncounted: of "
            f"{_NO_COUNT.max_bytes} bytes alone. The budget: the bytes of the limits, 300\n"
            "with each event, twice that with a session of its own, and a full body for each "
            "request.\nOwn sessions: each event announces the properties of its own."
        ),
        figure="resident bytes at the peak, over the budget",
        rows=[
            Row(
                name=name,
                figures=[figure.resident / figure.budget for figure in figures],
                orientation=(
                    f"{_describe_size([figure.resident / figure.events for figure in figures])}; "
                    f"{median(figure.events for figure in figures):,.0f} events"
                ),
                at_most=FLOOD_AT_MOST,
            )
            for name, figures in floods.items()
        ],
    )


def _describe_size(sizes: Sequence[float]) -> str:
    return f"{median(sizes):,.0f} bytes an event"


def _describe_pause(figures: Sequence[Held]) -> str:
    before = median(figure.pause_before for figure in figures) * 1000
    after = median(figure.pause for figure in figures) * 1000
    longest = max(figure.longest for figure in figures) * 1000
    tracked = median(figure.tracked for figure in figures)
    return (
        f"{before:.1f} to {after:.1f} ms, the longest by itself {longest:.1f} ms; "
        f"{tracked:,.0f} objects more"
    )


def run(events: Sequence[Fields]) -> Report:
    held = asyncio.run(measure(events))
    return report(events, held, asyncio.run(measure_floods()))


if __name__ == "__main__":
    answer(__doc__, run)
