"""
The bounded queue between push and the worker.

Shares one lock with the ledger; nobody encodes, awaits or calls user code under
it. The lock is reentrant, for signal handlers and finalisers that push: such a push
may append while it interrupts a move, and moves nothing itself. What a delivery
holds takes room from push. An exception from outside may end any method here
between two steps of the ledger; waiting tasks are woken all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from attrs import define

from hh_exporter._outcomes import DropReason
from hh_exporter._queue.budget import Place
from hh_exporter._queue.outgoing import Outgoing
from hh_exporter._queue.unsettled import Due
from hh_exporter._queue.waking import Woken, wake, waking
from hh_exporter._queue.watches import Watch
from hh_exporter._records import Loss, Record, Subject
from hh_exporter.exceptions import ExporterError

__all__ = ["RecordQueue"]


@define(eq=False)
class RecordQueue(Outgoing):
    """
    Records on their way to the worker, in order of admission.
    """

    keep: Callable[[Record], object] | None = None
    """Writes a record to disk, too, while it is in memory. Never waits."""

    # Ways in.

    def offer(self, record: Record) -> Loss | None:
        """
        Admit *record*, by the overflow policy if there is no room.

        Returns:
            What was dropped, perhaps *record* itself; None if nothing was.
        """
        is_in, due = False, None
        try:
            with self.lock:
                # As `size_of` has it: most have no session to announce.
                has_session = record.session is not None
                size = self._budget.size_of(record) if has_session else len(record.data)
                if self._budget.has_room(size) and not (self._budget.line or self.closed):
                    due = self.ledger.enter(record)
                    is_in = True
                    if self.keep is not None and record.spot is None:
                        self.keep(record)
            if due is not None:
                self._ring(due)
        except BaseException:
            self.wake_all()
            raise
        return None if is_in else self._offer_in_need(record)

    @waking
    def _offer_in_need(self, record: Record) -> Loss | None:
        lost, woken, due = list[Record](), list[Woken](), None
        with self.lock:
            if self.closed:
                self.ledger.refuse(DropReason.CLOSED)
                return Loss(DropReason.CLOSED, (record,))
            if self.overflow.make_room(record, lost, woken):
                due = self._append(record)
            elif self.overflow.turn_away(record):
                lost.append(record)
            woken += self.overflow.admit_line()
        wake(woken)
        self._ring(due)
        return Loss(DropReason.QUEUE_FULL, tuple(lost)) if lost else None

    def offer_update(self, record: Record) -> Loss | None:
        """
        Admit an update, behind its event: on disk, if anything waits there.

        Returns:
            As `offer` does.
        """
        with self.lock:
            if self.ledger.spooled and not self.closed:
                if self.overflow.follow(record):
                    return None
                if not self.overflow.doubt(record):
                    return Loss(DropReason.QUEUE_FULL, (record,))
            self.followed.follow(record)
        loss = RecordQueue.offer(self, record)  # a subclass has its own
        if loss is not None and loss.records[-1] is record:  # it was not even queued
            with self.lock:
                self.followed.end((record,))
        return loss

    def line_up(self, record: Record, wake: Callable[[], None]) -> Place:
        """
        Take a place in the line for room for *record*, ahead of all later pushes.

        Follow with `enter` once there is room, else with `leave`.

        Raises:
            ExporterError: The queue is closed.
        """
        # All that it may add by then: the record that holds its session now may be gone.
        size = len(record.data) + (len(record.session.data) if record.session else 0)
        place = Place(size, wake)
        try:
            with self.lock:
                self.check_open()
                if not self._budget.line and self._budget.has_room(size):
                    self._budget.reserve(place)
                else:
                    self._budget.line.append(place)
        except BaseException:
            self.leave(place)
            raise
        return place

    def enter(self, place: Place, record: Record) -> None:
        """
        Admit *record* into the room that was reserved for *place*.

        Raises:
            ExporterError: The queue was closed meanwhile; nothing is counted.
        """
        with self.lock:
            if place.has_room:
                self._budget.release(place)
            self.check_open(place)
            due = self._append(record)
        self._ring(due)

    @waking
    def leave(self, place: Place) -> None:
        """
        Give up a place in the line, or the room that was reserved for it. May be repeated.
        """
        with self.lock:
            if place.has_room:
                self._budget.release(place)
            elif place in self._budget.line:
                self._budget.line.remove(place)
            admitted = self.overflow.admit_line()
        wake(admitted)

    def refuse(self, reason: DropReason, count: int = 1) -> None:
        """
        Count events that never became records here.
        """
        with self.lock:
            self.ledger.refuse(reason, count)

    def load(self, records: Sequence[Record]) -> list[Record]:
        """
        Admit records from disk, as far as there is room that nobody waits for.

        Returns:
            Those that were admitted.
        """
        with self.lock:
            load = self.overflow.load
            admitted, due = ([], None) if self.closed else self.overflow.alone(load, records)
        self._ring(due)
        return admitted

    def recover(self, count: int) -> None:
        """
        Count records that were found on disk.
        """
        with self.lock:
            self.overflow.alone(self.ledger.recover, count)

    @waking
    def lose(self, seqs: Sequence[int], reason: DropReason, lost: Sequence[Subject] = ()) -> None:
        """
        Count records that are dropped on disk.

        Args:
            seqs: Their places in the order.
            lost: Which they are; nothing if that is not known.
        """
        with self.lock:
            done = self.overflow.alone(self.overflow.lose, seqs, reason, lost)
        wake(done)

    def bypass(self, record: Record) -> None:
        """
        Count *record* as pushed and in flight: it goes out by itself, at once.

        Raises:
            ExporterError: The queue is closed.
        """
        with self.lock:
            self.check_open()
            self.ledger.enter_in_flight(record)

    # Flush and close.

    def check_open(self, place: Place | None = None) -> None:
        """
        Raise ExporterError if the queue is closed, or was while *place* waited.
        """
        if self.closed or (place is not None and place.is_refused):
            raise ExporterError("the exporter is closed; start() reopens it")

    def watch(self, wake: Callable[[], None]) -> Watch:
        """
        Watch all records without an outcome; *wake* is called without the lock.
        """
        with self.lock:
            watch = self.ledger.watch(wake)
        return watch  # noqa: RET504 - as above

    def unwatch(self, watch: Watch) -> None:
        with self.lock:
            watch.end()

    @waking
    def close(self) -> None:
        """
        Admit no more; those who wait for room are woken to find it closed.
        """
        with self.lock:
            self.closed = True
            refused = tuple(self._budget.line)
            for place in refused:
                place.is_refused = True
            self._budget.line.clear()
        wake(refused)

    @waking
    def drain(self, reason: DropReason) -> list[Record]:
        """
        Spool all that is queued and not pulled, and drop what can't be.

        Returns:
            The dropped records.
        """
        woken: list[Woken] = []
        with self.lock:
            dropped = self.overflow.alone(self.overflow.drain, reason, woken)
            woken += self.overflow.admit_line()
        wake(woken)
        return dropped

    @property
    def oldest_pushed_at(self) -> float:
        """
        When the oldest record in memory was pushed, inf without one.
        """
        with self.lock:
            ledger = self.ledger
            records = [*tuple(ledger.waiting)[:1], *ledger.pulled, *ledger.flying]
        return min([record.pushed_at for record in records], default=inf)

    @property
    def kept(self) -> int:
        """
        How many records have no outcome.
        """
        with self.lock:
            return self.ledger.queued + self.ledger.in_flight + self.ledger.spooled

    @property
    def has_open_records(self) -> bool:
        """
        Whether any record has no outcome.
        """
        return bool(self.kept)

    @property
    def has_records(self) -> bool:
        """
        Whether any of those is in memory.
        """
        with self.lock:
            return bool(self.ledger.queued or self.ledger.in_flight)

    # Within.

    def _append(self, record: Record) -> Due | None:
        due = self.ledger.enter(record)
        if self.keep is not None and record.spot is None:
            self.keep(record)
        return due

    def _ring(self, due: Due | None) -> None:
        if due is not None:
            self.on_due()
            with self.lock:
                self.ledger.note_rung(due)  # not before: who is interrupted leaves it to others
