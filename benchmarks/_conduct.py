"""
How a server behaves that is far away, slow or strict.

Plain arithmetic on the time that it is given: it holds no clock and no task.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapreplace
from math import log, sqrt
from random import Random

from attrs import define, field, frozen

__all__ = ["Conduct", "Manners", "Reply"]

_SEED = 20_250_114


@frozen(kw_only=True)
class Conduct:
    """
    What a server is like; what is not given is no limit. Durations are seconds.
    """

    delay: float = 0.0
    """From a request to its answer."""
    spread: float = 0.0
    """The standard deviation of that, over its mean, of a log-normal distribution."""
    later: float | None = None
    """The delay in the second half of the load."""
    turns_after: float = 0.0
    """How long after the first request that half begins."""
    workers: int = 0
    """How many requests it works on at once; others wait in line."""
    per_event: float = 0.0
    """How long a worker takes for an event."""
    allowed: int = 0
    """Requests that it takes in each second of its clock; it refuses others with 429."""
    retry_after: int | None = None
    """What it says then."""
    bandwidth: float = 0.0
    """Bits a second of the line to it, which bodies take one after the other."""

    def describe(self) -> str:
        """
        Say what it is like in a few words.
        """
        words = [f"{self.delay * 1000:.0f} ms"]
        if self.spread:
            words.append(f"log-normal with a coefficient of variation of {self.spread:g}")
        if self.later is not None:
            words.append(f"{self.later * 1000:.0f} ms in the second half")
        if self.workers:
            words.append(f"{self.workers} workers that take {self.per_event * 1000:g} ms an event")
        if self.allowed:
            words.append(f"429 beyond {self.allowed} requests in a second")
        if self.retry_after is not None:
            words.append(f"Retry-After: {self.retry_after}")
        if self.bandwidth:
            words.append(f"{self.bandwidth / 1e6:g} Mbit/s")
        return ", ".join(words)


@frozen
class Reply:
    """
    When a request is answered, and whether it is refused.
    """

    at: float
    is_refused: bool = False


@define(eq=False)
class Manners:
    """
    A server of some conduct, request by request.
    """

    conduct: Conduct
    _began: float | None = field(default=None, init=False)
    _free: list[float] = field(init=False)
    """When each worker is free."""
    _line_free: float = field(default=0.0, init=False)
    _second: int = field(default=0, init=False)
    _taken: int = field(default=0, init=False)
    """Requests that came in that second of the clock."""
    _draw: Callable[[], float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._free = [0.0] * self.conduct.workers
        random = Random(_SEED)
        sigma = sqrt(log(1 + self.conduct.spread**2))
        self._draw = lambda: random.lognormvariate(-(sigma**2) / 2, sigma)

    def answer(self, now: float, *, events: int, size: int) -> Reply:
        """
        Decide about a request of so many *events* and a body of *size* bytes that came *now*.
        """
        if self._began is None:
            self._began = now
        if self.conduct.allowed and not self._is_allowed(now):
            return Reply(now + self._delay(now), is_refused=True)
        at = now
        if self.conduct.bandwidth:
            self._line_free = at = max(at, self._line_free) + size * 8 / self.conduct.bandwidth
        if self._free:
            at = max(at, self._free[0]) + events * self.conduct.per_event
            heapreplace(self._free, at)
        return Reply(at + self._delay(now))

    def _is_allowed(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken <= self.conduct.allowed

    def _delay(self, now: float) -> float:
        delay, later = self.conduct.delay, self.conduct.later
        assert self._began is not None
        if later is not None and now - self._began >= self.conduct.turns_after:
            delay = later
        return delay * self._draw() if self.conduct.spread else delay
