"""
What goes into the database and comes out again, row by row.

A text is JSON that is kept as it is: only who wants to look into it reads it.
"""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["EventRow", "SessionRow"]


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
