"""
The bounded queue: order, budget, overflow, and the line of those who wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hh_exporter import ConfigError, DropReason, ExporterError, FlushResult, Outcome, QueueLimits
from hh_exporter._queue.budget import Place
from hh_exporter._queue.packing import Job
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Loss, Record, Session
from tests.builders import make_record


def make_queue(max_events: int = 100, max_bytes: int = 10_000, **limits: Any) -> RecordQueue:
    return RecordQueue(QueueLimits(max_events=max_events, max_bytes=max_bytes, **limits))


def fill(queue: RecordQueue, *sizes: int) -> list[Record]:
    """
    Offer one record of each size; all must fit.
    """
    records = [make_record(f"filler {n}", size) for n, size in enumerate(sizes)]
    assert [queue.offer(record) for record in records] == [None] * len(records)
    return records


def fly(queue: RecordQueue, *sizes: int) -> list[Record]:
    """
    Put one record of each size in flight.
    """
    fill(queue, *sizes)
    records = queue.pull(len(sizes))
    queue.take(records)
    return records


def lost(*records: Record) -> Loss:
    return Loss(DropReason.QUEUE_FULL, records)


def ids(records: Iterable[Record]) -> list[str]:
    return [record.event_id for record in records]


# Order.


def test_first_in_first_out() -> None:
    """
    Records leave in the order of admission, as many as asked for.
    """
    queue = make_queue()
    records = fill(queue, 10, 20, 30)

    assert queue.pull(2) == records[:2]
    assert queue.pull(5) == records[2:]
    assert queue.pull(5) == []
    assert [r.seq for r in records] == sorted({r.seq for r in records})


def test_what_is_put_back_comes_first_in_its_order() -> None:
    """
    Neither pulled records nor those of a delivery lose their place.
    """
    queue = make_queue()
    records = fill(queue, *[10] * 6)
    flown, pulled = queue.pull(2), queue.pull(2)
    queue.take(flown)

    queue.put_back(flown)
    queue.put_back(pulled)

    assert (queue.ledger.queued, queue.ledger.in_flight) == (6, 0)
    assert queue.pull(10) == records


# Budget.


@pytest.mark.parametrize("limits", [{"max_events": 3}, {"max_bytes": 30}], ids=str)
def test_the_budget_is_exact(limits: dict[str, int]) -> None:
    """
    What just fits is taken, by count and by bytes, and one more is not.
    """
    queue = make_queue(**limits, overflow="drop_newest")
    fill(queue, 10, 10, 10)

    record = make_record("new", 10)

    assert queue.offer(record) == lost(record)
    assert (queue.ledger.queued, queue.ledger.queued_bytes) == (3, 30)
    assert queue.ledger.dropped == {DropReason.QUEUE_FULL: 1}


def test_what_is_in_flight_is_in_the_budget() -> None:
    """
    A record gives up its room when it has its outcome, not when it is taken.
    """
    queue = make_queue(max_events=2, overflow="drop_newest")
    records = fill(queue, 10, 10)

    queue.take(queue.pull(1))
    assert queue.offer(make_record()) is not None
    queue.settle(records[:1], Outcome.DELIVERED)
    assert queue.offer(make_record()) is None


def test_reserved_room_is_in_the_budget() -> None:
    """
    A push cannot take the room that was reserved for somebody.
    """
    queue = make_queue(max_events=1, overflow="drop_newest")
    place = queue.line_up(make_record(), lambda: None)

    assert place.has_room
    assert queue.offer(make_record()) is not None
    queue.enter(place, make_record("waited", 10))
    assert ids(queue.pull(5)) == ["waited"]


def test_one_event_past_the_queue_needs_no_room() -> None:
    """
    It counts as pushed and in flight at once, and is in the budget of others.
    """
    queue = make_queue(max_events=1, overflow="drop_newest")

    queue.bypass(make_record("past", 10))

    assert (queue.ledger.pushed, queue.ledger.in_flight) == (1, 1)
    assert queue.offer(make_record()) is not None
    assert queue.pull(5) == []


# Overflow.


def test_drop_oldest_drops_the_oldest() -> None:
    """
    The new record takes the place of the one that was there longest.
    """
    queue = make_queue(max_events=2)
    first, second = fill(queue, 10, 10)
    third = make_record("third")

    assert queue.offer(third) == lost(first)
    assert queue.pull(5) == [second, third]
    assert queue.ledger.dropped == {DropReason.QUEUE_FULL: 1}


def test_a_large_record_takes_the_place_of_several() -> None:
    """
    As many of the oldest go as are needed, and no more.
    """
    queue = make_queue(max_bytes=100)
    records = fill(queue, 30, 30, 30)
    large = make_record("large", 70)

    assert queue.offer(large) == lost(*records[:2])
    assert queue.pull(5) == [records[2], large]


def test_what_was_pulled_is_not_dropped() -> None:
    """
    Neither an open batch nor a delivery loses a record to a push.
    """
    queue = make_queue(max_events=3)
    flown, pulled, waiting = fill(queue, 10, 10, 10)
    queue.take(queue.pull(1))
    queue.pull(1)

    assert queue.offer(make_record("new")) == lost(waiting)
    queue.pull(1)
    newest = make_record("newest")
    assert queue.offer(newest) == lost(newest)
    queue.put_back([pulled])
    queue.put_back([flown])
    assert queue.ledger.queued == 3


@pytest.mark.parametrize("size", [81, 101, 1000])
def test_nothing_is_dropped_in_vain(size: int) -> None:
    """
    Where even an empty queue would have no room, the new record goes alone.
    """
    queue = make_queue(max_bytes=100)
    fly(queue, 20)
    kept = fill(queue, 40, 40)
    large = make_record("large", size)

    assert queue.offer(large) == lost(large)
    assert queue.pull(5) == kept


def test_nothing_is_dropped_in_vain_by_count() -> None:
    """
    Nor where what was sent past the queue is above the budget already.
    """
    queue = make_queue(max_events=2)
    kept = fill(queue, 10, 10)
    for name in ("a", "b"):
        queue.bypass(make_record(name))
    record = make_record("new")

    assert queue.offer(record) == lost(record)
    assert queue.pull(5) == kept


def test_a_closed_queue_takes_nothing() -> None:
    """
    A push then is counted as `closed`; all else raises and is not counted.
    """
    queue = make_queue()
    place = queue.line_up(make_record(), lambda: None)
    queue.close()
    record = make_record()

    assert queue.offer(record) == Loss(DropReason.CLOSED, (record,))
    with pytest.raises(ExporterError, match="closed"):
        queue.line_up(make_record(), lambda: None)
    with pytest.raises(ExporterError, match="closed"):
        queue.enter(place, record)
    with pytest.raises(ExporterError, match="closed"):
        queue.bypass(record)
    assert (queue.ledger.pushed, queue.ledger.dropped) == (1, {DropReason.CLOSED: 1})

    queue.closed = False
    assert queue.offer(record) is None


# The line of those who wait for room.


class Line:
    """
    Waiters in line for a queue, and the order in which they were woken.
    """

    def __init__(self, queue: RecordQueue, **sizes: int) -> None:
        self.woken: list[str] = []
        self.places = {
            name: queue.line_up(make_record(size=size), partial(self.woken.append, name))
            for name, size in sizes.items()
        }

    def __getitem__(self, name: str) -> Place:
        return self.places[name]


def test_first_come_first_served() -> None:
    """
    Room goes to the one who waits longest, once for each.
    """
    queue = make_queue(max_events=2)
    records = fly(queue, 10, 10)
    line = Line(queue, a=10, b=10, c=10)

    assert not any(place.has_room for place in line.places.values())
    queue.settle(records[:1], Outcome.DELIVERED)
    assert line.woken == ["a"]
    queue.settle(records[1:], Outcome.REJECTED)
    assert line.woken == ["a", "b"]
    assert [place.has_room for place in line.places.values()] == [True, True, False]


def test_a_large_waiter_is_not_overtaken() -> None:
    """
    A small one behind it waits too, although it would fit.
    """
    queue = make_queue(max_bytes=100)
    records = fly(queue, 40, 40)
    line = Line(queue, large=80, small=10)

    queue.settle(records[:1], Outcome.DELIVERED)
    assert line.woken == []
    queue.settle(records[1:], Outcome.DELIVERED)
    assert line.woken == ["large", "small"]


def test_those_who_wait_are_ahead_of_push() -> None:
    """
    While somebody waits a push gets no free room, even where there is some.
    """
    queue = make_queue(max_bytes=100, overflow="drop_newest")
    fly(queue, 50)
    Line(queue, large=80)

    assert queue.offer(make_record()) is not None


def test_a_push_that_overtakes_takes_no_room_from_the_line() -> None:
    """
    While somebody waits, the room for a pushed record is that of what it drops.
    """
    queue = make_queue(max_bytes=100)
    fill(queue, 10, 10, 10, 10)
    Line(queue, large=80)

    queue.offer(make_record("new", 30))

    assert queue.ledger.queued_bytes <= 40


def test_a_push_that_overtakes_drops_no_more_than_it_needs() -> None:
    """
    With somebody in line it takes the place of as many bytes as it has, to the byte.
    """
    queue = make_queue(max_bytes=30)
    records = fill(queue, 10, 10, 10)
    queue.line_up(make_record(size=25), lambda: None)

    loss = queue.offer(make_record("new", 10))

    assert loss == Loss(DropReason.QUEUE_FULL, tuple(records[:1]))
    assert ids(queue.pull(5)) == [*(record.event_id for record in records[1:]), "new"]


def test_what_a_session_has_to_announce_can_be_dropped() -> None:
    """
    Its bytes are free once its last record is dropped, and count as such beforehand.
    """
    queue = make_queue(max_bytes=30)
    held = make_record("held", 10, session=Session("session", b"," * 20))
    assert queue.offer(held) is None

    assert queue.offer(make_record("new", 30)) == Loss(DropReason.QUEUE_FULL, (held,))
    assert ids(queue.pull(5)) == ["new"]


def test_room_that_a_push_frees_goes_to_the_line() -> None:
    """
    What an eviction frees beyond the new record wakes those who wait.
    """
    queue = make_queue(max_bytes=100)
    fill(queue, 90)
    line = Line(queue, a=50)

    assert queue.offer(make_record("new", 10)) is not None
    assert line.woken == ["a"]


def test_leaving_the_line_lets_the_next_one_in() -> None:
    """
    Before and after room was reserved, a place that is given up holds nobody up.
    """
    queue = make_queue(max_bytes=100)
    records = fly(queue, 100)
    line = Line(queue, a=90, b=90, c=90, d=90)

    queue.leave(line["a"])
    assert line.woken == []
    queue.settle(records, Outcome.DELIVERED)
    assert line.woken == ["b"]
    queue.leave(line["b"])
    assert line.woken == ["b", "c"]
    queue.enter(line["c"], make_record("c", 90))
    assert ids(queue.pull(5)) == ["c"]
    assert queue.ledger.pushed == 2


def test_leaving_a_place_too_large_lets_smaller_ones_in() -> None:
    """
    The one at the head may have been all that held the others up.
    """
    queue = make_queue(max_bytes=100)
    fly(queue, 50)
    line = Line(queue, large=80, small=10)

    queue.leave(line["large"])

    assert line.woken == ["small"]


def test_close_wakes_all_who_wait() -> None:
    """
    They find no room and the queue closed, and are not counted.
    """
    queue = make_queue(max_events=1)
    fly(queue, 10)
    line = Line(queue, a=10, b=10)

    queue.close()

    assert line.woken == ["a", "b"]
    for place in line.places.values():
        with pytest.raises(ExporterError, match="closed"):
            queue.enter(place, make_record())
    assert queue.ledger.pushed == 1


def test_a_close_leaves_the_budget_as_it_was() -> None:
    """
    Those who were woken by it take no room with them.
    """
    queue = make_queue(max_events=2, overflow="drop_newest")
    (flown, _) = fly(queue, 10, 10)
    line = Line(queue, a=10, b=10)
    queue.close()
    for place in line.places.values():
        with pytest.raises(ExporterError):
            queue.enter(place, make_record())
    queue.closed = False

    assert queue.offer(make_record()) is not None
    queue.settle([flown], Outcome.DELIVERED)
    assert queue.offer(make_record()) is None
    assert queue.offer(make_record()) is not None


def test_who_waited_at_a_close_cannot_enter_after_it() -> None:
    """
    A place in the line of before is none in a queue that is open again.
    """
    queue = make_queue(max_events=1)
    fly(queue, 10)
    line = Line(queue, a=10)
    queue.close()
    queue.closed = False

    with pytest.raises(ExporterError):
        queue.enter(line["a"], make_record())


# The bell.


@pytest.mark.parametrize("due", [(3, 1000), (1000, 30)], ids=str)
def test_the_bell_rings_once_when_enough_is_queued(due: tuple[float, float]) -> None:
    """
    By count or by bytes, and not again before it is armed again.
    """
    queue = make_queue()
    rings: list[int] = []
    queue.on_due = lambda: rings.append(queue.ledger.queued)

    assert not queue.wake_at(*due)
    fill(queue, *[10] * 6)

    assert rings == [3]


def test_the_bell_does_not_ring_for_what_is_there() -> None:
    """
    Arming it says whether enough is queued already; it must be armed anew then.
    """
    queue = make_queue()
    rings: list[str] = []
    queue.on_due = lambda: rings.append("ring")
    fill(queue, 10, 10)

    assert queue.wake_at(2, 1000)
    fill(queue, 10)
    assert rings == []
    assert not queue.wake_at(4, 1000)
    queue.enter(queue.line_up(make_record(), lambda: None), make_record())
    assert rings == ["ring"]


def test_nobody_is_called_under_the_lock() -> None:
    """
    Another thread gets the lock while any of the callbacks runs.
    """
    queue = make_queue(max_events=2)
    calls: list[str] = []

    def called(name: str) -> None:
        # An RLock that its owner has released is not owned by this thread either.
        assert not queue.lock._is_owned()  # type: ignore[attr-defined]
        calls.append(name)

    queue.on_due = lambda: called("due")
    queue.wake_at(1, 1000)
    records = fly(queue, 10, 10)
    queue.watch(lambda: called("done"))
    queue.line_up(make_record(), lambda: called("room"))
    queue.settle(records, Outcome.DELIVERED)
    queue.line_up(make_record(), lambda: called("room at once"))
    queue.line_up(make_record(), lambda: called("closed"))
    queue.close()

    assert calls == ["due", "done", "room", "closed"]


# Watches, and draining.


def test_a_watch_counts_what_was_there() -> None:
    """
    What is pushed later, or had its outcome before, is not in the result.
    """
    queue = make_queue()
    done: list[str] = []
    (before,) = fly(queue, 10)
    queue.settle([before], Outcome.REJECTED)
    there = fly(queue, 10, 10, 10)
    watch = queue.watch(lambda: done.append("done"))
    later = fly(queue, 10, 10)

    queue.settle([*there[:1], *later], Outcome.DELIVERED)
    queue.settle(there[1:2], Outcome.REJECTED)
    assert watch.result() == FlushResult(delivered=1, rejected=1, dropped=0, left=1)
    assert done == []
    queue.settle(there[2:], Outcome.DROPPED, DropReason.RETRIES_EXHAUSTED)
    assert watch.result() == FlushResult(delivered=1, rejected=1, dropped=1, left=0)
    assert done == ["done"]


def test_a_watch_counts_evictions() -> None:
    """
    A record that a push drops has its outcome too.
    """
    queue = make_queue(max_events=1)
    fill(queue, 10)
    done: list[str] = []
    watch = queue.watch(lambda: done.append("done"))

    queue.offer(make_record())

    assert watch.result() == FlushResult(delivered=0, rejected=0, dropped=1, left=0)
    assert done == ["done"]


def test_a_watch_that_ended_is_not_told() -> None:
    """
    Nobody is called for a flush that has returned.
    """
    queue = make_queue()
    records = fly(queue, 10)
    watch = queue.watch(lambda: pytest.fail("told"))

    queue.unwatch(watch)
    queue.settle(records, Outcome.DELIVERED)

    assert watch.left == 1


def test_draining_drops_what_nobody_has_taken() -> None:
    """
    It leaves open batches and deliveries alone, and room for those who wait.
    """
    queue = make_queue(max_events=4)
    fill(queue, 10, 20, 30, 40)
    done: list[str] = []
    watch = queue.watch(lambda: done.append("done"))
    line = Line(queue, a=10, b=10, c=10)
    (pulled,) = queue.pull(1)
    (flown,) = queue.pull(1)
    queue.take([flown])

    assert [len(r.data) for r in queue.drain(DropReason.CLOSED)] == [30, 40]

    assert queue.ledger.dropped == {DropReason.CLOSED: 2}
    assert line.woken == ["a", "b"]
    assert watch.result() == FlushResult(delivered=0, rejected=0, dropped=2, left=2)
    queue.put_back([pulled])
    queue.put_back([flown])
    assert ids(queue.drain(DropReason.CLOSED)) == ids([pulled, flown])
    assert done == ["done"]
    assert queue.drain(DropReason.CLOSED) == []


@pytest.mark.parametrize(
    "limits", [{"max_events": 0}, {"max_bytes": 0}, {"max_events": 1.5}, {"overflow": "block"}]
)
def test_limits_are_checked(limits: dict[str, Any]) -> None:
    """
    A limit that can't be is refused by name.
    """
    with pytest.raises(ConfigError, match=next(iter(limits))):
        QueueLimits(**limits)


# All of it, against a model that is too simple to be wrong.


class QueueMachine(RuleBasedStateMachine):
    """
    Any order of calls keeps the books balanced, the budget kept and the order right.
    """

    MAX_EVENTS, MAX_BYTES = 5, 60
    sizes = st.integers(1, 30)

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.bytes: dict[Record, bytes] = {}
        self.queued: list[Record] = []
        self.pulled: list[Record] = []
        self.flying: list[Record] = []
        self.past: list[Record] = []
        self.waiting: list[Place] = []
        self.granted: list[Place] = []
        self.woken: list[Place] = []
        self.counts: Counter[str] = Counter()
        self.watches: list[tuple[Any, set[int], Counter[Outcome]]] = []
        self.queue = make_queue(self.MAX_EVENTS, self.MAX_BYTES, overflow=self.overflow)

    overflow = "drop_oldest"

    most_beyond = 0
    """Bytes that unpacking may take beyond the limit."""

    def make(self, size: int) -> Record:
        self.made += 1
        record = make_record(f"{self.made}", size)
        self.bytes[record] = record.data
        return record

    def note(self, records: Iterable[Record], outcome: Outcome) -> None:
        for record in records:
            self.counts[outcome] += 1
            for _, watched, outcomes in self.watches:
                if record.seq in watched:
                    watched.remove(record.seq)
                    outcomes[outcome] += 1

    def see_who_was_woken(self) -> None:
        """
        Whoever was granted room stood at the head of the line.
        """
        woken, self.woken = self.woken, []
        assert woken == self.waiting[: len(woken)]
        assert all(place.has_room for place in woken)
        del self.waiting[: len(woken)]
        self.granted += woken

    @rule(size=sizes)
    def push(self, size: int) -> None:
        record = self.make(size)
        self.counts["pushed"] += 1
        could = not self.waiting and self.has_room(size)
        loss = self.queue.offer(record)
        dropped = [] if loss is None else list(loss.records)
        if loss is None:
            assert could
        elif dropped == [record]:
            assert not could
        else:
            assert not could
            assert self.overflow == "drop_oldest"
            assert dropped == self.queued[: len(dropped)]
            if self.waiting:
                assert sum(r.size for r in dropped) >= size
            del self.queued[: len(dropped)]
            assert self.waiting or self.has_room(size)
        if record not in dropped:
            self.queued.append(record)
        self.note(dropped, Outcome.DROPPED)
        self.see_who_was_woken()

    def has_room(self, size: int) -> bool:
        held = self.queued + self.pulled + self.flying + self.past
        used = sum(r.size for r in held) + sum(place.size for place in self.granted)
        events = len(held) + len(self.granted)
        return events < self.MAX_EVENTS and used + size <= self.MAX_BYTES

    @rule(size=sizes)
    def line_up(self, size: int) -> None:
        could = not self.waiting and self.has_room(size)
        place = self.queue.line_up(make_record(size=size), lambda: self.woken.append(place))
        assert place.has_room == could
        (self.granted if could else self.waiting).append(place)

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def enter(self, data: st.DataObject) -> None:
        place = self.granted.pop(data.draw(st.integers(0, len(self.granted) - 1)))
        record = self.make(place.size)
        self.queue.enter(place, record)
        self.counts["pushed"] += 1
        self.queued.append(record)

    @precondition(lambda self: self.granted or self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from([*self.granted, *self.waiting]))
        for places in (self.granted, self.waiting):
            if place in places:
                places.remove(place)
        self.queue.leave(place)
        self.see_who_was_woken()

    @rule(size=sizes)
    def send_one_past_the_queue(self, size: int) -> None:
        record = self.make(size)
        self.queue.bypass(record)
        self.counts["pushed"] += 1
        self.past.append(record)

    @rule(limit=st.integers(0, 3))
    def pull(self, limit: int) -> None:
        records = self.queue.pull(limit)
        assert records == self.queued[: len(records)]
        assert len(records) == min(limit, len(self.queued)) or self.is_packed(len(records))
        del self.queued[: len(records)]
        self.pulled += records

    @rule()
    def unpull(self) -> None:
        self.queue.put_back(self.pulled)
        self._put_back(self.pulled)
        self.pulled = []

    @rule(count=st.integers(0, 3))
    def take(self, count: int) -> None:
        records, self.pulled = self.pulled[:count], self.pulled[count:]
        self.queue.take(records)
        self.flying += records

    @rule(count=st.integers(0, 3))
    def give_back(self, count: int) -> None:
        records, self.flying = self.flying[:count], self.flying[count:]
        self.queue.put_back(records)
        self._put_back(records)

    def is_packed(self, at: int) -> bool:
        """
        Whether the record at place *at* of those that wait is packed.
        """
        return self.queued[at].block is not None

    def _put_back(self, records: list[Record]) -> None:
        self.queued = sorted(records + self.queued, key=lambda record: record.seq)

    @rule(count=st.integers(1, 3), outcome=st.sampled_from(Outcome))
    def settle(self, count: int, outcome: Outcome) -> None:
        flying = self.past + self.flying
        records = flying[:count]
        self.past = [r for r in self.past if r not in records]
        self.flying = [r for r in self.flying if r not in records]
        reason = DropReason.INTERNAL_ERROR if outcome is Outcome.DROPPED else None
        self.queue.settle(records, outcome, reason)
        self.note(records, outcome)
        self.see_who_was_woken()

    @rule()
    def drain(self) -> None:
        assert self.queue.drain(DropReason.CLOSED) == self.queued
        self.note(self.queued, Outcome.DROPPED)
        self.queued = []
        self.see_who_was_woken()

    @rule()
    def watch(self) -> None:
        held = self.queued + self.pulled + self.flying + self.past
        watch = self.queue.watch(lambda: None)
        self.watches.append((watch, {r.seq for r in held}, Counter()))

    @rule()
    def close_and_reopen(self) -> None:
        self.queue.close()
        assert self.woken == self.waiting
        for place in self.waiting:
            with pytest.raises(ExporterError):
                self.queue.enter(place, self.make(place.size))
        self.woken, self.waiting = [], []
        self.queue.closed = False

    @invariant()
    def the_books_balance(self) -> None:
        ledger = self.queue.ledger
        in_flight = self.flying + self.past
        assert ledger.pushed == self.counts["pushed"]
        assert ledger.delivered == self.counts[Outcome.DELIVERED]
        assert ledger.relayed == self.counts[Outcome.RELAYED]
        assert ledger.rejected == self.counts[Outcome.REJECTED]
        assert sum(ledger.dropped.values()) == self.counts[Outcome.DROPPED]
        assert ledger.queued == len(self.queued + self.pulled)
        assert ledger.queued_bytes == sum(r.size for r in self.queued + self.pulled)
        assert ledger.in_flight == len(in_flight)
        assert ledger.in_flight_bytes == sum(r.size for r in in_flight)
        assert ledger.pushed == (
            ledger.delivered
            + ledger.relayed
            + ledger.rejected
            + sum(ledger.dropped.values())
            + ledger.queued
            + ledger.in_flight
        )

    @invariant()
    def what_is_packed_is_what_it_was(self) -> None:
        packed = [record for record in self.queued if record.block is not None]
        assert self.queue.ledger.packed == len(packed)
        assert self.queue.ledger.packed_bytes == sum(record.size for record in packed)
        for record in self.queued + self.pulled + self.flying + self.past:
            block = record.block
            data = record.data if block is None else block.open()[id(record)]
            assert data == self.bytes[record]

    @invariant()
    def the_budget_is_kept(self) -> None:
        held = self.queued + self.pulled + self.flying
        assert len(held) + len(self.granted) <= self.MAX_EVENTS
        assert sum(r.size for r in held) <= self.MAX_BYTES + self.most_beyond

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        assert not self.waiting or not self.has_room(self.waiting[0].size)

    @invariant()
    def watches_count_what_was_there(self) -> None:
        for watch, watched, outcomes in self.watches:
            assert watch.left == len(watched)
            assert watch.result() == FlushResult(
                outcomes[Outcome.DELIVERED],
                outcomes[Outcome.REJECTED],
                outcomes[Outcome.DROPPED],
                left=len(watched),
                relayed=outcomes[Outcome.RELAYED],
            )


class NewestMachine(QueueMachine):
    """
    The same where the new record is the one to go.
    """

    overflow = "drop_newest"


class PackingMachine(QueueMachine):
    """
    The same while all that waits is packed from the first record on, between any two calls.
    """

    most_beyond = 60

    def __init__(self) -> None:
        super().__init__()
        self.queue.packing.start_at(0, block=25)
        self.jobs: list[Job] = []

    @rule(later=st.booleans())
    def pack(self, later: bool) -> None:
        job = self.queue.packing.next()
        if job is not None:
            job.run()
            self.jobs.append(job)
            if not later:
                self.queue.packing.commit(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.queue.packing.commit(data.draw(st.sampled_from(self.jobs)))


class NewestPackingMachine(PackingMachine):
    """
    The same where the new record is the one to go.
    """

    overflow = "drop_newest"


QueueMachine.TestCase.settings = NewestMachine.TestCase.settings = settings(deadline=None)
TestQueue = QueueMachine.TestCase
TestQueueDroppingNewest = NewestMachine.TestCase
PackingMachine.TestCase.settings = NewestPackingMachine.TestCase.settings = settings(deadline=None)
TestQueuePacked = PackingMachine.TestCase
TestQueuePackedDroppingNewest = NewestPackingMachine.TestCase
