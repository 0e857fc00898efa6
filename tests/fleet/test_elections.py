"""
What happens to the servers of the stream: no event is lost, and none arrives twice uncounted.
"""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator

import pytest

from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.plan import NANOSECONDS
from hh_exporter._fleet.relay import Relay
from tests.fleet.story import Fleet
from tests.nats import needs_server
from tests.scripted_server import ScriptedServer

COUNT = 2_000
ACK_WAIT = 10.0
"""Seconds, where what relays could not acknowledge is waited for: more than an election takes."""


@pytest.fixture
async def fleet(hurt_cluster: Cluster, server: ScriptedServer) -> AsyncIterator[Fleet]:
    async with Fleet(cluster=hurt_cluster, api=server, ack_wait=6.0) as fleet:
        yield fleet


@pytest.mark.parametrize("which", ["leader", "follower"])
async def test_a_server_is_killed(fleet: Fleet, which: str) -> None:
    """
    The leader of stream and consumer, or one that follows: all goes on once there is another.
    """
    async with fleet.relay(), fleet.relay():
        fleet.push(COUNT // 2)
        await fleet.arrived(COUNT // 10)
        leader = await fleet.cluster.leader_of(fleet.names.stream)
        await fleet.cluster.kill(leader if which == "leader" else 1 + leader % 3)
        fleet.push(COUNT // 2)
        await fleet.audit()  # of what the killed one had heard last, some may come again


async def test_all_servers_are_killed(fleet: Fleet) -> None:
    """
    What was acknowledged is kept; what is in hand is acknowledged once they are back.
    """
    await fleet.set_consumer(ack_wait=int(ACK_WAIT * NANOSECONDS))
    async with fleet.relay() as relay:
        fleet.push(COUNT // 2)
        await fleet.arrived(COUNT // 10)
        await fleet.cluster.kill_all()
        fleet.push(COUNT // 2)
        await fleet.until(lambda: relay.stats().health == "degraded")
        await fleet.cluster.start()
        await fleet.audit()


async def test_the_consumer_is_led_by_another_server(fleet: Fleet) -> None:
    """
    Requests that are open then end, and are made again.
    """
    stream, name = fleet.names.stream, fleet.names.consumer
    async with fleet.relay(), fleet.relay():
        fleet.push(COUNT // 2)
        await fleet.arrived(COUNT // 10)
        before = await fleet.cluster.leader_of(stream, name)
        await fleet.client.call(f"CONSUMER.LEADER.STEPDOWN.{stream}.{name}")
        fleet.push(COUNT // 2)
        await fleet.audit()
        assert await fleet.cluster.leader_of(stream, name) in {1, 2, 3} - {before}
    assert fleet.twice == 0


async def test_the_stream_is_full(nats_server: Cluster, server: ScriptedServer) -> None:
    """
    Apps keep what it does not take, and it fills and drains until nothing is left.
    """
    async with Fleet(cluster=nats_server, api=server) as fleet:
        await fleet.set_stream(fleet.names.stream, max_msgs=200)
        fleet.push(COUNT // 2)
        await fleet.until(lambda: fleet.exporter.stats().health == "retrying")
        assert await fleet.client.messages(fleet.names.stream) == 200
        async with fleet.relay(prefetch=50):
            await fleet.audit()
    assert (fleet.twice, fleet.redelivered) == (0, 0)


def healths(*relays: Relay) -> set[str]:
    return {each.stats().health for each in relays}


USERS = """
authorization {
  users: [
    { user: app, password: secret },
    { user: relay, password: secret, permissions: { publish: "%s", subscribe: ">" } }
  ]
}
"""


@needs_server
async def test_the_permissions_of_relays_are_taken_away(server: ScriptedServer) -> None:
    """
    They say so, and go on once they are back; nothing is lost meanwhile.
    """
    async with Cluster(size=1, settings=USERS % ">") as cluster:

        def permit(subject: str) -> None:
            [one] = cluster._servers
            configuration = one._file("conf")
            text = re.sub('publish: ".*?"', f'publish: "{subject}"', configuration.read_text())
            configuration.write_text(text)
            one.send(signal.SIGHUP)

        app, relay = (
            JetStream(cluster.servers, user=user, password="secret") for user in ("app", "relay")
        )
        async with (
            Fleet(
                cluster=cluster,
                api=server,
                ack_wait=6.0,
                access={"user": "app", "password": "secret"},
                app={"jetstream": app},
            ) as fleet,
            fleet.relay(jetstream=relay) as first,
            fleet.relay(jetstream=relay) as second,
        ):
            fleet.push(COUNT // 4)
            await fleet.arrived(COUNT // 8)
            permit("nothing")
            fleet.push(COUNT // 4)
            await fleet.until(lambda: healths(first, second) == {"degraded"})
            assert all("permission" in each.stats().health_reason for each in (first, second))
            permit(">")
            await fleet.audit()
            await fleet.until(lambda: healths(first, second) == {"ok"})
    assert fleet.twice == 0
