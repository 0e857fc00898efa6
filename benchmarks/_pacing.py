"""
Events at an even pace, each call timed by itself.

One rule: who emits does nothing else, so that what a call waits for is the
client's own background work, the machine and the interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

__all__ = ["time_at_pace", "time_in_thread"]

_TICK = 0.005
"""Seconds between two groups of events: an app's come in groups too."""


async def time_at_pace(
    emit: Callable[[Any], object], items: Sequence[Any], *, rate: int, count: int
) -> list[float]:
    """
    Emit *count* of *items*, again and again, at *rate* a second, in the event loop's thread.

    Returns:
        Seconds of each call.
    """
    costs: list[float] = []
    gc.collect()
    due = time.perf_counter()
    for group in _group(items, rate, count):
        costs += _time_each(emit, group)
        due += _TICK
        await asyncio.sleep(due - time.perf_counter())
    return costs


async def time_in_thread(
    emit: Callable[[Any], object], items: Sequence[Any], *, rate: int, count: int
) -> list[float]:
    """
    Do the same in a thread of its own, beside the event loop.
    """

    def run() -> list[float]:
        costs: list[float] = []
        due = time.perf_counter()
        for group in _group(items, rate, count):
            costs += _time_each(emit, group)
            due += _TICK
            time.sleep(max(0.0, due - time.perf_counter()))
        return costs

    gc.collect()
    return await asyncio.to_thread(run)


def _group(items: Sequence[Any], rate: int, count: int) -> list[list[Any]]:
    size = round(rate * _TICK)
    endless = cycle(items)
    return [list(islice(endless, size)) for _ in range(count // size)]


def _time_each(emit: Callable[[Any], object], group: Sequence[Any]) -> list[float]:
    costs: list[float] = []
    for item in group:
        began = time.perf_counter()
        emit(item)
        costs.append(time.perf_counter() - began)
    return costs
