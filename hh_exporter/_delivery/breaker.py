"""
Whether anything may be sent at all.

Three things forbid it: a server that asked to be left alone for a while
(Retry-After holds all sending, not one batch), one that fails whatever it gets
(the breaker is open), and one that refuses us as a whole, by key, address or
dialect (we are suspended). In the last two cases all sending is blocked, and one
batch at a time probes the server, at widening intervals. Pure: callers say what
time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from attrs import define

__all__ = ["Breaker"]

_FAILURES_TO_OPEN = 5
_REFUSALS_TO_SUSPEND = 5
_FIRST_PROBE = 1.0
_WIDEST_PROBE = 30.0


@define(eq=False)
class Breaker:
    """
    The gate in front of all sending.

    Args:
        random: A source of numbers from 0 to 1, for the jitter of probes.
    """

    random: Callable[[], float]
    reason: str = ""
    """Why sending is blocked, and what to check where we are suspended; empty while it is not."""
    is_suspended: bool = False
    needs_proof: bool = False
    """Whether only a created event ends the suspension, not just another answer."""
    trouble: str = ""
    """How the last answer failed or refused us; empty once the server takes an event."""
    setbacks: int = 0
    """How many answers so far failed or refused us."""
    accepted: int = 0
    """How many answers so far said that events were created."""
    hold_until: float = -inf
    """Until when the server asked to be left alone."""
    is_probing: bool = False
    """Whether a probe is out."""
    _failures: int = 0
    """How many answers in a row failed."""
    _refused: int = 0
    """How many lone events in a row were refused, with none created meanwhile."""
    _interval: float = _FIRST_PROBE
    _probe_at: float = -inf

    @property
    def is_blocked(self) -> bool:
        return bool(self.reason)

    @property
    def state(self) -> str:
        """
        Say in one word: closed, open, half_open while a probe is out, or suspended.
        """
        if self.is_suspended:
            return "suspended"
        if not self.is_blocked:
            return "closed"
        return "half_open" if self.is_probing else "open"

    def free_at(self) -> float:
        """
        Say from when on a batch may leave: -inf for now, inf while a probe is out.
        """
        if not self.is_blocked:
            return self.hold_until
        return inf if self.is_probing else max(self.hold_until, self._probe_at)

    def hold(self, until: float) -> None:
        """
        Send nothing before *until*.
        """
        self.hold_until = max(self.hold_until, until)

    # What answers say. Each method tells whether an episode begins or ends: one line of log.

    def note_failure(self, now: float, reason: str) -> bool:
        """
        Note an answer that failed in passing, or the lack of one.
        """
        self.setbacks += 1
        self.trouble = reason
        self._failures += 1
        if self._failures < _FAILURES_TO_OPEN or self.is_blocked:
            return False
        self._block(now, reason)
        return True

    def note_suspension(self, now: float, reason: str, *, needs_proof: bool = False) -> bool:
        """
        Note an answer that refused us.
        """
        self.setbacks += 1
        self.trouble = reason
        if self.is_suspended:
            return False
        self.is_suspended = True
        self.needs_proof = needs_proof
        self._block(now, reason)
        return True

    def note_refusal(self, now: float, reason: str) -> bool:
        """
        Note that the server refused an event by itself.

        So many in a row, and it is not the events that it refuses.
        """
        self._refused += 1
        if self._refused < _REFUSALS_TO_SUSPEND:
            return False
        return self.note_suspension(now, reason, needs_proof=True)

    def note_answer(self, *, created: bool) -> bool:
        """
        Note an answer that took us seriously, whether or not it *created* an event.
        """
        self._failures = 0
        if created:
            self.trouble = ""
            self.accepted += 1
            self._refused = 0
        elif self.needs_proof:
            self.setbacks += 1
            return False
        was_blocked = self.is_blocked
        self.reason = ""
        self.is_suspended = self.needs_proof = False
        return was_blocked

    # Probes.

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
        if self.is_blocked:
            self._interval = min(self._interval * 2, _WIDEST_PROBE)
            self._probe_later(now)

    def probe_now(self) -> None:
        """
        Let the next probe leave at once: somebody waits for its answer.
        """
        self._probe_at = -inf

    def _block(self, now: float, reason: str) -> None:
        self.reason = reason
        self._interval = _FIRST_PROBE
        self._probe_later(now)

    def _probe_later(self, now: float) -> None:
        # Half of it jitter: a fleet that was cut off together should not knock together.
        self._probe_at = now + self._interval * (1 + self.random()) / 2
