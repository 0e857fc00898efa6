"""
Group records into batches by count, bytes, linger, route and session.

Pure: it holds no clock and no task, callers say what time it is. A limit is
checked before a record is added, so that no batch exceeds it; a record that
exceeds it by itself is sent alone. All records of a batch have one route. Sessions
share batches, but for those that are still to be announced: their records wait until
a batch of their own, the first one, has done that.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from itertools import chain
from math import inf

from attrs import Factory, define, field

from hh_exporter._records import MAIN, OTHERS, Batch, Record, Session, by_seq
from hh_exporter._sessions import Sessions
from hh_exporter._settings.batch import BatchLimits

__all__ = ["Batcher"]

_ROUTES = (MAIN, OTHERS)
_MAX_OPEN = 64

_LIMIT_LASTS = 600.0
"""Seconds for which a size limit found at the server is kept; then one request tries again."""


@define(eq=False)
class _Draft:
    """
    A batch that has not been taken.
    """

    session: Session | None
    route: str
    limit: int
    """Bytes of records, each with a comma, that make it full."""
    first: Record
    """The record that was admitted first."""
    records: dict[str, Record] = Factory(dict)
    size: int = 0
    is_full: bool = False
    """Whether a limit closed it."""

    @property
    def body_size(self) -> int:
        return self.size + (0 if self.session is None else len(self.session.data))


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
    _lifts_at: float = field(default=inf, init=False)
    """When the limit that the server showed is forgotten."""
    _open: dict[Session | str, _Draft] = Factory(dict)
    """By the session that each announces, or by its route if sessions share it."""
    _full: deque[_Draft] = Factory(deque)
    _announcing: dict[Session, list[Record]] = Factory(dict)
    """Sessions of closed batches, and in order the records that wait for the outcome of these."""
    _waiting: int = 0
    _filling: _Draft | None = None
    """What a record was added to last."""

    def __attrs_post_init__(self) -> None:
        self._body_limit = self.limits.max_bytes

    @property
    def room(self) -> int:
        """
        How many more records it takes now: none while a full batch can leave.
        """
        if self._full or self._waiting >= _MAX_OPEN * self.limits.max_events:
            return 0
        return self.limits.max_events - max(
            [len(batch.records) for batch in self._mixed], default=0
        )

    @property
    def room_bytes(self) -> int:
        """
        How many more bytes of records make a batch full that sessions share.
        """
        return max(1, self._limit(None) - 1 - max([batch.size for batch in self._mixed], default=0))

    @property
    def next_size(self) -> int:
        """
        Bytes of the body that `pop` takes next, at most, but for what the dialect puts around.
        """
        drafts = [self._full[0]] if self._full else []
        drafts += [self._first_open()] if self._open else []
        return max([batch.body_size for batch in drafts], default=0)

    def is_full(self, now: float) -> bool:
        """
        Whether a batch is to be taken that waiting would not make larger.
        """
        if self._full or not self._open:
            return bool(self._full)
        first = self._first_open()
        return first.session is not None and now >= self._due_at(first)

    def add(self, record: Record) -> None:
        """
        Put *record* into an open batch, or into a new one if it does not fit.
        """
        session = record.session
        if session is not None:
            if self.sessions.is_known(session.session_id):
                session = None
            elif session in self._announcing:
                insort(self._announcing[session], record, key=by_seq)
                self._waiting += 1
                return
        batch = self._open.get(record.route if session is None else session)
        if batch is None:
            batch = self._begin(session, record)
        elif batch.route != record.route:
            self._close(batch)
            self.add(record)  # waits, since the session is announced once
            return
        records = batch.records
        size = batch.size + len(record.data) + 1  # with its comma
        if records and (size > batch.limit or record.event_id in records):
            batch.is_full = size > batch.limit
            self._close(batch)
            self.add(record)  # begins another one, or waits
            return
        if record.seq < batch.first.seq:
            batch.first = record
        records[record.event_id] = record
        batch.size = size
        self._filling = batch
        if size >= batch.limit or len(records) >= self.limits.max_events:
            batch.is_full = True
            self._close(batch)

    def pop(self, now: float, *, up_to_seq: float = 0) -> Batch | None:
        """
        Take the next batch that is due at *now*; one that announces ends with `end`.

        A full batch is due; so is one with a record that has waited for
        `linger`, or was admitted as number *up_to_seq* or before: it has its
        turn behind those that are full now, not behind all that will be.
        """
        if now >= self._lifts_at:
            self._body_limit, self._lifts_at = self.limits.max_bytes, inf
        if self._open:
            first = self._first_open()
            # What was added to last goes on filling from the queue while others leave.
            is_filling = bool(self._full) and first is self._filling
            if not is_filling and (first.first.seq <= up_to_seq or now >= self._due_at(first)):
                self._close(first)
        if not self._full:
            return None
        batch = self._full.popleft()
        is_full = batch.is_full or batch.session is not None
        return Batch(tuple(batch.records.values()), batch.session, batch.route, is_full)

    def end(self, session: Session) -> None:
        """
        Note that the batch that announced *session* is over: its other records need not wait.
        """
        waiting = self._announcing.pop(session, [])
        self._waiting -= len(waiting)
        for record in waiting:
            self.add(record)

    @property
    def event_ids(self) -> set[str]:
        """
        The ids of all events that are here.
        """
        drafts = (*self._full, *self._open.values())
        ids = set(chain(*(draft.records for draft in drafts)))
        ids.update(record.event_id for record in chain(*self._announcing.values()))
        return ids

    def due_at(self) -> float | None:
        """
        Say when an open batch has waited long enough; None without one.
        """
        return self._due_at(self._first_open()) if self._open else None

    def limit_bytes(self, size: int, now: float) -> None:
        """
        Keep bodies within *size* bytes for ten minutes, those that wait here included.

        Then a larger one is tried again: the limit may have been a mistake.
        """
        self._body_limit = min(self._body_limit, size)
        self._lifts_at = now + _LIMIT_LASTS
        for record in self.clear():
            self.add(record)

    def clear(self) -> list[Record]:
        """
        Give up all batches that were not taken.

        Returns:
            Their records, in order of admission.
        """
        drafts = (*self._full, *self._open.values())
        records = list(chain(*(batch.records.values() for batch in drafts)))
        records += chain(*self._announcing.values())
        for batch in self._full:
            if batch.session is not None:
                del self._announcing[batch.session]
        for waiting in self._announcing.values():
            waiting.clear()
        self._open.clear()
        self._full.clear()
        self._waiting = 0
        return sorted(records, key=by_seq)

    @property
    def _mixed(self) -> list[_Draft]:
        """
        The open batches that sessions share.
        """
        return [batch for route in _ROUTES if (batch := self._open.get(route)) is not None]

    def _limit(self, session: Session | None) -> int:
        announcement = 0 if session is None else len(session.data)
        return self._body_limit - self.overhead - announcement + 1  # no comma behind the last

    def _begin(self, session: Session | None, record: Record) -> _Draft:
        if len(self._open) >= _MAX_OPEN:
            self._close(self._first_open())
        key = record.route if session is None else session
        batch = _Draft(session, record.route, self._limit(session), record)
        self._open[key] = batch
        return batch

    def _first_open(self) -> _Draft:
        return min(self._open.values(), key=lambda batch: batch.first.seq)

    def _due_at(self, batch: _Draft) -> float:
        return batch.first.pushed_at + self.limits.linger

    def _close(self, batch: _Draft) -> None:
        del self._open[batch.route if batch.session is None else batch.session]
        self._full.append(batch)
        if batch is self._filling:
            self._filling = None
        if batch.session is not None:
            self._announcing[batch.session] = []
