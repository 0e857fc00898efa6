"""
Programs that have nothing to do, each in a process of its own.

How often one of them wakes is read from outside: Linux counts for each thread how
often it gave up its processor to wait.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from benchmarks._workload import Fields
from hh_exporter import Exporter, ModelEvent, Spool

__all__ = ["Open", "count_wakes", "nothing", "one_exporter", "one_with_spool"]

Open: TypeAlias = Callable[[str, Fields], AbstractAsyncContextManager[None]]
"""Starts what then rests; it has sent the event to the URL before."""

_WAITS = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


@asynccontextmanager
async def nothing(_url: str, _event: Fields) -> AsyncIterator[None]:
    """
    Have an event loop alone.
    """
    yield


@asynccontextmanager
async def one_exporter(url: str, event: Fields) -> AsyncIterator[None]:
    """
    Have an exporter of default settings.
    """
    async with Exporter(base_url=url) as exporter:
        await _deliver(exporter, event)
        yield


@asynccontextmanager
async def one_with_spool(url: str, event: Fields) -> AsyncIterator[None]:
    """
    Have one with a durable spool.
    """
    with TemporaryDirectory() as folder:
        async with Exporter(base_url=url, spool=Spool(folder, durable=True)) as exporter:
            await _deliver(exporter, event)
            yield


async def _deliver(exporter: Exporter, event: Fields) -> None:
    exporter.push(ModelEvent(**event))
    result = await exporter.flush()
    if result.delivered != 1:
        raise RuntimeError(f"the event should have been delivered: {result}")


def count_wakes(open_: Open, url: str, event: Fields, *, settle: float, seconds: float) -> float:
    """
    Say how often a second a program wakes that has nothing to do.

    Args:
        settle: Seconds after its event was delivered before the count begins.
        seconds: How long it is counted.

    Raises:
        RuntimeError: It failed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, open_, url, event))
    process.start()
    theirs.close()
    try:
        ours.recv()
        time.sleep(settle)
        before = _count(process.pid)
        time.sleep(seconds)
        return (_count(process.pid) - before) / seconds
    except EOFError:
        raise RuntimeError(f"{open_.__name__} failed") from None
    finally:
        ours.close()
        process.join()


def _count(pid: int | None) -> int:
    statuses = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(int(waits) for path in statuses for waits in _WAITS.findall(path.read_text()))


def _run(orders: Connection, open_: Open, url: str, event: Fields) -> None:
    async def rest() -> None:
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(orders.fileno(), over.set)
        async with open_(url, event):
            orders.send(os.getpid())
            await over.wait()  # however the benchmark ends, its end of the pipe goes with it

    asyncio.run(rest())
