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
    _began_at: float = field(default=0.0, init=False)
    _began_now: float = field(default=0.0, init=False)

    def __enter__(self) -> ModelEvent:
        self._began_at = self._clock.wall() * 1000
        self._began_now = self._clock.now()
        return self._event

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event = self._event
        # From the monotonic clock: the other may be set back meanwhile.
        took = (self._clock.now() - self._began_now) * 1000
        if event.start_time is None:
            event.start_time = self._began_at
        if event.end_time is None:
            event.end_time = self._began_at + took
        if event.duration is None:
            event.duration = took
        # The reader of a stream may stop early: that is not an error of the call.
        if exc is not None and event.error is None and not isinstance(exc, GeneratorExit):
            event.error = _describe(exc)
        self._push(event)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, CancelledError):
        return "cancelled"
    name = type(exc).__name__
    try:
        text = str(exc)
    except Exception:  # an exception's own code may be broken too
        text = ""
    return f"{name}: {text}" if text else name
