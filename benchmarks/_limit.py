"""
The limit: bodies joined of orjson's bytes, and aiohttp's POST, without any exporter.

It cuts batches as the exporter does, and keeps as many requests in flight.
"""

from __future__ import annotations

import asyncio
import gzip
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from io import BytesIO

import aiohttp
import orjson

from benchmarks._peers import Send, Start
from benchmarks._workload import Fields
from hh_exporter import BatchLimits

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

__all__ = ["COMPRESSOR", "start_limit"]

COMPRESSOR = f"{'isal' if find_spec('isal') else 'zlib'}, in a thread"

_HEAD, _TAIL = b'{"model_events":[', b"]}"


def start_limit(
    batch: BatchLimits, in_flight: int, *, stamps: bool = False, compresses: bool = False
) -> Start:
    """
    Make a limit.

    Args:
        batch: How large a body may be.

        in_flight: How many requests there are at a time.

        stamps:
            Whether each event gets an id and a time as it is sent; else it has
            its id from the beginning, and no time.

        compresses: Whether bodies go by gzip, as the exporter would do it.
    """

    @asynccontextmanager
    async def start(url: str, events: Sequence[Fields]) -> AsyncIterator[Send]:
        ready = [{**fields, "event_id": str(uuid.uuid4())} for fields in events]

        async def send() -> None:
            bodies = _make_bodies(map(_stamp, events) if stamps else ready, batch)
            sent = await asyncio.gather(*(post(bodies) for _ in range(in_flight)))
            if sum(sent) != len(events):
                raise RuntimeError(f"{sum(sent)} of {len(events)} events were acknowledged")

        async def post(bodies: Iterator[bytes]) -> int:
            acknowledged = 0
            for body in bodies:
                wire = await asyncio.to_thread(_compress, body) if compresses else body
                # As aiohttp asks for large ones, and as the exporter does.
                async with session.post(route, data=BytesIO(wire)) as response:
                    acknowledged += len(orjson.loads(await response.read())["event_ids"])
            return acknowledged

        route = f"{url}/events/model/batch"
        headers = {"Content-Type": "application/json"}
        if compresses:
            headers["Content-Encoding"] = "gzip"
        async with aiohttp.ClientSession(headers=headers) as session:
            yield send

    return start


def _stamp(fields: Fields) -> Fields:
    return {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}


def _make_bodies(wires: Iterable[Fields], batch: BatchLimits) -> Iterator[bytes]:
    """
    Encode events once their batch is wanted.
    """
    records: list[bytes] = []
    room = batch.max_bytes - len(_HEAD) - len(_TAIL)
    for wire in wires:
        record = orjson.dumps(wire)
        if len(records) == batch.max_events or len(record) > room:
            yield _HEAD + b",".join(records) + _TAIL
            records = []
            room = batch.max_bytes - len(_HEAD) - len(_TAIL)
        records.append(record)
        room -= len(record) + 1
    yield _HEAD + b",".join(records) + _TAIL


def _compress(body: bytes) -> bytes:
    if igzip is not None:
        return igzip.compress(body, 1, mtime=0)
    return gzip.compress(body, 1, mtime=0)
