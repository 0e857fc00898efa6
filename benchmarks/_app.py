"""
A web app that works, and a heart that beats beside it in its loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle

import orjson
from aiohttp import web
from attrs import Factory, define, frozen

from benchmarks._workload import Fields

__all__ = ["BEAT", "App", "Beat", "read_answers"]

BEAT = 0.001
"""Seconds that the heart sleeps. The loop rounds what is left of them up to a millisecond."""

_PHRASE = "The answer is größer 答え. "
_DOCUMENT = _PHRASE * (1_000_000 // len(_PHRASE.encode()))


@frozen
class Beat:
    """
    When the heart woke, and how late.
    """

    handled: int
    """Requests that were handled by then."""
    lag: float
    """Seconds by which it woke too late."""
    own_lag: float
    """How many of them the exporter explains: no more than it worked since the last beat."""


@define(eq=False)
class App:
    """
    The app, and what its heart felt.
    """

    work: Callable[[], object]
    """What each request takes."""
    spent: Callable[[], float]
    """How many seconds of the loop's time the exporter took so far."""
    handled: int = 0
    beats: list[Beat] = Factory(list)

    async def handle(self, _: web.Request) -> web.Response:
        self.work()
        self.handled += 1
        return web.Response(status=204)

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, spent = loop.time() + BEAT, self.spent()
            await asyncio.sleep(BEAT)
            lag = loop.time() - due
            self.beats.append(Beat(self.handled, lag, min(lag, self.spent() - spent)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """
        Serve on a port, which it yields.
        """
        app = web.Application()
        app.router.add_get("/", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        beating = asyncio.create_task(self.beat())
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield runner.addresses[0][1]
        finally:
            beating.cancel()
            await runner.cleanup()


def read_answers(wires: Sequence[bytes], *, large_every: int | None) -> Iterator[Fields]:
    """
    Read events again and again, as answers of a model are read: no text was ever encoded.

    Args:
        wires: The events as JSON.
        large_every: One in so many is of 1 MB instead; None for none.
    """
    for number, wire in enumerate(cycle(wires)):
        fields: Fields = orjson.loads(wire)
        if large_every and number % large_every == 0:
            fields["messages"] = [{"role": "user", "content": f"{number} {_DOCUMENT}"}]
        yield fields
