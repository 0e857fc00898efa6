"""
What a forked child does with an exporter, and what becomes of its parent's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from hh_exporter import BatchLimits, Exporter, ExporterError, QueueLimits, Spool
from hh_exporter._spool.file import SpoolFile
from hh_exporter.events import new_id
from tests.conftest import BuildExporter, MakeExporter
from tests.programs import run_program
from tests.proxies import tls_before
from tests.scripted_server import ScriptedServer, hang_after_storing
from tests.spools import stall
from tests.support import PATIENCE, assert_balanced, delivered, model_event, push_all, until
from tests.transport.test_tls import serving

# Since 3.12 a fork beside other threads is worth a warning, and so is every test here.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


async def forked(main: Callable[[], Any]) -> Any:
    """
    Run *main* in a forked child, right here in the running loop; return what it returns.
    """
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(PATIENCE))
            os.write(sink, json.dumps(main()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(sink)
    with open(source, "rb") as file:  # noqa: ASYNC230, PTH123
        said = await asyncio.to_thread(file.read)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return json.loads(said)


def push_and_close(exporter: Exporter, *event_ids: str) -> dict[str, int]:
    """
    Deliver events in a loop of one's own; return what the books say then.
    """

    async def main() -> None:
        push_all(exporter, *event_ids)
        await exporter.aclose()

    asyncio.run(main())
    return books(exporter)


def books(exporter: Exporter) -> dict[str, int]:
    stats = assert_balanced(exporter)
    names = ("pushed", "delivered", "dropped", "queued", "in_flight", "queued_bytes", "requests")
    return {name: n for name in names if (n := getattr(stats, name))}


async def test_a_child_starts_from_zero(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A child has empty books and nothing to say of its parent's events, which the parent sends.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(batch=BatchLimits(max_events=2))
    push_all(exporter, "e0", "e1", "e2")
    await server.requests_seen(1)

    def child() -> object:
        return books(exporter), exporter.stats().health, asyncio.run(close()), caplog.messages

    async def close() -> int:
        result = await exporter.aclose()
        return result.delivered + result.dropped + result.left

    assert await forked(child) == [{}, "starting", 0, []]

    server.release()
    assert (await exporter.flush()).left == 0
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_a_child_delivers_its_own_events(exporter: Exporter, server: ScriptedServer) -> None:
    """
    The first push in a child's loop starts a worker there; each process sends its own, once.
    """
    push_all(exporter, "p0")
    assert (await exporter.flush()).delivered == 1
    push_all(exporter, "p1")

    said = await forked(lambda: push_and_close(exporter, "c0", "c1"))

    assert said == {"pushed": 2, "delivered": 2, "requests": 1}
    assert (await exporter.flush()).delivered == 1
    assert server.created_ids == ["p0", "c0", "c1", "p1"]
    assert server.connections == 2


async def test_a_child_looks_names_up_itself(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A child has no thread of its parent's, and starts its own.
    """
    exporter = await make_exporter(base_url=server.url.replace("127.0.0.1", "localhost"))
    push_all(exporter, "p0")
    assert (await exporter.flush()).delivered == 1

    said = await forked(lambda: push_and_close(exporter, "c0"))

    assert said == {"pushed": 1, "delivered": 1, "requests": 1}
    push_all(exporter, "p1")
    assert (await exporter.flush()).delivered == 1
    assert server.created_ids == ["p0", "c0", "p1"]


async def test_a_fork_in_the_middle_of_a_delivery_repeats_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A request that is on the wire at the moment of a fork is its parent's alone.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "p0")
    await server.requests_seen(1)

    assert await forked(lambda: push_and_close(exporter, "c0")) == {
        "pushed": 1,
        "delivered": 1,
        "requests": 1,
    }

    server.release()
    await delivered(exporter, 1)
    assert server.created_ids == ["p0", "c0"]


