"""
A file that is deleted, moved, replaced or truncated while it is in use: nothing is lost, and
all is said.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import BatchLimits, DropReason, QueueLimits, Spool
from hh_exporter._spool import schema
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.place import is_held, list_files
from tests.builders import make_spooled
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer, created, hang_after_storing, refuse_if
from tests.spool_processes import IDENTITY, processes
from tests.spools import come_back, contents, files_in, on_disk, written
from tests.support import (
    FakeClock,
    assert_balanced,
    model_event,
    push_all,
    until,
)

SAID = (
    "hh_exporter: a spool file in {} was deleted, moved, replaced or truncated while it was "
    "in use: the spool goes on in a new one, with all that was in it"
)

NARROW: dict[str, Any] = {
    "queue": QueueLimits(max_events=4),
    "batch": BatchLimits(max_events=2, linger=0.0),
    "max_in_flight": 1,
    "request_timeout": 1000.0,
}
"""Settings with which two events are in flight, two wait in memory, and others on disk alone."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def delete(directory: Path, pattern: str) -> None:
    for path in directory.glob(pattern):
        path.unlink()


def replace(directory: Path) -> None:
    """
    Put another file, that nobody holds, where the first is.
    """
    [path] = list_files(directory)
    other = SpoolFile.create(directory.parent / "other", IDENTITY)
    with other.transaction():
        other.add([make_spooled(event_id="other")])
    other.close()
    delete(directory, "*-wal")
    other.path.rename(path)


WAYS = [
    pytest.param(lambda d: delete(d, "*"), id="files"),
    pytest.param(lambda d: delete(d, "*.spool"), id="the file"),
    pytest.param(lambda d: delete(d, "*-wal"), id="its log"),
    pytest.param(lambda d: delete(d, "*-shm"), id="its index"),
    pytest.param(shutil.rmtree, id="the directory"),
    pytest.param(lambda d: d.rename(d.with_name("elsewhere")), id="the directory, moved"),
    pytest.param(replace, id="the file, replaced"),
]


@pytest.mark.parametrize("take_away", WAYS)
async def test_all_that_was_there_is_in_a_new_file(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    directory: Path,
    take_away: Callable[[Path], object],
) -> None:
    """
    What put acknowledges then is on disk, and so is what waited there, in memory or not.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    exporter = await make_exporter(spool=Spool(directory, durable=True), **NARROW)
    push_all(exporter, "bad", "good")
    await until(lambda: exporter.stats().dead_letters)
    server.default = hang_after_storing()
    push_all(exporter, *(f"e{n}" for n in range(8)))
    await until(lambda: exporter.stats().in_flight == 2)
    await written(exporter)
    before = exporter.stats()
    take_away(directory)
    push_all(exporter, "late")
    await written(exporter)

    waiting = [*(f"e{n}" for n in range(8)), "late"]
    found = contents(directory)
    assert [i for i in found[0] if i != "other"] == waiting
    assert found[1] == ["bad"]
    assert caplog.messages.count(SAID.format(directory)) == 1
    after = assert_balanced(exporter)
    assert (after.dead_letters, after.spooled) == (before.dead_letters, before.spooled + 1)
    assert after.health == "ok"
    server.default = created()
    server.release()
    await come_back(exporter, clock)
    await exporter.aclose()
    assert sorted(server.created_ids) == sorted([*waiting, "good"])
    assert len(contents(directory)[0]) == ("other" in found[0])


async def test_a_put_after_its_file_was_deleted_is_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    However often it happens, and though nothing was in the file.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    for n in range(5):
        assert await exporter.put(model_event(event_id=f"e{n}"))
        assert on_disk(directory) == [f"e{n}" for n in range(n + 1)]
        delete(directory, "*")


async def test_nothing_is_acknowledged_while_no_new_file_can_be_made(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    Health says why; once one can be made, it has all that the deleted one had.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    assert await exporter.put(model_event(event_id="e0"))
    shutil.rmtree(directory)
    directory.write_text("in the way")  # noqa: ASYNC240

    assert not await exporter.put(model_event(event_id="e1"))
    push_all(exporter, "e2")
    await written(exporter)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SPOOL_FULL: 1}
    assert exporter.stats().health == "degraded"
    directory.unlink()  # noqa: ASYNC240

    await until(lambda: on_disk(directory) == ["e0", "e2"])
    await until(lambda: exporter.stats().health == "ok")
    assert await exporter.put(model_event(event_id="e3"))
    assert on_disk(directory) == ["e0", "e2", "e3"]


async def test_of_a_file_that_can_not_be_read_what_is_in_memory_is_written_again(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The rest is counted as lost, once, and nothing is sent that is not there.
    """

    def fail(file: SpoolFile) -> Any:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(SpoolFile, "copy", fail)
    server.default = hang_after_storing()
    exporter = await make_exporter(spool=Spool(directory, durable=True), **NARROW)
    push_all(exporter, *(f"e{n}" for n in range(6)))
    await until(lambda: exporter.stats().in_flight == 2)
    await written(exporter)
    assert exporter.stats().spooled == 2
    delete(directory, "*")
    push_all(exporter, "late")
    await until(lambda: exporter.stats().dropped == 3)

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.PURGED: 3}
    await until(lambda: len(on_disk(directory)) == 4)
    [said] = [text for text in caplog.messages if "can't be read any more" in text]
    assert said.endswith(
        "it can't be read any more, and what was there alone is lost (events: 2, dead letters: 0)"
    )
    server.default = created()
    server.release()
    await come_back(exporter, clock)
    assert exporter.stats().delivered == 4
    await exporter.aclose()
    assert not list_files(directory)


