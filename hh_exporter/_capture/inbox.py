"""
Ended spans that wait to be read.

`add` runs where a span ends, in any thread and in the garbage collector: it appends to a deque,
and takes no lock. The deque is bounded; spans that it has no room for are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from attrs import define, field

from hh_exporter._capture.lineage import Started

__all__ = ["ROOM", "Inbox"]

ROOM: Final = 10_000
"""Spans that wait at most."""
_MANY: Final = ROOM // 2
"""Spans that are read before it is time."""


@define(eq=False, repr=False)
class Inbox:
    """
    The spans of one processor.
    """

    on_many: Callable[[], None]
    """Called where half the room is used; takes no lock."""
    _spans: deque[Started] = field(factory=deque, init=False)
    _lost: count[int] = field(factory=count, init=False)
    """Makes a number for each that had no room: that is atomic, as a sum would not be."""
    _lost_before: int = field(default=0, init=False)
    """Numbers that were made so far."""
    _uncounted: int = field(default=0, init=False)
    _has_said: bool = field(default=False, init=False)
    """Whether `on_many` was called since the last span was taken."""

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, span: Started) -> bool:
        """
        Take a span; False if there is no room. Any thread.
        """
        spans = self._spans
        waiting = len(spans)
        if waiting >= _MANY:
            if waiting >= ROOM:
                next(self._lost)
                return False
            if not self._has_said:
                self._has_said = True
                self.on_many()
        spans.append(span)
        return True

    def take(self) -> Started | None:
        """
        Take the oldest; None if there is none.
        """
        self._has_said = False
        try:
            return self._spans.popleft()
        except IndexError:  # asked for in no other way, as another thread takes, too
            return None

    def take_lost(self, at_most: int) -> int:
        """
        Count those that had no room since the last call. One caller at a time.
        """
        number = next(self._lost)
        self._uncounted += number - self._lost_before
        self._lost_before = number + 1
        lost = min(at_most, self._uncounted)
        self._uncounted -= lost
        return lost
