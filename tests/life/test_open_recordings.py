"""
What `record` still times as an exporter ends: it is pushed as cancelled, and only once.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from hh_exporter import DropReason, Exporter, FlushResult
from tests.conftest import KEY
from tests.programs import run_program
from tests.scripted_server import Event, ScriptedServer, hang_after_storing
from tests.spools import on_disk
from tests.support import PATIENCE, FakeClock, assert_balanced

RECORD = """
        async def call(event_id):
            with exporter.record(model="m", event_id=event_id) as event:
                event.response = {"content": "so far"}
                await asyncio.sleep(600)  # held by the loop; an Event would be by nobody
"""
"""A call to a model that never ends by itself."""

ENDINGS = {
    "the interpreter exits beside a loop": """
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
        asyncio.run_coroutine_threadsafe(call("e0"), loop)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
    """,
    "the interpreter exits, and the loop is stopped": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(exporter.start())
        task = loop.create_task(call("e0"))
        loop.run_until_complete(asyncio.sleep(0))
    """,
    "asyncio.run ends, and the exporter was closed": """
        async def main():
            async with exporter:
                task = asyncio.create_task(call("e0"))
                await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "asyncio.run ends, and the exporter was not closed": """
        async def main():
            await exporter.start()
            task = asyncio.create_task(call("e0"))
            await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "SIGTERM with handlers installed": """
        async def main():
            exporter.install_signal_handlers()
            await exporter.start()
            task = asyncio.create_task(call("e0"))
            await asyncio.sleep(0)
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(60)
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("source", ENDINGS.values(), ids=list(ENDINGS))
async def test_what_is_open_at_an_end_is_delivered(server: ScriptedServer, source: str) -> None:
    """
    It is one event, with what the block had set so far, and nothing is said to be lost.
    """
    done = await run_program(RECORD + source, server.url)

    assert done.status in (0, -signal.SIGTERM)
    assert "hh_exporter" not in done.stderr, done.stderr
    [event] = events_of(server)
    assert (event["event_id"], event["error"]) == ("e0", "cancelled")
    assert event["response"] == {"content": "so far"}


async def test_what_no_loop_can_send_any_more_is_counted(server: ScriptedServer) -> None:
    """
    A block that is open in a daemon thread at exit is one of the events that are said to be lost.
    """
    source = """
        is_open = threading.Event()
        def call():
            with exporter.record(model="m"):
                is_open.set()
                threading.Event().wait()
        threading.Thread(target=call, daemon=True).start()
        is_open.wait()
        push("e0")
    """

    done = await run_program(source, server.url)

    assert done.stderr.startswith("hh_exporter: 2 events dropped (closed): the exporter was not")


async def test_the_signal_of_a_program_that_goes_on_ends_no_block(server: ScriptedServer) -> None:
    """
    Where the program handles SIGTERM itself its blocks may still end by themselves.
    """
    source = """
        async def main():
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))
            exporter.install_signal_handlers()
            async with exporter:
                with exporter.record(model="m", event_id="e0"):
                    push("e1")
                    signal.raise_signal(signal.SIGTERM)
                    await stop.wait()
        asyncio.run(main())
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stderr) == (0, "")
    assert {e["event_id"]: e.get("error") for e in events_of(server)} == {"e0": None, "e1": None}


async def test_the_end_of_a_block_waits_for_no_hook_that_the_signal_interrupts(
    server: ScriptedServer,
) -> None:
    """
    A signal that comes while `before_send` holds a lock of its own does not call it again there.
    """
    source = """
        lock = threading.Lock()

        def before_send(event):
            with lock:
                if event.event_id == "e1":
                    signal.raise_signal(signal.SIGTERM)
            return event

        async def call(exporter):
            with exporter.record(model="m", event_id="e0"):
                await asyncio.sleep(60)

        async def main():
            exporter = Exporter(before_send=before_send)
            exporter.install_signal_handlers()
            await exporter.start()
            task = asyncio.create_task(call(exporter))
            await asyncio.sleep(0)
            exporter.push(ModelEvent(model="m", event_id="e1"))
            await asyncio.sleep(60)
        asyncio.run(main())
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stderr) == (-signal.SIGTERM, "")
    assert {e["event_id"]: e.get("error") for e in events_of(server)} == {
        "e0": "cancelled",
        "e1": None,
    }


async def test_a_close_pushes_what_is_open(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It counts in the result, ends when the close began, and the late end of its block is ignored.
    """
    await exporter.start()
    with exporter.record(model="m", event_id="e0") as event:
        await clock.advance(0.25)
        assert await exporter.aclose() == FlushResult(1, 0, 0, 0)
        await clock.advance(1.0)
        event.response = {"content": "too late"}

    [sent] = events_of(server)
    assert (sent["error"], sent["duration"], sent.get("response")) == ("cancelled", 250.0, {})
    assert assert_balanced(exporter).pushed == 1
    assert not caplog.messages


