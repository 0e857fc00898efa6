"""
What happens to a relay or to the API: no event is lost, and none arrives twice but as is counted.
"""

from __future__ import annotations

import asyncio
import itertools
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hh_exporter import BatchLimits
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import SystemClock
from hh_exporter._fleet.plan import PREFETCH
from tests.fleet.story import Fleet
from tests.nats import cabled
from tests.scripted_server import (
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang_after_storing,
    partly,
    refuse_if,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
)

COUNT = 1_000
ACK_WAIT = 2.0
"""Seconds, where it is to run out."""
LONG_WAIT = 6.0
"""Seconds, where it is not; what was lost on the way waits for as long."""


@pytest.fixture
async def fleet(nats_server: Cluster, server: ScriptedServer) -> AsyncIterator[Fleet]:
    async with Fleet(cluster=nats_server, api=server, ack_wait=LONG_WAIT) as fleet:
        yield fleet


@pytest.fixture
async def hasty(nats_server: Cluster, server: ScriptedServer) -> AsyncIterator[Fleet]:
    """
    A fleet whose stream waits for no relay for long.
    """
    async with Fleet(cluster=nats_server, api=server, ack_wait=ACK_WAIT) as fleet:
        yield fleet


async def outlast(seconds: float) -> None:
    """
    Let real time pass, which is the server's.
    """
    await SystemClock().sleep(seconds)


async def test_a_relay_that_is_killed_leaves_its_events_to_another(hasty: Fleet) -> None:
    """
    After ack_wait; what it had sent, and not acknowledged, is sent twice.
    """
    hasty.api.default = hang_after_storing()
    async with hasty.solo() as first:
        hasty.push(COUNT)
        await hasty.until(lambda: hasty.api.requests)
        first.kill()
        hasty.api.release()
        hasty.api.default = created()
        async with hasty.relay():
            await hasty.audit()
    # What a request under way brings after the kill arrived, too.
    assert 0 < hasty.twice <= first.prefetch


async def test_a_relay_that_ends_in_order_sends_nothing_twice(fleet: Fleet) -> None:
    """
    SIGTERM, in the middle of a batch: what it had begun is delivered, and the rest given back.
    """
    fleet.api.default = hang_after_storing()
    async with fleet.solo() as first, fleet.relay():
        fleet.push(COUNT)
        await fleet.until(lambda: len(fleet.api.requests) > 2)
        stopping = asyncio.create_task(first.stop())
        await fleet.until(lambda: not stopping.done())
        fleet.api.default = created()
        fleet.api.release()
        fleet.note(said := await stopping)
        await fleet.audit()
    assert said["books"]["delivered"] > 0
    assert (said["books"]["queued"], said["books"]["in_flight"], said["in_hand"]) == (0, 0, 0)
    assert fleet.twice == 0


async def test_a_relay_that_stands_still_loses_its_events_to_another(hasty: Fleet) -> None:
    """
    SIGSTOP for longer than ack_wait: what it had sent is sent twice; it goes on afterwards.
    """
    hasty.api.default = hang_after_storing()
    async with hasty.solo() as first:
        hasty.push(COUNT)
        await hasty.until(lambda: hasty.api.requests)
        first.freeze()
        hasty.api.default = created()
        async with hasty.relay() as second:
            await hasty.drained()
            in_time = hasty.twice
            hasty.api.release()
            first.thaw()
            assert second.stats().redelivered >= in_time > 0
        hasty.push(COUNT)
        await hasty.audit()


async def test_a_relay_is_cut_off_for_a_moment(fleet: Fleet) -> None:
    """
    For less than ack_wait: nothing happens.
    """
    async with cabled(fleet.cluster) as network, fleet.relay(network.servers) as first:
        fleet.api.default = hang_after_storing()
        fleet.push(COUNT)
        await fleet.until(lambda: first.stats().in_flight)
        async with fleet.relay():
            network.freeze()
            fleet.api.default = created()
            await outlast(0.3)
            fleet.api.release()
            network.restore()
            await fleet.audit()
    assert fleet.twice == 0


async def test_a_relay_is_cut_off_for_long(hasty: Fleet) -> None:
    """
    For longer than ack_wait: the other delivers what it had.
    """
    async with cabled(hasty.cluster) as network, hasty.relay(network.servers) as first:
        hasty.api.default = hang_after_storing()
        hasty.push(COUNT)
        await hasty.until(lambda: first.stats().in_flight)
        # It may send them again by itself, as it got no answer.
        hasty.unknown += first.stats().in_flight
        async with hasty.relay() as second:
            network.freeze()
            hasty.api.default = created()
            await hasty.until(lambda: second.stats().redelivered)
            hasty.api.release()
            network.restore()
            await hasty.audit()


