"""
Setting up the streams and the consumer creates what is missing, and changes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import attrs
import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.advice import compare
from hh_exporter._fleet.api import Api, ApiError
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.streams import Part, look, set_up
from tests.fleet.connections import opened, soon
from tests.nats import Client, connected, running

NAMES = Names()
PLAN = Plan(max_bytes=50_000_000, dead_max_bytes=5_000_000)
PARTS = ("stream HH_EVENTS", "consumer relay", "stream HH_DEAD")
WANTED = {
    "HH_EVENTS": {
        "subjects": ["hh_exporter.events.>"],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_bytes": 50_000_000,
        "max_age": 0,
        "max_msgs": -1,
        "max_msg_size": 1_100_000,
        "duplicate_window": 600 * 10**9,
    },
    "HH_DEAD": {
        "subjects": ["hh_exporter.dead.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": 5_000_000,
        "max_age": 30 * 86_400 * 10**9,
        "max_msgs": -1,
        "max_msg_size": -1,
    },
}
CONSUMER = {
    "durable_name": "relay",
    "ack_policy": "explicit",
    "ack_wait": 60 * 10**9,
    "deliver_policy": "all",
    "filter_subject": "hh_exporter.events.legacy",
    "max_deliver": -1,
    "max_ack_pending": 10_000,
    "max_waiting": 512,
}


async def set_up_on(servers: Cluster, plan: Plan = PLAN) -> list[Part]:
    async with opened(servers) as connection:
        return await set_up(connection, plan, soon())


async def configs(client: Client) -> dict[str, Any]:
    """
    Read the configuration of all that there is.
    """
    found = {}
    for name in sorted(await client.streams()):
        found[name] = (await client.call(f"STREAM.INFO.{name}"))["config"]
        listed = await client.call(f"CONSUMER.LIST.{name}")
        found |= {f"{name}/{one['name']}": one["config"] for one in listed["consumers"] or ()}
    return found


def part_of(config: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: config.get(key) for key in keys}


async def test_what_is_missing_is_created_in_three_replicas(cluster: Cluster) -> None:
    """
    In a cluster of three, all three keep streams and consumer, with the settings of the table.
    """
    parts = await set_up_on(cluster)

    assert [(part.what, part.fate) for part in parts] == [(what, "created") for what in PARTS]
    async with connected(cluster) as client:
        found = await configs(client)
    assert found.keys() == {*WANTED, "HH_EVENTS/relay"}
    for name, config in WANTED.items():
        assert part_of(found[name], {**config, "num_replicas": 3}) == {**config, "num_replicas": 3}
    assert part_of(found["HH_EVENTS/relay"], CONSUMER) == CONSUMER


async def test_what_was_set_up_is_right(cluster: Cluster) -> None:
    """
    A second call finds everything right, and changes nothing; and there is nothing to warn of.
    """
    await set_up_on(cluster)
    async with connected(cluster) as client:
        before = await configs(client)
        parts = await set_up_on(cluster)
        after = await configs(client)

    assert [part.fate for part in parts] == ["right"] * 3
    assert after == before
    async with opened(cluster) as connection:
        state = await look(connection, NAMES, soon(), with_limits=True)
    assert compare(state) == []


async def test_a_server_by_itself_keeps_one_replica(nats_server: Cluster) -> None:
    """
    Where three replicas can't be, and were not asked for, there is one.
    """
    parts = await set_up_on(nats_server)

    assert [part.fate for part in parts] == ["created"] * 3
    async with connected(nats_server) as client:
        assert (await client.call("STREAM.INFO.HH_EVENTS"))["config"]["num_replicas"] == 1


async def test_replicas_that_were_asked_for_are_not_fewer(nats_server: Cluster) -> None:
    """
    Where the given number of replicas can't be, that is an error, and nothing is created.
    """
    with pytest.raises(ApiError, match="--replicas 1"):
        await set_up_on(nats_server, attrs.evolve(PLAN, replicas=3))
    async with connected(nats_server) as client:
        assert await client.streams() == []


async def test_two_servers_keep_one_replica() -> None:
    """
    A cluster that has too few servers for three replicas keeps one, as a single server does.
    """
    async with Cluster(size=2) as cluster:
        parts = await set_up_on(cluster)
        async with opened(cluster) as connection:
            state = await look(connection, NAMES, soon())

    assert [part.fate for part in parts] == ["created"] * 3
    assert {advice.key for advice in compare(state)} == {"replicas"}


async def test_a_server_that_is_away_is_no_reason_for_one_replica(hurt_cluster: Cluster) -> None:
    """
    With one of three servers down, either three replicas are made, or that is an error.
    """
    await hurt_cluster.kill(3)
    with suppress(ApiError):
        await set_up_on(hurt_cluster)
    async with connected(hurt_cluster.addresses[0]) as client:
        for name in await client.streams():
            assert (await client.call(f"STREAM.INFO.{name}"))["config"]["num_replicas"] == 3


@pytest.mark.parametrize(
    ("stream", "consumer", "differences"),
    [
        ({"discard": "old"}, {}, {"stream HH_EVENTS": ["discard is old, and not new"]}),
        (
            {"max_bytes": 1_000_000, "max_age": 3_600 * 10**9},
            {"ack_wait": 6 * 10**9, "max_deliver": 5},
            {
                "stream HH_EVENTS": [
                    "max_bytes is 1,000,000, and not 50,000,000",
                    "max_age is 3600 s, and not 0 s",
                ],
                "consumer relay": [
                    "ack_wait is 6 s, and not 60 s",
                    "max_deliver is 5, and not -1",
                ],
            },
        ),
    ],
)
async def test_what_differs_is_told_and_stays_as_it_is(
    nats_server: Cluster,
    stream: dict[str, Any],
    consumer: dict[str, Any],
    differences: dict[str, list[str]],
) -> None:
    """
    Neither a stream nor a consumer of these names is changed, whatever its settings.
    """
    ours = PLAN.events(1) | stream
    async with connected(nats_server) as client:
        await client.make_stream(ours.pop("name"), *ours.pop("subjects"), **ours)
        taking = PLAN.consumer() | consumer
        await client.make_consumer("HH_EVENTS", taking.pop("durable_name"), **taking)
        before = await configs(client)
        parts = await set_up_on(nats_server)
        after = await configs(client)

    assert {p.what: list(p.differences) for p in parts if p.fate == "differs"} == differences
    assert after.pop("HH_DEAD")
    assert after == before


async def test_a_consumer_that_another_makes_meanwhile_is_not_overwritten(
    nats_server: Cluster,
) -> None:
    """
    Between looking and creating another one may come: the server refuses ours then.
    """
    await set_up_on(nats_server)
    async with connected(nats_server) as client, opened(nats_server) as connection:
        await client.call("CONSUMER.DELETE.HH_EVENTS.relay")
        other = {"filter_subject": "hh_exporter.events.legacy", "ack_wait": 7 * 10**9}
        await client.make_consumer("HH_EVENTS", "relay", **other)
        with pytest.raises(ApiError, match="consumer already exists"):
            await Api(connection).call(
                "CONSUMER.CREATE.HH_EVENTS.relay", PLAN.making_consumer(), deadline=soon()
            )
        found = await client.call("CONSUMER.INFO.HH_EVENTS.relay")

    assert found["config"]["ack_wait"] == 7 * 10**9


async def test_two_that_set_up_at_once_agree(cluster: Cluster) -> None:
    """
    Whoever is first, both end with the same, and neither fails.
    """
    both = await asyncio.gather(set_up_on(cluster), set_up_on(cluster))

    assert {part.fate for parts in both for part in parts} <= {"created", "right"}


@pytest.mark.parametrize(
    ("plan", "hint"),
    [
        (attrs.evolve(PLAN, max_bytes=2**40), "smaller --max-bytes"),
        (attrs.evolve(PLAN, names=Names(stream="OTHER")), "another --subject"),
        (
            attrs.evolve(PLAN, names=Names(consumer="second")),
            "another consumer takes the events of that dialect",
        ),
    ],
    ids=["storage", "subject", "consumer"],
)
async def test_what_the_server_refuses_is_said_with_what_to_do(
    nats_server: Cluster, plan: Plan, hint: str
) -> None:
    """
    No room for the stream, subjects that another one has, a dialect that another consumer takes.
    """
    if plan.names != NAMES:
        await set_up_on(nats_server)
    with pytest.raises(ApiError) as caught:
        await set_up_on(nats_server, plan)

    assert hint in caught.value.problem
    assert f"({caught.value.code})" in caught.value.problem


async def test_each_dialect_has_a_consumer(nats_server: Cluster) -> None:
    """
    One stream serves both dialects, with a consumer for each.
    """
    other = attrs.evolve(PLAN, names=Names(dialect="v1", consumer="relay-v1"))
    await set_up_on(nats_server)
    parts = await set_up_on(nats_server, other)

    assert [part.fate for part in parts] == ["right", "created", "right"]
    async with opened(nats_server) as connection:
        assert not [
            a for a in compare(await look(connection, other.names, soon())) if a.loses_events
        ]


def test_a_server_without_jetstream_is_named() -> None:
    """
    Where JetStream is off, that is what is said, and not that a stream is missing.
    """
    settings = "accounts { OFF { users: [{user: a, password: b}] } }"
    with running(Cluster(size=1, settings=settings)) as server:

        async def attempt() -> None:
            async with opened(server, user="a", password="b") as connection:
                await set_up(connection, PLAN, soon())

        with pytest.raises(ApiError, match="enable JetStream for the account"):
            asyncio.run(attempt())
