"""
Apply updates to stored events and sessions.

An event keeps its row, and so its place in the order of arrival; its columns are
read again. As PUT /v1/events/{event_id} describes it, MERGED are merged key by key,
`outputs` and `duration` are replaced, and any other key is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from attrs import evolve

from hh_exporter._collector.storage.encoding import encode
from hh_exporter._collector.storage.rows import EventRow, named, rewrite
from hh_exporter._collector.storage.summary import short
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["NoRootError", "TooLargeError", "UnknownEventError", "update"]

Json: TypeAlias = dict[str, Any]

_MERGED: Final = ("metadata", "feedback", "metrics", "config", "user_properties")
_REPLACED: Final = ("outputs", "duration")
_MAX_BYTES: Final = 32 * 2**20

_FIND_EVENT: Final = (
    "SELECT events.id, CAST(event AS BLOB), texts.event_id, texts.session_id, path, time "
    "FROM events JOIN texts USING (id) WHERE events.event_id = ? ORDER BY events.id DESC LIMIT 1"
)
_FIND_SESSION: Final = (
    "SELECT id, has_root, CAST(properties AS BLOB) FROM sessions WHERE short_id = ?"
)


class UnknownEventError(ExporterError):
    """
    There is no event with that id, or no more.
    """


class NoRootError(ExporterError):
    """
    That is the id of a session of which only events are known.
    """


class TooLargeError(ExporterError):
    """
    The event would be larger than any that can be sent.
    """


def update(db: sqlite3.Connection, event_id: str, said: Json) -> int | None:
    """
    Add what is *said* to the latest event with that id, and to the session that has it.

    Returns the id of the event's row, None if there is but a session. Raises
    `UnknownEventError`, `NoRootError` and `TooLargeError`; nothing is changed then.
    """
    found = db.execute(_FIND_EVENT, (short(event_id),)).fetchone()
    session = db.execute(_FIND_SESSION, (short(event_id),)).fetchone()
    if found is None and session is None:
        raise UnknownEventError("event_id: there is no such event, or no more")
    if found is None and not session[1]:
        raise NoRootError("event_id: is of a session without a root event: start it first")
    if session is not None:
        row_id, _, known = session
        properties = _updated(known, said)
        db.execute(
            "UPDATE sessions SET name = ?, user = ?, properties = CAST(? AS TEXT), has_root = 1 "
            "WHERE id = ?",
            (*named(orjson.loads(properties)), properties, row_id),
        )
    if found is None:
        return None
    row_id, *columns = found
    row = EventRow(*columns)
    row = evolve(row, event=_updated(row.event, said))
    rewrite(db, row_id, row)
    return int(row_id)


def _updated(known: bytes, said: Json) -> bytes:
    event = orjson.loads(known)
    for name in _MERGED:
        if (more := said.get(name)) is not None:
            before = event.get(name)
            event[name] = {**before, **more} if isinstance(before, dict) else more
    for name in _REPLACED:
        if name in said:
            event[name] = said[name]
    text = encode(event)
    if len(text) > _MAX_BYTES:
        raise TooLargeError(f"the event would have more than {_MAX_BYTES:,} bytes")
    return text
