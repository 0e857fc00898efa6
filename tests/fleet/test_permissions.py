"""
docs/nats.conf lets each user do its work, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hh_exporter import Exporter, JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli._server import find_nats_server
from hh_exporter._fleet.advice import compare
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.streams import State, look, set_up
from hh_exporter._transport.nats import Connection, Lost
from tests.command import run
from tests.docs.pages import DOCS
from tests.fleet.connections import opened, soon
from tests.fleet.relays import SOON, make_relay
from tests.nats import running
from tests.scripted_server import ScriptedServer, created, refuse_if
from tests.support import model_event, until

CONF = DOCS / "nats.conf"
NAMES = Names()
REFUSED: dict[str, list[str]] = {
    "app": [
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.HH_EVENTS",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.MSG.GET.HH_EVENTS",
        "$JS.API.DIRECT.GET.HH_EVENTS",
        "$JS.API.STREAM.PURGE.HH_EVENTS",
        "$JS.API.STREAM.DELETE.HH_EVENTS",
        "$JS.API.CONSUMER.CREATE.HH_EVENTS.mine",
        "$JS.API.CONSUMER.MSG.NEXT.HH_EVENTS.relay",
        "$JS.ACK.HH_EVENTS.relay.1.1.1.1.1",
        "hh_exporter.dead.legacy",
        "hh_exporter.relays",
        "hh_exporter.events",
    ],
    "relay": [
        "hh_exporter.events.legacy",
        "$JS.API.STREAM.CREATE.HH_MORE",
        "$JS.API.STREAM.UPDATE.HH_EVENTS",
        "$JS.API.STREAM.DELETE.HH_EVENTS",
        "$JS.API.STREAM.PURGE.HH_EVENTS",
        "$JS.API.STREAM.MSG.GET.HH_DEAD",
        "$JS.API.DIRECT.GET.HH_DEAD",
        "$JS.API.STREAM.MSG.DELETE.HH_EVENTS",
        "$JS.API.CONSUMER.CREATE.HH_EVENTS.relay",
        "$JS.API.CONSUMER.DURABLE.CREATE.HH_EVENTS.relay",
        "$JS.API.CONSUMER.DELETE.HH_EVENTS.relay",
        "$JS.API.CONSUMER.PAUSE.HH_EVENTS.relay",
        "$JS.API.CONSUMER.MSG.NEXT.HH_DEAD.any",
        "hh_exporter.relays",
    ],
    "operator": ["hh_exporter.dead.legacy", "$JS.ACK.HH_EVENTS.relay.1.1.1.1.1", "other"],
}
"""What the users of each role may not publish."""

UNHEARD: dict[str, list[str]] = {
    "app": [
        *("hh_exporter.events.>", "hh_exporter.dead.>", "hh_exporter.relays", ">"),
        *("_INBOX.>", "_INBOX.hh_exporter.relay.>", "_INBOX.hh_exporter.operator.>"),
    ],
    "relay": [
        *("hh_exporter.events.>", "hh_exporter.dead.>", ">", "_INBOX.>"),
        *("_INBOX.hh_exporter.app.>", "_INBOX.hh_exporter.operator.>"),
    ],
    "operator": ["hh_exporter.events.>", ">", "_INBOX.>", "_INBOX.hh_exporter.app.>"],
}
"""What they may not subscribe to."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """
    A server with the accounts of the file as they stand, and no streams.
    """
    text = CONF.read_text()
    with running(Cluster(size=1, settings=text[text.index("\naccounts {") :])) as cluster:
        yield cluster


def access(role: str) -> dict[str, Any]:
    """
    Give the user of a role and its password, as the file has them.
    """
    return {"user": role, "password": f"change-me-{role}"}


async def set_up_as_operator(server: Cluster) -> None:
    plan = Plan(max_bytes=40_000_000, dead_max_bytes=4_000_000)
    async with opened(server, "operator", **access("operator")) as connection:
        await set_up(connection, plan, soon())


async def look_as_operator(server: Cluster) -> State:
    async with opened(server, "operator", **access("operator")) as connection:
        return await look(connection, NAMES, soon(), with_limits=True)


def test_the_file_is_a_configuration() -> None:
    """
    The server takes it as it stands.
    """
    program = find_nats_server()
    tested = subprocess.run((program, "--config", CONF, "-t"), capture_output=True, check=False)

    assert tested.returncode == 0, tested.stderr


async def test_each_role_can_do_its_work(server: Cluster) -> None:
    """
    The operator sets up, apps publish, a relay delivers and keeps dead letters, and the operator
    sees it all, and has the relay try again.
    """
    environ = {"HH_EXPORTER_JETSTREAM_PASSWORD": access("operator")["password"]}
    operator = ("--servers", server.servers, "--user", "operator")
    finished = await run("relay", "--setup", "--max-bytes", "40MB", *operator, **environ)
    assert (finished.status, finished.stderr) == (0, "")
    stream = JetStream(server.servers, **access("app"))
    async with Exporter(jetstream=stream, batch=SOON) as exporter:
        for model in ("good", "a bad one", "good"):
            exporter.push(model_event(model=model))
        result = await exporter.flush(timeout=30)
    assert result.relayed == 3

    async with ScriptedServer() as api:
        api.default = refuse_if(lambda event: "a bad one" in str(event))
        stream = JetStream(server.servers, **access("relay"))
        async with make_relay("", api, jetstream=stream) as relay:
            await until(lambda: relay.stats().delivered == 2 and relay.stats().dead_letters == 1)
            finished = await run("fleet", "--json", *operator, **environ)
            api.default = created()
            replayed = await run(
                *("dead-letters", "replay", "--all", "--jetstream", server.servers),
                HH_EXPORTER_JETSTREAM_USER="operator",
                HH_EXPORTER_JETSTREAM_PASSWORD=environ["HH_EXPORTER_JETSTREAM_PASSWORD"],
            )
            await until(lambda: relay.stats().delivered == 3)
    told = json.loads(finished.stdout)
    assert (replayed.status, replayed.stderr) == (0, "")

    assert (finished.status, finished.stderr) == (0, "")
    assert told["streams"]["events"]["messages"] == 0
    assert told["streams"]["dead"]["messages"] == 1
    [answer] = told["relays"]
    assert (answer["id"], answer["books"]["delivered"]) == (relay.id, 2)


def is_refused(connection: Connection) -> bool:
    return connection.is_refused and connection.fault.startswith("permissions violation")


@pytest.mark.parametrize(
    ("role", "subject"), [(role, s) for role, subjects in REFUSED.items() for s in subjects]
)
async def test_what_a_role_may_not_publish_is_refused(
    server: Cluster, role: str, subject: str
) -> None:
    """
    Neither the API of JetStream, nor acknowledgements, nor the messages of others.
    """
    async with opened(server, role, **access(role)) as connection:
        with pytest.raises(Lost):
            await connection.request(subject, b"{}", soon())

        assert is_refused(connection)
        assert subject.lower() in connection.fault


@pytest.mark.parametrize(
    ("role", "subject"), [(role, s) for role, subjects in UNHEARD.items() for s in subjects]
)
async def test_what_a_role_may_not_hear_is_refused(
    server: Cluster, role: str, subject: str
) -> None:
    """
    Neither events, nor what is answered to users of other roles.
    """
    async with opened(server, role, **access(role)) as connection:
        refused = asyncio.Event()
        connection.on_fault.add(refused.set)
        await connection.subscribe(subject, lambda *_: None)
        await refused.wait()

        assert is_refused(connection)
        assert f'to "{subject.lower()}"' in connection.fault


async def test_what_is_refused_changes_nothing(server: Cluster) -> None:
    """
    After all that was tried, streams, consumer and messages are as they were.
    """
    await set_up_as_operator(server)
    before = await look_as_operator(server)
    for role in ("app", "relay"):
        for subject in REFUSED[role]:
            async with opened(server, role, **access(role)) as connection:
                await connection.publish(subject, b"{}")
                await connection.flush(soon())

    assert await look_as_operator(server) == before
    assert compare(before) == []


async def test_nobody_gets_in_without_a_password(server: Cluster) -> None:
    """
    There is no user without one.
    """
    finished = await run("fleet", "--servers", server.servers)

    assert finished.status == 1
    assert "authorization violation: check user and password" in finished.stderr


async def test_a_command_with_too_few_permissions_says_which(server: Cluster) -> None:
    """
    Whoever uses the wrong user for a command learns what it may not do.
    """
    finished = await run(
        *("fleet", "--servers", server.servers, "--user", "app"),
        HH_EXPORTER_JETSTREAM_PASSWORD=access("app")["password"],
    )

    assert finished.status == 1
    assert "permission" in finished.stderr
    assert access("app")["password"] not in finished.stderr + finished.stdout
