"""
The bounded queue between push and the worker.

Shares one lock with the ledger; nobody encodes, awaits or calls user code under
it. The lock is reentrant, for signal handlers and finalisers that push. What a
delivery holds is room that push does not have.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from operator import attrgetter
from threading import RLock

from attrs import Factory, define, field

from hh_exporter._budget import Budget, Place, QueueLimits, size_of
from hh_exporter._ledger import Ledger, Watch
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import Loss, Record, Session, total_bytes
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
    _records: deque[Record] = Factory(deque)
    _record_bytes: int = 0
    _budget: Budget = field(init=False)
    _is_moving: bool = False
    _due_events: float = inf
    _due_bytes: float = inf

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
        done: Sequence[Watch] = ()
        admitted: Sequence[Place] = ()
        with self.lock:
            if self.closed:
                self.ledger.refuse(DropReason.CLOSED)
                return Loss(DropReason.CLOSED, (record,))
            # As `size_of` has it: most have no session to announce.
            size = len(record.data) if record.session is None else size_of(record)
            fits = self._budget.has_room(size)
            if self._budget.line or not fits:
                lost, done = self._evict(record)
                fits = bool(lost) and self._budget.has_room(size_of(record))
                if not fits:
                    self.ledger.refuse(DropReason.QUEUE_FULL)
                    lost.append(record)
                loss = Loss(DropReason.QUEUE_FULL, tuple(lost))
            due = fits and self._append(record)
            if loss is not None:
                admitted = self._admit_line()
        if loss is not None:
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
            self._due_events, self._due_bytes = events, size
            return self._is_due()

    def pull(self, limit: int) -> list[Record]:
        """
        Remove up to *limit* records from the head; they still count as queued.
        """
        with self.lock, self._moving():
            records = [self._records.popleft() for _ in range(min(limit, len(self._records)))]
            size = total_bytes(records)  # first: a handler may push while it is summed
            self._record_bytes -= size
        return records

    def unpull(self, records: Sequence[Record]) -> None:
        """
        Put pulled records back at the head.
        """
        with self.lock:
            self._push_left(records)

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
            self._push_left(records)

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

    def count_request(self, *, retry: bool) -> None:
        with self.lock:
            self.ledger.requests += 1
            self.ledger.retries += retry

    # Flush and close.

    def check_open(self, place: Place | None = None) -> None:
        """
        Raise ExporterError if the queue is closed, or was while *place* waited.
        """
        if self.closed or (place is not None and place.is_refused):
            raise ExporterError("the exporter is closed; start() opens it again")

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
        Drop all that is queued and not pulled.

        Returns:
            The dropped records.
        """
        with self.lock:
            records = self.pull(len(self._records))
            done = self._drop(records, reason) if records else []
            admitted = self._admit_line()
        _tell(done, admitted)
        return records

    @property
    def oldest(self) -> Record | None:
        with self.lock:
            return self._records[0] if self._records else None

    @property
    def has_open_records(self) -> bool:
        """
        Whether any record has no outcome.
        """
        with self.lock:
            return bool(self.ledger.queued or self.ledger.in_flight)

    # Under the lock.

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """
        Move records or places: a push that interrupts this, from a signal handler
        or a finaliser, may append, but finds the queue full rather than move more.
        """
        self._is_moving = True
        try:
            yield
        finally:
            self._is_moving = False

    def _append(self, record: Record) -> bool:
        self._records.append(record)
        size = len(record.data)
        self._record_bytes += size
        self.ledger.enter(record)
        return self._is_due()

    def _push_left(self, records: Sequence[Record]) -> None:
        order = attrgetter("seq")
        back = list(records)
        last = max(map(order, records), default=0)
        with self._moving():
            while self._records and self._records[0].seq < last:
                back.append(self._records.popleft())
            self._records.extendleft(sorted(back, key=order, reverse=True))
        size = total_bytes(records)
        self._record_bytes += size

    def _is_due(self) -> bool:
        if len(self._records) < self._due_events and self._record_bytes < self._due_bytes:
            return False
        self._due_events = self._due_bytes = inf  # rung once; the worker asks again
        return True

    def _evict(self, newcomer: Record) -> tuple[list[Record], list[Watch]]:
        """
        Drop the oldest records until *newcomer* fits, or none if it would not.

        Returns:
            The dropped records, and the watches that are complete with this.
        """
        limits, budget = self.limits, self._budget
        # Who overtakes may not take what the line waits for.
        most = min(limits.max_bytes, budget.bytes) if budget.line else limits.max_bytes
        kept = budget.events - len(self._records)
        excess = budget.bytes + size_of(newcomer) - most
        evicted: list[Record] = []
        done: list[Watch] = []
        is_in_vain = kept >= limits.max_events or (
            excess > self._record_bytes and excess > self._droppable_bytes(newcomer.session)
        )
        if limits.overflow == "drop_newest" or is_in_vain or self._is_moving:
            return evicted, done
        with self._moving():
            while self._records and not (
                evicted
                and budget.has_room(size := size_of(newcomer))
                and (not budget.line or budget.bytes + size <= most)
            ):
                record = self._records.popleft()
                self._record_bytes -= len(record.data)
                evicted.append(record)
                done += self._drop((record,), DropReason.QUEUE_FULL)
        return evicted, done

    def _droppable_bytes(self, kept: Session | None) -> int:
        """
        Say what dropping all that is queued would free, but for the session *kept*.
        """
        queued = Counter(record.session for record in tuple(self._records))
        del queued[None], queued[kept]
        return self._record_bytes + sum(
            len(session.data) for session, n in queued.items() if session and n == session.holders
        )

    def _drop(self, records: Sequence[Record], reason: DropReason) -> list[Watch]:
        self.ledger.take(records)
        return self.ledger.settle(records, Outcome.DROPPED, reason)

    def _admit_line(self) -> list[Place]:
        if self._is_moving or not self._budget.line:
            return []
        with self._moving():
            return self._budget.admit()


def _tell(watches: Iterable[Watch], places: Iterable[Place]) -> None:
    for watch in watches:
        watch.on_done()
    for place in places:
        place.wake()
