"""
One connection to a NATS server, wherever what waits for it is cancelled.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from hh_exporter import JetStream
from hh_exporter._clock import NEVER, SystemClock
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection
from tests.support import PATIENCE

pytest.importorskip("nats", reason="needs the extra fleet")

_INFO = b'INFO {"server_id": "x", "version": "2.15.1", "max_payload": 1048576, "headers": true}\r\n'
_TURNS = 60
"""Turns of the loop in which a connection is opened, flushed or closed, and more."""


class Answering:
    """
    A server in this loop, so that each turn of it is the same each time.
    """

    def __init__(self) -> None:
        self.clients: list[asyncio.Task[None]] = []
        self.accepted = asyncio.Event()

    def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted.set()
        self.clients.append(asyncio.create_task(self._answer(reader, writer)))

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(_INFO)
        try:
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
async def connector(answering: Answering) -> AsyncIterator[Connector]:
    """
    To that server.
    """
    server = await asyncio.start_server(answering.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    access = JetStream(f"nats://{host}:{port}")
    connector = Connector(access=access, role="app", clock=SystemClock())
    yield connector
    connector.close()
    server.close()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(answering.clients)


async def is_cancelled_after(
    turns: int, work: Coroutine[Any, Any, object], begun: asyncio.Event | None = None
) -> bool | None:
    """
    Cancel *work* so many turns of the loop after it had *begun*, and say whether it ended so.

    Returns:
        None if it was done by then.
    """
    task = asyncio.create_task(work)
    if begun is not None:
        begun.clear()
        await begun.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    was_done = task.done()
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and isinstance(connection := task.result(), Connection):
        await connection.close()
    return None if was_done else task.cancelled()


@pytest.mark.parametrize("what", ["open", "flush", "close"])
async def test_a_cancellation_is_not_lost(
    connector: Connector, answering: Answering, what: str
) -> None:
    """
    In whichever turn it comes: a task that went on instead would miss its deadline, or never end.
    """
    found = []
    for turns in range(_TURNS):
        if what == "open":
            # On Python 3.11, asyncio itself may forget a connection that is not accepted yet.
            work = connector.open(NEVER)
            found.append(await is_cancelled_after(turns, work, answering.accepted))
            continue
        connection = await connector.open(NEVER)
        ending = connection.flush(NEVER) if what == "flush" else connection.close()
        found.append(await is_cancelled_after(turns, ending))
        await connection.close()

    assert set(found) == {True, None}
    assert found == sorted(found, key=lambda one: one is None)
