"""
A queue that passes on a copy of each record that comes in.

A record is copied once, whether it is queued, dropped or sent past the queue: after the queue has
done its part, and without its lock; so it may be packed by then, and its bytes are passed, too.
What comes back from disk was copied when it was pushed.
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

    copy: Callable[[Record, bytes], None]
    """Takes a copy of a record with these bytes. Any thread; never waits."""

    def offer(self, record: Record) -> Loss | None:
        data = record.data
        loss = super().offer(record)
        self.copy(record, data)
        return loss

    def offer_update(self, record: Record) -> Loss | None:
        data = record.data
        loss = super().offer_update(record)
        self.copy(record, data)
        return loss

    def enter(self, place: Place, record: Record) -> None:
        data = record.data
        super().enter(place, record)
        self.copy(record, data)

    def bypass(self, record: Record) -> None:
        super().bypass(record)
        self.copy(record, record.data)
