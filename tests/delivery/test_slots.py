"""
Bodies get their room from a full queue, beside those who wait for room and those who push.
"""

from __future__ import annotations

from itertools import count

from attrs import Factory, define

from hh_exporter import Outcome, QueueLimits
from hh_exporter._delivery.limiter import Limiter
from hh_exporter._delivery.parts import Delivery
from hh_exporter._delivery.slots import Slots
from hh_exporter._queue.budget import Place
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Batch, Record

SIZE = 1_000
MAX_BYTES = 64 * SIZE


def make_slots() -> Slots:
    queue = RecordQueue(QueueLimits(max_events=1_000, max_bytes=MAX_BYTES))
    return Slots(queue=queue, limiter=Limiter(16, 10.0))


@define
class Full:
    """
    A queue that is full, and a worker's slots.
    """

    slots: Slots = Factory(make_slots)
    left: int = 0
    """Bytes that are free, for the first body."""
    entered: int = 0
    _numbers: count[int] = Factory(count)
    _line: list[tuple[Place, Record]] = Factory(list)

    def __attrs_post_init__(self) -> None:
        while self.held + SIZE + self.left <= MAX_BYTES:
            assert self.slots.queue.offer(self.make()) is None

    @property
    def held(self) -> int:
        ledger = self.slots.queue.ledger
        return ledger.queued_bytes + ledger.in_flight_bytes + self.slots.queue.body_bytes

    def make(self) -> Record:
        return Record(f"{next(self._numbers)}", b"x" * SIZE, 0.0)

    def line_up(self) -> None:
        """
        Have ten puts wait, and those enter that got room.
        """
        queue = self.slots.queue
        while len(self._line) < 10:
            record = self.make()
            self._line.append((queue.line_up(record, lambda: None), record))
        for place, record in tuple(self._line):
            if place.has_room:
                self._line.remove((place, record))
                queue.enter(place, record)
                self.entered += 1

    def take(self) -> None:
        """
        Do what the worker does once it is woken.
        """
        slots, queue = self.slots, self.slots.queue
        slots.need_none()
        while not slots.is_full and slots.make_room(SIZE + 1):
            records = queue.pull(1)
            queue.take(records)
            slots.add(Delivery.of(Batch(tuple(records)), is_probe=False))
        slots.give_rest()

    def answer(self) -> None:
        """
        Have the oldest body answered.
        """
        delivery = next(iter(self.slots.in_hand))
        self.slots.queue.settle(delivery.records, Outcome.DELIVERED)
        delivery.release_all()
        self.slots.remove(delivery)


def test_puts_in_line_leave_room_for_bodies() -> None:
    """
    As many are soon in flight as may be, puts go on, and memory holds no more than it may.
    """
    full = Full()
    full.line_up()

    for _ in range(20):
        full.take()
        assert full.held <= MAX_BYTES + SIZE + 1
        full.line_up()
        full.answer()
    full.take()

    assert len(full.slots.in_hand) == full.slots.limiter.limit == 4
    assert full.entered >= 10


def test_a_put_gets_room_where_nothing_more_is_sent() -> None:
    """
    None is kept for a body while none may leave, as in an outage.
    """
    full = Full()
    full.take()
    full.line_up()
    full.answer()
    full.line_up()
    before = full.entered

    full.slots.need_none()
    full.slots.give_rest()
    full.line_up()

    assert (before, full.entered) == (0, 1)


def test_a_push_displaces_no_more_than_it_needs() -> None:
    """
    The next body gets its room from answers, and not from the oldest events.
    """
    full = Full(left=SIZE + 1)
    full.take()
    assert full.slots.must_wait

    losses = [full.slots.queue.offer(full.make()) for _ in range(3)]

    assert [len(loss.records) if loss else 0 for loss in losses] == [1, 1, 1]
