"""
The exporter as a client like all others, and as one that sends nothing while it is timed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from benchmarks._peers import Emitter, Open
from benchmarks._workload import Fields
from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits

__all__ = ["idle_exporter", "opening_exporter"]


def opening_exporter(
    batch: BatchLimits | None = None,
    in_flight: int | None = None,
    *,
    compression: Literal["gzip"] | None = None,
    makes_events: bool = True,
    publishes: bool = False,
) -> Open:
    """
    Make what starts an exporter; what is not given has its default.

    Args:
        publishes: Whether it publishes to servers of NATS; else it sends to an API.
        makes_events: Whether it is given fields; else ready events.
    """

    @asynccontextmanager
    async def open_(url: str, room: int) -> AsyncIterator[Emitter]:
        async def drain() -> None:
            result = await exporter.flush()
            if result.left or result.rejected or result.dropped:
                raise RuntimeError(f"not all events were acknowledged: {result}")

        def make_and_push(fields: Fields) -> None:
            exporter.push(ModelEvent(**fields))

        async with Exporter(
            base_url=None if publishes else url,
            jetstream=url if publishes else None,
            # Of a smaller queue a batch takes a quarter at most.
            queue=QueueLimits(max_events=4 * room, max_bytes=2**40),
            batch=batch,
            max_in_flight=in_flight,
            compression=compression,
        ) as exporter:
            yield Emitter(make_and_push if makes_events else exporter.push, drain)

    return open_


def idle_exporter(url: str, room: int) -> Exporter:
    """
    Make an exporter whose limits are out of reach: it sends nothing within the timing.
    """
    return Exporter(
        base_url=url,
        queue=QueueLimits(max_events=8 * room, max_bytes=2**40),
        batch=BatchLimits(max_events=2 * room, max_bytes=5_000_000, linger=60.0),
    )
