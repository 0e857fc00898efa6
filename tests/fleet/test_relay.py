"""
A relay: what it takes, delivers, gives back and refuses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from hh_exporter import ConfigError, Exporter, QueueLimits, SessionProperties
from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.plan import Names
from tests.conftest import in_both_dialects
from tests.fleet.relays import (
    SOON,
    all_done,
    balanced,
    letters,
    make_relay,
    prepare,
    publish,
    relaying,
    taken,
)
from tests.nats import Client, connected
from tests.scripted_server import (
    ScriptedServer,
    created,
    hang,
    limit_bytes,
    refuse_if,
    status,
)
from tests.support import model_event, until

IDS = [f"e{n}" for n in range(40)]


@pytest.fixture
async def client(nats_server: Cluster, dialect: str) -> AsyncIterator[Client]:
    await prepare(nats_server, Names(dialect=dialect))
    async with connected(nats_server) as client:
        yield client


# What arrives.


async def test_what_apps_publish_is_delivered_and_leaves_the_stream(
    nats_server: Cluster, client: Client, server: ScriptedServer, caplog: pytest.LogCaptureFixture
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
    assert stats.health == "ok"
    assert not caplog.records


@in_both_dialects
async def test_updates_and_sessions_travel(
    nats_server: Cluster, client: Client, server: ScriptedServer, dialect: Literal["legacy", "v1"]
) -> None:
    """
    An update arrives behind its event, and a session's properties with or before its first one.
    """
    session = SessionProperties(session_name="checkout", inputs={"user": "u1"})
    async with Exporter(jetstream=nats_server.servers, batch=SOON, dialect=dialect) as exporter:
        exporter.push(model_event(event_id="e1"), session=session)
        exporter.update("e1", feedback={"rating": 5})
        assert not (await exporter.flush()).left
    async with relaying(nats_server, server, dialect=dialect) as relay:
        await all_done(client, relay)

    assert "e1" in server.created_ids
    assert [update["feedback"] for update in server.updated] == [{"rating": 5}]
    assert b"checkout" in b"".join(request.body for request in server.requests)
    order = [request.update is not None for request in server.requests]
    assert order == sorted(order)


async def test_one_session_is_announced_once(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Messages of one session each carry its properties; these are sent with the first batch alone.
    """
    session = SessionProperties(session_name="checkout")
    async with Exporter(jetstream=nats_server.servers, batch=SOON) as exporter:
        for event_id in IDS:
            exporter.push(
                model_event(event_id=event_id, session_id=session.session_id), session=session
            )
        assert not (await exporter.flush()).left
    async with relaying(nats_server, server, prefetch=8) as relay:
        await all_done(client, relay)

    announcing = [request for request in server.requests if b"checkout" in request.body]
    assert len(announcing) == 1
    assert len(server.created_ids) == len(IDS)


# What is refused.