async def test_connections_are_reset(hasty: Fleet) -> None:
    """
    What is in hand stays in hand, and is delivered and acknowledged over the next connection.
    """
    async with cabled(hasty.cluster) as network, hasty.relay(network.servers) as relay:
        for _ in range(3):
            hasty.api.default = hang_after_storing()
            hasty.push(COUNT // 3)
            await hasty.until(lambda: relay.stats().in_flight)
            await network.cut()
            await hasty.until(lambda: relay.stats().health == "degraded")
            network.restore()
            hasty.api.default = created()
            hasty.api.release()
            await hasty.drained()
            await hasty.until(lambda: relay.stats().health == "ok")
        await hasty.audit()
    # Where that took longer than ack_wait, it came again, and was not taken twice.
    assert hasty.twice == 0


async def test_the_api_is_away_for_longer_than_ack_wait(
    nats_server: Cluster, server: ScriptedServer
) -> None:
    """
    The server is told meanwhile that its messages are in hand: none goes to another relay.
    """
    ack_wait = 4.0
    fleet = Fleet(cluster=nats_server, api=server, ack_wait=ack_wait)
    async with fleet, fleet.relay() as first, fleet.relay() as second:
        fleet.push(COUNT)
        await fleet.arrived(100)
        await fleet.api.stop()
        await outlast(1.25 * ack_wait)
        await fleet.api.restart()
        await fleet.audit()
        assert first.stats().delivered + second.stats().delivered == COUNT
    # What a relay gave back in order is no duplicate, though it comes again.
    assert fleet.twice == 0


async def test_a_key_that_is_refused_at_one_relay_of_two(fleet: Fleet) -> None:
    """
    That one gives back what it has, and the other delivers it; later it takes part again.
    """
    accepted = {"Bearer good"}

    def judge(request: Request) -> Scripted:
        return created() if request.headers["authorization"] in accepted else status(401)

    fleet.api.default = judge
    async with fleet.relay(api_key="bad") as refused, fleet.relay(api_key="good") as good:
        fleet.push(COUNT)
        await fleet.until(lambda: refused.stats().health == "suspended")
        await fleet.drained()
        assert good.stats().delivered == COUNT
        assert refused.stats().recovered == refused.stats().returned > 0
        accepted.add("Bearer bad")
        fleet.push(1)
        async with asyncio.timeout(20):
            while not refused.stats().delivered:
                fleet.push(20)
                await fleet.drained()
        await fleet.audit()
    assert fleet.twice == 0


async def test_a_rate_limit_is_kept(fleet: Fleet) -> None:
    """
    Two relays at an API that takes a request now and then, and says when to come again.
    """
    clock = SystemClock()
    free_at = clock.now()

    def limit(_: Request) -> Scripted:
        nonlocal free_at
        if clock.now() < free_at:
            return too_many(1)
        free_at = clock.now() + 0.3
        return created()

    fleet.api.default = limit
    batch = BatchLimits(max_events=500, linger=0.05)
    async with fleet.relay(batch=batch, prefetch=2000), fleet.relay(batch=batch, prefetch=2000):
        fleet.push(COUNT)
        await fleet.audit()
    assert fleet.twice == 0
    assert any(request.events for request in fleet.api.requests)


@pytest.mark.parametrize("with_errors", [True, False], ids=["errors", "silent"])
async def test_a_part_of_each_batch_fails(fleet: Fleet, with_errors: bool) -> None:
    """
    500 with the ids that were created: only the rest is sent again.
    """
    chosen: set[str] = set()

    def fails(event: Any) -> bool:
        # Each once; a name that ends in 7 fails when it is first seen.
        if not event["event_id"].endswith("7") or event["event_id"] in chosen:
            return False
        chosen.add(event["event_id"])
        return True

    fleet.api.default = partly(fails, errors=with_errors)
    async with fleet.relay(), fleet.relay():
        fleet.push(COUNT)
        await fleet.audit()
    assert chosen
    assert (fleet.twice, fleet.redelivered) == (0, 0)


async def test_the_api_resets_connections(fleet: Fleet) -> None:
    """
    Before it stored events: nothing arrives twice. After: what it had is sent again, as by any
    exporter.
    """
    turns = itertools.count()
    fleet.api.default = lambda _: reset_before_storing() if next(turns) % 3 == 0 else created()
    async with fleet.relay(), fleet.relay():
        fleet.push(COUNT)
        await fleet.audit()
        assert fleet.twice == 0
        sent = len(fleet.api.created)
        fleet.api.script(reset_after_storing())
        fleet.push(20)
        await fleet.drained()
    assert 0 < fleet.twice <= 20
    assert len(fleet.api.created) == sent + 20 + fleet.twice
    assert fleet.redelivered == 0


async def test_poisoned_and_large_events_become_dead_letters(fleet: Fleet) -> None:
    """
    With the status that they died of; all others are delivered.
    """
    bad = {"e100", "e500", "e501"}
    large = "e700"

    def judge(request: Request) -> Scripted:
        if len(request.body) > 20_000 and any(e["event_id"] == large for e in request.events):
            return status(413)
        return refuse_if(lambda event: event["event_id"] in bad)

    fleet.api.default = judge
    async with fleet.relay() as first, fleet.relay() as second:
        fleet.push(700)
        fleet.push(1, inputs={"text": "x" * 30_000})
        fleet.push(COUNT - 701)
        await fleet.audit(dead=4)
        stats = first.stats(), second.stats()
    assert sorted(await fleet.dead_ids()) == [*sorted(bad), large]
    assert sum(each.rejected for each in stats) == 3
    assert sum(each.dropped for each in stats) == 1
    assert sum(each.delivered for each in stats) == COUNT - 4
    assert fleet.twice == 0


@pytest.mark.parametrize("fault", ["full", "missing"])
async def test_dead_letters_that_can_not_be_stored_stay_in_the_stream(
    fleet: Fleet, fault: str
) -> None:
    """
    Until they can; health says so, and all else is delivered meanwhile.
    """
    dead = fleet.names.dead_stream
    before = (await fleet.client.call(f"STREAM.INFO.{dead}"))["config"]
    fleet.api.default = refuse_if(lambda event: event["event_id"] == "e10")
    async with fleet.relay() as relay:
        if fault == "full":
            await fleet.set_stream(dead, max_msgs=1)
            await fleet.client.publish(fleet.names.dead, b"{}", Nats_Msg_Id="other/0")
        else:
            await fleet.client.call(f"STREAM.DELETE.{dead}")
        fleet.push(COUNT)
        await fleet.arrived(COUNT - 1)
        await fleet.until(lambda: relay.stats().health == "degraded")
        assert "dead letters" in relay.stats().health_reason or fault == "missing"
        await fleet.until(lambda: relay.stats().in_hand == 1)
        assert await fleet.client.messages(fleet.names.stream) == 1
        if fault == "full":
            await fleet.client.call(f"STREAM.PURGE.{dead}")
            await fleet.set_stream(dead, max_msgs=-1)
        else:
            await fleet.client.call(f"STREAM.CREATE.{dead}", **before)
        await fleet.audit(dead=1)
        await fleet.until(lambda: relay.stats().health == "ok")
    assert await fleet.dead_ids() == ["e10"]
    assert fleet.twice == 0


async def test_a_message_that_is_none_of_ours(fleet: Fleet) -> None:
    """
    It is a dead letter, and harms no event.
    """
    await fleet.client.publish(fleet.names.events, b"hello")
    async with fleet.relay() as relay:
        fleet.push(COUNT)
        await fleet.drained()
        assert relay.stats().dropped == 1
        assert relay.stats().delivered == COUNT
    state = await fleet.client.call(f"STREAM.MSG.GET.{fleet.names.dead_stream}", seq=1)
    assert b64decode(state["message"]["data"]) == b"hello"
    assert fleet.twice == 0


async def test_a_fleet_grows_while_it_drains(fleet: Fleet) -> None:
    """
    From one relay to three: each gets a share, and nothing is sent twice.
    """
    fleet.api.default = hang_after_storing()
    small: dict[str, Any] = {"prefetch": 100}
    async with fleet.relay(**small) as first:
        fleet.push(COUNT)
        await fleet.published()
        await fleet.until(lambda: first.stats().in_flight)
        async with fleet.relay(**small) as second, fleet.relay(**small) as third:
            await fleet.until(lambda: second.stats().in_flight and third.stats().in_flight)
            fleet.api.default = created()
            fleet.api.release()
            await fleet.audit()
            shares = [each.stats().delivered for each in (first, second, third)]
    assert sum(shares) == COUNT
    assert min(shares) >= 50, shares
    assert (fleet.twice, fleet.redelivered) == (0, 0)


async def test_the_consumer_is_deleted_and_made_again(fleet: Fleet) -> None:
    """
    What a relay had comes again; it goes on by itself.
    """
    name = f"{fleet.names.stream}.{fleet.names.consumer}"
    config = (await fleet.client.call(f"CONSUMER.INFO.{name}"))["config"]
    async with fleet.relay(), fleet.relay():
        fleet.push(COUNT)
        await fleet.arrived(100)
        await fleet.client.call(f"CONSUMER.DELETE.{name}")
        body = {"stream_name": fleet.names.stream, "config": config, "action": "create"}
        await fleet.client.call(f"CONSUMER.CREATE.{name}", **body)
        fleet.push(COUNT)
        await fleet.drained()
    assert set(fleet.api.created_ids) >= set(fleet.relayed)
    # Its counts begin anew, so those are not seen as delivered before: at most what was in hand.
    assert fleet.twice <= fleet.redelivered + 2 * PREFETCH
