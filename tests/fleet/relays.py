"""
Relays in tests: set up, started, and their books looked at.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.parser import HeaderParser
from typing import Any

from hh_exporter import Exporter
from hh_exporter._cli._cluster import Cluster
from hh_exporter._dialects.messages import read_message
from hh_exporter._environment import read_settings
from hh_exporter._fleet.books import RelayStats
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.relay import Relay
from hh_exporter._fleet.streams import set_up
from hh_exporter._settings.batch import BatchLimits
from tests.fleet.connections import opened, soon
from tests.nats import Client
from tests.scripted_server import ScriptedServer
from tests.support import push_all, until

__all__ = [
    "SOON",
    "all_done",
    "balanced",
    "letters",
    "make_relay",
    "prepare",
    "publish",
    "relaying",
    "taken",
]

SOON = BatchLimits(linger=0.01)


async def prepare(cluster: Cluster, names: Names | None = None, **access: Any) -> None:
    """
    Create the streams and the consumer, as the user of *access*.
    """
    plan = Plan(max_bytes=2**28, dead_max_bytes=2**26, names=names or Names())
    async with opened(cluster, **access) as connection:
        await set_up(connection, plan, soon())


def make_relay(
    servers: str, server: ScriptedServer, *, names: Names | None = None, **given: Any
) -> Relay:
    """
    Make a relay from *servers* to *server*; settings and options of `Relay` in *given*.
    """
    options = {
        key: given.pop(key) for key in ("prefetch", "clock", "random", "on_outcome") if key in given
    }
    settings = read_settings(
        {"base_url": server.url, "jetstream": servers, "batch": SOON, **given}, {}
    )
    return Relay(settings=settings, names=names or Names(dialect=settings.dialect), **options)


@asynccontextmanager
async def relaying(cluster: Cluster, server: ScriptedServer, **given: Any) -> AsyncIterator[Relay]:
    async with make_relay(cluster.servers, server, **given) as relay:
        yield relay
        balanced(relay)


def balanced(relay: Relay) -> RelayStats:
    """
    Read the books of *relay*, which must balance.
    """
    stats = relay.stats()
    assert stats.recovered == (
        stats.delivered
        + stats.rejected
        + stats.dropped
        + stats.returned
        + stats.queued
        + stats.in_flight
    )
    return stats


def taken(relay: Relay) -> int:
    """
    Count what *relay* has and has not settled.
    """
    stats = balanced(relay)
    return stats.queued + stats.in_flight


async def letters(client: Client, stream: str = "HH_DEAD") -> list[dict[str, Any]]:
    """
    Read the dead letters: headers, the id of the event, and `data`.
    """
    found = []
    state = (await client.call(f"STREAM.INFO.{stream}"))["state"]
    for seq in range(max(1, state["first_seq"]), state["last_seq"] + 1):
        message = (await client.call(f"STREAM.MSG.GET.{stream}", seq=seq))["message"]
        head = b64decode(message.get("hdrs", "")).decode().partition("\r\n")[2]
        letter: dict[str, Any] = dict(HeaderParser().parsestr(head))
        letter["data"] = b64decode(message["data"])
        record = read_message(letter["data"], letter, 0.0)
        found.append(letter | ({"event_id": record.event_id} if record else {}))
    return found


async def publish(cluster: Cluster, *event_ids: str, **fields: Any) -> None:
    """
    Push events to an exporter that publishes them, and wait until the stream has them.
    """
    async with Exporter(jetstream=cluster.servers, batch=SOON) as exporter:
        push_all(exporter, *event_ids, **fields)
        result = await exporter.flush()
    assert result.relayed == len(event_ids)


async def all_done(client: Client, *relays: Relay) -> None:
    """
    Wait until nothing is left in the stream; the books of *relays* balance meanwhile.
    """

    def is_done() -> bool:
        return not any(
            (stats := balanced(relay)).queued + stats.in_flight + stats.unconfirmed
            for relay in relays
        )

    while await client.messages("HH_EVENTS"):
        await until(is_done)
