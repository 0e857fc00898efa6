"""
Servers die and networks fail while an app host publishes: the stream has each event once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from random import Random

import pytest

from hh_exporter import BatchLimits, DropReason, Exporter
from hh_exporter._cli._cluster import Cluster
from hh_exporter.testing import assert_balanced
from tests.nats import Client, Network, cabled, connected
from tests.support import model_event, until

pytestmark = pytest.mark.timeout(120)  # elections take seconds, and more on a busy machine

STREAM = "EVENTS"
SUBJECT = "hh_exporter.events.>"

EVENTS = 2_000
GROUP = 20
"""How many are pushed at once."""
PAUSE = 0.005
"""Seconds between two groups."""
SOME = 300
"""How many the stream has when things begin to go wrong."""
REQUEST_TIMEOUT = 2.0

MINUTES = float(os.environ.get("CHAOS_MINUTES", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))

Harm = Callable[[Cluster, Network], Coroutine[None, None, None]]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hh_exporter")


def publisher(servers: str, **settings: object) -> Exporter:
    """
    Make an exporter that gives up early on a server, and on no event.
    """
    return Exporter(
        jetstream=servers,
        batch=BatchLimits(linger=0.01),
        request_timeout=REQUEST_TIMEOUT,
        **settings,  # type: ignore[arg-type]
    )


async def push(exporter: Exporter, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        assert exporter.push(model_event(event_id=f"event-{number}"))
        if number % GROUP == 0:
            await asyncio.sleep(PAUSE)


async def assert_each_once(client: Client, count: int) -> None:
    """
    The stream has all of *count* events, and none twice.
    """
    ids = [message_id.partition("/")[0] for message_id in await client.ids(STREAM)]

    assert len(ids) == count
    assert set(ids) == {f"event-{number}" for number in range(count)}


async def kill_leader(cluster: Cluster, _: Network) -> None:
    await cluster.kill(await cluster.leader_of(STREAM))


async def kill_follower(cluster: Cluster, _: Network) -> None:
    await cluster.kill(await cluster.leader_of(STREAM) % cluster.size + 1)


async def kill_all(cluster: Cluster, _: Network) -> None:
    await cluster.kill_all()
    await cluster.start()


async def stop_leader(cluster: Cluster, _: Network) -> None:
    await cluster.stop(await cluster.leader_of(STREAM))


async def freeze_leader(cluster: Cluster, _: Network) -> None:
    """
    Until another one leads, and follows the news for a while.
    """
    leader = await cluster.leader_of(STREAM)
    await cluster.freeze(leader)
    await cluster.leader_of(STREAM)
    cluster.thaw(leader)


async def cut_network(_: Cluster, network: Network) -> None:
    await network.cut()
    await asyncio.sleep(REQUEST_TIMEOUT / 4)
    network.restore()


async def freeze_network(_: Cluster, network: Network) -> None:
    """
    Until the exporter has given up on what it sent last.
    """
    network.freeze()
    await asyncio.sleep(REQUEST_TIMEOUT * 5 / 4)
    network.restore()


async def stall_network(_: Cluster, network: Network) -> None:
    """
    For less than that.
    """
    network.freeze()
    await asyncio.sleep(REQUEST_TIMEOUT / 4)
    network.restore()


HARMS: dict[str, Harm] = {
    "a leader is killed": kill_leader,
    "a follower is killed": kill_follower,
    "all are killed": kill_all,
    "a leader is stopped": stop_leader,
    "a leader is frozen": freeze_leader,
}
NETWORK_HARMS: dict[str, Harm] = {
    "cut": cut_network,
    "frozen for long": freeze_network,
    "frozen for a moment": stall_network,
}


async def publish_through(cluster: Cluster, harm: Harm) -> None:
    """
    Publish events while *harm* is done in the middle of it; all must be relayed.
    """
    async with connected(cluster) as client:
        await client.make_stream(STREAM, SUBJECT, num_replicas=cluster.size)
    async with cabled(cluster) as network, publisher(network.servers) as exporter:
        pushing = asyncio.create_task(push(exporter, EVENTS))
        await until(lambda: exporter.stats().relayed >= SOME)
        await harm(cluster, network)
        await pushing
        await exporter.flush()
        stats = assert_balanced(exporter)

    assert stats.relayed == stats.pushed == EVENTS
    async with connected(cluster) as client:
        await assert_each_once(client, EVENTS)


@pytest.mark.parametrize(
    "harm",
    [
        # Of what is killed, test_elections.py has the short form.
        pytest.param(harm, marks=pytest.mark.soak if "killed" in harm else ())
        for harm in HARMS
    ],
)
async def test_the_stream_has_all_whatever_servers_do(hurt_cluster: Cluster, harm: str) -> None:
    """
    Each event once: what had no acknowledgement is published again, under its id.
    """
    await publish_through(hurt_cluster, HARMS[harm])


@pytest.mark.parametrize("harm", NETWORK_HARMS)
async def test_the_stream_has_all_whatever_the_network_does(cluster: Cluster, harm: str) -> None:
    """
    Likewise.
    """
    await publish_through(cluster, NETWORK_HARMS[harm])


async def test_a_close_does_not_wait_for_servers_that_stand_still(hurt_server: Cluster) -> None:
    """
    At its deadline, what they have not acknowledged is dropped, and told.
    """
    async with connected(hurt_server) as client:
        await client.make_stream(STREAM, SUBJECT)
    exporter = publisher(hurt_server.servers)
    await exporter.start()
    exporter.push(model_event(event_id="before"))
    assert (await exporter.flush()).relayed == 1

    await hurt_server.freeze(1)
    await push(exporter, SOME)
    await until(lambda: exporter.stats().in_flight)
    await exporter.aclose(0.2)

    stats = assert_balanced(exporter)
    assert (stats.relayed, stats.queued, stats.in_flight) == (1, 0, 0)
    assert stats.dropped_by_reason == {DropReason.CLOSED: SOME}


def schedule(seed: int) -> Iterator[list[Harm]]:
    """
    Choose what goes wrong between two times of peace, for ever.
    """
    random = Random(seed)
    harms = [*HARMS.values(), *NETWORK_HARMS.values()]
    while True:
        yield random.choices(harms, k=random.randint(1, 3))


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 300)
async def test_any_schedule_loses_nothing(hurt_cluster: Cluster) -> None:
    """
    Harms in a row, then peace, again and again: CHAOS_MINUTES long, and as CHAOS_SEED has it.
    """
    loop = asyncio.get_running_loop()
    async with connected(hurt_cluster) as client:
        await client.make_stream(STREAM, SUBJECT, num_replicas=3)
    end, pushed = loop.time() + MINUTES * 60, 0
    async with cabled(hurt_cluster) as network, publisher(network.servers) as exporter:
        for harms in schedule(SEED):
            for harm in harms:
                doing = asyncio.create_task(harm(hurt_cluster, network))
                while not doing.done():
                    await push(exporter, GROUP, first=pushed)
                    pushed += GROUP
                    await asyncio.sleep(PAUSE * 10)
                await doing
                await hurt_cluster.start()
            await exporter.flush()
            assert assert_balanced(exporter).relayed == pushed
            if loop.time() > end:
                break

    async with connected(hurt_cluster) as client:
        await assert_each_once(client, pushed)
