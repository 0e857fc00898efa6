"""
Servers that never end what they begin cost little memory, and no more than the time allowed.
"""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from itertools import count, repeat

import aiohttp
import pytest
from attrs import define, field

from hh_exporter._transport.http import _ANSWER_LIMIT
from tests.conftest import MakeExporter
from tests.proxies import listening
from tests.support import FakeClock, flushed, model_event, until

HEAD = b"HTTP/1.1 %d Well\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD % 200 + b"Content-Length: 2\r\n\r\n{}"

ENOUGH = _ANSWER_LIMIT + 2**21
"""Bytes after which a server that nobody stops is taken for endless."""

A_LOT = 2**16
"""The same, of what costs much time to read."""

MEMORY = 2**25
"""What one answer may cost at its height, in bytes: read, joined and parsed."""


def _headers() -> Iterator[bytes]:
    return (b"".join(b"X-%d: 1\r\n" % (n + i) for i in range(500)) for n in count(step=500))


def _bomb() -> Iterator[bytes]:
    """
    Compress zeros: a thousandth of what comes out.
    """
    deflated = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield deflated.compress(b"") + deflated.flush(zlib.Z_FULL_FLUSH)
    # As often as one likes: since a full flush, it refers to nothing before.
    yield from repeat(deflated.compress(bytes(2**20)) + deflated.flush(zlib.Z_FULL_FLUSH))


@define(eq=False)
class Endless:
    """
    Says *head*, then whatever there is of *rest*, to its first client; is well to the others.

    Attributes:
        said: How many bytes it said to the first.
        is_over: Whether that one has hung up, or there is no more to say.
    """

    head: bytes
    rest: Iterator[bytes]
    said: int = field(init=False, default=0)
    is_over: bool = field(init=False, default=False)
    clients: int = field(init=False, default=0)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.clients += 1
        if self.clients > 1:
            while await reader.readuntil(b"}]}"):
                writer.write(WHOLE)
        await reader.readuntil(b"}]}")
        try:
            writer.write(self.head)
            for piece in self.rest:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
                self.said += len(piece)
        finally:
            self.is_over = True


AIOHTTP = tuple(int(part) for part in aiohttp.__version__.split(".")[:3])
since_3_13_4 = pytest.mark.skipif(AIOHTTP < (3, 13, 4), reason="this aiohttp has no bound there")

Flood = tuple[bytes, Iterator[bytes]]
FLOODS: dict[str, Callable[[], Flood]] = {
    "a body": lambda: (HEAD % 200 + b"\r\n", repeat(bytes(2**16))),
    "a body of a failure": lambda: (HEAD % 500 + b"\r\n", repeat(bytes(2**16))),
    "a gigabyte": lambda: (
        HEAD % 200 + b"Content-Length: 1073741824\r\n\r\n",
        repeat(bytes(2**16), 2**14),
    ),
    "chunks": lambda: (HEAD % 200 + CHUNKED, repeat(b"10000\r\n%b\r\n" % bytes(2**16))),
    "a chunk's extension": lambda: (HEAD % 200 + CHUNKED + b"5;a=", repeat(b"x" * 2**16)),
    "tiny chunks": lambda: (HEAD % 200 + CHUNKED, repeat(b"1\r\nx\r\n" * 200)),
    "a deep list": lambda: (
        HEAD % 500 + b"Content-Length: %d\r\n\r\n" % (2**20),
        repeat(b"[" * 2**16, 2**4),
    ),
    "a header": lambda: (HEAD % 200 + b"X: ", repeat(b"x" * 2**16)),
    "a status line": lambda: (b"HTTP/1.1 200 ", repeat(b"x" * 2**16)),
    "interim answers": lambda: (b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
}
HEAVY: dict[str, Callable[[], Flood]] = {
    "headers": lambda: (HEAD % 200, _headers()),
    "trailers": lambda: (HEAD % 200 + CHUNKED + b"0\r\n", _headers()),
    "a bomb": lambda: (HEAD % 200 + b"Content-Encoding: gzip\r\n\r\n", _bomb()),
}
SLOW = ("tiny chunks", "interim answers")
NAMES = [*FLOODS, *(pytest.param(name, marks=since_3_13_4) for name in HEAVY)]


@pytest.mark.parametrize("name", NAMES)
async def test_an_endless_answer_is_bounded(
    make_exporter: MakeExporter, clock: FakeClock, name: str
) -> None:
    """
    Whatever has no end: memory stays small, a flush keeps its deadline, the event its outcome.
    """
    endless = Endless(*(FLOODS | HEAVY)[name]())
    async with listening(endless.serve) as port:
        exporter = await make_exporter(base_url=f"http://127.0.0.1:{port}", request_timeout=10.0)
        exporter.push(model_event(event_id="e0"))
        tracemalloc.start()
        try:
            flush = asyncio.create_task(exporter.flush(5.0))
            enough = A_LOT if name in SLOW else ENOUGH
            await until(lambda: endless.is_over or endless.said > enough)
            await clock.advance(5.0)
            result = await flush
            await clock.advance(10.0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert result.delivered + result.left == 1
        assert peak < MEMORY, f"{peak / 2**20:.0f} MiB"
        await flushed(exporter, clock)
        assert exporter.stats().delivered == 1
        await exporter.aclose()
