"""
Which records probe a server that fails or refuses us.

Not the same ones each time: the server may object to one of them, and the others
must not wait for it. The first probes are ordinary batches; later ones are single
events, new ones first, without the properties of their session. Records whose
probe failed step aside.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define

from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Batch, Record

__all__ = ["Prober"]

_WHOLE_PROBES = 2
_MAX_BATCHES_ASIDE = 8
"""Records that stepped aside can't be dropped as the oldest, so not all of the queue may."""


@define(eq=False)
class Prober:
    """
    The records that stepped aside; they count as queued.
    """

    queue: RecordQueue
    max_events: int
    """Records of a full batch."""
    aside: list[Record] = Factory(list)
    failed: int = 0
    """How many probes failed since the server took anything."""

    def trim(self, batch: Batch, *, is_lone: bool) -> Batch:
        """
        Make of *batch* a probe; what is not in it is queued again.

        Args:
            is_lone: Make it one event: a batch with a bad one would be refused anyway.
        """
        is_whole = not is_lone and self.failed < _WHOLE_PROBES
        if is_whole or batch.route == UPDATES:  # which are of one event, and keep their order
            return batch
        *others, last = batch.records
        self.queue.put_back(others)
        return Batch((last,), route=batch.route)

    def step_aside(self, records: Sequence[Record]) -> None:
        """
        Have records in flight wait until others have probed.
        """
        self.failed += 1
        self.queue.untake(records)
        self.aside += records
        half = self.queue.limits.max_events // 2
        if len(self.aside) >= min(_MAX_BATCHES_ASIDE * self.max_events, max(1, half)):
            self.make_room()
            self.give_up()

    def reset(self) -> None:
        """
        Probe with a batch again the next time: the server took what it was sent.

        Records that stepped aside stay there until nothing else is due: at the head of the
        queue they would soon hold all slots again, if they are at fault.
        """
        self.failed = 0

    def make_room(self) -> None:
        """
        Move records that stepped aside to disk, as far as there is room.
        """
        self.aside = self.queue.part_with(self.aside)

    def give_up(self) -> None:
        """
        Put records that stepped aside back into the queue.
        """
        self.queue.put_back(self.aside)
        self.aside = []
