"""
What many tests need: time that passes with the network, and events to push.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from hh_exporter import Exporter, FlushResult, ModelEvent, Outcome, Settlement
from hh_exporter._clock import SystemClock
from hh_exporter._fake_clock import EPOCH, settle
from hh_exporter.testing import FakeClock, assert_balanced
from tests.scripted_server import ScriptedServer, hang

__all__ = [
    "EPOCH",
    "PATIENCE",
    "STEP",
    "FakeClock",
    "PastClock",
    "assert_balanced",
    "attempts_failed",
    "delivered",
    "flushed",
    "ids_of",
    "in_thread",
    "model_event",
    "pass_time",
    "push_all",
    "quiet",
    "settle",
    "until",
]

T = TypeVar("T")

STEP = 2.0
"""Seconds by which `pass_time` advances a clock at a time."""

PATIENCE = 20.0
"""Real seconds after which a test gives up waiting for what it expects."""


class PastClock(SystemClock):
    """
    The real clock, some seconds ago: forty days at first.
    """

    ago = 40 * 86_400.0

    def wall(self) -> float:
        return super().wall() - self.ago


async def until(condition: Callable[[], object]) -> None:
    """
    Turn the loop until *condition* holds, as the network brings it about.
    """
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it did not come about"
        await asyncio.sleep(0)


def model_event(**fields: Any) -> ModelEvent:
    """
    Make an ordinary event.
    """
    defaults: dict[str, Any] = {
        "model": "gpt-4o",
        "provider": "openai",
        "messages": [{"role": "user", "content": "Hello"}],
        "response": {"role": "assistant", "content": "Hi"},
        "usage": {"total_tokens": 2},
        "duration": 12.5,
    }
    return ModelEvent(**defaults | fields)


def push_all(exporter: Exporter, *event_ids: str, **fields: Any) -> None:
    """
    Push an ordinary event under each of *event_ids*; all must be accepted.
    """
    for event_id in event_ids:
        assert exporter.push(model_event(event_id=event_id, **fields))


def ids_of(settlements: Iterable[Settlement], outcome: Outcome) -> list[str]:
    """
    List the events that reached *outcome*, in the order in which it was announced.
    """
    return [i for s in settlements if s.outcome is outcome for i in s.event_ids]


async def attempts_failed(exporter: Exporter, count: int) -> None:
    """
    Wait until *count* attempts in all were made and a delivery backs off.
    """

    await until(lambda: exporter.stats().requests == count and _waits(exporter))


def _waits(exporter: Exporter) -> bool:
    """
    Whether time must pass before more is sent, or all sending is blocked.
    """
    stats = exporter.stats()
    is_idle = stats.requests == sum(stats.requests_by_status.values())
    return stats.health == "retrying" and (is_idle or stats.breaker != "closed")


async def flushed(exporter: Exporter, clock: FakeClock) -> FlushResult:
    """
    Flush, and let the time pass that backoffs take on the way.
    """
    flush = asyncio.create_task(exporter.flush())
    while not flush.done():
        await until(lambda: flush.done() or _waits(exporter))
        await clock.advance(1.0)
    return flush.result()


async def delivered(exporter: Exporter, count: int) -> None:
    """
    Wait until *count* events in all are delivered.
    """
    await until(lambda: assert_balanced(exporter).delivered == count)


async def quiet(exporter: Exporter, server: ScriptedServer) -> None:
    """
    Wait until no answer is on its way; one that *server* holds back is not.
    """
    turns = 0
    while turns < 2:
        worker = exporter._life.worker
        is_silent = worker is None or not worker.shipper.on_wire
        if server.default == hang():
            is_silent = len(server.requests) == exporter.stats().requests
        turns = turns + 1 if is_silent else 0
        await settle()


async def pass_time(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, seconds: float
) -> None:
    """
    Let time pass, and the network do its part after each step.
    """
    end = clock.now() + seconds
    while clock.now() < end:
        await clock.advance(min(STEP, end - clock.now()))
        await quiet(exporter, server)


async def in_thread(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run *main* in another thread, in an event loop that begins and ends with it.
    """
    return await asyncio.to_thread(lambda: asyncio.run(main()))
