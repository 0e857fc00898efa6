"""
How long the exporter itself holds the event loop.

One rule: it is told by processor time of the loop's thread, which passes only
while the thread runs. A machine that is busy with others delays a callback; it
does not lengthen its hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from attrs import Factory, define, frozen

__all__ = ["Held", "Holds"]

T = TypeVar("T")

_is_ours: ContextVar[bool] = ContextVar("_is_ours")
"""
Set in all that the benchmark runs. The exporter works in an empty context, and so
does all that it starts.
"""


@frozen
class Held:
    """
    For how long the loop was held each time, in seconds of processor time.
    """

    steps: Sequence[float]
    """By callbacks of the exporter: a step of a task, a read from a socket."""
    pushes: Sequence[float]


@define(eq=False)
class Holds:
    """
    What holds the loop, from one look at it to the next.
    """

    spent: float = 0.0
    """All of it, since ever."""
    _steps: list[float] = Factory(list)
    _pushes: list[float] = Factory(list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """
        Time all callbacks of the loop that were not started within, in the same context.
        """
        token = _is_ours.set(True)
        run, now = asyncio.Handle._run, time.thread_time

        def run_timed(handle: asyncio.Handle) -> None:
            if _is_ours in handle._context:  # type: ignore[attr-defined]
                run(handle)
                return
            began = now()
            run(handle)
            self._steps.append(now() - began)
            self.spent += self._steps[-1]

        asyncio.Handle._run = run_timed  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            asyncio.Handle._run = run  # type: ignore[method-assign]
            _is_ours.reset(token)

    def time_push(self, push: Callable[[], T]) -> T:
        began = time.thread_time()
        result = push()
        self._pushes.append(time.thread_time() - began)
        self.spent += self._pushes[-1]
        return result

    def take(self) -> Held:
        """
        Say what was seen since the last call.
        """
        held = Held(self._steps, self._pushes)
        self._steps, self._pushes = [], []
        return held
