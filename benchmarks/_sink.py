"""
A server that takes batches as fast as it can, in a process of its own.

It answers after the latency it was asked for, and as the service does that a
request is meant for: the API with the ids of the events it created. It counts
them before it answers: what it counted was there when it was acknowledged.
Run as a module it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from attrs import Factory, asdict, define, frozen

from benchmarks._server import running, serve
from benchmarks._wires import Answer, read

__all__ = ["Received", "Sink", "running_sink"]

_COUNTS = "/counts"
_LOOK = b"GET %b " % _COUNTS.encode()
_BUFFER_BYTES = 2**18
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
# Past any proxy of the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@frozen(kw_only=True)
class Received:
    """
    What arrived since the last time somebody asked.
    """

    requests: int
    events: int
    distinct: int
    """How many different ids the events had."""
    cpu: float
    """Seconds of processor time that the sink took for it."""


@frozen
class Sink:
    """
    The sink as its clients see it.
    """

    url: str

    def collect(self) -> Received:
        """
        Say what arrived since the last call; later requests count afresh.
        """
        with _opener.open(self.url + _COUNTS) as response:
            return Received(**orjson.loads(response.read()))

    def expect(self, events: int) -> Received:
        """
        Raise RuntimeError unless just so many events arrived since the last call.
        """
        received = self.collect()
        if (received.events, received.distinct) != (events, events):
            raise RuntimeError(f"{events} events should have arrived: {received}")
        return received


@contextmanager
def running_sink(latency: float = 0.0) -> Iterator[Sink]:
    """
    Run a sink in a process of its own, which answers *latency* seconds late.
    """
    with running(__name__, latency) as url:
        yield Sink(url)


@define(eq=False)
class _Tally:
    requests: int = 0
    events: int = 0
    ids: set[bytes] = Factory(set)
    taken_at: float = 0.0

    def add(self, ids: list[bytes]) -> None:
        self.requests += 1
        self.events += len(ids)
        self.ids.update(ids)

    def take(self) -> Received:
        now = time.process_time()
        received = Received(
            requests=self.requests,
            events=self.events,
            distinct=len(self.ids),
            cpu=now - self.taken_at,
        )
        self.requests = self.events = 0
        self.ids.clear()
        self.taken_at = now
        return received


class _Connection(asyncio.BufferedProtocol):
    """
    One connection: whole requests, one after the other.

    It reads into one buffer that it keeps, and that grows to the largest request:
    making 256 KB of bytes for each read costs more than all else here.
    """

    def __init__(self, tally: _Tally, latency: float) -> None:
        self._tally = tally
        self._latency = latency
        self._buffer = bytearray(_BUFFER_BYTES)
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        head_end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if head_end < 0:
            return
        body_start = head_end + 4
        head = bytes(self._buffer[:body_start])
        length = _LENGTH.search(head)
        body_end = body_start + (int(length[1]) if length else 0)
        if self._filled < body_end:
            if len(self._buffer) < body_end:
                self._buffer = self._buffer.ljust(body_end)
            return
        self._filled = 0  # nobody pipelines: a client waits for its answer
        answer = self._answer(head, memoryview(self._buffer)[body_start:body_end])
        wire = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            answer.status,
            answer.content_type,
            len(answer.content),
            answer.content,
        )
        if self._latency and not head.startswith(_LOOK):
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, wire)
        else:
            self._transport.write(wire)

    def _answer(self, head: bytes, body: memoryview) -> Answer:
        if head.startswith(_LOOK):
            return Answer(content=orjson.dumps(asdict(self._tally.take())))
        answer = read(head, body)
        if answer.ids:
            self._tally.add(answer.ids)
        return answer


if __name__ == "__main__":
    latency, tally = float(sys.argv[1]), _Tally()
    asyncio.run(serve(lambda: _Connection(tally, latency)))
