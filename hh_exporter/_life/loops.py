"""
Work in the event loop of another thread.

A wait for another loop checks regularly whether that loop still runs: one that was stopped
does not say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hh_exporter._bell import LOOK
from hh_exporter._clock import NEVER, Clock, Deadline

__all__ = ["run_in"]

T = TypeVar("T")


async def run_in(
    loop: asyncio.AbstractEventLoop,
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
