"""
`hh-exporter fleet` and `hh-exporter relay --setup`: what they show, and how they end.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli.fleet import Watch, tell_age
from hh_exporter._clock import SystemClock
from hh_exporter._fleet.plan import Names
from tests.command import Finished, call, finish, run, started
from tests.nats import Client, connected

SETUP = ("relay", "--setup", "--max-bytes", "40MB")
SUBJECT = "hh_exporter.events.legacy"
BOOKS = {
    "recovered": 1234,
    "delivered": 1200,
    "rejected": 1,
    "dropped": 2,
    "returned": 3,
    "queued": 20,
    "in_flight": 8,
    "redelivered": 4,
    "unconfirmed": 5,
}


@asynccontextmanager
async def answering(servers: Cluster, *answers: Any) -> AsyncIterator[Client]:
    """
    Give *answers* to whoever asks for relays, as so many relays would.
    """
    async with connected(servers) as client:

        async def answer(message: Any) -> None:
            for one in answers:
                data = one if isinstance(one, bytes) else json.dumps(one).encode()
                await client.client.publish(message.reply, data)

        await client.client.subscribe("hh_exporter.relays", cb=answer)
        await client.client.flush()
        yield client


def relay(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "host": "host-1",
        "pid": 42,
        "version": "1.2",
        "dialect": "legacy",
        "since": 1_750_000_000.0,
        "health": "ok",
        "health_reason": "",
        "books": BOOKS,
        **more,
    }


async def fleet(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], *, as_json: bool = False
) -> Finished:
    """
    Do what `hh-exporter fleet` does, in this process.
    """
    watch = Watch(JetStream(cluster.servers), Names(), SystemClock(), as_json)
    await watch.run(None)
    shown = capsys.readouterr()
    return Finished(0 if watch.is_safe else 1, shown.out, shown.err)


async def test_setup_says_what_it_did(nats_server: Cluster) -> None:
    """
    First all is created; then all is there; and what differs is named, and ends it with 1.
    """
    servers = nats_server.servers
    first = await run(*SETUP, HH_EXPORTER_JETSTREAM_SERVERS=servers)
    again = await run(*SETUP, "--json", HH_EXPORTER_JETSTREAM_SERVERS=servers)
    other = await run("relay", "--setup", "--max-bytes", "50MB", "--servers", servers)

    assert (first.status, first.stderr) == (0, "")
    assert [line.split() for line in first.stdout.splitlines()[1:]] == [
        ["stream", "HH_EVENTS", "created"],
        ["consumer", "relay", "created"],
        ["stream", "HH_DEAD", "created"],
    ]
    assert again.status == 0
    assert [part["fate"] for part in json.loads(again.stdout)["parts"]] == ["right"] * 3
    assert other.status == 1
    assert other.stdout.count("differs, and was not changed") == 2
    assert "stream HH_EVENTS: max_bytes is 41,943,040, and not 52,428,800" in other.stderr
    assert "nats stream edit and nats consumer edit change what is there" in other.stderr


async def test_a_fleet_is_shown(nats_server: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Streams, consumer and relays have a line each; and what of no relay came is not shown.
    """
    servers = ("--servers", nats_server.servers)
    await run(*SETUP, *servers)
    answers = (
        relay("11111111-a"),
        relay("22222222-b", dialect="v1", health="suspended", health_reason="HTTP 401\x1b[2J"),
        b"no json",
        {"books": 5},
    )
    async with answering(nats_server, *answers) as client:
        await client.publish(SUBJECT, b"{}")
        await client.publish("hh_exporter.dead.legacy", b"{}")
        finished = await fleet(nats_server, capsys)

    assert (finished.status, finished.stderr) == (0, "")
    lines = [line.split() for line in finished.stdout.splitlines()]
    rows = {line[0]: line for line in lines if line}
    assert rows["HH_EVENTS"][1] == rows["HH_DEAD"][1] == "1"
    assert rows["HH_EVENTS"][4:7] == ["40.0", "MB", "0.0%"]
    assert ["relay", "1", "0", "0"] in lines
    assert rows["11111111"][1:5] == ["host-1", "42", "1.2", "legacy"]
    assert rows["11111111"][-8:] == ["1,200", "1", "2", "3", "20", "8", "4", "5"]
    assert "suspended (HTTP 401\\u001b[2J)" in finished.stdout
    assert "2 relays, 1 dead letter" in finished.stdout


