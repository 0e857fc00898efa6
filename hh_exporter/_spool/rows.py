"""
Records as they are on disk, and back.

On disk all times are Unix times: monotonic readings mean nothing after a restart.
"""

from __future__ import annotations

from threading import RLock

from attrs import define

from hh_exporter._clock import Clock
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import Record, Session, Spot
from hh_exporter._sessions import Sessions
from hh_exporter._spool.kept import Letter, SpooledRecord

__all__ = ["Rows"]


@define(eq=False)
class Rows:
    """
    The translation for one exporter.
    """

    clock: Clock
    sessions: Sessions
    lock: RLock
    """The queue's, under which sessions are found."""

    def to_row(self, record: Record) -> SpooledRecord:
        session = record.session
        return SpooledRecord(
            event_id=record.event_id,
            data=record.data,
            pushed_at=self.to_wall(record.pushed_at),
            tried_for=record.tried_for,
            seq=record.seq,
            session_id=None if session is None else session.session_id,
            session=None if session is None else session.data,
        )

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
            pushed_at=self.to_wall(record.pushed_at),
            died_at=self.clock.wall(),
            outcome=outcome,
            reason=reason or "",
            status=status,
            answer=answer,
        )

    def to_wall(self, reading: float) -> float:
        """
        Say which Unix time *reading* was.
        """
        return self.clock.wall() - (self.clock.now() - reading)

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
        pushed_at = min(now, now - self.clock.wall() + row.pushed_at)
        record = Record(row.event_id, row.data, pushed_at, session)
        record.seq, record.tried_for, record.spot = row.seq, row.tried_for, spot
        return record
