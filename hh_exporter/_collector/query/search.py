"""
Find the events that match a filter once, for several statistics of them.

Conditions on columns are checked for every event. Texts are searched from the newest event
back, up to a number of bytes, and the answer says how far that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from hh_exporter._collector.storage.filters import EVERYTHING, Filter, Sql
from hh_exporter._collector.storage.lists import (
    WITH_TEXTS,
    among,
    between,
    examined_from,
    first_event,
    last_event,
    select,
)

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Chosen", "choose"]

_SEARCHED_BYTES: Final = 64 * 2**20


@frozen
class Chosen:
    """
    The events that were asked for.
    """

    sql: Sql
    """What their rows in `events` are like."""
    searched_from: int | None
    """When the oldest that was looked at arrived, in Unix milliseconds; None if all were."""


def choose(db: sqlite3.Connection, wanted: Filter) -> Chosen:
    """
    Find what is *wanted*; if texts have to be searched, among the newest of their time.
    """
    if not wanted.needs_text:
        return Chosen(wanted.columns(), None)
    first, last = _ends(db, wanted)
    examined = examined_from(db, wanted, first, last, _SEARCHED_BYTES)
    sql = wanted.columns() & between(examined, last) & wanted.texts()
    found = among(row_id for (row_id,) in select(db, "events.id", WITH_TEXTS, sql))
    if examined == first:
        return Chosen(found, None)
    (since,) = select(db, "time", "events", Sql("id = ?", (examined,))).fetchone()
    return Chosen(found, since)


def _ends(db: sqlite3.Connection, wanted: Filter) -> tuple[int, int]:
    first, last = first_event(db), last_event(db)
    if wanted.since is None and wanted.until is None:
        return first, last
    times = evolve(EVERYTHING, since=wanted.since, until=wanted.until).columns()
    ends = select(db, "min(id), max(id)", "events", times).fetchone()
    return (first, first - 1) if ends[0] is None else ends
