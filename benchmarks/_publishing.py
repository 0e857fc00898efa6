"""
An app host that publishes to a stream, and one that sends to a collector, in turn.

One rule: no figure counts unless all events have arrived, and each of them once.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TypeAlias

import orjson
from attrs import frozen

from benchmarks._exporter import opening_exporter
from benchmarks._fleet import SERVERS, Collected, Fleet
from benchmarks._holding import Held, hold_without_server
from benchmarks._holds import Holds
from benchmarks._pacing import time_at_pace
from benchmarks._peers import Emitter
from benchmarks._process import run_in_fresh_process
from benchmarks._rounds import interleave
from benchmarks._workload import Fields
from hh_exporter import ModelEvent

__all__ = [
    "BEAT",
    "HTTP",
    "RATE",
    "STREAM",
    "WITHOUT",
    "Burst",
    "Client",
    "Paced",
    "hold_all",
    "open_clients",
    "pace_all",
    "send",
]

HTTP = "HTTP to the collector"
STREAM = "JetStream"
WITHOUT = "without the exporter"

RATE = 2_000
"""Events a second, where they come at an even pace."""
BEAT = 0.001
"""Seconds between two looks at how late the loop is."""
_TURN = 500
"""Events of a burst after which the event loop turns."""
_COLLECTIONS = 3


@frozen(kw_only=True)
class Burst:
    """
    What one event of a burst took, from push to acknowledged, in seconds.
    """

    wall: float
    cpu: float
    """Of the app's process alone."""
    stored: float
    """Bytes in the stream, of one server; 0 over HTTP."""


@frozen(kw_only=True)
class Paced:
    """
    What was felt while events came at an even pace, in seconds.
    """

    lags: Sequence[float]
    """How late the loop was, each time."""
    own_lags: Sequence[float]
    """How much of that the exporter explains: no more than it worked meanwhile."""
    pushes: Sequence[float]
    holds: Sequence[float]
    """Processor time of each step of the exporter."""


Check: TypeAlias = Callable[[int], Awaitable[int]]
"""Sees to it that so many events have come; says which bytes the stream has of them."""


@frozen
class Client:
    """
    An exporter of the app, and where its events come to.
    """

    emitter: Emitter
    check: Check


async def open_clients(
    stack: AsyncExitStack, fleet: Fleet, collected: Collected, room: int
) -> dict[str, Client]:
    """
    Start an exporter to each, with default settings but for a queue that holds *room* events.
    """

    async def open_(place: str, check: Check, *, publishes: bool = False) -> Client:
        opening = opening_exporter(makes_events=False, publishes=publishes)
        return Client(await stack.enter_async_context(opening(place, room)), check)

    return {
        HTTP: await open_(collected.url, _counting(collected)),
        STREAM: await open_(fleet.servers, fleet.empty, publishes=True),
    }


def _counting(collected: Collected) -> Check:
    before = collected.count()

    async def check(events: int) -> int:
        nonlocal before
        now = await asyncio.to_thread(collected.count)
        if now - before != events:
            raise RuntimeError(f"{events} events should have been collected: {now - before} were")
        before = now
        return 0

    return check


async def send(client: Client, made: Sequence[ModelEvent]) -> Burst:
    """
    Push all of *made*, and wait until they are acknowledged.

    Raises:
        RuntimeError: Not all came, or one came twice.
    """
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for number, event in enumerate(made, 1):
        client.emitter.emit(event)
        if number % _TURN == 0:
            await asyncio.sleep(0)
    await client.emitter.drain()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = len(made)
    stored = await client.check(count)
    return Burst(wall=wall / count, cpu=cpu / count, stored=stored / count)


async def pace_all(
    clients: Mapping[str, Client], made: Sequence[ModelEvent], seconds: float, rounds: int
) -> dict[str, list[Paced]]:
    """
    Push at an even pace with each client, and with none, once a round.

    Raises:
        RuntimeError: Not all came, or one came twice.
    """
    holds = Holds()

    async def pace(emit: Callable[[ModelEvent], object], client: Client | None) -> Paced:
        beats: list[tuple[float, float]] = []
        holds.take()
        beating = asyncio.create_task(_beat(beats, holds))
        pushes = await time_at_pace(emit, made, rate=RATE, count=int(RATE * seconds))
        held = holds.take()
        beating.cancel()
        if client is not None:
            await client.emitter.drain()
            await client.check(len(pushes))
        lags, own_lags = zip(*beats, strict=True)
        return Paced(lags=lags, own_lags=own_lags, pushes=pushes, holds=held.steps)

    ways = {WITHOUT: partial(pace, id, None)}
    ways |= {name: partial(pace, each.emitter.emit, each) for name, each in clients.items()}
    gc.collect()
    gc.freeze()  # the collector is on, as for users; but the workload is no app's garbage
    try:
        with holds.watching():
            return await interleave(ways, rounds=rounds, warm_up=0)
    finally:
        gc.unfreeze()


async def _beat(beats: list[tuple[float, float]], holds: Holds) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, spent = loop.time() + BEAT, holds.spent
        await asyncio.sleep(BEAT)
        lag = loop.time() - due
        beats.append((lag, min(lag, holds.spent - spent)))


async def hold_all(events: Sequence[Fields], count: int, rounds: int) -> dict[str, list[Held]]:
    """
    Have *count* events wait while there is no server, in a fresh process each time.
    """
    lines = [orjson.dumps(event) for event in events]
    with _closed_ports(SERVERS) as ports:
        places = {
            HTTP: {"base_url": f"http://127.0.0.1:{ports[0]}"},
            STREAM: {"jetstream": ",".join(f"nats://127.0.0.1:{port}" for port in ports)},
        }
        ways = {
            name: partial(asyncio.to_thread, _hold, lines, count, place)
            for name, place in places.items()
        }
        return await interleave(ways, rounds=rounds, warm_up=0)


def _hold(lines: Sequence[bytes], count: int, place: Mapping[str, str]) -> Held:
    return run_in_fresh_process(hold_without_server, lines, count, place, collections=_COLLECTIONS)


@contextmanager
def _closed_ports(count: int) -> Iterator[list[int]]:
    """
    Hold ports on which nobody listens: who connects is refused.
    """
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
