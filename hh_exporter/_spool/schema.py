"""
A spool file as a database: how it is opened, its tables, its version, and its seal.

The first commit writes the tables and the seal together: a file without a version
has nothing in it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import ExitStack, closing
from hmac import compare_digest
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import frozen

from hh_exporter._spool.columns import to_text
from hh_exporter._spool.kept import Identity, Mark
from hh_exporter._spool.place import has_log
from hh_exporter.exceptions import SpoolError

__all__ = [
    "Difference",
    "Seal",
    "bound_log",
    "check",
    "connect",
    "cut_log",
    "extent",
    "find_difference",
    "gives_back",
    "is_corrupt",
    "is_in_use",
    "is_lost",
    "look",
    "read_heir",
    "read_marks",
    "read_seal",
    "read_version",
    "seal",
    "set_heir",
    "set_mark",
    "set_up",
    "upgrade",
    "wait_for_disk",
]

_APPLICATION_ID: Final = int.from_bytes(b"hhsp", "big")
_SALT: Final = 16
_PAGE_SIZE: Final = 1024
"""An event has a few kilobytes: larger pages would be half empty."""
_PATIENCE: Final = 5000
"""Milliseconds for which SQLite waits for another connection, such as a reader's."""
_FULL: Final = 1
"""How SQLite numbers the auto-vacuum that ends each commit."""
_HEIR: Final = "heir"
_MARK: Final = "moved from "
"""What in `meta` says where the contents of a file go, and how many of another's are here."""

_STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        f"PRAGMA application_id = {_APPLICATION_ID}",
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE records (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            event_id TEXT NOT NULL,
            pushed_at REAL NOT NULL,
            tried_for REAL NOT NULL,
            seq INTEGER NOT NULL,
            session_id TEXT,
            session BLOB,
            data BLOB NOT NULL
        )
        """,
        """
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
        )
        """,
        "CREATE INDEX records_by_age ON records (pushed_at)",
        "CREATE INDEX letters_by_age ON letters (pushed_at)",
    ),
)
"""What makes each version of the schema of the one before it; `user_version` counts them."""

_NO_VALUE: Final = "NULL value in "
"""How SQLite begins to say that a column of a row is empty which must not be."""
_NOT_OURS: Final = ("no such table", "no such column")
"""How it begins to say that a file has another schema than its version says."""


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


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """
    Open the database at *path*, which is there.
    """
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_PATIENCE / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    db.text_factory = to_text
    return db


def look(path: Path) -> sqlite3.Connection | None:
    """
    Open the database at *path* to read what its holder, if any, has committed.

    Nothing is left beside one that was closed: it is read as what can't change,
    since SQLite would make a log and an index that a reader can't remove. Who
    takes it over meanwhile writes to a log of their own first.

    Returns:
        None if it is gone.
    """
    with ExitStack() as undo:
        try:
            db = undo.enter_context(
                closing(connect(path, "ro" if has_log(path) else "ro&immutable=1"))
            )
            db.execute("PRAGMA user_version").fetchone()  # so that its log is open, too
        except sqlite3.OperationalError:
            if path.exists():
                raise
            return None
        undo.pop_all()
        return db


def is_in_use(path: Path) -> bool:
    """
    Whether a live process has the database at *path* open, whatever became of its lock.

    Raises:
        SpoolError: It is of another version or program.
    """
    try:
        with closing(connect(path, "rw")) as db:
            db.execute("PRAGMA busy_timeout = 0")
            if read_version(path, db):
                # SQLite does that for none but the only one who has it open.
                db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as exc:
        return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    except sqlite3.DatabaseError:
        return False  # damaged, or no database: who opens it can tell
    return False


def set_up(db: sqlite3.Connection, *, fsync: bool, is_new: bool = False) -> None:
    """
    Choose what a commit survives: the end of the process, or with *fsync* of the machine too.

    A new file has nothing in it that the end of the machine could damage: unless its
    commits are to survive that, it is made without a wait for the disk, which takes
    seconds where others write much. Call it again without *is_new* once it is made.
    """
    if is_new:
        db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        # What is deleted is overwritten anyway: to move the end of the file there costs no more.
        db.execute("PRAGMA auto_vacuum = FULL")
    wait_for_disk(db, "FULL" if fsync else "OFF" if is_new else "NORMAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA secure_delete = ON")  # what is purged must not stay on free pages


def bound_log(db: sqlite3.Connection, size: int) -> None:
    """
    Have the log written to its file when it has *size* bytes, and cut to that.
    """
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA wal_autocheckpoint = {max(1, size // page_size)}")
    db.execute(f"PRAGMA journal_size_limit = {size}")


def cut_log(db: sqlite3.Connection) -> None:
    """
    Write the log to its file and leave nothing of it, unless somebody reads it just now.
    """
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {_PATIENCE}")


def extent(db: sqlite3.Connection) -> int:
    """
    Bytes of its pages, wherever they are.
    """
    (size,) = db.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()
    return int(size)


def gives_back(db: sqlite3.Connection) -> bool:
    """
    Whether the file shrinks as its contents go; those of early versions keep their size.
    """
    (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
    return bool(mode == _FULL)


def wait_for_disk(db: sqlite3.Connection, level: Literal["OFF", "NORMAL", "FULL"]) -> None:
    """
    Choose when SQLite waits for the disk: never, at its checkpoints, or at each commit too.
    """
    db.execute(f"PRAGMA synchronous = {level}")


def check(db: sqlite3.Connection) -> None:
    """
    Raise `sqlite3.DatabaseError` if the file is damaged, beyond the values of single rows.

    It reads the whole file, at about half a second per gigabyte: once, since damage
    that shows later would show in the middle of a delivery.
    """
    found = {text for (text,) in db.execute("PRAGMA quick_check")}
    if any(text != "ok" and not text.startswith(_NO_VALUE) for text in found):
        raise sqlite3.DatabaseError("database disk image is malformed")


def is_corrupt(error: sqlite3.Error) -> bool:
    """
    Whether *error* means that a file is damaged, and not that it can't be read now.
    """
    return type(error) is sqlite3.DatabaseError or str(error).startswith(_NOT_OURS)


def is_lost(error: sqlite3.Error) -> bool:
    """
    Whether *error* means that what was read can't be read, and not that it can't be copied.
    """
    return is_corrupt(error) or (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
    )


def read_version(path: Path, db: sqlite3.Connection, *, can_upgrade: bool = True) -> int:
    """
    Read the version of its schema; 0 if it has no contents.

    Raises:
        SpoolError: It is of a newer version, of an older one that must not be upgraded, or no
            spool file.
        sqlite3.DatabaseError: Its version is damaged.
    """
    application_id, version, tables = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if (version or tables) and application_id != _APPLICATION_ID:
        raise SpoolError(f"{path} is not a spool file, and is left unchanged: check who created it")
    if version < 0 or (tables and not version):
        raise sqlite3.DatabaseError("its version is damaged")
    if version > len(_STEPS):
        raise SpoolError(
            f"{path} is of a newer version of hh_exporter (schema {version}; this one knows "
            f"{len(_STEPS)}), and is left unchanged: that version can send its events"
        )
    if 0 < version < len(_STEPS) and not can_upgrade:
        raise SpoolError(
            f"{path} is of an older version of hh_exporter: an exporter that takes it over "
            "upgrades it"
        )
    return int(version)


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """
    Bring the schema from *version* to this one's. Within a transaction.
    """
    for number, step in enumerate(_STEPS[version:], version + 1):
        for statement in step:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")


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


def set_heir(db: sqlite3.Connection, name: str) -> None:
    """
    Note the name of the file to which the contents of this one are moved. Within a transaction.
    """
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_HEIR, name))


def read_heir(db: sqlite3.Connection) -> str:
    """
    Read that name; empty if there is none.
    """
    found = db.execute("SELECT value FROM meta WHERE name = ?", (_HEIR,)).fetchone()
    return found[0] if found is not None and _is_name(found[0]) else ""


def set_mark(db: sqlite3.Connection, name: str, mark: Mark | None) -> None:
    """
    Note how much of the file of that name is in this one. Within a transaction.
    """
    if mark is None:
        db.execute("DELETE FROM meta WHERE name = ?", (_MARK + name,))
    else:
        value = f"{mark.records} {mark.letters}"
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_MARK + name, value))


def read_marks(db: sqlite3.Connection) -> dict[str, Mark]:
    """
    Read how much of other files is in this one, by their names.

    A mark that is damaged is left out: rather is a part moved twice than one not at all.
    """
    marks = {}
    for name, value in db.execute("SELECT name, value FROM meta WHERE name GLOB ?", (f"{_MARK}*",)):
        found = re.fullmatch(r"(\d{1,18}) (\d{1,18})", str(value), re.ASCII)
        if found and _is_name(source := name.removeprefix(_MARK)):
            marks[source] = Mark(records=int(found[1]), letters=int(found[2]))
    return marks


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value == Path(value).name != ""


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
