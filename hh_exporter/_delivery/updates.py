"""
Updates of events that wait to be sent, each behind its event.

Pure, as the batcher is. All updates of one event that wait by the time one is due go out in
one request, in the order in which they were made. None goes while its event, or an earlier
update of it, is on the way: then it would be overtaken.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from attrs import Factory, define

from hh_exporter._records import UPDATES, Batch, Record
from hh_exporter._settings.batch import BatchLimits

__all__ = ["Updates"]

_order = attrgetter("seq")


@define(eq=False)
class Updates:
    """
    The updates that the worker has pulled and not taken.
    """

    limits: BatchLimits
    is_held: Callable[[str], bool]
    """Whether an event, or an update of it, is on the way; asked for the id of the event."""
    _waiting: dict[str, list[Record]] = Factory(dict)
    """By the id of their event, each in order of admission."""
    count: int = 0

    def add(self, record: Record) -> None:
        insort(self._waiting.setdefault(record.event_id, []), record, key=_order)
        self.count += 1

    def pop(self, now: float, *, up_to_seq: float = 0) -> Batch | None:
        """
        Take those of one event that are due at *now*, as many as fit a batch.

        They are due when one has waited for `linger`, or was admitted as number *up_to_seq*
        or before.
        """
        for event_id, records in self._free():
            if records[0].seq <= up_to_seq or now >= self._due_at(records):
                return self._take(event_id, records)
        return None

    def due_at(self) -> float | None:
        """
        Say when one has waited long enough; None without one that may be sent.
        """
        return min((self._due_at(records) for _, records in self._free()), default=None)

    def take_those_of(self, event_ids: Iterable[str]) -> list[Record]:
        """
        Give up those of these events.

        Returns:
            Their records.
        """
        taken = [record for i in event_ids for record in self._waiting.pop(i, ())]
        self.count -= len(taken)
        return taken

    def clear(self) -> list[Record]:
        """
        Give up all of them; returns their records.
        """
        return self.take_those_of(tuple(self._waiting))

    def _take(self, event_id: str, records: list[Record]) -> Batch:
        count = self._fitting(records)
        taken, left = records[:count], records[count:]
        if left:
            self._waiting[event_id] = left
        else:
            del self._waiting[event_id]
        self.count -= count
        return Batch(tuple(taken), route=UPDATES)

    def _free(self) -> Iterator[tuple[str, list[Record]]]:
        """
        List those that nothing holds up.
        """
        return (item for item in self._waiting.items() if not self.is_held(item[0]))

    def _due_at(self, records: list[Record]) -> float:
        return records[0].pushed_at + self.limits.linger

    def _fitting(self, records: list[Record]) -> int:
        """
        Count how many go into one body; joined they are no larger than apart.
        """
        size = 0
        for count, record in enumerate(records):
            size += len(record.data)
            if count and (size > self.limits.max_bytes or count >= self.limits.max_events):
                return count
        return len(records)
