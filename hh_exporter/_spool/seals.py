"""
Whose a spool file is: its seal.

Without the key nobody can tell which key it is of, and with it nobody can mistake one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from hmac import compare_digest
from math import inf
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import frozen

from hh_exporter._spool.columns import LETTERS, RECORDS
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.schema import is_corrupt, look, read_version, show
from hh_exporter.exceptions import SpoolError

__all__ = [
    "Difference",
    "Glance",
    "Seal",
    "find_difference",
    "glance",
    "read_seal",
    "seal",
]

_SALT: Final = 16

Difference: TypeAlias = Literal["", "key", "dialect", "address"]
"""What of an identity a file is not of; empty if it is of that one."""


@frozen
class Seal:
    """
    Whose a file is, as the file says.
    """

    base_url: str
    dialect: str
    salt: bytes
    digest: bytes

    def differs(self, identity: Identity) -> Difference:
        """
        Say what of *identity* it is not of.
        """
        if compare_digest(self.digest, identity.seal(self.salt)):
            return ""
        if self.base_url != identity.base_url:
            return "address"
        return "key" if self.dialect == identity.dialect else "dialect"


@frozen
class Glance:
    """
    What can be read of a file without reading all of it.
    """

    seal: Seal
    count: int
    """Records in it."""
    oldest: float
    """When the oldest record or letter was pushed, as Unix time; infinite without one."""


def seal(db: sqlite3.Connection, identity: Identity) -> None:
    """
    Note whose it is, without the key, whoever it was before. Within a transaction.
    """
    salt = os.urandom(_SALT)
    facts = {
        "base_url": identity.base_url,
        "dialect": identity.dialect,
        "salt": salt,
        "seal": identity.seal(salt),
    }
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())


def read_seal(db: sqlite3.Connection) -> Seal:
    """
    Read whose it is.

    Raises:
        sqlite3.DatabaseError: That is damaged, so nobody can tell.
    """
    facts = dict(db.execute("SELECT name, value FROM meta").fetchall())
    found = tuple(facts.get(name) for name in ("base_url", "dialect", "salt", "seal"))
    match found:
        case (str(base_url), str(dialect), bytes(salt), bytes(digest)) if len(salt) == _SALT:
            return Seal(base_url, dialect, salt, digest)
    raise sqlite3.DatabaseError("its seal is damaged")


def glance(path: Path) -> Glance | None:
    """
    Look at the file at *path*, whoever holds it; None if it is gone, or has nothing in it yet.

    Raises:
        SpoolError: It is of another version or program.
        OSError, sqlite3.Error: It can't be read.
    """
    db = look(path)
    if db is None:
        return None
    with closing(db):
        if not show(path, db):
            return None
        (count,) = db.execute("SELECT count(*) FROM records").fetchone()
        oldest = [
            moment
            for columns in (RECORDS, LETTERS)
            for (moment,) in db.execute(columns.oldest)
            if moment is not None
        ]
        return Glance(read_seal(db), count, min(oldest, default=inf))


def find_difference(path: Path, identity: Identity) -> Difference:
    """
    Say what of *identity* the file at *path* is not of; empty if it is, or can't be told.
    """
    try:
        db = look(path)
        if db is None:
            return ""
        with closing(db):
            return read_seal(db).differs(identity) if read_version(path, db) else ""
    except SpoolError:
        return ""
    except sqlite3.Error as exc:
        if is_corrupt(exc):
            return ""  # or a process has just changed it: who takes the lock can tell
        raise
