"""
Flushes and closes that wait for outcomes, and when that becomes pointless.

A wait ends early if nothing more can be sent before its deadline. One that begins
while all sending is blocked has a probe of its own first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from attrs import Factory, define

from hh_exporter._bell import Bell
from hh_exporter._clock import Deadline
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.shipping import Shipper

__all__ = ["Wait", "Waits"]


@define(eq=False)
class Wait:
    """
    A flush or a close.
    """

    bell: Bell
    deadline: Deadline
    setbacks: int
    """How many answers had failed or refused us when it began."""


@define(eq=False)
class Waits:
    """
    All waits of one worker.
    """

    breaker: Breaker
    shipper: Shipper
    _waits: list[Wait] = Factory(list)

    def begin(self, bell: Bell, deadline: float) -> Wait:
        return Wait(bell, Deadline(deadline, self.shipper.clock.now()), self.breaker.setbacks)

    @contextmanager
    def open(self, bell: Bell, deadline: float) -> Iterator[Wait]:
        """
        Ring *bell* too once it is pointless to wait for it.
        """
        wait = self.begin(bell, deadline)
        self._waits.append(wait)
        try:
            yield wait
        finally:
            self._waits.remove(wait)

    def look_at(self, wait: Wait | None) -> float:
        """
        Say when to look again whether *wait* has time left; inf without one.
        """
        return inf if wait is None else wait.deadline.look(self.shipper.clock.now())

    def is_pointless(self, wait: Wait, idle_until: float) -> bool:
        """
        Whether nothing more can be sent before the deadline of *wait*.

        Args:
            wait: Whose deadline it is.
            idle_until: When the first of those goes on that back off.
        """
        breaker = self.breaker
        if self.shipper.on_wire or breaker.is_probing:
            return False
        if breaker.is_blocked and breaker.setbacks == wait.setbacks:
            return breaker.hold_until > wait.deadline.at  # its own probe has not been answered
        if wait.deadline.at == inf:
            return breaker.is_suspended
        return max(breaker.free_at(), idle_until) > wait.deadline.at

    def ring_pointless(self, idle_until: float, *, all_of_them: bool) -> None:
        """
        Wake those that wait in vain.
        """
        for wait in tuple(self._waits):
            if all_of_them or self.is_pointless(wait, idle_until):
                wait.bell.ring()
