"""
An app host while its cluster is hurt: nothing is lost, and nothing is in the stream twice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from attrs import define, field

from hh_exporter import BatchLimits, Exporter, JetStream, Outcome, RetryPolicy, Settlement, Stats
from hh_exporter._cli._cluster import Cluster
from hh_exporter._transport.client import writer_of
from hh_exporter._transport.jetstream import JetStreamTransport
from hh_exporter.testing import assert_balanced
from tests.nats import Client, connected, needs_server, running
from tests.support import PATIENCE, push_all, until

STREAM = "EVENTS"
COUNT = 2_000
BATCH = BatchLimits(max_events=50, linger=0.0)
RETRY = RetryPolicy(base=0.05, max_delay=0.5)


@define(eq=False)
class App:
    """
    An app host that publishes, and what its exporter says.
    """

    servers: str
    settings: dict[str, Any] = field(factory=dict)
    outcomes: Counter[str] = field(factory=Counter)
    exporter: Exporter = field(init=False)
    pushed: int = 0

    def __attrs_post_init__(self) -> None:
        defaults: dict[str, Any] = {
            "jetstream": self.servers,
            "batch": BATCH,
            "retry": RETRY,
            "max_in_flight": 4,
            "request_timeout": 1.0,
            "close_timeout": PATIENCE,
            "on_outcome": self.note,
        }
        self.exporter = Exporter(**defaults | self.settings)

    def note(self, settlement: Settlement) -> None:
        assert settlement.outcome is Outcome.RELAYED, settlement
        self.outcomes.update(settlement.event_ids)

    def push(self, count: int) -> None:
        push_all(self.exporter, *(f"e{n}" for n in range(self.pushed, self.pushed + count)))
        self.pushed += count

    def push_large(self, count: int, size: int) -> None:
        ids = [f"e{n}" for n in range(self.pushed, self.pushed + count)]
        push_all(self.exporter, *ids, response={"content": "x" * size})
        self.pushed += count

    async def relayed(self, count: int) -> Stats:
        """
        Wait until the stream has *count* events; the books balance meanwhile.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                stats = assert_balanced(self.exporter)
                if stats.relayed >= count:
                    return stats
                if stats.breaker == "closed":
                    await asyncio.sleep(0.005)
                else:
                    await self.exporter.flush(0.2)  # looks at once whether it works again

    async def check(self, client: Client) -> Stats:
        """
        Close, and compare what the books say with what the stream has.
        """
        result = await self.exporter.aclose()
        stats = assert_balanced(self.exporter)
        assert (result.left, stats.relayed, stats.dropped) == (0, self.pushed, 0)
        assert self.outcomes == Counter({f"e{n}": 1 for n in range(self.pushed)})
        assert Counter(await ids_in(client)) == self.outcomes
        return stats


async def ids_in(client: Client) -> list[str]:
    """
    List the events that the stream has, as a relay would take them.
    """
    await client.make_consumer(STREAM, "reader", max_ack_pending=-1)
    count = await client.messages(STREAM)
    found: list[str] = []
    inbox = client.client.new_inbox()
    ask = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.reader"
    taken = await client.client.subscribe(inbox)
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            await client.client.publish(ask, b'{"batch": %d}' % (count - len(found)), reply=inbox)
            while len(found) < count:
                headers = (await taken.next_msg(PATIENCE)).headers
                if "Status" in headers:  # no leader yet
                    await asyncio.sleep(0.05)
                    break
                found.append(headers["Nats-Msg-Id"].partition("/")[0])
    return found


async def have_stream(servers: Cluster | str, replicas: int, **settings: Any) -> None:
    async with connected(servers) as client:
        await client.make_stream(STREAM, "hh_exporter.events.>", num_replicas=replicas, **settings)


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    with running(Cluster()) as cluster:
        yield cluster


@pytest.fixture
async def three(own_cluster: Cluster) -> AsyncIterator[Cluster]:
    """
    Three servers with a stream; they are well again after the test.
    """
    for number in own_cluster.pids:
        own_cluster.thaw(number)
    await own_cluster.start()
    await have_stream(own_cluster, 3)
    yield own_cluster
    for number in own_cluster.pids:
        own_cluster.thaw(number)
    await own_cluster.start()
    async with connected(own_cluster) as client:
        for name in await client.streams():
            await client.call(f"STREAM.DELETE.{name}")


async def the_node_of(app: App, cluster: Cluster) -> int:
    """
    Find the server with which an app is connected.
    """
    worker = app.exporter._life.worker
    assert worker is not None
    assert isinstance(worker.transport, JetStreamTransport)
    connection = worker.transport._connection
    assert connection is not None
    port = writer_of(connection._client).get_extra_info("peername")[1]
    return next(n + 1 for n, one in enumerate(cluster.addresses) if one.endswith(f":{port}"))