async def test_a_block_that_begins_after_a_close_is_refused(exporter: Exporter) -> None:
    """
    A second close does not end it: it is dropped as it ends, like any push that comes too late.
    """
    await exporter.aclose()
    with exporter.record(model="m"):
        await exporter.aclose()
        assert assert_balanced(exporter).pushed == 0

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


async def test_a_block_that_was_pushed_stays_so_where_the_exporter_starts_again(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    It is one event all the same.
    """
    with exporter.record(model="m"):
        await exporter.aclose()
        await exporter.start()

    await exporter.aclose()
    assert len(events_of(server)) == 1


async def test_an_error_that_is_set_stays_at_a_close(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    The block has said already how it will end.
    """
    with exporter.record(model="m") as event:
        event.error = "rate limited"
        await exporter.aclose()

    [sent] = events_of(server)
    assert sent["error"] == "rate limited"


async def test_each_block_is_one_event_while_threads_end_theirs(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    A block that ends as the exporter closes is pushed by one of the two.
    """
    begun = threading.Barrier(4)

    def call() -> None:
        for n in range(50):
            with exporter.record(model="m"):
                if not n:
                    begun.wait(PATIENCE)

    calls = [asyncio.create_task(asyncio.to_thread(call)) for _ in range(3)]
    await exporter.start()
    await asyncio.to_thread(begun.wait, PATIENCE)
    await exporter.aclose()
    await asyncio.gather(*calls)

    assert assert_balanced(exporter).pushed == 3 * 50


async def test_a_cancelled_close_keeps_what_was_open(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    With a spool it is on disk, like all else.
    """
    server.default = hang_after_storing()
    exporter = Exporter(KEY, base_url=server.url, spool=tmp_path / "spool")
    with exporter.record(model="m", event_id="e0"), pytest.raises(TimeoutError):
        await asyncio.wait_for(exporter.aclose(), 0.1)

    assert on_disk(tmp_path / "spool") == ["e0"]


def events_of(server: ScriptedServer) -> list[Event]:
    return [event for request in server.requests for event in request.events]


async def test_a_signal_ends_no_block_where_no_loop_runs(server: ScriptedServer) -> None:
    """
    There `before_send` would be called in the handler, which interrupts who knows what.
    """
    source = """
        lock = threading.Lock()

        def before_send(event):
            with lock:
                return event

        exporter = Exporter(before_send=before_send)
        exporter.install_signal_handlers()
        with exporter.record(model="m", event_id="e0"), lock:
            signal.raise_signal(signal.SIGTERM)
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")


async def test_a_block_that_is_open_at_a_fork_is_its_parent_s(server: ScriptedServer) -> None:
    """
    The child pushes nothing at its end, or it would be two events; what it begins is inside.
    """
    source = """
        async def main():
            async with exporter:
                pass
        reading, writing = os.pipe()
        with exporter.trace("parent", event_id="e0") as step:
            pid = os.fork()
            if not pid:
                with exporter.record(model="m") as call:
                    os.write(writing, call.parent_id.encode())
        if not pid:
            os._exit(exporter.stats().pushed)
        _, status = os.waitpid(pid, 0)
        assert (os.waitstatus_to_exitcode(status), os.read(reading, 9)) == (1, b"e0")
        asyncio.run(main())
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stderr) == (0, "")
    assert [event["event_id"] for event in events_of(server)] == ["e0"]
