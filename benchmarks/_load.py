"""
A client that asks a web app at a fixed rate, in a process of its own.

It asks when a request is due, whether or not those before were answered: an app
that stalls can't slow down what it is measured by. Run as a module it reads
from each line of its standard input what to ask, and prints how long the
answers took.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from attrs import frozen

__all__ = ["Load", "running_load"]

_CONNECTIONS = 16
_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 "
"""It has no body: it ends where its head does."""
_END = b"\r\n\r\n"
_LEAD = 0.02
"""Seconds between the last connection and the first request."""


@frozen
class Load:
    """
    The client as the app's process sees it.
    """

    _process: Process

    async def ask(self, port: int, *, requests: int, rate: float) -> list[float]:
        """
        Have it ask so many times, *rate* times a second.

        Returns:
            Seconds from each request to its answer, in the order in which they were sent.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps([port, requests, rate]) + b"\n")
        latencies: list[float] = orjson.loads(await self._process.stdout.readline() or b"[]")
        if len(latencies) != requests:
            raise RuntimeError(f"{len(latencies)} of {requests} requests were answered")
        return latencies


@asynccontextmanager
async def running_load() -> AsyncIterator[Load]:
    """
    Run a client in a process of its own.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        cwd=Path(__file__).parents[1],
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
        start_new_session=True,  # Ctrl-C is for the benchmark
    )
    assert process.stdin is not None
    try:
        yield Load(process)
    finally:
        process.stdin.close()
        await process.wait()


class _Connection(asyncio.Protocol):
    """
    One connection, whose answers come in the order of its requests.
    """

    def __init__(self, latencies: dict[int, float], done: asyncio.Semaphore) -> None:
        self._latencies = latencies
        self._done = done
        self._asked = deque[tuple[int, float]]()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for _ in self._asked:
            self._done.release()

    def ask(self, number: int) -> None:
        if self.transport.is_closing():
            self._done.release()
            return
        self._asked.append((number, time.perf_counter()))
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *answers, self._rest = (self._rest + data).split(_END)
        for answer in answers:
            number, asked_at = self._asked.popleft()
            if answer.startswith(_ANSWER):
                self._latencies[number] = now - asked_at
            self._done.release()


async def _ask_all(port: int, requests: int, rate: float) -> list[float]:
    loop = asyncio.get_running_loop()
    latencies: dict[int, float] = {}
    done = asyncio.Semaphore(0)
    connections = [
        (await loop.create_connection(lambda: _Connection(latencies, done), "127.0.0.1", port))[1]
        for _ in range(_CONNECTIONS)
    ]
    began = loop.time() + _LEAD
    for number in range(requests):
        await asyncio.sleep(began + number / rate - loop.time())
        connections[number % _CONNECTIONS].ask(number)
    async with asyncio.timeout(10.0):
        for _ in range(requests):
            await done.acquire()
    for connection in connections:
        connection.transport.close()
    return [latency for _, latency in sorted(latencies.items())]


def _obey() -> None:
    for line in sys.stdin:
        latencies = asyncio.run(_ask_all(*orjson.loads(line)))
        print(orjson.dumps(latencies).decode(), flush=True)


if __name__ == "__main__":
    _obey()
