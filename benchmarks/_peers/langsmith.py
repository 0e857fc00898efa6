"""
LangSmith: a run for each event, by Client.create_run with automatic batches, or by @traceable.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from benchmarks._peers._peer import Emitter, Peer, Tracing, in_one_go
from benchmarks._workload import Fields

__all__ = ["PEER"]


@asynccontextmanager
async def _open(url: str, room: int) -> AsyncIterator[Emitter]:
    from langsmith import Client

    client = Client(api_url=url, api_key="benchmarks", tracing_mode="langsmith")

    def emit(fields: Fields) -> uuid.UUID:
        run_id = uuid.uuid4()
        ended_at = datetime.now(UTC)
        began_at = ended_at - timedelta(milliseconds=fields.get("duration", 0))
        rest = {key: value for key, value in fields.items() if key not in _PLACED}
        client.create_run(
            fields.get("event_name", "chat"),
            {"messages": fields.get("messages")},
            "llm",
            outputs=fields.get("response"),
            error=fields.get("error"),
            extra={"metadata": rest},
            project_name="benchmarks",
            id=run_id,
            # Without these two a run is posted alone, and at once.
            trace_id=run_id,
            dotted_order=f"{began_at:%Y%m%dT%H%M%S%fZ}{run_id}",
            start_time=began_at,
            end_time=ended_at,
        )
        return run_id

    async def drain() -> None:
        client.flush()

    yield Emitter(emit, drain)
    client.cleanup()


@asynccontextmanager
async def _trace(url: str) -> AsyncIterator[Tracing]:
    from langsmith import Client, traceable

    client = Client(api_url=url, api_key="benchmarks", tracing_mode="langsmith")

    async def drain() -> None:
        client.flush()

    yield Tracing(
        traceable(client=client, enabled=True, project_name="benchmarks"),
        drain,
    )
    client.cleanup()


_PLACED = {"event_name", "messages", "response", "error", "duration"}

PEER = Peer(
    name="LangSmith",
    setting=(
        "Client.create_run with automatic batches, then flush; 100 runs a request and zstd, as "
        "its service tells it."
    ),
    start=in_one_go(_open),
    open=_open,
    trace=_trace,
    trace_setting="@traceable, with a client of its defaults, then flush.",
    needs=("langsmith",),
)
