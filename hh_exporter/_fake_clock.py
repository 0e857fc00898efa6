"""
A clock that tests move.

It moves only when a test says so, and lets everything that it wakes run before it moves on.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf

__all__ = ["EPOCH", "FakeClock", "settle"]

EPOCH = 1_750_000_000.0
"""The Unix time at which every fake clock begins."""


class FakeClock:
    """
    A clock that moves only when a test says so.

    Sockets stay real: first await what must have happened on the network, then
    `advance`. It belongs to one event loop: move it there.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _Timer]] = []
        self.delays: list[float] = []
        """Every delay that was slept through or is being slept."""
        self.waits: int = 0
        """How often something began to wait until a moment."""

    def now(self) -> float:
        """
        Read how many seconds it has moved.
        """
        return self._now

    def wall(self) -> float:
        """
        Read it as Unix time.
        """
        return EPOCH + self._now

    async def sleep(self, delay: float) -> None:
        """
        Wait until it was moved by *delay* seconds.
        """
        self.delays.append(delay)
        woken = asyncio.Event()
        self.call_at(self._now + delay, woken.set)
        await woken.wait()

    def timeout_at(self, deadline: float | None) -> AbstractAsyncContextManager[object]:
        """
        Raise `TimeoutError` in the block once it was moved to *deadline*.
        """
        self.waits += 1
        return self._timeout_at(deadline)

    @asynccontextmanager
    async def _timeout_at(self, deadline: float | None) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        timer = None

        def fire() -> None:
            if not loop.is_closed():
                scope.reschedule(loop.time())

        async with asyncio.timeout(None) as scope:
            try:
                if deadline is not None:
                    timer = self.call_at(deadline, fire)
                yield
            finally:
                if timer is not None:
                    timer.cancel()

    def call_at(self, when: float, callback: Callable[[], None]) -> _Timer:
        """
        Call *callback* once it was moved to *when*, at once if it was.
        """
        timer = _Timer(callback)
        if when <= self._now:
            callback()
        else:
            heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def next_timer(self) -> float:
        """
        Say when the next of those who wait is due, inf if none does.
        """
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else inf

    async def advance(self, seconds: float) -> None:
        """
        Move the clock, stopping at every timer on the way.
        """
        await self.advance_to(self._now + seconds)

    async def advance_to(self, moment: float) -> None:
        """
        Move the clock to a later reading, in the same way.
        """
        await settle()
        while self.next_timer() <= moment:
            self._now, _, timer = heapq.heappop(self._timers)
            timer.callback()
            await settle()
        self._now = max(self._now, moment)
        await settle()

    def stand_still(self, seconds: float) -> None:
        """
        Move the clock as if the event loop were blocked: what is due meanwhile runs late.
        """
        self._now += seconds
        while self.next_timer() <= self._now:
            heapq.heappop(self._timers)[2].callback()


class _Timer:
    """
    A scheduled call.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] = callback
        self.is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


async def settle() -> None:
    """
    Let everything run that can run without the network.
    """
    for _ in range(20):
        await asyncio.sleep(0)
