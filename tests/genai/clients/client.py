"""
How a scenario is gone through with any client, sync or async.

What is not read to its end is let go of before the client is closed, as in a program that
goes on.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from copy import deepcopy
from typing import Any, Protocol

from attrs import evolve

from tests.genai.scenarios import BEGUN, SCENARIOS, Ending, Scenario
from tests.genai.server import ModelServer
from tests.support import until

__all__ = ["Client", "Direct", "perform", "scenarios_of"]


class Client(Protocol):
    """
    A library that asks models.
    """

    @property
    def api(self) -> str:
        """
        That by which it asks.
        """

    def opened(self, models: ModelServer) -> AbstractContextManager[Any]:
        """
        Make what asks, and close it at the end of the block.
        """

    def opened_async(self, models: ModelServer) -> AbstractAsyncContextManager[Any]:
        """
        Make what is awaited.
        """

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        """
        Ask: return the answer or its stream or, of what is awaited, what gives that.
        """


class Direct:
    """
    A library that is given the server's address with each question: nothing is to be closed.
    """

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[ModelServer]:
        yield models

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[ModelServer]:
        yield models


def scenarios_of(client: Client) -> dict[str, Scenario]:
    """
    Find the scenarios that *client* can go through, by name.
    """
    possible = getattr(client, "scenarios", SCENARIOS)
    return {
        name: scenario
        for name, scenario in SCENARIOS.items()
        if name in possible and client.api in scenario.apis
    }


def perform(
    client: Client, scenario: Scenario, models: ModelServer, runner: asyncio.Runner
) -> None:
    """
    Go through *scenario*; the client must come to the end that it has there.

    Args:
        runner: Runs what is awaited. It should be the same each time, since some clients keep
            connections of their loop for the next one that is made.
    """
    scenario = evolve(scenario, messages=deepcopy(scenario.messages))  # which some write into
    models.answer(*scenario.answers)
    try:
        if scenario.is_async:
            runner.run(_perform(client, scenario, models))
        else:
            with client.opened(models) as opened:
                _call(client, opened, scenario)
    except Exception:
        if scenario.ending is not Ending.FAILED or not models.asked:
            raise
    else:
        assert scenario.ending is not Ending.FAILED


def _call(client: Client, opened: Any, scenario: Scenario) -> None:
    answer = client.ask(opened, scenario)
    if not scenario.streams:
        return
    reads_all = scenario.ending in (Ending.READ, Ending.FAILED)
    for piece in answer:
        if BEGUN in repr(piece) and not reads_all:
            break
    if scenario.ending is Ending.CLOSED:
        answer.close()
    del answer, piece
    gc.collect()


async def _perform(client: Client, scenario: Scenario, models: ModelServer) -> None:
    begun = asyncio.Event()
    async with client.opened_async(models) as opened:
        call = asyncio.create_task(_await(client, opened, scenario, begun))
        if scenario.ending is Ending.CANCELLED:
            await _under_way(call, begun if scenario.streams else models.arrived)
            call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert call.cancelled() == (scenario.ending is Ending.CANCELLED)
        del call
        gc.collect()


async def _under_way(call: asyncio.Task[None], begun: asyncio.Event | threading.Event) -> None:
    await until(lambda: begun.is_set() or call.done())


async def _await(client: Client, opened: Any, scenario: Scenario, begun: asyncio.Event) -> None:
    answer = client.ask(opened, scenario)
    if inspect.isawaitable(answer):
        answer = await answer
    if scenario.streams:
        async for piece in answer:
            if BEGUN in repr(piece):
                begun.set()
