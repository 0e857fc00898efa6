"""
The client of NATS, where nats-py's own would go deaf.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from hh_exporter import JetStream
from hh_exporter._clock import Deadline
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection, Lost
from tests.fake_nats import FakeNats
from tests.support import FakeClock, until


@pytest.fixture
async def server() -> AsyncIterator[FakeNats]:
    async with FakeNats() as server:
        yield server


@pytest.fixture
async def connection(server: FakeNats, clock: FakeClock) -> AsyncIterator[Connection]:
    connector = Connector(access=JetStream(server.address), role="app", clock=clock)
    connection = await connector.open(Deadline.after(clock, 5.0))
    yield connection
    await connection.close()


async def test_an_answer_to_a_flush_that_was_given_up_is_ignored(
    server: FakeNats, connection: Connection, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The next one has its own.
    """
    server.after_connect = b"+OK\r\n"
    flushing = asyncio.create_task(connection.flush(Deadline.after(clock, 1.0)))
    await until(lambda: server.heard.count(b"PING\r\n") == 2)
    await clock.advance(2.0)
    with pytest.raises(TimeoutError):
        await flushing

    server.say(b"PONG\r\n")
    server.after_connect = None
    await connection.flush(Deadline.after(clock, 1.0))
    assert connection.is_open
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_connection_whose_tasks_are_cancelled_is_lost(connection: Connection) -> None:
    """
    As where a program cancels all that runs; whoever waits is told at once.
    """
    told = asyncio.Event()
    connection.on_fault.add(told.set)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "Client._read_loop" in task.get_coro().__qualname__:  # type: ignore[union-attr]
            task.cancel()
    await told.wait()

    assert not connection.is_open
    assert connection.fault == "connection lost"
    with pytest.raises(Lost):
        await connection.publish("a")
