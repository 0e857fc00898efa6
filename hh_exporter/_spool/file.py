"""
One spool file, in SQLite: how it is created, taken over, read and closed.

Only the process that holds the lock next to it may write to it. What was committed
is there for the next holder, however this one ends. Used by one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from hh_exporter._records import Subject
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.marks import find_mark
from hh_exporter._spool.order import Order
from hh_exporter._spool.place import (
    check_ours,
    has_lock,
    is_lock_of,
    last_change,
    look_up,
    make_directory,
    new_path,
    remove,
    sizes,
    sync_log,
    take_lock,
    touch,
)
from hh_exporter._spool.schema import (
    begin_log,
    bound_log,
    check,
    connect,
    cut_log,
    extent,
    gives_back,
    is_corrupt,
    is_in_use,
    look,
    read_version,
    set_up,
    show,
    upgrade,
    wait_for_disk,
)
from hh_exporter._spool.seals import find_difference, read_seal, seal

__all__ = ["SpoolFile"]

_abandoned: list[sqlite3.Connection] = []
"""Connections of a parent's, never to be closed or collected here."""


@define(eq=False)
class SpoolFile(Order):
    """
    An open file, with its lock unless it is only read.
    """

    path: Path
    _lock: int | None
    _fsync: bool = False
    base_url: str = field(default="", init=False)
    dialect: str = field(default="", init=False)
    """Where its records are to be sent, and how they were made."""
    gives_back: bool = field(default=True, init=False)
    """Whether it shrinks as its contents go."""
    _places: tuple[object, ...] = field(default=(), init=False)
    """Which files it is."""
    _sizes: tuple[int, int] = field(default=(0, 0), init=False)
    """Bytes of it and of its log when it was last written to."""
    odd: list[Subject] = field(factory=list, init=False)
    """The subjects of records that were damaged when it was taken over: dead letters now."""

    @classmethod
    def create(cls, directory: Path, identity: Identity, *, fsync: bool = False) -> SpoolFile:
        """
        Make a new file in *directory*, which is made where it is missing.

        Args:
            fsync: Whether what is committed also outlives the machine's power.

        Raises:
            SpoolError: The directory is not ours alone to write to.
            OSError, sqlite3.Error: It can't be written to; nothing is left there.
        """
        with _new(directory) as (path, lock, db):
            set_up(db, fsync=fsync, is_new=True)
            file = cls(db, last_change(path), path, lock, fsync)
            with file.transaction():  # one, or it could be left without a seal
                upgrade(db, 0)
                seal(db, identity)
            set_up(db, fsync=fsync)
            file._read_all()
        return file

    def copy(self) -> SpoolFile:
        """
        Make a new file with all that is in this one, wherever this one is by now.

        Raises:
            SpoolError, OSError, sqlite3.Error: As `create`, or this one can't be read, as
                `schema.is_lost` says.
        """
        with _new(self.path.parent) as (path, lock, db):
            begin_log(db, self._db)  # who looks at it meanwhile sees nothing, and no part of it
            self._db.backup(db)
            check(db)
            set_up(db, fsync=self._fsync)
            file = SpoolFile(db, self._latest, path, lock, self._fsync)
            file._read_all()
        return file

    @classmethod
    def adopt(
        cls, path: Path, identity: Identity | None, *, fsync: bool = False, any_key: bool = False
    ) -> SpoolFile | None:
        """
        Open a file that no process holds; with *identity* None, whoever it belongs to.

        A file without contents, whose creator died at once, is removed. Records that are
        damaged become dead letters.

        Args:
            any_key: Whether one of another key, but the same address and dialect, is taken
                too; it is sealed for *identity* then.

        Returns:
            The file; None if it is held, gone, or of another identity.

        Raises:
            SpoolError: It is not ours, or of another version or program. It is left as it is.
            OSError, sqlite3.Error: It can't be read; `schema.is_corrupt` says whether it ever can.
        """
        ours = {"", "key"} if any_key else {""}
        with ExitStack() as undo:
            try:
                check_ours(path)
                # Without its lock, which those to whom it belongs may be about to take.
                if identity is not None and find_difference(path, identity) not in ours:
                    return None
                latest = last_change(path)  # before SQLite writes to it
                # One without a lock may be held all the same.
                is_free = has_lock(path) or not is_in_use(path)
                lock = take_lock(path) if is_free else None
            except FileNotFoundError:
                return None
            if lock is None:
                return None
            undo.callback(os.close, lock)
            if not path.exists():
                remove(path)  # its lock, which we may have made again
                return None
            db = undo.enter_context(closing(connect(path)))
            version = read_version(path, db)
            if version == 0:
                db.close()
                remove(path)
                return None
            set_up(db, fsync=fsync)
            check(db)
            file = cls(db, latest, path, lock, fsync)
            if identity is not None and read_seal(db).differs(identity) not in ours:
                return None
            with file.transaction():
                upgrade(db, version)
                file.odd = file.set_odd_aside()
                if any_key and identity is not None:
                    file.hand_over(identity)
            file._read_all()
            undo.pop_all()
        return file

    @classmethod
    def peek(cls, path: Path) -> SpoolFile | None:
        """
        Open a file to read it, whether or not it is held.

        Its totals are those of this moment. Later reads see the file as it is then, so
        records may be gone; what a process that takes it over meanwhile writes may
        not be seen.

        Returns:
            The file; None if it is gone, or has nothing in it yet.

        Raises:
            SpoolError: It is of another version or program.
            OSError, sqlite3.Error: It can't be read.
        """
        with ExitStack() as undo:
            db = look(path)
            if db is None:
                return None
            undo.callback(db.close)
            if not show(path, db):
                return None
            file = cls(db, last_change(path), path, None)
            file._read_all()
            undo.pop_all()
        return file

    def name_target(self, name: str) -> None:
        """
        Note the name of the file to which its contents are moved.
        """
        if name != self.target:
            # Nobody waits for the disk: without this, a part would be moved again.
            wait_for_disk(self._db, "OFF")
            try:
                with self.transaction():
                    self.set_target(name)
            finally:
                wait_for_disk(self._db, "FULL" if self._fsync else "NORMAL")
            self.target = name

    @property
    def extent(self) -> int:
        """
        Bytes of its pages: what it takes on disk, but for its log.
        """
        return extent(self._db)

    @property
    def slack(self) -> int:
        """
        Bytes on disk that `cut_log` would give back.
        """
        return sum(sizes(self.path)) - self.extent

    def bound_log(self, size: int) -> None:
        """
        Have its log, which is also on disk, take about *size* bytes at most.
        """
        bound_log(self._db, size)

    def note_sizes(self) -> None:
        """
        Note how much of it is there after a change of ours, which alone makes it smaller.
        """
        self._sizes = sizes(self.path)

    def cut_log(self) -> None:
        """
        Give back what its log takes on disk, and what is free at the end of the file.
        """
        try:
            cut_log(self._db)
        finally:
            self.note_sizes()

    def sync(self) -> None:
        """
        Wait until what was committed is on the disk itself.
        """
        sync_log(self.path)

    def close(self, *, remove_empty: bool = True) -> None:
        """
        Close it, and remove it if it is empty. A second call does nothing.
        """
        lock, self._lock = self._lock, None
        is_done_with = lock is not None and remove_empty and self.is_empty
        try:
            with closing(self._db):
                if is_done_with and not self.target:
                    is_done_with = not self._is_needed()
                if is_done_with:
                    wait_for_disk(self._db, "OFF")
            if is_done_with:
                remove(self.path)
        finally:
            if lock is not None:
                os.close(lock)

    @property
    def is_in_place(self) -> bool:
        """
        Whether its name still leads to all of it: the next holder finds what is written to it.
        """
        places, (size, log) = look_up(self.path)
        is_whole = size >= self._sizes[0] and log >= self._sizes[1]  # but for us it only grows
        return places == self._places and is_whole

    @property
    def is_there(self) -> bool:
        """
        Whether its name still leads to it, whatever became of the rest.
        """
        return look_up(self.path)[0][0] == self._places[0]

    @property
    def is_damaged(self) -> bool:
        """
        Whether its contents can't be read any more.
        """
        try:
            check(self._db)
        except sqlite3.Error as exc:
            return is_corrupt(exc)
        return False

    def keep(self, *, touches: bool) -> None:
        """
        Take its lock again, if that was taken away; with *touches*, see to it that nothing is.
        """
        if self._lock is not None and not is_lock_of(self.path, self._lock):
            with suppress(OSError):
                if (lock := take_lock(self.path)) is not None:
                    os.close(self._lock)
                    self._lock = lock
        if touches:
            touch(self.path)

    def leave(self) -> None:
        """
        Close it where it is not in place; what still leads to it there is removed.
        """
        lock, self._lock = self._lock, None
        try:
            if self.is_there:
                remove(self.path)
            with closing(self._db):
                pass
        finally:
            if lock is not None:
                os.close(lock)

    def let_go(self) -> None:
        """
        Close it once all that is in it is elsewhere, too: nobody waits for the disk.
        """
        with suppress(sqlite3.Error):
            wait_for_disk(self._db, "OFF")
        self.close(remove_empty=False)

    def abandon(self) -> None:
        """
        Leave it to the parent, in a child that was forked while it was open.

        The lock outlives the parent as long as the child has a copy of it. The
        connection is kept for good: to close it would break the parent's.
        """
        lock, self._lock = self._lock, None
        _abandoned.append(self._db)
        if lock is not None:
            os.close(lock)

    def hand_over(self, identity: Identity) -> None:
        """
        Have it be of *identity* from now on. Within a transaction.
        """
        seal(self._db, identity)
        self.base_url, self.dialect = identity.base_url, identity.dialect

    def _is_needed(self) -> bool:
        """
        Whether a file that is there was moved to this one in part, which only this one says.
        """
        return any(self.path.with_name(name).exists() for name in self.marked())

    def _read_all(self) -> None:
        found = read_seal(self._db)
        self.base_url, self.dialect = found.base_url, found.dialect
        self.read_target()
        self.gives_back = gives_back(self._db)
        if self.target:
            self.moved = find_mark(self.path, self.target)
        self._count()
        # At the end: SQLite makes its own as it reads.
        self._places, self._sizes = look_up(self.path)


@contextmanager
def _new(directory: Path) -> Iterator[tuple[Path, int, sqlite3.Connection]]:
    """
    Make a file in *directory*, with its lock, and nothing of it if the block fails.
    """
    make_directory(directory)
    path = new_path(directory)
    lock = take_lock(path)
    assert lock is not None  # noqa: S101 - nobody else knows the name
    with ExitStack() as undo:
        undo.callback(os.close, lock)
        undo.callback(remove, path)
        # Before SQLite does, which would let the umask decide who may read it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        yield path, lock, undo.enter_context(closing(connect(path)))
        undo.pop_all()
