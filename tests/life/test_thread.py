"""
Exporters of programs without asyncio: their event loop runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    ExporterError,
    FlushResult,
    Outcome,
    Settlement,
    ThreadedExporter,
)
from hh_exporter.testing import FakeClock, Kit
from tests.conftest import KEY
from tests.programs import run_program, running, started
from tests.scripted_server import ScriptedServer, status
from tests.support import PATIENCE, assert_balanced, model_event, push_all
from tests.test_threads import interrupted

LATE = "not sent by the end of the close: raise close_timeout, or use a spool"


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def make(kit: Kit, **settings: Any) -> ThreadedExporter:
    """
    Make an exporter in a thread that sends when it is flushed or closed.
    """
    defaults: dict[str, Any] = {"base_url": kit.url, "batch": BatchLimits(linger=600.0)}
    return Exporter.in_thread(KEY, **defaults | settings)


def loops() -> list[threading.Thread]:
    """
    List the threads that run the loop of an exporter.
    """
    return [thread for thread in threading.enumerate() if thread.name == "hh_exporter loop"]


def ids(kit: Kit) -> list[str]:
    return [event["event_id"] for event in kit.events()]


# In a program.


def test_a_block_delivers_what_it_pushed(kit: Kit) -> None:
    """
    All of an exporter can be used in a `with` block, and is delivered when that ends.
    """
    with make(kit) as exporter:
        push_all(exporter, "e0", "e1")
        with exporter.record(model="m", event_id="e2") as event:
            event.response = {"role": "assistant", "content": "Hi"}
        assert exporter.flush_sync() == FlushResult(delivered=3, rejected=0, dropped=0, left=0)
        push_all(exporter, "e3")

    assert ids(kit) == ["e0", "e1", "e2", "e3"]
    assert assert_balanced(exporter).delivered == 4
    assert repr(exporter) == f"<ThreadedExporter {kit.url} closed>"


def test_without_an_event_there_is_no_thread(kit: Kit) -> None:
    """
    A program may fork as it likes before it pushes: until then there is one thread.
    """
    before = threading.enumerate()

    with make(kit) as exporter:
        assert exporter.flush_sync() == FlushResult(0, 0, 0, 0)
        assert threading.enumerate() == before
    assert exporter.close() == FlushResult(0, 0, 0, 0)

    assert threading.enumerate() == before


def test_a_closed_exporter_takes_nothing_until_it_is_opened_again(kit: Kit) -> None:
    """
    A second `with` block continues, in a thread of its own; a second close changes nothing.
    """
    exporter = make(kit)
    push_all(exporter, "e0")
    assert exporter.close() == exporter.close() == FlushResult(1, 0, 0, 0)
    assert not exporter.push(model_event(event_id="late"))

    with exporter:
        push_all(exporter, "e1")

    assert ids(kit) == ["e0", "e1"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


def test_threads_that_push_first_share_one_loop(kit: Kit) -> None:
    """
    However many threads push at once, one worker delivers it all, and one thread is left.
    """
    barrier = threading.Barrier(20)

    with make(kit) as exporter:

        def push(n: int) -> None:
            barrier.wait()
            push_all(exporter, f"e{n}")

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(push, range(20)))
        exporter.flush_sync()
        worker = exporter._life.worker
        for thread in loops():
            if exporter._keeper._thread is None or thread is not exporter._keeper._thread():
                thread.join(PATIENCE)
        assert len(loops()) == 1
        push_all(exporter, "last")
        assert exporter._life.worker is worker

    assert sorted(ids(kit)) == sorted([*(f"e{n}" for n in range(20)), "last"])


def test_loops_of_the_program_come_and_go(kit: Kit) -> None:
    """
    What coroutines push, put or wait for is sent by the thread, whichever loop they run in.
    """

    async def main(event_id: str) -> None:
        push_all(exporter, event_id)
        await exporter.put(model_event(event_id=f"{event_id} put"))
        assert (await exporter.flush()).left == 0

    with make(kit) as exporter:
        asyncio.run(main("e0"))
        worker = exporter._life.worker
        asyncio.run(main("e1"))
        assert exporter._life.worker is worker

    asyncio.run(exporter.aclose())
    assert ids(kit) == ["e0", "e0 put", "e1", "e1 put"]


async def test_it_can_be_closed_where_a_loop_runs(kit: Kit) -> None:
    """
    A notebook has a loop in each cell: a block there waits beside it.
    """
    with make(kit) as exporter:
        push_all(exporter, "e0")
        assert exporter.flush_sync().delivered == 1
        push_all(exporter, "e1")

    assert ids(kit) == ["e0", "e1"]


async def test_it_is_an_exporter_like_any_other(kit: Kit) -> None:
    """
    `async with` starts the thread, and ends it.
    """
    async with make(kit) as exporter:
        assert len(loops()) == 1
        assert await exporter.create_model_event(model_event(event_id="e0")) == "e0"
        push_all(exporter, "e1")

    assert ids(kit) == ["e0", "e1"]


def test_it_says_how_much_is_left(kit: Kit) -> None:
    """
    A flush returns by its deadline, and a close drops and counts what it could not send.
    """
    outcomes: list[Settlement] = []
    with kit.failing(503), make(kit, on_outcome=outcomes.append) as exporter:
        push_all(exporter, "e0", "e1")
        assert exporter.flush_sync(0.0) == FlushResult(0, 0, 0, left=2)
        assert exporter.close(0.0) == FlushResult(0, 0, dropped=2, left=0)

    assert [(s.outcome, s.reason) for s in outcomes] == [(Outcome.DROPPED, DropReason.CLOSED)]
    assert_balanced(exporter)


def test_a_spool_is_taken_over_without_a_push(kit: Kit, tmp_path: Path) -> None:
    """
    What one process left on disk is delivered by the `with` block of the next.
    """
    with kit.failing(503), make(kit, spool=tmp_path, close_timeout=0.0) as exporter:
        push_all(exporter, "e0")

    with make(kit, spool=tmp_path) as exporter:
        exporter.flush_sync()
        assert assert_balanced(exporter).recovered == 1

    assert ids(kit) == ["e0"]


def test_copies_are_sent_from_a_thread_too(kit: Kit) -> None:
    """
    With `also`, the second server has each event when a flush, or the block, is over.
    """
    with Kit() as other, make(kit, also=other.url) as exporter:
        push_all(exporter, "e0")
        exporter.flush_sync()
        assert ids(other) == ["e0"]
        push_all(exporter, "e1")
        exporter.close()
        with exporter:
            push_all(exporter, "e2")
        assert ids(kit) == ids(other) == ["e0", "e1", "e2"]


def test_an_exporter_that_is_let_go_still_delivers(kit: Kit) -> None:
    """
    When nobody refers to it any more, its thread sends what was pushed, and ends.
    """
    make(kit).push(model_event(event_id="e0"))
    gc.collect()

    for thread in loops():
        thread.join(PATIENCE)

    assert loops() == []
    assert ids(kit) == ["e0"]


# What must not be.


def test_the_thread_inherits_no_context(kit: Kit) -> None:
    """
    What the first push finds in its context is not there when something is delivered.
    """
    request: ContextVar[str] = ContextVar("request", default="")
    seen: list[str] = []
    with make(kit, on_outcome=lambda _: seen.append(request.get())) as exporter:
        request.set("of the first push")
        push_all(exporter, "e0")
        exporter.flush_sync()

    assert seen == [""]


@pytest.mark.parametrize("method", ["flush_sync", "close"])
def test_its_thread_does_not_wait_for_itself(kit: Kit, method: str) -> None:
    """
    `on_outcome` is called by what it would wait for: it gets an error, not a deadlock.
    """
    raised: list[ExporterError] = []

    def wait(_: Settlement) -> None:
        try:
            getattr(exporter, method)()
        except ExporterError as exc:
            raised.append(exc)

    with make(kit, on_outcome=wait) as exporter:
        push_all(exporter, "e0")
        exporter.flush_sync()

    [error] = raised
    assert str(error) == "the exporter's own thread can't wait for itself: call it in another"


def test_a_thread_that_is_ended_loses_nothing(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """
    What ends the loop of the thread is logged, and the next push starts another.
    """
    with make(kit) as exporter:
        push_all(exporter, "e0")
        exporter.flush_sync()
        [thread] = loops()
        worker = exporter._life.worker
        assert worker is not None

        worker.loop.call_soon_threadsafe(sys.exit, "a secret")
        thread.join(PATIENCE)
        assert caplog.messages == ["hh_exporter: the exporter's thread ended with SystemExit"]
        push_all(exporter, "e1")

    assert ids(kit) == ["e0", "e1"]


def test_a_blocked_callback_does_not_block_a_close(kit: Kit) -> None:
    """
    A close whose thread is busy gives up soon after its deadline, and the next opening has another.
    """
    is_called, may_go_on = threading.Event(), threading.Event()

    def block(settlement: Settlement) -> None:
        if settlement.event_ids == ("e0",):
            is_called.set()
            may_go_on.wait()

    exporter = make(kit, on_outcome=block, batch=BatchLimits(linger=0.0))
    push_all(exporter, "e0")
    assert is_called.wait(PATIENCE)
    push_all(exporter, "e1")
    assert exporter.close(0.0).dropped == 1

    with exporter:
        push_all(exporter, "e2")
        assert exporter.flush_sync().left == 0
    may_go_on.set()

    assert ids(kit) == ["e0", "e2"]
    assert_balanced(exporter)


def test_a_push_may_interrupt_the_start_of_the_thread(kit: Kit) -> None:
    """
    Wherever a signal handler pushes while the first push starts the thread, all is delivered.
    """
    package = Path(__import__("hh_exporter").__file__ or "").parent
    files = {str(package / "_life" / name) for name in ("keeper.py", "thread.py")}
    at, was_interrupted = 0, True
    while was_interrupted:
        at += 1
        with make(kit) as exporter:
            with interrupted((at,), lambda e=exporter: push_all(e, "inner"), files) as was_met:  # type: ignore[misc]
                push_all(exporter, "outer")
            was_interrupted = was_met()
        assert exporter.stats().delivered == 1 + was_interrupted
        assert_balanced(exporter)
        for thread in loops():
            thread.join(PATIENCE)
    assert at > 10


# Where it can't be had.


def refuse(thread: threading.Thread, start: Callable[..., None] = threading.Thread.start) -> None:
    """
    Start no thread of ours, as where the system has no more.
    """
    if thread.name.startswith("hh_exporter "):
        raise RuntimeError("can't start new thread")
    start(thread)


def test_without_a_thread_events_wait(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where the system has no thread left, the loop of whoever flushes or closes does the work.
    """
    exporter = make(kit)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    push_all(exporter, "e0", "e1")
    assert exporter.flush_sync() == FlushResult(2, 0, 0, 0)
    push_all(exporter, "e2")
    assert exporter.close() == FlushResult(1, 0, 0, 0)

    assert ids(kit) == ["e0", "e1", "e2"]
    assert [m for m in caplog.messages if "no thread" in m] == [
        "hh_exporter: no thread can be started to send events (RuntimeError), retrying; logged once"
    ]


