"""
A loop of another thread that just stops: nobody waits for it for good.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from hh_exporter import BatchLimits, DeliveryError, DropReason, Exporter, FlushResult
from tests.conftest import KEY
from tests.programs import running
from tests.scripted_server import ScriptedServer, hang, hang_after_storing
from tests.support import PATIENCE, assert_balanced, model_event, push_all, until


@asynccontextmanager
async def started_elsewhere(
    server: ScriptedServer,
) -> AsyncIterator[tuple[Exporter, Callable[[], object]]]:
    """
    An exporter whose worker is in the loop of another thread, and what stops that loop.
    """
    # The system's clock: two loops may not wait for the same fake one.
    exporter = Exporter(KEY, base_url=server.url, batch=BatchLimits(linger=0.0))
    loop = asyncio.new_event_loop()
    is_over = threading.Event()

    def run() -> None:
        loop.run_until_complete(exporter.start())
        loop.run_forever()
        is_over.wait(PATIENCE)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    thread = asyncio.create_task(asyncio.to_thread(run))
    await until(lambda: exporter.stats().health == "ok")
    yield exporter, partial(loop.call_soon_threadsafe, loop.stop)
    await exporter.aclose()
    is_over.set()
    await thread
    assert_balanced(exporter)


async def test_a_flush_goes_on_in_its_own_loop(server: ScriptedServer) -> None:
    """
    A flush without a limit delivers what the worker of a loop that stopped had in hand.
    """
    server.script(hang())
    async with started_elsewhere(server) as (exporter, stop):
        push_all(exporter, "e0")
        flush = asyncio.create_task(exporter.flush())
        await server.requests_seen(1)
        stop()

        assert await flush == FlushResult(delivered=1, rejected=0, dropped=0, left=0)


async def test_a_close_goes_on_in_its_own_loop(server: ScriptedServer) -> None:
    """
    So does a close, which loses nothing by it.
    """
    server.script(hang())
    async with started_elsewhere(server) as (exporter, stop):
        push_all(exporter, "e0")
        close = asyncio.create_task(exporter.aclose(PATIENCE))
        await server.requests_seen(1)
        stop()

        assert await close == FlushResult(delivered=1, rejected=0, dropped=0, left=0)


async def test_an_event_that_was_sent_there_by_itself_is_given_up(server: ScriptedServer) -> None:
    """
    Whoever waits for a single event learns that it was not delivered, and it is counted.
    """
    server.script(hang())
    async with started_elsewhere(server) as (exporter, stop):
        sending = asyncio.create_task(exporter.create_model_event(model_event(), PATIENCE))
        await server.requests_seen(1)
        stop()

        with pytest.raises(DeliveryError):
            await sending
        assert assert_balanced(exporter).dropped_by_reason == {DropReason.SEND_FAILED: 1}
        assert await exporter.flush() == FlushResult(0, 0, 0, 0)


async def test_all_exporters_end_at_once_at_exit(server: ScriptedServer) -> None:
    """
    Each sends what it has while the others do: their times do not add up.
    """
    server.default = hang_after_storing()
    source = """
        batch = BatchLimits(linger=3600)
        exporters = [exporter, *(Exporter(batch=batch, close_timeout=3600) for _ in range(3))]
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        for exporter in exporters:
            asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
            push(f"e{exporters.index(exporter)}")
    """

    with running(source, server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600") as program:
        await server.requests_seen(4)  # with one after the other there were one
        server.release()
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert sorted(server.created_ids) == ["e0", "e1", "e2", "e3"]


async def test_an_exit_waits_for_no_loop_that_stops(server: ScriptedServer) -> None:
    """
    Where the loop in a daemon thread stops during the exit, and that thread goes on, nobody waits.
    """
    server.default = hang()
    source = """
        loop = asyncio.new_event_loop()
        def work():
            loop.run_forever()
            threading.Event().wait()
        threading.Thread(target=work, daemon=True).start()
        asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
        push("e0")
        loop.call_soon_threadsafe(loop.call_later, 1.0, loop.stop)
    """

    with running(source, server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600") as program:
        done = await program.ended()

    assert done.status == 0
    assert "1 event dropped (closed)" in done.stderr


async def test_a_loop_that_stops_during_the_exit_goes_on(server: ScriptedServer) -> None:
    """
    Where the daemon thread ends with its loop, that loop goes on in the thread that waits for it.
    """
    server.script(hang_after_storing())
    source = """
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
        push("e0")
        def stop():
            loop.stop()
            say("stopped")
        loop.call_soon_threadsafe(loop.call_later, 1.0, stop)
    """

    with running(source, server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600") as program:
        await program.said("stopped")
        server.release()
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert server.created_ids == ["e0"]
