"""
The end of the process, for exporters that are still open.

They are held weakly. Nothing is started then: no thread, no executor, no event loop. All
exporters close at the same time, not one after the other. A child of multiprocessing calls
nothing of atexit, so there a thread of ours has its end seen to.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
from collections.abc import Callable, Sequence
from concurrent import futures
from weakref import WeakSet

from attrs import define

from hh_exporter._clock import Deadline
from hh_exporter._life.closing import TO_HANG_UP
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._life.stopped import StoppedLoop, interruptible
from hh_exporter._log import get_log
from hh_exporter._outside import comes_from_outside

__all__ = ["forget_all", "living", "save_all", "see_to_the_end"]

log = get_log(__name__)

_LOOK = 0.1
"""Seconds between two checks of whether the loops that it waits for still run."""

_LAST = -100
"""The priority of what a child of multiprocessing does at its end: after all else."""

_living: WeakSet[Lifetime] = WeakSet()


def see_to_the_end(life: Lifetime) -> None:
    """
    Have what *life* still holds when the process ends sent, spooled or reported.
    """
    _living.add(life)
    life.keeper.on_thread = _see_to_the_end_of_a_child


def _see_to_the_end_of_a_child() -> None:
    """
    Do that for all, if this process is a child of multiprocessing; not before it runs its target.
    """
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, _end, exitpriority=_LAST)


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
    try:
        _each(lives, Lifetime.give_up)
    finally:
        # Who has no thread for its spool writes in this one, and may have to wait for its disk.
        _each(sorted(lives, key=Lifetime.must_write_here), Lifetime.join)


def _each(lives: Sequence[Lifetime], end: Callable[[Lifetime], object]) -> None:
    """
    Call *end* with each, whatever it raises for another.
    """
    interruption: BaseException | None = None
    for life in lives:
        try:
            end(life)
        except BaseException as exc:
            if comes_from_outside(exc):
                interruption = exc
            else:
                log.error("hh_exporter: the end of an exporter failed with %s", type(exc).__name__)  # noqa: TRY400
    if interruption is not None:
        raise interruption


@define(eq=False)
class _End:
    """
    The end of one exporter, in the loop of its worker.
    """

    life: Lifetime
    loop: StoppedLoop
    done: futures.Future[None]
    limit: Deadline

    @property
    def is_over(self) -> bool:
        """
        Whether it came, or no more can come of it.
        """
        if self.done.done() or self.limit.is_over(self.life.clock.now()):
            return True
        keeper = self.life.keeper
        return not (self.loop.loop.is_running() or (keeper.is_stopped and self.loop.is_fit))


def _begin(lives: Sequence[Lifetime]) -> list[_End]:
    loops: dict[asyncio.AbstractEventLoop, StoppedLoop] = {}
    ends: list[_End] = []

    def begin(life: Lifetime) -> None:
        worker, done = life.worker, life.begin_end()
        if worker is None or done is None:
            return
        loop = loops.setdefault(worker.loop, StoppedLoop(worker.loop))
        done.add_done_callback(loop.stop)
        now = life.clock.now()
        limit = Deadline(now + life.settings.close_timeout + TO_HANG_UP, now)
        ends.append(_End(life, loop, done, limit))

    _each(lives, begin)
    return ends


@atexit.register
def _end() -> None:
    """
    Close all, in loops that still run and in those that this thread can run; then give up.
    """
    lives = living()
    try:
        _close(lives)
    finally:
        save_all(lives)


def _close(lives: Sequence[Lifetime]) -> None:
    with interruptible() as interrupt:
        ends = _begin(lives)
        while not interrupt.has_come and (ends := [end for end in ends if not end.is_over]):
            stopped = {end.loop for end in ends if end.life.keeper.is_stopped}
            for loop in stopped:
                loop.run(_LOOK)
            if not stopped:
                futures.wait([end.done for end in ends], _LOOK)
