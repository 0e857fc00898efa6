"""
The least that a client can do with events that are JSON already: join and POST them.

It cuts batches as the exporter does, so both send the same number of bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO

import aiohttp
import orjson

from hh_exporter import BatchLimits

__all__ = ["HEADERS", "make_bodies", "post_all", "post_in_turn"]

HEADERS = {"Content-Type": "application/json"}
_HEAD, _TAIL = b'{"model_events":[', b"]}"


async def post_all(
    url: str, records: Iterable[bytes], *, batch: BatchLimits, in_flight: int
) -> int:
    """
    Send *records* to the server at *url*, over connections of their own.

    Returns:
        How many were acknowledged.
    """
    bodies = make_bodies(records, batch)
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        return await post_in_turn(session, url, bodies, in_flight=in_flight)


async def post_in_turn(
    session: aiohttp.ClientSession,
    url: str,
    bodies: Iterator[bytes],
    *,
    in_flight: int,
    compress: Callable[[bytes], bytes] | None = None,
) -> int:
    """
    Send *bodies*, so many at a time, each made once its turn has come.

    Args:
        compress: What is done to each first, in a thread.

    Returns:
        How many events were acknowledged.
    """

    async def post() -> int:
        acknowledged = 0
        for body in bodies:
            wire = await asyncio.to_thread(compress, body) if compress else body
            # As aiohttp asks for large ones.
            async with session.post(f"{url}/events/model/batch", data=BytesIO(wire)) as response:
                acknowledged += len(orjson.loads(await response.read())["event_ids"])
        return acknowledged

    return sum(await asyncio.gather(*(post() for _ in range(in_flight))))


def make_bodies(records: Iterable[bytes], batch: BatchLimits) -> Iterator[bytes]:
    """
    Cut batches as the exporter does; a record is asked for once its batch is wanted.
    """
    taken: list[bytes] = []
    empty = room = batch.max_bytes - len(_HEAD) - len(_TAIL)
    for record in records:
        if taken and (len(taken) == batch.max_events or len(record) > room):
            yield _HEAD + b",".join(taken) + _TAIL
            taken, room = [], empty
        taken.append(record)
        room -= len(record) + 1
    yield _HEAD + b",".join(taken) + _TAIL
