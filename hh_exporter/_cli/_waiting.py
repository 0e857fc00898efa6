"""
Wait for work, signals, and a display to update.

A signal never ends the process here; it sets an event.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from attrs import Factory, define

from hh_exporter._clock import Clock

__all__ = ["Signals", "caught_signals", "repeated", "run_unless"]

_TICK = 0.1


@define(eq=False)
class Signals:
    """
    SIGINT and SIGTERM: the first asks for an orderly end, the second for one at once.
    """

    first: asyncio.Event = Factory(asyncio.Event)
    second: asyncio.Event = Factory(asyncio.Event)

    def note(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """
    Note signals instead of ending of them; in the main thread's loop only.
    """
    loop = asyncio.get_running_loop()
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, signals.note)
    try:
        yield signals
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def run_unless(work: Coroutine[Any, Any, object], *events: asyncio.Event) -> None:
    """
    Await *work*, or cancel it once one of *events* is set.
    """
    with _by_itself():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work), *(group.create_task(e.wait()) for e in events)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def repeated(action: Callable[[], None], clock: Clock) -> AsyncIterator[None]:
    """
    Call *action* now, ten times a second, and once more at the end.
    """

    async def repeat() -> None:
        while True:
            action()
            await clock.sleep(_TICK)

    with _by_itself():
        async with asyncio.TaskGroup() as group:
            task = group.create_task(repeat())
            try:
                yield
            finally:
                task.cancel()
                action()


@contextmanager
def _by_itself() -> Iterator[None]:
    """
    Raise what failed in a group of tasks by itself: click ends quietly where a pipe's reader has.
    """
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
