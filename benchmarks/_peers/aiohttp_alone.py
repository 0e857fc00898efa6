"""
One aiohttp POST for each event, as it is written first.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from benchmarks._peers._peer import Peer, Send
from benchmarks._workload import Fields

__all__ = ["PEER"]


@asynccontextmanager
async def _start(url: str, events: Sequence[Fields]) -> AsyncIterator[Send]:
    async def post(fields: Fields) -> None:
        event = {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}
        async with session.post(f"{url}/events/model", json={"model_event": event}) as response:
            response.raise_for_status()
            await response.json()

    async def send() -> None:
        await asyncio.gather(*map(post, events))

    async with aiohttp.ClientSession() as session:
        yield send


PEER = Peer(
    name="one POST per event",
    setting="aiohttp, one session with its 100 connections, `json=` the event.",
    start=_start,
)
