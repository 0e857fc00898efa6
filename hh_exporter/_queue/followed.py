"""
Events that have updates, and which of them were moved to disk before their updates.

An update is queued behind its event, or behind all that is on disk. So it can overtake its
event in one way only: if the event is moved to disk after the update was pushed. Used under
the one lock.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from hh_exporter._records import UPDATES, Record, Subject

__all__ = ["Followed"]


@define(eq=False)
class Followed:
    """
    The events that have updates without an outcome.
    """

    away: set[str] = Factory(set)
    """Ids of those that were moved to disk and have not come back."""
    _counts: dict[str, int] = Factory(dict)
    """How many updates each event has, in memory and on disk."""

    def follow(self, update: Record) -> None:
        """
        Note that *update* was pushed.
        """
        self._counts[update.event_id] = self._counts.get(update.event_id, 0) + 1

    def follows(self, event_ids: Iterable[str]) -> bool:
        """
        Whether any of these has updates without an outcome.
        """
        return bool(self._counts) and not self._counts.keys().isdisjoint(event_ids)

    def part(self, record: Record) -> None:
        """
        Note that *record* has left memory for the disk.
        """
        if self._counts and record.route != UPDATES and record.event_id in self._counts:
            self.away.add(record.event_id)

    def come_back(self, record: Record) -> None:
        """
        Note that *record* came from disk; another process may have pushed it.
        """
        if record.route == UPDATES:
            self._counts.setdefault(record.event_id, 1)
        else:
            self.away.discard(record.event_id)

    def end(self, records: Iterable[Record]) -> None:
        """
        Note that *records* have their outcome.
        """
        if self._counts:
            for record in records:
                if record.route == UPDATES:
                    self.forget(record.event_id)

    def lose(self, lost: Iterable[Subject]) -> None:
        """
        Note what was dropped on disk; nothing comes back if that is not known.
        """
        is_known = False
        for each in lost:
            is_known = True
            if each.is_update:
                self.forget(each.event_id)
            else:
                self.away.discard(each.event_id)
        if not is_known:
            self.away.clear()

    def forget(self, event_id: str) -> None:
        """
        Note that an update of that event has its outcome.
        """
        left = self._counts.get(event_id, 0) - 1
        if left > 0:
            self._counts[event_id] = left
        else:
            self._counts.pop(event_id, None)
            self.away.discard(event_id)
