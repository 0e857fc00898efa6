"""
What goes out next: updates behind their events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from hh_exporter import BatchLimits, QueueLimits
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.picking import Picker
from hh_exporter._delivery.probing import Prober
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Loss, Record, Session, Subject

MANY = 500
LATER = 100.0


class Counted(list[Record]):
    """
    Records, and how often they were listed.
    """

    listings = 0

    def __call__(self) -> Iterable[Record]:
        self.listings += 1
        return self


class Shelf(list[Record]):
    """
    What waits on disk, in the order in which it came there.
    """

    is_full = False

    def take(self, record: Record) -> Callable[[], object] | None:
        return None if self.is_full else partial(self.append, record)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def picker(shelf: Shelf) -> Picker:
    """
    A picker of a queue that has room for two, and moves the oldest to disk.
    """
    picker = make_picker(Counted(), room=2)
    picker.queue.overflow.spool = shelf.take
    return picker


def make_picker(under_way: Counted, room: int = 10_000) -> Picker:
    limits = BatchLimits(max_events=10)
    queue = RecordQueue(QueueLimits(max_events=room))
    prober = Prober(queue, limits.max_events)
    return Picker(queue=queue, batcher=Batcher(limits, 20), prober=prober, under_way=under_way)


def push(picker: Picker, number: int, session: Session | None = None) -> Record:
    record = Record(f"event {number}", b"{}", 0.0, session)
    picker.queue.offer(record)
    return record


def update(picker: Picker, number: int) -> Record:
    record = Record(f"event {number}", b"{}", 0.0, None, UPDATES)
    picker.queue.offer_update(record)
    return record


def load(picker: Picker, shelf: Shelf, record: Record) -> None:
    """
    Bring *record* back from disk.
    """
    shelf.remove(record)
    assert picker.queue.load([record]) == [record]


def deliver(picker: Picker) -> list[Record]:
    """
    Deliver all that can be sent.
    """
    delivered: list[Record] = []
    while (batch := picker.pick(LATER, up_to_seq=0)) is not None:
        picker.queue.take(batch.records)
        picker.queue.settle(batch.records, Outcome.DELIVERED)
        delivered += batch.records
    assert picker.due_at() is None
    return delivered


def test_an_update_waits_while_its_event_is_under_way() -> None:
    """
    It goes once no delivery has the event.
    """
    under_way = Counted()
    picker = make_picker(under_way)
    event, later = push(picker, 1), update(picker, 1)

    batch = picker.pick(LATER, up_to_seq=0)
    assert batch is not None
    assert batch.records == (event,)
    under_way.append(event)
    assert picker.pick(LATER, up_to_seq=0) is None
    assert picker.due_at() is None
    under_way.clear()

    assert picker.due_at() is not None
    batch = picker.pick(LATER, up_to_seq=0)
    assert batch is not None
    assert batch.records == (later,)


def test_many_updates_that_wait_are_looked_up_together() -> None:
    """
    What is under way is listed once for each look, however many updates wait for it.
    """
    under_way = Counted()
    picker = make_picker(under_way)
    session = Session("session", b"{}")
    for number in range(MANY):
        push(picker, number, session)  # all but the first batch wait for its outcome
        update(picker, number)
    batch = picker.pick(LATER, up_to_seq=0)
    assert batch is not None
    under_way += batch.records
    under_way.listings = 0

    assert picker.pick(LATER, up_to_seq=0) is None
    assert picker.due_at() is None
    assert under_way.listings == 2


def test_a_later_update_waits_for_one_that_came_to_disk_after_it(
    picker: Picker, shelf: Shelf
) -> None:
    """
    The later one went there directly; it comes back first, and goes back.
    """
    push(picker, 0)
    first = update(picker, 1)
    push(picker, 2)
    second = update(picker, 1)
    push(picker, 3)
    assert shelf[1:] == [second, first]
    deliver(picker)

    load(picker, shelf, second)
    assert deliver(picker) == []
    assert shelf[1:] == [first, second]
    load(picker, shelf, first)
    assert deliver(picker) == [first]
    load(picker, shelf, second)
    assert deliver(picker) == [second]


def test_an_update_waits_for_an_earlier_one_that_left_memory(picker: Picker, shelf: Shelf) -> None:
    """
    It follows that one to disk, and waits in memory if there is no room.
    """
    first, second = update(picker, 1), update(picker, 1)
    push(picker, 2)
    assert shelf == [first]
    shelf.is_full = True

    assert [record.event_id for record in deliver(picker)] == ["event 2"]
    assert shelf == [first]
    shelf.is_full = False
    assert deliver(picker) == []
    assert shelf == [first, second]
    load(picker, shelf, first)
    assert deliver(picker) == [first]


def test_an_update_waits_for_no_later_one(picker: Picker, shelf: Shelf) -> None:
    """
    Those on disk hold up only what was pushed after them.
    """
    push(picker, 0)
    first = update(picker, 1)
    push(picker, 2)
    second = update(picker, 1)
    third = update(picker, 1)
    assert shelf[1:] == [second, third]

    assert first in deliver(picker)
    load(picker, shelf, third)
    assert deliver(picker) == []
    load(picker, shelf, second)
    load(picker, shelf, third)
    assert deliver(picker) == [second, third]


def test_a_lost_update_holds_up_nothing(picker: Picker, shelf: Shelf) -> None:
    """
    What is dropped on disk does not come back.
    """
    first, second = update(picker, 1), update(picker, 1)
    push(picker, 2)
    shelf.is_full = True
    assert second not in deliver(picker)

    picker.queue.lose([first.seq], DropReason.EXPIRED, [Subject.of(first)])
    assert deliver(picker) == [second]


def test_an_update_follows_an_event_of_an_earlier_process(picker: Picker, shelf: Shelf) -> None:
    """
    Of what came back from disk once, nobody knows what else of it is there.
    """
    event = Record("event 1", b"{}", 0.0)
    later = Record("event 1", b"{}", 0.0, None, UPDATES)
    event.seq, later.seq = -2, -1
    shelf += [event, later]
    picker.queue.recover(2)
    load(picker, shelf, event)
    push(picker, 2)
    push(picker, 3)
    assert shelf == [later, event]

    deliver(picker)
    load(picker, shelf, later)
    assert deliver(picker) == []
    load(picker, shelf, event)
    load(picker, shelf, later)
    assert deliver(picker) == [event, later]
    assert not picker.queue.followed.away


def test_an_update_may_follow_what_came_to_disk_before_it(picker: Picker, shelf: Shelf) -> None:
    """
    Where there is no room behind that, it waits in memory until there is, or nothing is on disk.
    """
    event = push(picker, 1)
    push(picker, 2)
    push(picker, 3)
    assert shelf == [event]
    shelf.is_full = True
    later = update(picker, 1)

    assert later not in deliver(picker)
    assert picker.queue.followed.stuck == 1
    load(picker, shelf, event)
    assert deliver(picker) == [event, later]


def test_what_waits_for_the_disk_leaves_half_of_memory(picker: Picker, shelf: Shelf) -> None:
    """
    One more is dropped at once: what it would wait for could not come back.
    """
    event = push(picker, 1)
    push(picker, 2)
    push(picker, 3)
    deliver(picker)
    shelf.is_full = True
    first = update(picker, 1)
    second = Record("event 1", b"{}", 0.0, None, UPDATES)

    assert picker.queue.offer_update(second) == Loss(DropReason.QUEUE_FULL, (second,))
    load(picker, shelf, event)
    assert deliver(picker) == [event, first]
    assert not picker.queue.followed._counts


def test_an_update_follows_one_that_may_follow_what_is_on_disk(
    picker: Picker, shelf: Shelf
) -> None:
    """
    Also where nothing on disk holds it up itself.
    """
    event = push(picker, 1)
    push(picker, 2)
    push(picker, 3)
    deliver(picker)
    shelf.is_full = True
    first = update(picker, 1)
    shelf.is_full = False
    second = update(picker, 1)
    assert shelf == [event, second]
    load(picker, shelf, second)

    assert deliver(picker) == []
    assert shelf == [event, first, second]
    for record in (event, first, second):
        load(picker, shelf, record)
        assert deliver(picker) == [record]


def test_what_comes_back_from_disk_is_in_front_of_what_follows_it(
    picker: Picker, shelf: Shelf
) -> None:
    """
    In memory, too: an update is not pulled before its event.
    """
    event, later = push(picker, 1), update(picker, 1)
    push(picker, 2)
    assert shelf == [event]
    batch = picker.queue.pull(1)
    assert batch == [later]
    picker.queue.put_back(batch)
    [other] = picker.queue.pull(9)[1:]
    picker.queue.take([other])
    picker.queue.settle([other], Outcome.DELIVERED)
    picker.queue.put_back([later])
    load(picker, shelf, event)

    assert picker.queue.pull(1) == [event]


def test_a_batch_waits_for_what_is_being_unpacked() -> None:
    """
    What is due does not leave in a smaller one.
    """
    picker = make_picker(Counted())
    for number in range(3):
        push(picker, number)
    assert picker.pick(0.0, up_to_seq=0) is None  # they are not due
    for number in range(3, 8):
        picker.queue.offer(Record(f"event {number}", b'"%s"' % (b"." * 98), 0.0))
    packing = picker.queue.packing
    packing.start_at(0, block=100)
    while job := packing.next():
        job.run()
        packing.commit(job)
    packing.is_served = True

    assert picker.pick(LATER, up_to_seq=100) is None
    assert picker.due_at() is None
    packing.is_served = False

    batch = picker.pick(LATER, up_to_seq=100)
    assert batch is not None
    assert len(batch.records) == 8
