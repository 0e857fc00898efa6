"""
`hh-exporter dead-letters --jetstream`: the dead letters of a fleet, as those of a spool.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hh_exporter._cli._cluster import Cluster
from tests.command import Finished, call, finish, run, started
from tests.nats import Client, connected

CANARY = "canary-3f1c"
"""Stands in payloads and answers, which only `show` may show."""
OLD = b'{"model":"m","text":"%b","session_id":"s1","user_properties":{"user_id":"ann"}}' % (
    CANARY.encode()
)
NEW = b'{"session_id":"s2","event_type":"tool"}'
LONG_AGO = 1_750_000_000.0
_LOOKS = ("list", "show")


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    """
    A client of a server with both streams, and in them the letters `old` and `new`.
    """
    async with connected(nats_server) as client:
        await client.make_stream("HH_EVENTS", "hh_exporter.events.>")
        options = {"retention": "limits", "allow_direct": True}
        await client.make_stream("HH_DEAD", "hh_exporter.dead.>", **options)
        await bury(client, "old", OLD, LONG_AGO, Hh_Status="400", Hh_Answer=f"{CANARY} %1B[31m")
        await bury(
            client,
            "new",
            NEW,
            time.time(),
            Hh_Outcome="dropped",
            Hh_Reason="retries_exhausted",
            Hh_Relay="relay-1",
        )
        yield client


async def bury(
    client: Client, event_id: str, data: bytes, published_at: float, **headers: str
) -> None:
    answer = await client.publish(
        "hh_exporter.dead.legacy",
        data,
        **{
            "Nats_Msg_Id": f"{event_id}/dead.1.0a",
            "Hh_Outcome": "rejected",
            "Hh_Published": f"{published_at}",
            **headers,
        },
    )
    assert "error" not in answer, answer


@pytest.fixture
def servers(nats_server: Cluster, client: Client) -> str:
    return nats_server.servers


async def dead_letters(servers: str, *arguments: str) -> Finished:
    words = ("dead-letters", *arguments, "--jetstream", servers)
    # What only looks catches no signals, and so can run in a thread of this process.
    return await (asyncio.to_thread(call, *words) if arguments[0] in _LOOKS else run(*words))


async def ids(servers: str) -> list[str]:
    rows = json.loads((await dead_letters(servers, "list", "--json")).stdout)
    return [row["id"] for row in rows]


async def test_each_letter_has_a_line(servers: str) -> None:
    """
    With the columns of a spool's, and without what a user wrote.
    """
    finished = await dead_letters(servers, "list")
    head, old, new = finished.stdout.splitlines()

    assert (finished.status, finished.stderr) == (0, "")
    assert head.split() == ["id", "died", "kind", "why", "bytes", "event_id"]
    assert old.split()[:1] + old.split()[4:] == [
        *("1", "model", "rejected,", "HTTP", "400", str(len(OLD)), "old"),
    ]
    assert new.split()[4:] == ["tool", "dropped,", "retries_exhausted", str(len(NEW)), "new"]
    assert CANARY not in finished.stdout


async def test_json_is_one_line(servers: str) -> None:
    """
    With the keys of a spool's.
    """
    finished = await dead_letters(servers, "list", "--json")
    row, _ = json.loads(finished.stdout)

    assert finished.stdout.count("\n") == 1
    assert abs(row.pop("died_at") - time.time()) < 600
    assert row == {
        "id": "1",
        "event_id": "old",
        "kind": "model",
        "outcome": "rejected",
        "reason": "",
        "status": 400,
        "pushed_at": LONG_AGO,
        "bytes": len(OLD),
    }


async def test_a_fleet_without_dead_letters(servers: str) -> None:
    """
    Says so, and is no failure.
    """
    await dead_letters(servers, "purge", "--yes")

    assert (await dead_letters(servers, "list")).stdout == "no dead letters\n"
    assert (await dead_letters(servers, "list", "--json")).stdout == "[]\n"
    assert (await dead_letters(servers, "purge")).stdout == "deleted 0 dead letters\n"


async def test_the_environment_names_the_servers(servers: str, tmp_path: Any) -> None:
    """
    Unless it names a spool, too: that comes first; two options are one too many.
    """
    fleet = await run("dead-letters", "list", HH_EXPORTER_JETSTREAM_SERVERS=servers)
    spool = await run(
        *("dead-letters", "list"),
        HH_EXPORTER_JETSTREAM_SERVERS=servers,
        HH_EXPORTER_SPOOL_DIRECTORY=str(tmp_path),
    )
    both = await dead_letters(servers, "list", "--spool", str(tmp_path))
    none = await run("dead-letters", "list")

    assert len(fleet.stdout.splitlines()) == 3
    assert spool.stdout == "no dead letters\n"
    assert (both.status, none.status) == (2, 2)
    assert "not both" in both.stderr
    assert "give --spool or --jetstream" in none.stderr


async def test_show_prints_all_of_a_letter(servers: str) -> None:
    """
    The event and the server's words, which no terminal obeys.
    """
    shown = (await dead_letters(servers, "show", "1")).stdout
    as_json = json.loads((await dead_letters(servers, "show", "2", "--json")).stdout)

    assert f"the server said:\n{CANARY} \\u001b[31m" in shown
    assert '"user_id": "ann"' in shown
    assert "2025-06-15 15:06:40 UTC" in shown
    assert as_json["event"] == json.loads(NEW)
    assert (as_json["relay"], as_json["dialect"]) == ("relay-1", "legacy")


@pytest.mark.parametrize("letter_id", ["9", "0", "x", "aaaa11-1", "1" * 40])
async def test_an_id_of_no_letter_is_named(servers: str, letter_id: str) -> None:
    """
    By every command that takes one; then none is touched.
    """
    shown = await dead_letters(servers, "show", letter_id)
    replayed = await dead_letters(servers, "replay", "1", letter_id)

    assert (shown.status, replayed.status) == (2, 2)
    assert f"there is no dead letter '{letter_id}'" in shown.stderr
    assert await ids(servers) == ["1", "2"]


async def test_replay_publishes_the_event_again(servers: str, client: Client) -> None:
    """
    Under a new id, and deletes the letter.
    """
    finished = await dead_letters(servers, "replay", "1", "1", "--json")

    assert (finished.status, finished.stderr) == (0, "")
    assert json.loads(finished.stdout) == {
        "dead_letters": 1,
        "relayed": 1,
        "left": 0,
        "undeleted": 0,
    }
    assert await ids(servers) == ["2"]
    message = (await client.call("STREAM.MSG.GET.HH_EVENTS", seq=1))["message"]
    assert message["subject"] == "hh_exporter.events.legacy"


async def test_replay_of_all(servers: str, client: Client) -> None:
    """
    All that were there, once.
    """
    finished = await dead_letters(servers, "replay", "--all")

    assert finished.status == 0
    assert "relayed" in finished.stdout
    assert await ids(servers) == []
    assert await client.messages("HH_EVENTS") == 2


async def test_replay_keeps_what_is_not_taken(servers: str, client: Client) -> None:
    """
    A full stream is named, and ends it with 1.
    """
    await client.call("STREAM.DELETE.HH_EVENTS")
    await client.make_stream("HH_EVENTS", "hh_exporter.events.>", max_msgs=1)

    finished = await dead_letters(servers, "replay", "--all", "--json")

    assert finished.status == 1
    assert finished.stderr == "warning: maximum messages exceeded (10077)\n"
    assert json.loads(finished.stdout)["left"] == 1
    assert await ids(servers) == ["2"]


async def test_a_reason_chooses(servers: str) -> None:
    """
    What is listed, and what is replayed.
    """
    listed = await dead_letters(servers, "list", "--reason", "retries_exhausted", "--json")
    none = await dead_letters(servers, "list", "--reason", "too_large", "--json")
    replayed = await dead_letters(servers, "replay", "--reason", "retries_exhausted", "--json")

    assert [row["event_id"] for row in json.loads(listed.stdout)] == ["new"]
    assert none.stdout == "[]\n"
    assert json.loads(replayed.stdout)["relayed"] == 1
    assert await ids(servers) == ["1"]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), []),
        (("--session", "s1"), ["2"]),
        (("--user", "ann"), ["2"]),
        (("--user", "bob"), ["1", "2"]),
        (("--older-than", "7d"), ["2"]),
        (("--reason", "rejected"), ["2"]),
        (("--reason", "retries_exhausted", "--user", "ann"), ["1", "2"]),
        (("--older-than", "7d", "--session", "s2"), ["1", "2"]),
    ],
)
async def test_purge_deletes_what_is_meant(
    servers: str, options: tuple[str, ...], left: list[str]
) -> None:
    """
    All, or what fits every option, as of a spool.
    """
    finished = await dead_letters(servers, "purge", "--yes", "--json", *options)

    assert (finished.status, finished.stderr) == (0, "")
    assert json.loads(finished.stdout) == {"dead_letters": 2 - len(left)}
    assert await ids(servers) == left


async def test_purge_asks_first(servers: str) -> None:
    """
    And deletes nothing without an answer.
    """
    finished = await dead_letters(servers, "purge")

    assert finished.status == 1
    assert "Permanently delete 2 dead letters?" in finished.stderr
    assert await ids(servers) == ["1", "2"]


async def test_what_makes_no_sense_of_a_fleet_is_refused(servers: str) -> None:
    """
    Rather than ignored; and so is what makes none of a spool.
    """
    for arguments, words in (
        (("purge", "--unsent"), "--unsent is for spools"),
        (("replay", "--all", "--url", "http://x"), "--url and --dialect are for spools"),
        (("replay",), "give the ids of dead letters, --reason or --all"),
    ):
        finished = await dead_letters(servers, *arguments)
        assert finished.status == 2
        assert words in finished.stderr
    finished = call("dead-letters", "list", "--spool", ".", "--dead-stream", "X")
    assert "--dead-stream is for a fleet" in finished.stderr


async def test_a_stream_that_is_missing_is_named(nats_server: Cluster) -> None:
    """
    With the command that creates it.
    """
    finished = await dead_letters(nats_server.servers, "list")

    assert finished.status == 1
    assert "no stream HH_DEAD: hh-exporter relay --setup creates it" in finished.stderr


async def test_a_cluster_that_is_away_is_named() -> None:
    """
    In words that say why.
    """
    finished = await dead_letters("nats://127.0.0.1:1", "list")

    assert finished.status == 1
    assert "nats://127.0.0.1:1 can't be used: connection failed (" in finished.stderr


async def test_a_replay_that_is_killed_loses_nothing(servers: str, client: Client) -> None:
    """
    Whenever it ends, what is no letter any more is in the stream of events; the next one does the
    rest, and stores nothing twice.
    """
    names = [f"e{number}" for number in range(3_000)]
    await asyncio.gather(*(bury(client, name, NEW, LONG_AGO) for name in names))

    with started("dead-letters", "replay", "--all", "--jetstream", servers) as process:
        while not await client.messages("HH_EVENTS"):
            pass
        process.kill()
        assert (await finish(process)).status != 0
    events, letters = await client.messages("HH_EVENTS"), await client.messages("HH_DEAD")
    finished = await dead_letters(servers, "replay", "--all", "--json")

    assert 0 < events < 3_002
    assert events + letters >= 3_002
    assert json.loads(finished.stdout)["relayed"] == letters
    assert await client.messages("HH_DEAD") == 0
    assert await client.messages("HH_EVENTS") == 3_002
