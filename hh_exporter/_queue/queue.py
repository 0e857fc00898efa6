"""
The bounded queue between push and the worker.

Shares one lock with the ledger; nobody encodes, awaits or calls user code under
it. The lock is reentrant, for signal handlers and finalisers that push. What a
delivery holds is room that push does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import RLock

from attrs import Factory, define, field

from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._queue.backlog import Backlog
from hh_exporter._queue.budget import Budget, Place, size_of
from hh_exporter._queue.ledger import Ledger, Watch
from hh_exporter._records import Loss, Record
from hh_exporter._settings.queue import QueueLimits
from hh_exporter.exceptions import ExporterError

__all__ = ["RecordQueue"]


@define(eq=False)
class RecordQueue:
    """
    Records on their way to the worker, in order of admission.
    """

    limits: QueueLimits
    lock: RLock = Factory(RLock)
    ledger: Ledger = Factory(Ledger)
    closed: bool = False
    on_due: Callable[[], None] = lambda: None
    """Called, without the lock, when as much is queued as the worker waits for."""
    spool: Callable[[Record], bool] = lambda _: False
    """Has a record that leaves memory wait on disk; says whether it can. Never waits itself."""
    keep: Callable[[Record], object] | None = None
    """Has a record on disk, too, while it is in memory. Never waits itself."""
    _backlog: Backlog = Factory(Backlog)
    _budget: Budget = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._budget = Budget(self.limits, self.ledger)

    # Ways in.

    def offer(self, record: Record) -> Loss | None:
        """
        Admit *record*, by the overflow policy if there is no room.

        Returns:
            What was dropped, perhaps *record* itself; None if nothing was.
        """
        loss: Loss | None = None
        done: list[Watch] = []
        admitted: Sequence[Place] = ()
        with self.lock:
            if self.closed:
                self.ledger.refuse(DropReason.CLOSED)
                return Loss(DropReason.CLOSED, (record,))
            # As `size_of` has it: most have no session to announce.
            size = len(record.data) if record.session is None else size_of(record)
            is_easy = fits = self._budget.has_room(size) and not self._budget.line
            if not is_easy:
                lost, done, fits = self._make_room(record)
                if not fits:
                    self.ledger.enter(record)
                    done += self._displace(record, lost)
                if lost:
                    loss = Loss(DropReason.QUEUE_FULL, tuple(lost))
            due = fits and self._append(record)
            if not is_easy:
                admitted = self._admit_line()
        if not is_easy:
            _tell(done, admitted)
        if due:
            self.on_due()
        return loss

    def line_up(self, record: Record, wake: Callable[[], None]) -> Place:
        """
        Take a place in the line for room for *record*, ahead of all later pushes.

        Follow with `enter` once there is room, else with `leave`.

        Raises:
            ExporterError: The queue is closed.
        """
        session = record.session
        # All that it may add by then: who holds its session now may have left it.
        size = len(record.data) + (0 if session is None else len(session.data))
        place = Place(size, wake)
        with self.lock:
            self.check_open()
            if not self._budget.line and self._budget.has_room(size):
                self._budget.reserve(place)
            else:
                self._budget.line.append(place)
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
        if due:
            self.on_due()

    def leave(self, place: Place) -> None:
        """
        Give up a place in the line, or the room that was reserved for it.
        """
        with self.lock:
            if place.has_room:
                self._budget.release(place)
            elif place in self._budget.line:
                self._budget.line.remove(place)
            admitted = self._admit_line()
        _tell((), admitted)

    def refuse(self, reason: DropReason) -> None:
        """
        Count an event that never became a record here.
        """
        with self.lock:
            self.ledger.refuse(reason)

    def load(self, records: Sequence[Record]) -> list[Record]:
        """
        Admit records from disk, as far as there is room that nobody waits for.

        Returns:
            Those that were admitted.
        """
        admitted: list[Record] = []
        due = False
        with self.lock:
            for record in records:
                if self.closed or self._budget.line or not self._budget.has_room(size_of(record)):
                    break
                self.ledger.load(record)
                due |= self._backlog.append(record)
                admitted.append(record)
        if due:
            self.on_due()
        return admitted

    def recover(self, count: int) -> None:
        """
        Count records that were found on disk.
        """
        with self.lock:
            self.ledger.recover(count)

    def lose(self, seqs: Sequence[int], reason: DropReason) -> None:
        """
        Count records that are dropped on disk; *seqs* are their places in the order.
        """
        with self.lock:
            done = self.ledger.lose(seqs, reason)
        _tell(done, ())

    def keep_queued(self) -> None:
        """
        Have all that is queued on disk, too, if that is asked for. Under the lock.
        """
        for record in tuple(self._backlog.records):
            if self.keep is not None and record.spot is None:
                self.keep(record)

    def bypass(self, record: Record) -> None:
        """
        Count *record* as pushed and in flight: it goes out by itself, at once.

        Raises:
            ExporterError: The queue is closed.
        """
        with self.lock:
            self.check_open()
            self.ledger.enter_in_flight(record)

    # The worker's side.

    def wake_at(self, events: float, size: float) -> bool:
        """
        Have `on_due` called once, when *events* or *size* bytes wait to be pulled.

        Returns:
            Whether that is so now; then it is not called.
        """
        with self.lock:
            return self._backlog.wake_at(events, size)

    def pull(self, limit: int) -> list[Record]:
        """
        Remove up to *limit* records from the head; they still count as queued.
        """
        with self.lock:
            return self._backlog.pull(limit)

    def unpull(self, records: Sequence[Record]) -> None:
        """
        Put pulled records back at the head.
        """
        with self.lock:
            self._backlog.put_back(records)

    def take(self, records: Sequence[Record]) -> None:
        """
        Count pulled records as in flight.
        """
        with self.lock:
            self.ledger.take(records)

    def untake(self, records: Sequence[Record]) -> None:
        """
        Count records in flight as pulled again.
        """
        with self.lock:
            self.ledger.give_back(records)

    def give_back(self, records: Sequence[Record]) -> None:
        """
        Put records in flight back at the head.
        """
        with self.lock:
            self.ledger.give_back(records)
            self._backlog.put_back(records)

    def part_with(self, records: Sequence[Record]) -> list[Record]:
        """
        Have pulled records wait on disk; returns those for which there is no room.
        """
        with self.lock:
            left = [record for record in records if not self._leave(record)]
            admitted = self._admit_line()
        _tell((), admitted)
        return left

    def settle(
        self, records: Sequence[Record], outcome: Outcome, reason: DropReason | None = None
    ) -> None:
        """
        Count the outcome of records in flight; their room goes to those who wait.
        """
        with self.lock:
            done = self.ledger.settle(records, outcome, reason)
            admitted = self._admit_line()
        _tell(done, admitted)

    # Flush and close.

    def check_open(self, place: Place | None = None) -> None:
        """
        Raise ExporterError if the queue is closed, or was while *place* waited.
        """
        if self.closed or (place is not None and place.is_refused):
            raise ExporterError("the exporter is closed; start() reopens it")

    def watch(self, on_done: Callable[[], None]) -> Watch:
        """
        Watch all records without an outcome; *on_done* is called without the lock.
        """
        with self.lock:
            return self.ledger.watch(on_done)

    def unwatch(self, watch: Watch) -> None:
        with self.lock:
            self.ledger.unwatch(watch)

    def close(self) -> None:
        """
        Admit no more; those who wait for room are woken to find it closed.
        """
        with self.lock:
            self.closed = True
            waiting = list(self._budget.line)
            self._budget.line.clear()
            for place in waiting:
                place.is_refused = True
        _tell((), waiting)

    def drain(self, reason: DropReason) -> list[Record]:
        """
        Spool all that is queued and not pulled, and drop what can't be.

        Returns:
            The dropped records.
        """
        with self.lock:
            dropped: list[Record] = []
            done: list[Watch] = []
            for record in self.pull(len(self._backlog.records)):
                done += self._displace(record, dropped, reason)
            admitted = self._admit_line()
        _tell(done, admitted)
        return dropped

    @property
    def oldest(self) -> Record | None:
        with self.lock:
            return self._backlog.records[0] if self._backlog.records else None

    @property
    def has_open_records(self) -> bool:
        """
        Whether any record has no outcome.
        """
        with self.lock:
            return bool(self.ledger.spooled) or self.has_records

    @property
    def has_records(self) -> bool:
        """
        Whether any of those is in memory.
        """
        with self.lock:
            return bool(self.ledger.queued or self.ledger.in_flight)

    # Under the lock.

    def _append(self, record: Record) -> bool:
        self.ledger.enter(record)  # first: whoever interrupts must not drop what has no number
        due = self._backlog.append(record)
        if self.keep is not None and record.spot is None:
            self.keep(record)
        return due

    def _make_room(self, newcomer: Record) -> tuple[list[Record], list[Watch], bool]:
        """
        Displace the oldest records until *newcomer* fits, or none if it would not.

        Returns:
            The dropped records, the watches that are complete with this, and whether
            *newcomer* fits.
        """
        limits, budget, backlog = self.limits, self._budget, self._backlog
        # Who overtakes may not take what the line waits for.
        most = min(limits.max_bytes, budget.bytes) if budget.line else limits.max_bytes
        kept = budget.events - len(backlog.records)
        excess = budget.bytes + size_of(newcomer) - most
        dropped: list[Record] = []
        done: list[Watch] = []
        fits = False
        is_in_vain = kept >= limits.max_events or (
            excess > backlog.size and excess > backlog.measure(newcomer.session)
        )
        if limits.overflow == "drop_newest" or is_in_vain or backlog.is_moving:
            return dropped, done, fits
        with backlog.moving():
            while backlog.records and not fits:
                done += self._displace(backlog.pop(), dropped)
                size = size_of(newcomer)
                fits = budget.has_room(size) and (not budget.line or budget.bytes + size <= most)
        return dropped, done, fits

    def _displace(
        self, record: Record, dropped: list[Record], reason: DropReason = DropReason.QUEUE_FULL
    ) -> Sequence[Watch]:
        """
        Have a record that leaves the queue wait on disk, or drop it if it can't.

        Returns:
            The watches that are complete with this.
        """
        if self._leave(record):
            return ()
        dropped.append(record)
        self.ledger.take((record,))
        return self.ledger.settle((record,), Outcome.DROPPED, reason)

    def _leave(self, record: Record) -> bool:
        is_taken = self.spool(record)
        if is_taken:
            self.ledger.spool(record)
        return is_taken

    def _admit_line(self) -> list[Place]:
        if self._backlog.is_moving or not self._budget.line:
            return []
        with self._backlog.moving():
            return self._budget.admit()


def _tell(watches: Iterable[Watch], places: Iterable[Place]) -> None:
    for watch in watches:
        watch.on_done()
    for place in places:
        place.wake()
