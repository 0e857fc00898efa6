"""
A close whose caller is cancelled: what is left has its outcome, or is on disk, before that shows.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import anyio
import pytest

from hh_exporter import DeliveryError, DropReason, Exporter, FlushResult
from tests.conftest import KEY, BuildExporter, MakeExporter
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, hang, hang_after_storing
from tests.spools import on_disk, stall
from tests.support import PATIENCE, assert_balanced, in_thread, model_event, push_all, until

CUT_SHORT = "the close was cancelled before it had sent them: give it more time, or use a spool"


async def cancelled(task: asyncio.Task[FlushResult]) -> None:
    """
    Cancel *task*, and wait until it ends by that.
    """
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def closing(exporter: Exporter, server: ScriptedServer) -> asyncio.Task[FlushResult]:
    """
    Begin to close while the server holds a request back.
    """
    close = asyncio.create_task(exporter.aclose(3600))
    await until(lambda: exporter.stats().health == "closed")
    await server.requests_seen(1)
    return close


async def test_a_cancelled_close_drops_what_is_left_at_once(
    exporter: Exporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without a spool it is one warning, which says why, and another close returns the count.
    """
    server.default = hang()
    push_all(exporter, "e0", "e1")

    await cancelled(await closing(exporter, server))

    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.CLOSED: 2}
    lost = f"{server.url}: no answer in time; {CUT_SHORT}"
    assert caplog.messages == [f"hh_exporter: 2 events dropped (closed): {lost}"]
    assert await exporter.aclose() == FlushResult(0, 0, 2, 0)


async def test_a_cancelled_close_has_what_is_left_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, tmp_path: Path
) -> None:
    """
    With a spool nothing is dropped, and the files are closed.
    """
    server.default = hang()
    exporter = await make_exporter(spool=tmp_path / "spool")
    push_all(exporter, "e0", "e1")
    close = await closing(exporter, server)

    close.cancel()
    await asyncio.wait([close])
    assert on_disk(tmp_path / "spool") == ["e0", "e1"]

    assert close.cancelled()
    assert assert_balanced(exporter).spooled == 2


async def test_an_exporter_may_be_started_again_after_that(
    exporter: Exporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It sends as before, and its next close is not said to be cancelled.
    """
    server.script(hang())
    push_all(exporter, "e0")
    await cancelled(await closing(exporter, server))
    await exporter.start()
    push_all(exporter, "e1")
    assert await exporter.flush() == FlushResult(1, 0, 0, 0)
    server.default = hang()
    push_all(exporter, "e2")

    await exporter.aclose(0.0)

    assert "cancelled" in caplog.messages[0]
    assert "cancelled" not in caplog.messages[1]


async def test_a_close_goes_on_for_another_caller(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Of several callers the last to be cancelled ends it, and not the first.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0")
    first, second = [await closing(exporter, server) for _ in range(2)]

    await cancelled(first)
    assert assert_balanced(exporter).in_flight == 1
    server.release()

    assert await second == FlushResult(1, 0, 0, 0)


async def test_the_last_caller_ends_a_close(exporter: Exporter, server: ScriptedServer) -> None:
    """
    Once all callers are cancelled, in whatever loops, nothing is left.
    """
    server.default = hang()
    push_all(exporter, "e0")
    close = await closing(exporter, server)
    elsewhere = asyncio.create_task(
        in_thread(lambda: asyncio.wait_for(exporter.aclose(3600), 0.05))
    )
    with pytest.raises(TimeoutError):
        await elsewhere
    assert assert_balanced(exporter).in_flight == 1

    await cancelled(close)

    assert assert_balanced(exporter).dropped == 1


@pytest.mark.parametrize("spool", [False, True], ids=["no spool", "spool"])
async def test_a_cancelled_close_ends_the_worker_of_another_loop(
    server: ScriptedServer, tmp_path: Path, spool: bool
) -> None:
    """
    What that has in flight is dropped, or on disk, as what is queued.
    """
    server.default = hang()
    exporter = Exporter(
        KEY, base_url=server.url, max_in_flight=1, spool=tmp_path / "spool" if spool else None
    )
    await exporter.start()
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.requests_seen(1)
    push_all(exporter, "e1")

    with pytest.raises(TimeoutError):
        await in_thread(lambda: asyncio.wait_for(exporter.aclose(3600), 0.05))

    stats = assert_balanced(exporter)
    assert (stats.dropped, stats.spooled) == ((0, 2) if spool else (2, 0))
    assert on_disk(tmp_path / "spool") == (["e0", "e1"] if spool else [])
    await flush


async def test_a_close_from_another_loop_keeps_what_is_in_flight(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    At its deadline the other loop hands back what it has in hand, before the files are closed.
    """
    server.default = hang()
    exporter = Exporter(KEY, base_url=server.url, spool=tmp_path / "spool")
    await exporter.start()
    push_all(exporter, "e0", "e1")

    assert await in_thread(lambda: exporter.aclose(0.1)) == FlushResult(0, 0, 0, 2)

    assert on_disk(tmp_path / "spool") == ["e0", "e1"]


async def test_a_close_from_another_loop_leaves_a_loop_that_ends_its_last_call(
    server: ScriptedServer,
) -> None:
    """
    Where asyncio.run cancels the worker meanwhile, that still sends, and the close waits for it.
    """
    server.default = hang_after_storing()
    exporter = Exporter(KEY, base_url=server.url)
    is_over = threading.Event()

    async def main() -> None:
        await exporter.start()
        push_all(exporter, "e0")
        await asyncio.to_thread(is_over.wait, PATIENCE)

    program = asyncio.create_task(in_thread(main))
    await until(lambda: exporter.stats().pushed)
    close = await closing(exporter, server)
    is_over.set()
    await server.requests_seen(2)
    server.release()

    assert await close == FlushResult(1, 0, 0, 0)
    await program


@pytest.mark.parametrize("spool", [False, True], ids=["no spool", "spool"])
async def test_a_close_does_not_wait_for_a_loop_that_is_blocked(
    server: ScriptedServer, tmp_path: Path, spool: bool
) -> None:
    """
    What the worker of such a loop has in hand is taken from it, and it sends no more.
    """
    server.default = hang()
    exporter = Exporter(KEY, base_url=server.url, spool=tmp_path / "spool" if spool else None)
    is_over = threading.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(exporter.start(), loop))
    push_all(exporter, "e0")
    asyncio.run_coroutine_threadsafe(exporter.flush(), loop)
    await server.requests_seen(1)
    loop.call_soon_threadsafe(is_over.wait, PATIENCE)

    result = await exporter.aclose(0.1)

    assert result == (FlushResult(0, 0, 0, 1) if spool else FlushResult(0, 0, 1, 0))
    assert on_disk(tmp_path / "spool") == (["e0"] if spool else [])
    is_over.set()
    server.release()
    await until(lambda: not asyncio.all_tasks(loop))
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    assert len(server.requests) == 1


