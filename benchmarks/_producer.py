"""
An exporter in a process of its own, fed piece by piece, that says what each piece took.

Between two pieces the process stands still, its event loop too.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen

from benchmarks._process import read_resident
from benchmarks._workload import Fields
from hh_exporter import Exporter, ModelEvent

__all__ = ["CHUNK", "Piece", "running_producer"]

CHUNK = 2_000
"""Events that are pushed, and then flushed, together."""


@frozen(kw_only=True)
class Piece:
    """
    What it took to deliver some events.
    """

    wall: float
    """Seconds for one event."""
    cpu: float
    """Seconds of processor time for one event, of this process alone."""
    resident: int
    """Bytes of memory that the process has after it."""


@contextmanager
def running_producer(
    events: Sequence[Fields], url: str, *, warm_up: int
) -> Iterator[Callable[[int], Piece]]:
    """
    Run an exporter of its own in a process where another one has delivered *warm_up* events.

    Yields:
        What has it deliver so many events more. Raises RuntimeError where not all were.
    """
    context = multiprocessing.get_context("spawn")
    orders, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, events, url, warm_up))
    process.start()
    theirs.close()

    def receive() -> Any:
        answer = orders.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(count: int) -> Piece:
        orders.send(count)
        piece: Piece = receive()
        return piece

    try:
        receive()  # it is warm
        yield send
    finally:
        orders.close()
        process.join()


def _run(orders: Connection, events: Sequence[Fields], url: str, warm_up: int) -> None:
    with suppress(EOFError):  # however the benchmark ends, its end of the pipe goes with it
        try:
            asyncio.run(_serve(orders, cycle(events), url, warm_up))
        except RuntimeError as exc:
            orders.send(exc)


async def _serve(orders: Connection, events: Iterator[Fields], url: str, warm_up: int) -> None:
    async with Exporter(base_url=url) as exporter:
        await _deliver(exporter, events, warm_up)
    async with Exporter(base_url=url) as exporter:
        orders.send(None)
        while count := orders.recv():
            cpu, wall = time.process_time(), time.perf_counter()
            await _deliver(exporter, events, count)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            orders.send(Piece(wall=wall / count, cpu=cpu / count, resident=read_resident()))


async def _deliver(exporter: Exporter, events: Iterator[Fields], count: int) -> None:
    delivered = 0
    for begun in range(0, count, CHUNK):
        for fields in islice(events, min(CHUNK, count - begun)):
            exporter.push(ModelEvent(**fields))
        delivered += (await exporter.flush()).delivered
    if delivered != count:
        raise RuntimeError(f"{delivered} of {count} events were delivered")
