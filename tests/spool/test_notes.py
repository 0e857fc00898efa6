"""
What a process lost as it ended is logged by the next: its own warning may have been read by nobody.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import Exporter, Spool
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import SpooledRecord
from hh_exporter._spool.notes import Note, leave, peek, take
from tests.conftest import KEY, BuildExporter, MakeExporter
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, unavailable
from tests.spools import in_memory, on_disk
from tests.support import model_event, push_all

NO_ROOM = "it had no room, or its disk was too slow"


@pytest.fixture
def directory() -> Iterable[Path]:
    with in_memory() as path:
        yield path / "spool"


def notes_in(directory: Path) -> list[Path]:
    return list(directory.glob("*.lost"))


async def close_with_loss(exporter: Exporter, server: ScriptedServer) -> int:
    """
    Close while the server is down; return how many of nine events are not on disk.
    """
    server.default = unavailable()
    push_all(exporter, *[f"e{n}" for n in range(9)], metadata={"secret": "canary"})
    await exporter.aclose(0.0)
    return exporter.stats().dropped


async def test_what_had_no_room_is_logged_by_the_next_start(
    directory: Path,
    make_exporter: MakeExporter,
    build_exporter: BuildExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Once, by one of those that start, and its note is gone.
    """
    lost = await close_with_loss(
        await make_exporter(spool=Spool(directory, max_bytes=1000)), server
    )
    assert 0 < lost < 9
    caplog.clear()

    for _ in range(2):
        await make_exporter(spool=directory)
        await build_exporter(spool=directory).start()

    [line] = [line for line in caplog.messages if "earlier process" in line]
    assert line == (
        f"hh_exporter: {lost} events lost at the end of an earlier process: the spool in "
        f"{directory} could not take them ({NO_ROOM})"
    )
    assert not notes_in(directory)


async def test_a_note_holds_a_number_and_a_reason(
    directory: Path, make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Only its owner can read it, and nothing in it is of an event or the key.
    """
    exporter = await make_exporter(spool=Spool(directory, max_bytes=1000))
    lost = await close_with_loss(exporter, server)

    [path] = notes_in(directory)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = path.read_text()
    assert json.loads(line) == {"events": lost, "at": exporter._clock.wall(), "why": NO_ROOM}
    assert line.endswith("}\n")


async def test_what_could_not_be_written_is_noted(
    directory: Path,
    make_exporter: MakeExporter,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where SQLite fails, but a small file can be written, it says why.
    """

    def fail(file: SpoolFile, records: Sequence[SpooledRecord]) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SpoolFile, "add", fail)
    exporter = await make_exporter(spool=directory)

    assert await close_with_loss(exporter, server) == 9

    assert peek(directory) == [Note(9, exporter._clock.wall(), "disk I/O error")]


async def test_a_reason_that_names_an_odd_path_is_noted(
    directory: Path,
    make_exporter: MakeExporter,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A directory's name need not be text, and the close ends all the same.
    """
    # pytest-xdist fails on a log that is no text.
    caplog.set_level(logging.CRITICAL, "hh_exporter")

    def fail(file: SpoolFile, records: Sequence[SpooledRecord]) -> Any:
        raise OSError(f"{os.fsdecode(b'caf' + bytes([0xE9]))} is full")

    monkeypatch.setattr(SpoolFile, "add", fail)
    exporter = await make_exporter(spool=directory)

    assert await close_with_loss(exporter, server) == 9

    assert [note.why for note in peek(directory)] == ["caf? is full"]


async def test_a_close_that_loses_nothing_leaves_no_note(
    directory: Path, make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Nor does an event that is pushed too late, which its own process hears of.
    """
    exporter = await make_exporter(spool=directory)

    assert await close_with_loss(exporter, server) == 0
    assert not exporter.push(model_event())
    await exporter.aclose()

    assert len(on_disk(directory)) == 9
    assert not notes_in(directory)


async def test_an_exporter_does_not_log_its_own_note(
    directory: Path,
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Started again, it has logged that already.
    """
    exporter = await make_exporter(spool=Spool(directory, max_bytes=1000))
    assert await close_with_loss(exporter, server)
    await exporter.start()

    assert not notes_in(directory)
    assert not [line for line in caplog.messages if "earlier process" in line]


async def test_a_program_without_stderr_is_heard_of(
    server: ScriptedServer, directory: Path
) -> None:
    """
    A daemon that ended at its atexit, with nobody to read what it logs.
    """
    server.default = unavailable()
    environ = {
        "HH_EXPORTER_SPOOL_DIRECTORY": str(directory),
        "HH_EXPORTER_SPOOL_MAX_BYTES": "1000",
        "HH_API_KEY": KEY,
    }
    lose = """
        os.close(2)
        push(*[f"e{n}" for n in range(9)])
    """
    start = """
        exporter.install_signal_handlers()
        asyncio.run(exporter.start())
        os._exit(0)
    """

    silent = await run_program(lose, server.url, **environ)
    told = await run_program(start, server.url, **environ)

    assert silent.stderr == ""
    assert f"lost at the end of an earlier process: the spool in {directory}" in (told.stderr)


def test_notes_are_bounded(tmp_path: Path) -> None:
    """
    Where nobody starts any more to read them, a directory does not fill up.
    """
    for n in range(150):
        leave(tmp_path, Note(1, float(n), NO_ROOM))

    assert len(peek(tmp_path)) == 100
    assert peek(tmp_path)[0].at == 0.0


def test_a_note_is_taken_once(tmp_path: Path) -> None:
    """
    Reading leaves it, taking removes it.
    """
    note = Note(12, 1.5, NO_ROOM)
    leave(tmp_path, note)

    assert peek(tmp_path) == [note]
    assert take(tmp_path) == [note]
    assert take(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"events": "12", "at": 1.5, "why": ""}'])
def test_what_is_no_note_is_left_alone(tmp_path: Path, text: str) -> None:
    """
    It may be one that is being written.
    """
    path = tmp_path / "odd.lost"
    path.touch(0o600)
    path.write_text(text)

    assert take(tmp_path) == []
    assert path.exists()


def test_a_note_of_others_is_not_read(tmp_path: Path) -> None:
    """
    What somebody else may have written is not logged.
    """
    leave(tmp_path, Note(12, 1.5, NO_ROOM))
    [path] = notes_in(tmp_path)
    path.chmod(0o666)

    assert take(tmp_path) == []