async def test_refused_events_are_dead_letters_and_their_neighbours_are_delivered(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    A dead letter is the message as it came, with what became of it in its headers.
    """
    server.default = refuse_if(lambda event: event["event_id"] in ("e3", "e7"))
    await publish(nats_server, *IDS)
    async with relaying(nats_server, server) as relay:
        await all_done(client, relay)
        stats = balanced(relay)

    assert sorted(server.created_ids) == sorted(set(IDS) - {"e3", "e7"})
    assert (stats.delivered, stats.rejected, stats.dead_letters) == (38, 2, 2)
    found = await letters(client)
    assert sorted(letter["event_id"] for letter in found) == ["e3", "e7"]
    assert found[0]["Hh-Outcome"] == "rejected"
    assert found[0]["Hh-Status"] == "400"
    assert "missing model" in found[0]["Hh-Answer"]


async def test_too_large_events_are_dead_letters(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    One that the API refuses for its size alone is kept, with the reason.
    """
    server.default = limit_bytes(10_000)
    await publish(nats_server, "small")
    await publish(nats_server, "large", metadata={"text": "x" * 20_000})
    async with relaying(nats_server, server) as relay:
        await all_done(client, relay)

    assert server.created_ids == ["small"]
    (letter,) = await letters(client)
    assert (letter["event_id"], letter["Hh-Reason"]) == ("large", "too_large")


async def test_what_memory_can_never_hold_is_a_dead_letter(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    An event larger than the whole queue is not taken again and again.
    """
    await publish(nats_server, "large", metadata={"text": "x" * 20_000})
    await publish(nats_server, "small")
    queue = QueueLimits(max_bytes=10_000)
    async with relaying(nats_server, server, queue=queue) as relay:
        await all_done(client, relay)
        stats = balanced(relay)

    assert server.created_ids == ["small"]
    assert (stats.recovered, stats.dropped) == (2, 1)
    (letter,) = await letters(client)
    assert (letter["event_id"], letter["Hh-Reason"]) == ("large", "too_large")


async def test_what_is_no_event_of_ours_is_a_dead_letter(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    A message of somebody else is set aside as it is, instead of coming again for ever.
    """
    await client.publish("hh_exporter.events.legacy", b"not of ours", X_Tag="7")
    await publish(nats_server, "e1")
    async with relaying(nats_server, server) as relay:
        await all_done(client, relay)
        stats = balanced(relay)

    assert server.created_ids == ["e1"]
    assert (stats.delivered, stats.dropped, stats.dead_letters) == (1, 1, 1)
    (letter,) = await letters(client)
    assert letter["data"] == b"not of ours"
    assert letter["Hh-Reason"] == "invalid"


async def test_a_dead_letter_that_nobody_takes_holds_its_event(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    While the stream of dead letters is full, an event stays in its stream, and health says so.
    """
    await client.call("STREAM.UPDATE.HH_DEAD", **await config_of(client, "HH_DEAD", max_msgs=1))
    await client.publish("hh_exporter.dead.legacy", b"fills it")
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    await publish(nats_server, "bad", "good")
    async with relaying(nats_server, server) as relay:
        await until(lambda: "maximum messages" in balanced(relay).health_reason)
        stats = balanced(relay)
        assert stats.health == "degraded"
        assert (stats.rejected, stats.letters_waiting, stats.dead_letters) == (1, 1, 0)
        await until(lambda: (balanced(relay).delivered, balanced(relay).unconfirmed) == (1, 0))
        assert await client.messages("HH_EVENTS") == 1
        await client.call(
            "STREAM.UPDATE.HH_DEAD", **await config_of(client, "HH_DEAD", max_msgs=-1)
        )
        await all_done(client, relay)
        assert balanced(relay).health == "ok"

    assert [letter.get("event_id") for letter in await letters(client)] == [None, "bad"]


# What is given back.


async def test_a_stop_gives_back_what_is_not_delivered(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Another relay has it at once, not after ack_wait, and nothing is sent twice.
    """
    await publish(nats_server, *IDS)
    server.default = hang()
    relay = make_relay(nats_server.servers, server, prefetch=20, close_timeout=0.2)
    async with relay:
        await until(lambda: balanced(relay).in_flight)
    stats = balanced(relay)
    assert stats.returned == stats.recovered > 0
    assert (stats.queued, stats.in_flight, stats.in_hand) == (0, 0, 0)
    server.default = created()
    async with relaying(nats_server, server) as other:
        await all_done(client, other)
        assert balanced(other).redelivered == stats.returned

    assert sorted(server.created_ids) == sorted(IDS)


async def test_a_stop_asks_for_no_more_first(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    What is published while a relay delivers its last batch is not given to it.
    """
    server.default = hang()
    await publish(nats_server, "e1")
    relay = make_relay(nats_server.servers, server, close_timeout=20.0)
    await relay.start()
    await until(lambda: balanced(relay).in_flight)
    closing = asyncio.create_task(relay.aclose())
    await until(lambda: relay.stats().health == "closed")
    await publish(nats_server, *IDS)
    server.default = created()
    server.release()
    await closing

    stats = balanced(relay)
    assert (stats.recovered, stats.delivered, stats.returned) == (1, 1, 0)
    assert await client.messages("HH_EVENTS") == len(IDS)


async def test_a_refused_key_gives_everything_back(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    A suspended relay holds nothing that another could deliver, but for what probes.
    """
    await publish(nats_server, *IDS)
    server.default = status(401)
    async with ScriptedServer() as good, relaying(nats_server, server) as refused:
        await until(lambda: balanced(refused).health == "suspended" and not taken(refused))
        assert balanced(refused).returned
        async with relaying(nats_server, good) as relay:
            await until(lambda: balanced(relay).delivered + taken(refused) == len(IDS))
            await until(lambda: not taken(refused))
            await all_done(client, relay, refused)

        assert sorted(good.created_ids) == sorted(IDS)
        assert balanced(refused).delivered == 0


async def test_a_suspended_relay_takes_up_work_once_it_is_let(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    What probes is taken from the stream, so nothing needs to wait here for that.
    """
    await publish(nats_server, *IDS)
    server.default = status(401)
    async with relaying(nats_server, server) as relay:
        await until(lambda: balanced(relay).health == "suspended" and not taken(relay))
        server.default = created()
        await all_done(client, relay)
        assert balanced(relay).health == "ok"

    assert sorted(server.created_ids) == sorted(IDS)


async def test_an_update_that_came_before_its_event_comes_again(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Another relay may have its event: HTTP 404 gives it back, and suspends nobody.
    """
    async with Exporter(jetstream=nats_server.servers, batch=SOON) as exporter:
        for event_id in IDS[:10]:
            exporter.update(event_id, metadata={"n": 1})
        assert not (await exporter.flush()).left
    server.default = status(404, b'{"error": "no such event"}')
    async with relaying(nats_server, server) as relay:
        await until(lambda: balanced(relay).returned == 10)
        assert balanced(relay).books.breaker == "closed"
        assert balanced(relay).rejected == 0
        server.default = created()
        await all_done(client, relay)
        stats = balanced(relay)

    assert (stats.recovered, stats.delivered, stats.returned) == (20, 10, 10)
    assert len(server.updated) == 10


# What is checked.


async def test_it_does_not_start_without_its_streams(
    nats_server: Cluster, server: ScriptedServer
) -> None:
    """
    It names what is missing, and how to make it.
    """
    relay = make_relay(nats_server.servers, server)

    with pytest.raises(ConfigError, match="hh-exporter relay --setup"):
        await relay.start()
    await relay.aclose()


async def test_it_does_not_start_on_a_stream_that_loses_events(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Nothing is taken from a stream that drops its oldest messages when it is full.
    """
    changed = await config_of(client, "HH_EVENTS", discard="old")
    assert "error" not in await client.call("STREAM.UPDATE.HH_EVENTS", **changed)
    await publish(nats_server, "e1")
    relay = make_relay(nats_server.servers, server)

    with pytest.raises(ConfigError, match="discard old"):
        await relay.start()
    await relay.aclose()

    assert not server.requests


async def test_relays_say_who_they_are(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Each answers a question on its subject with its books.
    """
    await publish(nats_server, *IDS)
    async with relaying(nats_server, server) as relay:
        await all_done(client, relay)
        reply = await client.client.request("hh_exporter.relays", b"", timeout=10.0)

    answer: dict[str, Any] = json.loads(reply.data)
    assert answer["id"] == relay.id
    assert answer["dialect"] == "legacy"
    assert answer["books"]["delivered"] == len(IDS)
    assert answer["health"] == "ok"


async def config_of(client: Client, stream: str, **changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = (await client.call(f"STREAM.INFO.{stream}"))["config"]
    return config | changes