def test_a_thread_that_could_not_be_started_is_tried_again_later(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Not with each push: a second later, and then all that waits is sent.
    """
    clock, tried = FakeClock(), list[str]()

    def count(thread: threading.Thread) -> None:
        tried.append(thread.name)
        raise RuntimeError("can't start new thread")

    exporter = make(kit, _clock=clock)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", count)
        push_all(exporter, "e0", "e1", "e2")
        assert tried == ["hh_exporter loop"]
        asyncio.run(clock.advance(1.0))
        push_all(exporter, "e3")
        assert tried == ["hh_exporter loop"] * 2

    asyncio.run(clock.advance(1.0))
    push_all(exporter, "e4")
    exporter.close()
    assert ids(kit) == ["e0", "e1", "e2", "e3", "e4"]


async def test_a_close_that_can_not_wait_gives_up(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Beside a loop, and without a thread to wait in, what is queued is dropped, and that is said.
    """
    exporter = make(kit)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        await asyncio.to_thread(push_all, exporter, "e0")
        with pytest.raises(ExporterError, match="no thread can be started to wait in"):
            exporter.close()

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


# The end of the program. `exporter` is one of the program's own, in a thread.

MAKE = """
        exporter = Exporter.in_thread(batch=BatchLimits(linger=600.0))
        push("e0")
"""

ENDS: dict[str, tuple[str, int]] = {
    "its last line": ("push('e1')", 0),
    "sys.exit": ("push('e1'); sys.exit(3)", 3),
    "sys.exit in a block": ("with exporter: push('e1'); sys.exit(3)", 3),
    "an exception": ("push('e1'); 1 / 0", 1),
    "an exception in a block": ("with exporter: push('e1'); 1 / 0", 1),
    "close in atexit": ("import atexit; atexit.register(exporter.close); push('e1')", 0),
    "a push in atexit": ("import atexit; atexit.register(push, 'e1')", 0),
    "a thread that goes on": (
        "threading.Timer(0.1, lambda: push('e1')).start()",
        0,
    ),
    "asyncio.run": (
        """
        async def main():
            push("e1")
        asyncio.run(main())""",
        0,
    ),
    "SIGINT": ("push('e1'); signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_a_program_ends_all_is_delivered(server: ScriptedServer, end: str) -> None:
    """
    What was pushed, also in the last line, arrives without a call that says so; nothing is said.
    """
    source, code = ENDS[end]
    indented = source if source.startswith("\n") else f"        {source}\n"

    # Not in the development mode, where asyncio complains about a slow machine, too.
    warnings = {"PYTHONWARNINGS": "always::ResourceWarning"}
    done = await run_program(MAKE + indented, server.url, **warnings)

    assert done.status == code, done.stderr
    assert "hh_exporter: " not in done.stderr
    assert "Warning" not in done.stderr
    assert code != 0 or done.stderr == ""
    assert sorted(server.created_ids) == ["e0", "e1"]


async def test_what_is_left_at_the_end_is_one_warning(server: ScriptedServer) -> None:
    """
    What the server does not take by `close_timeout` is counted, with what to do about it.
    """
    server.default = status(503)

    done = await run_program(MAKE, server.url, HH_EXPORTER_CLOSE_TIMEOUT="0.2")

    said = [line for line in done.stderr.splitlines() if "dropped" in line]
    assert said == [f"hh_exporter: 1 event dropped (closed): {server.url}: HTTP 503; {LATE}"]
    assert done.status == 0


async def test_sigterm_flushes_first(server: ScriptedServer) -> None:
    """
    With `install_signal_handlers`, SIGTERM ends the program once everything is delivered.
    """
    source = f"""{MAKE}
        exporter.install_signal_handlers()
        say("ready")
        signal.pause()
    """
    with running(source, server.url) as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (-signal.SIGTERM, "")
    assert server.created_ids == ["e0"]


@pytest.mark.parametrize("before", ["", "push('parent')"], ids=["unused", "used"])
async def test_forked_children_have_threads_of_their_own(
    server: ScriptedServer, before: str
) -> None:
    """
    Parent and children each deliver what they pushed, once, whether there was a thread or not.
    """
    source = f"""
        exporter = Exporter.in_thread(batch=BatchLimits(linger=600.0))
        {before}
        for n in range(3):
            if os.fork() == 0:
                push(f"child {{n}}")
                sys.exit()
        for n in range(3):
            assert os.wait()[1] == 0
        push("end")
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stderr) == (0, "")
    children = ["child 0", "child 1", "child 2"]
    assert sorted(server.created_ids) == sorted([*children, "end", *["parent"] * bool(before)])


PROCESSES = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from hh_exporter import BatchLimits, Exporter, ModelEvent

exporter = Exporter.in_thread(batch=BatchLimits(linger=600.0))

def work(name):
    assert exporter.push(ModelEvent(model="m", event_id=name))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    work("parent")
    child = context.Process(target=work, args=("child",))
    child.start()
    child.join()
    assert child.exitcode == 0
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        list(pool.map(work, ["pool 0", "pool 1"]))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_children_of_multiprocessing_deliver(
    server: ScriptedServer, tmp_path: Path, method: str
) -> None:
    """
    They end by `os._exit`, without atexit, and deliver what they pushed all the same.
    """
    (tmp_path / "program.py").write_text(PROCESSES)
    environ = {"HH_API_URL": server.url}
    with started(str(tmp_path / "program.py"), method, environ=environ) as program:
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert sorted(server.created_ids) == ["child", "parent", "pool 0", "pool 1"]
