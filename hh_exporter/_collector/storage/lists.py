"""
Queries that list events and sessions.

Each query reads a bounded number of rows and bytes; its answer says where to continue.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from attrs import field, frozen

from hh_exporter._collector.storage.filters import Filter, Sql
from hh_exporter._collector.storage.rows import EventRow, SessionRow
from hh_exporter._collector.storage.summary import NARROW, short

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = [
    "CALLS",
    "STEPS",
    "WITH_TEXTS",
    "Page",
    "SessionView",
    "Shown",
    "Summarized",
    "among",
    "arrived",
    "between",
    "count",
    "event_rows",
    "examined_from",
    "first_event",
    "last_event",
    "last_session",
    "one_event",
    "one_session",
    "page",
    "select",
    "session_rows",
    "shown",
    "updated",
]

Shown: TypeAlias = dict[str, Any]
"""The summary of a stored event, as JSON."""

STEPS: Final = "FILTER (WHERE type <> 'session')"
"""Of which events the time counts: a session's is that of all its events."""
CALLS: Final = "FILTER (WHERE type NOT IN ('session', 'chain'))"
"""
Of which events tokens and cost count: tracers add up, in a chain such as the run of an
agent, what the calls in it used.
"""

WITH_TEXTS: Final = "events CROSS JOIN texts USING (id)"  # in this order

_SHOWN: Final = {
    **{name: f"events.{name}" for name in NARROW if name != "size"},
    "user": "coalesce(events.user, sessions.user)",
    "session_name": "sessions.name",
    "input": "texts.input",
    "output": "texts.output",
}
"""What is shown of an event, and where it is found."""

_EXAMINED_ROWS: Final = 100_000
_EXAMINED_BYTES: Final = 32 * 2**20  # of texts that are searched
_PAGE_BYTES: Final = 2**20
_ROW_BYTES: Final = 2**8  # about what a row has beside its text
_COLUMNS: Final = ", ".join(_SHOWN.values())
_WITH_SESSIONS: Final = f"{WITH_TEXTS} LEFT JOIN sessions ON sessions.short_id = events.session_id"


@frozen
class Page:
    """
    Some of the events that were asked for.
    """

    events: list[Shown]
    next: int | None
    """From which id to go on; None at the end."""


@frozen
class SessionView:
    """
    A session, and some of its events.
    """

    session_id: str
    properties: bytes = field(repr=False)
    time: int
    page: Page


@frozen
class Summarized:
    """
    One event as it is now, and in short.
    """

    summary: Shown
    event: bytes = field(repr=False)


def first_event(db: sqlite3.Connection) -> int:
    """
    Find the id of the oldest event; beyond the last one if there is none.
    """
    (first,) = db.execute("SELECT min(id) FROM events").fetchone()
    return last_event(db) + 1 if first is None else int(first)


def last_event(db: sqlite3.Connection) -> int:
    """
    Find the highest id that an event ever had.
    """
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return row[0] if row else 0


def last_session(db: sqlite3.Connection) -> int:
    """
    Find the highest id of a session; 0 if there is none.
    """
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM sessions").fetchone()
    return int(last)


def count(db: sqlite3.Connection) -> int:
    """
    Count the events.
    """
    return last_event(db) + 1 - first_event(db)


