"""
What goes out next: updates behind their events.
"""

from __future__ import annotations

from collections.abc import Iterable

from hh_exporter import BatchLimits, QueueLimits
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.picking import Picker
from hh_exporter._delivery.probing import Prober
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Record, Session

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


def make_picker(under_way: Counted) -> Picker:
    limits = BatchLimits(max_events=10)
    queue = RecordQueue(QueueLimits())
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
