"""
Batches by count, bytes and linger.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter import BatchLimits, ConfigError
from hh_exporter._batcher import Batcher
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._records import MAX_BODY_BYTES, Batch, Record
from tests.builders import make_record

LINGER = 10.0

dialect = LegacyDialect()


def make_batcher(**limits: Any) -> Batcher:
    return Batcher(BatchLimits(**{"linger": LINGER} | limits), dialect.overhead)


def put(batcher: Batcher, *sizes: int) -> list[Record]:
    """
    Add one record of each size, numbered on, pushed a second apart.
    """
    records = [
        make_record(f"{n}", size, seq=n, pushed_at=float(n)) for n, size in enumerate(sizes, 1)
    ]
    for record in records:
        batcher.add(record)
    return records


def popped(batcher: Batcher, now: float = 0.0, **arguments: Any) -> list[list[Record]]:
    """
    Take all that is due.
    """

    def batches() -> Iterator[Batch]:
        while batch := batcher.pop(now, **arguments):
            yield batch

    return [list(batch.records) for batch in batches()]


def test_a_batch_is_full_by_count() -> None:
    """
    A full batch is due at once, in the order of its records; the rest waits.
    """
    batcher = make_batcher(max_events=2)

    records = put(batcher, *[10] * 5)

    assert batcher.room < 1
    assert popped(batcher) == [records[0:2], records[2:4]]
    assert batcher.room == 1


def test_a_batch_is_full_by_the_bytes_of_its_body() -> None:
    """
    The limit is that of the real body, commas and wrapper included, to the byte.
    """
    records = [make_record(f"{n}", 20, seq=n) for n in (1, 2, 3)]
    size = len(dialect.wrap(records))

    for limit, expected in [(size - 1, 2), (size, 3), (size + 1, 3)]:
        batcher = make_batcher(max_bytes=limit)
        for record in [*records, make_record("next", 20, seq=4)]:
            batcher.add(record)
        assert [len(batch) for batch in popped(batcher)] == [expected]


def test_a_record_above_the_limit_travels_alone() -> None:
    """
    It is due at once, and keeps its place among the others.
    """
    batcher = make_batcher(max_bytes=100)

    small, large, other = put(batcher, 10, 500, 10)

    assert popped(batcher) == [[small], [large]]
    assert popped(batcher, up_to_seq=3) == [[other]]


def test_two_records_with_one_id_never_share_a_batch() -> None:
    """
    The second one begins a new batch: an answer could not tell them apart.
    """
    batcher = make_batcher()
    twins = [make_record("twin", 10, seq=n) for n in (1, 2)]
    for record in twins:
        batcher.add(record)

    assert popped(batcher) == [twins[:1]]
    assert popped(batcher, up_to_seq=2) == [twins[1:]]


def test_an_open_batch_is_due_when_its_linger_is_over() -> None:
    """
    It counts from the push of the record that waits longest.
    """
    batcher = make_batcher()
    assert batcher.due_at() is None
    assert batcher.oldest is None
    records = put(batcher, 10, 10)

    assert batcher.due_at() == 1.0 + LINGER
    assert batcher.oldest is records[0]
    assert batcher.pop(0.9 + LINGER) is None
    assert popped(batcher, 1.0 + LINGER) == [records]
    assert batcher.due_at() is None
    assert batcher.oldest is None


def test_a_record_that_comes_back_counts_from_its_own_push() -> None:
    """
    One that was admitted before those in the batch makes it due earlier.
    """
    batcher = make_batcher()
    batcher.add(make_record("late", seq=9, pushed_at=9.0))
    batcher.add(make_record("early", seq=1, pushed_at=1.0))

    assert batcher.due_at() == 1.0 + LINGER
    assert batcher.pop(0.0, up_to_seq=1) is not None


def test_a_flush_takes_an_open_batch_up_to_its_number() -> None:
    """
    A batch with a record from before the flush is due; one without waits on.
    """
    batcher = make_batcher()
    records = put(batcher, 10, 10)

    assert batcher.pop(0.0, up_to_seq=0) is None
    assert popped(batcher, up_to_seq=1) == [records]
    batcher.add(make_record("later", seq=3))
    assert batcher.pop(0.0, up_to_seq=2) is None


def test_full_batches_leave_before_the_open_one() -> None:
    """
    Whatever is due, batches leave in the order in which they were filled.
    """
    batcher = make_batcher(max_events=2)
    records = put(batcher, 10, 10, 10)

    assert batcher.oldest is records[0]
    assert popped(batcher, 100.0) == [records[:2], records[2:]]


def test_a_lower_limit_holds_for_all_that_is_not_taken() -> None:
    """
    Batches that wait already are cut anew, in order; a higher limit changes nothing.
    """
    batcher = make_batcher(max_events=3)
    records = put(batcher, 20, 20, 20, 20, 20)
    two = len(dialect.wrap(records[:2]))

    batcher.limit_bytes(two)
    batcher.limit_bytes(two * 10)

    assert batcher.room_bytes == two - dialect.overhead - 21
    assert popped(batcher) == [records[:2], records[2:4]]
    batcher.limit_bytes(0)
    assert popped(batcher) == [records[4:]]


def test_clearing_gives_up_everything_in_order() -> None:
    """
    Full batches and the open one come back as the records that they were.
    """
    batcher = make_batcher(max_events=2)
    records = put(batcher, *[10] * 5)

    assert batcher.clear() == records
    assert batcher.clear() == []
    assert batcher.pop(100.0, up_to_seq=5) is None
    assert batcher.room == 2


sizes = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 60)), max_size=30)


@settings(deadline=None)
@given(sizes, st.integers(1, 10), st.integers(1, 200), st.none() | st.integers(1, 200))
def test_no_limit_is_ever_exceeded(
    offered: list[tuple[str, int]], max_events: int, max_bytes: int, later: int | None
) -> None:
    """
    Every record leaves once and in order, in bodies within all limits unless it
    is alone, and never beside one with its id; no batch could have had one more.
    """
    batcher = make_batcher(max_events=max_events, max_bytes=max_bytes)
    records = [make_record(name, size, seq=n) for n, (name, size) in enumerate(offered, 1)]
    for record in records:
        batcher.add(record)
    if later is not None:
        batcher.limit_bytes(later)
        max_bytes = min(max_bytes, later)

    batches = popped(batcher, up_to_seq=len(records))

    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert len(batch) == 1 or len(dialect.wrap(batch)) <= max_bytes
        assert len(batch) <= max_events
        assert len({record.event_id for record in batch}) == len(batch)
    for batch, (following, *_) in pairwise(batches):
        assert (
            len(batch) == max_events
            or len(dialect.wrap([*batch, following])) > max_bytes
            or following.event_id in {record.event_id for record in batch}
        )


@pytest.mark.parametrize(
    "limits",
    [
        {"max_events": 0},
        {"max_events": True},
        {"max_bytes": 0},
        {"max_bytes": MAX_BODY_BYTES + 1},
        {"linger": -1.0},
        {"linger": float("inf")},
    ],
    ids=str,
)
def test_limits_are_checked(limits: dict[str, Any]) -> None:
    """
    A limit that can't be is refused by name; no body is above 5,000,000 bytes.
    """
    with pytest.raises(ConfigError, match=next(iter(limits))):
        BatchLimits(**limits)
    assert BatchLimits(max_bytes=MAX_BODY_BYTES, linger=0).max_bytes == 5_000_000
