"""
Records as they are on disk, and back.

On disk all times are Unix times: monotonic readings mean nothing after a restart. Within
a process only the monotonic clock counts: a Unix time is the one at which the process
began, and what has passed since. So the age of an event is right whatever the machine's
clock is set to meanwhile; once it was, the times that are on disk are corrected.
"""

from __future__ import annotations

from threading import RLock

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import Block, Record, Session, Spot
from hh_exporter._sessions import Sessions
from hh_exporter._spool.kept import Letter, SpooledRecord

__all__ = ["Rows"]

_STEP = 60.0
"""Seconds by which the machine's clock must have been set to be worth a correction."""


@define(eq=False)
class Rows:
    """
    The translation for one exporter.
    """

    clock: Clock
    sessions: Sessions
    lock: RLock
    """The queue's, under which sessions are found."""
    _epoch: float = field(init=False)
    """The Unix time at which the monotonic clock was 0."""
    _began_at: float = field(init=False)
    """A reading of the monotonic clock before which none of its events was pushed."""
    _opened: tuple[Block, dict[int, bytes]] | None = field(default=None, init=False)
    """The block that was unpacked last: its next record is likely to follow."""

    def __attrs_post_init__(self) -> None:
        self._began_at = self.clock.now()
        self._epoch = self.clock.wall() - self._began_at

    def wall(self) -> float:
        """
        Say which Unix time it is.
        """
        return self.to_wall(self.clock.now())

    def follow_clock(self) -> tuple[float, float, float] | None:
        """
        Go by the machine's clock again, if it was set since. Under the queue's lock.

        Returns:
            The first and the last Unix time that was right until now, and what is to be added
            to it; None if that is less than a minute.
        """
        now = self.clock.now()
        step = self.clock.wall() - now - self._epoch
        if abs(step) < _STEP:
            return None
        first, last = self.to_wall(self._began_at), self.to_wall(now)
        self._epoch += step
        return first, last, step

    def to_row(self, record: Record) -> SpooledRecord:
        session = record.session
        return SpooledRecord(
            event_id=record.event_id,
            data=record.data if record.block is None else self._unpack(record, record.block),
            pushed_at=self.to_wall(record.pushed_at),
            tried_for=record.tried_for,
            seq=max(0, record.seq),  # another place in the order is this process's own
            session_id=None if session is None else session.session_id,
            session=None if session is None else session.data,
            route=record.route,
        )

    def _unpack(self, record: Record, block: Block) -> bytes:
        """
        Read the bytes of a record that stays packed. Under the queue's lock.
        """
        if self._opened is None or self._opened[0] is not block:
            self._opened = block, block.open()
        return self._opened[1][id(record)]

    def to_letter(
        self,
        record: Record,
        outcome: Outcome,
        reason: DropReason | None,
        status: int | None,
        answer: str,
    ) -> Letter:
        """
        Make a dead letter of a record that has just died.
        """
        return Letter(
            event_id=record.event_id,
            data=record.data,
            route=record.route,
            pushed_at=self.to_wall(record.pushed_at),
            died_at=self.wall(),
            outcome=outcome,
            reason=reason or "",
            status=status,
            answer=answer,
        )

    def to_wall(self, reading: float) -> float:
        """
        Say which Unix time *reading* was.
        """
        return reading + self._epoch

    def to_record(self, row: SpooledRecord, spot: Spot) -> Record:
        """
        Make a record of *row*, with its session unless that is announced by now.
        """
        now = self.clock.now()
        session: Session | None = None
        if row.session_id is not None and row.session is not None:
            with self.lock:
                if not self.sessions.is_known(row.session_id):
                    session = self.sessions.add(Session(row.session_id, row.session))
        # Not later than now, which would linger until then: clocks are set back.
        pushed_at = min(now, row.pushed_at - self._epoch)
        record = Record(row.event_id, row.data, pushed_at, session, row.route)
        record.seq, record.tried_for, record.spot = row.seq, row.tried_for, spot
        return record
