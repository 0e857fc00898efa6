"""
The collector's database file: its tables, its size, and which program it belongs to.

An event is two rows: a narrow one, to list and to count, and one with its text. Rows
of events leave only from the front, so that their ids have no gaps.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson

from hh_exporter._collector.storage.rows import EventRow, named, rewrite
from hh_exporter.events import new_id
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bound_log", "claim", "compact", "connect", "cut", "give_back", "rename", "used_bytes"]

_APPLICATION_ID: Final = int.from_bytes(b"hhco", "big")
_VERSION: Final = 6
_MAX_LOG_BYTES: Final = 64 * 2**20
_INCREMENTAL: Final = 2
"""How SQLite numbers the auto-vacuum that gives back as many pages as it is told."""
_SPARE_BYTES: Final = 8 * 2**20
"""Free space that the file keeps: what arrives next would take it from the disk again."""
_GIVEN_BACK: Final = 2**20
"""Bytes that are given back at once, each of which may have to be moved first."""
_QUICK_BYTES: Final = 64 * 2**20
"""What is written anew in well under a second."""

_BY_EVENT_ID: Final = "CREATE INDEX events_by_event_id ON events (event_id)"
_TEXTS: Final = """
    CREATE TABLE {} (
        id INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        input TEXT,
        output TEXT,
        event TEXT NOT NULL
    )
"""
"""The longest is last: what stands before it is read without it."""

_TABLES: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        start NUMERIC NOT NULL,
        name TEXT,
        type TEXT NOT NULL,
        model TEXT,
        provider TEXT,
        source TEXT,
        tokens_in INTEGER,
        tokens_out INTEGER,
        cost NUMERIC,
        duration NUMERIC,
        error TEXT,
        parent_id TEXT,
        user TEXT,
        time_to_first_token NUMERIC,
        rating NUMERIC,
        note TEXT,
        path TEXT NOT NULL,
        size INTEGER NOT NULL
    )
    """,
    _TEXTS.format("texts"),
    """
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        short_id TEXT NOT NULL UNIQUE,
        session_id TEXT NOT NULL,
        name TEXT,
        user TEXT,
        properties TEXT NOT NULL,
        time INTEGER NOT NULL,
        has_events INTEGER NOT NULL,
        has_root INTEGER NOT NULL
    )
    """,
    "CREATE INDEX events_by_time ON events (time)",
    "CREATE INDEX events_by_session ON events (session_id)",
    _BY_EVENT_ID,
    "CREATE INDEX empty_sessions ON sessions (id) WHERE NOT has_events",
)
"""Ids are shortened, but in `texts` and in `sessions.session_id`, where they are whole."""

