"""
What is learnt from the chunks of one stream while they pass.

Nothing that a chunk is or does reaches the reader of the stream.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Literal, TypeAlias

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._outside import let_through

__all__ = ["Reading"]

End: TypeAlias = Literal["complete", "stopped", "cancelled", "failed"]


@define(eq=False)
class Reading:
    """
    The first token of a stream, and its end.
    """

    _clock: Clock | None
    first: float | None = field(default=None, init=False)
    """When the first token came, by the clock."""
    end: End | None = field(default=None, init=False)
    """How it ended; None while it may go on."""

    def add(self, chunk: object) -> None:
        self.end = None  # a stream may go on after an exception
        try:
            if self.first is None and self._clock is not None:
                self.first = self._clock.now()
        except Exception as exc:  # of a clock that may not be read
            let_through(exc)

    def stop(self) -> None:
        """
        Note that the reader closes the stream, unless it was over by itself.
        """
        self.end = self.end or "stopped"

    def fail(self, exc: BaseException) -> None:
        """
        Note that *exc* left the stream.
        """
        if isinstance(exc, CancelledError):
            self.end = "cancelled"
        else:
            self.end = "stopped" if isinstance(exc, GeneratorExit) else "failed"
