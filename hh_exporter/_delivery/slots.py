"""
The deliveries under way, and whether there may be one more.

Their number is the limiter's. Their bodies have to fit into memory beside all that waits
there, and into a quarter of it; but one may always be. While the next one waits for room,
what is pushed does not get it; and what an answer frees goes to those in line for room only once
the worker has no use for it, or a full queue would never have more than one in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain
from math import inf

from attrs import Factory, define

from hh_exporter._delivery.limiter import Limiter
from hh_exporter._delivery.parts import Delivery
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter._settings.queue import portion

__all__ = ["Slots"]


@define(eq=False, kw_only=True)
class Slots:
    """
    The slots of one worker. Those in hand are changed under the queue's lock.
    """

    queue: RecordQueue
    limiter: Limiter
    in_hand: dict[Delivery, asyncio.Task[None] | None] = Factory(dict)
    """Deliveries that were taken, and the task of each."""
    singles: set[Delivery] = Factory(set)
    """Those that go past the queue, and need no slot."""
    _lacking: int = 0
    """Bytes of the body of one more, if there was no room for it."""

    @property
    def must_wait(self) -> bool:
        """
        Whether no more can be taken before one that is in hand ends, or backs off.
        """
        return self.is_full or bool(self._lacking and self.in_hand)

    @property
    def is_full(self) -> bool:
        """
        Whether as many are in hand as may be.

        What backs off keeps its slot, or a short failure would soon have all batches back off;
        but not the last one: a batch on which the server always fails would hold up the others.
        """
        count, limit = len(self.in_hand), self.limiter.limit
        if count and self.queue.ledger.in_flight >= portion(self.queue.limits, 2):
            return True  # the other half is what a full queue can drop
        if count < limit:
            return False
        if count >= self.limiter.first:
            return True
        return count - sum(delivery.idle_until > -inf for delivery in self.in_hand) >= limit

    def make_room(self, size: int) -> bool:
        """
        Keep room for one more body of *size* bytes.

        Returns:
            Whether there is that much.
        """
        has_room = self.queue.hold_bodies(self._bodies, size)
        self._lacking = size if self.in_hand and not has_room else 0
        return not self._lacking

    def need_none(self) -> None:
        """
        Note that no more are to be sent now, if there is room or not.
        """
        self._lacking = 0

    def give_rest(self) -> None:
        """
        Give the room that bodies don't need to those who wait for it; without the lock.
        """
        with self.queue.lock:
            self.queue.hold_bodies(self._bodies, self._lacking)
        self.queue.admit()

    def add(self, delivery: Delivery) -> None:
        self.in_hand[delivery] = None
        self.queue.hold_bodies(self._bodies)

    def remove(self, delivery: Delivery) -> None:
        """
        Note that it is over; those in line get none of its room before `give_rest`.
        """
        self.in_hand.pop(delivery, None)
        self.queue.hold_bodies(self._bodies, self._lacking)

    def begin(self, single: Delivery) -> None:
        """
        Note a delivery that goes past the queue; follow with `end`.
        """
        self.singles.add(single)
        self.give_rest()

    def end(self, single: Delivery) -> None:
        self.singles.discard(single)
        self.give_rest()

    def clear(self) -> None:
        """
        Let go of all deliveries that were taken.
        """
        with self.queue.lock:
            for delivery in tuple(self.in_hand):
                delivery.release_all()
            self.in_hand.clear()
            self._lacking = 0
        self.give_rest()

    def records(self) -> Iterator[Record]:
        """
        The records that deliveries have, or had.
        """
        return chain(*(delivery.records for delivery in self._all))

    @property
    def idle_until(self) -> float:
        """
        When one of them goes on by itself; -inf while one is at work, or without any.
        """
        return min((delivery.idle_until for delivery in self._all), default=-inf)

    @property
    def _all(self) -> tuple[Delivery, ...]:
        return *self.in_hand, *self.singles

    @property
    def _bodies(self) -> int:
        return sum(delivery.body_size for delivery in self._all)
