"""
One spool file, in SQLite: how it is created, taken over, read and closed.

Only the process that holds the lock next to it may write to it. What was committed
is there for the next holder, however this one ends. Used by one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from attrs import define, field

from hh_exporter._spool.kept import Identity
from hh_exporter._spool.place import (
    check_ours,
    make_directory,
    new_path,
    remove,
    take_lock,
)
from hh_exporter._spool.schema import (
    check,
    connect,
    is_of_another,
    look,
    read_facts,
    read_version,
    seal,
    set_up,
    upgrade,
    wait_for_disk,
)
from hh_exporter._spool.tables import Tables

__all__ = ["SpoolFile"]

_abandoned: list[sqlite3.Connection] = []
"""Connections of a parent's, never to be closed or collected here."""


@define(eq=False)
class SpoolFile(Tables):
    """
    An open file, with its lock unless it is only read.
    """

    path: Path
    _lock: int | None
    base_url: str = field(default="", init=False)
    dialect: str = field(default="", init=False)
    """Where its records are to be sent, and how they were made."""

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
        make_directory(directory)
        path = new_path(directory)
        lock = take_lock(path)
        assert lock is not None  # noqa: S101 - nobody else knows the name
        with ExitStack() as undo:
            undo.callback(os.close, lock)
            undo.callback(remove, path)
            # Before SQLite does, which would let the umask decide who may read it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
            db = undo.enter_context(closing(connect(path)))
            set_up(db, fsync=fsync, is_new=True)
            file = cls(db, path, lock)
            with file.transaction():  # one, or it could be left without a seal
                upgrade(db, 0)
                seal(db, identity)
            set_up(db, fsync=fsync)
            file._read_all()
            undo.pop_all()
        return file

    @classmethod
    def adopt(
        cls, path: Path, identity: Identity | None, *, fsync: bool = False
    ) -> SpoolFile | None:
        """
        Open a file that no process holds; with *identity* None, whoever it belongs to.

        A file without contents, whose creator died at once, is removed.

        Returns:
            The file; None if it is held, gone, or of another identity.

        Raises:
            SpoolError: It is not ours, or of another version or program. It is left as it is.
            OSError, sqlite3.Error: It can't be read; `schema.is_corrupt` says whether it ever can.
        """
        with ExitStack() as undo:
            try:
                check_ours(path)
                # Without its lock, which those to whom it belongs may be about to take.
                if identity is not None and is_of_another(path, identity):
                    return None
                lock = take_lock(path)
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
            file = cls(db, path, lock)
            with file.transaction():
                upgrade(db, version)
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
            if not read_version(path, db, can_upgrade=False):
                return None
            file = cls(db, path, None)
            file._read_all()
            undo.pop_all()
        return file

    def close(self, *, remove_empty: bool = True) -> None:
        """
        Close it, and remove it if it is empty. A second call does nothing.
        """
        lock, self._lock = self._lock, None
        is_done_with = lock is not None and remove_empty and not self.count and not self.letters
        try:
            with closing(self._db):
                if is_done_with:
                    wait_for_disk(self._db, "OFF")
            if is_done_with:
                remove(self.path)
        finally:
            if lock is not None:
                os.close(lock)

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

    def _read_all(self) -> None:
        facts = read_facts(self._db)
        self.base_url, self.dialect = facts["base_url"], facts["dialect"]
        self._count()
