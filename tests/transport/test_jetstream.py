"""
One attempt at a stream: what it has afterwards, and what is said where it has less.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from typing import Any

import pytest

from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import Deadline, SystemClock
from hh_exporter._dialects.messages import Messages, OutMessage, Receipt, write_message
from hh_exporter._records import OTHERS, Record, Session
from hh_exporter._transport.client import CarefulClient
from hh_exporter._transport.jetstream import JetStreamTransport
from tests.nats import connected, needs_server
from tests.support import PATIENCE, FakeClock, until

SUBJECT = "hh_exporter.events.legacy"
STREAM = "EVENTS"

USERS = """
authorization {
  users: [
    { user: admin, password: secret }
    { user: app, password: secret, permissions: {
        publish: ["hh_exporter.events.>"], subscribe: ["_INBOX.hh_exporter.app.>"] } }
    { user: reader, password: secret, permissions: {
        publish: ["other.>"], subscribe: ["_INBOX.>"] } }
  ]
}
"""


def messages(*event_ids: str, size: int = 10, session: Session | None = None) -> Messages:
    return Messages([message(event_id, size, session) for event_id in event_ids])


def message(event_id: str, size: int = 10, session: Session | None = None) -> OutMessage:
    record = Record(event_id, b"x" * size, 0.0)
    return write_message((record,), record.data, session, "me")


def transport_to(cluster: Cluster, clock: Any = None, **options: Any) -> JetStreamTransport:
    access = JetStream(cluster.servers, **options)
    return JetStreamTransport(access=access, timeout=PATIENCE, clock=clock or SystemClock())


@pytest.fixture
async def transport(nats_server: Cluster) -> AsyncIterator[JetStreamTransport]:
    async with transport_to(nats_server) as transport:
        yield transport


async def have_stream(cluster: Cluster, **settings: Any) -> None:
    async with connected(cluster) as client:
        await client.make_stream(STREAM, "hh_exporter.events.>", **settings)


async def stored(cluster: Cluster, **options: Any) -> int:
    async with connected(cluster, **options) as client:
        return await client.messages(STREAM)


def numbered(count: int, prefix: str = "e") -> Iterable[str]:
    return [f"{prefix}{n}" for n in range(count)]


async def test_all_that_is_acknowledged_is_stored(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    A body is as many messages as it has records.
    """
    await have_stream(nats_server)

    receipt = await transport.send("POST", SUBJECT, messages(*numbered(300)))

    assert set(receipt.stored) == set(numbered(300))
    assert (receipt.status, receipt.failure, receipt.hint) == (200, "", "")
    assert receipt.duplicates == 0
    assert await stored(nats_server) == 300


@pytest.mark.parametrize("has_parts", [True, False], ids=["fast", "slow"])
async def test_messages_are_stored_as_they_were_made(
    nats_server: Cluster, monkeypatch: pytest.MonkeyPatch, *, has_parts: bool
) -> None:
    """
    By the private parts of the client of NATS, and by its own ways where it has those no more.
    """
    monkeypatch.setattr(CarefulClient, "has_parts", has_parts)
    await have_stream(nats_server)
    records = [
        Record("plain", b"{}", 0.0),
        Record("with spaces, ä and \r\n", b'{"x":"\xc3\xa4"}', 0.0, route=OTHERS),
        Record("large", b"x" * 300_000, 0.0),
    ]
    made = [write_message((each,), each.data, Session("s/é", b"{}"), "me") for each in records]

    async with transport_to(nats_server) as transport:
        receipt = await transport.send("POST", SUBJECT, Messages(made))

    async with connected(nats_server) as client:
        found = [await client.call(f"STREAM.MSG.GET.{STREAM}", seq=n) for n in (1, 2, 3)]
    assert list(receipt.stored) == [each.event_id for each in records]
    for message, answer in zip(made, found, strict=True):
        assert b64decode(answer["message"]["hdrs"]) == message.head
        assert b64decode(answer["message"]["data"]) == message.data


