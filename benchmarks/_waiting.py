"""
Exporters whose server is down, each measured by the process that does it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from attrs import frozen

from benchmarks._process import read_resident, trim
from hh_exporter import Exporter, ModelEvent, QueueLimits, Spool

__all__ = ["Kept", "Outlasted", "keep", "outlast"]

_TICK = 0.01
"""Seconds between two groups of events."""
_LAG = 0.2
"""Seconds for which an event may wait to be written while more are pushed."""
_WRITERS = 64
"""Tasks that put events into a durable spool."""
_COMMIT = 64
"""Events that the bare table gets in a commit."""


@frozen(kw_only=True)
class Outlasted:
    """
    An outage until an event was lost.
    """

    events: int
    """Those that were accepted before."""
    json: int
    """Bytes of their JSON."""
    limit: int
    """Bytes that memory, or the spool, may have for them."""
    resident: int
    """Bytes by which the process grew."""


@frozen(kw_only=True)
class Kept:
    """
    What it took to keep events on disk, each for itself.
    """

    json: int
    files: int
    """Bytes of the spool's files."""
    wall: float
    """Seconds until each was on disk."""
    bare: float
    """Seconds that a bare table took for the same bytes."""


def outlast(lines: Sequence[bytes], url: str, rate: int, *, spool: int | None = None) -> Outlasted:
    """
    Push events to an exporter of default limits, whose server is down, until one is lost.

    Args:
        rate: Events a second; fewer if a disk takes less.
        spool: Bytes of a spool. Then memory has a 64th of that, and only what is on disk counts.
    """

    async def push_all(exporter: Exporter, events: Iterator[bytes]) -> Outlasted:
        sizes: list[int] = []
        trim()
        resident, before = read_resident(), time.monotonic()
        while not (stats := exporter.stats()).dropped:
            now = time.monotonic()
            # A program that stood still doesn't make up for it, and the disk keeps up.
            due = round(rate * min(now - before, 2 * _TICK)) if stats.commit_lag < _LAG else 0
            before = now
            for line in islice(events, due):
                exporter.push(ModelEvent(**orjson.loads(line)))
                sizes.append(len(line))
            await asyncio.sleep(_TICK)
        # Losses are seen after a group of pushes; those of the group came too late.
        held = stats.queued + stats.in_flight if spool is None else stats.spooled
        return Outlasted(
            events=held,
            json=round(held * sum(sizes) / len(sizes)),
            limit=QueueLimits().max_bytes if spool is None else spool,
            resident=read_resident() - resident,
        )

    async def run() -> Outlasted:
        with TemporaryDirectory() as folder:
            exporter = Exporter(
                base_url=url,
                queue=None if spool is None else QueueLimits(max_bytes=spool // 64),
                spool=None if spool is None else Spool(folder, max_bytes=spool),
            )
            await exporter.start()
            try:
                return await push_all(exporter, cycle(lines))
            finally:
                await exporter.aclose(0.0)

    logging.disable()  # of the losses that are meant to be
    return asyncio.run(run())


def keep(lines: Sequence[bytes], url: str, count: int) -> Kept:
    """
    Put *count* events into a durable spool, and as many bytes into a bare table.
    """
    kept = list(islice(cycle(lines), count))

    async def run(folder: str) -> float:
        events = iter([ModelEvent(**orjson.loads(line)) for line in kept])

        async def put() -> None:
            for event in events:
                await exporter.put(event)

        exporter = Exporter(base_url=url, spool=Spool(folder, durable=True))
        await exporter.start()
        began = time.perf_counter()
        await asyncio.gather(*(put() for _ in range(_WRITERS)))
        wall = time.perf_counter() - began
        await exporter.aclose(0.0)
        stats = exporter.stats()
        if stats.spooled != count:
            raise RuntimeError(f"{stats.spooled} of {count} events are on disk")
        return wall

    logging.disable()
    with TemporaryDirectory() as folder:
        bare = _write_bare(Path(folder) / "bare", kept)
    with TemporaryDirectory() as folder:
        wall = asyncio.run(run(folder))
        files = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Kept(json=sum(map(len, kept)), files=files, wall=wall, bare=bare)


def _write_bare(path: Path, lines: Sequence[bytes]) -> float:
    """
    Write *lines* to a table of SQLite, some in each commit.

    Returns:
        The seconds that it took.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        began = time.perf_counter()
        for first in range(0, len(lines), _COMMIT):
            database.execute("BEGIN IMMEDIATE")
            rows = [(line,) for line in lines[first : first + _COMMIT]]
            database.executemany("INSERT INTO records (data) VALUES (?)", rows)
            database.execute("COMMIT")
        return time.perf_counter() - began
    finally:
        database.close()
