"""
How long an outage do memory and the spool outlast, and what does it cost to keep events on disk?
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

import orjson
from attrs import frozen

from benchmarks._command import answer
from benchmarks._hostile import HOSTILE, REFUSING
from benchmarks._process import run_in_fresh_process
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import interleave
from benchmarks._waiting import Kept, Outlasted, keep, outlast
from benchmarks._workload import Fields, describe, generate_events

RATE = 3_000
"""Events a second while the server is down; fewer where the disk takes less."""
SPOOL = 32 * 2**20
"""Bytes of the spool: a sixteenth of the default."""
COUNT = 5_000
"""Events that are put into a durable spool."""
ROUNDS = 3
OUTAGE_ROUNDS = 2

MEMORY = "memory"
DISK = "the spool"
OUTLASTED_AT_LEAST = 2.0
RESIDENT_AT_MOST = 0.55
FILES_AT_MOST = 0.55
PUT_AT_MOST = 7.0
"""What it was while rows were not packed."""


@frozen(kw_only=True)
class Measured:
    """
    What was measured, by round.
    """

    outlasted: Mapping[str, Sequence[Outlasted]]
    """By where the events waited."""
    kept: Sequence[Kept]


async def measure(
    events: Sequence[Fields],
    *,
    rate: int = RATE,
    spool: int = SPOOL,
    count: int = COUNT,
    rounds: int = ROUNDS,
    outage_rounds: int = OUTAGE_ROUNDS,
) -> Measured:
    """
    Fill memory and a spool while nobody listens, in a fresh process each time.
    """
    lines = [orjson.dumps(event) for event in events]
    with HOSTILE[REFUSING]() as url:
        ways = {
            MEMORY: partial(run_in_fresh_process, outlast, lines, url, rate),
            DISK: partial(run_in_fresh_process, outlast, lines, url, rate, spool=spool),
        }
        outlasted = await interleave(
            {name: partial(asyncio.to_thread, way) for name, way in ways.items()},
            rounds=outage_rounds,
            warm_up=0,
        )
        kept = [
            await asyncio.to_thread(run_in_fresh_process, keep, lines, url, count)
            for _ in range(rounds)
        ]
    return Measured(outlasted=outlasted, kept=kept)


def report(
    events: Sequence[Fields],
    measured: Measured,
    *,
    rate: int = RATE,
    spool: int = SPOOL,
    count: int = COUNT,
) -> Report:
    """
    Say what was *measured* means.
    """
    memory, kept = measured.outlasted[MEMORY], measured.kept
    setting = (
        f"Nobody listens; {rate:,} events a second until one is lost, in a fresh process each "
        f"time, {len(memory)} rounds.\nMemory has its default limits; the spool has "
        f"{spool / 2**20:.0f} MiB, and only what is on disk counts."
    )
    on_disk = f"{count:,} events are put into a durable spool by many tasks, in {len(kept)} rounds."
    tables = [
        Table(
            title="Outages",
            setting=setting,
            figure="JSON of the events that wait at the first loss, over the limit in bytes",
            rows=[
                Row(
                    name=name,
                    figures=[each.json / each.limit for each in rounds],
                    orientation=f"{median(each.events for each in rounds):,.0f} events",
                    at_least=OUTLASTED_AT_LEAST,
                )
                for name, rounds in measured.outlasted.items()
            ],
        ),
        Table(
            title="Memory at the first loss",
            setting="The same rounds.",
            figure="resident bytes that the events added, over their JSON",
            rows=[
                Row(
                    name=MEMORY,
                    figures=[each.resident / each.json for each in memory],
                    orientation=f"{median(each.resident for each in memory) / 2**20:.0f} MiB",
                    at_most=RESIDENT_AT_MOST,
                )
            ],
        ),
        Table(
            title="The spool's files",
            setting=on_disk,
            figure="bytes of the files, over the JSON of the events",
            rows=[
                Row(
                    name=DISK,
                    figures=[each.files / each.json for each in kept],
                    at_most=FILES_AT_MOST,
                )
            ],
        ),
        Table(
            title="Durable puts",
            setting="The same rounds; the bare table is one of SQLite, with 64 rows a commit.",
            figure="seconds until all is on disk, over those of a bare table",
            rows=[
                Row(
                    name=DISK,
                    figures=[each.wall / each.bare for each in kept],
                    orientation=f"{count / median(each.wall for each in kept):,.0f} events/s",
                    at_most=PUT_AT_MOST,
                )
            ],
        ),
    ]
    return Report(
        name="outage",
        question=(__doc__ or "").strip(),
        workload=describe(events),
        tables=tables,
    )


def run(events: Sequence[Fields]) -> Report:
    return report(events, asyncio.run(measure(events)))


if __name__ == "__main__":
    answer(__doc__, run, find=generate_events)
