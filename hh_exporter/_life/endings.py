"""
The end of the process, for exporters that nobody has closed by then.

It knows them weakly, and starts nothing: no thread, no executor, no event loop.
"""

from __future__ import annotations

import atexit
from weakref import WeakSet

from hh_exporter._life.lifetime import Lifetime

__all__ = ["forget_all", "living", "see_to_the_end"]

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


@atexit.register
def _end() -> None:
    for life in living():
        life.end()
