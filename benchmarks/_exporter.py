"""
The exporter as a client like all others: a burst of pushes, then flush.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from benchmarks._peers import Send, Start
from benchmarks._workload import Fields
from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits

__all__ = ["start_exporter"]


def start_exporter(
    batch: BatchLimits,
    in_flight: int,
    *,
    compression: Literal["gzip"] | None = None,
    makes_events: bool = False,
) -> Start:
    """
    Make an exporter whose queue holds a burst.

    Args:
        makes_events: Whether making each ModelEvent is part of sending it.
    """

    @asynccontextmanager
    async def start(url: str, events: Sequence[Fields]) -> AsyncIterator[Send]:
        ready = [ModelEvent(**fields) for fields in events]

        async def send() -> None:
            for event in (ModelEvent(**fields) for fields in events) if makes_events else ready:
                exporter.push(event)
            result = await exporter.flush()
            if result.delivered != len(events):
                raise RuntimeError(f"not all events were acknowledged: {result}")

        async with Exporter(
            base_url=url,
            queue=QueueLimits(max_events=len(events), max_bytes=2**40),
            batch=batch,
            max_in_flight=in_flight,
            compression=compression,
        ) as exporter:
            yield send

    return start
