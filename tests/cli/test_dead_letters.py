"""
`hh-exporter dead-letters`: a person sees what died and why, and decides what becomes of it.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson
import pytest

from hh_exporter import Event, Exporter
from hh_exporter._cli._report import Report, printable
from hh_exporter._cli._spooled import find_letters, revive
from hh_exporter._cli._spools import Spool
from hh_exporter._packing import pack
from hh_exporter._records import UPDATES, Subject
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, Letter, Match
from tests.builders import make_letter, make_spooled
from tests.command import Finished, call, finish, run, started
from tests.scripted_server import ScriptedServer, created, hang, refuse_if, status
from tests.spool_processes import IDENTITY
from tests.spools import KEY, contents, files_in, leave
from tests.support import model_event

CANARY = "canary-3f1c"
"""Stands in payloads and answers, which only `show` may show."""

OLD = make_letter(
    "old",
    b'{"model":"m","text":"%b","session_id":"s1","user_properties":{"user_id":"ann"}}'
    % CANARY.encode(),
    pushed_at=1_750_000_000.0,
    answer=f"{CANARY} \x1b[31m",
)
NEW = make_letter("new", b'{"session_id":"s2"}', reason="retries_exhausted", status=None, answer="")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """
    A spool of two files that nobody holds: OLD in one, packed, and NEW, of now, in the other.
    """
    bury(tmp_path / "aaaa11.spool", attrs.evolve(OLD, data=pack(OLD.data)))
    now = time.time()
    fields = {"event_id": "new", "data": NEW.data, "reason": NEW.reason}
    bury(
        tmp_path / "bbbb22.spool",
        make_letter(**fields, pushed_at=now, status=None, answer=""),  # type: ignore[arg-type]
    )
    return tmp_path


def bury(path: Path, *letters: Letter) -> None:
    """
    Make a file of a name that a test knows.
    """
    file = SpoolFile.create(path.parent, IDENTITY)
    with file.transaction():
        file.bury(letters)
    file.close()
    file.path.rename(path)
    Path(f"{file.path}.lock").unlink()


@pytest.fixture
def held(spool: Path) -> Iterator[SpoolFile]:
    """
    The file of OLD, held by somebody.
    """
    file = SpoolFile.adopt(spool / "aaaa11.spool", IDENTITY)
    assert file is not None
    yield file
    file.close()


def dead_letters(spool: Path, *arguments: str) -> Finished:
    return call("dead-letters", *arguments, "--spool", str(spool))


def ids(spool: Path) -> list[str]:
    return [row["id"] for row in json.loads(dead_letters(spool, "list", "--json").stdout)]


class TestList:
    """
    What died, in a line each.
    """

    def test_each_letter_has_a_line(self, spool: Path) -> None:
        """
        The line says what to call it, when and why it died, and which event it was.
        """
        finished = dead_letters(spool, "list")
        head, old, new = finished.stdout.splitlines()

        assert finished.status == 0
        assert head.split() == ["id", "died", "kind", "why", "bytes", "event_id"]
        assert old.split() == [
            *("aaaa11-1", "2025-06-15", "15:06:41", "UTC", "model"),
            *("rejected,", "HTTP", "400", str(len(OLD.data)), "old"),
        ]
        assert new.startswith("bbbb22-1 ")
        assert "dropped, retries_exhausted" in new
        assert CANARY not in finished.stdout

    def test_a_line_is_not_cut_in_a_narrow_terminal(
        self, spool: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        An id can be copied, however narrow the terminal is.
        """
        wide = dead_letters(spool, "list").stdout
        monkeypatch.setenv("COLUMNS", "20")

        assert dead_letters(spool, "list").stdout == wide

    def test_json_is_one_line(self, spool: Path) -> None:
        """
        With --json there is one line with a list, for a program to read.
        """
        finished = dead_letters(spool, "list", "--json")

        assert finished.stdout.count("\n") == 1
        assert json.loads(finished.stdout)[0] == {
            "id": "aaaa11-1",
            "event_id": "old",
            "kind": "model",
            "outcome": "rejected",
            "reason": "",
            "status": 400,
            "pushed_at": OLD.pushed_at,
            "died_at": OLD.died_at,
            "bytes": len(OLD.data),
        }

    @pytest.mark.parametrize(
        ("data", "route", "kind"),
        [
            (b'{"model":"m"}', "", "model"),
            (b'{"event_type":"session"}', "", "session"),
            (b'{"event_type":"tool"}', "others", "tool"),
            (b'{"event_id":"e","feedback":{}}', "updates", "update"),
            (b'{"event_type":["tool"]}', "others", "unknown"),
            (b"[]", "", "unknown"),
            (b"\xff", "", "unknown"),
        ],
    )
    def test_each_kind_is_told(self, tmp_path: Path, data: bytes, route: str, kind: str) -> None:
        """
        Also where the event itself doesn't say it, and where it is damaged.
        """
        bury(tmp_path / "aaaa11.spool", attrs.evolve(make_letter("e", data), route=route))

        [row] = json.loads(dead_letters(tmp_path, "list", "--json").stdout)
        shown = dead_letters(tmp_path, "show", "aaaa11-1").stdout

        assert row["kind"] == kind
        assert f"kind      {kind}\n" in shown
        assert f"\nthe {'update' if kind == 'update' else 'event'}:\n" in shown

    def test_without_any_it_says_so(self, tmp_path: Path) -> None:
        """
        A spool without dead letters is a good one.
        """
        finished = dead_letters(tmp_path, "list")

        assert (finished.status, finished.stdout) == (0, "no dead letters\n")

    def test_names_are_as_long_as_it_takes(self, spool: Path) -> None:
        """
        Where two files begin alike, ids have as much of their names as tells them apart.
        """
        bury(spool / "aaaa11x.spool", make_letter())

        assert ids(spool) == ["aaaa11-1", "aaaa11x-1", "bbbb22-1"]

    @pytest.mark.usefixtures("held")
    def test_a_reason_chooses(self, spool: Path) -> None:
        """
        Those that were dropped for it, or rejected.
        """
        for reason, found in (
            ("rejected", ["old"]),
            ("retries_exhausted", ["new"]),
            ("too_large", []),
        ):
            listed = dead_letters(spool, "list", "--reason", reason, "--json")
            assert [row["event_id"] for row in json.loads(listed.stdout)] == found

        wrong = dead_letters(spool, "list", "--reason", "bad luck")
        assert (wrong.status, "'rejected'" in wrong.stderr) == (2, True)

    def test_what_a_live_process_holds_is_listed(self, spool: Path) -> None:
        """
        To look takes no lock.
        """
        assert ids(spool) == ["aaaa11-1", "bbbb22-1"]

    def test_what_cannot_be_read_is_named(self, spool: Path) -> None:
        """
        The others are listed, and the status says that something is missing.
        """
        (spool / "broken.spool").write_bytes(b"garbage" * 1_000)
        finished = dead_letters(spool, "list")

        assert finished.status == 1
        assert "broken.spool" in finished.stderr
        assert len(finished.stdout.splitlines()) == 3


