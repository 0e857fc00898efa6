"""
`hh-exporter spool`: what is in a spool, whoever holds its files.
"""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli._draining import Draining, Tally
from hh_exporter._cli._report import Report
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.notes import Note
from hh_exporter._spool.notes import leave as leave_note
from hh_exporter._spool.place import set_aside
from tests.builders import make_letter, make_spooled
from tests.command import call, finish, run, started
from tests.conftest import BuildExporter
from tests.nats import connected
from tests.relaying import let_relay
from tests.scripted_server import ScriptedServer, created, hang, refuse_if
from tests.spool_processes import IDENTITY
from tests.spools import KEY, contents, files_in, leave
from tests.support import FakeClock


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """
    A spool of one file that nobody holds, with a record and two dead letters.
    """
    file = SpoolFile.create(tmp_path, IDENTITY)
    with file.transaction():
        file.add([make_spooled(data=b"12345", pushed_at=1_750_000_000.0)])
        file.bury([make_letter(answer=""), make_letter(answer="")])
    file.close()
    return tmp_path


def test_each_file_has_a_line(spool: Path) -> None:
    """
    The line of a file says what is in it, how old, where it goes, and that nobody holds it.
    """
    (path,) = spool.glob("*.spool")
    finished = call("spool", str(spool))

    assert finished.status == 0
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert lines[0].split() == (
        ["file", "records", "dead", "letters", "bytes", "oldest", "held", "dialect", "address"]
    )
    assert lines[1].split() == [
        *(path.stem[:6], "1", "2", "9", "2025-06-15", "15:06:40", "UTC"),
        *("no", "legacy", IDENTITY.base_url),
    ]
    assert lines[-1] == "1 file, 1 record, 2 dead letters, 9 bytes"
    assert KEY not in finished.stdout


def test_a_file_that_is_held_is_looked_at(spool: Path) -> None:
    """
    What a live process has committed is counted, and that it holds the file is said.
    """
    file = SpoolFile.create(spool, IDENTITY)
    with file.transaction():
        file.add([make_spooled(), make_spooled()])
    found = json.loads(call("spool", str(spool), "--json").stdout)
    file.close()

    assert {one["file"]: (one["records"], one["held"]) for one in found["files"]} == {
        path.name: (2, True) if path == file.path else (1, False) for path in spool.glob("*.spool")
    }


def test_json_says_the_same(spool: Path) -> None:
    """
    With --json there is one line, for a program to read.
    """
    (path,) = spool.glob("*.spool")
    finished = call("spool", str(spool), "--json")

    assert finished.stdout.count("\n") == 1
    assert json.loads(finished.stdout) == {
        "records": 1,
        "dead_letters": 2,
        "bytes": 9,
        "files": [
            {
                "file": path.name,
                "records": 1,
                "dead_letters": 2,
                "bytes": 9,
                "oldest_pushed_at": 1_750_000_000.0,
                "held": False,
                "dialect": "legacy",
                "base_url": IDENTITY.base_url,
            }
        ],
        "unreadable": [],
        "set_aside": [],
        "lost": [],
    }


