"""
A relay: what it takes, delivers, gives back and refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hh_exporter._cli._cluster import Cluster
from tests.fleet.relays import all_done, balanced, prepare, publish, relaying
from tests.nats import Client, connected
from tests.scripted_server import ScriptedServer


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    await prepare(nats_server)
    async with connected(nats_server) as client:
        yield client


async def test_what_apps_publish_is_delivered_and_leaves_the_stream(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Each event reaches the API once, and its message is gone once that is confirmed.
    """
    ids = [f"e{n}" for n in range(300)]
    await publish(nats_server, *ids)

    async with relaying(nats_server, server) as relay:
        await all_done(client, relay)
        stats = balanced(relay)

    assert sorted(server.created_ids) == sorted(ids)
    assert (stats.recovered, stats.delivered, stats.unconfirmed) == (300, 300, 0)
