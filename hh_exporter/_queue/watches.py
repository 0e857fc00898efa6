"""
What a flush waits for: the outcomes of the records admitted up to one moment.

The counts of all watches are replaced as a whole, so that the ledger can do that in the
same step in which its numbers change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import Factory, define, evolve

from hh_exporter._outcomes import FlushResult, Outcome

__all__ = ["Watch", "Watches"]


@define(eq=False)
class Watches:
    """
    All watches of one ledger.
    """

    tallies: dict[Watch, FlushResult] = Factory(dict)

    def note(self, seqs: Sequence[int], outcome: Outcome) -> dict[Watch, FlushResult]:
        """
        Say what they have counted once the records of these places have that outcome.
        """
        tallies = {}
        for watch, tally in self.tallies.items():
            seen = sum(seq <= watch.last_seq for seq in seqs)
            counted = {str(outcome): getattr(tally, outcome) + seen}
            tallies[watch] = evolve(tally, left=tally.left - seen, **counted)
        return tallies

    def expect(self, count: int) -> dict[Watch, FlushResult]:
        """
        Say what they have counted once *count* more records come before all others.
        """
        return {w: evolve(t, left=t.left + count) for w, t in self.tallies.items()}

    def complete(self) -> list[Watch]:
        """
        List those of which all records have an outcome.
        """
        return [watch for watch, tally in self.tallies.items() if not tally.left]


@define(eq=False)
class Watch:
    """
    Count what becomes of the records admitted up to one moment.
    """

    wake: Callable[[], None]
    """Called, without the lock, once all of these have an outcome."""
    _all: Watches
    last_seq: int = 0
    _last: FlushResult = Factory(lambda: FlushResult(0, 0, 0, 0))
    """What it had counted when it ended."""

    @property
    def left(self) -> int:
        return self.result().left

    def result(self) -> FlushResult:
        return self._all.tallies.get(self, self._last)

    def end(self) -> None:
        """
        Count no more.
        """
        self._last = self.result()
        self._all.tallies = {w: t for w, t in self._all.tallies.items() if w is not self}
