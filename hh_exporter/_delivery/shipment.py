"""
One body, and the state of its attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from attrs import define, field

from hh_exporter._clock import NEVER, Deadline
from hh_exporter._dialects.dialect import Answer
from hh_exporter._outcomes import Rest, Verdict

__all__ = ["Shipment"]

_UNANSWERED = Verdict(rest=Rest.RETRY, status=None, reason="no answer in time")
"""Until the first answer."""

_FAILURES_TO_BLAME = 3


@define(eq=False, kw_only=True)
class Shipment:
    """
    One body, and the state of its attempts.
    """

    method: str = "POST"
    path: str
    wrap: Callable[[], Any]
    """Makes the body of what is still to be sent."""
    read: Callable[[Answer], Verdict]
    """Says what an answer means, and settles what was created."""
    tried_for: float = 0.0
    """Seconds for which its records were tried so far, standstills not counted."""
    deadline: Deadline = NEVER
    is_probe: bool = False
    """Whether it may be sent while all sending is blocked."""
    is_full: bool = False
    """Whether it has all of a full batch: only such bodies show how fast the server is."""
    is_divisible: bool = False
    """Whether it can be divided, should the server fail on it."""
    is_urgent: bool = False
    """Whether it is tried until its deadline, even if the server fails on everything."""
    body: Any = field(init=False, repr=False)
    """What the transport sends; its length is in bytes."""
    compressed: bytes | None = field(default=None, init=False, repr=False)
    """The same, compressed by gzip; None if it is sent uncompressed."""
    is_plain: bool = False
    """Whether it must be sent uncompressed, since it was refused compressed."""
    verdict: Verdict = _UNANSWERED
    """What the last answer meant."""
    attempts: int = 0
    retry_after: float = 0.0
    """Seconds of silence that the last answer asked for."""
    delay: float = 0.0
    """Seconds of backoff before the next attempt."""
    idle_until: float = -inf
    """When its backoff ends; -inf while it is not backing off."""
    is_blamed: bool = False
    """Whether the server fails on this body while it accepts others."""
    accepted_before: int | None = None
    """How many answers had created events when the server first failed on its records."""
    _failures: int = 0

    def __attrs_post_init__(self) -> None:
        self.body = self.wrap()
        if self.accepted_before is not None:
            self._failures = _FAILURES_TO_BLAME - 1  # they are known: the next one decides

    def note_failure(self, accepted: int) -> None:
        """
        Note that the server failed on it; *accepted* counts answers that created events.
        """
        self._failures += 1
        if self.accepted_before is None:
            self.accepted_before = accepted
        is_alone_in_it = accepted > self.accepted_before
        self.is_blamed = (
            self.is_divisible and is_alone_in_it and self._failures >= _FAILURES_TO_BLAME
        )
