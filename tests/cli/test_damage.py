"""
What commands make of a spool with damaged rows and files: they show it, and go on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.command import Finished, call, run
from tests.scripted_server import ScriptedServer
from tests.spools import KEY, contents, damage, files_in, leave


@pytest.fixture
async def spool(tmp_path: Path, server: ScriptedServer) -> Path:
    """
    A spool with a damaged record and a damaged letter in one file, and a file without a seal.
    """
    leave(tmp_path / "a.spool", server.url, records=["r0", "r1", "r2"], letters=["d0", "d1"])
    leave(tmp_path / "b.spool", server.url, records=["lost"])
    damage(
        tmp_path / "a.spool",
        "UPDATE records SET pushed_at = 'x', data = 'text' WHERE id = 2",
        "UPDATE letters SET id = -7, pushed_at = 'x', status = 'y', answer = NULL, data = 5 "
        "WHERE id = 1",
    )
    damage(tmp_path / "b.spool", "DELETE FROM meta")
    return tmp_path


def dead_letters(spool: Path, *arguments: str) -> Finished:
    return call("dead-letters", *arguments, "--spool", str(spool))


def test_damaged_rows_are_listed(spool: Path) -> None:
    """
    The others are listed too, and the file that can't be read is named.
    """
    listed = call("spool", str(spool))
    letters = dead_letters(spool, "list", "--json")

    for finished in (listed, letters):
        assert finished.status == 1
        assert "b.spool: its seal is damaged" in finished.stderr
    assert "1 file, 3 records, 2 dead letters" in listed.stdout
    assert {row["event_id"] for row in json.loads(letters.stdout)} == {"d0", "d1"}


async def test_draining_makes_dead_letters_of_damaged_records(
    spool: Path, server: ScriptedServer
) -> None:
    """
    The others are sent, and that some were not is said; what is damaged can be looked at.
    """
    finished = await run("spool", str(spool), "--drain", "--json", HH_API_KEY=KEY)

    assert finished.status == 1
    told = json.loads(finished.stdout)
    assert (told["recovered"], told["delivered"], told["left"]) == (2, 2, 0)
    assert "1 damaged event is a dead letter now" in finished.stderr
    assert contents(spool) == ([], ["d0", "d1", "r1"])
    shown = dead_letters(spool, "show", "a-4")
    assert "why       dropped, damaged\n" in shown.stdout
    assert "what is damaged:\npushed_at, data\n" in shown.stdout
    assert shown.stdout.endswith('the event:\n"text"\n')


async def test_damaged_letters_are_replayed_and_die_again(
    spool: Path, server: ScriptedServer
) -> None:
    """
    Each letter of the spool has its outcome, the damaged one a dead letter again.
    """
    finished = await run(
        "dead-letters", "replay", "--all", "--json", "--spool", str(spool), HH_API_KEY=KEY
    )
    told = json.loads(finished.stdout)

    assert finished.status == 1
    assert (told["recovered"], told["delivered"], told["dropped"], told["left"]) == (3, 1, 2, 0)
    again = json.loads(dead_letters(spool, "list", "--json").stdout)
    assert {row["reason"] for row in again} == {"damaged"}


def test_damaged_rows_are_purged(spool: Path) -> None:
    """
    All that is in files that can be read is deleted, whatever its columns hold.
    """
    finished = dead_letters(spool, "purge", "--unsent", "--yes", "--json")

    told = json.loads(finished.stdout)
    assert (told["dead_letters"], told["records"], told["unreadable"]) == (3, 2, ["b.spool"])
    (spool / "b.spool").unlink()
    assert contents(spool) == ([], [])


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """
    A spool with a file that was set aside, and its log.
    """
    for end in ("", "-wal"):
        path = tmp_path / f"a.spool.corrupt{end}"
        path.write_text("prompt")
        os.utime(path, (1_750_000_000.0, 1_750_000_000.0))
    return tmp_path


@pytest.mark.parametrize("options", [["--unsent"], ["--unsent", "--older-than", "7d"]])
def test_what_was_set_aside_is_purged(aside: Path, options: list[str]) -> None:
    """
    It may hold events, so it goes with those that were not sent, if it is old enough.
    """
    finished = dead_letters(aside, "purge", "--yes", *options)

    assert finished.status == 0
    assert finished.stdout == "deleted 0 dead letters and 0 unsent records and 1 file set aside\n"
    assert not files_in(aside)


async def test_the_user_is_asked_before_it_is_purged(aside: Path) -> None:
    """
    A person may still want to recover what is in it.
    """
    finished = await run("dead-letters", "purge", "--unsent", "--spool", str(aside), stdin=b"n\n")

    assert finished.status == 1
    assert "and 1 file set aside? [y/N]" in finished.stderr
    assert len(files_in(aside)) == 2


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ([], "see --unsent"),
        (["--unsent", "--user", "ann"], "without --session, --user and --reason"),
        (["--session", "s1"], "without --session, --user and --reason"),
    ],
)
def test_what_was_set_aside_and_stays_is_named(
    aside: Path, options: list[str], advice: str
) -> None:
    """
    It can't be searched, and it is said that it may hold what is to be deleted.
    """
    finished = dead_letters(aside, "purge", "--yes", *options)

    assert f"may hold some that fit, too: a.spool.corrupt; to delete: {advice}" in finished.stderr
    assert len(files_in(aside)) == 2


def test_what_was_set_aside_and_is_too_young_stays(aside: Path) -> None:
    """
    Its age is that of its last change.
    """
    finished = dead_letters(aside, "purge", "--yes", "--unsent", "--older-than", "999999d")

    assert (finished.status, finished.stderr) == (0, "")
    assert len(files_in(aside)) == 2
