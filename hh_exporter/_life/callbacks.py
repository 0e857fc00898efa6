"""
The user's callback, held by its exporter alone.

It may refer to the exporter, and a running worker is held by its loop: if the worker held
the callback, the exporter would never be collected.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeVar

from hh_exporter._outcomes import Settlement

__all__ = ["weakly"]

T = TypeVar("T")


def weakly(
    owner: T, find: Callable[[T], Callable[[Settlement], None] | None]
) -> Callable[[Settlement], None]:
    """
    Make a function that calls the callback which *find* finds in *owner*, while *owner* exists.
    """
    ref = weakref.ref(owner)

    def call(settlement: Settlement) -> None:
        there = ref()
        on_outcome = None if there is None else find(there)
        if on_outcome is not None:
            on_outcome(settlement)

    return call
