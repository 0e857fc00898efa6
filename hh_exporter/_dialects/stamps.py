"""
What push adds to an event on its way into the wire's shape, the same in every dialect.

What the event itself says is never replaced, but for a session id that is not a UUID.
"""

from __future__ import annotations

from typing import Any

from hh_exporter._dialects.shapes import file_into
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._values.times import fill_times

__all__ = ["settle_session", "stamp"]


def stamp(
    wire: dict[str, Any],
    event_id: str | None,
    session_id: str | None,
    source: str | None,
    now: float | None,
    parent_id: str | None = None,
) -> None:
    """
    Add the id, fill in session, parent and source where *wire* leaves them open, and its times.

    Last, when all else has its place: an id of a session that is no UUID is kept in `metadata`.
    """
    if event_id is not None:
        wire["event_id"] = event_id
    if session_id is not None:
        wire.setdefault("session_id", session_id)
    if parent_id is not None:
        wire.setdefault("parent_id", parent_id)
    if source is not None:
        wire.setdefault("source", source)
    if "session_id" in wire:
        settle_session(wire)
    fill_times(wire, now)


def settle_session(wire: dict[str, Any]) -> None:
    """
    Name the session by a UUID, as the API does, and keep another id as `metadata.session_key`.

    An empty id names no session: the API gives such an event a session of its own.
    """
    own = wire["session_id"]
    known = to_session_uuid(own)
    if known != own and own:
        wire["session_id"] = known
        if wire.get("parent_id") == own:
            wire["parent_id"] = known
        wire["metadata"] = file_into(wire.get("metadata"), {"session_key": own})
