"""
Wake a task of one loop from any thread.

A ring is never lost: it stays until `clear`. Ringing for a closed loop does
nothing: no task can wait there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from attrs import Factory, define

from hh_exporter._clock import Clock, Deadline, within

__all__ = ["LOOK", "Bell"]

LOOK: Final = 1.0
"""Seconds between two checks, while waiting, of whether another thread's loop still runs."""


@define(eq=False)
class Bell:
    """
    An event that any thread may set; made for the running loop, unless another is given.
    """

    clock: Clock
    _loop: asyncio.AbstractEventLoop = Factory(asyncio.get_running_loop)
    _event: asyncio.Event = Factory(asyncio.Event)

    def ring(self) -> None:
        # In the loop's own thread too: a signal handler runs there while the loop sleeps.
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, deadline: float | None = None) -> None:
        """
        Wait for a ring, until *deadline* at most.
        """
        try:
            async with self.clock.timeout_at(deadline):
                await self._event.wait()
        except TimeoutError:
            pass

    async def wait_within(self, deadline: Deadline) -> None:
        """
        Wait for a ring, or give up at *deadline*.
        """
        try:
            async with within(self.clock, deadline):
                await self._event.wait()
        except TimeoutError:
            pass

    async def wait_through(self, deadline: Deadline) -> None:
        """
        Do the same, whatever cancels the task meanwhile: what it waits for must finish.

        The caller, which was cancelled, raises that itself.
        """
        while not (self._event.is_set() or deadline.is_over(self.clock.now())):
            with suppress(asyncio.CancelledError):
                await self.wait_within(deadline)

    async def wait_beside(self, loop: asyncio.AbstractEventLoop, deadline: Deadline) -> None:
        """
        Wait for a ring from what runs in *loop*, until *deadline*, or until that loop stops.
        """
        if loop is self._loop:
            await self.wait_within(deadline)
            return
        while not self._event.is_set() and loop.is_running():
            now = self.clock.now()
            if deadline.is_over(now):
                break
            await self.wait(min(deadline.look(now), now + LOOK))