async def test_what_is_published_again_is_stored_once(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    The stream knows it, whether it comes with its session or without.
    """
    await have_stream(nats_server)

    await transport.send("POST", SUBJECT, messages("a", "b", session=Session("s", b"{}")))
    receipt = await transport.send("POST", SUBJECT, messages("a", "b", "c"))

    assert set(receipt.stored) == {"a", "b", "c"}
    assert receipt.duplicates == 2
    assert await stored(nats_server) == 3


async def test_bodies_at_once_have_their_own_answers(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    One connection serves all, which the first of them opens.
    """
    await have_stream(nats_server)

    bodies = [list(numbered(50, prefix)) for prefix in "abcdefgh"]
    receipts = await asyncio.gather(
        *(transport.send("POST", SUBJECT, messages(*body)) for body in bodies)
    )

    assert [sorted(receipt.stored) for receipt in receipts] == [sorted(body) for body in bodies]
    assert await stored(nats_server) == 400


async def test_without_a_stream_nothing_is_stored(transport: JetStreamTransport) -> None:
    """
    The server says that nobody takes the subject.
    """
    receipt = await transport.send("POST", SUBJECT, messages("a", "b"))

    assert receipt == Receipt(
        status=503, failure="no stream has that subject, or no leader", stored=[], too_large=[]
    )


async def test_a_full_stream_takes_no_more(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    What it has it keeps, and it says of which it has no room.
    """
    await have_stream(nats_server, max_msgs=2)

    receipt = await transport.send("POST", SUBJECT, messages("a", "b", "c"))

    assert set(receipt.stored) == {"a", "b"}
    assert (receipt.status, receipt.failure) == (503, "maximum messages exceeded (10077)")


async def test_what_a_stream_finds_too_large_is_told_apart(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    Its neighbours are stored.
    """
    await have_stream(nats_server, max_msg_size=1000)
    body = Messages([message("a"), message("b", 2000), message("c")])

    receipt = await transport.send("POST", SUBJECT, body)

    assert set(receipt.stored) == {"a", "c"}
    assert (receipt.too_large, receipt.status) == (["b"], 200)


async def test_what_a_server_finds_too_large_is_not_sent(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    It would close the connection, on which others wait for their answers.
    """
    await have_stream(nats_server)
    async with connected(nats_server) as client:
        most = client.client.max_payload
    fits = most - len(message("b", 0).head)
    body = Messages([message("a", fits + 1), message("b", fits), message("c")])

    receipt = await transport.send("POST", SUBJECT, body)

    assert set(receipt.stored) == {"b", "c"}
    assert receipt.too_large == ["a"]
    again = await transport.send("POST", SUBJECT, messages("d"))
    assert again.stored == ["d"]


async def test_headers_that_no_stream_takes_are_too_large(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    An event id can be as long.
    """
    await have_stream(nats_server)

    receipt = await transport.send("POST", SUBJECT, messages("i" * 70_000, "a"))

    assert receipt.stored == ["a"]
    assert len(receipt.too_large) == 1


async def test_where_nobody_listens_there_is_no_status(unused_tcp_port: int) -> None:
    """
    And no attempt goes on for ever.
    """
    access = JetStream(f"nats://127.0.0.1:{unused_tcp_port}")
    async with JetStreamTransport(
        access=access, timeout=PATIENCE, clock=SystemClock()
    ) as transport:
        receipt = await transport.send("POST", SUBJECT, messages("a"))

    assert receipt.status is None
    assert receipt.failure == "connection failed (connection refused)"
    assert not receipt.hint


async def test_the_next_server_is_tried(nats_server: Cluster, unused_tcp_port: int) -> None:
    """
    Whichever of them is there.
    """
    await have_stream(nats_server)
    access = JetStream(f"nats://127.0.0.1:{unused_tcp_port},{nats_server.servers}")
    for _ in range(5):
        async with JetStreamTransport(
            access=access, timeout=PATIENCE, clock=SystemClock()
        ) as transport:
            assert (await transport.send("POST", SUBJECT, messages("a"))).stored == ["a"]


@needs_server
async def test_who_is_refused_is_told_what_to_check() -> None:
    """
    A wrong password, and a right one that permits too little; more of the same won't help.
    """
    async with Cluster(size=1, settings=USERS) as cluster:
        admin = {"user": "admin", "password": "secret"}
        async with connected(cluster, **admin) as client:
            await client.make_stream(STREAM, "hh_exporter.events.>")

        async def attempt(user: str, password: str) -> Receipt:
            async with transport_to(cluster, user=user, password=password) as transport:
                return await transport.send("POST", SUBJECT, messages("a"))

        wrong = await attempt("app", "wrong")
        assert (wrong.status, wrong.failure) == (None, "authorization violation")
        assert "HH_EXPORTER_JETSTREAM_PASSWORD" in wrong.hint
        barred = await attempt("reader", "secret")
        assert barred.failure.startswith("permissions violation for publish")
        assert "HH_EXPORTER_JETSTREAM_USER" in barred.hint
        assert await stored(cluster, **admin) == 0
        assert (await attempt("app", "secret")).stored == ["a"]


async def test_a_server_that_says_nothing_is_left(hurt_server: Cluster, clock: FakeClock) -> None:
    """
    What it was sent may wait in it for ever; when it is back, so are we.
    """
    await have_stream(hurt_server)
    async with transport_to(hurt_server, clock) as transport:
        await transport.send("POST", SUBJECT, messages("a"))
        await hurt_server.freeze(1)
        body = messages(*numbered(40), size=200_000)
        sending = asyncio.create_task(
            transport.send("POST", SUBJECT, body, deadline=Deadline.after(clock, 2.0))
        )
        await until(lambda: transport._attempts)
        await clock.advance(3.0)
        receipt = await sending

        assert (receipt.status, receipt.stored) == (None, [])
        assert receipt.failure == "no acknowledgement in time"
        hurt_server.thaw(1)
        assert (await transport.send("POST", SUBJECT, messages("b"))).stored == ["b"]


async def test_a_connection_that_is_lost_ends_the_attempt(hurt_server: Cluster) -> None:
    """
    At once, and the next attempt opens another one.
    """
    await have_stream(hurt_server)
    async with transport_to(hurt_server) as transport:
        await transport.send("POST", SUBJECT, messages("a"))
        await hurt_server.freeze(1)
        sending = asyncio.create_task(transport.send("POST", SUBJECT, messages("b", "c")))
        await until(lambda: transport._attempts)
        await hurt_server.kill(1)
        receipt = await sending

        assert (receipt.status, receipt.failure) == (None, "connection lost")
        await hurt_server.start()
        assert set((await transport.send("POST", SUBJECT, messages("b"))).stored) == {"b"}


async def test_nothing_is_left_behind(hurt_server: Cluster) -> None:
    """
    No task, whether the server is there, frozen or gone.
    """
    await have_stream(hurt_server)
    before = asyncio.all_tasks()
    for harm in (None, hurt_server.freeze, hurt_server.kill):
        async with transport_to(hurt_server) as transport:
            await transport.send("POST", SUBJECT, messages("a"))
            if harm is not None:
                await harm(1)
        await until(lambda: asyncio.all_tasks() <= before)
        if harm == hurt_server.freeze:
            hurt_server.thaw(1)


async def test_what_it_starts_has_no_context_of_a_request(
    transport: JetStreamTransport, nats_server: Cluster
) -> None:
    """
    The client's tasks outlive the call that opens the connection.
    """
    await have_stream(nats_server)
    request = ContextVar[str]("request")
    inherited: list[str] = []

    def make_task(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if (context := options.get("context")) is not None:
            seen = context.get(request)
        else:
            seen = request.get(None)
        if seen is not None:
            inherited.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **options)

    request.set("a request")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)
    try:
        receipt = await transport.send("POST", SUBJECT, messages("a"))
    finally:
        loop.set_task_factory(None)

    assert receipt.stored == ["a"]
    assert inherited == []
