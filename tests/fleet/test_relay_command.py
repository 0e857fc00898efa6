"""
`hh-exporter relay`: a relay as a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import pytest

from hh_exporter._cli._cluster import Cluster
from tests.command import finish, run, started
from tests.fleet.relays import prepare, publish
from tests.nats import Client, connected
from tests.scripted_server import ScriptedServer, created, hang
from tests.support import PATIENCE, until

IDS = [f"e{n}" for n in range(40)]


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    await prepare(nats_server)
    async with connected(nats_server) as client:
        yield client


@contextmanager
def relay_to(
    server: ScriptedServer, cluster: Cluster, *options: str, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ("relay", "--servers", cluster.servers, *options)
    variables: dict[str, Any] = {"HH_API_URL": server.url, "HH_EXPORTER_BATCH_LINGER": "0.01"}
    with started(*arguments, **variables | environ) as process:
        yield process


async def emptied(client: Client) -> None:
    """
    Wait until nothing is left in the stream.
    """
    async with asyncio.timeout(PATIENCE):
        while await client.messages("HH_EVENTS"):
            pass


async def next_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout
    line = await asyncio.to_thread(process.stdout.readline)
    assert line, (await finish(process)).stderr
    found: dict[str, Any] = json.loads(line)
    return found


async def test_a_signal_ends_it_with_its_books(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    What it has is delivered first; the last line tells what became of all that it took.
    """
    await publish(nats_server, *IDS)
    with relay_to(server, nats_server) as process:
        await emptied(client)
        process.send_signal(signal.SIGTERM)
        ended = await finish(process)

    assert ended.status == 0, ended.stderr
    first, *_, last = ended.stderr.splitlines()
    assert first.startswith("relaying hh_exporter.events.legacy from nats://")
    assert last == (
        "40 taken, 40 delivered, 0 rejected, 0 dropped, 0 given back, 0 queued, 0 in flight, "
        "0 redelivered, 0 unconfirmed"
    )
    assert sorted(server.created_ids) == sorted(IDS)


async def test_json_tells_its_numbers_again_and_again(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    A line each time, and one at the end; stderr stays silent.
    """
    await publish(nats_server, *IDS)
    with relay_to(server, nats_server, "--json", "--every", "10ms") as process:
        while (line := await next_line(process))["books"]["delivered"] < len(IDS):
            pass
        process.send_signal(signal.SIGINT)
        ended = await finish(process)

    assert line["dialect"] == "legacy"
    assert ended.status == 0
    assert ended.stderr == ""
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last["books"]["unconfirmed"] == 0
    assert last["health"] == "closed"


async def test_a_second_signal_ends_it_at_once(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Nothing waits for `close_timeout` then.
    """
    server.default = hang()
    await publish(nats_server, *IDS)
    with relay_to(server, nats_server, HH_EXPORTER_CLOSE_TIMEOUT="600") as process:
        await until(lambda: server.requests)
        process.send_signal(signal.SIGTERM)
        await publish(nats_server, "later")
        process.send_signal(signal.SIGTERM)
        ended = await finish(process)
    server.default = created()

    assert ended.status == 0, ended.stderr
    assert await client.messages("HH_EVENTS") == len(IDS) + 1


async def test_prometheus_reads_its_numbers(
    nats_server: Cluster, client: Client, server: ScriptedServer
) -> None:
    """
    Without a host, on this machine alone.
    """
    pytest.importorskip("prometheus_client", reason="needs the extra apps")
    await publish(nats_server, *IDS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with relay_to(server, nats_server, "--metrics", str(port)) as process:
        await emptied(client)
        text = await asyncio.to_thread(_read, f"http://127.0.0.1:{port}/metrics")
        process.send_signal(signal.SIGTERM)
        assert (await finish(process)).status == 0

    found = dict(re.findall(r"^hh_exporter_relay_(\w+) ([\d.]+)$", text, re.MULTILINE))
    assert found["delivered_total"] == "40.0"
    assert found["returned_total"] == "0.0"
    assert 'hh_exporter_relay_health{state="ok"} 1.0' in text


def _read(address: str) -> str:
    with urlopen(address) as answer:
        text: str = answer.read().decode()
    return text


async def test_without_streams_it_says_how_to_make_them(
    nats_server: Cluster, server: ScriptedServer
) -> None:
    """
    One line, and status 1: the call was right.
    """
    ended = await run("relay", "--servers", nats_server.servers, HH_API_URL=server.url)

    assert ended.status == 1
    assert "hh-exporter relay --setup" in ended.stderr.splitlines()[-1]


async def test_without_a_key_it_does_not_run(nats_server: Cluster) -> None:
    """
    It would take events and could deliver none.
    """
    ended = await run("relay", "--servers", nats_server.servers, HH_API_KEY="")

    assert ended.status == 2
    assert "HH_API_KEY" in ended.stderr


@pytest.mark.parametrize("address", ["x", "1:2:3", "host:", "0.0.0.0:99999", "9464/metrics"])
async def test_a_wrong_address_for_metrics_is_named(nats_server: Cluster, address: str) -> None:
    """
    It says what one looks like.
    """
    ended = await run("relay", "--servers", nats_server.servers, "--metrics", address)

    assert ended.status == 2
    assert "0.0.0.0:9464" in ended.stderr
