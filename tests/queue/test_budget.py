"""
A session that is to be announced costs its bytes once, while any of its records is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hh_exporter import DropReason, Outcome, QueueLimits
from hh_exporter._queue.budget import Place
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Loss, Record, Session
from tests.builders import make_record


def make_queue(max_bytes: int = 100, max_events: int = 100) -> RecordQueue:
    return RecordQueue(QueueLimits(max_events=max_events, max_bytes=max_bytes))


def make_session(size: int, name: str = "session") -> Session:
    return Session(name, b"," * size)


def fill(queue: RecordQueue, *records: Record) -> None:
    assert [queue.offer(record) for record in records] == [None] * len(records)


def test_a_session_is_counted_once() -> None:
    """
    Its first record brings its bytes, and the last that has an outcome takes them away.
    """
    queue = make_queue()
    session = make_session(30)
    first, second = (make_record(name, 10, session=session) for name in "ab")

    assert queue._budget.size_of(first) == 40
    fill(queue, first)
    assert queue._budget.size_of(second) == 10
    fill(queue, second)
    assert queue.ledger.session_bytes == 30
    queue.take(queue.pull(2))
    queue.settle([first], Outcome.REJECTED)
    assert queue.ledger.session_bytes == 30
    queue.settle([second], Outcome.DELIVERED)
    assert queue.ledger.session_bytes == 0


@pytest.mark.parametrize(("max_bytes", "fits"), [(60, True), (59, False)])
def test_the_budget_is_exact_with_sessions(max_bytes: int, fits: bool) -> None:
    """
    Two records and the one session of both just fit.
    """
    queue = RecordQueue(QueueLimits(max_bytes=max_bytes, overflow="drop_newest"))
    session = make_session(40)
    fill(queue, make_record("a", 10, session=session))

    assert (queue.offer(make_record("b", 10, session=session)) is None) == fits


def test_an_eviction_frees_what_its_session_had() -> None:
    """
    No more is dropped than is needed, the bytes of sessions counted.
    """
    queue = make_queue(100)
    first = make_record("first", 10, session=make_session(60))
    second = make_record("second", 10)
    fill(queue, first, second)
    large = make_record("large", 80)

    assert queue.offer(large) == Loss(DropReason.QUEUE_FULL, (first,))
    assert queue.pull(5) == [second, large]
    assert queue.ledger.session_bytes == 0


@pytest.mark.parametrize("flying", [True, False])
def test_nothing_is_dropped_in_vain_for_a_session(flying: bool) -> None:
    """
    What a delivery holds of a session is not freed by dropping the others of it.
    """
    queue = make_queue(100)
    session = make_session(60)
    records = [make_record(name, 10, session=session) for name in "ab"]
    fill(queue, *records)
    if flying:
        queue.take(queue.pull(1))
    large = make_record("large", 50)

    loss = queue.offer(large)

    assert loss == Loss(DropReason.QUEUE_FULL, (large,) if flying else tuple(records))


def test_a_newcomer_keeps_its_own_session() -> None:
    """
    Dropping the others of its session frees their bytes alone.
    """
    queue = make_queue(100)
    session = make_session(60)
    first, second = (make_record(name, 20, session=session) for name in "ab")
    fill(queue, first, second)
    fitting, large = (make_record(f"{n}", n, session=session) for n in (40, 41))

    assert queue.offer(large) == Loss(DropReason.QUEUE_FULL, (large,))
    assert queue.offer(fitting) == Loss(DropReason.QUEUE_FULL, (first, second))
    assert queue.ledger.session_bytes == 60


def test_room_is_reserved_for_a_session_too() -> None:
    """
    Who holds it now may have left it by the time that a put enters.
    """
    queue = make_queue(100)
    session = make_session(60)
    held = make_record("held", 10, session=session)
    fill(queue, held)
    queue.take(queue.pull(1))
    waits = make_record("waits", 20, session=session)
    place = queue.line_up(waits, lambda: None)
    assert (place.size, place.has_room) == (80, False)

    queue.settle([held], Outcome.DELIVERED)
    assert place.has_room
    assert queue.offer(make_record("other", 21)) is not None
    queue.enter(place, waits)

    assert queue.ledger.session_bytes == 60


class BudgetMachine(RuleBasedStateMachine):
    """
    Whatever becomes of its records in whatever order, a session is counted while one is there.
    """

    MAX_EVENTS, MAX_BYTES = 6, 100

    def __init__(self) -> None:
        super().__init__()
        self.queue = make_queue(self.MAX_BYTES, self.MAX_EVENTS)
        self.sessions = [make_session(size, f"{size}") for size in (1, 30, 70)]
        self.queued: list[Record] = []
        self.pulled: list[Record] = []
        self.flying: list[Record] = []
        self.places: list[tuple[Place, Record]] = []

    def make(self, size: int, session: int | None) -> Record:
        return make_record(size=size, session=None if session is None else self.sessions[session])

    def measure(self, *more: Record) -> int:
        """
        Say how many bytes all that is in memory and *more* have.
        """
        held = [*self.queued, *self.pulled, *self.flying, *more]
        sessions = {record.session for record in held if record.session is not None}
        reserved = sum(place.size for place, _ in self.places if place.has_room)
        return sum(len(r.data) for r in held) + sum(len(s.data) for s in sessions) + reserved

    def count(self) -> int:
        held = (*self.queued, *self.pulled, *self.flying)
        return len(held) + sum(place.has_room for place, _ in self.places)

    def could_enter(self, record: Record) -> bool:
        return self.count() < self.MAX_EVENTS and self.measure(record) <= self.MAX_BYTES

    def drop(self, records: Iterable[Record]) -> None:
        for record in records:
            assert record is self.queued.pop(0)

    @rule(size=st.integers(1, 50), session=st.none() | st.integers(0, 2))
    def push(self, size: int, session: int | None) -> None:
        record = self.make(size, session)
        is_first_in_line = not any(not place.has_room for place, _ in self.places)
        could = is_first_in_line and self.could_enter(record)
        before, queued = self.measure(), list(self.queued)
        loss = self.queue.offer(record)
        lost = [] if loss is None else list(loss.records)
        assert (loss is None) == could
        if lost[-1:] != [record]:
            self.drop(lost[:-1])
            last = [self.queued.pop(0)] if lost else []
            assert last == lost[-1:]
            if last:  # without it there was no room
                assert not could
                if is_first_in_line:
                    self.queued.insert(0, last[0])
                    assert not self.could_enter(record)
                    self.queued.pop(0)
            self.queued.append(record)
            return
        assert lost == [record]
        kept, self.queued = self.queued, []
        most = self.MAX_BYTES if is_first_in_line else min(self.MAX_BYTES, before)
        assert not queued or not (self.could_enter(record) and self.measure(record) <= most)
        self.queued = kept

    @rule(size=st.integers(1, 30), session=st.none() | st.integers(0, 2))
    def line_up(self, size: int, session: int | None) -> None:
        record = self.make(size, session)
        self.places.append((self.queue.line_up(record, lambda: None), record))

    @precondition(lambda self: self.places)
    @rule(enters=st.booleans())
    def end_place(self, enters: bool) -> None:
        place, record = self.places.pop(0)
        if place.has_room and enters:
            self.queue.enter(place, record)
            self.queued.append(record)
        else:
            self.queue.leave(place)

    @rule(n=st.integers(1, 3))
    def pull(self, n: int) -> None:
        records = self.queue.pull(n)
        self.drop(records)
        self.pulled += records

    @rule()
    def unpull(self) -> None:
        self.queue.put_back(self.pulled)
        self.queued = sorted(self.pulled + self.queued, key=lambda record: record.seq)
        self.pulled = []

    @rule()
    def take(self) -> None:
        self.queue.take(self.pulled)
        self.flying += self.pulled
        self.pulled = []

    @rule(n=st.integers(1, 3))
    def give_back(self, n: int) -> None:
        records, self.flying = self.flying[:n], self.flying[n:]
        self.queue.put_back(records)
        self.queued = sorted(records + self.queued, key=lambda record: record.seq)

    @rule(n=st.integers(1, 3), outcome=st.sampled_from([Outcome.DELIVERED, Outcome.REJECTED]))
    def settle(self, n: int, outcome: Outcome) -> None:
        records, self.flying = self.flying[:n], self.flying[n:]
        self.queue.settle(records, outcome)

    @rule()
    def drain(self) -> None:
        self.drop(self.queue.drain(DropReason.CLOSED))

    @invariant()
    def what_is_in_memory_is_counted(self) -> None:
        held = (*self.queued, *self.pulled, *self.flying)
        sessions = {record.session for record in held if record.session is not None}
        assert self.queue.ledger.session_bytes == sum(len(s.data) for s in sessions)
        assert self.queue._budget.bytes == self.measure() <= self.MAX_BYTES
        assert self.queue._budget.events == self.count() <= self.MAX_EVENTS
        assert self.queue.ledger.waiting_bytes == sum(len(record.data) for record in self.queued)
        assert list(self.queue.ledger.waiting) == self.queued

    @invariant()
    def has_room_is_exact(self) -> None:
        free = self.MAX_BYTES - self.measure()
        is_open = self.count() < self.MAX_EVENTS
        assert self.queue._budget.has_room(free) == is_open
        assert not self.queue._budget.has_room(free + 1)


BudgetMachine.TestCase.settings = settings(deadline=None, max_examples=50, stateful_step_count=25)
TestBudget = BudgetMachine.TestCase
