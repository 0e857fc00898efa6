"""
A thread of our own, for calls that would block the event loop.

The app's thread pool may be full of the app's calls, and `asyncio.run` and the interpreter
both wait for what runs there. Nothing waits for this thread, a daemon. It makes one call at a
time and refers to nothing of ours in between, so it ends with its helper, closed or collected:
immediately, or when the call that blocks it returns.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias, TypeVar

from attrs import define, field

__all__ = ["Helper"]

T = TypeVar("T")

_Calls: TypeAlias = "SimpleQueue[Callable[[], None] | None]"
"""Calls for the thread; None ends it. Putting is safe in a finaliser, too."""


@define(eq=False)
class Helper:
    """
    One thread for one kind of call, used from one event loop at a time.
    """

    name: str
    """Of the thread."""
    _calls: _Calls = field(factory=SimpleQueue, init=False)
    _thread: Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """
        Start the thread unless it runs already.

        Raises:
            OSError: No thread can be started: the system has no more, or the
                interpreter exits (Python 3.12 and later). Start it before that.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        calls: _Calls = SimpleQueue()  # not the old one, where an end may still wait
        thread = Thread(target=_serve, args=(calls,), name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            raise OSError(errno.EAGAIN, "no thread can be started") from None
        self._calls, self._thread = calls, thread

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """
        Have the thread make *call*; the future gets what it returns or raises.

        Raises:
            OSError: No thread can be started.
        """
        self.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(partial(_make, call, loop, future))
        return future

    def close(self) -> None:
        """
        Let the thread end after its current call. Any thread; `start` starts another.
        """
        self._calls.put(None)
        self._thread = None

    def __del__(self) -> None:
        self._calls.put(None)


def _serve(calls: _Calls) -> None:
    while (call := calls.get()) is not None:
        call()
        del call


def _make(
    call: Callable[[], T], loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]
) -> None:
    end: Callable[[], None]
    try:
        end = partial(future.set_result, call())
    except BaseException as exc:  # else the thread ends, and whoever waits waits for ever
        if not isinstance(exc, Exception) or isinstance(exc, StopIteration):  # no future takes it
            exc = OSError(f"{type(exc).__name__} was raised")
        end = partial(future.set_exception, exc)
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_end, future, end)


def _end(future: asyncio.Future[T], end: Callable[[], None]) -> None:
    if not future.done():
        end()
