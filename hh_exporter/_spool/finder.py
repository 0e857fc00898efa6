"""
Count what other processes left, as their files are taken over, and what of ours is gone.

Used by the spool's thread, beside its work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define

from hh_exporter._outcomes import DropReason
from hh_exporter._outside import let_through
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Subject
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.shift import Shift

__all__ = ["Finder"]


class _Lose(Protocol):
    def __call__(
        self, seqs: Sequence[int], reason: DropReason, lost: Sequence[Subject] = (), /
    ) -> None: ...


@define(eq=False, kw_only=True)
class Finder:
    """
    The finds of one spool.
    """

    disk: Disk
    queue: RecordQueue
    lose: _Lose
    """Drop records that are on disk alone."""
    on_fail: Callable[[Exception], None]
    """Called if the directory can't be used."""
    on_counted: Callable[[], None]
    """Called after each part. Under the queue's lock."""
    on_end: Callable[[], None] = lambda: None
    """Called once a shift, when all is found, before those who wait for that."""
    on_found: Callable[[], None] = lambda: None
    """Called when all is found, if anything waits."""

    def look(self, shift: Shift, take: Callable[[], tuple[int, int]]) -> None:
        """
        Count what is found with a part of what other processes left, and say when it was the last.

        Args:
            take: Takes that part over; returns how many records it has, and how many of ours
                are gone. Nothing is counted if it raises.
        """
        found = gone = 0
        try:
            found, gone = take()
        except Exception as exc:
            let_through(exc)
            self.disk.odd.clear()
            self.on_fail(exc)
        self.queue.recover(found)
        self.lose([0] * gone, DropReason.PURGED)
        odd, self.disk.odd = self.disk.odd, []
        self.lose([0] * len(odd), DropReason.DAMAGED, odd)
        with self.queue.lock:
            self.on_counted()
            if self.disk.takeover.is_unread:
                return
        if not shift.is_read:
            self.on_end()
        with self.queue.lock:
            shift.is_read = True
            waiting, shift.on_read = shift.on_read, []
        if self.queue.ledger.spooled:
            self.on_found()
        for tell in waiting:
            tell()
