"""
The least that a client can do with events that are JSON already: join and POST them.

It cuts batches as the exporter does, so both send the same number of bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from io import BytesIO

import aiohttp
import orjson

from hh_exporter import BatchLimits

__all__ = ["post_all"]

_HEAD, _TAIL = b'{"model_events":[', b"]}"


async def post_all(
    url: str, records: Iterable[bytes], *, batch: BatchLimits, in_flight: int
) -> int:
    """
    Send *records* to the server at *url*, over connections of their own.

    Returns:
        How many were acknowledged.
    """
    bodies = _make_bodies(records, batch)

    async def post() -> int:
        acknowledged = 0
        for body in bodies:
            # As aiohttp asks for large ones.
            async with session.post(f"{url}/events/model/batch", data=BytesIO(body)) as response:
                acknowledged += len(orjson.loads(await response.read())["event_ids"])
        return acknowledged

    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        return sum(await asyncio.gather(*(post() for _ in range(in_flight))))


def _make_bodies(records: Iterable[bytes], batch: BatchLimits) -> Iterator[bytes]:
    taken: list[bytes] = []
    empty = room = batch.max_bytes - len(_HEAD) - len(_TAIL)
    for record in records:
        if taken and (len(taken) == batch.max_events or len(record) > room):
            yield _HEAD + b",".join(taken) + _TAIL
            taken, room = [], empty
        taken.append(record)
        room -= len(record) + 1
    yield _HEAD + b",".join(taken) + _TAIL
