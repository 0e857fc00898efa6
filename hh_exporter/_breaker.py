"""
Whether anything may be sent at all.

Two things forbid it: a server that asked to be left alone for a while
(Retry-After holds all sending, not one batch), and one that refuses us as a
whole, by key, address or dialect. While it refuses, one ordinary batch at a time
probes it, at widening intervals. Pure: callers say what time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from attrs import define

__all__ = ["Breaker"]

_FIRST_PROBE = 1.0
_WIDEST_PROBE = 60.0


@define(eq=False)
class Breaker:
    """
    The gate in front of all sending.

    Args:
        random: A source of numbers from 0 to 1, for the jitter of probes.
    """

    random: Callable[[], float]
    reason: str = ""
    """Why the server refuses us and what to check; empty while it does not."""
    refusals: int = 0
    """How many answers refused us so far."""
    hold_until: float = -inf
    """Until when the server asked to be left alone."""
    is_probing: bool = False
    """Whether a probe is out."""
    _interval: float = _FIRST_PROBE
    _probe_at: float = -inf

    @property
    def is_suspended(self) -> bool:
        return bool(self.reason)

    def opens_at(self) -> float:
        """
        Say from when on a batch may leave: -inf for now, inf while a probe is out.
        """
        if not self.is_suspended:
            return self.hold_until
        return inf if self.is_probing else max(self.hold_until, self._probe_at)

    def hold(self, until: float) -> None:
        """
        Send nothing before *until*.
        """
        self.hold_until = max(self.hold_until, until)

    def suspend(self, now: float, reason: str) -> bool:
        """
        Note an answer that refused us.

        Returns:
            Whether it begins an episode, which is worth one line of log.
        """
        self.refusals += 1
        if self.is_suspended:
            return False
        self.reason = reason
        self._interval = _FIRST_PROBE
        self._probe_later(now)
        return True

    def resume(self) -> bool:
        """
        Note an answer that took us seriously.

        Returns:
            Whether it ends an episode.
        """
        was_suspended = self.is_suspended
        self.reason = ""
        return was_suspended

    def begin_probe(self) -> None:
        """
        Let one batch through; no other until `end_probe`.
        """
        self.is_probing = True

    def end_probe(self, now: float) -> None:
        """
        Note that the probe is over, and wait longer for the next if it failed.
        """
        self.is_probing = False
        if self.is_suspended:
            self._interval = min(self._interval * 2, _WIDEST_PROBE)
            self._probe_later(now)

    def probe_now(self) -> None:
        """
        Let the next probe leave at once: somebody waits for its answer.
        """
        self._probe_at = -inf

    def _probe_later(self, now: float) -> None:
        # Half of it jitter: a fleet that lost its key together should not knock together.
        self._probe_at = now + self._interval * (1 + self.random()) / 2