class TestShow:
    """
    One letter, whole.
    """

    def test_the_event_and_the_answer_are_shown(self, spool: Path) -> None:
        """
        All that is known of a letter is there, and nothing in it reaches the terminal as an order.
        """
        finished = dead_letters(spool, "show", "aaaa11-1")

        assert finished.status == 0
        assert "why       rejected, HTTP 400\n" in finished.stdout
        assert "pushed    2025-06-15 15:06:40 UTC\n" in finished.stdout
        assert f"the server said:\n{CANARY} \\u001b[31m\n" in finished.stdout
        event = finished.stdout.partition("the event:\n")[2]
        assert json.loads(event) == json.loads(OLD.data)

    def test_json_has_the_event_in_it(self, spool: Path) -> None:
        """
        With --json there is one line, with event and answer as they are.
        """
        finished = dead_letters(spool, "show", "aaaa11-1", "--json")
        shown = json.loads(finished.stdout)

        assert finished.stdout.count("\n") == 1
        assert shown["event"] == json.loads(OLD.data)
        assert shown["answer"] == OLD.answer
        assert shown["id"] == "aaaa11-1"

    @pytest.mark.parametrize("letter_id", ["a-1", "aaaa-1"])
    def test_the_beginning_of_a_name_is_enough(self, spool: Path, letter_id: str) -> None:
        """
        As much of a file's name as tells it from others names it.
        """
        assert "event_id  old\n" in dead_letters(spool, "show", letter_id).stdout

    @pytest.mark.parametrize(
        "letter_id", ["cccc-1", "aaaa11-2", "aaaa11", "aaaa11-x", "aaaa11-" + "9" * 30, "", "1"]
    )
    def test_what_is_not_there_is_a_wrong_call(self, spool: Path, letter_id: str) -> None:
        """
        An id of nothing is named, with status 2.
        """
        finished = dead_letters(spool, "show", letter_id)

        assert finished.status == 2
        assert f"there is no dead letter {letter_id!r}" in finished.stderr

    def test_what_several_files_may_be_called_is_a_wrong_call(self, spool: Path) -> None:
        """
        An id that fits two files is not guessed.
        """
        bury(spool / "aaaa33.spool", make_letter())
        finished = dead_letters(spool, "show", "aaaa-1")

        assert finished.status == 2
        assert "2 files" in finished.stderr

    def test_text_of_all_the_world_is_shown_as_it_is(self) -> None:
        """
        Only what a terminal would obey is escaped, so that JSON stays JSON.
        """
        text = json.dumps("é 漢 🙂\n", ensure_ascii=False)

        assert printable(text) == text
        odd = '"\x7f\x9b\u202e\U000e0001"'
        assert printable(odd) == r'"\u007f\u009b\u202e\udb40\udc01"'
        assert json.loads(printable(odd)) == json.loads(odd)


