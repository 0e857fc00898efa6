"""
`hh-exporter collect`: a collector until a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import webbrowser
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter import Exporter
from hh_exporter._cli._browser import browse
from hh_exporter._cli._report import Report
from hh_exporter._cli.collect import collect, collect_command
from hh_exporter._collector import Collector, Faults
from tests.collector_client import ONE, post
from tests.collector_client import model_event as wire_event
from tests.command import call, finish, started
from tests.support import FakeClock, model_event, until


async def refused(url: str) -> None:
    """
    Wait until nobody listens there.
    """
    address = urlsplit(url)
    with suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.close()


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
        page = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert page == f"look at them at {url}/\n"
        where = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert where == f"read them at {url}/api/events.jsonl; Ctrl-C ends\n"
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


async def test_its_page_is_shown_once_it_listens(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A browser is opened with the page, which is there then, after its address was said.
    """
    seen: list[tuple[int, str]] = []

    def show(address: str) -> None:
        with urlopen(address) as answer:
            seen.append((answer.status, capsys.readouterr().out))
        os.kill(os.getpid(), signal.SIGTERM)

    await collect(Collector(), Report(), show)

    [(status, said)] = seen
    assert status == 200
    assert said.startswith("collecting at ")


@pytest.mark.parametrize("browser", ["true", "false", "no-such-browser"])
async def test_open_never_fails_it(browser: str) -> None:
    """
    Nothing is said or lost where no browser opens.
    """
    with started("collect", "--port", "0", "--open", BROWSER=browser) as process:
        assert process.stdout is not None
        url = (await asyncio.to_thread(process.stdout.readline)).decode().split()[-1]
        await push_one(url)
        process.send_signal(signal.SIGTERM)
        finished = await finish(process)

    assert finished.status == 0
    assert finished.stderr == "1 event was collected\n"


class TestBrowser:
    """
    Which browser `--open` takes.
    """

    @pytest.fixture
    def opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """
        What the only browser there is, which is for the terminal, was called with.
        """
        opened = tmp_path / "opened"
        browser = tmp_path / "w3m"
        browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
        browser.chmod(0o700)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(webbrowser, "_tryorder", None)  # as in a process that has just begun
        monkeypatch.setattr(webbrowser, "_browsers", {})
        return opened

    def test_one_for_the_terminal_is_left_alone(self, opened: Path) -> None:
        """
        The terminal is the collector's.
        """
        browse("http://127.0.0.1:1/")

        assert not opened.exists()

    def test_the_one_that_is_asked_for_is_opened(
        self, opened: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        By BROWSER, whatever it is.
        """
        monkeypatch.setenv("BROWSER", str(opened.with_name("w3m")))

        browse("http://127.0.0.1:1/")

        assert opened.read_text() == "http://127.0.0.1:1/\n"

    def test_none_is_no_error(self, opened: Path) -> None:
        """
        There need not be any.
        """
        opened.with_name("w3m").unlink()

        browse("http://127.0.0.1:1/")

        assert not opened.exists()


async def test_what_is_finished_after_the_signal_is_counted(
    clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A request at hand is answered, no other is taken, and then it says how many there are.
    """
    collector = Collector(clock=clock, faults=Faults(latency=1.0))
    collecting = asyncio.create_task(collect(collector, Report()))
    await until(lambda: "collecting at" in capsys.readouterr().out)
    posting = asyncio.create_task(post(collector, ONE, {"model_event": wire_event()}))
    await until(lambda: clock.delays == [1.0])

    os.kill(os.getpid(), signal.SIGTERM)
    await refused(collector.url)
    await clock.advance(1.0)
    assert (await posting)[0] == 200
    await collecting

    assert capsys.readouterr().err == "1 event was collected\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.evil"])
