"""
What a fleet is made of: servers with the streams of one, a collector, and relays.

Each is a process of its own, and ends with the block that it is for. One rule: what a stream
has been given is counted by the stream itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from multiprocessing.connection import Connection as Pipe

import orjson
from attrs import define, frozen

from benchmarks._server import ask
from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import Deadline, SystemClock
from hh_exporter._environment import read_settings
from hh_exporter._fleet.api import Api
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.relay import Relay
from hh_exporter._fleet.streams import look, set_up
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection

__all__ = [
    "SERVERS",
    "Collected",
    "Fleet",
    "Relays",
    "running_collector",
    "running_fleet",
    "running_relays",
]

SERVERS = 3
_PATIENCE = 60.0
"""Seconds."""
_LOOK = 0.05
_ROOM = 700 * 2**20
"""Bytes of the stream of events: below the storage of each server."""


@define(eq=False)
class Fleet:
    """
    A cluster with the streams of a fleet.
    """

    servers: str
    _connection: Connection
    _names: Names

    async def count(self) -> tuple[int, int]:
        """
        Say how many messages wait in the stream, and their bytes there.
        """
        state = await look(self._connection, self._names, _soon())
        assert state.events is not None
        return state.events.messages, state.events.bytes

    async def empty(self, events: int) -> int:
        """
        Remove all messages, which must be so many.

        Returns:
            The bytes that they took in the stream, of one server.

        Raises:
            RuntimeError: There were more, or fewer.
        """
        messages, size = await self.count()
        if messages != events:
            raise RuntimeError(f"{events} events should be in the stream: {messages} are")
        await Api(self._connection).call(f"STREAM.PURGE.{self._names.stream}", deadline=_soon())
        return size

    async def drained(self) -> None:
        """
        Wait until relays have taken all.

        Raises:
            RuntimeError: They do not.
        """
        deadline = _soon()
        while (await self.count())[0]:
            if SystemClock().now() > deadline.at:
                raise RuntimeError("relays do not take what is in the stream")
            await SystemClock().sleep(_LOOK)


def _soon() -> Deadline:
    return Deadline.after(SystemClock(), _PATIENCE)


@asynccontextmanager
async def running_fleet() -> AsyncIterator[Fleet]:
    """
    Run three servers, and set up the streams, of three replicas.
    """
    clock, names = SystemClock(), Names()
    plan = Plan(max_bytes=_ROOM, dead_max_bytes=2**20, replicas=SERVERS, names=names)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(size=SERVERS))
        connector = Connector(access=JetStream(cluster.servers), role="operator", clock=clock)
        stack.callback(connector.close)
        connection = await connector.open(_soon())
        stack.push_async_callback(connection.close)
        await set_up(connection, plan, _soon())
        yield Fleet(cluster.servers, connection, names)


@frozen
class Collected:
    """
    `hh-exporter collect` as its clients see it.
    """

    url: str

    def count(self) -> int:
        """
        Say how many events it has.
        """
        return int(orjson.loads(ask(f"{self.url}/api/stats"))["events"])


@contextmanager
def running_collector() -> Iterator[Collected]:
    """
    Run `hh-exporter collect` on a free port.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "hh_exporter", "collect", "--port", "0", "--max-events", "10000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the benchmark
    ) as process:
        assert process.stdout is not None
        try:
            yield Collected(process.stdout.readline().decode().split()[-1])
        finally:
            process.terminate()


@frozen
class Relays:
    """
    Relays that are ready to start.
    """

    _pipes: Sequence[Pipe]

    def start(self) -> None:
        """
        Have all of them take events.
        """
        for pipe in self._pipes:
            pipe.send("start")

    def stop(self) -> list[int]:
        """
        Stop all of them in order.

        Returns:
            How many events each has delivered.
        """
        for pipe in self._pipes:
            pipe.send("stop")
        return [int(pipe.recv()) for pipe in self._pipes]


@contextmanager
def running_relays(count: int, servers: str, url: str) -> Iterator[Relays]:
    """
    Run so many relays, from *servers* to the API at *url*, each with default settings.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run_relay, args=(theirs, servers, url))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            pipe.recv()  # it is ready
        yield Relays(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _run_relay(orders: Pipe, servers: str, url: str) -> None:
    with suppress(EOFError):  # however the benchmark ends, its end of the pipe goes with it
        asyncio.run(_relay(orders, servers, url))


async def _relay(orders: Pipe, servers: str, url: str) -> None:
    settings = read_settings({"base_url": url, "jetstream": servers}, {})
    relay = Relay(settings=settings, names=Names())
    orders.send("ready")
    orders.recv()
    async with relay:
        await asyncio.to_thread(orders.recv)
    orders.send(relay.stats().delivered)
