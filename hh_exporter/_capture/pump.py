"""
When captured spans are read: in the background, in slices, and at once where it matters.

A task in the exporter's loop reads what has ended, holding the loop for about a millisecond at
a time, and waits for calls whose doubles may come. There is a task only while something waits.
Who flushes or closes the exporter, or ends its loop, has all that waits pushed first.

`wake` runs where a span ends, so it takes no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import Context
from math import inf
from threading import RLock

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._capture.converter import Converter
from hh_exporter._capture.inbox import Inbox
from hh_exporter._clock import Clock, turn
from hh_exporter._log import get_log

__all__ = ["Pump"]

log = get_log(__name__)

_SLICE = 0.001
"""Seconds for which a loop is held at a time; longer only by one large span."""


@define(eq=False, kw_only=True)
class Pump:
    """
    The background work of one processor; a feed of its exporter.
    """

    clock: Clock
    converter: Converter
    loop: Callable[[], asyncio.AbstractEventLoop | None]
    """Finds the loop of the exporter's worker, if there is one; takes no lock."""
    lose: Callable[[int], None]
    """Counts and announces spans that had no room."""
    inbox: Inbox = field(init=False)
    is_asleep: bool = field(default=True, init=False)
    """Whether there is no task, and none is about to begin."""
    _home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    """The loop that was asked for a task."""
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _bell: Bell | None = field(default=None, init=False)
    _lock: RLock = Factory(RLock)
    """Held while spans are read and pushed. Reentrant, for signal handlers."""

    def __attrs_post_init__(self) -> None:
        self.inbox = Inbox(self._hurry)

    def wake(self) -> None:
        """
        Have a task in the exporter's loop, if there is a loop. Any thread.
        """
        loop = self.loop()
        if loop is None:
            return
        self.is_asleep, self._home = False, loop
        try:
            loop.call_soon_threadsafe(self._begin, loop, context=Context())
        except RuntimeError:  # closed just now
            self.is_asleep = True

    def see_to_task(self) -> None:
        """
        Wake it in another loop, if the one that it was to live in is not the exporter's any more.
        """
        if not self.is_asleep and self.loop() is not self._home:
            self.wake()

    # As a feed.

    def holds(self) -> bool:
        return bool(self.inbox.steps) or len(self.converter.doubles) > 0

    def give(self) -> None:
        for _ in self._work(all_of_them=True):
            pass

    async def give_in_slices(self, deadline: float) -> None:
        await self._slices(deadline, all_of_them=True)

    # Within.

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._home or (self._task is not None and not self._task.done()):
            return
        self._task = asyncio.Task(self._run(), loop=loop, name="hh_exporter capture")
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task, self.is_asleep = None, True
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error_once(
                "hh_exporter: reading spans failed with %s; logged once", type(exc).__name__
            )

    async def _run(self) -> None:
        home, self._bell = self._home, Bell(self.clock)
        while self._home is home:
            self._bell.clear()
            await self._slices(inf)
            due = self.converter.doubles.due()
            if due is None:
                self.is_asleep = True  # first: what comes from here on wakes it
                if not self.inbox.steps:
                    return
                self.is_asleep = False
                continue
            await self._bell.wait(due)

    def _hurry(self) -> None:
        if (bell := self._bell) is not None:
            bell.ring()

    async def _slices(self, deadline: float, *, all_of_them: bool = False) -> None:
        ends_at = self.clock.now() + _SLICE
        for _ in self._work(all_of_them=all_of_them):
            now = self.clock.now()
            if now >= deadline:
                return
            if now >= ends_at:
                await turn()
                ends_at = self.clock.now() + _SLICE

    def _work(self, *, all_of_them: bool) -> Iterator[None]:
        """
        Read what has ended and push what is due, a span at each step.
        """
        converter, inbox, now = self.converter, self.inbox, self.clock.now
        while inbox.others or inbox.steps:
            with self._lock:
                self._read_one()
            yield
        if lost := inbox.take_lost():
            self.lose(lost)
        with self._lock:
            released = converter.release(now(), all_of_them=all_of_them)
        while True:
            with self._lock:
                if next(released, self) is self:
                    return
            yield

    def _read_one(self) -> None:
        try:
            while True:
                self.converter.pass_over(*self.inbox.others.popleft())
        except IndexError:  # none is left; asked for in no other way, as another thread takes, too
            pass
        try:
            ended = self.inbox.steps.popleft()
        except IndexError:
            return
        self.converter.take(ended, self.clock.now())
