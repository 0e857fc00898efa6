"""
Time a block of code, and push a model event about it.

Recording never changes what the block does: it sets no context variable, raises
nothing of its own and swallows nothing.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._outside import let_through
from hh_exporter.events import ModelEvent

__all__ = ["Recording"]


@define(eq=False)
class Recording:
    """
    A synchronous context manager that yields the event which it will push.
    """

    _event: ModelEvent
    _push: Callable[[ModelEvent], object]
    _clock: Clock
    _began_at: float | None = field(default=None, init=False)
    _began_now: float = field(default=0.0, init=False)

    def __enter__(self) -> ModelEvent:
        try:
            self._began_at, self._began_now = self._clock.wall() * 1000, self._clock.now()
        except Exception as exc:  # no clock may be read, as in the sandbox of a Temporal workflow
            let_through(exc)
        return self._event

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event = self._event
        if self._began_at is not None:
            self._note_times(event, self._began_at)
        # The reader of a stream may stop early: that is not an error of the call.
        if exc is not None and event.error is None and not isinstance(exc, GeneratorExit):
            event.error = _describe(exc)
        self._push(event)

    def _note_times(self, event: ModelEvent, began_at: float) -> None:
        # From the monotonic clock: the other may be set back meanwhile.
        took = (self._clock.now() - self._began_now) * 1000
        if event.start_time is None:
            event.start_time = began_at
        if event.end_time is None:
            event.end_time = began_at + took
        if event.duration is None:
            event.duration = took


def _describe(exc: BaseException) -> str:
    if isinstance(exc, CancelledError):
        return "cancelled"
    name = type(exc).__name__
    try:
        text = str(exc)
    except Exception:  # an exception's own code may be broken too
        text = ""
    return f"{name}: {text}" if text else name
