"""
What dead processes left, until it is ours.

One file after the other is opened, and its contents are moved to ours a part at a
time: so however many there are, few are open. One that can't be moved is read where
it is. Used by one thread.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field

from hh_exporter._log import get_log
from hh_exporter._outside import let_through
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.moving import forget_marks, move
from hh_exporter._spool.place import list_files, set_aside, size_of
from hh_exporter._spool.schema import is_corrupt
from hh_exporter.exceptions import SpoolError

__all__ = ["Takeover"]

log = get_log(__name__)

_MUCH = 64 * 2**20
"""Bytes that files of which all is in ours may take."""

_FEW = 100
"""Files of which all is in ours that a close removes at most: the next start removes the others."""


@define(eq=False)
class Takeover:
    """
    The files of other processes in one directory, as far as they are for this identity.
    """

    _identity: Identity
    _fsync: bool
    _any_key: bool = False
    source: Held | None = field(default=None, init=False)
    """The one whose contents are being moved to ours."""
    _paths: deque[Path] = field(factory=deque, init=False)
    """Those that are still to be opened."""
    _moved: deque[Path] = field(factory=deque, init=False)
    """Those of which all is in ours: to be removed once it is on the disk itself."""
    _weight: int = field(default=0, init=False)
    """Bytes that those take."""
    _is_safe: bool = field(default=True, init=False)
    """Whether what was in them is on the disk itself, in ours."""
    is_stuck: bool = field(default=False, init=False)
    """Whether contents can't be moved for now: then they are read where they are."""
    aside: int = field(default=0, init=False)
    """Files that were set aside, since they are damaged."""
    _is_told: bool = field(default=False, init=False)
    """Whether that was logged since the start."""

    @property
    def is_unread(self) -> bool:
        """
        Whether files are still to be opened, and can be for now.
        """
        return bool(self._paths) and not self.is_stuck

    @property
    def is_heavy(self) -> bool:
        """
        Whether files are to be removed before others are opened, which is what a start waits for.
        """
        return self._weight > _MUCH

    @property
    def is_behind(self) -> bool:
        """
        Whether anything is still to be done.
        """
        return bool(self.source or self._paths or self._moved)

    def find(self, directory: Path) -> list[Path]:
        """
        List the files that are there now: those to be opened.
        """
        paths = list_files(directory)
        # The largest becomes ours, so that it is not moved.
        self._paths = deque(sorted(paths, key=size_of, reverse=True))
        self.is_stuck = self._is_told = False
        return paths

    def open_next(self, ours: Held | None) -> tuple[Path, Held | None]:
        """
        Open the next file, if no process holds it and it is for this identity.

        Args:
            ours: Where its contents may be in part already.
        """
        path = self._paths.popleft()
        return path, self._open(path, ours)

    def _open(self, path: Path, ours: Held | None) -> Held | None:
        try:
            return self._adopt(path, ours)
        except SpoolError as exc:
            log.warning("hh_exporter: a spool file is skipped: %s", exc)
        except Exception as exc:  # whatever is wrong with one costs no other
            let_through(exc)
            if isinstance(exc, sqlite3.Error) and is_corrupt(exc):
                self._set_aside(path)
            else:
                log.warning(
                    "hh_exporter: the spool file %s can't be opened: %s",
                    path,
                    str(exc) or type(exc).__name__,
                )
        return None

    def _set_aside(self, path: Path) -> None:
        try:
            self.note_aside(set_aside(path))
        except OSError as exc:
            log.warning("hh_exporter: the spool file %s can't be opened: %s", path, exc)

    def note_aside(self, aside: Path | None) -> None:
        """
        Note that a damaged file was renamed; None if it was gone.
        """
        if aside is None:
            return
        self.aside += 1
        log.warning("hh_exporter: a corrupt spool file was renamed to %s", aside)

    def _adopt(self, path: Path, ours: Held | None) -> Held | None:
        with ExitStack() as undo:
            file = SpoolFile.adopt(path, self._identity, fsync=self._fsync, any_key=self._any_key)
            if file is None:
                return None
            undo.callback(file.close, remove_empty=False)
            if ours is not None:  # which may know more than the file that this one names
                file.leave_out(ours.file.read_mark(path.name))
            with suppress(sqlite3.Error):  # the disk is full: they come as they are
                file.put_in_order()
            undo.pop_all()
            return Held(file, file.last_id)

    def move(self, source: Held, writable: Callable[[], Held]) -> None:
        """
        Move a part of *source* to our file, which *writable* returns.
        """
        before = source.file.moved
        try:
            move(source, writable())
        except Exception as exc:
            self.is_stuck = True
            self._tell(source, exc)
            return
        if source.file.is_empty:
            self._moved.append(source.file.path)
            self._weight += size_of(source.file.path)
            self.source, self._is_safe = None, False
            source.file.let_go()
        else:
            # Not past a record that came to memory while it could not be moved.
            self.is_stuck = source.file.moved == before

    def remove_next(self, ours: Held) -> int:
        """
        Remove the next file of which all is in *ours*, unless more was added to it meanwhile.

        Returns:
            How many records that were.
        """
        held = self._open_moved(ours)
        if held is not None:
            self.source = held
        return 0 if held is None else held.file.count

    def _open_moved(self, ours: Held) -> Held | None:
        """
        Remove a file, as `remove_next` does; returns it if more was added to it.
        """
        if not self._moved:
            return None
        path, held = self._moved.popleft(), None
        try:
            if not self._is_safe:
                ours.file.sync()
                self._is_safe = True
            held = self._open(path, ours)
            if held is not None and held.file.is_empty:
                held.file.close()
                held = None
        except (OSError, sqlite3.Error):
            held = None
            self._moved.clear()  # the next start finds them
        if not self._moved:
            self._weight = 0
            with suppress(sqlite3.Error):
                forget_marks(ours)
        return held

    def close(self, ours: Held | None) -> None:
        """
        Leave the rest to the next start; the source is closed by the caller.
        """
        if ours is not None:
            for _ in range(_FEW):
                held = self._open_moved(ours)
                if held is not None:
                    held.file.close()
        self._paths.clear()
        self._moved.clear()
        self.source = None

    def _tell(self, source: Held, exc: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning(
                "hh_exporter: events of an earlier process can't be moved to the spool file of "
                "this one (%s): they are sent from %s",
                str(exc) or type(exc).__name__,
                source.file.path,
            )
