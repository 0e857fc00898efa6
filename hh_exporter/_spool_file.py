"""
One spool file: records that wait on disk, and dead letters, in SQLite.

It belongs to whoever holds the lock beside it, and nobody else opens it. The
lock is the kernel's, so it ends with its process however that ends, and what
was committed is there for the next. Used by one thread at a time.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from hh_exporter.exceptions import SpoolError

__all__ = ["SUFFIX", "Identity", "Letter", "SpoolFile", "SpooledRecord"]

SUFFIX: Final = ".spool"

_STEPS: Final = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL,
        pushed_at REAL NOT NULL,
        tried_for REAL NOT NULL,
        session_id TEXT,
        session BLOB,
        data BLOB NOT NULL
    );
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL,
        pushed_at REAL NOT NULL,
        died_at REAL NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL,
        status INTEGER,
        answer TEXT NOT NULL,
        data BLOB NOT NULL
    );
    """,
)
"""What makes each version of the schema of the one before it; `user_version` counts them."""

_LOCK: Final = ".lock"
_COMPANIONS: Final = ("-wal", "-shm", _LOCK)
"""What belongs to a file, by what is added to its name."""

_RECORD = ("id", "event_id", "pushed_at", "tried_for", "session_id", "session", "data")
_LETTER = (
    *("id", "event_id", "pushed_at", "died_at", "outcome", "reason", "status", "answer", "data"),
)

_SIZES = "SELECT count(*), coalesce(sum(length(data) + coalesce(length(session), 0)), 0) FROM"


@frozen(kw_only=True)
class Identity:
    """
    Whose events a file holds: only who sends to the same place with the same key may have them.
    """

    base_url: str
    dialect: str
    api_key: str | None = field(repr=False)

    def seal(self, salt: bytes) -> bytes:
        """
        Make what tells two identities apart and reveals no key.
        """
        text = "\0".join((self.base_url, self.dialect, self.api_key or ""))
        return blake2b(text.encode(), salt=salt, person=b"hh_exporter").digest()


@frozen(kw_only=True)
class SpooledRecord:
    """
    One record as it is on disk.
    """

    id: int = 0
    """Order of arrival in its file; the file gives it."""
    event_id: str
    data: bytes = field(repr=False)
    pushed_at: float
    """Unix time."""
    tried_for: float = 0.0
    session_id: str | None = None
    """The session that it has still to announce."""
    session: bytes | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Letter:
    """
    A dead letter: a record that was rejected or dropped, kept for a person.
    """

    id: int = 0
    event_id: str
    data: bytes = field(repr=False)
    pushed_at: float
    died_at: float
    """Both Unix time."""
    outcome: str
    reason: str
    status: int | None
    answer: str = field(repr=False)
    """The server's own words, which can echo a prompt."""