class TestPurge:
    """
    What is forgotten is forgotten for good.
    """

    @pytest.mark.parametrize(
        ("options", "left"),
        [
            ([], []),
            (["--session", "s1"], ["bbbb22-1"]),
            (["--user", "ann"], ["bbbb22-1"]),
            (["--older-than", "7d"], ["bbbb22-1"]),
            (["--older-than", "3600"], ["bbbb22-1"]),
            (["--reason", "rejected"], ["bbbb22-1"]),
            (["--reason", "rejected", "--session", "s2"], ["aaaa11-1", "bbbb22-1"]),
            (["--user", "ann", "--session", "s2"], ["aaaa11-1", "bbbb22-1"]),
        ],
    )
    def test_what_fits_every_option_is_forgotten(
        self, spool: Path, options: list[str], left: list[str]
    ) -> None:
        """
        Letters of a session, of a user or of an age are gone; without options, all are.
        """
        finished = dead_letters(spool, "purge", "--yes", *options)
        gone = 2 - len(left)

        assert finished.status == 0
        assert finished.stdout == f"deleted {gone} dead letter{'' if gone == 1 else 's'}\n"
        assert ids(spool) == left

    @pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 2), ("", 2)])
    async def test_it_asks_first(self, spool: Path, answer: str, left: int) -> None:
        """
        Nothing is forgotten unless a person agrees to the number.
        """
        finished = await run(
            *("dead-letters", "purge", "--spool", str(spool)), stdin=f"{answer}\n".encode()
        )

        assert finished.status == (1 if left else 0)
        assert "Permanently delete 2 dead letters?" in finished.stderr
        assert len(ids(spool)) == left

    def test_nothing_to_forget_asks_nothing(self, tmp_path: Path) -> None:
        """
        A spool where nothing fits is done at once.
        """
        finished = dead_letters(tmp_path, "purge")

        assert (finished.status, finished.stdout) == (0, "deleted 0 dead letters\n")

    @pytest.mark.usefixtures("held")
    def test_what_a_live_process_holds_is_left(self, spool: Path) -> None:
        """
        Its file is named and stays as it is; the rest is forgotten, and the status tells.
        """
        finished = dead_letters(spool, "purge", "--yes")

        assert finished.status == 1
        assert "aaaa11.spool is skipped: a running process holds it" in finished.stderr
        assert ids(spool) == ["aaaa11-1"]

    @pytest.mark.usefixtures("held")
    def test_a_held_file_that_does_not_fit_is_no_matter(self, spool: Path) -> None:
        """
        Only files with something to forget are taken.
        """
        finished = dead_letters(spool, "purge", "--yes", "--session", "s2")

        assert (finished.status, finished.stderr) == (0, "")
        assert ids(spool) == ["aaaa11-1"]

    def test_unsent_records_stay_unless_asked_for(self, spool: Path) -> None:
        """
        What waits to be sent is no dead letter; that it fits too is said.
        """
        path = spool / "aaaa11.spool"
        file = SpoolFile.adopt(path, None)
        assert file is not None
        with file.transaction():
            file.add([make_spooled(data=OLD.data), make_spooled()])
        file.close()

        kept = dead_letters(spool, "purge", "--yes", "--user", "ann")
        assert "1 record not sent yet fits too: see --unsent" in kept.stderr
        assert kept.stdout == "deleted 1 dead letter\n"
        gone = dead_letters(spool, "purge", "--yes", "--user", "ann", "--unsent", "--json")
        assert json.loads(gone.stdout) == {
            "dead_letters": 0,
            "records": 1,
            "set_aside": 0,
            "held": [],
            "unreadable": [],
        }
        left = SpoolFile.peek(path)
        assert left is not None
        assert left.count == 1
        left.close()

    @pytest.mark.parametrize("age", ["7 days", "d", "-1", "nan", "1e3", "٣d"])
    def test_an_age_that_is_none_is_a_wrong_call(self, spool: Path, age: str) -> None:
        """
        Nothing is forgotten by a guess.
        """
        finished = dead_letters(spool, "purge", "--yes", "--older-than", age)

        assert finished.status == 2
        assert len(ids(spool)) == 2


