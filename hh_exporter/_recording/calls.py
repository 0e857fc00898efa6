"""
The calls of an exporter that time what a program does: session, trace and record.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, overload

from hh_exporter._recording.blocks import Blocks
from hh_exporter._recording.fields import EventFields, ModelEventFields, SessionFields, build
from hh_exporter._recording.recordings import Recording
from hh_exporter._recording.sessions import SessionBlock
from hh_exporter._responses.call import ModelCall
from hh_exporter.events import Event, SessionProperties

__all__ = ["Calls"]


class Calls:
    """
    What `Exporter` has of this wing.
    """

    _blocks: Blocks

    if TYPE_CHECKING:

        def push(self, event: Any, session: SessionProperties | None = None) -> bool: ...

    @overload
    def session(self, session: SessionProperties, /) -> SessionBlock: ...

    @overload
    def session(
        self, name: str | None = None, /, **fields: Unpack[SessionFields]
    ) -> SessionBlock: ...

    def session(
        self, given: str | SessionProperties | None = None, /, **fields: Any
    ) -> SessionBlock:
        """
        Have all events of a block belong to one session.

        A context manager, with `with` and `async with`, that yields the SessionProperties.
        It pushes nothing: the properties are sent with the first event of the session.

        Args:
            given: The name of a new session; or the SessionProperties of one, to enter it again.
            **fields: Fields of the SessionProperties. With a `session_id` alone the block
                joins a session that another program has begun.

        Raises:
            TypeError: There is no such field.
        """
        return SessionBlock.make(given, fields, self._blocks.owner)

    def trace(
        self,
        name: str | None = None,
        /,
        *,
        event_type: str = "chain",
        session: SessionProperties | None = None,
        **fields: Unpack[EventFields],
    ) -> Recording[Event]:
        """
        Time a step of the program, and push an event about it; events inside are its children.

        A context manager, with `with` and `async with`, that yields the Event which it will
        push: fill `outputs` inside. Its `event_id`, `session_id` and `parent_id` are set on
        entry; a step that is in no session and no other step begins a session for what is inside.
        Exceptions, and a block that is open when the exporter closes, are as in `record`.

        Args:
            name: The `event_name` of the step.
            event_type: "chain", "tool", "session" or "model".
            session: The session that it belongs to; default: that of the block around it.
            **fields: Fields of the Event.

        Raises:
            TypeError: There is no such field.
        """
        named: dict[str, Any] = {"event_type": event_type, **fields}
        if name is not None:
            named["event_name"] = name
        make = partial(build, Event, "trace", named)
        return Recording(self._blocks, self.push, make, session, True)

    def record(
        self, *, session: SessionProperties | None = None, **fields: Unpack[ModelEventFields]
    ) -> Recording[ModelCall]:
        """
        Time a call of a model, and push an event about it.

        A context manager, with `with` and `async with`, that yields the ModelCall which it
        will push: fill `response` and `usage` inside. Its `event_id`, and the session and step
        that it is in, are set on entry. An exception becomes the event's `error` and is raised
        again; closing a generator early is not an error. A block that has not ended when
        the exporter closes is pushed then, as "cancelled".

        Args:
            session: The session that it belongs to; default: that of the block around it.
            **fields: Fields of the ModelEvent; `model` is required.

        Raises:
            TypeError: There is no such field, or no `model`.
        """
        make = partial(build, ModelCall, "record", fields)
        return Recording(self._blocks, self.push, make, session)
