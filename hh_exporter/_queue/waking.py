"""
Who waits for the queue, and how they are woken: without the lock, and whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

__all__ = ["Woken", "wake", "waking"]

M = TypeVar("M", bound=Callable[..., Any])


class Woken(Protocol):
    """
    Who waits: a watch, a place in the line for room, or the worker that packs a backlog.
    """

    @property
    def wake(self) -> Callable[[], None]: ...


class _Waker(Protocol):
    def wake_all(self) -> None: ...


def wake(those: Iterable[Woken]) -> None:
    """
    Wake each of *those*; without the lock.
    """
    for each in those:
        each.wake()


def waking(method: M) -> M:
    """
    Wrap a method of the queue: if an exception from outside ends it, all who wait are woken.
    """

    @wraps(method)
    def wrapper(self: _Waker, *args: Any) -> Any:
        try:
            return method(self, *args)
        except BaseException:
            self.wake_all()
            raise

    return cast(M, wrapper)