# Locks.


def test_a_live_file_without_its_lock_is_taken_over_by_nobody(directory: Path) -> None:
    """
    Neither in this process nor in another, which leave no lock of their own.
    """
    file = SpoolFile.create(directory, IDENTITY)
    delete(directory, "*.lock")

    assert SpoolFile.adopt(file.path, IDENTITY) is None
    with processes() as some:
        some.start("hold", file.path)
        some.open_gate()
        assert some.read() == "none"
    assert not list(directory.glob("*.lock"))
    file.close(remove_empty=False)
    again = SpoolFile.adopt(file.path, IDENTITY)
    assert again is not None
    again.close()


async def test_a_lock_that_was_taken_away_is_taken_again(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    With the next commit all is as before; nothing need be said.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    push_all(exporter, "e0")
    await written(exporter)
    [path] = list_files(directory)
    delete(directory, "*.lock")
    assert not is_held(path)
    push_all(exporter, "e1")
    await until(lambda: is_held(path))

    assert SpoolFile.adopt(path, None) is None
    assert list_files(directory) == [path]
    assert on_disk(directory) == ["e0", "e1"]


async def test_no_cleaner_of_temporary_files_takes_what_looks_used(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    All files look as if they were used within the hour, though nothing is pushed.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(
        spool=Spool(directory, durable=True), batch=BatchLimits(linger=100_000.0)
    )
    push_all(exporter, "e0")
    await written(exporter)
    files = files_in(directory)
    assert len(files) == 4
    for path in files:
        os.utime(path, (0.0, 0.0))

    await clock.advance(3600.0)
    await until(lambda: all(path.stat().st_mtime > time.time() - 60.0 for path in files))


def test_a_lock_that_is_taken_away_as_it_is_taken_is_no_lock(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who waited for it takes the one that others find.
    """
    file = SpoolFile.create(directory, IDENTITY)
    file.close(remove_empty=False)
    open_ = os.open

    def taken_away(path: str, *arguments: int) -> int:
        descriptor = open_(path, *arguments)
        if path.endswith(".lock"):
            monkeypatch.undo()
            Path(path).unlink()
        return descriptor

    monkeypatch.setattr(os, "open", taken_away)
    adopted = SpoolFile.adopt(file.path, IDENTITY)
    assert adopted is not None
    assert is_held(file.path)
    adopted.close()


@pytest.mark.parametrize("page_size", [1024, 16_384], ids=["", "of an early version"])
def test_a_copy_is_seen_once_it_is_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    """
    Who looks into the directory meanwhile takes no part of it for a damaged file.
    """
    monkeypatch.setattr(schema, "_PAGE_SIZE", page_size)
    file = SpoolFile.create(directory, IDENTITY)
    with file.transaction():
        file.add([make_spooled(f"e{n}", b"." * 5000) for n in range(300)])
    monkeypatch.setattr(schema, "_PAGE_SIZE", 1024)
    delete(directory, "*")
    copied: list[SpoolFile] = []
    thread = threading.Thread(target=lambda: copied.append(file.copy()))
    thread.start()
    seen = {0}
    while thread.is_alive():
        for path in list_files(directory):
            assert SpoolFile.adopt(path, IDENTITY) is None
            with suppress(FileNotFoundError):
                if (look := SpoolFile.peek(path)) is not None:
                    seen.add(look.count)
                    look.close()
    thread.join()

    assert seen <= {0, 300}
    [copy] = copied
    assert copy.count == 300
    copy.close()
    file.leave()


@pytest.mark.parametrize("pattern", ["*.spool", "*-wal"], ids=["the file", "its log"])
async def test_what_is_put_after_a_file_was_truncated_is_on_disk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    directory: Path,
    pattern: str,
) -> None:
    """
    So is what is in memory; a file that can't be read is kept for a person.
    """
    server.default = hang_after_storing()
    # The log is written to its file every 256 KiB, and SQLite keeps 2 MB of that in memory.
    exporter = await make_exporter(spool=Spool(directory, durable=True, max_bytes=8 * 2**20))
    for n in range(60):
        assert await exporter.put(model_event(event_id=f"e{n}", response="." * 60_000))
    [path] = (path for path in files_in(directory) if path.match(pattern))
    os.truncate(path, path.stat().st_size // 2)

    assert await exporter.put(model_event(event_id="late"))
    assert "late" in on_disk(directory)
    await until(lambda: len(on_disk(directory)) == 61)
    [said] = [text for text in caplog.messages if "truncated while it was in use" in text]
    is_aside = any(path.match("*.spool.corrupt") for path in files_in(directory))
    assert is_aside == said.endswith("there alone is lost (events: 0, dead letters: 0)")
    assert is_aside or said == SAID.format(directory)
    assert_balanced(exporter)
