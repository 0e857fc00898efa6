"""
Updates of events that wait to be sent, each behind its event.

Pure, as the batcher is. All updates of one event that wait by the time one is due go out in
one request, in the order in which they were made. None goes while its event, or an earlier
update of it, is on the way: then it would be overtaken. Of thousands that wait, only the first
that nothing holds up are looked at.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Container

from attrs import Factory, define

from hh_exporter._queue.followed import Followed
from hh_exporter._records import UPDATES, Batch, Record, by_seq, total_bytes
from hh_exporter._settings.batch import BatchLimits

__all__ = ["Updates"]


@define(eq=False)
class Updates:
    """
    The updates that the worker has pulled and not taken.
    """

    limits: BatchLimits
    _waiting: dict[str, list[Record]] = Factory(dict)
    """By the id of their event, each in order of admission."""
    _is_sorted: bool = True
    """Whether the events are in the order of their first updates, too."""
    count: int = 0

    def add(self, record: Record) -> None:
        records = self._waiting.get(record.event_id)
        if records is None:
            last = next(reversed(self._waiting.values()), None)
            self._is_sorted &= last is None or last[0].seq < record.seq
            self._waiting[record.event_id] = [record]
        else:
            insort(records, record, key=by_seq)
            self._is_sorted &= records[0] is not record
        self.count += 1

    def pop(self, now: float, held: Container[str], *, up_to_seq: float = 0) -> Batch | None:
        """
        Take those of one event that are due at *now*, as many as fit a batch.

        They are due once the first has waited for `linger`, or if it was admitted as number
        *up_to_seq* or before.

        Args:
            now: The time.
            held: Ids of the events that are on the way, or have an update on the way.
            up_to_seq: See above.
        """
        if (first := self._first(held)) is not None:
            event_id, records = first
            if records[0].seq <= up_to_seq or now >= self._due_at(records):
                return self._take(event_id, records)
        return None

    def due_at(self, held: Container[str]) -> float | None:
        """
        Say when the next is due; None if none may be sent. For *held* see `pop`.
        """
        return None if (first := self._first(held)) is None else self._due_at(first[1])

    @property
    def next_size(self) -> int:
        """
        Bytes of those of the event that was updated first, which go out next if nothing holds it.
        """
        return total_bytes(next(iter(self._waiting.values()), ()))

    def take_behind(self, followed: Followed) -> list[Record]:
        """
        Remove the updates that wait for what is on disk, and those behind them.

        Returns:
            Their records, in order of admission.
        """
        taken: list[Record] = []
        for event_id in followed.find(self._waiting.keys()):
            records = self._waiting[event_id]
            at = next((n for n, one in enumerate(records) if followed.is_behind(one)), len(records))
            taken += records[at:]
            del records[at:]
            if not records:
                del self._waiting[event_id]
        self.count -= len(taken)
        return sorted(taken, key=by_seq)

    def take_those_of(self, event_ids: Container[str]) -> list[Record]:
        """
        Remove the updates of these events.

        Returns:
            Their records.
        """
        waiting = self._waiting
        found = [i for i in waiting if i in event_ids]
        taken = [record for i in found for record in waiting.pop(i)]
        self.count -= len(taken)
        return taken

    def clear(self) -> list[Record]:
        """
        Remove all updates; returns their records.
        """
        return self.take_those_of(self._waiting.keys())

    def _take(self, event_id: str, records: list[Record]) -> Batch:
        count = self._fitting(records)
        taken, left = records[:count], records[count:]
        if left:
            self._waiting[event_id] = left
            self._is_sorted = False
        else:
            del self._waiting[event_id]
        self.count -= count
        return Batch(tuple(taken), route=UPDATES, is_full=True)  # all that are to go together

    def _first(self, held: Container[str]) -> tuple[str, list[Record]] | None:
        """
        Find the updates that were admitted first, and so are due first, of an event not held.

        It looks no further: thousands may wait.
        """
        if not self._is_sorted:
            self._waiting = dict(sorted(self._waiting.items(), key=lambda item: item[1][0].seq))
            self._is_sorted = True
        return next((item for item in self._waiting.items() if item[0] not in held), None)

    def _due_at(self, records: list[Record]) -> float:
        return records[0].pushed_at + self.limits.linger

    def _fitting(self, records: list[Record]) -> int:
        """
        Count how many fit one body; merged they are no larger than apart.
        """
        size = 0
        for count, record in enumerate(records):
            size += len(record.data)
            if count and (size > self.limits.max_bytes or count >= self.limits.max_events):
                return count
        return len(records)
