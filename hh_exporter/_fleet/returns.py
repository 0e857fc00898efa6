"""
Outcomes that send a record back to the stream instead of ending it, and for how long.

By our own fault, or a little early: an update whose event another relay has may come before it.
It is given back for some seconds, until it is so old that its event must have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from attrs import Factory, define

from hh_exporter._clock import Clock
from hh_exporter._fleet.hand import Hand
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import UPDATES, Record

__all__ = ["Returns"]

_EARLY: Final = 5.0
"""Seconds for which an update waits in the stream that came before its event."""
_FAULTY: Final = 30.0
"""Seconds for which a record waits there on which we failed by a fault of our own."""
_PATIENCE: Final = 300.0
"""Seconds for which an update may wait for its event, at least."""


@define(eq=False)
class Returns:
    """
    The records of one relay that go back.
    """

    hand: Hand
    clock: Clock
    delays: dict[Record, float] = Factory(dict)
    """Seconds for which they wait in the stream, where other relays can't have them before."""

    def spares(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
        status: int | None,
    ) -> bool:
        """
        Whether *records*, all with one outcome, go back instead.
        """
        if reason is DropReason.INTERNAL_ERROR:
            delay = _FAULTY
        elif (
            outcome is Outcome.REJECTED
            and status == HTTPStatus.NOT_FOUND
            and records[0].route == UPDATES
            and any(map(self._may_be_early, records))
        ):
            delay = _EARLY
        else:
            return False
        self.delays.update((r, delay) for r in records if self.hand.of(r))
        return True

    def delay(self, record: Record) -> float:
        """
        Take the seconds for which *record* waits in the stream; 0.0 if any relay may have it now.
        """
        return self.delays.pop(record, 0.0)

    def _may_be_early(self, record: Record) -> bool:
        held = self.hand.of(record)
        if held is None:
            return False
        return self.clock.wall() - held.published_at < max(_PATIENCE, 5 * self.hand.ack_wait)
