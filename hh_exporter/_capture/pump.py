"""
When captured spans are read: in the background, in slices, and at once where it matters.

The exporter's loop reads what has ended, and is held for about half a millisecond at a time. It
looks again when calls that wait for duplicates are due; while nothing waits, nothing is scheduled
there. A flush, a close and the end of the loop have all that waits pushed first.

`wake` runs where a span ends, so it takes no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import partial
from threading import RLock
from typing import Final, Protocol

from attrs import Factory, define, field

from hh_exporter._capture.converter import Converter, Then
from hh_exporter._capture.inbox import Inbox
from hh_exporter._clock import Clock, Timer, turn
from hh_exporter._log import get_log
from hh_exporter._outside import let_through

__all__ = ["Home", "Pump"]

log = get_log(__name__)

_SLICE: Final = 0.0005
"""Seconds for which a loop is held at a time; longer only by one large span."""
_MANY: Final = 1_000
"""Spans that had no room that are announced together."""
_PATIENCE: Final = 1.0
"""Seconds to wait for another thread that reads or pushes a span."""
_LOOK: Final = 0.1
"""Seconds between two looks at calls that wait, at least."""


class Home(Protocol):
    """
    The exporter's worker: spans are read in its loop.
    """

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def closing(self) -> object | None:
        """
        Something, if it ends as soon as it has sent what is there.
        """


@define(eq=False, repr=False, kw_only=True)
class Pump:
    """
    The background work of one processor; a feed of its exporter.
    """

    clock: Clock
    converter: Converter
    find_loop: Callable[[], asyncio.AbstractEventLoop | None]
    """Finds the loop of the exporter's worker, or one that could have it; takes no lock."""
    see_to_home: Callable[[], Home | None]
    """Has a worker if that can be; called in a loop."""
    lose: Callable[[int], None]
    """Counts and announces spans that had no room."""
    inbox: Inbox = field(init=False)
    _is_asleep: bool = field(default=True, init=False)
    """Whether nothing is scheduled in a loop."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    """Where the next turn is scheduled, or was."""
    _timer: Timer | None = field(default=None, init=False)
    _lock: RLock = Factory(RLock)
    """Held while a span is read and pushed. Reentrant, for signal handlers; hooks of the program
    are called meanwhile, so nobody waits for it for long."""

    def __attrs_post_init__(self) -> None:
        self.inbox = Inbox(self._hurry)

    @property
    def is_awake(self) -> bool:
        """
        Whether something is scheduled in a loop, which may still run.
        """
        return not self._is_asleep and self._loop is not None and not self._loop.is_closed()

    def wake(self) -> None:
        """
        Have what waits read soon, if there is a loop. Any thread.
        """
        loop = self.find_loop()
        if loop is not None:
            self._schedule(loop)

    # As a feed.

    def holds(self) -> bool:
        return len(self.inbox) > 0 or len(self.converter.duplicates) > 0

    def move(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_asleep = True  # what is scheduled in another one may never run
        if self.holds():
            self._schedule(loop)

    def give(self) -> None:
        for _ in self._work(all_of_them=True):
            pass

    async def give_in_slices(self, deadline: float) -> None:
        work = self._work(all_of_them=True)
        while not self._advance(work) and self.clock.now() < deadline:
            await turn()

    # Within.

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_asleep, self._loop = False, loop
        try:
            # Not in the context of who ended a span: it must not reach what is called here.
            loop.call_soon_threadsafe(self._turn, loop, context=Context())
        except RuntimeError:  # closed just now
            self._is_asleep = True

    def _hurry(self) -> None:
        if self._timer is not None:  # else it reads already, or was woken
            self.wake()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        Read for a slice, in *loop*, and see to the next turn.
        """
        if loop is not self._loop:
            return  # another loop has taken its place
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        home = self.see_to_home()
        if home is not None and not home.is_over and home.loop is not loop:
            self._schedule(home.loop)
            return
        if home is None or home.is_over or home.closing is not None:
            self._is_asleep = True
            self.give()  # nothing would be left that waits
            return
        if not self._advance(self._work(all_of_them=False)):
            loop.call_soon(self._turn, loop)
            return
        due = self.converter.duplicates.due()
        if due is not None:
            due = max(due, self.clock.now() + _LOOK)
            self._timer = self.clock.call_at(due, partial(self._turn, loop))
            return
        self._is_asleep = True  # first: what comes from here on wakes it
        if len(self.inbox):
            self._schedule(loop)

    def _advance(self, work: Iterator[None]) -> bool:
        """
        Go on with *work* for a slice.

        Returns:
            Whether it is done.
        """
        ends_at = self.clock.now() + _SLICE
        return all(self.clock.now() < ends_at for _ in work)

    def _work(self, *, all_of_them: bool) -> Iterator[None]:
        """
        Read what has ended by now and push what is due, a span at each step.
        """
        for _ in range(len(self.inbox)):
            if self._do(self._read) is None:
                return
            yield
        released = self.converter.release(self.clock.now(), all_of_them=all_of_them)
        for step in (self._take_lost, lambda: next(released, None)):
            while self._do(step):
                yield

    def _read(self) -> Then | None:
        started = self.inbox.take()
        return None if started is None else self.converter.take(started, self.clock.now())

    def _take_lost(self) -> Then | None:
        lost = self.inbox.take_lost(_MANY)
        return partial(self.lose, lost) if lost else None

    def _do(self, step: Callable[[], Then | None]) -> bool | None:
        """
        Take a step alone, with the call that it asks for: who closes comes after both.

        Returns:
            Whether it asked for one; None if it was not taken, as another thread's takes long: a
            hook in it may wait for this thread.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            return None
        try:
            then = step()
            _call(then)
        finally:
            self._lock.release()
        return then is not None


def _call(then: Then | None) -> None:
    """
    Have the program's functions called, in an exporter that takes what they raise.
    """
    try:
        if then is not None:
            then()
    except Exception as exc:
        let_through(exc)
        log.error_once("hh_exporter: reading spans failed with %s; logged once", type(exc).__name__)
