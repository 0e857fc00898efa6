"""
Statistics of requests: how many, how they ended, and how long they took.

Changed under the queue's lock, and in one step each, as the ledger is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from math import inf
from typing import Final

from attrs import Factory, define

__all__ = ["Requests"]

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, inf)
"""Upper bounds of the histogram of durations, in seconds."""


@define(eq=False)
class Requests:
    """
    All attempts of one exporter.
    """

    begun: int = 0
    retries: int = 0
    statuses: Counter[int | None] = Factory(Counter)
    """Requests that ended, by status."""
    duplicates: int = 0
    """Events that the stream had already when they were published again."""
    seconds: float = 0.0
    """Seconds that these took together."""
    _durations: list[int] = Factory(lambda: [0] * len(_BOUNDS))

    def begin(self, *, retry: bool) -> None:
        self.begun += 1
        self.retries += retry

    def end(self, status: int | None, seconds: float) -> None:
        """
        Count how a request ended, and how long it took.
        """
        bound = bisect_left(_BOUNDS, seconds)
        self.statuses.setdefault(status, 0)
        # In one step.
        self.statuses[status] += 1
        self.seconds += seconds
        self._durations[bound] += 1

    def note_duplicates(self, count: int) -> None:
        """
        Count events of an attempt that the stream had already.
        """
        self.duplicates += count

    def durations(self) -> dict[float, int]:
        """
        Say for each bound how many requests took no longer.
        """
        return dict(zip(_BOUNDS, accumulate(self._durations), strict=True))