async def have_it_follow(number: int, cluster: Cluster) -> None:
    """
    Have a server lead the stream no more, if it does.
    """
    async with connected(cluster) as client:
        while await cluster.leader_of(STREAM) == number:
            await client.call(f"STREAM.LEADER.STEPDOWN.{STREAM}")


async def test_an_own_server_that_is_frozen_or_killed_is_left(three: Cluster) -> None:
    """
    What was written to it is published again, to another one.
    """
    app = App(three.servers)
    app.push(1)
    await app.relayed(1)
    frozen = await the_node_of(app, three)
    await have_it_follow(frozen, three)
    await three.freeze(frozen)
    app.push(COUNT // 2)
    await app.relayed(COUNT // 2)
    own = await the_node_of(app, three)
    assert own != frozen
    three.thaw(frozen)
    await have_it_follow(own, three)

    app.push(COUNT // 2)
    await app.relayed(COUNT // 2 + 100)
    await three.kill(own)
    await app.relayed(app.pushed)
    async with connected(three.addresses[frozen - 1]) as client:
        await app.check(client)


async def test_a_stream_may_be_deleted_and_created_again(
    nats_server: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What it had acknowledged is gone with it; all else waits.
    """
    await have_stream(nats_server, 1)
    app = App(nats_server.servers)
    async with connected(nats_server) as client:
        app.push(COUNT // 2)
        await app.relayed(COUNT // 2)
        await client.call(f"STREAM.DELETE.{STREAM}")
        app.push(COUNT // 2)
        await until(lambda: app.exporter.stats().breaker != "closed")
        assert assert_balanced(app.exporter).relayed == COUNT // 2
        await have_stream(nats_server, 1)
        await app.relayed(COUNT)
        assert await client.messages(STREAM) == COUNT // 2
    await app.exporter.aclose()
    assert "fails: no stream has that subject, or no leader" in caplog.text


def users(password: str, *, permits: str) -> str:
    return f"""
authorization {{
  users: [
    {{ user: admin, password: secret }}
    {{ user: app, password: {password}, permissions: {{
        publish: ["{permits}"], subscribe: ["_INBOX.hh_exporter.app.>"] }} }}
  ]
}}
"""


def reload(cluster: Cluster, settings: str) -> None:
    """
    Have a server that is alone read other *settings*.
    """
    [server] = cluster._servers
    server.configure([], f"max_file_store: {cluster.max_file_store}", settings)
    server.send(signal.SIGHUP)


@needs_server
async def test_what_is_not_permitted_waits_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """
    A wrong password at first, and permissions that are taken away and given back later.
    """
    asked = "check user and password (HH_EXPORTER_JETSTREAM_USER, HH_EXPORTER_JETSTREAM_PASSWORD)"
    right = users("right", permits="hh_exporter.events.>")
    admin = {"user": "admin", "password": "secret"}
    async with Cluster(size=1, settings=users("other", permits="hh_exporter.events.>")) as cluster:
        async with connected(cluster, **admin) as client:
            await client.make_stream(STREAM, "hh_exporter.events.>")
            address = cluster.servers
            app = App("", {"jetstream": JetStream(address, user="app", password="right")})
            app.push(COUNT // 2)
            await until(lambda: assert_balanced(app.exporter).breaker == "suspended")
            assert not await client.messages(STREAM)
            reload(cluster, right)
            await app.relayed(COUNT // 2)

            reload(cluster, users("right", permits="other.>"))
            app.push(COUNT // 2)
            await until(lambda: assert_balanced(app.exporter).breaker == "suspended")
            reload(cluster, right)
            await app.relayed(COUNT)
        async with connected(cluster, **admin) as client:
            await app.check(client)

    said = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(said) == 2
    assert f"suspended: {address} answers authorization violation: {asked}" in said[0]
    assert f'permissions violation for publish to "hh_exporter.events.legacy": {asked}' in said[1]
    assert caplog.text.count("takes events again") == 2


@pytest.mark.soak
async def test_a_server_in_lame_duck_mode_costs_nothing(three: Cluster) -> None:
    """
    It sends its clients away one by one; they go on at another one.
    """
    app = App(three.servers)
    app.push(COUNT // 2)
    await app.relayed(100)
    own = await the_node_of(app, three)
    three._server(own).send(signal.SIGUSR2)
    app.push(COUNT // 2)
    await app.relayed(COUNT)
    await three.stop(own)
    other = next(iter(three.pids))
    async with connected(three.addresses[other - 1]) as client:
        await app.check(client)
