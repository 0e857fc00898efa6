"""
The end of the process, for exporters that are still open.

They are held weakly. Nothing is started then: no thread, no executor, no event loop. All
exporters close at the same time, not one after the other.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Sequence
from concurrent import futures
from weakref import WeakSet

from attrs import define

from hh_exporter._clock import Deadline
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._life.stranded import StrandedLoop, interruptible

__all__ = ["forget_all", "living", "save_all", "see_to_the_end"]

_TO_HANG_UP = 1.0
"""Seconds that the worker of another thread's loop may take to end once its time is up."""

_LOOK = 0.1
"""Seconds between two checks of whether the loops that it waits for still run."""

_living: WeakSet[Lifetime] = WeakSet()


def see_to_the_end(life: Lifetime) -> None:
    """
    Have what *life* still holds when the process ends sent, spooled or reported.
    """
    _living.add(life)


def living() -> list[Lifetime]:
    return list(_living)


def forget_all() -> list[Lifetime]:
    """
    Leave all that live now to themselves.

    Returns:
        Those that were registered.
    """
    lives = living()
    _living.clear()
    return lives


def save_all(lives: Sequence[Lifetime]) -> None:
    """
    Accept no more, and give up what all have in memory: no loop will run that could send it.
    """
    for life in lives:
        life.give_up()
    for life in lives:
        life.join()


@define(eq=False)
class _End:
    """
    The end of one exporter, in the loop of its worker.
    """

    life: Lifetime
    loop: StrandedLoop
    done: futures.Future[None]
    limit: Deadline

    @property
    def is_over(self) -> bool:
        """
        Whether it came, or no more can come of it.
        """
        keeper = self.life.keeper
        return (
            self.done.done()
            or self.limit.is_over(self.life.clock.now())
            or not (self.loop.loop.is_running() or (keeper.is_stranded and self.loop.is_fit))
        )


def _begin(lives: Sequence[Lifetime]) -> list[_End]:
    loops: dict[asyncio.AbstractEventLoop, StrandedLoop] = {}
    ends = []
    for life in lives:
        worker, done = life.worker, life.begin_end()
        if worker is None or done is None:
            continue
        loop = loops.setdefault(worker.loop, StrandedLoop(worker.loop))
        done.add_done_callback(loop.stop)
        now = life.clock.now()
        limit = Deadline(now + life.settings.close_timeout + _TO_HANG_UP, now)
        ends.append(_End(life, loop, done, limit))
    return ends


@atexit.register
def _end() -> None:
    """
    Close all, in loops that still run and in those that this thread can run; then give up.
    """
    lives = living()
    ends = _begin(lives)
    with interruptible() as interrupt:
        while not interrupt.has_come and (ends := [end for end in ends if not end.is_over]):
            stopped = {end.loop for end in ends if end.life.keeper.is_stranded}
            for loop in stopped:
                loop.run(_LOOK)
            if not stopped:
                futures.wait([end.done for end in ends], _LOOK)
    save_all(lives)
