"""
Between a client and a NATS cluster, the network fails as a test has it fail.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest

from hh_exporter._cli._cluster import Cluster
from tests.nats import Client, Network, cabled, connected
from tests.proxies import Cable, listening
from tests.support import until

STREAM = "EVENTS"


@pytest.fixture
async def network(nats_server: Cluster) -> AsyncIterator[Network]:
    async with cabled(nats_server) as network:
        yield network


@pytest.fixture
async def client(network: Network) -> AsyncIterator[Client]:
    """
    A client that knows the cluster by way of `network` alone.
    """
    async with connected(network.servers) as client:
        await client.make_stream(STREAM, "events.>")
        yield client


async def test_a_client_learns_no_way_around_its_network(cluster: Cluster) -> None:
    """
    Servers advertise no address, so what connects by a cable is cut with it.
    """
    async with cabled(cluster) as network, connected(network.servers) as client:
        await client.make_stream(STREAM, "events.>", num_replicas=3)
        await client.publish("events.one")

        known = {server.uri.netloc for server in client.client._server_pool}
        assert known == {f"127.0.0.1:{cable.port}" for cable in network.cables}


async def test_a_cut_ends_connections_and_refuses_others(
    nats_server: Cluster, network: Network, client: Client
) -> None:
    """
    Until it is restored: then others can connect, on the same ports.
    """
    await network.cut()
    await until(lambda: client.client.is_closed)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", network.cables[0].port)

    network.restore()
    async with connected(network.servers) as other:
        await other.publish("events.one")
    async with connected(nats_server) as other:
        assert await other.messages(STREAM) == 1


async def test_a_frozen_network_holds_back_what_is_sent(
    nats_server: Cluster, network: Network, client: Client
) -> None:
    """
    It arrives, and is answered, once the network is restored.
    """
    network.freeze()
    publish = asyncio.create_task(client.client.request("events.one", b"", timeout=60))
    async with connected(nats_server) as other:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(publish), 0.1)
        assert await other.messages(STREAM) == 0

        network.restore()
        await publish
        assert await other.messages(STREAM) == 1


async def test_a_stalled_cable_can_be_cut() -> None:
    """
    What it can't pass on, to a server that does not read or because it is frozen, is dropped.
    """
    is_over = asyncio.Event()

    async def read_nothing(reader: StreamReader, writer: StreamWriter) -> None:
        await is_over.wait()

    async with listening(read_nothing) as port:
        for freezes in (False, True):
            cable = Cable(leads_to=port)
            await cable.open()
            reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
            if freezes:
                cable.freeze()
            writer.write(bytes(2**24))
            await until(lambda: cable.open_connections)  # noqa: B023 - awaited here

            await cable.cut()
            with pytest.raises(ConnectionError):
                await reader.read()
            assert cable.open_connections == 0
            await cable.close()
            writer.transport.abort()
        is_over.set()
