"""
Notes of what a process lost as it ended, which the next one logs: stderr may have been closed.

A note is a file of one line, with a number and a reason: nothing of an event, and no key. It is
logged by the process that removes it, so once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import asdict, define, field, frozen

from hh_exporter._log import counted, get_log
from hh_exporter._spool.place import check_ours
from hh_exporter.exceptions import SpoolError

if TYPE_CHECKING:
    from hh_exporter._spool.writer import Writer

__all__ = ["Losses", "Note", "leave", "peek", "take"]

log = get_log(__name__)

_SUFFIX: Final = ".lost"

_MOST: Final = 100
"""How many notes a directory holds; where that many were never read, no more are left."""

_LONGEST, _LONGEST_WHY = 4096, 200
"""Bytes of a note, and characters of its reason, at most."""

_NO_ROOM: Final = "it had no room, or its disk was too slow"


@frozen
class Note:
    """
    What one process lost.
    """

    events: int
    at: float
    """Unix time."""
    why: str


@define(eq=False)
class Losses:
    """
    What one exporter loses as it closes, and what others lost before it started.
    """

    writer: Writer
    events: int = field(default=0, init=False)
    """What no note counts yet."""
    _own: list[Path] = field(factory=list, init=False)
    """Notes that it left itself."""

    def add(self, events: int) -> None:
        """
        Count what was dropped though there is a spool, as it closes. Any thread.
        """
        with self.writer.queue.lock:
            self.events += events

    def noted(self, then: Callable[[], None]) -> Callable[[], None]:
        """
        Make a function for the spool's thread that leaves a note, if the disk takes it, and *then*.
        """

        def end() -> None:
            events, self.events = self.events, 0
            if events:
                why = self.writer.fault[:_LONGEST_WHY] or _NO_ROOM
                note = Note(events, self.writer.clock.wall(), why)
                with suppress(OSError):
                    self._own += leave(self.writer.settings.directory, note)
            then()

        return end

    def tell(self) -> None:
        """
        Log what others lost, unless this one is closing itself. The spool's thread.
        """
        if self.writer.shift is None:
            return
        directory = self.writer.settings.directory
        for path in self._own:  # of an earlier start of this exporter, which logged it then
            with suppress(OSError):
                path.unlink()
        self._own.clear()
        if notes := take(directory):
            log.warning(
                "hh_exporter: %s lost at the end of an earlier process: the spool in "
                "%s could not take them (%s)",
                counted(sum(note.events for note in notes), "event"),
                directory,
                max(notes, key=lambda note: note.at).why,
            )


def leave(directory: Path, note: Note) -> list[Path]:
    """
    Leave *note* in the directory of a spool.

    Returns:
        The file; none where there are too many.

    Raises:
        OSError: It can't be written.
    """
    if len(_paths(directory)) >= _MOST:
        return []
    why = note.why.encode(errors="replace").decode()  # it may name a path, which need not be text
    line = orjson.dumps({**asdict(note), "why": why}) + b"\n"
    path = directory / f"{uuid.uuid4().hex}{_SUFFIX}"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, line)  # at once: what is killed meanwhile leaves all of it or nothing
    finally:
        os.close(file)
    return [path]


def take(directory: Path) -> list[Note]:
    """
    Remove all notes; each is returned to one caller of all processes.
    """
    found = []
    for path, note in _read_all(directory):
        with suppress(OSError):
            path.unlink()
            found.append(note)
    return found


def peek(directory: Path) -> list[Note]:
    """
    Read all notes, the oldest first, and leave them where they are.
    """
    return sorted((note for _, note in _read_all(directory)), key=lambda note: note.at)


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{_SUFFIX}"))


def _read_all(directory: Path) -> list[tuple[Path, Note]]:
    found = [(path, _read(path)) for path in _paths(directory)]
    return [(path, note) for path, note in found if note is not None]


def _read(path: Path) -> Note | None:
    """
    Read a note; None where it is none, or not ours.
    """
    try:
        check_ours(path)
        with path.open("rb") as file:
            found: Any = orjson.loads(file.read(_LONGEST))
    except (OSError, SpoolError, orjson.JSONDecodeError):
        return None
    match found:
        case {"events": int(events), "at": float(at), "why": str(why)}:
            return Note(events, at, why)
    return None
