"""
Others who push: threads, signal handlers and finalisers.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["THREADS", "Bomb", "handled", "switching_often", "threads"]

THREADS = 8


@contextmanager
def switching_often() -> Iterator[None]:
    """
    Have threads take turns as often as they can, so that races show.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@contextmanager
def threads(target: Callable[[int], object], n: int = THREADS) -> Iterator[Callable[[], bool]]:
    """
    Run *target* in *n* threads; yields what tells whether one of them still runs.
    """
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            target(number)
        except BaseException as exc:
            errors.append(exc)

    crowd = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in crowd:
        thread.start()
    try:
        yield lambda: any(thread.is_alive() for thread in crowd)
    finally:
        for thread in crowd:
            thread.join()
    assert not errors, errors


class Bomb:
    """
    An object whose finaliser pushes.
    """

    def __init__(self, push: Callable[[], object]) -> None:
        self.push = push

    def __del__(self) -> None:
        self.push()


@contextmanager
def handled(handler: Callable[[], object]) -> Iterator[None]:
    """
    Have SIGUSR1 call *handler*.
    """
    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
