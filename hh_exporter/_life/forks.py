"""
What a forked child creates anew.

It has its parent's sockets, and its parent's locks as they were, perhaps held by
threads that it does not have. It touches none of them: what it inherits is kept
aside for good, since even collecting it would end the parent's connections.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from hh_exporter._life.endings import forget_all

__all__ = ["in_child"]

T = TypeVar("T")

_inherited: list[object] = []
_makers: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def in_child(owner: T, make_anew: Callable[[T], None]) -> None:
    """
    Call *make_anew* with *owner*, if it lives then, in each process that is forked from this one.
    """
    _makers[owner] = make_anew


def _begin_anew() -> None:
    _inherited.extend(lives := forget_all())
    # One reference too many: not even the interpreter's end shall collect the list.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))
    for life in lives:
        if life.spooler is not None:
            life.spooler.abandon()
    for owner, make_anew in tuple(_makers.items()):
        make_anew(owner)


os.register_at_fork(after_in_child=_begin_anew)
