"""
When records come back from disk: a batch at a time, once the server takes events.

A fleet that starts together must not come back together: the first batch is a
trial, and the next ones follow at jittered intervals that shrink as long as the
server accepts them. While all sending is blocked, records come back to probe once
every record in memory has done so in vain, since each of those may be at fault;
they change places with these.
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
        if not ledger.spooled or self._is_asked or self.queue.closed:
            return inf
        # Half of the queue stays free for new events, which would only displace these again.
        most = max(self.max_events, self.queue.limits.max_events // 2)
        if is_blocked and in_memory > len(self.prober.aside):
            return inf  # a delivery that ends rings
        if not is_blocked and in_memory and (in_memory >= most or not is_taken):
            return inf
        # While sending is blocked, records in memory use the next probe.
        due_at = self._next_at if is_blocked else max(self._next_at, self.breaker.free_at())
        if now < due_at:
            return due_at
        self._interval = max(_NARROWEST, self._interval / 2) if is_taken else _WIDEST
        self._next_at = now + self._interval * (0.5 + self.random())
        self._accepted = self.breaker.accepted
        self._is_asked = True
        if is_blocked:
            self.prober.make_room()
        if self.spooler.load(self.max_events, self.max_bytes):
            return inf
        self._is_asked = False
        return self._next_at

    def _note_loaded(self) -> None:
        """
        Note that what was asked for is in memory, or can't be loaded. Any thread.
        """
        self._is_asked = False
        self.wake()
