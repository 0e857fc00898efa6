"""
Which records probe a server that fails or refuses us.

Not the same ones each time, nor always as many: what the server objects to may
be one of them, and all others must not wait for it. Whoever has probed in vain
steps aside, until nobody else has anything to send or a round is over; the
next one has smaller probes.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define, evolve, field

from hh_exporter._queue import RecordQueue
from hh_exporter._records import Batch, Record

__all__ = ["Prober"]

_BATCHES_IN_ROUND = 8
"""Whoever stepped aside can't be dropped as the oldest: not all of the queue may."""


@define(eq=False)
class Prober:
    """
    The records that stepped aside; they count as queued.
    """

    queue: RecordQueue
    max_events: int
    """Records of a full batch."""
    aside: list[Record] = Factory(list)
    _limit: int = field(init=False)
    _largest: int = 0
    """Records of the largest that stepped aside in this round."""

    def __attrs_post_init__(self) -> None:
        self._limit = self.max_events

    def trim(self, batch: Batch, *, is_lone: bool) -> Batch:
        """
        Make of *batch* a probe that is as large as the round allows; the rest is queued again.

        Args:
            is_lone: Make it one event: whatever holds a bad one is refused anyway.
        """
        limit = 1 if is_lone else self._limit
        self.queue.unpull(batch.records[limit:])
        return evolve(batch, records=batch.records[:limit])

    def step_aside(self, records: Sequence[Record]) -> None:
        """
        Have records in flight wait for the next round.
        """
        self.queue.untake(records)
        self.aside += records
        self._largest = max(self._largest, len(records))
        if len(self.aside) >= _BATCHES_IN_ROUND * self.max_events:
            self.end_round()

    def end_round(self) -> None:
        """
        Begin anew with all records, in probes of half the size.
        """
        self._limit = max(1, min(self._limit, self._largest) // 2)
        self.give_up()

    def reset(self) -> None:
        """
        Make probes as large as batches again: the server took what it was sent.

        Whoever stepped aside stays there until nothing else is due: back at the head of
        the queue they would soon hold all slots again, should they be at fault.
        """
        self._limit = self.max_events

    def give_up(self) -> None:
        """
        Put those who stepped aside back into the queue.
        """
        self.queue.unpull(self.aside)
        self.aside = []
        self._largest = 0
