"""
What is packed of a backlog: which records, when, and what the budget says of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from random import Random
from typing import Any

import pytest

from hh_exporter import DropReason, Outcome, QueueLimits
from hh_exporter._queue.packing import Job
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Loss, Record

SIZE = 4_000
BACKLOG = 256
"""Records with which a backlog begins, of those that the window and a block have."""
WINDOW, BLOCK = BACKLOG // 4, BACKLOG // 16
MAX_BYTES = 4 * BACKLOG * SIZE


def make(number: int, size: int = SIZE) -> Record:
    """
    Make a record of *size* bytes, unlike all others, that become a little more than half.
    """
    digits = Random(number).randbytes(size // 2).hex()
    return Record(f"{number}", f'"{digits[: size - 2]}"'.encode(), 0.0)


def make_queue(max_bytes: int = MAX_BYTES, **limits: Any) -> RecordQueue:
    queue = RecordQueue(QueueLimits(max_events=10_000, max_bytes=max_bytes, **limits))
    queue.packing.start_at(max_bytes // 4)
    return queue


def fill(queue: RecordQueue, count: int) -> list[Record]:
    records = [make(n) for n in range(count)]
    assert [queue.offer(record) for record in records] == [None] * count
    return records


def do(queue: RecordQueue, job: Job | None) -> None:
    assert job is not None
    job.run()
    with queue.lock:
        queue.packing.commit(job)


def pack_all(queue: RecordQueue) -> int:
    """
    Do all that is to be done; returns how many jobs that were.
    """
    jobs = 0
    while job := queue.packing.next():
        do(queue, job)
        jobs += 1
    return jobs


def packed(records: Iterable[Record]) -> list[bool]:
    return [record.block is not None for record in records]


def check(queue: RecordQueue) -> None:
    """
    Compare the numbers with the records.
    """
    ledger = queue.ledger
    blocks = [record for record in ledger.waiting if record.block is not None]
    assert ledger.packed == len(blocks)
    assert ledger.packed_bytes == sum(record.size for record in blocks)
    assert ledger.waiting_bytes == sum(record.size for record in ledger.waiting)
    assert ledger.queued_bytes == sum(r.size for r in (*ledger.waiting, *ledger.pulled))
    assert not any(packed([*ledger.pulled, *ledger.flying]))


def test_nothing_is_packed_in_good_times() -> None:
    """
    Less than half of the byte limit is no backlog.
    """
    queue = RecordQueue(QueueLimits(max_bytes=MAX_BYTES))

    fill(queue, 2 * BACKLOG - 1)

    assert queue.packing.next() is None
    assert queue.packing.look_at == MAX_BYTES // 2


def test_a_backlog_is_packed_behind_a_window() -> None:
    """
    All but the window and what does not fill a block, the oldest first; the budget shrinks by it.
    """
    queue = make_queue()
    records = fill(queue, BACKLOG)

    jobs = pack_all(queue)

    blocks = (BACKLOG - WINDOW) // BLOCK
    assert jobs == blocks // 4
    assert packed(records) == (
        [False] * WINDOW + [True] * blocks * BLOCK + [False] * (BACKLOG - WINDOW - blocks * BLOCK)
    )
    check(queue)
    assert queue.ledger.queued == BACKLOG
    assert queue.ledger.queued_bytes < BACKLOG * SIZE * 0.75
    assert queue._budget.bytes == queue.ledger.queued_bytes
    assert len({record.block for record in records} - {None}) == blocks


def test_packed_records_leave_in_order_as_they_were() -> None:
    """
    Each has its own bytes again when it is pulled, whatever was unpacked ahead.
    """
    queue = make_queue()
    expected = [make(n).data for n in range(BACKLOG)]
    fill(queue, BACKLOG)
    pack_all(queue)

    pulled = list[Record]()
    while records := queue.pull(7):
        pulled += records
        if len(pulled) % 3 == 0:
            pack_all(queue)

    assert [record.data for record in pulled] == expected
    check(queue)
    assert queue.ledger.packed == queue.ledger.packed_bytes == queue.ledger.waiting_bytes == 0
    assert queue.ledger.queued_bytes == sum(map(len, expected))


def test_a_packed_record_has_no_bytes() -> None:
    """
    To read them is an error: they can't be mistaken for empty ones.
    """
    queue = make_queue()
    records = fill(queue, BACKLOG)
    pack_all(queue)

    [record] = records[WINDOW : WINDOW + 1]
    with pytest.raises(AttributeError):
        record.data  # noqa: B018
    assert 0 < record.size < SIZE * 0.6


def test_unpacking_keeps_ahead_of_what_is_sent() -> None:
    """
    Once half of the window is pulled, what follows is unpacked; not while nothing is.
    """
    queue = make_queue()
    records = fill(queue, BACKLOG)
    pack_all(queue)
    assert queue.packing.next() is None

    queue.pull(WINDOW // 2 - 1)
    assert queue.packing.next() is None
    queue.pull(WINDOW // 4)
    do(queue, queue.packing.next())

    assert packed(records[WINDOW : WINDOW + 8 * BLOCK + 1]) == [False] * 8 * BLOCK + [True]
    check(queue)


def test_a_job_is_forgotten_if_its_records_have_left() -> None:
    """
    What was pulled, dropped or packed meanwhile is not packed.
    """
    queue = make_queue()
    queue.packing.start_at(0, block=2 * SIZE)
    fill(queue, 2)

    job, same = queue.packing.next(), queue.packing.next()
    pulled = queue.pull(1)
    do(queue, job)
    assert queue.ledger.packed == 0
    queue.put_back(pulled)
    do(queue, same)
    assert queue.ledger.packed == 2
    if same is not None:
        queue.packing.commit(same)
    assert queue.ledger.packed == 2
    check(queue)


def test_an_unpacking_is_forgotten_if_it_comes_too_late() -> None:
    """
    What was unpacked, or packed again, meanwhile is left alone.
    """
    queue = make_queue()
    queue.packing.start_at(0, block=2 * SIZE)
    records = fill(queue, 4)
    pack_all(queue)
    queue.put_back(queue.pull(1))
    pack_all(queue)
    queue.put_back(queue.pull(2))
    late = queue.packing.next()
    pack_all(queue)

    before = packed(records)
    do(queue, late)

    assert packed(records) == before
    check(queue)


def test_what_is_dropped_is_not_unpacked() -> None:
    """
    A full queue that drops its oldest frees the share of each, whatever is in the block.
    """
    queue = make_queue(max_bytes=12 * SIZE)
    queue.packing.start_at(0, block=4 * SIZE)
    fill(queue, 12)
    pack_all(queue)
    for block in {record.block for record in queue.ledger.waiting}:
        assert block is not None
        block.packed = b"damaged"
    before = queue.ledger.queued_bytes

    loss = queue.offer(make(100, 12 * SIZE - before + 1))

    assert loss == Loss(DropReason.QUEUE_FULL, tuple(loss.records if loss else ()))
    assert [record.event_id for record in loss.records] == ["0"]
    check(queue)
    assert queue.ledger.packed == 11


def test_all_that_is_packed_may_be_drained() -> None:
    """
    A close drops what waits, and nothing of it is left in the numbers.
    """
    queue = make_queue()
    records = fill(queue, BACKLOG)
    pack_all(queue)

    assert queue.drain(DropReason.CLOSED) == records

    check(queue)
    assert queue.ledger.packed == queue.ledger.packed_bytes == queue._budget.bytes == 0


def test_unpacking_waits_for_room() -> None:
    """
    While something is in flight, nothing is unpacked beyond the limit; its end wakes the worker.
    """
    woken = list[str]()
    queue = make_queue(max_bytes=12 * SIZE)
    queue.packing.start_at(0, block=4 * SIZE)
    queue.on_due = lambda: woken.append("due")
    fill(queue, 12)
    pack_all(queue)
    flying = queue.pull(4)
    queue.take(flying)
    while queue.ledger.queued_bytes + queue.ledger.in_flight_bytes + SIZE <= 12 * SIZE:
        queue.offer(make(100))
    queue.packing.look_at = inf
    del woken[:]

    assert queue.pull(4) == []
    assert not queue.wake_at(1, 1)
    assert not woken
    queue.settle(flying, Outcome.DELIVERED)

    assert woken == ["due"]
    assert len(queue.pull(10)) == 4
    assert queue._budget.bytes <= 12 * SIZE
    check(queue)


def test_unpacking_does_not_wait_where_nothing_is_in_flight() -> None:
    """
    Else a full queue could never be sent.
    """
    queue = make_queue(max_bytes=12 * SIZE)
    queue.packing.start_at(0, block=4 * SIZE)
    fill(queue, 12)
    pack_all(queue)
    while queue._budget.bytes + SIZE <= 12 * SIZE:
        queue.offer(make(100))

    assert len(queue.pull(10)) == 4
    check(queue)


def test_a_loop_does_not_unpack_what_a_thread_is_about_to() -> None:
    """
    While a job is out, what is sent next waits for it; without one it is unpacked at once.
    """
    queue = make_queue()
    queue.packing.start_at(0, block=2 * SIZE)
    fill(queue, 4)
    pack_all(queue)

    queue.packing.is_served = True
    assert queue.pull(4) == []
    assert not queue.wake_at(1, 1)
    job = queue.packing.next()
    queue.packing.is_served = False
    do(queue, job)
    assert queue.packing.is_due()
    assert len(queue.pull(4)) == 4

    queue.put_back(queue.ledger.pulled)
    pack_all(queue)
    assert queue.ledger.packed == 4
    assert len(queue.pull(4)) == 2


def test_what_can_not_be_made_smaller_is_passed_over() -> None:
    """
    It is tried once, and does not keep what follows from being packed.
    """
    queue = make_queue()
    queue.packing.start_at(0, block=SIZE)
    noise = Record("noise", Random(0).randbytes(SIZE), 0.0)
    queue.offer(noise)
    after = fill(queue, 3)

    jobs = pack_all(queue)

    assert jobs == 1
    assert packed([noise, *after]) == [False, True, True, True]


def test_what_is_put_back_is_packed_as_well() -> None:
    """
    What failed is in front of the window: its end is packed again.
    """
    queue = make_queue()
    records = fill(queue, 3 * BACKLOG)
    pack_all(queue)
    pulled = list[Record]()
    while len(pulled) < BACKLOG:
        pulled += queue.pull(100)

    queue.put_back(pulled)
    pack_all(queue)

    assert packed(records).index(True) == WINDOW
    assert packed(records).count(False) <= WINDOW + 2 * BLOCK
    check(queue)


def test_few_wake_ups() -> None:
    """
    A backlog that grows wakes the worker once for four blocks, never for each event.
    """
    wakes = 0
    queue = make_queue()

    def on_due() -> None:
        nonlocal wakes
        wakes += 1
        pack_all(queue)
        queue.wake_at(10**9, queue.packing.wait_bytes)

    queue.on_due = on_due
    assert not queue.wake_at(10**9, queue.packing.wait_bytes)
    fill(queue, BACKLOG - 1)
    assert wakes == 0

    fill(queue, 10 * BLOCK)

    assert 1 <= wakes <= 3
    assert queue.ledger.packed >= BACKLOG - WINDOW + 7 * BLOCK


def test_a_full_queue_is_packed_while_it_drops() -> None:
    """
    Where as much is dropped as is pushed the worker is woken all the same.
    """
    queue = make_queue(max_bytes=64 * SIZE)
    queue.packing.start_at(0, block=4 * SIZE)
    while queue.ledger.queued < 100:
        while queue._budget.bytes + SIZE <= 64 * SIZE:
            queue.offer(make(queue.ledger.pushed))
        pack_all(queue)
    wakes = list[int]()
    queue.on_due = lambda: wakes.append(queue.ledger.pushed)

    for _ in range(40):
        queue.offer(make(queue.ledger.pushed))

    assert queue.ledger.dropped[DropReason.QUEUE_FULL] > 30
    assert len(wakes) == 1