class TestReviving:
    """
    What is to be sent again waits in its file as a record, as old as it was.
    """

    @pytest.mark.parametrize(
        ("wanted", "revived"),
        [
            (None, ["aaaa11-1", "bbbb22-1"]),
            (["b-1"], ["bbbb22-1"]),
            (["aaaa11-1", "aaaa-1", "aaaa11-1"], ["aaaa11-1"]),
            ([], []),
        ],
    )
    def test_letters_become_records(
        self, spool: Path, wanted: list[str] | None, revived: list[str]
    ) -> None:
        """
        Those that are named, however often, or all, are records now.
        """
        some = Spool(spool, Report())
        names = {"aaaa11-1": "old", "bbbb22-1": "new"}

        found = revive(some, find_letters(some, wanted, Match()))

        assert found == Counter(Subject(names[i], False) for i in revived)
        assert ids(spool) == [i for i in names if i not in revived]
        assert sum(some.look(lambda file: file.count).values()) == len(revived)
        assert some.is_complete

    def test_a_reason_chooses(self, spool: Path) -> None:
        """
        The others stay dead letters, and no file is touched for nothing.
        """
        some = Spool(spool, Report())
        match = Match(reason="retries_exhausted")

        assert list(find_letters(some, None, match)) == [spool / "bbbb22.spool"]
        assert revive(some, find_letters(some, None, match)) == {Subject("new", False): 1}
        assert ids(spool) == ["aaaa11-1"]

    @pytest.mark.usefixtures("held")
    def test_what_a_live_process_holds_is_left(self, spool: Path) -> None:
        """
        Its file is named and left alone.
        """
        some = Spool(spool, Report())

        assert revive(some, find_letters(some, None, Match())) == {Subject("new", False): 1}
        assert some.held == ["aaaa11.spool"]

    def test_what_is_gone_meanwhile_is_not_counted(self, spool: Path) -> None:
        """
        A letter that somebody else took between the look and the lock is not there to be sent.
        """
        some = Spool(spool, Report())

        assert revive(some, {spool / "aaaa11.spool": [1, 7]}) == {Subject("old", False): 1}


@pytest.fixture
def letters(tmp_path: Path, server: ScriptedServer) -> Path:
    """
    A spool of two files that go to `server`: three dead letters, and an event that waits.
    """
    leave(tmp_path / "aaaa11.spool", server.url, records=["r"], letters=["a1", "a2"])
    leave(tmp_path / "bbbb22.spool", server.url, letters=["b"])
    return tmp_path


def replay(spool: Path, *arguments: str) -> tuple[str, ...]:
    return "dead-letters", "replay", "--json", "--spool", str(spool), *arguments