def page(
    db: sqlite3.Connection,
    wanted: Filter,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> Page:
    """
    Read the newest events of those between *after* and *before*, newest first.
    """
    last = last_event(db) if before is None else min(before - 1, last_event(db))
    first = max(first_event(db), 0 if after is None else after + 1)
    examined = examined_from(db, wanted, first, last)
    events = _summaries(db, wanted, examined, last, limit)
    reached = events[-1]["id"] if len(events) == limit else examined
    return Page(events, reached if reached > first else None)


def arrived(
    db: sqlite3.Connection, wanted: Filter, after: int, last: int, limit: int
) -> tuple[list[Shown], int]:
    """
    Read the newest events of those after *after*, oldest first, and count those before them.

    What is too much to look at counts, whatever it is.
    """
    first = max(first_event(db), after + 1)
    examined = examined_from(db, wanted, first, last)
    events = _summaries(db, wanted, examined, last, limit)
    skipped = examined - first
    if len(events) == limit:
        older = _conditions(wanted, examined, events[-1]["id"] - 1)
        skipped += select(db, "count(*)", _source(wanted), older).fetchone()[0]
    return events[::-1], skipped


def shown(db: sqlite3.Connection, row_ids: Iterable[int]) -> list[Shown]:
    """
    Read the events with these row numbers, oldest first.
    """
    return _select_shown(db, among(row_ids), "ORDER BY events.id")


def updated(db: sqlite3.Connection, wanted: Filter, row_ids: list[int]) -> list[Shown]:
    """
    Read those of the events with these row numbers that are wanted, oldest first.
    """
    # Few rows: there is no need to look at how much text they have.
    sql = wanted.columns() & among(row_ids) & wanted.texts()
    return _select_shown(db, sql, "ORDER BY events.id")


def one_event(db: sqlite3.Connection, row_id: int) -> Summarized | None:
    """
    Read the event with that row number; None if there is none or no more.
    """
    its = Sql("events.id = ?", (row_id,))
    for summary in _select_shown(db, its):
        return Summarized(summary, select(db, "CAST(event AS BLOB)", WITH_TEXTS, its).fetchone()[0])
    return None


def one_session(
    db: sqlite3.Connection, session_id: str, limit: int, after: int = 0
) -> SessionView | None:
    """
    Read a session and its oldest events after *after*, oldest first; None if it is unknown.
    """
    known = db.execute(
        "SELECT session_id, CAST(properties AS BLOB), time FROM sessions WHERE short_id = ?",
        (short(session_id),),
    ).fetchone()
    if known is None:
        return None
    theirs = Sql("events.session_id = ? AND events.id > ?", (short(session_id), after))
    found = _select_shown(db, theirs, f"ORDER BY events.id LIMIT {limit + 1}")
    events = found[:limit]
    whole_id, properties, time = known
    following = events[-1]["id"] if len(found) > limit else None
    return SessionView(whole_id, properties, time, Page(events, following))


def event_rows(
    db: sqlite3.Connection, wanted: Filter, after: int, until: int
) -> tuple[int, list[EventRow]]:
    """
    Read the events after one id and up to another, in order, about a megabyte of them.

    Returns:
        The id up to which they were looked at, and those that are wanted.
    """
    upto = until
    size = 0
    sizes = db.execute("SELECT id, size FROM events WHERE id > ? AND id <= ?", (after, until))
    with closing(sizes):
        for row_id, row_size in sizes:
            size += row_size + _ROW_BYTES
            if size >= _PAGE_BYTES:
                upto = row_id
                break
    rows = select(
        db,
        "CAST(event AS BLOB), texts.event_id, texts.session_id, path, time",
        WITH_TEXTS,
        _conditions(wanted, after + 1, upto),
        "ORDER BY events.id",
    )
    return upto, [EventRow(*row) for row in rows]


def session_rows(db: sqlite3.Connection, after: int, until: int) -> tuple[int, list[SessionRow]]:
    """
    Read sessions in the same way.
    """
    rows: list[SessionRow] = []
    size = 0
    found = db.execute(
        "SELECT id, CAST(properties AS BLOB), session_id, time "
        "FROM sessions WHERE id > ? AND id <= ? ORDER BY id",
        (after, until),
    )
    with closing(found):
        for row_id, *columns in found:
            rows.append(SessionRow(*columns))
            size += len(columns[0]) + _ROW_BYTES
            if size >= _PAGE_BYTES:
                return row_id, rows
    return until, rows


def examined_from(
    db: sqlite3.Connection, wanted: Filter, first: int, last: int, max_bytes: int = _EXAMINED_BYTES
) -> int:
    """
    Say how far back from *last* one question may look, at most to *first*.
    """
    first = max(first, last + 1 - _EXAMINED_ROWS)
    if not wanted.needs_text:
        return first
    searched = 0
    sizes = select(
        db, "id, size", "events", wanted.columns() & between(first, last), "ORDER BY id DESC"
    )
    with closing(sizes):
        for row_id, size in sizes:
            if searched > max_bytes:
                return int(row_id) + 1
            searched += size
    return first


def select(
    db: sqlite3.Connection, columns: str, source: str, sql: Sql, rest: str = ""
) -> sqlite3.Cursor:
    """
    Query the rows of *source* that are as *sql* says; *columns* and so on are ours.
    """
    query = f"SELECT {columns} FROM {source} WHERE {sql.condition} {rest}"  # noqa: S608
    return db.execute(query, sql.parameters)


def among(row_ids: Iterable[int]) -> Sql:
    """
    Say that an event has one of these row numbers, however many they are.
    """
    listed = orjson.dumps([*row_ids]).decode()
    return Sql("events.id IN (SELECT value FROM json_each(?))", (listed,))


def between(first: int, last: int) -> Sql:
    """
    Say that an event has one of these row numbers, *last* being the highest.
    """
    return Sql("events.id BETWEEN ? AND ?", (first, last))


def _summaries(
    db: sqlite3.Connection, wanted: Filter, first: int, last: int, limit: int
) -> list[Shown]:
    rest = f"ORDER BY events.id DESC LIMIT {limit}"
    return _select_shown(db, _conditions(wanted, first, last), rest)


def _source(wanted: Filter) -> str:
    return WITH_TEXTS if wanted.needs_text else "events"


def _conditions(wanted: Filter, first: int, last: int) -> Sql:
    return wanted.columns() & between(first, last) & wanted.texts()


def _select_shown(db: sqlite3.Connection, sql: Sql, rest: str = "") -> list[Shown]:
    return [_shown(row) for row in select(db, _COLUMNS, _WITH_SESSIONS, sql, rest)]


def _shown(row: tuple[Any, ...]) -> Shown:
    shown = dict(zip(_SHOWN, row, strict=True))
    shown["preview"] = {name: shown.pop(name) for name in ("input", "output")}
    return shown
