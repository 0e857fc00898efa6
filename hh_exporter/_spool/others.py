"""
What lies in a spool's directory and is not for its exporter: files of another key, address
or dialect, and damaged ones that were set aside.

They are counted, and what is too old in them is deleted: one file at a time, under its
lock. Files that live processes hold are theirs. Used by the spool's thread.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from contextlib import closing, suppress
from pathlib import Path

from attrs import Factory, define, field

from hh_exporter._log import counted, get_log
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import EARLIEST, Identity
from hh_exporter._spool.place import (
    check_ours,
    is_aside,
    is_held,
    last_change,
    list_aside,
    list_files,
    remove_aside,
)
from hh_exporter._spool.seals import Difference, glance
from hh_exporter.exceptions import SpoolError

__all__ = ["Others"]

log = get_log(__name__)

_AT_ONCE = 1000
"""Records, and letters, that are deleted in one transaction."""

_SEND = "hh-exporter spool --drain sends them where they belong"
_HAND_OVER = "hh-exporter spool --adopt hands those of another key over, and --drain sends others"


@define(eq=False)
class Others:
    """
    The files in one directory that are not for one identity.
    """

    directory: Path
    identity: Identity
    any_key: bool
    """Whether the key makes no difference."""
    stranded: int = field(default=0, init=False)
    """Events that wait in them, as of the last round."""
    _paths: deque[Path] = field(factory=deque, init=False)
    """Those that are still to be looked at in this round."""
    _found: list[tuple[Difference, int]] = Factory(list)
    """What those that were looked at are not of, and how many events wait there."""
    _deleted: list[int] = Factory(lambda: [0, 0, 0])
    """Events, dead letters and files that were set aside: deleted in this round."""
    _is_told: bool = field(default=False, init=False)

    def begin(self) -> None:
        """
        Begin a round, unless one is under way.
        """
        if not self._paths:
            self._found, self._deleted = [], [0, 0, 0]
            self._paths.extend([*list_files(self.directory), *list_aside(self.directory)])

    def look(self, now: float, max_age: float) -> bool:
        """
        Look at the next file, and delete what is too old.

        Args:
            now: Unix time.
            max_age: Seconds after which it is.

        Returns:
            Whether there are more; what a round found is logged at its end.
        """
        if self._paths:
            path = self._paths.popleft()
            with suppress(SpoolError, sqlite3.Error, OSError):  # the start logs what it can't read
                check_ours(path)
                if not is_aside(path):
                    self._look_at(path, now, max_age)
                elif EARLIEST <= last_change(path) < now - max_age:
                    remove_aside(path)
                    self._deleted[2] += 1
        if self._paths:
            return True
        self.stranded = sum(count for _, count in self._found)
        self._tell()
        return False

    def _look_at(self, path: Path, now: float, max_age: float) -> None:
        found = glance(path)
        if found is None:
            return
        difference, count = found.seal.differs(self.identity), found.count
        is_ours = not difference or (self.any_key and difference == "key")
        # To ask who holds it may keep its owner from taking it for a moment: only if it matters.
        has_old = found.oldest < now - max_age
        if is_ours or not (count or has_old) or is_held(path):
            return
        if has_old:
            count = self._expire(path, now, max_age)
        if count:
            self._found.append((difference, count))

    def _expire(self, path: Path, now: float, max_age: float) -> int:
        """
        Delete what is too old in a file; returns how many records stay.
        """
        file = SpoolFile.adopt(path, None)
        if file is None:
            return 0  # somebody has it now
        with closing(file):
            with file.transaction():
                file.bound_age(now)
            while True:
                with file.transaction():
                    records, letters = file.expire(now - max_age, _AT_ONCE)
                if not records and not letters:
                    return file.count
                self._deleted[0] += len(records)
                self._deleted[1] += letters

    def _tell(self) -> None:
        events, letters, files = self._deleted
        if events or letters or files:
            log.warning(
                "hh_exporter: deleted in %s, since it is older than max_age: %s and %s of another "
                "key, address or dialect, %s set aside",
                self.directory,
                counted(events, "event"),
                counted(letters, "dead letter"),
                counted(files, "file"),
            )
        if self.stranded and not self._is_told:
            self._is_told = True
            differences = {difference for difference, _ in self._found}
            log.warning(
                "hh_exporter: the spool in %s holds %s in %s of another %s: %s",
                self.directory,
                counted(self.stranded, "event"),
                counted(len(self._found), "file"),
                " or ".join(what for what in ("key", "address", "dialect") if what in differences),
                _HAND_OVER if "key" in differences else _SEND,
            )
