"""
A server that takes batches as fast as it can, in a process of its own.

It answers after the latency it was asked for, and as the service does that a
request is meant for: the API with the ids of the events it created. It counts
them before it answers: what it counted was there when it was acknowledged.
Run as a module it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import orjson
from attrs import Factory, asdict, define, frozen

from benchmarks._connection import Connection, Respond, asks_for
from benchmarks._server import ask, running, serve
from benchmarks._wires import Answer, read

__all__ = ["Received", "Sink", "running_sink"]

_COUNTS = "/counts"


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
        return Received(**orjson.loads(ask(self.url + _COUNTS)))

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


def _answer_after(latency: float) -> Respond:
    tally = _Tally()

    def respond(connection: Connection, head: bytes, body: memoryview) -> None:
        if asks_for(_COUNTS, head):
            connection.write(Answer(content=orjson.dumps(asdict(tally.take()))))
            return
        answer = read(head, body)
        if answer.ids:
            tally.add(answer.ids)
        if latency:
            asyncio.get_running_loop().call_later(latency, connection.write, answer)
        else:
            connection.write(answer)

    return respond


if __name__ == "__main__":
    asyncio.run(serve(partial(Connection, _answer_after(float(sys.argv[1])))))
