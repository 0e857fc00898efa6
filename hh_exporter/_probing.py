"""
Which records probe a server that fails or refuses us.

Not the same ones each time, nor always as many: what the server objects to may
be one of them, and all others must not wait for it. Whoever has probed in vain
steps aside, until a round is over; the next one has smaller probes.
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

    def __attrs_post_init__(self) -> None:
        self._limit = self.max_events

    def trim(self, batch: Batch) -> Batch:
        """
        Make of *batch* a probe that is as large as the round allows; the rest is queued again.
        """
        self.queue.unpull(batch.records[self._limit :])
        return evolve(batch, records=batch.records[: self._limit])

    def step_aside(self, records: Sequence[Record]) -> None:
        """
        Have records in flight wait for the next round.
        """
        self.queue.untake(records)
        self.aside += records
        if len(self.aside) >= _BATCHES_IN_ROUND * self.max_events:
            self.end_round()

    def end_round(self) -> None:
        """
        Begin anew with all records, in probes of half the size.
        """
        self.give_up()
        self._limit = max(1, self._limit // 2)

    def reset(self) -> None:
        """
        Begin anew: the server took what it was sent.
        """
        self.give_up()
        self._limit = self.max_events

    def give_up(self) -> None:
        """
        Put those who stepped aside back into the queue.
        """
        self.queue.unpull(self.aside)
        self.aside = []