def test_the_environment_names_the_spool(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without an argument it is the exporter's own setting.
    """
    monkeypatch.setenv("HH_EXPORTER_SPOOL_DIRECTORY", f" {spool} ")

    assert "1 file," in call("spool").stdout


def test_a_spool_may_be_in_a_home(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A ~ that no shell has seen is the home, as for the exporter; an unknown one is a wrong call.
    """
    monkeypatch.setenv("HOME", str(spool.parent))
    monkeypatch.setenv("HH_EXPORTER_SPOOL_DIRECTORY", f"~/{spool.name}")

    assert "1 file," in call("spool").stdout

    finished = call("spool", "~no-such-user/events")

    assert finished.status == 2
    assert "~no-such-user/events: nothing says where that home is" in finished.stderr


@pytest.mark.parametrize("value", [None, " "])
def test_no_spool_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """
    Where none is named, the text says how to; a blank value names none.
    """
    if value is not None:
        monkeypatch.setenv("HH_EXPORTER_SPOOL_DIRECTORY", value)
    finished = call("spool")

    assert finished.status == 2
    assert "HH_EXPORTER_SPOOL_DIRECTORY" in finished.stderr


def test_what_is_not_there_is_a_wrong_call(tmp_path: Path) -> None:
    """
    A directory that does not exist is named, and not made.
    """
    missing = tmp_path / "missing"
    finished = call("spool", str(missing))

    assert finished.status == 2
    assert "is not a directory" in finished.stderr
    assert not missing.exists()


def test_an_empty_spool_is_empty(tmp_path: Path) -> None:
    """
    A directory without files is a spool with nothing in it.
    """
    finished = call("spool", str(tmp_path))

    assert finished.status == 0
    assert finished.stdout == "0 files, 0 records, 0 dead letters, 0 bytes\n"


def test_a_file_that_cannot_be_read_is_named(spool: Path) -> None:
    """
    The others are shown all the same, and the status says that something is missing.
    """
    (spool / "broken.spool").write_bytes(b"garbage" * 1_000)
    finished = call("spool", str(spool))

    assert finished.status == 1
    assert "1 file, 1 record" in finished.stdout
    assert "broken.spool: file is not a database" in finished.stderr.replace("\n", " ")


def test_what_was_set_aside_is_named(spool: Path) -> None:
    """
    A file that an exporter gave up is there for a person to look at.
    """
    broken = spool / "broken.spool"
    broken.write_bytes(b"garbage" * 1_000)
    set_aside(broken)
    finished = call("spool", str(spool))

    assert finished.status == 0
    assert finished.stdout.endswith("set aside, since it can't be read: broken.spool.corrupt\n")


def test_what_a_process_lost_is_named(spool: Path) -> None:
    """
    As often as one looks: only an exporter that starts removes it.
    """
    leave_note(spool, Note(12, 1_750_000_000.0, "disk I/O error"))
    for _ in range(2):
        finished = call("spool", str(spool))

        assert finished.status == 0
        assert finished.stdout.splitlines()[-1] == (
            "lost at the end of a process at 2025-06-15 15:06:40 UTC: 12 events (disk I/O error)"
        )
    listed = json.loads(call("spool", str(spool), "--json").stdout)
    assert listed["lost"] == [{"events": 12, "at": 1_750_000_000.0, "why": "disk I/O error"}]


def drain(spool: Path, *arguments: str) -> tuple[str, ...]:
    return "spool", str(spool), "--drain", "--json", *arguments


class TestStream:
    """
    What waits for a stream goes to no other place.
    """

    PLACE = "jetstream:llm.events"
    CHOICE = "HH_EXPORTER_JETSTREAM_SERVERS=… HH_EXPORTER_JETSTREAM_SUBJECT=llm.events"

    @pytest.fixture
    def spool(self, tmp_path: Path) -> Path:
        path = tmp_path / "aaaa11.spool"
        leave(path, self.PLACE, records=["a", "b"], letters=["c"], api_key=None)
        return tmp_path

    @pytest.fixture
    def both(self, spool: Path) -> Path:
        leave(spool / "bbbb22.spool", "http://127.0.0.1:9", records=["x"])
        return spool

    def test_its_line_names_it(self, spool: Path) -> None:
        """
        Where an address would be.
        """
        assert call("spool", str(spool)).stdout.splitlines()[1].split()[-2:] == [
            "legacy",
            self.PLACE,
        ]
        [file] = json.loads(call("spool", str(spool), "--json").stdout)["files"]
        assert file["base_url"] == self.PLACE

    async def test_its_servers_must_be_named(self, spool: Path) -> None:
        """
        The file doesn't know them, and no key helps.
        """
        finished = await run(*drain(spool), HH_API_KEY=KEY)

        assert finished.status == 2
        assert (
            "what is there waits for a stream: set HH_EXPORTER_JETSTREAM_SERVERS" in finished.stderr
        )
        assert contents(spool) == (["a", "b"], ["c"])

    async def test_it_is_not_sent_to_an_address(self, spool: Path) -> None:
        """
        The text says what to set.
        """
        url = "http://127.0.0.1:9"
        for finished in (
            await run(*drain(spool), HH_API_KEY=KEY, HH_API_URL=url),
            await run(*drain(spool, "--url", url), HH_API_KEY=KEY),
        ):
            assert finished.status == 1
            assert f"what it holds goes elsewhere: {self.CHOICE} --dialect legacy" in " ".join(
                finished.stderr.split()
            )
        assert contents(spool) == (["a", "b"], ["c"])

    async def test_what_waits_for_the_api_is_not_sent_to_it(self, both: Path) -> None:
        """
        Not even where the environment names servers; nor is what waits for another subject.
        """
        servers = "nats://127.0.0.1:1"
        finished = await run(*drain(both), HH_API_KEY=KEY, HH_EXPORTER_JETSTREAM_SERVERS=servers)

        assert finished.status == 1
        assert "goes elsewhere: --url http://127.0.0.1:9 --dialect legacy" in finished.stderr
        assert self.CHOICE in finished.stderr
        assert contents(both) == (["a", "b", "x"], ["c"])

    async def test_an_address_outranks_the_servers(
        self, both: Path, server: ScriptedServer
    ) -> None:
        """
        Given as an option, as in a program.
        """
        leave(both / "cccc33.spool", server.url, records=["y"])
        finished = await run(
            *drain(both, "--url", server.url),
            HH_API_KEY=KEY,
            HH_EXPORTER_JETSTREAM_SERVERS="nats://127.0.0.1:1",
        )

        assert json.loads(finished.stdout)["delivered"] == 1
        assert contents(both) == (["a", "b", "x"], ["c"])

    async def test_it_has_no_key_to_hand_over(self, spool: Path) -> None:
        """
        With or without servers in the environment.
        """
        for servers in ("", "nats://127.0.0.1:1"):
            finished = await run(
                *("spool", str(spool), "--adopt", "--yes"),
                HH_API_KEY=KEY,
                HH_EXPORTER_JETSTREAM_SERVERS=servers,
            )

            assert finished.status == 1
            assert "its events wait for a stream, which has no key" in finished.stderr
            assert finished.stdout.startswith("handed over 0 records and 0 dead letters in 0 files")

    async def test_the_stream_gets_it(self, spool: Path, nats_server: Cluster) -> None:
        """
        It is relayed then, by servers of which the file knows nothing, and needs no key.
        """
        async with connected(nats_server) as client:
            await client.make_stream("EVENTS", "llm.events.>")
            finished = await run(
                *drain(spool),
                HH_EXPORTER_JETSTREAM_SERVERS=",".join(nats_server.addresses),
                HH_EXPORTER_JETSTREAM_SUBJECT="llm.events",
            )
            count = await client.messages("EVENTS")

        assert finished.status == 0
        assert json.loads(finished.stdout)["relayed"] == count == 2
        assert contents(spool) == ([], ["c"])


class TestDrain:
    """
    What waits is delivered without the program that left it, or stays where it is.
    """

    @pytest.mark.parametrize("dialect", ["legacy", "v1"])
    async def test_a_collector_gets_what_the_files_hold(self, tmp_path: Path, dialect: str) -> None:
        """
        Address and dialect are the files' own where none is told; dead letters stay.
        """
        async with Collector() as collector:
            for name in ("aaaa11", "bbbb22"):
                leave(
                    tmp_path / f"{name}.spool",
                    collector.url,
                    records=[f"{name}-{n}" for n in range(3)],
                    letters=[f"{name}-dead"],
                    dialect=dialect,
                    api_key=None,
                )
            finished = await run(*drain(tmp_path))
            count = await collector.count()

        assert finished.status == 0
        assert finished.stderr == ""
        assert json.loads(finished.stdout) == {
            "recovered": 6,
            "delivered": 6,
            "relayed": 0,
            "rejected": 0,
            "dropped": 0,
            "left": 0,
            "requests": 1,
            "retries": 0,
            "held": [],
            "others": [],
            "unreadable": [],
        }
        assert count == 6
        assert contents(tmp_path) == ([], ["aaaa11-dead", "bbbb22-dead"])

    async def test_a_server_that_is_down_gets_nothing(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        Without an outcome for --timeout seconds it ends, says why, and all is still there.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["a", "b"])
        await server.stop()
        finished = await run(*drain(tmp_path, "--timeout", "0.5"), HH_API_KEY=KEY)

        assert finished.status == 1
        assert "stopped after 0.5 s without an outcome: the server " in finished.stderr
        assert json.loads(finished.stdout)["left"] == 2
        assert contents(tmp_path) == (["a", "b"], [])

    async def test_a_pause_of_the_process_is_no_time_without_an_outcome(
        self, build_exporter: BuildExporter, clock: FakeClock
    ) -> None:
        """
        After Ctrl-Z and fg the server has the rest of --timeout to answer, and no more.
        """
        draining = Draining(exporter=build_exporter(), tally=Tally(1), report=Report(), clock=clock)
        draining._look(10.0)

        clock.stand_still(3600.0)
        draining._look(10.0)
        assert not draining._over.is_set()
        for _ in range(15):
            await clock.advance(0.5)
            draining._look(10.0)

        assert draining._over.is_set()

    async def test_what_is_relayed_is_done(
        self, build_exporter: BuildExporter, tmp_path: Path, server: ScriptedServer
    ) -> None:
        """
        A stream has it: nothing is left, and the table has a row for it.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["a", "b"])
        tally = Tally(2)
        assert "relayed" not in {name for name, _, _ in tally.rows()}
        exporter = build_exporter(
            api_key=KEY, spool=tmp_path, on_outcome=tally.note, _clock=SystemClock()
        )
        let_relay(exporter)

        await Draining(exporter=exporter, tally=tally, report=Report()).run(20.0, 5.0)

        assert ("relayed", "2", "") in tally.rows()
        assert (tally.arrived, tally.left, tally.summary().delivered) == (2, 0, 0)
        assert contents(tmp_path) == ([], [])

    async def test_what_is_rejected_becomes_a_dead_letter(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        What the server refuses is kept for a person; the status tells.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["a", "b"])
        server.default = refuse_if(lambda event: event["event_id"] == "a")
        finished = await run(*drain(tmp_path), HH_API_KEY=KEY)

        assert finished.status == 1
        assert json.loads(finished.stdout)["rejected"] == 1
        assert contents(tmp_path) == ([], ["a"])

    async def test_a_signal_loses_nothing(self, server: ScriptedServer, tmp_path: Path) -> None:
        """
        After Ctrl-C each event is at the server or on disk, and the next call sends the rest.
        """
        names = [f"e{n:03}" for n in range(300)]
        leave(tmp_path / "aaaa11.spool", server.url, records=names)
        server.script(*[created()] * 5)
        server.default = hang()
        with started(
            *drain(tmp_path), HH_API_KEY=KEY, HH_EXPORTER_BATCH_MAX_EVENTS="10"
        ) as process:
            await server.requests_seen(6)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            finished = await finish(process)
        told = json.loads(finished.stdout)

        assert finished.status == 1
        assert "stopped by a signal, before all was delivered\n" in finished.stderr
        assert (told["delivered"], told["left"]) == (50, 250)
        assert sorted([*server.created_ids, *contents(tmp_path)[0]]) == names

        server.default = created()
        finished = await run(*drain(tmp_path), HH_API_KEY=KEY)
        assert finished.status == 0
        assert sorted(server.created_ids) == names
        assert files_in(tmp_path) == []

    async def test_a_person_sees_a_bar_and_a_table(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        The bar is on stderr and gone at the end; the table on stdout has a line for each number.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["a", "b"])
        terminal, side = pty.openpty()
        with os.fdopen(terminal, "rb", buffering=0) as shown:
            with (
                os.fdopen(side, "wb", buffering=0) as stderr,
                started(
                    *("spool", str(tmp_path), "--drain"),
                    stderr=stderr,
                    HH_API_KEY=KEY,
                    TERM="xterm",
                ) as process,
            ):
                finished = await finish(process)
            seen = shown.read(65536).decode()

        assert finished.stdout.splitlines() == [
            *("recovered  2", "delivered  2", "rejected   0", "dropped    0", "left       0"),
            *("requests   1", "retries    0"),
        ]
        assert "delivering" in seen

    def test_a_held_file_is_left(
        self, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        What a live process holds is its own to send; one with nothing to send is no matter.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        leave(tmp_path / "aaaa11.spool", server.url, records=["a"])
        leave(tmp_path / "bbbb22.spool", server.url, letters=["b"])
        files = [SpoolFile.adopt(path, None) for path in sorted(tmp_path.glob("*.spool"))]
        finished = call(*drain(tmp_path))
        for file in files:
            assert file is not None
            file.close()

        assert finished.status == 1
        assert json.loads(finished.stdout)["held"] == ["aaaa11.spool"]
        assert contents(tmp_path) == (["a"], ["b"])

    def test_what_goes_elsewhere_is_named(
        self, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A file of another address, dialect or key stays, and the text says what to call instead.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        leave(tmp_path / "aaaa11.spool", server.url, records=["a"], dialect="v1")
        leave(tmp_path / "bbbb22.spool", server.url, records=["b"], api_key="hh_other")
        leave(tmp_path / "cccc33.spool", "https://api.example", records=["c"])
        finished = call(*drain(tmp_path, "--url", f"{server.url}/", "--dialect", "legacy"))

        assert finished.status == 1
        elsewhere = "is skipped: what it holds goes elsewhere:"
        assert finished.stderr.splitlines() == [
            f"aaaa11.spool {elsewhere} --url {server.url} --dialect v1",
            "bbbb22.spool is skipped: HH_API_KEY is not the key with which it was written",
            f"cccc33.spool {elsewhere} --url https://api.example --dialect legacy",
        ]
        assert len(json.loads(finished.stdout)["others"]) == 3
        assert contents(tmp_path)[0] == ["a", "b", "c"]

    async def test_the_environment_says_which_of_several_places(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        What is told counts before what files say; what was not told is theirs.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["a"], dialect="v1")
        leave(tmp_path / "bbbb22.spool", "https://api.example", records=["b"])
        finished = await run(*drain(tmp_path), HH_API_KEY=KEY, HH_API_URL=server.url)

        assert finished.status == 1
        assert [request.path for request in server.requests] == ["/v1/events/batch"]
        assert contents(tmp_path) == (["b"], [])

    def test_several_places_are_a_wrong_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Where to is not guessed: the places are listed, as options to choose from.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        leave(tmp_path / "aaaa11.spool", "https://api.example", records=["a"])
        leave(tmp_path / "bbbb22.spool", "https://api.example", records=["b"], dialect="v1")
        finished = call(*drain(tmp_path))

        assert finished.status == 2
        assert "  --url https://api.example --dialect legacy\n" in finished.stderr
        assert "  --url https://api.example --dialect v1\n" in finished.stderr

    def test_an_empty_spool_is_drained(self, tmp_path: Path) -> None:
        """
        With nothing to send there is nothing to ask a key for.
        """
        finished = call(*drain(tmp_path))

        assert finished.status == 0
        assert finished.stderr == "there is nothing to be sent\n"

    def test_a_place_without_drain_is_a_wrong_call(self, tmp_path: Path) -> None:
        """
        To look needs no address.
        """
        finished = call("spool", str(tmp_path), "--url", "http://127.0.0.1:1")

        assert finished.status == 2
        assert "need --drain" in finished.stderr
