"""
Rows of the database, as objects.

A text is JSON that is kept as it is, and parsed only where it is looked into.
"""

from __future__ import annotations

from typing import Final

import orjson
from attrs import field, frozen

from hh_exporter._collector.summary import COLUMNS, MAX_TEXT, short, summarize

__all__ = ["NARROW", "EventRow", "SessionRow", "narrow"]

NARROW: Final = ("id", "time", "event_id", "session_id", *COLUMNS, "path", "size")
"""The columns of an event's narrow row."""


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


def narrow(row_id: int, row: EventRow) -> tuple[object, ...]:
    """
    Make the values of NARROW.
    """
    start, *rest = summarize(orjson.loads(row.event)).columns()
    return (
        row_id,
        row.time,
        short(row.event_id),
        short(row.session_id),
        row.time if start is None else start,
        *rest,
        row.path[:MAX_TEXT],
        len(row.event),
    )
