"""
`hh-exporter dead-letters`: a person sees what died and why, and decides what becomes of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report, printable
from hh_exporter._cli._spools import Spool
from hh_exporter._cli.dead_letters import revive
from hh_exporter._spool_file import SpoolFile
from hh_exporter._spooled import Letter
from tests.builders import make_letter, make_spooled
from tests.command import Finished, call, run
from tests.spool_processes import IDENTITY

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
    A spool of two files that nobody holds: OLD in one, and NEW, of now, in the other.
    """
    bury(tmp_path / "aaaa11.spool", OLD)
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
        assert head.split() == ["id", "died", "why", "bytes", "event_id"]
        assert old.split() == [
            *("aaaa11-1", "2025-06-15", "15:06:41", "UTC"),
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
            "outcome": "rejected",
            "reason": "",
            "status": 400,
            "pushed_at": OLD.pushed_at,
            "died_at": OLD.died_at,
            "bytes": len(OLD.data),
        }

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
        assert finished.stdout == f"forgot {gone} dead letter{'' if gone == 1 else 's'}\n"
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
        assert "Forget 2 dead letters for good?" in finished.stderr
        assert len(ids(spool)) == left

    def test_nothing_to_forget_asks_nothing(self, tmp_path: Path) -> None:
        """
        A spool where nothing fits is done at once.
        """
        finished = dead_letters(tmp_path, "purge")

        assert (finished.status, finished.stdout) == (0, "forgot 0 dead letters\n")

    @pytest.mark.usefixtures("held")
    def test_what_a_live_process_holds_is_left(self, spool: Path) -> None:
        """
        Its file is named and stays as it is; the rest is forgotten, and the status tells.
        """
        finished = dead_letters(spool, "purge", "--yes")

        assert finished.status == 1
        assert "aaaa11.spool is held by a live process" in finished.stderr
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
        assert kept.stdout == "forgot 1 dead letter\n"
        gone = dead_letters(spool, "purge", "--yes", "--user", "ann", "--unsent", "--json")
        assert json.loads(gone.stdout) == {
            "dead_letters": 0,
            "records": 1,
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
            (["aaaa11-1", "aaaa11-7"], ["aaaa11-1"]),
            ([], []),
        ],
    )
    def test_letters_become_records(
        self, spool: Path, wanted: list[str] | None, revived: list[str]
    ) -> None:
        """
        Those that are named, or all, are records now; what is not there is not returned.
        """
        some = Spool(spool, Report())

        assert revive(some, wanted) == revived
        assert ids(spool) == [i for i in ("aaaa11-1", "bbbb22-1") if i not in revived]
        assert sum(some.look(lambda file: file.count).values()) == len(revived)
        assert some.is_complete

    @pytest.mark.usefixtures("held")
    def test_what_a_live_process_holds_is_left(self, spool: Path) -> None:
        """
        Its file is named and left alone.
        """
        some = Spool(spool, Report())

        assert revive(some, None) == ["bbbb22-1"]
        assert some.held == ["aaaa11.spool"]

    def test_an_id_of_no_file_revives_nothing(self, spool: Path) -> None:
        """
        Of a call with a wrong id nothing is done.
        """
        with pytest.raises(CallError, match="no dead letter"):
            revive(Spool(spool, Report()), ["aaaa11-1", "cccc-1"])

        assert len(ids(spool)) == 2
