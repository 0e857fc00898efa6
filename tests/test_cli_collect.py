"""
`hh-exporter collect`: a collector until a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter import Exporter
from hh_exporter._cli._report import Report
from hh_exporter._cli.collect import collect
from hh_exporter._collector import Collector
from tests.command import call, finish, started
from tests.support import model_event, until


async def push_one(url: str) -> None:
    exporter = Exporter(base_url=url)
    await exporter.start()
    exporter.push(model_event(model="pushed"))
    assert (await exporter.aclose()).delivered == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_collects_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """
    Its first line is its address, it takes events, and a signal ends it with 0.
    """
    db = tmp_path / "events.db"
    with started("collect", "--port", "0", "--db", str(db)) as process:
        assert process.stdout is not None
        line = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert line.startswith("collecting at http://127.0.0.1:")
        url = line.split()[-1]
        await push_one(url)
        where = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert f"{url}/api/events.jsonl" in where
        async with ClientSession() as client, client.get(f"{url}/api/events.jsonl") as response:
            stored = [orjson.loads(line) for line in (await response.text()).splitlines()]

        process.send_signal(number)
        finished = await finish(process)

    assert [row["event"]["model"] for row in stored] == ["pushed"]
    assert finished.status == 0
    assert finished.stdout == ""
    assert finished.stderr == f"1 event was collected in {db}\n"
    async with Collector(db=db) as collector:
        assert await collector.count() == 1


async def test_without_a_file_it_says_how_many_it_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Events that end with the command are counted, not claimed to be anywhere.
    """
    collector = Collector()
    collecting = asyncio.create_task(collect(collector, Report()))
    await until(lambda: "collecting at" in capsys.readouterr().out)
    await push_one(collector.url)
    await push_one(collector.url)

    os.kill(os.getpid(), signal.SIGTERM)
    await collecting

    assert capsys.readouterr().err == "2 events were collected\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.evil"])
def test_serves_this_machine_alone(host: str) -> None:
    """
    A host that is not loopback is a wrong call: the collector asks for no key.
    """
    finished = call("collect", "--host", host)

    assert finished.status == 2
    assert "is no loopback address" in finished.stderr


def test_a_taken_port_is_one_line() -> None:
    """
    Where the port is taken it says so in one line, with status 2.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        finished = call("collect", "--port", port)

    assert finished.status == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert port in finished.stderr


def test_a_bad_database_is_one_line(tmp_path: Path) -> None:
    """
    A file that is no database of the collector is named in one line, with status 2.
    """
    db = tmp_path / "notes.txt"
    db.write_text("not a database, but somebody's notes\n" * 100)
    finished = call("collect", "--port", "0", "--db", str(db))

    assert finished.status == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert str(db) in finished.stderr
    assert db.read_text().startswith("not a database")
