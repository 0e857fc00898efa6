"""
`hh-exporter check` of an app that publishes: who is let in, and nothing is stored.
"""

from __future__ import annotations

import json
from typing import Any

from hh_exporter._cli._cluster import Cluster
from tests.command import run
from tests.nats import connected, needs_server

pytestmark = needs_server

USERS = """
authorization { users: [
  { user: app, password: canary, permissions: {
      publish: "hh_exporter.events.>", subscribe: "_INBOX.hh_exporter.app.>" } },
  { user: reader, password: canary, permissions: {
      publish: "nothing", subscribe: "_INBOX.hh_exporter.app.>" } },
  { user: operator, password: canary },
] }
"""


async def test_a_stream_that_takes_events_works(nats_server: Cluster) -> None:
    """
    The settings are shown with their origin, and the stream is as it was.
    """
    async with connected(nats_server) as client:
        await client.make_stream("EVENTS", "hh_exporter.events.>")
        finished = await run("check", HH_EXPORTER_JETSTREAM_SERVERS=nats_server.servers)
        assert await client.messages("EVENTS") == 0

    assert finished.status == 0
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert lines[:2] == [
        f"jetstream.servers      {nats_server.servers} (HH_EXPORTER_JETSTREAM_SERVERS)",
        "jetstream.subject      hh_exporter.events (default)",
    ]
    assert lines[-1] == (
        f"works: legacy at {nats_server.servers}: "
        "the stream takes events: servers, user and subject are right"
    )


async def test_without_a_stream_it_fails(nats_server: Cluster) -> None:
    """
    The text says what makes one; with --json a program can read it.
    """
    finished = await run(
        *("check", "--json", "--timeout", "5"), HH_EXPORTER_JETSTREAM_SERVERS=nats_server.servers
    )

    assert finished.status == 1
    [finding] = json.loads(finished.stdout)["findings"]
    assert finding["works"] is False
    assert finding["said"].startswith("no stream has that subject, or no leader: hh-exporter relay")


async def test_it_says_what_a_user_may_not(unused_tcp_port: int) -> None:
    """
    Who may publish needs no other permission; a wrong password and a missing one are told apart.
    """
    async with Cluster(size=1, settings=USERS) as cluster:
        async with connected(cluster, user="operator", password="canary") as client:
            await client.make_stream("EVENTS", "hh_exporter.events.>")

        async def said(user: str, password: str = "canary") -> str:
            finished = await run(
                "check",
                HH_EXPORTER_JETSTREAM_SERVERS=cluster.servers,
                HH_EXPORTER_JETSTREAM_USER=user,
                HH_EXPORTER_JETSTREAM_PASSWORD=password,
            )
            assert "canary" not in finished.stdout + finished.stderr
            return finished.stdout.splitlines()[-1]

        assert (await said("app")).startswith("works: ")
        hint = "check user and password, or credentials, and what they permit"
        refused = await said("reader")
        assert "permissions violation for publish" in refused
        assert refused.endswith(hint)
        assert (await said("app", "wrong")).endswith(f"authorization violation: {hint}")

    nobody = f"nats://127.0.0.1:{unused_tcp_port}"
    finished = await run("check", HH_EXPORTER_JETSTREAM_SERVERS=nobody)
    assert finished.status == 1
    assert finished.stdout.endswith("connection failed (connection refused)\n")


async def test_messages_have_room_for_the_largest_event() -> None:
    """
    Else such events would be dropped; it says which values fit each other.
    """
    async with Cluster(size=1, settings="max_payload: 100000") as cluster:
        async with connected(cluster) as client:
            await client.make_stream("EVENTS", "hh_exporter.events.>")
        fails = await run("check", HH_EXPORTER_JETSTREAM_SERVERS=cluster.servers)
        works = await run(
            "check",
            HH_EXPORTER_JETSTREAM_SERVERS=cluster.servers,
            HH_EXPORTER_JETSTREAM_MAX_EVENT_BYTES="52000",
        )

    assert (fails.status, works.status) == (1, 0)
    assert fails.stdout.endswith(
        "no message of more than 100,000 bytes, headers included: set "
        "HH_EXPORTER_JETSTREAM_MAX_EVENT_BYTES to at most 52,000, or max_payload of the servers "
        "to at least 1,048,000\n"
    )


async def test_another_program_with_that_subject_is_no_stream(nats_server: Cluster) -> None:
    """
    Whatever it answers.
    """
    async with connected(nats_server) as client:

        async def answer(message: Any) -> None:
            await message.respond(next(answers))

        answers = iter((b"hello", b"[]", b'{"stream": "EVENTS", "seq": 1}'))
        await client.client.subscribe("hh_exporter.events.>", cb=answer)
        await client.client.flush()
        for _ in range(3):
            finished = await run("check", HH_EXPORTER_JETSTREAM_SERVERS=nats_server.servers)
            assert finished.status == 1
            assert "no stream: another program has that subject" in finished.stdout
            assert finished.stderr == ""


async def test_credentials_that_can_not_be_read_are_a_wrong_call() -> None:
    """
    As they are an error where an exporter is made.
    """
    finished = await run(
        "check",
        HH_EXPORTER_JETSTREAM_SERVERS="nats://127.0.0.1:1",
        HH_EXPORTER_JETSTREAM_CREDENTIALS="/no/such.creds",
    )

    assert finished.status == 2
    assert "credentials can't be read: /no/such.creds" in " ".join(finished.stderr.split())
