"""
The end of the process, for exporters that nobody has closed by then.

It knows them weakly, and starts nothing: no thread, no executor, no event loop. All of them
have the same time: they end at once, not one after the other.
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
"""Seconds after which it sees whether the loops that it waits for still run."""

_living: WeakSet[Lifetime] = WeakSet()


def see_to_the_end(life: Lifetime) -> None:
    """
    Have what *life* still holds when the process ends sent, or said.
    """
    _living.add(life)


def living() -> list[Lifetime]:
    return list(_living)


def forget_all() -> list[Lifetime]:
    """
    See to nobody's end any more.

    Returns:
        Whose it would have been.
    """
    lives = living()
    _living.clear()
    return lives


def save_all(lives: Sequence[Lifetime]) -> None:
    """
    Take no more, and give up what is in memory of all: no loop will run that could send it.
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
    Close all, in the loops of other threads where they run, and without any else.
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
            if not close.done() and life.is_running and not end.is_over(life.clock.now())
        }
    save_all(lives)
