"""
A spool file as a database: how it is opened, its tables and its version.

The first commit writes the tables and the seal together: a file without a version
has nothing in it.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Literal

from hh_exporter._spool.columns import to_text
from hh_exporter._spool.place import has_log
from hh_exporter.exceptions import SpoolError

__all__ = [
    "begin_log",
    "bound_log",
    "check",
    "connect",
    "cut_log",
    "extent",
    "gives_back",
    "is_corrupt",
    "is_in_use",
    "is_lost",
    "look",
    "read_version",
    "set_up",
    "show",
    "upgrade",
    "wait_for_disk",
]

_APPLICATION_ID: Final = int.from_bytes(b"hhsp", "big")
_PAGE_SIZE: Final = 512
"""Most events have about a kilobyte, packed: large pages would be half empty."""
_PATIENCE: Final = 5000
"""Milliseconds for which SQLite waits for another connection, such as a reader's."""
_FULL: Final = 1
"""How SQLite numbers the auto-vacuum that ends each commit."""

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
    (
        "ALTER TABLE records ADD COLUMN route TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE letters ADD COLUMN route TEXT NOT NULL DEFAULT ''",
    ),
    (),  # the data of a row may be packed, which earlier versions don't expect
)
"""What makes each version of the schema of the one before it; `user_version` counts them."""

_SEEN_AS: Final[dict[int, tuple[str, ...]]] = {
    1: (
        "CREATE TEMP VIEW records AS SELECT *, '' AS route FROM main.records",
        "CREATE TEMP VIEW letters AS SELECT *, '' AS route FROM main.letters",
    ),
    2: (),
}
"""What shows a reader tables of an older version as they will be, in a connection of its own."""

_NO_VALUE: Final = "NULL value in "
"""How SQLite begins to say that a column of a row is empty which must not be."""
_NOT_OURS: Final = ("no such table", "no such column")
"""How it begins to say that a file has another schema than its version says."""


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


def begin_log(db: sqlite3.Connection, model: sqlite3.Connection) -> None:
    """
    Have what a new database gets be committed to a log, with pages as large as *model*'s.
    """
    (size,) = model.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA page_size = {size}")
    db.execute("PRAGMA journal_mode = WAL")


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
        return _code(exc) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
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

    It reads the whole file, at about two seconds per gigabyte: once, since damage
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
    is_unread = _code(error) in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
    return is_unread or is_corrupt(error)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)  # what Python finds by itself has none


def read_version(path: Path, db: sqlite3.Connection) -> int:
    """
    Read the version of its schema; 0 if it has no contents.

    Raises:
        SpoolError: It is of a newer version, or no spool file.
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
    return int(version)


def show(path: Path, db: sqlite3.Connection) -> int:
    """
    Have a reader see a file as if it were of this version; the file is left as it is.

    Returns and raises as `read_version` does.
    """
    version = read_version(path, db)
    if 0 < version < len(_STEPS):
        for statement in _SEEN_AS[version]:
            db.execute(statement)
    return version


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """
    Bring the schema from *version* to this one's. Within a transaction.
    """
    for number, step in enumerate(_STEPS[version:], version + 1):
        for statement in step:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
