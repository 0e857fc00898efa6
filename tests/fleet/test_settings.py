"""
An exporter that publishes, with the other settings of an exporter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hh_exporter import BatchLimits, Exporter, JetStream, Spool, Stats
from hh_exporter._cli._cluster import Cluster
from tests.nats import Client, connected
from tests.scripted_server import ScriptedServer
from tests.spools import on_disk
from tests.support import assert_balanced, push_all

STREAM = "EVENTS"
SOON = BatchLimits(linger=0.01)
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    async with connected(nats_server) as client:
        await client.make_stream(STREAM, "llm.events.>")
        yield client


async def test_variables_are_enough(
    nats_server: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No argument, no key, and a program without asyncio.
    """
    monkeypatch.setenv("HH_EXPORTER_JETSTREAM_SERVERS", nats_server.servers)
    monkeypatch.setenv("HH_EXPORTER_JETSTREAM_SUBJECT", "llm.events")
    monkeypatch.setenv("HH_EXPORTER_BATCH_LINGER", "0.01")

    def program() -> Stats:
        with Exporter.in_thread() as exporter:
            push_all(exporter, "a", "b")
            exporter.flush_sync()
        return exporter.stats()

    stats = await asyncio.to_thread(program)

    assert (stats.relayed, stats.delivered, stats.dropped) == (2, 0, 0)
    assert await client.messages(STREAM) == 2


async def test_copies_go_over_http(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    To the address in `also`, and the events themselves to the stream.
    """
    stream = JetStream(nats_server.servers, subject="llm.events")
    async with Exporter(jetstream=stream, also=server.url, batch=SOON) as exporter:
        push_all(exporter, "a", "b")
        await exporter.flush()

    assert assert_balanced(exporter).relayed == 2
    assert await client.messages(STREAM) == 2
    sent = [event["event_id"] for request in server.requests for event in request.events]
    assert sorted(sent) == ["a", "b"]
    assert "authorization" not in {name.lower() for r in server.requests for name in r.headers}


async def test_what_was_left_on_disk_is_relayed(
    nats_server: Cluster, client: Client, tmp_path: Path
) -> None:
    """
    By the next exporter of that stream, whatever servers it had.
    """
    spool = Spool(tmp_path)
    async with Exporter(jetstream=JetStream(NOWHERE, subject="llm.events"), spool=spool) as first:
        push_all(first, "a", "b")
        await first.aclose(0.0)
    assert on_disk(tmp_path) == ["a", "b"]

    stream = JetStream(nats_server.servers, subject="llm.events")
    async with Exporter(jetstream=stream, spool=spool, batch=SOON) as exporter:
        await exporter.flush()

    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.relayed) == (2, 2)
    assert await client.messages(STREAM) == 2
    assert on_disk(tmp_path) == []
