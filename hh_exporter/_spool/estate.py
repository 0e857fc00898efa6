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
from hh_exporter._spool.moving import find_mark, move
from hh_exporter._spool.place import list_files, set_aside, size_of
from hh_exporter._spool.schema import is_corrupt
from hh_exporter.exceptions import SpoolError

__all__ = ["Estate"]

log = get_log(__name__)

_FEW = 4
"""Files of which all is moved that are kept open, until one wait for the disk is for all."""


@define(eq=False)
class Estate:
    """
    The files of other processes in one directory, as far as they are for this identity.
    """

    _identity: Identity
    _fsync: bool
    _any_key: bool = False
    source: Held | None = field(default=None, init=False)
    """The one whose contents are being moved to ours."""
    _moved: list[SpoolFile] = field(factory=list, init=False)
    """Those of which all is in ours, and is to be on the disk itself before they are removed."""
    _paths: deque[Path] = field(factory=deque, init=False)
    """Those that are still to be opened."""
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
        try:
            return path, self._adopt(path, ours)
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
        return path, None

    def _set_aside(self, path: Path) -> None:
        try:
            aside = set_aside(path)
        except OSError as exc:
            log.warning("hh_exporter: the spool file %s can't be opened: %s", path, exc)
            return
        if aside is not None:
            self.aside += 1
            log.warning("hh_exporter: a corrupt spool file was renamed to %s", aside)

    def _adopt(self, path: Path, ours: Held | None) -> Held | None:
        with ExitStack() as undo:
            file = SpoolFile.adopt(path, self._identity, fsync=self._fsync, any_key=self._any_key)
            if file is None:
                return None
            undo.callback(file.close, remove_empty=False)
            file.leave_out(find_mark(file, None if ours is None else ours.file))
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
            self.source = None
            self._moved.append(source.file)
            if len(self._moved) == _FEW:
                self.remove_moved(writable())
        else:
            # Not past a record that came to memory while it could not be moved.
            self.is_stuck = source.file.moved == before

    def remove_moved(self, ours: Held) -> None:
        """
        Remove the files of which all is in *ours*; the next start removes those that can't be.
        """
        moved, self._moved = self._moved, []
        if not moved:
            return
        is_safe = False
        with suppress(OSError):
            ours.file.sync()
            is_safe = True
        for file in moved:
            with suppress(OSError, sqlite3.Error):
                file.close(remove_empty=is_safe)

    def close(self, ours: Held | None) -> None:
        """
        Leave the rest to the next start; the source is closed by the caller.
        """
        if ours is not None:
            self.remove_moved(ours)
        self.source = None
        self._paths.clear()

    def abandon(self) -> None:
        """
        Leave to the parent what is open beside the source.
        """
        for file in self._moved:
            file.abandon()

    def _tell(self, source: Held, exc: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning(
                "hh_exporter: events of an earlier process can't be moved to the spool file of "
                "this one (%s): they are sent from %s",
                str(exc) or type(exc).__name__,
                source.file.path,
            )
