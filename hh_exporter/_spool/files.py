"""
The spool file that is ours, and the one whose contents are being moved to it: how they are
found, made, kept in their places, and closed.

Used by one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import RLock

from attrs import define, field

from hh_exporter._records import Subject
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.held import Held
from hh_exporter._spool.idle import forget, make_lock
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.others import Others
from hh_exporter._spool.place import make_directory, move_aside
from hh_exporter._spool.takeover import Takeover

__all__ = ["Files"]

_LEAST = 256 * 2**10
"""Bytes that a file may take whatever is in it, and its log, too."""

_MOST = 4 * 2**20
"""Bytes of a log at most: a commit waits until it is written to its file."""

_MUCH = 2**20
"""Bytes that are worth a wait for the disk to have them back."""


@define(eq=False, kw_only=True)
class Files:
    """
    All files of one exporter.
    """

    directory: Path
    identity: Identity
    fsync: bool
    max_bytes: int = 512 * 2**20
    log_size: int = field(init=False)
    """Bytes that the log of our file takes beside it, about, as does a commit."""
    any_key: bool = False
    """Whether files of another key, but the same address and dialect, are taken over, too."""
    takeover: Takeover = field(init=False)
    others: Others = field(init=False)
    _ours: Held | None = field(default=None, init=False)
    """The one that is written to."""
    _left: dict[Path, int] = field(factory=dict, init=False)
    """How many records waited in each file of ours when it was closed."""
    odd: list[Subject] = field(factory=list, init=False)
    """The subjects of records that were damaged when `take_over` opened their files."""
    _at_work: RLock = field(factory=make_lock, init=False)
    """Held while SQLite is."""

    def __attrs_post_init__(self) -> None:
        self.log_size = max(_LEAST, min(_MOST, self.max_bytes // 32))
        self.takeover = Takeover(self.identity, self.fsync, self.any_key)
        self.others = Others(self.directory, self.identity, self.any_key)

    @property
    def _files(self) -> list[Held]:
        return [held for held in (self._ours, self.takeover.source) if held is not None]

    @property
    def size(self) -> int:
        """
        Bytes of records and dead letters.
        """
        return sum(held.file.size for held in self._files)

    @property
    def record_size(self) -> int:
        return sum(held.file.record_size for held in self._files)

    @property
    def count(self) -> int:
        return sum(held.file.count for held in self._files)

    @property
    def letters(self) -> int:
        return sum(held.file.letters for held in self._files)

    @property
    def excess(self) -> int:
        """
        Bytes that our file takes on disk beyond what its contents should: small events waste some.
        """
        return 0 if self._ours is None else max(0, self._ours.excess - _LEAST)

    @property
    def is_loose(self) -> bool:
        """
        Whether `tighten` may give something back.
        """
        return self._ours is not None and self._ours.has_changed

    # What other processes left.

    def open(self) -> tuple[int, int]:
        """
        Look for files in the directory that no process holds, and take over the first.

        Records that are damaged count as found; `odd` names them.

        Returns:
            As `take_over` does.

        Raises:
            SpoolError, OSError: The directory is not ours, or can't be made.
        """
        make_directory(self.directory)
        paths = self.takeover.find(self.directory)
        found, gone = 0, sum(self._left.pop(path) for path in self._left.keys() - set(paths))
        while self.has_more and not self._files:
            more_found, more_gone = self.take_over()
            found, gone = found + more_found, gone + more_gone
        return found, gone

    @property
    def has_more(self) -> bool:
        """
        Whether there is anything that `take_over` can do for now.
        """
        return self.takeover.is_behind and not self.takeover.is_stuck

    def take_over(self) -> tuple[int, int]:
        """
        Take over a part of what other processes left: open a file, and move some of its contents.

        Returns:
            How many records were found, and how many of ours are gone.
        """
        takeover = self.takeover
        with self._at_work:
            found = gone = 0
            if takeover.source is None and takeover.is_unread and not takeover.is_heavy:
                path, held = takeover.open_next(self._ours)
                odd = [] if held is None else held.file.odd
                self.odd += odd
                new = (held.file.count if held else 0) + len(odd) - self._left.pop(path, 0)
                found, gone = max(new, 0), max(-new, 0)
                # One that was moved in part is not to be written to.
                if self._ours is None and held and held.file.gives_back and not held.file.target:
                    self._ours = held
                    held.file.bound_log(self.log_size)
                else:
                    takeover.source = held
            if takeover.source is not None:
                takeover.move(takeover.source, self._writable)
            elif self._ours is not None and (takeover.is_heavy or not takeover.is_unread):
                found += takeover.remove_next(self._ours)
        return found, gone

    def sweep(self, *, touches: bool = False) -> None:
        """
        Have what could not be moved tried again, and take locks again that were taken away.

        Args:
            touches: Whether to make all files look as if they were just used.
        """
        self.takeover.is_stuck = False  # a commit may have made room
        with self._at_work:
            for held in self._files:
                held.file.keep(touches=touches)

    # A file of ours that was damaged, deleted, moved, replaced or truncated.

    def set_aside(self) -> Iterator[tuple[object, int, int]]:
        """
        Rename files that are damaged, so that a person can look; a new one takes the place of ours.

        Returns:
            As `forget` does, for the one whose contents were being moved to ours, if it is gone.
        """
        for held in self._files:
            with self._at_work:
                is_damaged = held.file.is_damaged
                if is_damaged:
                    self.takeover.note_aside(move_aside(held.file.path))
            if is_damaged and held is self.takeover.source:
                self.takeover.source, held.is_gone = None, True
                with self._at_work, suppress(OSError, sqlite3.Error):
                    held.file.leave()
                yield held, held.unloaded, held.file.letters

    @property
    def is_astray(self) -> bool:
        """
        Whether nobody would find what is written to our file.
        """
        return self._ours is not None and not self._ours.file.is_in_place

    def restore(self) -> None:
        """
        Go on in a new file with the contents of ours, if that is not where it was.

        Raises:
            SpoolError, OSError, sqlite3.Error: The new one can't be written, or the old one
                can't be read, as `schema.is_lost` says; then `forget` it.
        """
        if self._ours is not None:
            with self._at_work:
                self._ours.restore()
                self._ours.file.bound_log(self.log_size)

    def forget(self) -> tuple[object, int, int]:
        """
        Go on in an empty file; the old one is set aside, if it is still there.

        Returns:
            What the spots of records in the old one have as their file, how many records were
            there alone, and how many letters.

        Raises:
            SpoolError, OSError, sqlite3.Error: The new one can't be made.
        """
        old, self._ours = self._ours, None
        assert old is not None  # noqa: S101
        with self._at_work, ExitStack() as undo:
            undo.callback(setattr, self, "_ours", old)
            self._writable()
            undo.pop_all()
            old.is_gone = True
            with suppress(OSError, sqlite3.Error):
                if old.file.is_there:
                    self.takeover.note_aside(move_aside(old.file.path))
                old.file.leave()
        return old, old.unloaded, old.file.letters

    # What is ours.

    def _writable(self) -> Held:
        """
        Return the file to write to; it is created if there is none.
        """
        if self._ours is None:
            file = SpoolFile.create(self.directory, self.identity, fsync=self.fsync)
            file.bound_log(self.log_size)
            self._ours = Held(file, inherited=0)
        return self._ours

    def tighten(self) -> None:
        """
        Give back the disk that our file does not need, if it is much: for when nobody waits.
        """
        ours = self._ours
        if ours is not None:
            ours.has_changed = False
            with self._at_work, suppress(OSError, sqlite3.Error):
                if ours.file.slack > min(_MUCH, self.log_size):
                    ours.file.cut_log()

    def look_around(self, now: float, max_age: float, has_work: Callable[[], bool]) -> bool:
        """
        Look at files that are not ours, as `Others.look` does, until there is other work.

        Returns:
            Whether there are more.
        """
        self.others.begin()
        has_more = True
        while has_more and not has_work():
            with self._at_work:
                has_more = self.others.look(now, max_age)
        return has_more

    def abandon(self) -> None:
        """
        Leave the files to the parent, in a forked child.
        """
        forget(self._at_work)
        for held in self._files:
            held.file.abandon()

    def close(self) -> None:
        with self._at_work, ExitStack() as closing:
            files = self._files
            self.takeover.close(self._ours)
            self._ours = None
            for held in files:
                closing.callback(held.file.close)
                # Without settled records that could not be deleted: another process finds those.
                self._left[held.file.path] = held.unloaded
