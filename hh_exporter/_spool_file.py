"""
One spool file: records that wait on disk, and dead letters, in SQLite.

Whoever holds the lock beside it may write to it, and nobody else. What was
committed is there for the next holder, however this one ends. Used by one
thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from hh_exporter._spool_place import (
    SUFFIX,
    check_ours,
    make_directory,
    new_path,
    remove,
    take_lock,
)
from hh_exporter._spool_schema import (
    check,
    connect,
    is_corrupt,
    is_of_another,
    look,
    read_facts,
    read_version,
    seal,
    set_up,
    upgrade,
)
from hh_exporter._spooled import Identity, Letter, Match, SpooledRecord

__all__ = ["SUFFIX", "SpoolFile", "is_corrupt"]

T = TypeVar("T")

_abandoned: list[sqlite3.Connection] = []
"""Connections of a parent's, never to be closed or collected here."""


@define(eq=False)
class SpoolFile:
    """
    An open file, and its lock unless it is only looked at.
    """

    path: Path
    _db: sqlite3.Connection
    _lock: int | None
    base_url: str = field(default="", init=False)
    dialect: str = field(default="", init=False)
    """Where its records are to be sent, and how they were made."""
    count: int = field(default=0, init=False)
    """Records in it."""
    letters: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    """Bytes of those records and letters; the file keeps the room that it once needed."""
    _next_id: int = field(default=1, init=False)

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
            set_up(db, fsync=fsync)
            file = cls(path, db, lock)
            with file.transaction():  # one, or it could be left without a seal
                upgrade(db, 0)
                seal(db, identity)
            file._read_totals()
            undo.pop_all()
        return file

    @classmethod
    def adopt(
        cls, path: Path, identity: Identity | None, *, fsync: bool = False
    ) -> SpoolFile | None:
        """
        Open a file that nobody holds; *identity* None asks for no proof.

        One whose maker died before it put anything in it is removed.

        Returns:
            The file; None if somebody has it, it is gone, or it is of another identity.

        Raises:
            SpoolError: It is not ours, or of another version or program. It is left as it is.
            OSError, sqlite3.Error: It can't be read; `is_corrupt` says whether it ever can.
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
            file = cls(path, db, lock)
            with file.transaction():
                upgrade(db, version)
            file._read_totals()
            undo.pop_all()
        return file

    @classmethod
    def peek(cls, path: Path) -> SpoolFile | None:
        """
        Look at a file, whoever holds it; nothing in it can be changed.

        Its totals are those of this moment. Each later look at what is in it
        sees the file of that moment, so what was there may be gone.

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
            file = cls(path, db, None)
            file._read_totals()
            undo.pop_all()
        return file

    def close(self, *, remove_empty: bool = True) -> None:
        """
        Let go of it; an empty one is removed. A second call does nothing.
        """
        lock, self._lock = self._lock, None
        try:
            self._db.close()
            if lock is not None and remove_empty and not self.count and not self.letters:
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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        before = self.count, self.letters, self.size, self._next_id
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.count, self.letters, self.size, self._next_id = before
            with suppress(sqlite3.Error):  # a full disk ends the transaction by itself
                self._db.execute("ROLLBACK")
            raise

    # Changes. Each of these within a transaction.

    def add(self, records: Sequence[SpooledRecord]) -> range:
        """
        Put *records* behind all others.

        Returns:
            Their ids, in the same order.
        """
        ids = range(self._next_id, self._next_id + len(records))
        self._db.executemany(
            "INSERT INTO records "
            "(id, event_id, pushed_at, tried_for, seq, session_id, session, data) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (i, r.event_id, r.pushed_at, r.tried_for, r.seq, r.session_id, r.session, r.data)
                for i, r in zip(ids, records, strict=True)
            ),
        )
        self._next_id = ids.stop
        self.count += len(records)
        self.size += sum(record.size for record in records)
        return ids

    def remove(self, ids: Iterable[int]) -> int:
        """
        Forget records.

        Returns:
            How many of them were there.
        """
        removed = self._delete(
            "DELETE FROM records WHERE id = ? RETURNING length(data) + ifnull(length(session), 0)",
            ids,
        )
        self.count -= removed
        return removed

    def bury(self, letters: Iterable[Letter]) -> None:
        """
        Keep *letters* for a person.
        """
        for letter in letters:
            self._db.execute(
                "INSERT INTO letters "
                "(event_id, pushed_at, died_at, outcome, reason, status, answer, data) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(letter.event_id, letter.pushed_at, letter.died_at, letter.outcome),
                    *(letter.reason, letter.status, letter.answer, letter.data),
                ),
            )
            self.letters += 1
            self.size += letter.size

    def revive(self, ids: Iterable[int]) -> list[int]:
        """
        Make records of letters again, behind all others, as old as they were.

        Returns:
            The ids of the letters that were there.
        """
        revived = []
        for id_ in ids:
            letter = self.letter(id_)
            if letter is not None:
                self.add([letter.revived()])
                self.discard([id_])
                revived.append(id_)
        return revived

    def discard(self, ids: Iterable[int]) -> int:
        """
        Forget letters for good.

        Returns:
            How many of them were there.
        """
        discarded = self._delete(
            "DELETE FROM letters WHERE id = ? "
            "RETURNING length(data) + length(CAST(answer AS BLOB))",
            ids,
        )
        self.letters -= discarded
        return discarded

    def purge(self, match: Match) -> tuple[int, int]:
        """
        Forget the records and letters that *match*; no bytes of them stay in the file.

        Returns:
            How many records and how many letters that were.
        """
        records, letters = self.find(match)
        return self.remove(records), self.discard(letters)

    def expire(self, before: float) -> tuple[int, int]:
        """
        Forget what was pushed before a Unix time, as `purge` does.
        """
        return self.purge(Match(before=before))

    # Reading.

    def ids(self, limit: int = -1) -> list[int]:
        """
        List the ids of its records, or of the first *limit* of them, in order of arrival.
        """
        rows = self._db.execute("SELECT id FROM records ORDER BY id LIMIT ?", (limit,))
        return [id_ for (id_,) in rows]

    def record(self, id_: int) -> SpooledRecord | None:
        return self._read(
            SpooledRecord,
            "SELECT id, event_id, pushed_at, tried_for, seq, session_id, session, data "
            "FROM records WHERE id = ?",
            id_,
        )

    def letter_ids(self) -> list[int]:
        """
        List the ids of its letters, in order of death.
        """
        return [id_ for (id_,) in self._db.execute("SELECT id FROM letters ORDER BY id")]

    def letter(self, id_: int) -> Letter | None:
        return self._read(
            Letter,
            "SELECT id, event_id, pushed_at, died_at, outcome, reason, status, answer, data "
            "FROM letters WHERE id = ?",
            id_,
        )

    def find(self, match: Match) -> tuple[list[int], list[int]]:
        """
        List the ids of the records and of the letters that *match*.
        """
        before = inf if match.before is None else match.before
        records = self._db.execute(
            "SELECT id, pushed_at, data, session FROM records WHERE pushed_at < ?", (before,)
        )
        letters = self._db.execute(
            "SELECT id, pushed_at, data FROM letters WHERE pushed_at < ?", (before,)
        )
        return (
            [id_ for id_, *row in records if match.fits(*row)],
            [id_ for id_, *row in letters if match.fits(*row)],
        )

    def oldest_pushed_at(self) -> float | None:
        """
        Say when the oldest record was pushed, as Unix time; None without one.
        """
        (oldest,) = self._db.execute("SELECT min(pushed_at) FROM records").fetchone()
        return None if oldest is None else float(oldest)

    # Within.

    def _read(self, kind: Callable[..., T], statement: str, id_: int) -> T | None:
        cursor = self._db.execute(statement, (id_,))
        names = [name for name, *_ in cursor.description]
        return next((kind(**dict(zip(names, row, strict=True))) for row in cursor), None)

    def _delete(self, statement: str, ids: Iterable[int]) -> int:
        """
        Execute *statement*, which returns the size of what it deletes, for each id.
        """
        sizes = [size for id_ in ids for (size,) in self._db.execute(statement, (id_,))]
        self.size -= sum(sizes)
        return len(sizes)

    def _read_totals(self) -> None:
        facts = read_facts(self._db)
        self.base_url, self.dialect = facts["base_url"], facts["dialect"]
        self.count, records = self._db.execute(
            "SELECT count(*), ifnull(sum(length(data) + ifnull(length(session), 0)), 0) "
            "FROM records"
        ).fetchone()
        self.letters, letters = self._db.execute(
            "SELECT count(*), ifnull(sum(length(data) + length(CAST(answer AS BLOB))), 0) "
            "FROM letters"
        ).fetchone()
        self.size = records + letters
        last = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        self._next_id = 1 + (last[0] if last else 0)
