"""
Close an exporter, and end a close that is cut short because its caller was cancelled.

However `close` is left, each event has its outcome, is on disk, or was reported as lost. Once
it is cancelled it sends no more, and takes a time of its own to keep that.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hh_exporter._bell import Bell
from hh_exporter._clock import Deadline
from hh_exporter._outcomes import FlushResult

if TYPE_CHECKING:
    from hh_exporter._life.lifetime import Lifetime

__all__ = ["TO_HANG_UP", "close"]

TO_HANG_UP = 1.0
"""Seconds that the worker of another thread's loop may take to end once its time is up."""

_TO_END = 3.0
"""Seconds that a worker may take to end if a close is cut short: it may be in its last call."""


async def close(life: Lifetime, deadline: float) -> FlushResult:
    """
    Accept no more, send what is there until *deadline*, and give up the rest. Any loop.

    If it is cancelled, and nobody else waits for a close, it gives up the rest at once; then the
    worker has up to 3 seconds to end and the disk 2, as a rule some milliseconds. Other
    cancellations meanwhile change nothing.
    """
    life.accept_no_more()
    cancelled: CancelledError | None = None
    with life.queue.lock:
        life.closers += 1
        if life.close_watch is None:
            life.close_watch = life.queue.watch(lambda: None)
        watch = life.close_watch
    try:
        await _end_worker(life, deadline)
    except CancelledError as exc:
        cancelled = exc
    finally:
        with life.queue.lock:
            life.closers -= 1
            is_last = not life.closers
    if cancelled is not None:
        if not is_last:
            raise cancelled
        deadline = await _cut_short(life)
    life.leftovers.give_up_late(life.worker)
    try:
        if life.spooler is not None:
            await life.spooler.aclose(deadline)
    finally:
        life.settler.say_rest()
    if cancelled is not None:
        raise cancelled
    return watch.result()


async def _end_worker(life: Lifetime, deadline: float) -> None:
    """
    Have the worker send what is there until *deadline*, and end.
    """
    has_ended = False
    while not has_ended and (life.queue.has_records or life.worker is not None):
        worker = life.keeper.need_worker()
        if not worker.is_over and worker.loop is get_running_loop():
            await worker.close(deadline)
        elif not worker.is_over:  # else abandoned: its loop is stopped
            limit = Deadline(deadline + TO_HANG_UP, life.clock.now())
            with _bell_of_its_end(life) as bell, suppress(RuntimeError):  # its loop is closed
                worker.loop.call_soon_threadsafe(worker.begin_close, deadline)
                if not worker.is_over:  # else it may have ended before there was a bell
                    await bell.wait_beside(worker.loop, limit)
        has_ended = worker.is_over or worker.loop.is_running()
    _leave(life)


async def _cut_short(life: Lifetime) -> float:
    """
    Have the worker end now.

    Returns:
        The time at which that was asked.
    """
    now = life.clock.now()
    worker = life.worker
    if worker is None or worker.is_over:
        return now
    life.leftovers.is_cut_short = True
    if worker.loop.is_running():
        with _bell_of_its_end(life) as bell, suppress(RuntimeError):  # its loop is closed
            worker.loop.call_soon_threadsafe(worker.cut_off)
            if not worker.is_over:
                await bell.wait_through(Deadline(now + _TO_END, now))
    _leave(life)
    return now


@contextmanager
def _bell_of_its_end(life: Lifetime) -> Iterator[Bell]:
    """
    Make a bell that rings once the worker is over.
    """
    bell = Bell(life.clock)
    life.on_ended.add(bell.ring)
    try:
        yield bell
    finally:
        life.on_ended.discard(bell.ring)


def _leave(life: Lifetime) -> None:
    """
    Take what the worker has in hand if it did not end in time: its loop is blocked, or stopped.
    """
    worker = life.worker
    if worker is not None and not worker.is_over:
        worker.abandon()
        life.keeper.let_go()
        worker.deliverer.give_up_singles()
        worker.ring()  # for when that loop goes on
        life.tell_ended()
