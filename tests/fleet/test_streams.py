"""
How the streams of a fleet are, as their servers tell it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import Deadline
from hh_exporter._fleet.advice import compare
from hh_exporter._fleet.api import Api, ApiError
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.streams import State, look, set_up
from tests.fleet.connections import opened, soon
from tests.nats import Client, connected, running

NAMES = Names()
PLAN = Plan(max_bytes=50_000_000, dead_max_bytes=5_000_000)
SUBJECT = NAMES.events


async def made(servers: Cluster) -> None:
    async with opened(servers) as connection:
        await set_up(connection, PLAN, soon())


async def looked(servers: Cluster | str) -> State:
    async with opened(servers) as connection:
        return await look(connection, NAMES, soon(), with_limits=True)


async def take(client: Client, count: int) -> list[str]:
    """
    Take messages as a relay does; gives where each can be acknowledged.
    """
    box = client.client.new_inbox()
    subscription = await client.client.subscribe(box)
    body = f'{{"batch": {count}, "expires": 5000000000}}'.encode()
    await client.client.publish("$JS.API.CONSUMER.MSG.NEXT.HH_EVENTS.relay", body, reply=box)
    return [(await subscription.next_msg(timeout=10)).reply for _ in range(count)]


async def acknowledge(client: Client, *replies: str) -> None:
    for reply in replies:
        await client.client.request(reply, b"+ACK", timeout=10)


async def test_nothing_is_there_at_first(nats_server: Cluster) -> None:
    """
    What is missing is None, and no error.
    """
    state = await looked(nats_server)

    assert (state.events, state.consumer, state.dead) == (None, None, None)
    assert state.max_payload == 8 * 2**20
    assert {advice.key for advice in compare(state)} == {"missing"}


async def test_what_waits_and_what_relays_hold_is_told(cluster: Cluster) -> None:
    """
    Messages, bytes and age of the stream; what the consumer has still to give, has given and had
    to give again; how each replica is.
    """
    await made(cluster)
    async with connected(cluster) as client:
        for n in range(5):
            await client.publish(SUBJECT, b"x" * n)
        await client.publish("hh_exporter.dead.legacy", b"{}")
        replies = await take(client, 3)
        await client.client.request(replies[0], b"-NAK", timeout=10)
        [again] = await take(client, 1)
        assert again.split(".")[4] == "2"  # how often it was given
        state = await looked(cluster)

    assert state.events is not None
    assert state.consumer is not None
    assert state.dead is not None
    assert (state.events.messages, state.events.last_seq) == (5, 5)
    assert state.events.bytes > 5
    assert state.events.leader in ("n1", "n2", "n3")
    assert len(state.events.replicas) == len(state.consumer.replicas) == 2
    assert {state.events.leader, *(one.name for one in state.events.replicas)} == {"n1", "n2", "n3"}
    assert not any(one.is_offline for one in state.events.replicas)
    assert (state.consumer.name, state.consumer.waiting) == ("relay", 2)
    assert (state.consumer.in_hand, state.consumer.redelivered) == (3, 1)
    assert state.dead.messages == 1
    assert compare(state) == []


async def test_the_oldest_is_the_first_that_is_not_acknowledged(nats_server: Cluster) -> None:
    """
    Its age is that of the first message left, in whichever order others were acknowledged.
    """
    await made(nats_server)
    async with connected(nats_server) as client:
        for _ in range(4):
            await client.publish(SUBJECT, b"{}")
        third = (await client.call("STREAM.MSG.GET.HH_EVENTS", seq=3))["message"]["time"]
        first, second, *rest = await take(client, 4)
        await acknowledge(client, second, first)
        state = await looked(nats_server)
        assert state.events is not None
        assert state.events.oldest_at == datetime.fromisoformat(third).timestamp()
        await acknowledge(client, *rest)
        state = await looked(nats_server)

    assert state.events is not None
    assert (state.events.messages, state.events.oldest_at) == (0, None)


async def test_a_server_that_is_away_is_not_current(hurt_cluster: Cluster) -> None:
    """
    With the leader killed, the others answer once they have elected another one, and say who is
    behind.
    """
    await made(hurt_cluster)
    killed = await hurt_cluster.leader_of("HH_EVENTS")
    await hurt_cluster.kill(killed)
    living = ",".join(hurt_cluster.addresses[n - 1] for n in hurt_cluster.pids)
    state = await looked(living)

    assert state.events is not None
    assert state.events.leader not in (None, f"n{killed}")
    assert not {one.name: one for one in state.events.replicas}[f"n{killed}"].is_current
    assert not any(advice.loses_events for advice in compare(state))


async def test_without_a_majority_there_is_no_answer(hurt_cluster: Cluster) -> None:
    """
    Where too few servers are left, it ends at the deadline, and does not say that all is there.
    """
    await made(hurt_cluster)
    await hurt_cluster.kill(2)
    await hurt_cluster.kill(3)
    async with opened(hurt_cluster.addresses[0]) as connection:
        with pytest.raises(ApiError, match=r"no answer|no leader|temporarily unavailable"):
            await Api(connection).call("STREAM.CREATE.NEW", {"name": "NEW"}, deadline=soon(3))


async def test_a_lost_connection_is_said(nats_server: Cluster) -> None:
    """
    What can't be asked any more is an error with the reason, and at once.
    """
    async with opened(nats_server) as connection:
        connection.lose("connection lost")
        with pytest.raises(ApiError, match="connection lost"):
            await look(connection, NAMES, soon())
        with pytest.raises(ApiError):
            await look(connection, NAMES, Deadline(0.0, 0.0))


ONLY_SOME = """
authorization { users: [{
  user: relay, password: secret
  permissions: {
    publish: ["$JS.API.STREAM.INFO.HH_EVENTS", "$JS.API.CONSUMER.INFO.HH_EVENTS.relay"]
    subscribe: "%s"
  }
}] }
"""


@pytest.mark.parametrize(
    ("inbox", "missing"),
    [
        ("_INBOX.hh_exporter.operator.>", "$JS.API.STREAM.INFO.HH_DEAD"),
        ("_INBOX.other.>", "_INBOX.hh_exporter.operator.>"),
    ],
)
def test_a_permission_that_is_missing_is_named(inbox: str, missing: str) -> None:
    """
    A user who may not ask, or not get the answer, learns which permission is missing.
    """

    async def attempt(server: Cluster) -> None:
        async with connected(server, user="admin", password="secret") as client:
            await client.make_stream("HH_EVENTS", "hh_exporter.events.>")
            await client.make_consumer("HH_EVENTS", "relay")
        async with opened(server, user="relay", password="secret") as connection:
            await look(connection, NAMES, soon(5))

    settings = ONLY_SOME % inbox
    settings = settings.replace("users: [{", "users: [{user: admin, password: secret}, {")
    with (
        running(Cluster(size=1, settings=settings)) as server,
        pytest.raises(ApiError) as caught,
    ):
        asyncio.run(attempt(server))
    assert missing in caught.value.problem
    assert "permission" in caught.value.problem
