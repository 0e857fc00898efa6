"""
What goes out next: a batch of events, or the updates of one event.

It owns the records that were pulled from the queue and not taken by a delivery. Events and
updates take turns. When an event goes back to the queue or to disk, so do the updates that
were pulled: an update never overtakes its event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from math import inf

from attrs import define, field

from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.probing import Prober
from hh_exporter._delivery.updates import Updates
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Batch, Record

__all__ = ["Picker"]

_AT_ONCE = 100
"""How many records are pulled before it is seen whether a batch is full: few more than it has."""

_MAX_UPDATES = 10_000
"""How many updates are pulled at most; the others wait in the queue."""


@define(eq=False, kw_only=True)
class Picker:
    """
    What one worker sends next. Used under the queue's lock, except `room` and `due_at`.
    """

    queue: RecordQueue
    batcher: Batcher
    prober: Prober
    under_way: Callable[[], Iterable[Record]]
    """Lists the records that deliveries have, or had."""
    _updates: Updates = field(init=False)
    _stuck: set[str] = field(factory=set, init=False)
    """Ids of events whose updates wait for what is on disk, since there is no room for them."""
    _is_turn_of_updates: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._updates = Updates(self.batcher.limits)

    def pick(self, now: float, *, up_to_seq: float) -> Batch | None:
        """
        Take the next batch that is due, whether or not it may be sent.

        Records that stepped aside have their turn once nothing else is due, packed or not.
        """
        batch = self._pick(now, up_to_seq)
        if batch is None and self.prober.aside and not self.queue.packing.is_stuck:
            self.prober.give_up()
            self.recall_updates()
            batch = self._pick(now, up_to_seq)
        return batch

    def measure(self) -> int:
        """
        Pull what may be sent, and say how many bytes the body of what is sent next has, at most.
        """
        self._pull()
        if self.queue.packing.is_stuck or self.prober.aside:  # it is not known
            return min(self.batcher.limits.max_bytes, self.queue.ledger.queued_bytes)
        return max(self.batcher.next_size, self._updates.next_size)

    def trim(self, batch: Batch, *, is_lone: bool) -> Batch:
        """
        Make of *batch* a probe; see `Prober.trim`.
        """
        probe = self.prober.trim(batch, is_lone=is_lone)
        self.recall_updates()
        if batch.session is not None and probe.session is None:
            self.batcher.end(batch.session)
        return probe

    @property
    def room(self) -> int:
        """
        How many more records may be pulled now.
        """
        return 0 if self._updates.count >= _MAX_UPDATES else self.batcher.room

    def due_at(self) -> float | None:
        """
        Say when something is due that is not yet; None if nothing is.
        """
        if self._is_being_unpacked:
            return None  # then the worker is woken
        batch_at = self.batcher.due_at()
        if not self._updates.count:
            return batch_at
        update_at = self._updates.due_at(self._held())
        return min((at for at in (batch_at, update_at) if at is not None), default=None)

    def has_full(self, now: float) -> bool:
        """
        Whether something waits to be sent that could gain nothing by waiting longer.
        """
        batcher, ledger = self.batcher, self.queue.ledger
        return bool(
            self._updates.count
            or batcher.is_full(now)
            or len(ledger.waiting) >= batcher.room
            or ledger.waiting_bytes >= batcher.room_bytes
        )

    def step_aside(self, records: Sequence[Record]) -> None:
        """
        Have records of a probe that failed step aside, and the updates that wait behind them.

        Those have no probe of their own, and would hold up what waits on disk for its turn.
        """
        self.prober.step_aside(records)
        self.recall_updates()
        aside = {record.event_id for record in self.prober.aside}
        if self.queue.followed.follows(aside):
            self._pull()
            self.prober.aside += self._updates.take_those_of(aside)

    def recall_updates(self) -> None:
        """
        Put the updates back in the queue, where their events may be in front of them.
        """
        if self._updates.count:
            self.queue.put_back(self._updates.clear())

    def clear(self) -> None:
        """
        Forget what was pulled: it is back in the queue.
        """
        self.batcher.clear()
        self._updates.clear()
        self.prober.aside = []

    def release(self) -> None:
        """
        Put all that was pulled back into the queue.
        """
        self.queue.recall(self.queue.ledger.flying)
        self.clear()

    def _pick(self, now: float, up_to_seq: float) -> Batch | None:
        batcher, updates = self.batcher, self._updates
        self._pull()
        self._send_after()
        if self._is_being_unpacked:
            now = up_to_seq = -inf  # only what is full: the rest fills soon
        if not updates.count:
            batch = batcher.pop(now, up_to_seq=up_to_seq)
        elif self._is_turn_of_updates:
            batch = self._pop_updates(now, up_to_seq) or batcher.pop(now, up_to_seq=up_to_seq)
        else:
            batch = batcher.pop(now, up_to_seq=up_to_seq) or self._pop_updates(now, up_to_seq)
        self._is_turn_of_updates = batch is not None and batch.route != UPDATES
        return batch

    @property
    def _is_being_unpacked(self) -> bool:
        packing = self.queue.packing
        return packing.is_served and packing.is_stuck

    def _pull(self) -> None:
        batcher, updates = self.batcher, self._updates
        while (room := self.room) and (records := self.queue.pull(min(room, _AT_ONCE))):
            for record in records:
                (updates if record.route == UPDATES else batcher).add(record)

    def _send_after(self) -> None:
        """
        Move updates to disk, behind what they follow there.
        """
        followed, stuck = self.queue.followed, list[Record]()
        if self._updates.count and (followed.away or followed.unsure):
            stuck = self.queue.part_with(self._updates.take_behind(followed))
        for record in stuck:
            self._updates.add(record)
        self._stuck = {record.event_id for record in stuck}
        followed.stuck = len(stuck)

    def _pop_updates(self, now: float, up_to_seq: float) -> Batch | None:
        return self._updates.pop(now, self._held(), up_to_seq=up_to_seq)

    def _held(self) -> set[str]:
        """
        List the ids of events whose updates must wait: what they follow is on the way, or on disk.
        """
        ids = self.batcher.event_ids | self._stuck
        ids.update(record.event_id for record in chain(self.under_way(), self.prober.aside))
        return ids
