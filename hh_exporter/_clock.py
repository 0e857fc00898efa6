"""
The only source of time.

Everything that waits or reads a clock is handed a `Clock`, so that a test can
be one. Nothing else in the package may import `time` or sleep.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """
    What the package needs to know of time, in seconds.
    """

    def now(self) -> float:
        """
        Read the monotonic clock; deadlines are absolute readings of it.
        """

    def wall(self) -> float:
        """
        Read the Unix time.
        """

    async def sleep(self, delay: float) -> None:
        """
        Wait for *delay* seconds.
        """

    def timeout_at(self, deadline: float | None) -> AbstractAsyncContextManager[object]:
        """
        Raise `TimeoutError` in the block once `now()` reaches *deadline*.
        """


class SystemClock:
    """
    The machine's clocks and the running loop's timers.
    """

    # Bound as they are: push reads both for each event.
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    def timeout_at(self, deadline: float | None) -> AbstractAsyncContextManager[object]:
        # Relative, since a loop's own clock need not be time.monotonic().
        return asyncio.timeout(None if deadline is None else deadline - self.now())
