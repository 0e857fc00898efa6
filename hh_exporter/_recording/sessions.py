"""
A session as a block: what is inside belongs to it.

Pushes nothing: a session's properties are sent with the first of its events, as always.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, cast

from attrs import define, field

from hh_exporter._outside import let_through
from hh_exporter._recording.blocks import Blocks
from hh_exporter._recording.entries import Entries
from hh_exporter._recording.fields import Session, build
from hh_exporter._recording.scopes import Scope, current, frame_of_generator
from hh_exporter._recording.unentered import explain
from hh_exporter.events import SessionProperties, new_id

__all__ = ["SessionBlock"]


@define(eq=False)
class SessionBlock:
    """
    A context manager, also an asynchronous one, that yields the session. It can be entered again.
    """

    _session: Session
    _is_known: bool
    """Whether another program has sent its properties, so that its id is all there is."""
    _is_new: bool
    """Whether it begins here, which its own event would say only when its first event ends."""
    _blocks: Blocks
    _entries: Entries[Scope] = field(factory=Entries, init=False)

    @classmethod
    def make(
        cls, given: str | SessionProperties | None, fields: Mapping[str, Any], blocks: Blocks
    ) -> SessionBlock:
        """
        Make the block of a session, for `Exporter.session` and with its errors.
        """
        if isinstance(given, SessionProperties):
            if fields:
                raise TypeError("session() takes fields, or a SessionProperties that has them")
            return cls(cast("Session", given), False, True, blocks)
        if given is not None and not isinstance(given, str):
            kind = type(given).__name__
            raise TypeError(f"session() takes a name or a SessionProperties, not a {kind}")
        named = fields if given is None else {"session_name": given, **fields}
        session = build(Session, "session", named)
        is_known = "session_id" in fields and len(named) == 1
        return cls(session, is_known, fields.get("session_id") is None, blocks)

    def __enter__(self) -> Session:
        return self._enter(sys._getframe(1))

    def __exit__(self, *exc_info: object) -> None:
        self._entries.take().close()

    async def __aenter__(self) -> Session:
        return self._enter(sys._getframe(1))

    async def __aexit__(self, *exc_info: object) -> None:
        self._entries.take().close()

    def _enter(self, frame: FrameType) -> Session:
        session = self._session
        if session.session_id is None:
            session.session_id = new_id()
        if self._is_new and session.start_time is None:
            try:
                session.start_time = self._blocks.clock.wall() * 1000
            except Exception as exc:  # no clock may be read, as in a sandbox
                let_through(exc)
        owner = self._blocks.owner
        outer = current(owner)
        # Directly in a session events have no parent, unless a step of that session encloses it.
        is_same = outer is not None and outer.session_id == session.session_id
        event_id = outer.event_id if outer is not None and is_same else None
        announced = None if self._is_known else session
        scope = Scope(owner, announced, session.session_id, event_id)
        scope.open(outer, frame_of_generator(frame))
        self._entries.add(scope)
        return session


explain(SessionBlock, Session, call="session")
