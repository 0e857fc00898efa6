"""
When records come back from disk: a batch at a time, once the server takes events.

A fleet that starts together must not come back together: the first batch is a
trial, and the next ones follow at jittered intervals. Those shrink as long as the
server accepts events, until records come back as fast as they are sent. While all
sending is blocked, records come back to probe once every record in memory has done
so in vain, since each of those may be at fault; they change places with these.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from attrs import define, field

from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.probing import Prober
from hh_exporter._queue.queue import RecordQueue

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["Recovery"]

_WIDEST, _NARROWEST = 1.0, 0.01
"""Seconds from one batch to the next, before jitter."""

_AHEAD = 2
"""Batches that wait in memory, at most, when the next one comes back."""


@define(eq=False, kw_only=True)
class Recovery:
    """
    The way back from disk, for one worker.
    """

    spooler: Spooler
    queue: RecordQueue
    breaker: Breaker
    prober: Prober
    random: Callable[[], float]
    max_events: int
    """Records of a batch."""
    max_bytes: int
    wake: Callable[[], None]
    """Called, on the spool's thread, when there is something to look at."""
    _interval: float = field(default=_WIDEST, init=False)
    _next_at: float = field(default=-inf, init=False)
    _accepted: int = field(default=-1, init=False)
    """How many answers had created events when the last batch was asked for."""
    _is_asked: bool = field(default=False, init=False)
    _flows: bool = field(default=False, init=False)
    """Whether the server took what came back, and was in no trouble since."""

    def begin(self) -> None:
        """
        Open the spool, and listen to it: the worker begins.
        """
        self.spooler.writer.on_loaded = self._note_loaded
        self.spooler.writer.finder.on_found = self.wake
        self.spooler.start()

    def look(self, now: float) -> float:
        """
        Ask for the next batch if its time has come, and see to it that the old expire.

        Returns:
            When to look again, if nothing happens before.
        """
        return min(self._ask(now), self.spooler.tend(now))

    def _ask(self, now: float) -> float:
        ledger = self.queue.ledger
        # But for what can't be sent until what is on disk came back.
        in_memory = ledger.queued + ledger.in_flight - self.queue.followed.stuck
        is_taken, is_blocked = self._accepted != self.breaker.accepted, self.breaker.is_blocked
        was_taken = self._flows or (is_taken and self._accepted >= 0)
        self._flows = was_taken and not self.breaker.trouble
        if not ledger.spooled or self._is_asked or self.queue.closed:
            return inf
        if is_blocked and in_memory > len(self.prober.aside):
            return inf  # a delivery that ends rings
        goes_on = is_taken or self._flows
        if not is_blocked and in_memory and (self._has_enough(in_memory) or not goes_on):
            return inf
        # While sending is blocked, records in memory use the next probe.
        due_at = self._next_at if is_blocked else max(self._next_at, self.breaker.free_at())
        if now < due_at:
            return due_at
        self._interval = max(_NARROWEST, self._interval / 2) if goes_on else _WIDEST
        self._next_at = now + self._interval * (0.5 + self.random())
        self._accepted = self.breaker.accepted
        self._is_asked = True
        if is_blocked:
            self.prober.make_room()
        if self.spooler.load(min(self.max_events, self._most), self.max_bytes):
            return inf
        self._is_asked = False
        return self._next_at

    @property
    def _most(self) -> int:
        """
        With how many records in memory no more come back: new ones would displace them again.
        """
        return max(1, self.queue.limits.max_events // 2)

    def _has_enough(self, in_memory: int) -> bool:
        """
        Whether as much waits in memory as can soon be sent.
        """
        ledger = self.queue.ledger
        size = min(_AHEAD * self.max_bytes, self.queue.limits.max_bytes // 2)
        return (
            in_memory >= self._most
            or len(ledger.waiting) >= _AHEAD * self.max_events
            or ledger.waiting_bytes >= size
        )

    def _note_loaded(self) -> None:
        """
        Note that what was asked for is in memory, or can't be loaded. Any thread.
        """
        self._is_asked = False
        self.wake()
