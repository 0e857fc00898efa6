"""
What is new since a reader last asked: events that arrived, and events that changed.

The stream and GET /api/news send the same messages. No state is kept for a reader: its
request says what it already has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from hh_exporter._collector.storage.lists import Shown, arrived, last_event, updated

if TYPE_CHECKING:
    import sqlite3

    from hh_exporter._collector.storage.filters import Filter
    from hh_exporter._collector.storage.store import Store

__all__ = ["News", "tell"]

_MAX_EVENTS: Final = 200


@frozen
class News:
    """
    One message.
    """

    store: str
    """The id of the database; what a reader knew of another one is of no use."""
    last: int
    """The id up to which new events were looked at."""
    updates: int
    """How many updates there have been."""
    events: list[Shown]
    """The newest of those that arrived, oldest first."""
    skipped: int
    """How many arrived before these, which are not shown."""
    changed: list[Shown] | None
    """What was updated, oldest first; None if that is not known any more: it may be any event."""


async def tell(store: Store, wanted: Filter, after: int | None, updates: int | None) -> News:
    """
    Say what arrived after the event *after*, and what was changed by updates after so many.

    None is from now on; so is an event beyond the last one, which was of another database.
    """
    # Before the question: what is updated meanwhile is told next time, too.
    updates, row_ids = store.updated_after(updates)
    return await store.reader.ask(_news, wanted, after, updates, row_ids)


def _news(
    db: sqlite3.Connection,
    wanted: Filter,
    after: int | None,
    updates: int,
    row_ids: list[int] | None,
) -> News:
    last = last_event(db)
    (store,) = db.execute("SELECT value FROM meta WHERE name = 'store'").fetchone()
    after = last if after is None or after > last else after
    events, skipped = arrived(db, wanted, after, last, _MAX_EVENTS)
    changed = None if row_ids is None else updated(db, wanted, row_ids)
    return News(store, last, updates, events, skipped, changed)
