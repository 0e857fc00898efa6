"""
Which record of one file comes back to memory next.

Each record has its turn once a round, in the order of the file. One that leaves memory again is
next in another round, and so is all that was written since: an update that is written while its
event is on disk does not come back before it.
"""

from __future__ import annotations

from math import inf

from attrs import evolve, frozen

__all__ = ["Round"]


@frozen
class Round:
    """
    The progress of a round.
    """

    last: int = 0
    """The id of the record that came to memory last."""
    end: float = inf
    """The last id of this round; what follows is of the next."""

    def after(self, id_: int) -> Round:
        """
        Return the progress once this record, which was next, came to memory.
        """
        return Round(id_, self.end if self._has(id_) else inf)

    def with_returned(self, id_: int, newest: int) -> Round:
        """
        Return the progress once this record left memory again.

        Args:
            newest: The last id that was written.
        """
        return evolve(self, end=min(self.end, newest)) if id_ <= self.last else self

    def back_to(self, id_: int, before: Round) -> Round:
        """
        Return the progress if this record, which came since *before*, is next again.
        """
        return Round(id_ - 1, min(self.end, before.end) if before._has(id_) else self.end)

    def _has(self, id_: int) -> bool:
        return self.last < id_ <= self.end
