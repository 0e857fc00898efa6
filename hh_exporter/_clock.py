"""
The only source of time.

Everything that waits or reads a clock is given a `Clock`, so that a test can give
its own. Nothing else in the package may import `time` or sleep. Giving up happens
at a `Deadline`, never at a bare reading: time in which the event loop was blocked,
or the process frozen, must cost no event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from types import coroutine
from typing import Protocol

from attrs import define, field

__all__ = [
    "NEVER",
    "PARTS",
    "Clock",
    "Deadline",
    "SystemClock",
    "Timer",
    "let_arrive",
    "turn",
    "within",
]

PARTS = 4
"""Parts of a deadline; a standstill costs one of them at most."""

_STANDSTILL = 0.05
"""Seconds by which a loop that is not blocked may be late."""

_SHORTEST = 0.001
"""Seconds of a part, at least."""

_TURNS = 5
"""Turns of a loop in which it reads what arrived and the task that waits for it goes on."""


class Timer(Protocol):
    """
    A scheduled call.
    """

    def cancel(self) -> None:
        """
        Don't make the call.
        """


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

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """
        Call *callback* in the running loop once `now()` reaches *when*.
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

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(when - self.now(), callback)


@define(eq=False)
class Deadline:
    """
    When to give up: at a reading of the clock, postponed by the time in which nothing could run.

    Callers look at it after each quarter. A quarter that ends late counts for its planned length
    only, so a standstill of the loop or the process, however long, costs a quarter at most; and
    nothing wakes an idle loop. Pure: callers say what time it is.

    Args:
        at: The reading; inf for never.
        now: What time it is.
    """

    at: float
    _now: float
    held: float = field(default=0.0, init=False)
    """Seconds of standstill so far."""
    _part: float = field(init=False)
    _next: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._part = max(_SHORTEST, (self.at - self._now) / PARTS)
        self._next = self._now + self._part

    @classmethod
    def after(cls, clock: Clock, seconds: float, latest: float = inf) -> Deadline:
        """
        Make one that is over after *seconds*, and not after *latest*.
        """
        now = clock.now()
        return cls(min(now + seconds, latest), now)

    def look(self, now: float) -> float:
        """
        Note what time it is.

        Returns:
            When to look again.
        """
        late = now - min(self._next, self.at)
        if _STANDSTILL < late < inf:
            self.at += late
            self.held += late
        if late >= 0:
            self._next = now + self._part
        return min(self._next, self.at)

    def is_over(self, now: float) -> bool:
        """
        Note what time it is, and say whether it is time to give up.
        """
        self.look(now)
        return now >= self.at


NEVER = Deadline(inf, 0.0)


@asynccontextmanager
async def within(clock: Clock, deadline: Deadline) -> AsyncIterator[None]:
    """
    Raise `TimeoutError` in the block at *deadline*, unless what it waits for has arrived by then.
    """
    loop = asyncio.get_running_loop()
    is_late = deadline.is_over(clock.now())  # then nothing may even begin
    turns, timer, is_left = 0 if is_late else _TURNS, None, False

    def look() -> None:
        nonlocal turns, timer
        now = clock.now()
        if is_left or loop.is_closed():
            return
        if not deadline.is_over(now):
            timer = clock.call_at(deadline.look(now), look)
        elif turns:
            # An answer may lie in the socket: uvloop calls timers before it reads, and asyncio
            # reads first, but cancels the task before that can go on with what was read.
            turns -= 1
            loop.call_soon(look)
        else:
            scope.reschedule(loop.time())

    async with asyncio.timeout(None) as scope:
        try:
            if deadline.at < inf:
                timer = clock.call_at(deadline.look(clock.now()), look)
            yield
        finally:
            is_left = True
            if timer is not None:
                timer.cancel()


async def let_arrive() -> None:
    """
    Let the loop read what has arrived, and tasks go on with that.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@coroutine
def turn() -> Generator[None, None, None]:
    """
    Let the loop turn once; needs no task.
    """
    yield
