"""
Time a block of code, and push a model event about it.

Recording never changes what the block does: it sets no context variable, raises
nothing of its own and swallows nothing. Each recording is pushed once: by its block,
or as cancelled by an exporter that closes first. Whichever takes it out of the set of
those that are open pushes it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._outside import let_through
from hh_exporter._responses.call import ModelCall, begin, conclude

__all__ = ["Recording", "end_all"]

_CANCELLED = "cancelled"


@define(eq=False)
class Recording:
    """
    A synchronous context manager that yields the event which it will push.
    """

    _event: ModelCall
    _push: Callable[[ModelCall], object]
    _clock: Clock
    _open: set[Recording]
    """All recordings of an exporter whose blocks have not ended; changed one by one, any thread."""
    _began_at: float | None = field(default=None, init=False)
    _began_now: float = field(default=0.0, init=False)

    def __enter__(self) -> ModelCall:
        try:
            self._began_at, self._began_now = self._clock.wall() * 1000, self._clock.now()
            begin(self._event, self._clock, self._began_now)
        except Exception as exc:  # no clock may be read, as in the sandbox of a Temporal workflow
            let_through(exc)
        self._open.add(self)
        return self._event

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._open.remove(self)
        except KeyError:
            return  # pushed when its exporter closed
        # The reader of a stream may stop early: that is not an error of the call.
        self.end(None if exc is None or isinstance(exc, GeneratorExit) else _describe(exc))

    def end(self, error: str | None) -> None:
        """
        Push the event as it is now, with *error* unless it has one.
        """
        event = self._event
        if self._began_at is not None:
            self._note_times(event, self._began_at)
        error = conclude(event, error)
        if event.error is None:
            event.error = error
        self._push(event)

    def _note_times(self, event: ModelCall, began_at: float) -> None:
        # From the monotonic clock: the other may be set back meanwhile.
        took = (self._clock.now() - self._began_now) * 1000
        if event.start_time is None:
            event.start_time = began_at
        if event.end_time is None:
            event.end_time = began_at + took
        if event.duration is None:
            event.duration = took


def end_all(recordings: set[Recording]) -> None:
    """
    Push what is still open as cancelled; when those blocks end, they push nothing.
    """
    # Not by a loop over the set, which other threads and finalisers change.
    while recordings:
        try:
            recording = recordings.pop()
        except KeyError:
            return
        recording.end(_CANCELLED)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, CancelledError):
        return _CANCELLED
    name = type(exc).__name__
    try:
        text = str(exc)
    except Exception:  # an exception's own code may be broken too
        text = ""
    return f"{name}: {text}" if text else name
