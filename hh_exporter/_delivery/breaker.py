"""
Whether anything may be sent at all, and whether an event may be given up.

All sending is blocked after five setbacks in a row, with no event created
meanwhile. A setback is an answer that failed in passing, or an event that ends
badly, whatever the status: refused, failed, ambiguous or too large. So no
outage, however it is worded, costs more than five events. An event that ends
badly although others were created since the server first refused it is no
setback, but a hundred of those in a row block, too. One answer blocks at once
if it refuses us as a whole, by key, address or dialect; then, and where events
were refused, we are suspended, else the breaker is open. While sending is
blocked no event ends, and one batch at a time probes the server, at widening
intervals, until an answer says that an event was created: nothing else lifts
it. Beside all that, a server that asked to be left alone for a while holds all
sending, not one batch. Pure: callers say what time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from attrs import define

__all__ = ["SETBACKS_IN_A_ROW", "Breaker"]

SETBACKS_IN_A_ROW = 5
_KNOWN_IN_A_ROW = 100
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
    first_probe: float = _FIRST_PROBE
    widest_probe: float = _WIDEST_PROBE
    """Seconds between two probes, first and at most; half of it is jitter."""
    reason: str = ""
    """Why sending is blocked and, if suspended, what to check; empty while it is not."""
    is_suspended: bool = False
    trouble: str = ""
    """How the last answer failed or refused us; empty once the server takes an event."""
    failure: str = ""
    """The same, but empty as well once the server judged events, even if it created none."""
    probes_alone: bool = False
    """Whether each probe is a single event, since it was events that ended badly."""
    setbacks: int = 0
    """How many answers so far created nothing."""
    accepted: int = 0
    """How many answers so far said that events were created."""
    hold_until: float = -inf
    """Until when the server asked to be left alone."""
    is_probing: bool = False
    """Whether a probe is out."""
    _in_a_row: int = 0
    """Setbacks since an event was created."""
    _known: int = 0
    """Answers since then that ended events known to be at fault: others were created meanwhile."""
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

    # What answers say. Each of the first three returns whether an episode begins or ends, which
    # is one line of log.

    def note_failure(self, now: float, reason: str) -> bool:
        """
        Note an answer that failed in passing, or the lack of one.
        """
        self.setbacks += 1
        self.trouble = self.failure = reason
        self._in_a_row += 1
        if self._in_a_row < SETBACKS_IN_A_ROW or self.is_blocked:
            return False
        self._block(now, reason)
        return True

    def note_suspension(self, now: float, reason: str) -> bool:
        """
        Note an answer that refused us.
        """
        self.setbacks += 1
        self.trouble = self.failure = reason
        if self.is_suspended:
            return False
        self.is_suspended = True
        self._block(now, reason)
        return True

    def note_answer(self, *, created: bool, reason: str = "") -> bool:
        """
        Note any other answer; only one that *created* an event shows that events are taken.

        Args:
            created: Whether it did.
            reason: What it said of events that it did not create; empty if there were none.
        """
        self.failure = ""
        if not created:
            self.setbacks += 1
            self.trouble = reason or self.trouble
            return False
        was_blocked = self.is_blocked
        self.accepted += 1
        self._in_a_row = self._known = 0
        self.reason = self.trouble = ""
        self.is_suspended = self.probes_alone = False
        return was_blocked

    def may_end(
        self, now: float, count: int, reason: str, *, is_known: bool, suspends: bool
    ) -> bool:
        """
        Say whether *count* events may end badly, and count them; block where it is too many.

        Args:
            now: What time it is.
            count: How many end by one answer: all, or none.
            reason: Why sending is blocked if it is, and what to check if that *suspends*.
            is_known: Whether others were created since the server first refused these.
            suspends: Whether events were refused, and did not just fail.
        """
        if self.is_blocked:
            return False
        if is_known:
            self._known += 1
            may = True
            is_last = self._known >= _KNOWN_IN_A_ROW
        else:
            may = self._in_a_row + count <= SETBACKS_IN_A_ROW
            self._in_a_row += count if may else 0
            is_last = not may or self._in_a_row >= SETBACKS_IN_A_ROW
        if is_last:
            self.is_suspended, self.probes_alone = suspends, True
            self._block(now, reason)
        return may

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
            self._interval = min(self._interval * 2, self.widest_probe)
            self._probe_later(now)

    def probe_now(self) -> None:
        """
        Let the next probe leave at once: a flush or a close waits for its answer.
        """
        self._probe_at = -inf

    def _block(self, now: float, reason: str) -> None:
        self.reason = reason
        self._interval = self.first_probe
        self._probe_later(now)

    def _probe_later(self, now: float) -> None:
        # Half of it jitter: a fleet that was cut off together should not knock together.
        self._probe_at = now + self._interval * (1 + self.random()) / 2
