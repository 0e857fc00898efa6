"""
The worker's side of the queue: what waits, on its way to an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from threading import RLock

from attrs import Factory, define, field

from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._queue.budget import Budget
from hh_exporter._queue.followed import Followed
from hh_exporter._queue.ledger import Ledger
from hh_exporter._queue.overflow import Overflow
from hh_exporter._queue.packing import Packing
from hh_exporter._queue.waking import wake, waking
from hh_exporter._records import Record
from hh_exporter._settings.queue import QueueLimits

__all__ = ["Outgoing"]

_BODIES = 1 / 4
"""The part of the bytes in memory that bodies may take, if there are several."""


@define(eq=False)
class Outgoing:
    """
    What a queue has, and what its worker does with it.
    """

    limits: QueueLimits
    lock: RLock = Factory(RLock)
    ledger: Ledger = Factory(Ledger)
    closed: bool = False
    on_due: Callable[[], None] = lambda: None
    """Called, without the lock, when as much is queued as the worker waits for."""
    followed: Followed = Factory(Followed)
    body_bytes: int = field(default=0, init=False)
    """Bytes of the request bodies in flight."""
    overflow: Overflow = field(init=False)
    packing: Packing = field(init=False)
    _budget: Budget = field(init=False)

    def __attrs_post_init__(self) -> None:
        budget = self._budget = Budget(self.limits, self.ledger)
        self.packing = Packing(budget, self.ledger, wake=self._wake_worker)
        self.overflow = Overflow(self.limits, self.ledger, budget, self.packing, self.followed)

    def wake_at(self, events: float, size: float) -> bool:
        """
        Have `on_due` called once, when *events* or *size* bytes wait to be pulled.

        Returns:
            Whether that is so now; then it is not called.
        """
        with self.lock:
            return not self.packing.is_stuck and self.ledger.wake_at(events, size)

    def pull(self, limit: int) -> list[Record]:
        """
        Remove up to *limit* records from the head; they still count as queued.

        None while they are packed and must wait for room: `on_due` is called once there is some.
        """
        with self.lock:
            records = self.overflow.alone(self.packing.pull, limit)
        return records  # noqa: RET504 - not in the block, which a call there could leave too late

    def put_back(self, records: Iterable[Record]) -> None:
        """
        Put records that were pulled, or are in flight, back where they were.
        """
        with self.lock:
            self.overflow.alone(self.ledger.put_back, records)

    def recall(self, spared: Container[Record]) -> None:
        """
        Put back everything that was pulled or is in flight, except those *spared*.
        """
        with self.lock:
            out = self.ledger.pulled | self.ledger.flying
            self.overflow.alone(self.ledger.put_back, [r for r in out if r not in spared])

    def take(self, records: Sequence[Record]) -> None:
        """
        Count pulled records as in flight.
        """
        with self.lock:
            self.ledger.take(records)

    def hold_bodies(self, size: int, next_size: int = 0) -> bool:
        """
        Count request bodies as in memory, and keep room for the next, within a quarter of all.

        What this frees is for further bodies until `admit`.

        Args:
            size: Bytes of those in flight.
            next_size: Of the one that is to follow.

        Returns:
            Whether there is room for that.
        """
        budget, most = self._budget, self.limits.max_bytes
        with self.lock:
            self.body_bytes = size
            is_little = size + next_size <= most * _BODIES
            budget.kept = next_size if is_little else 0
            budget.bodies = size + budget.kept
            has_room = is_little and budget.bytes <= most
        return has_room  # noqa: RET504 - as above

    @waking
    def admit(self) -> None:
        """
        Give those who wait for room what there is of it.
        """
        with self.lock:
            admitted = self.overflow.admit_line()
        wake(admitted)

    def untake(self, records: Sequence[Record]) -> None:
        """
        Count records in flight as pulled again.
        """
        with self.lock:
            self.ledger.untake(records)

    @waking
    def part_with(self, records: Sequence[Record]) -> list[Record]:
        """
        Have pulled records wait on disk; returns those for which there is no room.
        """
        with self.lock:
            left = self.overflow.alone(self.overflow.part_with, records)
            admitted = self.overflow.admit_line()
        wake(admitted)
        return left

    @waking
    def send_back(self, records: Sequence[Record]) -> None:
        """
        Have records in flight wait on disk, as far as there is room; the others wait here.
        """
        with self.lock:
            flying = [record for record in records if record in self.ledger.flying]
            self.ledger.untake(flying)
            left = self.overflow.alone(self.overflow.part_with, flying)
            self.overflow.alone(self.ledger.put_back, left)
            admitted = self.overflow.admit_line()
        wake(admitted)

    @waking
    def settle(
        self, records: Sequence[Record], outcome: Outcome, reason: DropReason | None = None
    ) -> Sequence[Record]:
        """
        Count the outcome of records in flight; their room goes to those who wait.

        Returns:
            Those of *records* that were in flight.
        """
        with self.lock:
            settled, done = self.overflow.alone(self.ledger.settle, records, outcome, reason)
            self.followed.end(settled)
            admitted = self.overflow.admit_line()
        wake([*done, *admitted])
        return settled

    def _wake_worker(self) -> None:
        self.on_due()

    def wake_all(self) -> None:
        """
        Wake those that may wait for what was just done, after an exception from outside.
        """
        with self.lock:
            done = self.ledger.watches.complete()
        self.on_due()
        for watch in done:
            watch.wake()
