"""
Which records on disk hold up updates that are in memory.

An update waits for its event, and for each earlier update of it. In memory these are in
front of it; on disk they need not be, and may come back behind it. So each update is
remembered while it is on disk, and each event that is moved there while it has updates. What an
earlier process left is not known; so an event of it that leaves memory again is remembered,
too. Used under the one lock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence, Set

from attrs import Factory, define

from hh_exporter._records import UPDATES, Record, Subject

__all__ = ["Followed"]


@define(eq=False)
class Followed:
    """
    The updates without an outcome, and what they follow.
    """

    away: dict[str, list[int]] = Factory(dict)
    """
    By the id of their event, the places of records that wait on disk in the order of
    admission, the first one first.
    """
    unsure: dict[Record, int] = Factory(dict)
    """
    Updates in memory that may follow what is not remembered, since there was no room behind it,
    and the bytes of each.
    """
    unsure_bytes: int = 0
    stuck: int = 0
    """How many updates in memory wait for what is on disk, since there is no room for them."""
    _counts: dict[str, int] = Factory(dict)
    """How many updates of each event are in memory."""

    def follow(self, update: Record) -> None:
        """
        Note that *update* comes to memory.
        """
        self._counts[update.event_id] = self._counts.get(update.event_id, 0) + 1

    def follows(self, event_ids: Iterable[str]) -> bool:
        """
        Whether updates of any of these are in memory.
        """
        return bool(self._counts) and not self._counts.keys().isdisjoint(event_ids)

    def find(self, event_ids: Set[str]) -> Set[str]:
        """
        Find those of events whose updates may be behind something on disk.
        """
        unsure = {update.event_id for update in self.unsure}
        return (event_ids & self.away.keys()) | (event_ids & unsure)

    def is_behind(self, update: Record) -> bool:
        """
        Whether anything that *update* follows is on disk.
        """
        places = self.away.get(update.event_id)
        return (places is not None and places[0] < update.seq) or update in self.unsure

    def doubt(self, update: Record) -> None:
        """
        Note that *update* comes to memory, and may follow anything on disk.
        """
        self.unsure[update] = len(update.data)
        self.unsure_bytes += len(update.data)

    def wait(self, record: Record) -> None:
        """
        Note that *record* waits on disk.
        """
        event_id = record.event_id
        if (
            record.route == UPDATES
            or record.seq <= 0
            or event_id in self._counts
            or event_id in self.away
        ):
            insort(self.away.setdefault(event_id, []), record.seq)

    def part(self, record: Record) -> None:
        """
        Note that *record* has left memory for the disk.
        """
        self.end((record,))
        self.wait(record)

    def come_back(self, record: Record) -> None:
        """
        Note that *record* came from disk; another process may have pushed it.
        """
        if record.route == UPDATES:
            self.follow(record)
        self._forget(record.event_id, record.seq)

    def end(self, records: Iterable[Record]) -> None:
        """
        Note that *records* are no longer in memory.
        """
        if not self._counts:
            return
        for record in records:
            if record.route != UPDATES:
                continue
            self._trust(record)
            left = self._counts.get(record.event_id, 0) - 1
            if left > 0:
                self._counts[record.event_id] = left
            else:
                self._counts.pop(record.event_id, None)

    def lose(self, seqs: Sequence[int], lost: Sequence[Subject]) -> None:
        """
        Note what was dropped on disk; nothing comes back if that is not known.
        """
        for seq, subject in zip(seqs, lost, strict=bool(lost)):
            self._forget(subject.event_id, seq)
        if not lost:
            self.away.clear()

    def clear(self) -> None:
        """
        Note that nothing is on disk.
        """
        self.away.clear()
        self.unsure.clear()
        self.unsure_bytes = 0

    def _trust(self, update: Record) -> None:
        if update in self.unsure:
            self.unsure_bytes -= self.unsure.pop(update)

    def _forget(self, event_id: str, seq: int) -> None:
        """
        Note that a record is no longer on disk, which may be one that is not remembered.
        """
        places = self.away.get(event_id)
        if places is None:
            return
        at = bisect_left(places, seq)
        if at < len(places) and places[at] == seq:
            del places[at]
        if not places:
            del self.away[event_id]
