"""
A clock that tests turn.

It moves when it is told to and not otherwise, and lets all that wakes do its part before it
moves on.
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
    `advance`. It is of one event loop: move it there.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.delays: list[float] = []
        """Every delay that was slept through or is being slept."""
        self.waits: int = 0
        """How often something began to wait until a moment."""

    def now(self) -> float:
        """
        Read how far it was moved.
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
        self._call_at(self._now + delay, woken.set)
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
        is_over = False

        def fire() -> None:
            if not is_over and not loop.is_closed():
                scope.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as scope:
                if deadline is not None:
                    self._call_at(deadline, fire)
                yield
        finally:
            is_over = True

    def _call_at(self, when: float, callback: Callable[[], None]) -> None:
        if when <= self._now:
            callback()
        else:
            heapq.heappush(self._timers, (when, next(self._order), callback))

    def next_timer(self) -> float:
        """
        Say when the next of those who wait is due, inf if none does.
        """
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
            self._now, _, callback = heapq.heappop(self._timers)
            callback()
            await settle()
        self._now = max(self._now, moment)
        await settle()


async def settle() -> None:
    """
    Let everything run that can run without the network.
    """
    for _ in range(20):
        await asyncio.sleep(0)
