"""
Group records into batches by count, bytes, linger and session.

Pure: it holds no clock and no task, callers say what time it is. A limit is
checked before a record is added, so that no batch is ever above it; a record
that is above it alone travels alone. All sessions share batches but one whose
properties are still to be announced: its records wait until one batch, which
is theirs alone, has done so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from attrs import Factory, define, field, frozen

from hh_exporter._records import MAX_BODY_BYTES, Batch, Record, Session
from hh_exporter._sessions import Sessions
from hh_exporter._settings import seconds, whole

__all__ = ["BatchLimits", "Batcher"]

_MAX_OPEN = 64


@frozen(kw_only=True)
class BatchLimits:
    """
    When a batch is full, and how long it waits to be.
    """

    max_events: int = field(default=100, validator=whole(1))
    max_bytes: int = field(default=2**20, validator=whole(1, MAX_BODY_BYTES, "bytes"))
    """Bytes of the whole request body; a larger event travels alone."""
    linger: float = field(default=1.0, validator=seconds(zero=True))
    """Seconds that an event waits for company."""


@define(eq=False)
class _OpenBatch:
    """
    A batch that is not full.
    """

    session: Session | None
    limit: int
    """Bytes of records, each with a comma, that make it full."""
    first: Record
    """The record that was admitted first."""
    records: dict[str, Record] = Factory(dict)
    size: int = 0


@define(eq=False)
class Batcher:
    """
    The open batches, and those that are full and not yet taken.

    Args:
        limits: When a batch is full.
        overhead: Bytes of a body beyond its records and the commas between them.
        sessions: Knows what is announced.
    """

    limits: BatchLimits
    overhead: int
    sessions: Sessions = Factory(Sessions)
    _body_limit: int = field(init=False)
    _open: dict[Session | None, _OpenBatch] = Factory(dict)
    _full: deque[Batch] = Factory(deque)
    _announcing: dict[Session, list[Record]] = Factory(dict)
    """Sessions of batches that were closed, and the records that wait for their outcome."""
    _waiting: int = 0

    def __attrs_post_init__(self) -> None:
        self._body_limit = self.limits.max_bytes

    @property
    def room(self) -> int:
        """
        How many more records it takes now: none while a full batch can leave.
        """
        if self._full or self._waiting >= _MAX_OPEN * self.limits.max_events:
            return 0
        mixed = self._open.get(None)
        return self.limits.max_events - (0 if mixed is None else len(mixed.records))

    @property
    def room_bytes(self) -> int:
        """
        How many more bytes of records make the batch full that sessions share.
        """
        mixed = self._open.get(None)
        return max(1, self._limit(None) - 1 - (0 if mixed is None else mixed.size))

    @property
    def oldest(self) -> Record | None:
        """
        The record that waits longest. Any thread.
        """
        firsts = (
            *(batch.records[0] for batch in tuple(self._full)),
            *(batch.first for batch in tuple(self._open.values())),
            *(record for waiting in tuple(self._announcing.values()) for record in waiting[:1]),
        )
        return min(firsts, key=lambda record: record.pushed_at, default=None)

    def add(self, record: Record) -> None:
        """
        Put *record* into an open batch, or into a new one if it does not fit.
        """
        session = record.session
        if session is not None:
            if self.sessions.is_known(session.session_id):
                session = None
            elif session in self._announcing:
                self._announcing[session].append(record)
                self._waiting += 1
                return
        size = len(record.data) + 1  # with its comma
        batch = self._open.get(session)
        if batch is not None and (
            record.event_id in batch.records or batch.size + size > batch.limit
        ):
            self._close(batch)
            if session is not None:
                self.add(record)  # waits
                return
            batch = None
        if batch is None:
            if len(self._open) >= _MAX_OPEN:
                self._close(self._first_open())
            batch = self._open[session] = _OpenBatch(session, self._limit(session), record)
        elif record.seq < batch.first.seq:
            batch.first = record
        batch.records[record.event_id] = record
        batch.size += size
        if len(batch.records) >= self.limits.max_events or batch.size >= batch.limit:
            self._close(batch)

    def pop(self, now: float, *, up_to_seq: float = 0) -> Batch | None:
        """
        Take the next batch that is due at *now*; one that announces ends with `end`.

        A full batch is due; so is one with a record that has waited for
        `linger`, or was admitted as number *up_to_seq* or before.
        """
        if not self._full and self._open:
            batch = self._first_open()
            if batch.first.seq <= up_to_seq or now >= self._due_at(batch):
                self._close(batch)
        return self._full.popleft() if self._full else None

    def end(self, session: Session) -> None:
        """
        Note that the batch is over that announced *session*: nobody waits for it any more.
        """
        waiting = self._announcing.pop(session, [])
        self._waiting -= len(waiting)
        for record in waiting:
            self.add(record)

    def due_at(self) -> float | None:
        """
        Say when an open batch has waited long enough; None without one.
        """
        return self._due_at(self._first_open()) if self._open else None

    def limit_bytes(self, size: int) -> None:
        """
        Keep bodies within *size* bytes from now on, those that wait here included.
        """
        self._body_limit = min(self._body_limit, size)
        for record in self.clear():
            self.add(record)

    def clear(self) -> list[Record]:
        """
        Give up all batches that were not taken.

        Returns:
            Their records, in order of admission.
        """
        records = list(self._all())
        for batch in self._full:
            if batch.session is not None:
                del self._announcing[batch.session]
        for waiting in self._announcing.values():
            waiting.clear()
        self._open.clear()
        self._full.clear()
        self._waiting = 0
        return sorted(records, key=lambda record: record.seq)

    def _all(self) -> Iterator[Record]:
        return chain(
            *(batch.records for batch in self._full),
            *(batch.records.values() for batch in self._open.values()),
            *self._announcing.values(),
        )

    def _limit(self, session: Session | None) -> int:
        announcement = 0 if session is None else len(session.data)
        return self._body_limit - self.overhead - announcement + 1  # no comma behind the last

    def _first_open(self) -> _OpenBatch:
        return min(self._open.values(), key=lambda batch: batch.first.seq)

    def _due_at(self, batch: _OpenBatch) -> float:
        return batch.first.pushed_at + self.limits.linger

    def _close(self, batch: _OpenBatch) -> None:
        del self._open[batch.session]
        self._full.append(Batch(tuple(batch.records.values()), batch.session))
        if batch.session is not None:
            self._announcing[batch.session] = []
