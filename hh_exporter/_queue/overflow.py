"""
What a full queue does: which records wait on disk, which are dropped, which puts wait.

It has no lock of its own: the queue calls it under the one lock. A push that interrupts
one of the moves here, from a signal handler or a finaliser, may be appended; it displaces
nothing and admits no put.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from attrs import Factory, define

from hh_exporter._outcomes import DropReason
from hh_exporter._queue.budget import Budget
from hh_exporter._queue.followed import Followed
from hh_exporter._queue.ledger import Ledger
from hh_exporter._queue.packing import Packing
from hh_exporter._queue.unsettled import Due
from hh_exporter._queue.waking import Woken
from hh_exporter._queue.watches import Watch
from hh_exporter._records import Record, Session, Subject
from hh_exporter._settings.queue import QueueLimits

__all__ = ["Overflow"]

P = ParamSpec("P")
T = TypeVar("T")


@define(eq=False)
class Overflow:
    """
    The policy, and the moves of many records that must not be interrupted by another.
    """

    limits: QueueLimits
    ledger: Ledger
    budget: Budget
    packing: Packing
    followed: Followed = Factory(Followed)
    spool: Callable[[Record], Callable[[], object] | None] = lambda _: None
    """
    Prepares to move a record to disk; returns the function of C that does so, or None if it
    can't be. Never waits.
    """
    is_moving: bool = False
    """Whether records, or places in the line, are being moved."""

    def make_room(self, newcomer: Record, dropped: list[Record], woken: list[Woken]) -> bool:
        """
        Displace the oldest records until *newcomer* fits, or none if it would not.

        Args:
            newcomer: The record that is pushed.
            dropped: Collects the records that are dropped.
            woken: Collects what is to be woken.

        Returns:
            Whether *newcomer* fits.
        """
        limits, budget, ledger = self.limits, self.budget, self.ledger
        size = budget.size_of(newcomer)
        if budget.has_room(size) and not budget.line:
            return True  # since it was found full
        # What the next body waits for is not displaced at once: it gets what is freed by answers.
        most = min(max(limits.max_bytes, budget.bytes), limits.max_bytes + budget.kept)
        # A push that overtakes the line may not take the room that the line waits for.
        most = min(most, budget.bytes) if budget.line else most
        kept = budget.events - len(ledger.waiting)
        excess = budget.bytes + size - most
        is_in_vain = kept >= limits.max_events or (
            excess > ledger.waiting_bytes and excess > self._measure(newcomer.session)
        )
        if limits.overflow == "drop_newest" or is_in_vain or self.is_moving:
            return False
        fits = False
        self.is_moving = True
        try:
            while ledger.waiting and not fits:
                self._displace(ledger.waiting[0], DropReason.QUEUE_FULL, dropped, woken)
                size = budget.size_of(newcomer)
                fits = budget.events < limits.max_events and budget.bytes + size <= most
            return fits
        finally:
            self.is_moving = False

    def turn_away(self, newcomer: Record) -> bool:
        """
        Have a record for which there is no room wait on disk, or drop it if it can't.

        Returns:
            Whether it is dropped.
        """
        is_kept = self.follow(newcomer)
        if is_kept:
            self.followed.end((newcomer,))  # it was to be in memory
        else:
            self.ledger.refuse(DropReason.QUEUE_FULL)
        return not is_kept

    def follow(self, newcomer: Record) -> bool:
        """
        Move a new record to disk, behind what waits there.

        Returns:
            Whether there is room for it.
        """
        newcomer.seq = self.ledger.pushed + self.ledger.recovered + 1  # the disk keeps it
        if (hand_over := self.spool(newcomer)) is None:
            return False
        self.ledger.spool_new(hand_over)
        self.followed.wait(newcomer)
        return True

    def doubt(self, update: Record) -> bool:
        """
        Have a new update wait in memory until it may follow what is on disk, or drop it.

        Those that do take half of the memory at most: else nothing could come back from there.

        Returns:
            Whether it may wait.
        """
        limits, followed = self.limits, self.followed
        may_wait = (
            2 * (len(followed.unsure) + 1) <= limits.max_events
            and 2 * (followed.unsure_bytes + len(update.data)) <= limits.max_bytes
        )
        if may_wait:
            followed.doubt(update)
        else:
            self.ledger.refuse(DropReason.QUEUE_FULL)
        return may_wait

    def load(self, records: Sequence[Record]) -> tuple[list[Record], Due | None]:
        """
        Admit records from disk, as far as there is room that nobody waits for.

        Returns:
            Those that were admitted, and what `Unsettled.load` says.
        """
        admitted: list[Record] = []
        due, budget = None, self.budget
        for record in records:
            if budget.line or not budget.has_room(budget.size_of(record)):
                break
            due = self.ledger.load(record) or due
            self.followed.come_back(record)
            admitted.append(record)
        if not self.ledger.spooled:
            self.followed.clear()
        return admitted, due

    def lose(
        self, seqs: Sequence[int], reason: DropReason, lost: Sequence[Subject]
    ) -> Sequence[Watch]:
        """
        Count records that are dropped on disk.
        """
        done = self.ledger.lose(seqs, reason)
        self.followed.lose(seqs, lost)
        if not self.ledger.spooled:
            self.followed.clear()
        return done

    def part_with(self, records: Sequence[Record]) -> list[Record]:
        """
        Have pulled records wait on disk; returns those for which there is no room.
        """
        left: list[Record] = []
        for record in records:
            if (hand_over := self.spool(record)) is None:
                left.append(record)
            else:
                self.ledger.spool(record, hand_over)
                self.followed.part(record)
        return left

    def drain(self, reason: DropReason, woken: list[Woken]) -> list[Record]:
        """
        Have all that waits do so on disk, and drop what can't.
        """
        dropped: list[Record] = []
        for record in tuple(self.ledger.waiting):
            self._displace(record, reason, dropped, woken)
        self.followed.away.clear()  # all is on disk, and what opens it next puts it in order
        return dropped

    def admit_line(self) -> Sequence[Woken]:
        """
        Reserve room for those at the head of the line, as far as there is any.

        Returns:
            Whom to wake without the lock: these, and the worker if something is to be packed now,
            or room to unpack came free.
        """
        due = (self.packing,) if self.packing.is_due() else ()
        if self.is_moving or not self.budget.line:
            return due
        return [*due, *self.alone(self.budget.admit)]

    def alone(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call *change*; a push that interrupts it displaces and admits nothing.
        """
        was_moving, self.is_moving = self.is_moving, True
        try:
            result = change(*args, **kwargs)
        finally:
            self.is_moving = was_moving
        return result

    def _measure(self, kept: Session | None) -> int:
        """
        Say how many bytes dropping all that waits would free, but for the session *kept*.
        """
        ledger = self.ledger
        waiting = Counter(record.session for record in tuple(ledger.waiting))
        del waiting[None], waiting[kept]
        return ledger.waiting_bytes + sum(
            len(session.data)
            for session, n in waiting.items()
            if session and n == ledger.held(session)
        )

    def _displace(
        self, record: Record, reason: DropReason, dropped: list[Record], woken: list[Woken]
    ) -> None:
        """
        Have the first record that waits do so on disk, or drop it if it can't.
        """
        if (hand_over := self.spool(record)) is not None:
            self.ledger.spool(record, hand_over)
            self.followed.part(record)
        else:
            woken += self.ledger.drop(record, reason)
            self.followed.end((record,))
            dropped.append(record)