async def test_a_slow_disk_has_its_time_however_often_it_is_cancelled(
    server: ScriptedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A second cancellation does not end the wait for the disk, and is raised after it.
    """
    server.default = hang()
    disk = stall(monkeypatch, "add")
    exporter = Exporter(KEY, base_url=server.url, spool=tmp_path / "spool")
    push_all(exporter, "e0")
    close = await closing(exporter, server)
    close.cancel()
    await until(disk.is_reached.is_set)
    for _ in range(5):
        close.cancel()
        await asyncio.sleep(0)

    assert not close.done()
    disk.is_over.set()
    await asyncio.wait([close])

    assert close.cancelled()
    assert on_disk(tmp_path / "spool") == ["e0"]


async def test_a_close_that_is_cancelled_as_it_writes_counts_what_was_not_logged(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It may be the last that the exporter does in this process.
    """
    server.default = hang()
    disk = stall(monkeypatch, "add")
    exporter = await make_exporter(spool=tmp_path / "spool")
    push_all(exporter, "e0")
    close = asyncio.create_task(exporter.aclose(0.0))
    await until(disk.is_reached.is_set)
    assert not any(exporter.push(model_event()) for _ in range(3))
    close.cancel()
    disk.is_over.set()
    await asyncio.wait([close])

    assert close.cancelled()
    dropped = [text.split(" dropped")[0] for text in caplog.messages]
    assert dropped == ["hh_exporter: 1 event", "hh_exporter: 2 more events"]


async def test_a_disk_that_hangs_does_not_hold_a_cancelled_close(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It has two seconds; then CancelledError is raised, after a warning.
    """
    server.default = hang()
    disk = stall(monkeypatch, "add")
    exporter = await make_exporter(spool=tmp_path / "spool")
    clock = exporter._clock
    push_all(exporter, "e0")
    close = await closing(exporter, server)
    close.cancel()
    await until(disk.is_reached.is_set)
    begun = clock.now()
    while not close.done():
        close.cancel()
        await clock.advance(0.25)  # type: ignore[attr-defined]

    assert clock.now() - begun <= 2.5
    assert any("is still writing" in message for message in caplog.messages)
    disk.is_over.set()


async def test_a_create_in_flight_ends_with_a_cancelled_close(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Its caller learns that it was not delivered, and the books balance.
    """
    server.default = hang()
    create = asyncio.create_task(exporter.create_model_event(model_event()))
    await server.requests_seen(1)

    await cancelled(await closing(exporter, server))

    with pytest.raises(DeliveryError):
        await create
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SEND_FAILED: 1}


async def test_a_cancelled_block_still_has_its_close(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    One cancellation ends the body of `async with`, and leaves the close its time.
    """
    server.script(hang_after_storing())
    exporter = build_exporter()

    async def main() -> None:
        async with exporter:
            push_all(exporter, "e0")
            await asyncio.Event().wait()

    task = asyncio.create_task(main())
    await until(lambda: exporter.stats().pushed)
    task.cancel()
    await server.requests_seen(1)
    server.release()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert assert_balanced(exporter).delivered == 1


async def test_a_cancelled_scope_leaves_a_close_the_disk(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Anyio cancels each await of a scope again: what is left is on disk all the same.
    """
    server.default = hang()
    exporter = Exporter(KEY, base_url=server.url, spool=tmp_path / "spool")

    with anyio.CancelScope() as scope:
        async with exporter:
            push_all(exporter, "e0", "e1")
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert on_disk(tmp_path / "spool") == ["e0", "e1"]


async def test_a_loop_that_ends_cuts_no_close_short(server: ScriptedServer) -> None:
    """
    Where asyncio.run cancels the close and the worker alike, that has its last call.
    """
    server.default = hang_after_storing()
    source = """
        async def main():
            await exporter.start()
            push("e0", "e1")
            asyncio.create_task(exporter.aclose(3600))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        asyncio.run(main())
        stats = exporter.stats()
        say(stats.delivered, stats.dropped)
    """
    release = asyncio.create_task(released(server))

    done = await run_program(source, server.url)

    await release
    assert (done.status, done.stdout, done.stderr) == (0, "2 0\n", "")


async def released(server: ScriptedServer) -> None:
    await server.requests_seen(1)
    server.release()
