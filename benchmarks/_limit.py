"""
The limit: bodies joined of orjson's bytes, and aiohttp's POST, without any exporter.

It cuts batches as the exporter does, and keeps as many requests in flight.
"""

from __future__ import annotations

import gzip
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec

import aiohttp
import orjson

from benchmarks._bare import HEADERS, make_bodies, post_in_turn
from benchmarks._peers import Send, Start
from benchmarks._workload import Fields
from hh_exporter import BatchLimits

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

__all__ = ["COMPRESSOR", "start_limit"]

COMPRESSOR = f"{'isal' if find_spec('isal') else 'zlib'}, in a thread"


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
            wires = map(_stamp, events) if stamps else ready
            sent = await post_in_turn(
                session,
                url,
                make_bodies(map(orjson.dumps, wires), batch),
                in_flight=in_flight,
                compress=_compress if compresses else None,
            )
            if sent != len(events):
                raise RuntimeError(f"{sent} of {len(events)} events were acknowledged")

        encoding = {"Content-Encoding": "gzip"} if compresses else {}
        async with aiohttp.ClientSession(headers=HEADERS | encoding) as session:
            yield send

    return start


def _stamp(fields: Fields) -> Fields:
    return {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}


def _compress(body: bytes) -> bytes:
    if igzip is not None:
        return igzip.compress(body, 1, mtime=0)
    return gzip.compress(body, 1, mtime=0)
