"""
Whether there is room on disk, and what is logged about events for which there is none.

Read and changed only under the queue's lock; logged without it.
"""

from __future__ import annotations

from attrs import define, field

from hh_exporter._log import counted

__all__ = ["MAX_WAITING", "Room"]

MAX_WAITING = 32 * 2**20
"""Bytes that may wait to be written; events beyond that are not on disk, which is logged."""


@define(eq=False)
class Room:
    """
    How much one spool has, and how much of it is used.
    """

    max_bytes: int
    used: int = field(default=0, init=False)
    """Bytes of records on disk that are to stay. Dead letters make room for what is new."""
    waiting: int = field(default=0, init=False)
    """Bytes that were handed over and are not on disk."""
    since: float | None = field(default=None, init=False)
    """When the oldest of that was handed over."""
    owed: int = field(default=0, init=False)
    """Bytes that could not be written and still are to be."""
    behind_since: float | None = field(default=None, init=False)
    """Since when an event has been in memory alone that is to be on disk, too."""
    _missed: int = field(default=0, init=False)
    """Events in memory alone since room became short."""
    _is_told: bool = field(default=False, init=False)

    def has(self, size: int, *, is_last: bool) -> bool:
        """
        Say whether *size* more bytes may wait to be written.

        Args:
            is_last: Whether a close leaves them: they were in memory before, so waiting
                costs no more.
        """
        return not size or (
            (is_last or self.waiting + self.owed + size <= MAX_WAITING)
            and self.used + self.waiting + self.owed + size <= self.max_bytes
        )

    def take(self, size: int, now: float) -> None:
        self.waiting += size
        if self.since is None:
            self.since = now

    def fall_behind(self, now: float) -> None:
        """
        Note an event that should be on disk, and is in memory alone.
        """
        if self.behind_since is None:
            self.behind_since = now

    def miss(self, now: float) -> bool:
        """
        Note an event that should be on disk and has no room there.

        Returns:
            Whether it is the first for a while.
        """
        self.fall_behind(now)
        self._missed += 1
        return self._missed == 1

    def lag(self, now: float) -> float:
        """
        Say for how long the oldest that is not on disk has waited for it.
        """
        since = [then for then in (self.since, self.behind_since) if then is not None]
        return max(0.0, now - min(since, default=now))

    def tell(self, *, is_closing: bool = False) -> str:
        """
        Write a message for the log: that room is short, or, once half of it is free, that
        there is room again.

        Returns:
            The message; empty if it was logged already, or there is nothing to log.
        """
        missed = counted(self._missed, "event")
        if not self._missed:
            return ""
        if is_closing or self.is_half_free:
            self._missed, self._is_told = 0, False
            now = "is closed" if is_closing else "has room again"
            return f"the spool {now}: {missed} in all were in memory only"
        if self._is_told:
            return ""
        self._is_told = True
        return (
            "the spool is full (max_bytes), or its disk is too slow: "
            f"{missed} so far in memory only"
        )

    @property
    def is_half_free(self) -> bool:
        # Half, and not just enough for the next: else it would be logged at each commit.
        waiting = self.waiting + self.owed
        return waiting <= MAX_WAITING // 2 and self.used + waiting <= self.max_bytes // 2
