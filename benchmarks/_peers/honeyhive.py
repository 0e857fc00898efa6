"""
The vendor's client: its call for batches of events, which it leaves its caller to make; or @trace.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks._peers._peer import Peer, Send, Tracing
from benchmarks._workload import Fields

__all__ = ["PEER"]

_BATCH_EVENTS = 100
"""As many as the exporter sends by default: its manual recommends no number."""
_IN_FLIGHT = 4


@asynccontextmanager
async def _start(url: str, events: Sequence[Fields]) -> AsyncIterator[Send]:
    from honeyhive import HoneyHive
    from honeyhive.models import PostEventBatchRequest

    client = HoneyHive(api_key="benchmarks", base_url=url, timeout=60.0)

    async def send() -> None:
        batches = (
            PostEventBatchRequest(events=[*map(_place, events[first : first + _BATCH_EVENTS])])
            for first in range(0, len(events), _BATCH_EVENTS)
        )

        async def post() -> None:
            for batch in batches:
                await client.events.create_batch_async(batch)

        await asyncio.gather(*(post() for _ in range(_IN_FLIGHT)))

    yield send


def _place(fields: Fields) -> Fields:
    """
    Make the event that its manual shows for a call of a model.
    """
    return {
        "event_type": "model",
        "event_id": str(uuid.uuid4()),
        "event_name": fields.get("event_name"),
        "source": fields.get("source"),
        "config": {key: fields[key] for key in _CONFIG if key in fields},
        "inputs": {"chat_history": fields.get("messages"), **fields.get("template_inputs", {})},
        "outputs": fields.get("response"),
        "error": fields.get("error"),
        "duration": fields.get("duration"),
        "end_time": time.time() * 1000,
        "metadata": {"cost": fields.get("cost"), **fields.get("usage", {})},
    }


@asynccontextmanager
async def _trace(url: str) -> AsyncIterator[Tracing]:
    from honeyhive import HoneyHiveTracer, trace

    tracer = HoneyHiveTracer.init(api_key="benchmarks", server_url=url, session_name="benchmarks")

    async def drain() -> None:
        tracer.flush()

    yield Tracing(trace(event_type="chain", tracer=tracer), drain)
    tracer.shutdown()


_CONFIG = (
    *("model", "provider", "hyperparameters", "template"),
    *("tools", "tool_choice", "response_format"),
)

PEER = Peer(
    name="the vendor's client",
    setting=(
        f"honeyhive, events.create_batch_async, {_BATCH_EVENTS} events a call, {_IN_FLIGHT} calls "
        "at a time: it has no queue and makes no batches of its own."
    ),
    start=_start,
    trace=_trace,
    trace_setting="@trace of its tracer with its defaults, then flush.",
    needs=("honeyhive",),
)
