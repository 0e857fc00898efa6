"""
Spans that have ended and wait to be read.

`add` is what the end of a span costs the program: it appends to a deque, in whatever thread,
perhaps in the garbage collector, and takes no lock. The deque is bounded; what it has no room
for is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from attrs import define, field

__all__ = ["ROOM", "Inbox"]

ROOM: Final = 10_000
"""Spans that wait at most."""
_MANY: Final = ROOM // 2
"""Spans that are worth to be read before it is time."""


@define(eq=False)
class Inbox:
    """
    The spans of one processor.
    """

    on_many: Callable[[], None]
    """Called where half the room is used; takes no lock."""
    steps: deque[Any] = field(factory=deque, init=False)
    """Those of steps, which become events."""
    others: deque[tuple[int, int | None]] = field(init=False)
    """The ids of the others and of their parents, for what they enclose; the oldest are dropped."""
    _lost: count[int] = field(factory=count, init=False)
    """Makes a number for each that had no room: that is atomic, as a sum would not be."""
    _lost_before: int = field(default=0, init=False)
    """Numbers that were made so far."""

    def __attrs_post_init__(self) -> None:
        self.others = deque(maxlen=ROOM)

    def add(self, span: Any) -> None:
        steps = self.steps
        waiting = len(steps)
        if waiting >= ROOM:
            next(self._lost)
            return
        steps.append(span)
        if waiting == _MANY:
            self.on_many()

    def take_lost(self) -> int:
        """
        Say how many had no room since the last call.
        """
        number = next(self._lost)
        lost = number - self._lost_before
        self._lost_before = number + 1
        return lost

    def clear(self) -> None:
        self.steps.clear()
        self.others.clear()
        self.take_lost()