@pytest.mark.parametrize("key", [None, "", " "])
def test_serves_this_machine_alone(
    host: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A host that others can reach is a wrong call without a key, and it says what to set.
    """
    if key is not None:
        monkeypatch.setenv("HH_COLLECTOR_API_KEY", key)

    finished = call("collect", "--host", host)

    assert finished.status == 2
    assert "is not a loopback address" in finished.stderr
    assert "set HH_COLLECTOR_API_KEY" in finished.stderr


async def test_with_a_key_others_may_reach_it() -> None:
    """
    Then whoever has no key gets nothing, and the key is never printed.
    """
    with started(
        *("collect", "--host", "0.0.0.0", "--port", "0"), HH_COLLECTOR_API_KEY=" hh_key "
    ) as process:
        assert process.stdout is not None
        url = (await asyncio.to_thread(process.stdout.readline)).decode().split()[-1]
        statuses = []
        for headers in ({}, {"Authorization": "Bearer hh_key"}):
            async with (
                ClientSession(headers=headers) as client,
                client.get(f"{url}/api/events.jsonl") as response,
            ):
                statuses.append(response.status)
        process.send_signal(signal.SIGTERM)
        finished = await finish(process)

    assert statuses == [401, 200]
    assert finished.status == 0
    assert "hh_key" not in finished.stdout + finished.stderr


async def test_faults_are_as_told() -> None:
    """
    Each option reaches the collector, and is what its API tells.
    """
    with started(
        *("collect", "--port", "0", "--latency", "1.5ms", "--rate-limit", "100/s"),
        *("--fault", "503:5%", "--fault", "hang:0.1%", "--fault", "partial:1%"),
        *("--max-events", "10", "--max-age", "7d", "--max-bytes", "500MB"),
    ) as process:
        assert process.stdout is not None
        url = (await asyncio.to_thread(process.stdout.readline)).decode().split()[-1]
        async with ClientSession() as client, client.get(f"{url}/api/faults") as response:
            told = await response.json()
        async with ClientSession() as client, client.get(f"{url}/api/stats") as response:
            stats = await response.json()

    bounds = {"max_events": 10, "max_age": 604_800.0, "max_bytes": 500 * 2**20}
    assert stats | bounds == stats
    assert told == {
        "latency": 0.0015,
        "rate_limit": 100.0,
        "faults": {"503": 0.05, "hang": 0.001, "partial": 0.01},
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--latency", "30"], "'30' is no time such as 30ms"),
        (["--latency", "-1s"], "'-1s' is no time"),
        (["--latency", "61s"], "latency must be from 0 to 60 seconds"),
        (["--max-age", "7 days"], "'7 days' is no time"),
        (["--max-age", "1e3s"], "'1e3s' is no time"),
        (["--max-events", "0"], "0 is not in the range"),
        (["--max-bytes", "500"], "'500' is no size such as 500MB"),
        (["--max-bytes", "0B"], "'0B' is no size"),
        (["--rate-limit", "100"], "'100' is no rate such as 100/s"),
        (["--rate-limit", "0/s"], "'0/s' is no rate"),
        (["--fault", "503"], "'503' is no share such as 503:5%"),
        (["--fault", "503:5"], "'503:5' is no share"),
        (["--fault", "503:101%"], "the share of 503 must be from 0 to 1"),
        (["--fault", "200:5%"], "a fault must be a status from 400 to 599, partial, reset or hang"),
        (["--fault", "503:5%", "--fault", "503:6%"], "503 is given twice"),
        (["--fault", "503:60%", "--fault", "500:60%"], "no more than 1 together"),
    ],
    ids=str,
)
def test_a_bad_value_is_named(arguments: list[str], problem: str) -> None:
    """
    What can't be meant is status 2 and one line that says what can.
    """
    finished = call("collect", "--port", "0", *arguments)

    assert finished.status == 2
    assert finished.stdout == ""
    assert problem in finished.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30ms", 0.03), ("2s", 2.0), ("1.5m", 90.0), ("12h", 43_200.0), ("7d", 604_800.0)],
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    """
    From milliseconds to days.
    """
    assert collect_command.make_context("collect", ["--max-age", text]).params["max_age"] == seconds


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
