"""
`hh-exporter spool`: what is in a spool, whoever holds its files.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hh_exporter._spool_file import SpoolFile
from hh_exporter._spool_place import set_aside
from tests.builders import make_letter, make_spooled
from tests.command import call
from tests.spool_processes import IDENTITY, KEY


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
    }


def test_the_environment_names_the_spool(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without an argument it is the exporter's own setting.
    """
    monkeypatch.setenv("HH_EXPORTER_SPOOL_DIRECTORY", f" {spool} ")

    assert "1 file," in call("spool").stdout


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
    assert "is no directory" in finished.stderr
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
