"""
Which session the events of a request belong to.

An event's own session_id is never overruled, not even by a request for a
single session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hh_exporter.events import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Session", "described_by", "merged", "shared_session"]

_MERGED = ("metadata", "user_properties")
_OF_THE_EVENT = ("event_type", "event_name", "event_id")


@frozen
class Session:
    """
    A session, and what a request says of it.
    """

    session_id: str
    properties: dict[str, Any] = field(repr=False)


def shared_session(body: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Session | None:
    """
    Find the session of those *events* of a request that name none.

    It is the one that the session properties name, else the first that an
    event names, else a new one. None if each is to have its own.
    """
    is_single = body.get("is_single_session") or body.get("single_session")
    if not (is_single and events):
        return None
    properties = body.get("session_properties", body.get("session", {}))
    named = [one.get("session_id") for one in (properties, *events)]
    # v1 does not describe a session_id among the properties: it may be anything.
    session_id = next(name for name in (*named, new_id()) if type(name) is str)
    return Session(session_id, properties)


def described_by(event: Mapping[str, Any]) -> Session | None:
    """
    Find the session that *event* is: one of type "session", which has the session's id.

    Its name is the event's; all else that it says is said of the session.
    """
    session_id = event.get("session_id")
    if event.get("event_type") != "session" or session_id is None:
        return None
    if event.get("event_id", session_id) != session_id:
        return None
    said = {name: value for name, value in event.items() if name not in _OF_THE_EVENT}
    name = {"session_name": event["event_name"]} if "event_name" in event else {}
    return Session(session_id, name | said)


def merged(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """
    Add to what is *known* of a session what is now *said* of it.

    As POST /v1/sessions is described: metadata and user_properties are merged,
    anything else is replaced.
    """
    both = {name: known[name] | said[name] for name in _MERGED if name in known and name in said}
    return known | said | both
