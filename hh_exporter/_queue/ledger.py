"""
The counters that must balance, and the watches that flush waits on.

Every change keeps `pushed + recovered == delivered + rejected + dropped +
queued + in_flight + spooled`. The ledger has no lock of its own: the queue
beside it calls it under the one lock they share.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Final

from attrs import Factory, define, field

from hh_exporter._outcomes import DropReason, FlushResult, Outcome
from hh_exporter._records import Record, Session, total_bytes

__all__ = ["Ledger", "Watch"]

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, inf)
"""Seconds, by which the durations of requests are told apart."""


def _counts() -> defaultdict[Any, int]:
    # No Counter: it asks code for what it has no count of, where a handler may push and count.
    return defaultdict(int)


@define(eq=False)
class Watch:
    """
    Count what becomes of the records admitted up to one moment.
    """

    on_done: Callable[[], None]
    last_seq: int = 0
    left: int = 0
    outcomes: defaultdict[Outcome, int] = field(factory=_counts)

    def note(self, records: Iterable[Record], outcome: Outcome) -> bool:
        """
        Count those of *records* that it watches.

        Returns:
            Whether the last of them now has its outcome.
        """
        return self.note_places((record.seq for record in records), outcome)

    def note_places(self, seqs: Iterable[int], outcome: Outcome) -> bool:
        """
        Do the same for records of which only the place in the order is known.
        """
        seen = sum(seq <= self.last_seq for seq in seqs)
        self.left -= seen
        self.outcomes[outcome] += seen
        return seen > 0 and self.left == 0

    def result(self) -> FlushResult:
        return FlushResult(
            delivered=self.outcomes[Outcome.DELIVERED],
            rejected=self.outcomes[Outcome.REJECTED],
            dropped=self.outcomes[Outcome.DROPPED],
            left=self.left,
        )


@define(eq=False)
class Ledger:
    """
    Where every record is, in numbers.
    """

    pushed: int = 0
    recovered: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: defaultdict[DropReason, int] = field(factory=_counts)
    queued: int = 0
    in_flight: int = 0
    spooled: int = 0
    queued_bytes: int = 0
    in_flight_bytes: int = 0
    session_bytes: int = 0
    """What the sessions of these records have still to announce."""
    requests: int = 0
    retries: int = 0
    statuses: defaultdict[int | None, int] = field(factory=_counts)
    """How the requests ended that did."""
    request_seconds: float = 0.0
    _durations: list[int] = Factory(lambda: [0] * len(_BOUNDS))
    _watches: list[Watch] = Factory(list)

    def enter(self, record: Record) -> None:
        """
        Count a record that is pushed and queued, and give it its place in the order.
        """
        size = len(record.data)  # first: a handler may push between two steps of a statement
        self.pushed += 1
        self.queued += 1
        self.queued_bytes += size
        record.seq = self.pushed + self.recovered
        if record.session is not None:
            self._hold(record.session)

    def enter_in_flight(self, record: Record) -> None:
        """
        Count a record that is pushed and goes out at once, past the queue.
        """
        self.enter(record)
        self.take((record,))

    def refuse(self, reason: DropReason) -> None:
        """
        Count an event that is pushed and dropped at once.
        """
        self.pushed += 1
        self.dropped[reason] += 1

    def spool(self, record: Record) -> None:
        """
        Move a queued record out of memory: it waits on disk from now on.
        """
        size = len(record.data)
        self.queued -= 1
        self.spooled += 1
        self.queued_bytes -= size
        if record.session is not None:
            self._let_go(record.session)

    def load(self, record: Record) -> None:
        """
        Move a record from disk back into the queue; it keeps its place in the order.
        """
        size = len(record.data)
        self.spooled -= 1
        self.queued += 1
        self.queued_bytes += size
        if record.session is not None:
            self._hold(record.session)

    def recover(self, count: int) -> None:
        """
        Count records on disk that others pushed, and that are now ours to deliver.
        """
        self.recovered += count
        self.spooled += count
        for watch in self._watches:  # they come before all others, so it will see their outcomes
            watch.left += count

    def lose(self, seqs: Sequence[int], reason: DropReason) -> list[Watch]:
        """
        Count records on disk that are dropped without coming back to memory.

        Args:
            seqs: Their places in the order.

        Returns:
            The watches that are complete with this.
        """
        self.spooled -= len(seqs)
        self.dropped[reason] += len(seqs)
        return [watch for watch in self._watches if watch.note_places(seqs, Outcome.DROPPED)]

    def take(self, records: Iterable[Record]) -> None:
        """
        Move queued records into a delivery.
        """
        self._move(records, 1)

    def give_back(self, records: Iterable[Record]) -> None:
        """
        Move records of a delivery back into the queue.
        """
        self._move(records, -1)

    def settle(
        self, records: Iterable[Record], outcome: Outcome, reason: DropReason | None
    ) -> list[Watch]:
        """
        Count the outcome of records in flight.

        Returns:
            The watches that are complete with this.
        """
        records = tuple(records)
        count = len(records)
        size = total_bytes(records)
        self.in_flight -= count
        self.in_flight_bytes -= size
        for record in records:
            if record.session is not None:
                self._let_go(record.session)
        match outcome:
            case Outcome.DELIVERED:
                self.delivered += count
            case Outcome.REJECTED:
                self.rejected += count
            case Outcome.DROPPED:
                assert reason is not None  # noqa: S101
                self.dropped[reason] += count
        return [watch for watch in self._watches if watch.note(records, outcome)]

    def begin_request(self, *, retry: bool) -> None:
        self.requests += 1
        self.retries += retry

    def end_request(self, status: int | None, seconds: float) -> None:
        """
        Count how a request ended, and how long it took.
        """
        self.statuses[status] += 1
        self.request_seconds += seconds
        self._durations[bisect_left(_BOUNDS, seconds)] += 1

    def durations(self) -> dict[float, int]:
        """
        Say for each bound how many requests took no longer.
        """
        return dict(zip(_BOUNDS, accumulate(self._durations), strict=True))

    def watch(self, on_done: Callable[[], None]) -> Watch:
        """
        Watch all records that have no outcome now; end with `unwatch`.
        """
        watch = Watch(on_done)
        self._watches.append(watch)
        # In one step, and told of outcomes by now: a handler may push, and drop what is there.
        watch.last_seq, watch.left = self.pushed + self.recovered, self.queued + self.in_flight + self.spooled  # fmt: skip  # noqa: E501
        return watch

    def unwatch(self, watch: Watch) -> None:
        self._watches.remove(watch)

    def _hold(self, session: Session) -> None:
        size = len(session.data)
        # In locals: a handler may hold it too, between two steps.
        session.holders = held = session.holders + 1
        if held == 1:
            self.session_bytes += size

    def _let_go(self, session: Session) -> None:
        size = len(session.data)
        session.holders = held = session.holders - 1
        if held == 0:
            self.session_bytes -= size

    def _move(self, records: Iterable[Record], sign: int) -> None:
        records = tuple(records)
        count = sign * len(records)
        size = sign * total_bytes(records)
        self.queued -= count
        self.queued_bytes -= size
        self.in_flight += count
        self.in_flight_bytes += size
