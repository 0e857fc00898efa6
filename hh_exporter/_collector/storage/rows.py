"""
Rows as objects, and how they are written.

A text is JSON that is kept as it is. It is parsed once to be written, for all columns
that lists read, and afterwards only where it is looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import field, frozen

from hh_exporter._collector.storage.preview import preview
from hh_exporter._collector.storage.summary import MAX_TEXT, NARROW, short, summarize, user_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["EventRow", "SessionRow", "insert", "named", "rewrite"]

_ADD_EVENT: Final = "INSERT INTO events ({}) VALUES ({})".format(  # noqa: S608 - all ours
    ", ".join(NARROW), ", ".join("?" * len(NARROW))
)
_SET_EVENT: Final = "UPDATE events SET {} WHERE id = ?".format(  # noqa: S608 - all ours
    ", ".join(f"{name} = ?" for name in NARROW)
)
_ADD_TEXT: Final = (
    "INSERT INTO texts (id, event_id, session_id, input, output, event) "
    "VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT))"
)
_SET_TEXT: Final = (
    "UPDATE texts SET id = ?, event_id = ?, session_id = ?, input = ?, output = ?, "
    "event = CAST(? AS TEXT) WHERE id = ?"
)


@frozen
class EventRow:
    """
    One stored event.
    """

    event: bytes = field(repr=False)
    """Its JSON text."""
    event_id: str
    session_id: str
    path: str
    """The route that took it."""
    time: int
    """When it arrived, in Unix milliseconds."""


@frozen
class SessionRow:
    """
    One session.
    """

    properties: bytes = field(repr=False)
    """The JSON text of what is said of it."""
    session_id: str
    time: int
    """When it was first seen, in Unix milliseconds."""


def insert(db: sqlite3.Connection, first_id: int, events: Sequence[EventRow]) -> None:
    """
    Store *events* under ids from *first_id* on.
    """
    ids = range(first_id, first_id + len(events))
    rows = [*map(_columns, ids, events)]
    db.executemany(_ADD_EVENT, (narrow for narrow, _ in rows))
    db.executemany(_ADD_TEXT, (wide for _, wide in rows))


def rewrite(db: sqlite3.Connection, row_id: int, row: EventRow) -> None:
    """
    Store an event in place of the one that has this id.
    """
    narrow, wide = _columns(row_id, row)
    db.execute(_SET_EVENT, (*narrow, row_id))
    db.execute(_SET_TEXT, (*wide, row_id))


def named(properties: dict[str, Any]) -> tuple[str | None, str | None]:
    """
    Find the name and the user of a session in its *properties*.
    """
    name = properties.get("session_name")
    return (name[:MAX_TEXT] if type(name) is str and name else None), user_of(properties)


def _columns(row_id: int, row: EventRow) -> tuple[tuple[object, ...], tuple[object, ...]]:
    event = orjson.loads(row.event)
    start, *rest = summarize(event).columns()
    narrow = (
        row_id,
        row.time,
        short(row.event_id),
        short(row.session_id),
        row.time if start is None else start,
        *rest,
        row.path[:MAX_TEXT],
        len(row.event),
    )
    previewed = preview(event)
    wide = (row_id, row.event_id, row.session_id, previewed.input, previewed.output, row.event)
    return narrow, wide
