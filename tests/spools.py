"""
Spools as dead processes leave them, and what becomes of those of the living.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import Factory, define

from hh_exporter import Exporter
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._encoding.codec import Codec
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, Letter, SpooledRecord
from hh_exporter._spool.place import list_files
from tests.builders import make_codec, make_letter
from tests.support import PATIENCE, FakeClock, assert_balanced, model_event, until

__all__ = [
    "KEY",
    "Stall",
    "come_back",
    "contents",
    "damage",
    "files_in",
    "in_memory",
    "leave",
    "letter_of",
    "letters_in",
    "on_disk",
    "spooled",
    "stall",
    "written",
]

KEY = "hh_canary_key_3f1c"


def leave(
    path: Path,
    base_url: str,
    *,
    records: Sequence[str] = (),
    letters: Sequence[str] = (),
    dialect: str = "legacy",
    api_key: str | None = KEY,
) -> None:
    """
    Make a file of events that are called so: some wait to be sent, some are dead.
    """
    identity = Identity(base_url=base_url, dialect=dialect, api_key=api_key)
    file = SpoolFile.create(path.parent, identity)
    with file.transaction():
        file.add([spooled(event_id, dialect) for event_id in records])
        file.bury([letter_of(event_id, dialect) for event_id in letters])
    file.close(remove_empty=False)
    file.path.rename(path)
    Path(f"{file.path}.lock").unlink()


def damage(path: Path, *statements: str) -> None:
    """
    Do to a file that nobody holds what no exporter does; even empty what may not be empty.
    """
    for statement in (_LAXER, *statements, _STRICT):
        db = sqlite3.connect(path)
        db.execute("PRAGMA writable_schema = ON")
        db.execute(statement)
        db.commit()
        db.close()


_IN_TABLES = "WHERE name IN ('records', 'letters')"
_LAXER = f"UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', 'CHECK (true)') {_IN_TABLES}"
_STRICT = f"UPDATE sqlite_master SET sql = replace(sql, 'CHECK (true)', 'NOT NULL') {_IN_TABLES}"


def spooled(event_id: str, dialect: str = "legacy") -> SpooledRecord:
    return SpooledRecord(
        event_id=event_id, data=_encode(event_id, dialect), pushed_at=time.time() - 60.0
    )


def letter_of(event_id: str, dialect: str = "legacy") -> Letter:
    """
    Make a dead letter that is older than any spool keeps one.
    """
    return make_letter(event_id, _encode(event_id, dialect), pushed_at=1_750_000_000.0)


def contents(directory: Path) -> tuple[list[str], list[str]]:
    """
    List the events in all files that wait, and those that are dead, whoever holds them.
    """
    records: list[str] = []
    letters: list[str] = []
    for path in sorted(directory.glob("*.spool")):
        file = SpoolFile.peek(path)
        if file is not None:
            records += [r.event_id for i in file.ids() if (r := file.record(i)) is not None]
            letters += [x.event_id for i in file.letter_ids() if (x := file.letter(i)) is not None]
            file.close()
    return sorted(records), sorted(letters)


def on_disk(directory: Path) -> list[str]:
    """
    List the events in all files that wait, without taking them.
    """
    return contents(directory)[0]


def letters_in(directory: Path) -> list[Letter]:
    found = []
    for path in list_files(directory):
        file = SpoolFile.peek(path)
        if file is not None:
            found += [letter for i in file.letter_ids() if (letter := file.letter(i)) is not None]
            file.close()
    return found


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@contextmanager
def in_memory() -> Iterator[Path]:
    """
    Make a directory that no disk is behind, where the system has one; it goes with the block.

    A commit waits for the disk once in a while, and that for whatever else is written there.
    """
    memory = "/dev/shm"
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


async def written(exporter: Exporter) -> None:
    """
    Wait until all that was handed over is on disk.
    """
    spooler = exporter._life.spooler
    assert spooler is not None
    await until(lambda: spooler.writer.room.since is None)


async def come_back(exporter: Exporter, clock: FakeClock) -> None:
    """
    Let time pass until nothing waits, on disk or in memory.
    """
    for _ in range(500):
        stats = assert_balanced(exporter)
        if not (stats.spooled or stats.queued or stats.in_flight):
            return
        await written(exporter)
        await clock.advance(0.5)
    raise AssertionError(exporter.stats())


@define(eq=False)
class Stall:
    """
    A disk that does nothing until it is told to.
    """

    is_reached: threading.Event = Factory(threading.Event)
    """Set once the spool's thread waits for it."""
    is_over: threading.Event = Factory(threading.Event)


def stall(monkeypatch: pytest.MonkeyPatch, method: str) -> Stall:
    """
    Have the spool's thread wait where it calls *method* of a file.
    """
    do: Callable[..., object] = getattr(SpoolFile, method)
    stall = Stall()

    def wait(file: SpoolFile, *arguments: object, **named: object) -> object:
        stall.is_reached.set()
        assert stall.is_over.wait(PATIENCE)
        return do(file, *arguments, **named)

    monkeypatch.setattr(SpoolFile, method, wait)
    return stall


def _encode(event_id: str, dialect: str) -> bytes:
    return _codec(dialect).encode(model_event(), event_id).data


@cache
def _codec(dialect: str) -> Codec:
    return make_codec(dialect=DIALECTS[dialect]())
