"""
The methods of an exporter that time what a program does: session, trace and record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, overload

from hh_exporter._recording.blocks import Block, Blocks
from hh_exporter._recording.fields import EventFields, ModelEventFields, SessionFields, Step
from hh_exporter._recording.recordings import FunctionT, Recording
from hh_exporter._recording.scopes import step_around
from hh_exporter._recording.sessions import SessionBlock
from hh_exporter._responses.call import ModelCall
from hh_exporter.events import SessionProperties

__all__ = ["RecordingMethods"]


class RecordingMethods:
    """
    The methods of an exporter that record.
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
        return SessionBlock.make(given, fields, self._blocks)

    @overload
    def trace(self, function: FunctionT, /) -> FunctionT: ...

    @overload
    def trace(
        self,
        name: str | None = None,
        /,
        *,
        event_type: str = "chain",
        session: SessionProperties | None = None,
        capture_inputs: bool = True,
        capture_outputs: bool = True,
        **fields: Unpack[EventFields],
    ) -> Recording[Step]: ...

    def trace(
        self,
        given: Any = None,
        /,
        *,
        event_type: str = "chain",
        session: SessionProperties | None = None,
        capture_inputs: bool = True,
        capture_outputs: bool = True,
        **fields: Any,
    ) -> Any:
        """
        Time a step of the program, and push an event about it; events inside are its children.

        A context manager, with `with` and `async with`, that yields the Event which it will
        push: fill `outputs` inside. Its `event_id`, `session_id` and `parent_id` are set on
        entry; a step that is in no session and no other step begins a session for what is inside.
        Exceptions, and a block that is open when the exporter closes, are as in `record`.

        A decorator as well, with or without arguments, of functions and methods that are
        synchronous, asynchronous, or generators of either kind: each call is a step, named after
        the function. Its arguments become `inputs`, without `self` and `cls`; lists and
        dicts as they were when the call began, two levels deep, if they have 1,000 members at most.
        Its result becomes `outputs`: a dict as it is, anything else as `{"result": …}`. Of what
        a generator yields a list is kept, of about 1,000,000 characters, with 100 for each item.

        Args:
            given: The `event_name` of the step; or the function.
            event_type: "chain", "tool", "session" or "model".
            session: The session that it belongs to; default: that of the block around it.
            capture_inputs: Whether a decorated function's arguments become `inputs`.
            capture_outputs: Whether its result becomes `outputs`.
            **fields: Fields of the Event. What is given as `inputs` or `outputs` stays.

        Raises:
            TypeError: There is no such field, or what is decorated is no function.
        """
        named: dict[str, Any] = {"event_type": event_type, **fields}
        if isinstance(given, str):
            named["event_name"] = given
        recording = Recording(
            blocks=self._blocks,
            push=self.push,
            cls=Step,
            call="trace",
            fields=named,
            session=session,
            captures_inputs=capture_inputs,
            captures_outputs=capture_outputs,
        )
        return recording if given is None or isinstance(given, str) else recording(given)

    def current_step(self) -> Step | None:
        """
        Return the event of the nearest `trace` around the caller, to add to it; None outside.

        So a decorated function can set `metadata`, `metrics` or an id of its own call.
        """
        block = step_around(self._blocks.owner)
        return block.event if isinstance(block, Block) else None

    def record(
        self,
        *,
        session: SessionProperties | None = None,
        capture_inputs: bool = True,
        capture_outputs: bool = True,
        **fields: Unpack[ModelEventFields],
    ) -> Recording[ModelCall]:
        """
        Time a call of a model, and push an event about it.

        A context manager, with `with` and `async with`, that yields the ModelCall which it
        will push: set `response` inside to what the client returned. Its `event_id`, and the
        session and step that it is in, are set on entry. An exception becomes the event's
        `error` and is raised again; closing a generator early is not an error. A block that
        has not ended when the exporter closes is pushed then, as "cancelled".

        A decorator as well, as `trace` is: a list that is given as `messages` becomes the
        event's, the other arguments its `inputs`, and the result its `response`.

        Args:
            session: The session that it belongs to; default: that of the block around it.
            capture_inputs: Whether a decorated function's arguments are recorded.
            capture_outputs: Whether its result is recorded.
            **fields: Fields of the ModelEvent; `model` is required.

        Raises:
            TypeError: There is no such field, or no `model`.
        """
        return Recording(
            blocks=self._blocks,
            push=self.push,
            cls=ModelCall,
            call="record",
            fields={**fields},
            session=session,
            captures_inputs=capture_inputs,
            captures_outputs=capture_outputs,
        )
