"""
Group records into batches by count, bytes and linger.

Pure: it holds no clock and no task, callers say what time it is. A limit is
checked before a record is added, so that no batch is ever above it; a record
that is above it alone travels alone.
"""

from __future__ import annotations

from collections import deque

from attrs import Factory, define, field, frozen

from hh_exporter._records import MAX_BODY_BYTES, Batch, Record
from hh_exporter._settings import seconds, whole

__all__ = ["BatchLimits", "Batcher"]


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
class Batcher:
    """
    The open batch, and those that are full and not yet taken.

    Args:
        limits: When a batch is full.
        overhead: Bytes of a body beyond its records and the commas between them.
    """

    limits: BatchLimits
    overhead: int
    _open_limit: int = field(init=False)
    """Bytes of records, each with a comma, that make a batch full."""
    _open: dict[str, Record] = Factory(dict)
    _open_bytes: int = 0
    _first: Record | None = None
    """The record of the open batch that was admitted first."""
    _full: deque[Batch] = Factory(deque)

    def __attrs_post_init__(self) -> None:
        self._open_limit = self._limit(self.limits.max_bytes)

    @property
    def has_full(self) -> bool:
        return bool(self._full)

    @property
    def full_bytes(self) -> int:
        """
        How many bytes of records make a batch full.
        """
        return max(1, self._open_limit - 1)

    @property
    def room(self) -> int:
        """
        How many more records the open batch takes by count.
        """
        return self.limits.max_events - len(self._open)

    @property
    def oldest(self) -> Record | None:
        """
        The record that waits longest.
        """
        return self._full[0].records[0] if self._full else self._first

    def add(self, record: Record) -> None:
        """
        Put *record* into the open batch, or into a new one if it does not fit.
        """
        size = len(record.data) + 1  # with its comma
        if record.event_id in self._open or self._open_bytes + size > self._open_limit:
            self._close()
        if self._first is None or record.seq < self._first.seq:
            self._first = record
        self._open[record.event_id] = record
        self._open_bytes += size
        if len(self._open) >= self.limits.max_events or self._open_bytes >= self._open_limit:
            self._close()

    def pop(self, now: float, *, up_to_seq: float = 0) -> Batch | None:
        """
        Take the next batch that is due at *now*.

        A full batch is due; so is one with a record that has waited for
        `linger`, or was admitted as number *up_to_seq* or before.
        """
        if not self._full and self._first is not None:
            due = self._first.pushed_at + self.limits.linger
            if now >= due or self._first.seq <= up_to_seq:
                self._close()
        return self._full.popleft() if self._full else None

    def due_at(self) -> float | None:
        """
        Say when the open batch has waited long enough; None without one.
        """
        return None if self._first is None else self._first.pushed_at + self.limits.linger

    def limit_bytes(self, size: int) -> None:
        """
        Keep bodies within *size* bytes from now on, those that wait here included.
        """
        self._open_limit = min(self._open_limit, self._limit(size))
        for record in self.clear():
            self.add(record)

    def clear(self) -> list[Record]:
        """
        Give up all batches.

        Returns:
            Their records, in order.
        """
        self._close()
        records = [record for batch in self._full for record in batch.records]
        self._full.clear()
        return records

    def _limit(self, body_bytes: int) -> int:
        return body_bytes - self.overhead + 1  # no comma behind the last

    def _close(self) -> None:
        if self._open:
            self._full.append(Batch(tuple(self._open.values())))
            self._open = {}
            self._open_bytes = 0
            self._first = None