@define(eq=False)
class SpoolFile:
    """
    An open file and its lock.
    """

    path: Path
    _db: sqlite3.Connection
    _lock: int
    count: int = field(default=0, init=False)
    """Records in it."""
    size: int = field(default=0, init=False)
    """Bytes of those records and of the letters."""
    letters: int = field(default=0, init=False)
    _next_id: int = field(default=1, init=False)

    @classmethod
    def create(cls, directory: Path, identity: Identity) -> SpoolFile:
        """
        Make a new file in *directory*, which is made where it is missing.

        Raises:
            OSError, sqlite3.Error: The place can't be written to.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"{uuid.uuid4().hex}{SUFFIX}"
        lock = _lock(path)
        assert lock is not None  # noqa: S101 - nobody else knows the name
        try:
            # Before SQLite does, which would let the umask decide who may read it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return cls._open(path, lock, identity)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def adopt(cls, path: Path, identity: Identity | None) -> SpoolFile | None:
        """
        Open a file that nobody holds; *identity* None asks for no proof.

        Returns:
            The file; None if somebody has it, it is gone, or it is of another identity.

        Raises:
            SpoolError: It is not ours to read, or of a newer version.
            OSError, sqlite3.Error: It can't be read; `sqlite3.DatabaseError` if it is corrupt.
        """
        lock = _lock(path)
        if lock is None:
            return None
        try:
            if not path.exists():  # its last holder removed it, empty
                os.close(lock)
                return None
            _check_owner(path)
            file = cls._open(path, lock, identity)
            if identity is not None and not file._is_of(identity):
                file.close()
                return None
        except BaseException:
            with suppress(OSError):
                os.close(lock)
            raise
        return file

    @classmethod
    def _open(cls, path: Path, lock: int, identity: Identity | None) -> SpoolFile:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        file = cls(path, db, lock)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            file._upgrade(identity)
            file._count()
        except BaseException:
            db.close()
            raise
        return file

    def close(self, *, remove_empty: bool = True) -> None:
        """
        Let go of it; an empty one is removed.
        """
        is_empty = remove_empty and not self.count and not self.letters
        self._db.close()
        if is_empty:
            for path in (self.path, *(Path(f"{self.path}{end}") for end in _COMPANIONS)):
                path.unlink(missing_ok=True)
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        before = self.count, self.size, self.letters, self._next_id
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.count, self.size, self.letters, self._next_id = before
            with suppress(sqlite3.Error):  # a full disk ends the transaction by itself
                self._db.execute("ROLLBACK")
            raise

    # Records. Each of these within a transaction.

    def add(self, records: Sequence[SpooledRecord]) -> range:
        """
        Put *records* behind all others.

        Returns:
            Their ids, in the same order.
        """
        ids = range(self._next_id, self._next_id + len(records))
        self._db.executemany(
            "INSERT INTO records (id, event_id, pushed_at, tried_for, session_id, session, data) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (i, r.event_id, r.pushed_at, r.tried_for, r.session_id, r.session, r.data)
                for i, r in zip(ids, records, strict=True)
            ),
        )
        self._next_id = ids.stop
        self.count += len(records)
        self.size += sum(map(_size, records))
        return ids

    def remove(self, ids: Iterable[int]) -> None:
        for id_ in ids:
            row = self._db.execute(
                "DELETE FROM records WHERE id = ? "
                "RETURNING length(data) + coalesce(length(session), 0)",
                (id_,),
            ).fetchone()
            if row is not None:
                self.count -= 1
                self.size -= row[0]

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
            self.size += len(letter.data)

    def revive(self, ids: Iterable[int]) -> list[int]:
        """
        Make records of letters again, behind all others.

        Returns:
            The ids of the letters that were there.
        """
        revived = [letter for id_ in ids if (letter := self.letter(id_)) is not None]
        self.add(
            [
                SpooledRecord(event_id=x.event_id, data=x.data, pushed_at=x.pushed_at)
                for x in revived
            ]
        )
        self.discard([letter.id for letter in revived])
        return [letter.id for letter in revived]

    def discard(self, ids: Iterable[int]) -> None:
        """
        Forget letters for good.
        """
        for id_ in ids:
            row = self._db.execute(
                "DELETE FROM letters WHERE id = ? RETURNING length(data)", (id_,)
            ).fetchone()
            if row is not None:
                self.letters -= 1
                self.size -= row[0]

    # Reading.

    def ids(self, after: int = 0) -> list[int]:
        """
        List the ids of its records, in order of arrival.
        """
        rows = self._db.execute("SELECT id FROM records WHERE id > ? ORDER BY id", (after,))
        return [id_ for (id_,) in rows]

    def record(self, id_: int) -> SpooledRecord | None:
        row = self._db.execute(
            "SELECT id, event_id, pushed_at, tried_for, session_id, session, data "
            "FROM records WHERE id = ?",
            (id_,),
        ).fetchone()
        return None if row is None else SpooledRecord(**dict(zip(_RECORD, row, strict=True)))

    def letter(self, id_: int) -> Letter | None:
        row = self._db.execute(
            "SELECT id, event_id, pushed_at, died_at, outcome, reason, status, answer, data "
            "FROM letters WHERE id = ?",
            (id_,),
        ).fetchone()
        return None if row is None else Letter(**dict(zip(_LETTER, row, strict=True)))

    def letter_ids(self) -> list[int]:
        return [id_ for (id_,) in self._db.execute("SELECT id FROM letters ORDER BY id")]

    def oldest_pushed_at(self) -> float | None:
        """
        Say when the oldest record was pushed, as Unix time; None without one.
        """
        (oldest,) = self._db.execute("SELECT min(pushed_at) FROM records").fetchone()
        return None if oldest is None else float(oldest)

    # Within.

    def _upgrade(self, identity: Identity | None) -> None:
        """
        Bring the schema to this version, and seal a new file with *identity*.
        """
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(_STEPS):
            raise SpoolError(
                f"{self.path} is of a newer version of hh_exporter (schema {version}; this one "
                f"knows {len(_STEPS)}): it is left as it is"
            )
        for number, step in enumerate(_STEPS[version:], version + 1):
            self._db.executescript(f"BEGIN; {step}; PRAGMA user_version = {number}; COMMIT;")
        if version == 0 and identity is not None:
            salt = os.urandom(16)
            facts = {
                "base_url": identity.base_url,
                "dialect": identity.dialect,
                "salt": salt,
                "seal": identity.seal(salt),
            }
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())

    def _is_of(self, identity: Identity) -> bool:
        facts = dict(self._db.execute("SELECT name, value FROM meta"))
        seal = facts.get("seal", b"")
        return compare_digest(seal, identity.seal(facts.get("salt", b"")))

    def _count(self) -> None:
        self.count, records = self._db.execute(f"{_SIZES} records").fetchone()
        self.letters, letters = self._db.execute(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM letters"
        ).fetchone()
        self.size = records + letters
        last = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        self._next_id = 1 + (last[0] if last else 0)


def _size(record: SpooledRecord) -> int:
    return len(record.data) + len(record.session or b"")


def _lock(path: Path) -> int | None:
    """
    Take the lock beside *path*.

    Returns:
        A descriptor, which is the lock as long as it is open; None if somebody has it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(f"{path}{_LOCK}", flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_owner(path: Path) -> None:
    """
    Raise SpoolError unless *path* is a file that is ours alone.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SpoolError(f"{path} is not a file that we own and nobody else may read")
