"""
A fork waits until SQLite is idle.

It has locks that all its files share: a child that is forked while one is held would
wait for it forever.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock
from weakref import WeakSet

__all__ = ["forget", "make_lock"]

_LONGEST_WAIT = 1.0
"""Seconds for which a fork waits for each disk: one that hangs must not stop the program."""

_locks: WeakSet[RLock] = WeakSet()


def make_lock() -> RLock:
    """
    Make a lock that is to be held while SQLite is at work, and which a fork waits for.
    """
    lock = RLock()
    _locks.add(lock)
    return lock


def forget(lock: RLock) -> None:
    """
    Wait for *lock* no more.
    """
    _locks.discard(lock)


def _rest() -> None:
    for lock in tuple(_locks):
        lock.acquire(timeout=_LONGEST_WAIT)


def _go_on() -> None:
    for lock in tuple(_locks):
        with suppress(RuntimeError):  # there was no waiting for this one
            lock.release()


# Not in the child, which makes disks of its own.
os.register_at_fork(before=_rest, after_in_parent=_go_on)
