"""
The records that wait in memory, in order of admission, and when enough of them do.

It has no lock of its own: the queue calls it under the one lock of the house. A
push that interrupts a move, from a signal handler or a finaliser, may append; it
sees `is_moving`, and moves nothing itself.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from operator import attrgetter

from attrs import Factory, define

from hh_exporter._records import Record, Session, total_bytes

__all__ = ["Backlog"]

_order = attrgetter("seq")


@define(eq=False)
class Backlog:
    """
    A deque that knows its bytes.
    """

    records: deque[Record] = Factory(deque)
    size: int = 0
    """Bytes of the records."""
    is_moving: bool = False
    _due_events: float = inf
    _due_bytes: float = inf

    @contextmanager
    def moving(self) -> Iterator[None]:
        """
        Move records, or places in the line, in the block.
        """
        self.is_moving = True
        try:
            yield
        finally:
            self.is_moving = False

    def append(self, record: Record) -> bool:
        """
        Put *record* behind all others.

        Returns:
            Whether as many wait now as `wake_at` asked for.
        """
        size = len(record.data)  # first: a handler may push between two steps of a statement
        self.records.append(record)
        self.size += size
        return self._is_due()

    def pop(self) -> Record:
        """
        Remove the first record.
        """
        record = self.records.popleft()
        self.size -= len(record.data)
        return record

    def pull(self, limit: int) -> list[Record]:
        """
        Remove up to *limit* records from the head.
        """
        with self.moving():
            records = [self.records.popleft() for _ in range(min(limit, len(self.records)))]
            size = total_bytes(records)  # first: a handler may push while it is summed
            self.size -= size
        return records

    def put_back(self, records: Sequence[Record]) -> None:
        """
        Put *records* where they were, at the head or among those that are there.
        """
        back = list(records)
        last = max(map(_order, records), default=0)
        with self.moving():
            while self.records and self.records[0].seq < last:
                back.append(self.records.popleft())
            self.records.extendleft(sorted(back, key=_order, reverse=True))
        size = total_bytes(records)
        self.size += size

    def wake_at(self, events: float, size: float) -> bool:
        """
        Have `append` say so once, when *events* or *size* bytes wait.

        Returns:
            Whether they do now; then it does not.
        """
        self._due_events, self._due_bytes = events, size
        return self._is_due()

    def measure(self, kept: Session | None) -> int:
        """
        Say what dropping all of it would free, but for the session *kept*.
        """
        queued = Counter(record.session for record in tuple(self.records))
        del queued[None], queued[kept]
        return self.size + sum(
            len(session.data) for session, n in queued.items() if session and n == session.holders
        )

    def _is_due(self) -> bool:
        if len(self.records) < self._due_events and self.size < self._due_bytes:
            return False
        self._due_events = self._due_bytes = inf  # rung once; the worker asks again
        return True
