"""
A queue that passes on a copy of each record that comes in.

A record is copied once, whether it is queued, dropped or sent past the queue: after the queue has
done its part, and without its lock. What comes back from disk was copied when it was pushed.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from hh_exporter._queue.budget import Place
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Loss, Record

__all__ = ["CopyingQueue"]


@define(eq=False, kw_only=True)
class CopyingQueue(RecordQueue):
    """
    A class of its own: a push that is not copied pays nothing for it.
    """

    copy: Callable[[Record], None]
    """Takes a copy of a record. Any thread; never waits."""

    def offer(self, record: Record) -> Loss | None:
        loss = super().offer(record)
        self.copy(record)
        return loss

    def offer_update(self, record: Record) -> Loss | None:
        loss = super().offer_update(record)
        self.copy(record)
        return loss

    def enter(self, place: Place, record: Record) -> None:
        super().enter(place, record)
        self.copy(record)

    def bypass(self, record: Record) -> None:
        super().bypass(record)
        self.copy(record)
