"""
What is timed: a block of code, or one call of a function, and the event about it.

Raises nothing of its own and swallows nothing. Each block is pushed once: by its end, or as
cancelled by an exporter that closes first. Whichever takes it out of the set of those that
are open pushes it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from attrs import Factory, define

from hh_exporter._clock import Clock
from hh_exporter._outside import let_through
from hh_exporter._recording.scopes import Scope, current, nowhere
from hh_exporter._responses.call import CANCELLED, ModelCall, begin, conclude, give_back
from hh_exporter.events import SessionProperties, new_id

__all__ = ["Block", "Blocks", "end_all"]


@define(eq=False)
class Blocks:
    """
    The blocks of one exporter.
    """

    clock: Clock
    owner: object = Factory(object)
    """Stands for the exporter in scopes."""
    open: set[Block] = Factory(set)
    """Those that have not ended, in this process; changed one by one, any thread."""


class Block(Scope):
    """
    One block of code, from its begin to its end: a scope, too, if what runs inside belongs to it.
    """

    __slots__ = ("_began_at", "_began_now", "_blocks", "_push", "event")
    event: Any
    """A ModelEvent or an Event; None once it has ended."""
    _blocks: Blocks
    _push: Callable[[Any, SessionProperties | None], object]
    _began_at: float | None
    _began_now: float

    def __init__(
        self,
        event: Any,
        session: SessionProperties | None,
        blocks: Blocks,
        push: Callable[[Any, SessionProperties | None], object],
        encloses: bool,
        frame: int = 0,
        is_resumed: bool = False,
    ) -> None:
        """
        Begin: find the session and the parent of the event, and start the clock.

        By hand and all in one, since each call of a decorated function pays for it.

        Args:
            event: The event.
            session: The session that it belongs to, unless the event or a scope says another.
            blocks: Those of its exporter.
            push: That of its exporter.
            encloses: Whether what runs inside belongs to it.
            frame: See `Scope.open`.
            is_resumed: See there, too.
        """
        self.event = event
        self.session = session
        self.is_open = False
        self._blocks = blocks
        self._push = push
        self._began_at = None
        try:
            owner = blocks.owner
            outer = current(owner)
            event_id, session_id = event.event_id, event.session_id
            if event_id is None:
                event.event_id = event_id = new_id()
            if session_id is None:
                if session is not None:
                    session_id = session.session_id
                elif outer is not None:
                    session_id = outer.session_id
                elif encloses:  # or the server would make one for each event inside
                    session_id = event_id if event.event_type == "session" else new_id()
                event.session_id = session_id
            if outer is not None and outer.session_id == session_id:
                if session is None:
                    self.session = outer.session
                if event.parent_id is None:
                    event.parent_id = outer.event_id
            if encloses:
                self.owner, self.session_id, self.event_id = owner, session_id, event_id
                self.open(outer, frame, is_resumed)
            clock = blocks.clock
            self._began_at, self._began_now = clock.wall() * 1000, clock.now()
            if type(event) is ModelCall:
                begin(event, clock, self._began_now)
        except Exception as exc:  # no clock may be read, as in the sandbox of a Temporal workflow
            let_through(exc)
        blocks.open.add(self)

    def end(self, exc: BaseException | None = None) -> None:
        """
        Push the event, unless that was done when its exporter closed; *exc* becomes its error.
        """
        if self.is_open:
            self.close()
        try:
            self._blocks.open.remove(self)
        except KeyError:
            pass
        else:
            # The reader of a stream may stop early: that is not an error of the call.
            self.push(None if exc is None or isinstance(exc, GeneratorExit) else _describe(exc))
        self.event = self._push = self._blocks = None  # type: ignore[assignment]

    def push(self, error: str | None) -> None:
        """
        Push the event as it is now, with *error* unless it has one.
        """
        event, began_at = self.event, self._began_at
        if began_at is not None:
            # From the monotonic clock: the other may be set back meanwhile.
            took = (self._blocks.clock.now() - self._began_now) * 1000
            if event.start_time is None:
                event.start_time = began_at
            if event.end_time is None:
                event.end_time = began_at + took
            if event.duration is None:
                event.duration = took
        is_call = type(event) is ModelCall
        if is_call:
            error = conclude(event, error)
        if event.error is None:
            event.error = error
        if event.session_id is None and event.parent_id is None and current(self._blocks.owner):
            with nowhere():  # where it began; where it ends is no place of its own
                self._push(event, self.session)
        else:
            self._push(event, self.session)
        if is_call:
            give_back(event)


def end_all(blocks: set[Block]) -> None:
    """
    Push what is still open as cancelled; when those blocks end, they push nothing.
    """
    # Not by a loop over the set, which other threads and finalisers change.
    while blocks:
        try:
            block = blocks.pop()
        except KeyError:
            return
        block.push(CANCELLED)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, CancelledError):
        return CANCELLED
    name = type(exc).__name__
    try:
        text = str(exc)
    except Exception:  # an exception's own code may be broken too
        text = ""
    return f"{name}: {text}" if text else name
