"""
A relay while the cluster fails, or the API is away for longer than the server waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.plan import NANOSECONDS
from tests.fleet.relays import all_done, balanced, make_relay, prepare, publish, relaying, taken
from tests.nats import Client, cabled, connected, needs_server
from tests.scripted_server import ScriptedServer, created, hang
from tests.support import until

pytestmark = needs_server

IDS = [f"e{n}" for n in range(60)]


@pytest.fixture
async def own_server() -> AsyncIterator[Cluster]:
    async with Cluster(size=1) as cluster:
        await prepare(cluster)
        yield cluster


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    await prepare(nats_server)
    async with connected(nats_server) as client:
        yield client


async def set_ack_wait(client: Client, seconds: float) -> None:
    found = await client.call("CONSUMER.INFO.HH_EVENTS.relay")
    config: dict[str, Any] = found["config"] | {"ack_wait": int(seconds * NANOSECONDS)}
    body = {"stream_name": "HH_EVENTS", "config": config, "action": "update"}
    answer = await client.call("CONSUMER.CREATE.HH_EVENTS.relay", **body)
    assert "error" not in answer, answer


async def test_what_is_in_hand_is_delivered_while_the_cluster_is_away(
    own_server: Cluster, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It stays in hand over a lost connection, and is acknowledged over the next one.
    """
    await publish(own_server, *IDS)
    server.default = hang()
    async with relaying(own_server, server) as relay:
        await until(lambda: taken(relay) == len(IDS) and balanced(relay).in_flight)
        await own_server.kill(1)
        server.default = created()
        server.release()
        await until(lambda: balanced(relay).delivered == len(IDS))
        stats = balanced(relay)
        assert stats.unconfirmed == len(IDS)
        assert stats.health == "degraded"
        assert "no connection to the cluster" in stats.health_reason
        await own_server.start(1)
        async with connected(own_server) as client:
            await all_done(client, relay)
        stats = balanced(relay)

    assert sorted(server.created_ids) == sorted(IDS)
    assert (stats.recovered, stats.redelivered, stats.returned) == (len(IDS), 0, 0)
    assert stats.health == "ok"
    texts = [record.getMessage() for record in caplog.records]
    assert sum("no connection to nats://" in text for text in texts) == 1
    assert sum("connected to nats://" in text for text in texts) == 1


async def test_it_waits_for_the_cluster(server: ScriptedServer) -> None:
    """
    A relay that is started first begins once the cluster is there.
    """
    async with Cluster(size=1) as cluster:
        await prepare(cluster)
        await publish(cluster, *IDS)
        await cluster.kill(1)
        relay = make_relay(cluster.servers, server)
        starting = asyncio.create_task(relay.start())
        await until(lambda: "connection failed" in balanced(relay).health_reason)
        await cluster.start(1)
        await starting
        async with connected(cluster) as client:
            await all_done(client, relay)
        await relay.aclose()

    assert sorted(server.created_ids) == sorted(IDS)


async def test_what_is_in_hand_is_given_to_nobody_else(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    However long the API takes, the server hears often enough that an event is still in hand.
    """
    await set_ack_wait(client, 1.0)
    await publish(nats_server, *IDS)
    server.default = hang()
    async with relaying(nats_server, server, request_timeout=60.0) as relay:
        await until(lambda: balanced(relay).in_flight == len(IDS))
        async with ScriptedServer() as second, relaying(nats_server, second) as other:
            began = relay.clock.now()
            await until(lambda: relay.clock.now() > began + 3.0)
            assert balanced(other).recovered == 0
            server.default = created()
            server.release()
            await all_done(client, relay, other)
            assert balanced(other).recovered == 0

    assert balanced(relay).redelivered == 0
    assert balanced(relay).delivered == len(IDS)


async def test_a_relay_that_is_killed_leaves_what_it_held_to_others(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    The server gives it to another after ack_wait.
    """
    await set_ack_wait(client, 1.0)
    await publish(nats_server, *IDS)
    server.default = hang()
    killed = make_relay(nats_server.servers, server, request_timeout=60.0)
    await killed.start()
    await until(lambda: balanced(killed).in_flight == len(IDS))
    link = killed._link
    assert link is not None
    assert killed._linked is not None
    killed._linked.cancel()  # its connection goes, and it says nothing
    server.default = created()
    async with ScriptedServer() as second, relaying(nats_server, second) as other:
        await all_done(client, other)
        assert balanced(other).redelivered == len(IDS)
        assert sorted(second.created_ids) == sorted(IDS)
    server.release()
    await killed.aclose()


async def test_what_has_lapsed_is_not_sent(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    A relay that is cut off for longer than ack_wait leaves what it has not sent to others.
    """
    await set_ack_wait(client, 1.0)
    await publish(nats_server, *IDS)
    server.default = hang()
    given: dict[str, Any] = {"prefetch": 60, "max_in_flight": 1, "request_timeout": 60.0}
    async with cabled(nats_server) as network:
        cut = make_relay(network.servers, server, **given)
        await cut.start()
        await until(lambda: (balanced(cut).in_flight, balanced(cut).queued) == (15, 45))
        await network.cut()
        await until(lambda: balanced(cut).returned == 45)
        async with ScriptedServer() as second, relaying(nats_server, second) as other:
            await all_done(client, other)
            assert sorted(second.created_ids) == sorted(IDS)
        server.default = created()
        server.release()
        await until(lambda: balanced(cut).delivered == 15)
        network.restore()
        await until(lambda: not balanced(cut).unconfirmed)
        await cut.aclose()

    assert len(server.created_ids) == 15
    assert balanced(cut).recovered == len(IDS)