class TestReplay:
    """
    What died is sent again, and nothing is lost on the way.
    """

    async def test_all_of_two_files_are_delivered(
        self, letters: Path, server: ScriptedServer
    ) -> None:
        """
        Every dead letter arrives, however old it is, with what waited beside it; no file is left.
        """
        finished = await run(*replay(letters, "--all"), HH_API_KEY=KEY)

        assert finished.status == 0
        assert json.loads(finished.stdout) == {
            "recovered": 3,
            "delivered": 3,
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
        assert finished.stderr == "1 other event waited in the same spool: 1 sent too\n"
        assert sorted(server.created_ids) == ["a1", "a2", "b", "r"]
        assert files_in(letters) == []

    async def test_one_by_its_id(self, letters: Path, server: ScriptedServer) -> None:
        """
        A letter that is not named stays dead; the table says what became of the one that is.
        """
        arguments = [a for a in replay(letters, "aaaa11-2") if a != "--json"]
        finished = await run(*arguments, HH_API_KEY=KEY)

        assert finished.status == 0
        assert finished.stdout.splitlines()[:2] == ["recovered  1", "delivered  1"]
        assert sorted(server.created_ids) == ["a2", "r"]
        assert contents(letters) == ([], ["a1", "b"])

    async def test_what_is_rejected_again_is_dead_again(
        self, letters: Path, server: ScriptedServer
    ) -> None:
        """
        A letter that the server still refuses is kept once more; the others are delivered.
        """
        server.default = refuse_if(lambda event: event["event_id"] == "a1")
        arguments = [a for a in replay(letters, "--all") if a != "--json"]
        finished = await run(*arguments, HH_API_KEY=KEY)

        assert finished.status == 1
        assert "rejected   1  HTTP 400, dead letters again\n" in finished.stdout
        assert sorted(server.created_ids) == ["a2", "b", "r"]
        assert contents(letters) == ([], ["a1"])

    async def test_each_kind_goes_by_its_own_route(
        self, tmp_path: Path, server: ScriptedServer
    ) -> None:
        """
        As it would have gone before it died.
        """
        server.default = status(400)
        async with Exporter(KEY, base_url=server.url, spool=str(tmp_path)) as exporter:
            exporter.push(model_event(event_id="m"))
            exporter.push(Event(event_type="tool", event_id="t"))
            exporter.update("before", feedback={"rating": 5})
            assert (await exporter.flush()).rejected == 3
        server.default = created()
        before = len(server.requests)

        finished = await run(*replay(tmp_path, "--all"), HH_API_KEY=KEY)

        assert finished.status == 0
        assert json.loads(finished.stdout)["delivered"] == 3
        requests = server.requests[before:]
        sent = {r.events[0]["event_id"]: r.path for r in requests if r.method == "POST"}
        assert sent == {"m": "/events/model/batch", "t": "/events/batch"}
        [update] = [r for r in requests if r.method == "PUT"]
        assert update.path == "/events"
        assert orjson.loads(update.body) == {"event_id": "before", "feedback": {"rating": 5}}

    async def test_an_event_is_told_from_its_updates(
        self, tmp_path: Path, server: ScriptedServer
    ) -> None:
        """
        The update alone is meant; its event, which waits in the same file, is not counted.
        """
        leave(tmp_path / "aaaa11.spool", server.url, records=["r"])
        file = SpoolFile.adopt(
            tmp_path / "aaaa11.spool", Identity(base_url=server.url, dialect="legacy", api_key=KEY)
        )
        assert file is not None
        update = attrs.evolve(make_letter("r", b'{"event_id":"r","metrics":{}}'), route=UPDATES)
        with file.transaction():
            file.bury([attrs.evolve(update, pushed_at=time.time())])
        file.close()

        finished = await run(*replay(tmp_path, "--all"), HH_API_KEY=KEY)

        assert finished.status == 0
        assert json.loads(finished.stdout)["delivered"] == 1
        assert finished.stderr == "1 other event waited in the same spool: 1 sent too\n"
        assert [(r.method, r.path) for r in server.requests] == [
            ("POST", "/events/model/batch"),
            ("PUT", "/events"),
        ]

    async def test_a_refused_key_stops_it(self, letters: Path, server: ScriptedServer) -> None:
        """
        Where the server refuses us it ends at once and says why; all waits to be sent.
        """
        server.default = status(401)
        finished = await run(*replay(letters, "--all"), HH_API_KEY=KEY)

        assert finished.status == 1
        assert "stopped: HTTP 401" in finished.stderr
        assert json.loads(finished.stdout)["left"] == 3
        assert contents(letters) == (["a1", "a2", "b", "r"], [])

    async def test_a_signal_loses_nothing(self, letters: Path, server: ScriptedServer) -> None:
        """
        What has no outcome by then is on disk, and a second signal ends it at once.
        """
        server.script(created())
        server.default = hang()
        with started(
            *replay(letters, "--all"), HH_API_KEY=KEY, HH_EXPORTER_BATCH_MAX_EVENTS="1"
        ) as process:
            await server.requests_seen(2)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            finished = await finish(process)

        told = json.loads(finished.stdout)
        waiting, dead = contents(letters)
        assert finished.status == 1
        assert "stopped by a signal" in finished.stderr
        assert sorted([*server.created_ids, *waiting]) == ["a1", "a2", "b", "r"]
        assert len(server.created_ids) == 1
        assert told["recovered"] == told["delivered"] + told["left"] == 3
        assert dead == []

    def test_a_wrong_key_revives_nothing(
        self, letters: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The seal of a file tells that the key is not its own: it is named, and nothing is sent.
        """
        monkeypatch.setenv("HH_API_KEY", "hh_other")
        finished = call(*replay(letters, "b-1"))

        assert finished.status == 1
        said = "bbbb22.spool is skipped: HH_API_KEY is not the key with which it was written"
        assert finished.stderr == f"{said}\n"
        assert json.loads(finished.stdout)["others"] == ["bbbb22.spool"]
        assert len(contents(letters)[1]) == 3
        assert server.connections == 0

    def test_without_the_key_it_says_which_to_set(self, letters: Path) -> None:
        """
        A file that was written with a key is not sent without one, to this machine either.
        """
        finished = call(*replay(letters, "b-1"))

        assert finished.status == 1
        assert "it was written with a key: set HH_API_KEY\n" in finished.stderr

    def test_no_key_is_a_wrong_call(self, tmp_path: Path) -> None:
        """
        A server elsewhere needs a key, and the address that the file names is told.
        """
        leave(tmp_path / "aaaa11.spool", "https://api.example", letters=["a"])
        finished = call(*replay(tmp_path, "--all"))

        assert finished.status == 2
        assert "no API key for https://api.example: set HH_API_KEY" in finished.stderr
        assert contents(tmp_path) == ([], ["a"])

    def test_a_held_file_is_left(self, letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        What a live process holds is named, and nothing of it is sent.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        file = SpoolFile.adopt(letters / "bbbb22.spool", None)
        assert file is not None
        finished = call(*replay(letters, "bbbb22-1"))
        file.close()

        assert finished.status == 1
        assert json.loads(finished.stdout)["held"] == ["bbbb22.spool"]
        assert "bbbb22.spool is skipped: a running process holds it\n" in finished.stderr
        assert len(contents(letters)[1]) == 3

    @pytest.mark.parametrize("wanted", [["cccc-1"], ["aaaa11-1", "b-7"], ["a-0"]])
    def test_an_id_that_does_not_exist_is_a_wrong_call(
        self, letters: Path, wanted: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Of a call with one wrong id nothing is done.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        finished = call(*replay(letters, *wanted))

        assert finished.status == 2
        assert f"there is no dead letter '{wanted[-1]}'" in finished.stderr
        assert contents(letters) == (["r"], ["a1", "a2", "b"])

    @pytest.mark.parametrize("arguments", [[], ["--all", "aaaa11-1"]])
    def test_which_are_meant_is_told_in_one_way(self, letters: Path, arguments: list[str]) -> None:
        """
        Neither ids nor --all is a wrong call, and so are both.
        """
        finished = call(*replay(letters, *arguments))

        assert finished.status == 2
        assert "or --all" in finished.stderr

    def test_without_any_there_is_nothing_to_do(self, tmp_path: Path) -> None:
        """
        A spool without dead letters needs no key, and is done.
        """
        finished = call(*replay(tmp_path, "--all"))

        assert finished.status == 0
        assert finished.stderr == "there is nothing to be sent\n"
        assert json.loads(finished.stdout)["recovered"] == 0

    def test_a_file_that_cannot_be_read_is_named(
        self, letters: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Whether the letter is in there is not known, so its id is not called wrong.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        (letters / "cccc33.spool").write_bytes(b"garbage" * 1_000)
        finished = call(*replay(letters, "cccc33-1"))

        assert finished.status == 1
        assert json.loads(finished.stdout)["unreadable"] == ["cccc33.spool"]
