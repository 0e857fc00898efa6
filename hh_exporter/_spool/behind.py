"""
What is in memory alone, and is to be on disk, too.

Under the queue's lock. Nothing is noted of each record for it: those that still wait once
the disk takes them are found in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter._spool.room import Room
from hh_exporter._spool.work import AT_ONCE

__all__ = ["catch_up", "write_again"]


def catch_up(
    queue: RecordQueue, room: Room, store: Callable[[Record], bool], *, has_failed: bool
) -> None:
    """
    Store the next records, as far as there is room.

    Args:
        queue: What is in memory.
        room: Told what is left.
        store: Hands a record to the spool's thread, if there is room for it.
        has_failed: Whether the disk just failed: the smallest record tries it for the others.
    """
    queued, flying = ([r for r in part if r.spot is None] for part in _in_memory(queue))
    oldest = min((record.pushed_at for record in flying), default=inf)
    at_once, count = AT_ONCE, 0
    if has_failed:
        at_once = 1
        queued.sort(key=lambda record: record.size)
    while count < min(len(queued), at_once) and store(queued[count]):
        count += 1
    oldest = min([oldest, *(record.pushed_at for record in queued[count:])])
    room.behind_since = None if oldest == inf else oldest


def write_again(
    queue: RecordQueue,
    ensured: Iterable[Record],
    file: object,
    store: Callable[[Record], bool] | None,
) -> None:
    """
    Store again the records in memory whose copy was in a *file* that is lost.

    Args:
        queue: What is in memory.
        ensured: What waits for the disk to be admitted.
        file: The file.
        store: As for `catch_up`; None where that is not asked.
    """
    queued, flying = _in_memory(queue)
    for record in (*queued, *flying, *ensured):
        if record.spot is not None and record.spot.file is file:
            record.spot = None
            if store is not None:
                store(record)


def _in_memory(queue: RecordQueue) -> tuple[list[Record], list[Record]]:
    """
    List the records that are queued, and those in flight.
    """
    ledger = queue.ledger
    return [*ledger.pulled, *tuple(ledger.waiting)], [*ledger.flying]