async def test_a_child_touches_no_connection_of_its_parent(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Closing and collecting in the child leaves the parent's connection open, and in use.
    """
    push_all(exporter, "p0")
    await exporter.flush()

    def child() -> None:
        asyncio.run(exporter.aclose())
        asyncio.run(exporter.aclose())
        gc.collect()

    await forked(child)

    push_all(exporter, "p1")
    assert (await exporter.flush()).delivered == 1
    assert server.connections == 1
    assert exporter.stats().retries == 0


async def test_a_lock_that_was_held_at_the_fork_is_a_new_one(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    A fork while another thread is within the queue leaves the child a queue that opens.
    """
    is_held, is_forked = threading.Event(), threading.Event()

    def hold() -> None:
        with exporter._queue.lock:
            is_held.set()
            is_forked.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(PATIENCE)

    said = await forked(lambda: push_and_close(exporter, "c0"))

    is_forked.set()
    await asyncio.to_thread(holder.join)
    assert said["delivered"] == 1
    assert server.created_ids == ["c0"]


async def test_forks_in_a_storm_of_pushes_lose_and_repeat_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Whatever other threads are about, each event arrives once, from the process that pushed it.
    """
    exporter = await make_exporter(batch=BatchLimits(linger=0.0))
    is_over = threading.Event()
    pushed: list[str] = []

    def storm(number: int) -> None:
        n = 0
        while not is_over.is_set():
            push_all(exporter, event_id := f"p{number}-{n}")
            pushed.append(event_id)
            n += 1
            is_over.wait(0.0005)

    threads = [threading.Thread(target=storm, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(8):
            assert (await forked(partial(push_and_close, exporter, f"c{n}")))["delivered"] == 1
    finally:
        is_over.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    await exporter.flush()
    assert sorted(server.created_ids) == sorted([*pushed, *(f"c{n}" for n in range(8))])
    assert assert_balanced(exporter).delivered == len(pushed)


async def test_no_child_is_forked_while_sqlite_is_at_work(
    make_exporter: MakeExporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A fork waits for the spool's commit: SQLite's locks, held then, never open in the child.
    """
    transaction = SpoolFile.transaction
    is_at_work = threading.Event()

    @contextmanager
    def watched(file: SpoolFile) -> Iterator[None]:
        is_at_work.set()
        with transaction(file):
            yield
        is_at_work.clear()

    monkeypatch.setattr(SpoolFile, "transaction", watched)
    slow = stall(monkeypatch, "add")
    exporter = await make_exporter(spool=Spool(tmp_path / "spool", durable=True))
    push_all(exporter, "p0")
    await asyncio.to_thread(slow.is_reached.wait, PATIENCE)
    os.register_at_fork(before=slow.is_over.set)  # before ours, which came first

    assert not await forked(is_at_work.is_set)


async def test_what_is_pushed_before_workers_are_forked_is_the_parents(
    build_exporter: BuildExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Events of an application that is loaded before its workers are forked go out in the parent.
    """
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, "imported")

    for n in range(2):
        assert (await forked(partial(push_and_close, exporter, f"worker {n}")))["pushed"] == 1
    assert (await exporter.flush()).delivered == 1

    assert server.created_ids == ["worker 0", "worker 1", "imported"]
    assert not caplog.messages


async def test_a_grandchild_starts_from_zero_too(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    What holds for a child holds for the child's child.
    """
    push_all(exporter, "p0")

    def child() -> Any:
        async def main() -> Any:
            push_all(exporter, "c0")
            said = await forked(lambda: push_and_close(exporter, "g0"))
            await exporter.flush()
            return said

        return asyncio.run(main())

    assert (await forked(child))["pushed"] == 1
    await exporter.flush()
    assert server.created_ids == ["g0", "c0", "p0"]


def deliver_in_process(exporter: Exporter, sink: Connection) -> None:
    sink.send(push_and_close(exporter, "c0"))


async def test_a_process_of_multiprocessing_delivers(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    An exporter that was handed to a forked multiprocessing.Process serves there.
    """
    push_all(exporter, "p0")
    context = multiprocessing.get_context("fork")
    source, sink = context.Pipe(duplex=False)
    process = context.Process(target=deliver_in_process, args=(exporter, sink))
    process.start()
    sink.close()
    with source:
        said = await asyncio.to_thread(source.recv)
    await asyncio.to_thread(process.join)
    process.close()

    assert said["delivered"] == 1
    assert (await exporter.flush()).delivered == 1
    assert server.created_ids == ["c0", "p0"]


async def test_what_is_random_differs_in_each_process() -> None:
    """
    Ids that a child makes, and the jitter of its retries, are not its parent's nor its sibling's.
    """
    maker: Any = Exporter(base_url="http://127.0.0.1:1")._life.make_worker

    def draw() -> list[Any]:
        return [new_id(), maker.random()]

    drawn = [await forked(draw), await forked(draw), draw()]

    assert [len(set(each)) for each in zip(*drawn, strict=True)] == [3, 3]


async def test_an_episode_of_losses_is_its_process_own(
    make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A loss that the parent's log tells of is news in the child's.
    """
    exporter = await make_exporter(queue=QueueLimits(max_events=1, overflow="drop_newest"))

    def overflow() -> list[str]:
        exporter.push(model_event())
        exporter.push(model_event())
        return [record.message for record in caplog.records if record.levelno == logging.WARNING]

    assert len(overflow()) == 1
    assert len(await forked(overflow)) == 2


async def test_a_closed_exporter_is_closed_in_the_child(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    A fork does not open what was closed; start() does, as ever.
    """
    await exporter.aclose()

    def child() -> Any:
        async def main() -> list[bool]:
            before = exporter.push(model_event())
            with pytest.raises(ExporterError):
                await exporter.put(model_event())
            await exporter.start()
            return [before, exporter.push(model_event())]

        return asyncio.run(main())

    assert await forked(child) == [False, True]
    await until(lambda: len(server.created) == 1)


async def test_a_child_that_ends_as_programs_do_leaves_a_tls_connection_alone(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Not even the end of the child's interpreter collects what it inherits, which would break the
    parent's TLS connection, nor does it tell of the parent's events.
    """
    ca = CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    source = """
        from hh_exporter._life import forks
        class Collected:
            def __del__(self, write=os.write):
                write(1, b"collected\\n")
        async def deliver(event_id):
            push(event_id)
            await exporter.flush()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(deliver("before"))
        push("kept")
        if os.fork() == 0:
            forks._inherited.append(Collected())
            asyncio.run(deliver("child"))
            sys.exit()
        _, status = os.wait()
        loop.run_until_complete(deliver("after"))
        say(status, exporter.stats().delivered, exporter.stats().retries)
        loop.run_until_complete(exporter.aclose())
        loop.close()
    """

    async with tls_before(server.url, serving(ca.issue_cert("127.0.0.1"))) as port:
        url = f"https://127.0.0.1:{port}"
        done = await run_program(source, url, SSL_CERT_FILE=str(tmp_path / "ca.pem"))

    assert (done.status, done.stdout, done.stderr) == (0, "0 3 0\n", "")
    assert server.created_ids == ["before", "child", "kept", "after"]
    assert server.connections == 2
