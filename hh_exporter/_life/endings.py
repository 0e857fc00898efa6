"""
The end of the process, for exporters that are still open.

They are held weakly. Nothing is started then: no thread, no executor, no event loop. All
exporters close at the same time, not one after the other.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from concurrent import futures
from weakref import WeakSet

from hh_exporter._clock import Deadline
from hh_exporter._life.lifetime import Lifetime

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


def _end_of(life: Lifetime) -> Deadline:
    now = life.clock.now()
    return Deadline(now + life.settings.close_timeout + _TO_HANG_UP, now)


@atexit.register
def _end() -> None:
    """
    Close all: in the loops of other threads that still run, and else without a loop.
    """
    lives = living()
    waits = {
        close: (life, _end_of(life)) for life in lives if (close := life.begin_end()) is not None
    }
    while waits:
        futures.wait(waits, _LOOK)
        waits = {
            close: (life, end)
            for close, (life, end) in waits.items()
            if not close.done() and life.keeper.is_running and not end.is_over(life.clock.now())
        }
    save_all(lives)
