"""
`hh-exporter demo`: the whole way on one machine, and an honest account of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import attrs
import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter import Exporter
from hh_exporter._cli._report import Report
from hh_exporter._cli._sample import sample
from hh_exporter._cli.demo import Comparison, Run, compare, demo, wire_forms
from hh_exporter._collector import Collector, StoredEvent
from hh_exporter._collector.storage.store import SessionRow, Store
from hh_exporter._dialects.registry import DIALECTS
from tests.command import call, finish, run, started
from tests.scripted_server import ScriptedServer
from tests.support import PATIENCE, model_event

ROOT = Path(__file__).parents[2]
CANARY = "canary-9d2e"
EVENTS = 729


def numbers(output: str) -> dict[str, float]:
    """
    Read the rows of the table that the demo prints.
    """
    rows = re.findall(r"^([a-z/ 0-9]+?) +([\d,.]+)(?: |$)", output, re.MULTILINE)
    return {name: float(number.replace(",", "")) for name, number in rows}


class TestRun:
    """
    The demo as it is meant to go, and as it may go wrong.
    """

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_every_event_arrives_as_it_was_pushed(
        self, capsys: pytest.CaptureFixture[str], dialect: str
    ) -> None:
        """
        The table balances, and the verdict follows from what the collector holds.
        """
        assert await demo(Collector(), Report(), keep=False, dialect=dialect)

        said = capsys.readouterr()
        table = numbers(said.out)
        assert table["pushed"] == table["delivered"] == EVENTS + (dialect == "v1")  # its session
        assert table["rejected"] == table["dropped"] == table["retries"] == 0
        assert table["requests"] >= EVENTS / 1000
        assert 0 < table["push p50"] <= table["push p99"]
        assert table["events/s"] > 0
        assert "The session's properties arrived.\n" in said.out
        assert "All 729 events arrived as they were pushed, each once.\n" in said.out
        assert said.out.endswith("Run it with --keep to look at them in the browser.\n")
        assert said.err == ""

    async def test_it_sends_to_its_own_collector_and_nowhere_else(
        self,
        server: ScriptedServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        No setting of the user's changes what it does, and all are there afterwards.
        """
        settings = {
            "HH_API_KEY": f"{CANARY} with a blank",
            "HH_API_URL": server.url,
            "HH_PROJECT": CANARY,
            "HH_SOURCE": CANARY,
            "HH_EXPORTER_DISABLED": "1",
            "HH_EXPORTER_DIALECT": "v1",
            "HH_EXPORTER_QUEUE_MAX_EVENTS": "nonsense",
            "HH_EXPORTER_MAX_IN_FLIGHT": "-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

        assert await demo(Collector(), Report(), keep=False)

        assert server.requests == []
        assert CANARY not in "".join(capsys.readouterr())
        assert {name: os.environ[name] for name in settings} == settings

    async def test_its_page_is_shown_where_that_is_wanted(self) -> None:
        """
        A browser is opened with the page, which is there then.
        """
        seen: list[int] = []

        def show(address: str) -> None:
            with urlopen(address) as answer:
                seen.append(answer.status)
            os.kill(os.getpid(), signal.SIGINT)

        assert await demo(Collector(), Report(), keep=True, show=show)

        assert seen == [200]

    async def test_a_browser_that_blocks_does_not_hold_it(self) -> None:
        """
        A signal ends it although the browser, as one in a terminal, goes on.
        """
        closed = threading.Event()
        browsers: list[threading.Thread] = []

        def show(_: str) -> None:
            browsers.append(threading.current_thread())
            os.kill(os.getpid(), signal.SIGTERM)
            closed.wait(PATIENCE)

        try:
            async with asyncio.timeout(PATIENCE / 2):
                assert await demo(Collector(), Report(), keep=True, show=show)
        finally:
            closed.set()
            for browser in browsers:
                browser.join(PATIENCE)

    async def test_what_the_collector_has_of_others_is_no_success(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        It counts what is there and was not pushed.
        """
        db = tmp_path / "events.db"
        async with Collector(db=db) as collector, Exporter(base_url=collector.url) as exporter:
            exporter.push(model_event())

        assert not await demo(Collector(db=db), Report(), keep=False)

        assert "Not all arrived as it was pushed: 1 foreign." in capsys.readouterr().out

    async def test_a_session_that_nobody_told_of_is_no_success(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        What the collector knows of sessions must be what was told, and no more.
        """
        db = tmp_path / "events.db"
        async with Store.open(db) as store:
            await store.add([], SessionRow(b'{"session_name":"other"}', "s", 0))

        assert not await demo(Collector(db=db), Report(), keep=False)

        assert "Not all arrived: the properties of the session" in capsys.readouterr().out

    def test_the_status_is_that_of_the_verdict(self) -> None:
        """
        A demo that went well ends with 0.
        """
        finished = call("demo")

        assert finished.status == 0
        assert finished.stderr == ""

    def test_it_needs_nothing_around_it(self) -> None:
        """
        It goes well without a home, a standard input or a terminal, and with dead proxies.
        """
        command = (str(ROOT / ".ci" / "hostile"), sys.executable, "-m", "hh_exporter", "demo")
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        assert finished.returncode == 0
        assert "All 729 events arrived as they were pushed, each once.\n" in finished.stdout
        assert "\x1b" not in finished.stdout
        assert finished.stderr == ""

    def test_a_taken_port_is_one_line(self) -> None:
        """
        Where the port is taken it says so in one line, with status 2.
        """
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            finished = call("demo", "--port", port)

        assert finished.status == 2
        assert finished.stdout == ""
        assert finished.stderr.count("\n") == 1
        assert port in finished.stderr


class TestProcess:
    """
    The demo as people and scripts run it.
    """

    async def test_its_output_is_plain_where_there_is_no_terminal(self) -> None:
        """
        Neither a bar nor an escape sequence goes into a file.
        """
        finished = await run("demo")

        assert finished.status == 0
        assert finished.stderr == ""
        assert "\x1b" not in finished.stdout
        assert "pushing" not in finished.stdout
        assert all(line == line.rstrip() for line in finished.stdout.splitlines())
        assert max(map(len, finished.stdout.splitlines())) <= 80

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_keep_leaves_the_events_to_look_at(self, number: signal.Signals) -> None:
        """
        With --keep the collector answers until a signal, and the status is 0 then too.
        """
        with started("demo", "--keep") as process:
            assert process.stdout is not None
            said = line = ""
            while "stays up until Ctrl-C" not in line:
                line = (await asyncio.to_thread(process.stdout.readline)).decode()
                assert line
                said += line
            address = re.findall(r"http://\S+/api/events\.jsonl", said)[0]
            page = re.findall(r"Look at them at (http://\S+/)\n", said)[0]
            async with ClientSession() as client:
                async with client.get(page) as response:
                    assert response.content_type == "text/html"
                async with client.get(address) as response:
                    stored = [orjson.loads(line) for line in (await response.read()).splitlines()]
            process.send_signal(number)
            finished = await finish(process)

        assert len({row["event_id"] for row in stored}) == len(stored) == EVENTS
        assert len({row["event"].get("session_id") for row in stored}) > len(
            {event.session_id for event in sample()}
        )
        assert finished.status == 0
        assert finished.stderr == ""


class TestComparison:
    """
    What counts as arrived.
    """

    PUSHED = wire_forms(
        (
            model_event(event_id=event_id, duration=1, cost=0.1, inputs={"n": [1, None, "é"]})
            for event_id in "abc"
        ),
        "legacy",
    )

    def stored(self, event_id: str, **changes: Any) -> StoredEvent:
        event = {"start_time": 5.0, "end_time": 6.0, **self.PUSHED.get(event_id, {}), **changes}
        event = dict(reversed(event.items()))
        return StoredEvent(event=event, event_id=event_id, path="/events/model/batch", time=0)

    def test_the_order_and_the_stamps_do_not_matter(self) -> None:
        """
        Times that the exporter adds are no difference, nor is any order of events or keys.
        """
        comparison = compare(self.PUSHED, [self.stored(event_id) for event_id in "cab"])

        assert comparison == Comparison(missing=0, altered=0, repeated=0, foreign=0)
        assert comparison.is_exact

    @pytest.mark.parametrize(
        "changes",
        [
            {"model": "other"},
            {"duration": 1.0},
            {"duration": True},
            {"cost": 0.1000001},
            {"inputs": {"n": [1, None, "e\u0301"]}},
            {"inputs": {"n": [1, None]}},
            {"added": None},
            {"project": "other"},
        ],
    )
    def test_any_other_value_is_a_difference(self, changes: dict[str, Any]) -> None:
        """
        An event with one value changed or added is altered: 1 is neither 1.0 nor true.
        """
        stored = [self.stored("a"), self.stored("b", **changes), self.stored("c")]

        assert compare(self.PUSHED, stored) == Comparison(
            missing=0, altered=1, repeated=0, foreign=0
        )

    def test_a_time_of_the_events_own_is_compared(self) -> None:
        """
        What is a stamp where the exporter adds it is data where the event had it.
        """
        pushed = wire_forms([model_event(event_id="a", start_time=1.0)], "legacy")

        def stored(**changes: Any) -> StoredEvent:
            return StoredEvent(event={**pushed["a"], **changes}, event_id="a", path="", time=0)

        assert compare(pushed, [stored()]).is_exact
        assert compare(pushed, [stored(start_time=2.0)]).altered == 1

    def test_a_missing_value_is_a_difference(self) -> None:
        """
        An event that arrived without one of its fields is altered.
        """
        stored = [self.stored(event_id) for event_id in "abc"]
        del stored[0].event["cost"]

        assert compare(self.PUSHED, stored).altered == 1

    def test_what_is_missing_repeated_or_foreign_is_counted(self) -> None:
        """
        The verdict gives each in numbers.
        """
        stored = [self.stored(event_id) for event_id in "aaaczz"]

        comparison = compare(self.PUSHED, stored)

        assert comparison == Comparison(missing=1, altered=0, repeated=2, foreign=2)
        assert not comparison.is_exact
        assert str(comparison) == "1 missing, 2 repeated, 2 foreign"


class TestBooks:
    """
    When the demo says that the books balance.
    """

    @pytest.mark.parametrize(
        ("changes", "is_balanced"),
        [
            ({"pushed": 3, "delivered": 3}, True),
            ({"pushed": 3, "delivered": 1, "rejected": 1, "dropped": 1}, True),
            ({"pushed": 3, "delivered": 1, "relayed": 2}, True),
            ({"pushed": 3, "delivered": 2}, False),
            ({"pushed": 2, "delivered": 2}, False),
            ({"pushed": 3, "delivered": 3, "dropped": 1}, False),
        ],
    )
    def test_each_push_has_exactly_one_outcome(
        self, changes: dict[str, Any], is_balanced: bool
    ) -> None:
        """
        What is missing or too much on either side is said.
        """
        stats = attrs.evolve(Exporter(base_url="http://127.0.0.1:9").stats(), **changes)

        assert (
            Run(stats=stats, seconds=1.0, pushes=(1e-6,) * 3, sessions=0).is_balanced is is_balanced
        )
