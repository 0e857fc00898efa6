"""
The bounds on what is stored, and the deletion of the oldest beyond them.

A write deletes at most about twice what it adds and a little more, however much is over
the bounds, so that none takes long. The newest event stays, whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from hh_exporter._collector.storage.lists import first_event, last_event, last_session
from hh_exporter._collector.storage.schema import give_back, used_bytes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from hh_exporter._collector.storage.rows import EventRow, SessionRow

__all__ = ["Retention", "clear_some", "fit", "prune"]

_MIN_PRUNED: Final = 100
_MIN_FREED: Final = 2**20
_ROWS: Final = 100
"""Events that are deleted between two looks at how much is left."""
_CLEARED_ROWS: Final = 1000
_CLEARED_BYTES: Final = 4 * 2**20


@frozen
class Retention:
    """
    How much is kept: so many events, what is younger than that, so many bytes; None: no bound.
    """

    max_events: int | None = None
    max_age: float | None = None
    """In seconds, at the time of the last write."""
    max_bytes: int | None = None
    """Of the file, without its free space and its log."""


def prune(
    db: sqlite3.Connection,
    retention: Retention,
    events: Sequence[EventRow],
    sessions: Sequence[SessionRow],
) -> None:
    """
    Delete what is one too many or too old, at most twice as much as was just added.

    A session goes with its last event; one that never had any goes when
    as many sessions as events are kept came after it, or at that age.
    """
    room = _MIN_PRUNED + 2 * len(events)
    max_events, max_age = retention.max_events, retention.max_age
    upto, oldest = 0, None
    if max_events is not None:
        upto = last_event(db) - max_events
    if max_age is not None and (added := events or sessions):
        oldest = added[-1].time - int(max_age * 1000)
        upto = max(upto, _old(db, oldest, room))
    _remove_events(db, min(upto, first_event(db) + room))
    db.execute(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE NOT has_events "
        "AND (id <= ? OR time < ?) ORDER BY id LIMIT ?)",
        (0 if max_events is None else last_session(db) - max_events, oldest, room),
    )


def fit(db: sqlite3.Connection, retention: Retention, added: int) -> None:
    """
    Delete what is beyond `max_bytes`, after *added* bytes came, and give free space back.
    """
    if retention.max_bytes is not None:
        used = used_bytes(db)
        goal = max(retention.max_bytes, used - 2 * max(0, added) - _MIN_FREED)
        while used > goal and _remove_oldest(db, used - goal):
            used = used_bytes(db)
    give_back(db)


def clear_some(db: sqlite3.Connection, last: int, session: int) -> int | None:
    """
    Delete some of the events up to *last*, or else of the sessions without events up to *session*.

    Returns:
        How many events; None if there was nothing left to delete.
    """
    first = first_event(db)
    if first <= last:
        upto = _reach(db, first, last, _CLEARED_ROWS, _CLEARED_BYTES)
        _remove_events(db, upto)
        return upto + 1 - first
    gone = db.execute(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions "
        "WHERE NOT has_events AND id <= ? ORDER BY id LIMIT ?)",
        (session, _CLEARED_ROWS),
    )
    return 0 if gone.rowcount else None


def _old(db: sqlite3.Connection, oldest: int, room: int) -> int:
    """
    Find the last of the first *room* events that is, as all before it, older than *oldest*.
    """
    first_young, last = db.execute(
        "SELECT min(id) FILTER (WHERE time >= ?), max(id) "
        "FROM (SELECT id, time FROM events ORDER BY id LIMIT ?)",
        (oldest, room),
    ).fetchone()
    return (last or 0) if first_young is None else first_young - 1


def _remove_oldest(db: sqlite3.Connection, size: int) -> bool:
    """
    Delete the oldest session if it has no events, else some events of about *size* bytes.

    Says whether there was anything but the newest event and the newest session.
    """
    first, last = first_event(db), last_event(db)
    (time,) = db.execute("SELECT max(time) FROM events WHERE id = ?", (first,)).fetchone()
    gone = db.execute(
        "DELETE FROM sessions WHERE id = (SELECT min(id) FROM sessions WHERE NOT has_events) "
        "AND id < (SELECT max(id) FROM sessions) AND (? OR time <= ?)",
        (first >= last, time),
    )
    if not gone.rowcount and first < last:
        _remove_events(db, _reach(db, first, last - 1, _ROWS, size))
    return bool(gone.rowcount) or first < last


def _reach(db: sqlite3.Connection, first: int, last: int, rows: int, size: int) -> int:
    """
    Find how far from *first*, at most to *last*, so many *rows* or bytes of text reach.
    """
    upto = first
    sizes = db.execute(
        "SELECT id, size FROM events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
        (first, last, rows),
    )
    for upto, more in sizes.fetchall():  # noqa: B007
        size -= more
        if size <= 0:
            break
    return int(upto)


def _remove_events(db: sqlite3.Connection, upto: int) -> None:
    if upto < first_event(db):
        return
    db.execute(
        "DELETE FROM sessions WHERE short_id IN "
        "(SELECT session_id FROM events WHERE id <= :upto) AND NOT EXISTS "
        "(SELECT 1 FROM events WHERE session_id = short_id AND id > :upto)",
        {"upto": upto},
    )
    db.execute("DELETE FROM texts WHERE id <= ?", (upto,))
    db.execute("DELETE FROM events WHERE id <= ?", (upto,))
