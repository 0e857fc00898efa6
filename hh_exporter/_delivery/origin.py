"""
Where records wait that are not in memory, and what must hear of their end: a disk, or a stream.

The queue's hooks move a record there and back (`Overflow.spool`, `RecordQueue.load`); here is
what else the wing asks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import Record

__all__ = ["Origin", "Refill"]


class Origin(Protocol):
    """
    What hears of outcomes.
    """

    def settle(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
        *,
        status: int | None,
        answer: str,
    ) -> None:
        """
        Note that *records* have their outcome: they must not come back.

        Args:
            records: What the books counted in flight until now.
            status: The HTTP status that decided it, None where no answer did.
            answer: The server's own words, for dead letters alone.
        """


class Refill(Protocol):
    """
    What brings records back to memory, for one worker.
    """

    def begin(self) -> None:
        """
        Listen: the worker begins.
        """

    def look(self, now: float) -> float:
        """
        See to what is due, in the worker's own task.

        Returns:
            When to look again, if nothing happens before.
        """