_FROM_VERSION_5: Final = (
    "ALTER TABLE events ADD COLUMN user TEXT",
    "ALTER TABLE events ADD COLUMN time_to_first_token NUMERIC",
    "ALTER TABLE events ADD COLUMN rating NUMERIC",
    "ALTER TABLE events ADD COLUMN note TEXT",
    "ALTER TABLE sessions ADD COLUMN name TEXT",
    "ALTER TABLE sessions ADD COLUMN user TEXT",
    _TEXTS.format("new_texts"),
    "INSERT INTO new_texts SELECT id, event_id, session_id, NULL, NULL, event FROM texts",
    "DROP TABLE texts",
    "ALTER TABLE new_texts RENAME TO texts",
)
_FROM_VERSION_4: Final = ("ALTER TABLE events ADD COLUMN parent_id TEXT", *_FROM_VERSION_5)
_FROM_VERSION_3: Final = (
    _BY_EVENT_ID,
    "ALTER TABLE sessions ADD COLUMN has_root INTEGER NOT NULL DEFAULT 1",
    "UPDATE sessions SET has_root = 0 WHERE properties = '{}'",
    *_FROM_VERSION_4,
)
_STEPS: Final = {
    0: _TABLES,
    3: _FROM_VERSION_3,
    4: _FROM_VERSION_4,
    5: _FROM_VERSION_5,
    _VERSION: (),
}
"""What each version lacks; 0 is an empty file."""


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the database at *path*, for one thread after the other.
    """
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def claim(db: sqlite3.Connection, name: str) -> None:
    """
    Make the tables of a new database, or add what one of an earlier version lacks.

    Raises `ExporterError`, naming the file *name*, if it is of something else;
    it is left as it was.
    """
    db.execute("PRAGMA page_size = 16384")  # an event has some kilobytes
    db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")  # of a file that has none or is compacted
    with db:
        db.execute("BEGIN IMMEDIATE")  # fails now, where an insert would later
        version = _version(db, name)
        for statement in _STEPS[version]:
            db.execute(statement)
        if version != _VERSION:
            _read_again(db)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        if not version:
            db.execute("INSERT INTO meta VALUES ('store', ?)", (new_id(),))
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA journal_size_limit = {_MAX_LOG_BYTES}")
    if not _gives_back(db):  # it is of an earlier version
        compact(db, _QUICK_BYTES if version == _VERSION else used_bytes(db))


def rename(db: sqlite3.Connection) -> None:
    """
    Give the database a new `store` id: those who know the last one have seen another database.
    """
    db.execute("UPDATE meta SET value = ? WHERE name = 'store'", (new_id(),))


def used_bytes(db: sqlite3.Connection) -> int:
    """
    Count the bytes of the file that hold something.
    """
    return (_pragma(db, "page_count") - _pragma(db, "freelist_count")) * _pragma(db, "page_size")


def give_back(db: sqlite3.Connection) -> None:
    """
    Let the disk have some of the free space in the file, beyond what is kept for what comes.
    """
    page_size = _pragma(db, "page_size")
    beyond = _pragma(db, "freelist_count") - _SPARE_BYTES // page_size
    for _ in range(min(beyond, _GIVEN_BACK // page_size)):
        # One by one: it makes a row without columns of each, and sqlite3 stops at the first.
        db.execute("PRAGMA incremental_vacuum(1)")


def compact(db: sqlite3.Connection, most: int = _QUICK_BYTES) -> None:
    """
    Write the file anew without its free space, unless what it holds is more than *most* bytes.

    So does a file of an earlier version learn to give space back bit by bit. It takes as
    much disk again for a moment; where there is none, the file stays as it is.
    """
    if used_bytes(db) > most:
        return
    with suppress(sqlite3.OperationalError):
        db.execute("VACUUM")
        _checkpoint(db, "TRUNCATE")


def cut(db: sqlite3.Connection, path: Path) -> None:
    """
    Cut the file at *path* to its contents if it is much larger, which only a checkpoint does.

    What can't be done now is for the next time: nothing that was written depends on it.
    """
    size = _pragma(db, "page_count") * _pragma(db, "page_size")
    with suppress(OSError, sqlite3.OperationalError):
        if path.stat().st_size > size + _SPARE_BYTES:
            _checkpoint(db, "PASSIVE")


def bound_log(db: sqlite3.Connection, path: Path) -> None:
    """
    Empty the log of the file at *path* if it is too large, between two questions.

    A checkpoint begins the log anew only when nobody reads: where somebody always does,
    as with many windows of the page, it would grow for good.
    """
    with suppress(OSError, sqlite3.OperationalError):
        if path.with_name(f"{path.name}-wal").stat().st_size > _MAX_LOG_BYTES:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _checkpoint(db: sqlite3.Connection, mode: str) -> None:
    """
    Write the log to the file, without waiting for those who read just now.
    """
    patience = _pragma(db, "busy_timeout")
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


def _gives_back(db: sqlite3.Connection) -> bool:
    return _pragma(db, "auto_vacuum") == _INCREMENTAL


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _read_again(db: sqlite3.Connection) -> None:
    """
    Fill in what lists show of events and sessions that were stored when they showed less.
    """
    texts = db.execute(
        "SELECT id, CAST(event AS BLOB), texts.event_id, texts.session_id, path, time "
        "FROM events JOIN texts USING (id)"
    )
    for row_id, *values in texts:
        rewrite(db, row_id, EventRow(*values))
    sessions = db.execute("SELECT id, CAST(properties AS BLOB) FROM sessions")
    db.executemany(
        "UPDATE sessions SET name = ?, user = ? WHERE id = ?",
        ((*named(orjson.loads(properties)), row_id) for row_id, properties in sessions),
    )


def _version(db: sqlite3.Connection, name: str) -> int:
    """
    Tell of which version the database is; 0 if it is empty.
    """
    application_id, version, tables = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id == _APPLICATION_ID and not (version and version in _STEPS):
        raise ExporterError(f"{name} is of another version of the collector: name another file")
    if application_id != _APPLICATION_ID and (application_id or version or tables):
        raise ExporterError(f"{name} is not a collector's database: name another file")
    return int(version)
