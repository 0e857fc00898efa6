"""
Batches by count, bytes, linger and session.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hh_exporter import BatchLimits, ConfigError
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._records import Batch, Record, Session
from hh_exporter._settings.batch import MAX_BODY_BYTES
from tests.builders import make_record

LINGER = 10.0

dialect = LegacyDialect()


def make_batcher(**limits: Any) -> Batcher:
    return Batcher(BatchLimits(**{"linger": LINGER} | limits), dialect.overhead)


def put(batcher: Batcher, *sizes: int, first: int = 1) -> list[Record]:
    """
    Add one record of each size, numbered on, pushed a second apart.
    """
    records = [
        make_record(f"{n}", size, seq=n, pushed_at=float(n)) for n, size in enumerate(sizes, first)
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


def test_what_has_waited_long_fills_up_while_full_batches_leave() -> None:
    """
    In a backlog all is due: what is left of it is no batch of its own as long as more follows.
    """
    batcher = make_batcher(max_events=4, linger=1.0)
    records = put(batcher, *[10] * 6)

    first = batcher.pop(100.0)
    records += put(batcher, *[10] * 3, first=7)
    rest = popped(batcher, 100.0)

    assert first is not None
    assert list(first.records) == records[0:4]
    assert rest == [records[4:8], records[8:9]]


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
    records = put(batcher, 10, 10)

    assert batcher.due_at() == 1.0 + LINGER
    assert batcher.pop(0.9 + LINGER) is None
    assert popped(batcher, 1.0 + LINGER) == [records]
    assert batcher.due_at() is None


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

    assert popped(batcher, 100.0) == [records[:2], records[2:]]


def test_a_lower_limit_holds_for_all_that_is_not_taken() -> None:
    """
    Batches that wait already are cut anew, in order; a higher limit changes nothing.
    """
    batcher = make_batcher(max_events=3)
    records = put(batcher, 20, 20, 20, 20, 20)
    two = len(dialect.wrap(records[:2]))

    batcher.limit_bytes(two, 0.0)
    batcher.limit_bytes(two * 10, 0.0)

    assert batcher.room_bytes == two - dialect.overhead - 21
    assert popped(batcher) == [records[:2], records[2:4]]
    batcher.limit_bytes(0, 0.0)
    assert popped(batcher) == [records[4:]]


def test_a_lower_limit_is_forgotten_after_ten_minutes() -> None:
    """
    What a server said of its limit then counts no more, unless it said so again.
    """
    batcher = make_batcher(max_events=3)
    two = len(dialect.wrap(put(batcher, 20, 20)))
    batcher.clear()
    batcher.limit_bytes(two, 0.0)
    batcher.limit_bytes(two, 100.0)

    for now, together in ((699.9, 2), (700.0, 3)):
        assert batcher.pop(now) is None
        records = put(batcher, 20, 20, 20)
        assert popped(batcher, now)[0] == records[:together]


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


# Sessions that are to be announced.


def make_session(name: str = "session", size: int = 10) -> Session:
    return Session(name, b"," * size)


def test_a_session_is_announced_by_a_batch_of_its_own() -> None:
    """
    Its first records share no batch with others; what is known of is mixed with all.
    """
    batcher = make_batcher(max_events=2)
    session, known = make_session(), make_session("known")
    batcher.sessions.learn("known")
    sessions = [None, session, known, session]
    records = [make_record(f"{n}", seq=n, session=s) for n, s in enumerate(sessions, 1)]
    for record in records:
        batcher.add(record)

    batches = [batcher.pop(0.0), batcher.pop(0.0)]

    assert [batch and batch.session for batch in batches] == [None, session]
    assert [batch and [*batch.records] for batch in batches] == [records[0::2], records[1::2]]


def test_the_bytes_of_an_announcement_are_in_the_body() -> None:
    """
    A batch that announces is full by the bytes of its whole body, to the byte.
    """
    session = make_session(size=30)
    records = [make_record(f"{n}", 20, seq=n, session=session) for n in (1, 2, 3)]
    size = len(dialect.wrap(records, session))

    for limit, expected in [(1, 1), (size - 1, 2), (size, 3), (size + 1, 3)]:
        batcher = make_batcher(max_bytes=limit)
        for record in [*records, make_record("next", 20, seq=4, session=session)]:
            batcher.add(record)
        assert [len(batch) for batch in popped(batcher)] == [expected]


@pytest.mark.parametrize("is_known", [True, False])
def test_others_of_a_session_wait_for_its_announcement(is_known: bool) -> None:
    """
    Until that batch is over nothing of the session leaves, not even for a flush.
    """
    batcher = make_batcher(max_events=2)
    session = make_session()
    records = [make_record(f"{n}", seq=n, pushed_at=n, session=session) for n in range(1, 6)]
    late, *others = records[2:]
    for record in [*records[:2], *others, late]:
        batcher.add(record)

    assert popped(batcher, 100.0, up_to_seq=9) == [records[:2]]
    assert batcher.due_at() is None
    if is_known:
        batcher.sessions.learn(session.session_id)
    batcher.end(session)

    # Unknown still, the next batch announces it, and the last record waits for that.
    assert popped(batcher, 100.0) == [records[2:4]] + ([records[4:]] if is_known else [])


def test_the_oldest_leaves_where_too_many_are_open() -> None:
    """
    There are never more than 64 open batches.
    """
    batcher = make_batcher()
    records = [make_record(f"{n}", seq=n, session=make_session(f"{n}")) for n in range(1, 70)]
    for record in records:
        batcher.add(record)
        assert len(batcher._open) <= 64

    assert popped(batcher) == [[record] for record in records[:5]]


def test_what_is_due_is_not_overtaken_for_good() -> None:
    """
    A batch that waited long enough leaves although others are filled all the time.
    """
    batcher = make_batcher(max_events=2)
    lonely = make_record("lonely", seq=1, session=make_session("lonely"))
    batcher.add(lonely)
    left: list[Record] = []
    for n in range(3):
        session = make_session(f"{n}")
        for i in range(2):
            batcher.add(make_record(f"{n}-{i}", seq=2 + n, pushed_at=50.0, session=session))
        batch = batcher.pop(50.0)
        assert batch is not None
        left += batch.records

    assert lonely in left


@pytest.mark.parametrize("is_cleared", [True, False])
def test_a_batcher_does_not_swallow_the_queue(is_cleared: bool) -> None:
    """
    It takes no more while as many wait for an announcement as open batches could hold.
    """
    batcher = make_batcher(max_events=2)
    session = make_session()
    for n in range(1, 2 + 2 * 64):
        batcher.add(make_record(f"{n}", seq=n, session=session))
        batcher.pop(0.0)
        assert batcher.room == 2
    batcher.add(make_record("last", seq=999, session=session))
    assert batcher.room == 0

    if is_cleared:
        assert len(batcher.clear()) == 2 * 64
    else:
        batcher.sessions.learn(session.session_id)
    batcher.end(session)
    popped(batcher)
    assert batcher.room == 2
    assert batcher._waiting == 0


def test_there_is_always_room_for_a_byte() -> None:
    """
    A limit below what a body has around its records still lets each travel alone.
    """
    assert make_batcher(max_bytes=1).room_bytes == 1


class BatcherMachine(RuleBasedStateMachine):
    """
    Whatever comes in whatever order, each record leaves once, with those it may leave with.
    """

    MAX_EVENTS, LIMIT = 3, 100

    def __init__(self) -> None:
        super().__init__()
        self.seq = 0
        self.now = 0.0
        self.limit = dialect.overhead + self.LIMIT
        self.batcher = make_batcher(max_events=self.MAX_EVENTS, max_bytes=self.limit)
        self.sessions = [make_session(f"{n}", size) for n, size in enumerate((5, 40, 200))]
        self.inside: list[Record] = []
        self.outside: list[Record] = []
        """What was taken, and may come back."""
        self.announcing: list[Batch] = []

    def is_known(self, record: Record) -> bool:
        session = record.session
        return session is None or self.batcher.sessions.is_known(session.session_id)

    @rule(
        name=st.sampled_from("abcd"),
        size=st.integers(1, 60),
        session=st.none() | st.integers(0, 2),
        later=st.integers(0, 5),
    )
    def add(self, name: str, size: int, session: int | None, later: int) -> None:
        self.now += later
        self.seq += 1
        of = None if session is None else self.sessions[session]
        record = make_record(name, size, seq=self.seq, pushed_at=self.now, session=of)
        self.inside.append(record)
        self.batcher.add(record)

    @precondition(lambda self: self.outside)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        record = self.outside.pop(data.draw(st.integers(0, len(self.outside) - 1)))
        self.inside.append(record)
        self.batcher.add(record)

    @rule(later=st.sampled_from([0.0, LINGER]), flush_to=st.integers(0, 30))
    def pop(self, later: float, flush_to: int) -> None:
        self.now += later
        due_at = self.batcher.due_at()
        batch = self.batcher.pop(self.now, up_to_seq=flush_to)
        if batch is None:
            assert due_at is None or due_at > self.now
            held = [r for b in self.announcing for r in self.inside if r.session is b.session]
            assert all(r.seq > flush_to for r in self.inside if r not in held)
            return
        self.inside = [record for record in self.inside if record not in batch.records]
        self.outside += batch.records
        size = len(dialect.wrap(batch.records, batch.session))
        assert len(batch.records) == 1 or size <= self.limit
        assert len(batch.records) <= self.MAX_EVENTS
        assert len({record.event_id for record in batch.records}) == len(batch.records)
        if batch.session is None:
            assert all(map(self.is_known, batch.records))
            return
        assert {record.session for record in batch.records} == {batch.session}
        assert batch.session not in [other.session for other in self.announcing]
        self.announcing.append(batch)

    @precondition(lambda self: self.announcing)
    @rule(data=st.data(), is_known=st.booleans())
    def end(self, data: st.DataObject, is_known: bool) -> None:
        batch = self.announcing.pop(data.draw(st.integers(0, len(self.announcing) - 1)))
        assert batch.session is not None
        if is_known:
            self.batcher.sessions.learn(batch.session.session_id)
        self.batcher.end(batch.session)

    @rule(size=st.integers(20, 110))
    def limit_bytes(self, size: int) -> None:
        self.limit = min(self.limit, dialect.overhead + size)
        self.batcher.limit_bytes(dialect.overhead + size, inf)

    @rule(again=st.booleans())
    def clear(self, again: bool) -> None:
        records = self.batcher.clear()
        assert records == sorted(self.inside, key=lambda record: record.seq)
        assert self.batcher.clear() == []
        if again:
            for record in records:
                self.batcher.add(record)
        else:
            self.inside = []
            self.outside += records

    @invariant()
    def what_is_due_is_there(self) -> None:
        due_at = self.batcher.due_at()
        assert due_at is None or due_at - LINGER in [record.pushed_at for record in self.inside]

    @invariant()
    def room_is_what_fits(self) -> None:
        room = self.batcher.room
        mixed = [record for record in self.inside if self.is_known(record)]
        assert 0 <= room <= self.MAX_EVENTS
        assert room == 0 or len(mixed) >= self.MAX_EVENTS - room
        if room and not self.batcher._waiting:
            # Exactly so many more bytes in one record fill the batch that sessions share.
            probe = deepcopy(self.batcher)
            assert probe.room == room
            probe.add(make_record("probe", probe.room_bytes, seq=self.seq + 1))
            assert probe.room == 0

    def teardown(self) -> None:
        for batch in self.announcing:
            assert batch.session is not None
            self.batcher.end(batch.session)
        left: list[Record] = []
        while taken := self.batcher.pop(0.0, up_to_seq=self.seq):
            left += taken.records
            if taken.session is not None:
                self.batcher.end(taken.session)
        assert sorted(r.seq for r in left) == sorted(r.seq for r in self.inside)
        assert not self.batcher._announcing


BatcherMachine.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)
TestBatcher = BatcherMachine.TestCase


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
        batcher.limit_bytes(later, inf)
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
