"""
The stream of dead letters: an operator reads it, publishes its events again, and deletes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain
from typing import Any

import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.api import ApiError
from hh_exporter._fleet.archive import Archive, Stored
from hh_exporter._fleet.plan import Names
from hh_exporter._transport.nats import Connection
from tests.fleet.connections import opened
from tests.fleet.relays import all_done, prepare, publish, relaying
from tests.nats import Client, connected
from tests.scripted_server import ScriptedServer, created, refuse_if

NAMES = Names()


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    """
    A client of a server with both streams.
    """
    async with connected(nats_server) as client:
        await client.make_stream("HH_EVENTS", "hh_exporter.events.>")
        await make_dead(client)
        yield client


async def make_dead(client: Client, **settings: Any) -> None:
    options = {"retention": "limits", "allow_direct": True} | settings
    await client.make_stream("HH_DEAD", "hh_exporter.dead.>", **options)


@pytest.fixture
async def connection(nats_server: Cluster, client: Client) -> AsyncIterator[Connection]:
    async with opened(nats_server) as connection:
        yield connection


async def bury(client: Client, *event_ids: str, data: bytes = b'{"n":1}') -> None:
    """
    Publish letters of these events.
    """
    for number, event_id in enumerate(event_ids):
        answer = await client.publish(
            "hh_exporter.dead.v1",
            data,
            Nats_Msg_Id=f"{event_id}/dead.{number}.0a",
            Hh_Outcome="rejected",
            Hh_Status="400",
        )
        assert "error" not in answer, answer


async def read_all(archive: Archive) -> list[Stored]:
    return [one async for some in archive.read() for one in some]


def ids(letters: list[Stored]) -> list[str]:
    return [one.letter.event_id for one in letters]


async def test_all_letters_are_read_in_order(client: Client, connection: Connection) -> None:
    """
    Whatever was deleted between them; none that came after the archive was opened.
    """
    await bury(client, *"abcde")
    await client.call("STREAM.MSG.DELETE.HH_DEAD", seq=1)
    await client.call("STREAM.MSG.DELETE.HH_DEAD", seq=3)
    archive = await Archive.open(connection, NAMES)
    await bury(client, "f", "g")

    letters = await read_all(archive)

    assert (archive.count, archive.last) == (3, 5)
    assert ids(letters) == ["b", "d", "e"]
    assert [one.letter.sequence for one in letters] == [2, 4, 5]
    assert {one.letter.dialect for one in letters} == {"v1"}
    assert (await client.call("STREAM.INFO.HH_DEAD"))["state"]["consumer_count"] == 0


async def test_large_letters_are_read_some_at_a_time() -> None:
    """
    So that memory does not grow with them; one that is larger than a piece is read, too.
    """
    async with Cluster(size=1, settings="max_payload: 8MB") as server:
        async with connected(server) as client:
            await make_dead(client)
            await bury(client, *"abcdefgh", data=b'{"text":"%b"}' % (b"x" * 900_000))
            await bury(client, "x", "y", data=b'{"text":"%b"}' % (b"x" * 6_000_000))
        async with opened(server) as connection:
            archive = await Archive.open(connection, NAMES)
            pieces = [ids(some) async for some in archive.read()]

    assert "".join(chain(*pieces)) == "abcdefghxy"
    assert max(map(len, pieces)) <= 5
    assert pieces[-1] == ["y"]


async def test_an_empty_stream_has_no_letters(client: Client, connection: Connection) -> None:
    """
    Nor does one whose letters were all deleted.
    """
    assert await read_all(await Archive.open(connection, NAMES)) == []
    await bury(client, "a")
    archive = await Archive.open(connection, NAMES)
    assert await archive.delete_all() == 1
    assert await read_all(await Archive.open(connection, NAMES)) == []
    assert await archive.find(1) is None


async def test_one_letter_is_found_by_its_number(client: Client, connection: Connection) -> None:
    """
    And none by the number of one that is gone, whatever comes after it.
    """
    await bury(client, "a", "b")
    archive = await Archive.open(connection, NAMES)

    found = await archive.find(1)
    await archive.delete([1])

    assert found is not None
    assert (found.letter.event_id, found.data) == ("a", b'{"n":1}')
    assert await archive.find(1) is None
    assert await archive.find(9) is None


async def test_a_letter_is_deleted_once_its_event_is_stored(
    client: Client, connection: Connection
) -> None:
    """
    Under an id of its own, so that the stream does not take it for the first one.
    """
    await client.publish("hh_exporter.events.v1", b'{"n":1}', Nats_Msg_Id="a/0a")
    await bury(client, "a", "b")
    archive = await Archive.open(connection, NAMES)

    replayed = await archive.replay(await read_all(archive))

    assert (replayed.sent, replayed.left, replayed.undeleted, replayed.problem) == (
        [1, 2],
        [],
        [],
        "",
    )
    assert await client.messages("HH_DEAD") == 0
    assert await client.messages("HH_EVENTS") == 3


async def test_a_replay_that_was_interrupted_stores_nothing_twice(
    client: Client, connection: Connection
) -> None:
    """
    The letters are still there, and their events are known by their ids.
    """
    await bury(client, "a", "b")
    archive = await Archive.open(connection, NAMES)
    letters = await read_all(archive)
    await archive.replay(letters)

    again = await archive.replay(letters)  # as after an end before the deletion

    assert (again.sent, again.undeleted) == ([1, 2], [])
    assert await client.messages("HH_EVENTS") == 2


async def test_a_full_stream_of_events_keeps_the_letters(
    client: Client, connection: Connection
) -> None:
    """
    Those that it took are gone, and the others stay, with the server's reason.
    """
    await client.call("STREAM.DELETE.HH_EVENTS")
    await client.make_stream("HH_EVENTS", "hh_exporter.events.>", max_msgs=1)
    await bury(client, "a", "b", "c")
    archive = await Archive.open(connection, NAMES)

    replayed = await archive.replay(await read_all(archive))

    assert (replayed.sent, replayed.left, replayed.is_stuck) == ([1], [2, 3], True)
    assert replayed.problem == "maximum messages exceeded (10077)"
    assert ids(await read_all(archive)) == ["b", "c"]


async def test_a_letter_that_no_message_may_hold_harms_no_other(
    client: Client, connection: Connection
) -> None:
    """
    It stays; what fills the stream would hold up others, and this does not.
    """
    await client.call("STREAM.DELETE.HH_EVENTS")
    await client.make_stream("HH_EVENTS", "hh_exporter.events.>", max_msg_size=1_000)
    await bury(client, "a", data=b'"%b"' % (b"x" * 1_000))
    await bury(client, "b", "c")
    archive = await Archive.open(connection, NAMES)

    replayed = await archive.replay(await read_all(archive))

    assert (replayed.sent, replayed.left, replayed.is_stuck) == ([2, 3], [1], False)
    assert replayed.problem == "message size exceeds maximum allowed (10054)"


async def test_deleted_letters_can_be_overwritten(client: Client, connection: Connection) -> None:
    """
    Letters that are gone already count as deleted.
    """
    await bury(client, "a", "b", "c")
    archive = await Archive.open(connection, NAMES)
    await archive.delete([2])

    gone, why = await archive.delete([2, 1, 3, 9], overwrites=True)
    again, _ = await archive.delete([2])

    assert (set(gone), why) == ({1, 2, 3, 9}, "")
    assert set(again) == {2}
    assert await client.messages("HH_DEAD") == 0


async def test_letters_that_came_later_are_not_deleted(
    client: Client, connection: Connection
) -> None:
    """
    They were not listed.
    """
    await bury(client, "a", "b")
    archive = await Archive.open(connection, NAMES)
    await bury(client, "c", "d", "e")

    assert await archive.delete_all() == 2
    assert await client.messages("HH_DEAD") == 3


async def test_what_is_missing_is_named(nats_server: Cluster) -> None:
    """
    A stream that is not there, or does not let itself be read.
    """
    async with connected(nats_server) as client, opened(nats_server) as connection:
        with pytest.raises(ApiError, match="no stream HH_DEAD: hh-exporter relay --setup creates"):
            await Archive.open(connection, NAMES)
        await make_dead(client, allow_direct=False)
        with pytest.raises(ApiError, match="nats stream edit HH_DEAD --allow-direct"):
            await Archive.open(connection, NAMES)


USERS = """
accounts: {A: {jetstream: enabled, users: [
  {user: all, password: p}
  {user: looks, password: p, permissions: {
    publish: ["$JS.API.STREAM.INFO.HH_DEAD"], subscribe: "_INBOX.hh_exporter.operator.>"}}
  {user: reads, password: p, permissions: {
    publish: ["$JS.API.STREAM.INFO.HH_DEAD", "$JS.API.DIRECT.GET.HH_DEAD"]
    subscribe: "_INBOX.hh_exporter.operator.>"}}
]}}
"""


async def test_a_permission_that_is_missing_is_named() -> None:
    """
    The server tells it at once, so nobody waits.
    """
    async with Cluster(size=1, settings=USERS) as server:
        async with connected(server, user="all", password="p") as client:
            await client.make_stream("HH_EVENTS", "hh_exporter.events.>")
            await make_dead(client)
            await bury(client, "a")

        async def replay(user: str) -> str:
            async with opened(server, "operator", user=user, password="p") as connection:
                archive = await Archive.open(connection, NAMES)
                return (await archive.replay(await read_all(archive))).problem

        with pytest.raises(ApiError, match=r"violation for publish to .*direct.get.hh_dead\"\)"):
            await replay("looks")
        assert 'for publish to "hh_exporter.events.v1"' in await replay("reads")


async def test_an_answer_of_somebody_else_is_no_acknowledgement(
    client: Client, connection: Connection
) -> None:
    """
    Only a stream's is: the letter stays.
    """

    async def answer(message: Any) -> None:
        await message.respond(b"{}")

    await client.call("STREAM.DELETE.HH_EVENTS")
    await client.client.subscribe("hh_exporter.events.>", cb=answer)
    await client.client.flush()
    await bury(client, "a")
    archive = await Archive.open(connection, NAMES)

    replayed = await archive.replay(await read_all(archive))

    assert (replayed.left, replayed.problem) == ([1], "what answers is no stream")
    assert await client.messages("HH_DEAD") == 1


async def test_what_a_relay_buries_is_delivered_once_it_was_replayed(
    nats_server: Cluster, server: ScriptedServer
) -> None:
    """
    From the app to the server's refusal, and from there, by the operator, to the server.
    """
    server.default = refuse_if(lambda _: True)
    await prepare(nats_server)
    await publish(nats_server, "a")
    async with (
        opened(nats_server) as connection,
        connected(nats_server) as client,
        relaying(nats_server, server) as relay,
    ):
        await all_done(client, relay)
        archive = await Archive.open(connection, NAMES)
        (found,) = await read_all(archive)
        server.default = created()
        await archive.replay([found])
        await all_done(client, relay)
        stats = relay.stats()

    letter = found.letter
    assert (letter.event_id, letter.outcome, letter.status) == ("a", "rejected", 400)
    assert (letter.relay, letter.answer != "") == (relay.id, True)
    assert letter.published_at is not None
    assert letter.published_at <= letter.died_at
    assert (stats.rejected, stats.delivered) == (1, 1)
