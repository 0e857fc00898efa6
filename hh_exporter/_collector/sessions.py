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

__all__ = ["Session", "merged", "shared_session"]

_MERGED = ("metadata", "user_properties")


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


def merged(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """
    Add to what is *known* of a session what is now *said* of it.

    As POST /v1/sessions is described: metadata and user_properties are merged,
    anything else is replaced.
    """
    both = {name: known[name] | said[name] for name in _MERGED if name in known and name in said}
    return known | said | both