async def test_json_says_the_same(nats_server: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line has all that is shown, and the rates between two looks.
    """
    servers = ("--servers", nats_server.servers)
    await run(*SETUP, *servers)
    async with answering(nats_server, relay("1")) as client:
        await client.publish(SUBJECT, b"{}")
        finished = await fleet(nats_server, capsys, as_json=True)
    told = json.loads(finished.stdout)

    assert finished.stdout.count("\n") == 1
    assert told["streams"]["events"]["messages"] == 1
    assert told["streams"]["events"]["max_bytes"] == 40 * 2**20
    assert told["at"] - 60 < told["streams"]["events"]["oldest_at"] < told["at"]
    assert told["streams"]["dead"]["oldest_at"] is None
    assert told["consumer"] == {
        "name": "relay",
        "waiting": 1,
        "in_hand": 0,
        "redelivered": 0,
        "leader": None,
    }
    assert [one["books"] for one in told["relays"]] == [BOOKS]
    assert told["warnings"] == []
    assert (told["published_per_second"], told["delivered_per_second"]) == (0.0, 0.0)


async def test_what_loses_events_ends_it_with_1(
    nats_server: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A setting that loses events is named, also where nothing is lost yet; others are warned of.
    """
    async with connected(nats_server) as client:
        await client.make_stream("HH_EVENTS", "hh_exporter.events.>", discard="old")
    finished = await fleet(nats_server, capsys)
    told = await fleet(nats_server, capsys, as_json=True)

    assert finished.status == told.status == 1
    assert "this loses events: stream HH_EVENTS has discard old" in finished.stdout
    assert "warning: stream HH_EVENTS has no max_bytes" in finished.stdout
    keys = {one["key"]: one["loses_events"] for one in json.loads(told.stdout)["warnings"]}
    assert keys == {"missing": True, "discard": True, "max_bytes": False}


async def test_more_relays_than_the_consumer_serves_are_warned_of(
    nats_server: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What relays that run want to hold, together, is compared with what they may.
    """
    await run(*SETUP, "--servers", nats_server.servers)
    answers = [relay(str(n), prefetch=6_000) for n in range(2)]
    async with answering(nats_server, *answers, relay("other", dialect="v1")):
        finished = await fleet(nats_server, capsys, as_json=True)

    assert finished.status == 0
    [advice] = json.loads(finished.stdout)["warnings"]
    assert advice["key"] == "max_ack_pending"
    assert "want to hold 12,000" in advice["text"]


async def test_a_watch_looks_until_a_signal(nats_server: Cluster) -> None:
    """
    Each look is a line of JSON, with the rates since; Ctrl-C ends it with the last one's status.
    """
    await run(*SETUP, "--servers", nats_server.servers)
    arguments = ("fleet", "--json", "--watch", "0.01", "--servers", nats_server.servers)
    async with connected(nats_server) as client:
        with started(*arguments) as process:
            assert process.stdout
            await asyncio.to_thread(process.stdout.readline)
            published = 0
            rate = 0.0
            while not rate:  # a look is a second: some are published between two
                await client.publish(SUBJECT, b"{}")
                published += 1
                line = await asyncio.to_thread(process.stdout.readline)
                rate = json.loads(line)["published_per_second"]
            process.send_signal(signal.SIGINT)
            finished = await finish(process)

    assert finished.status == 0
    assert 0 < rate <= published


@pytest.mark.parametrize(
    "command", [("fleet", "--watch", "0.01"), ("relay", "--json", "--every", "10ms")], ids=" ".join
)
async def test_a_pipe_whose_reader_is_gone_ends_it_quietly(
    nats_server: Cluster, command: tuple[str, ...]
) -> None:
    """
    As in `hh-exporter fleet --watch 2 | head`.
    """
    servers = nats_server.servers
    await run(*SETUP, "--servers", servers)
    with started(*command, "--servers", servers, HH_API_URL="http://127.0.0.1:9") as process:
        assert process.stdout
        await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        assert process.stderr
        said = await asyncio.to_thread(process.stderr.read)
        status = await asyncio.to_thread(process.wait)

    assert (status, said) == (1, b"")


@pytest.mark.parametrize("command", [("fleet",), SETUP], ids=["fleet", "setup"])
def test_a_cluster_that_is_away_is_named(command: tuple[str, ...]) -> None:
    """
    Where nobody answers, the reason is one line, and the status 1.
    """
    finished = call(*command, "--servers", "nats://127.0.0.1:1")

    assert (finished.status, finished.stdout) == (1, "")
    assert finished.stderr == (
        "Error: nats://127.0.0.1:1 can't be used: connection failed (connection refused)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "hint"),
    [
        (["fleet"], {}, "give --servers, or set HH_EXPORTER_JETSTREAM_SERVERS"),
        (["fleet", "--servers", "http://n1"], {}, "servers must be nats:// or tls://"),
        (["fleet", "--servers", "nats://a:b@n1"], {}, "servers must be"),
        (
            ["fleet", "--servers", "nats://n1", "--user", "app"],
            {},
            "HH_EXPORTER_JETSTREAM_PASSWORD",
        ),
        (["fleet", "--servers", "nats://n1", "--subject", "a.*"], {}, "subject must be"),
        (["fleet", "--servers", "nats://n1", "--subject", "a.dead"], {}, "can't end in dead"),
        (["fleet", "--servers", "nats://n1", "--stream", "a b"], {}, "stream must be"),
        (["fleet", "--servers", "nats://n1", "--watch", "0"], {}, "--watch"),
        (["fleet", "--servers", "nats://n1", "--ca", "/nowhere"], {}, "--ca"),
        (["fleet", "--servers", "nats://n1"], {"HH_EXPORTER_DIALECT": "v9"}, "HH_EXPORTER_DIALECT"),
        (["relay", "--setup", "--servers", "nats://n1"], {}, "--max-bytes"),
        ([*SETUP[:3], "20", "--servers", "nats://n1"], {}, "no size such as"),
        ([*SETUP[:3], "0GB", "--servers", "nats://n1"], {}, "no size such as"),
        ([*SETUP, "--replicas", "2", "--servers", "nats://n1"], {}, "--replicas"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], environ: dict[str, str], hint: str
) -> None:
    """
    A wrong call or setting ends it with 2 before anybody is asked.
    """
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    finished = call(*arguments)

    assert (finished.status, finished.stdout) == (2, "")
    assert hint in finished.stderr


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    """
    Authorities and certificates that can't be read are named before anybody is asked.
    """
    path = tmp_path / "ca.pem"
    path.write_text("none")
    servers = ("--servers", "nats://n1")

    finished = call("fleet", *servers, "--ca", str(path))
    assert finished.status == 2
    assert f"{path} holds no certificate that can be read" in finished.stderr
    finished = call("fleet", *servers, "--cert", str(path))
    assert finished.status == 2
    assert f"{path} holds no certificate with its key" in finished.stderr


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (-1, "0.0 s"),
        (1.26, "1.3 s"),
        (119, "119.0 s"),
        (120, "2.0 m"),
        (9_000, "2.5 h"),
        (2e5, "2.3 d"),
    ],
)
def test_an_age_has_a_unit(age: float, told: str) -> None:
    """
    What waits is as old as a person would say.
    """
    assert tell_age(age) == told
