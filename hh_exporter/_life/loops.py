"""
Which event loops can do the work, and work in the event loop of another thread.

A wait for another loop checks regularly whether that loop still runs: one that was stopped
does not say so.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hh_exporter._bell import LOOK
from hh_exporter._clock import NEVER, Clock, Deadline
from hh_exporter.exceptions import ExporterError

__all__ = ["check_loop", "find_loop", "run_in"]

T = TypeVar("T")

_NEEDED = ("call_soon_threadsafe", "create_connection")
"""Methods that a loop must have of its own; those of `AbstractEventLoop` raise."""


def find_loop() -> AbstractEventLoop | None:
    """
    Find the loop that runs in this thread, if it has a network and other threads can wake it.

    The loop in which a workflow of Temporal runs is none of these: it has nothing but tasks and
    timers, which are those of the workflow.
    """
    loop = _get_running_loop()
    if loop is None:
        return None
    for name in _NEEDED:
        method = getattr(loop, name, None)
        if method is None or getattr(method, "__func__", None) is vars(AbstractEventLoop)[name]:
            return None
    return loop


def check_loop() -> None:
    """
    Raise ExporterError in a coroutine whose loop is not one of these.
    """
    if find_loop() is None:
        name = type(_get_running_loop()).__name__
        raise ExporterError(
            f"this event loop ({name}) has no network: await this in an ordinary one, such as "
            "that of a Temporal activity; push() and record() work here"
        )


async def run_in(
    loop: AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    clock: Clock,
    deadline: float | None,
) -> T | None:
    """
    Await *work* in *loop*, from whichever loop is running.

    Returns:
        What it returns; None if the other loop stopped or ended first, or did not answer
        by *deadline*.
    """
    if loop is asyncio.get_running_loop():
        return await work
    try:
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    except RuntimeError:  # closed since it was chosen
        work.close()
        return None
    limit = NEVER if deadline is None else Deadline(deadline, clock.now())
    try:
        while not future.done() and loop.is_running():
            now = clock.now()
            if limit.is_over(now):
                break
            with suppress(TimeoutError):
                async with clock.timeout_at(min(limit.look(now), now + LOOK)):
                    await asyncio.wait((future,))
    finally:
        if not loop.is_closed():
            future.cancel()
    return None if future.cancelled() else future.result()
