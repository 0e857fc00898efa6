"""
How an exporter ends: closed more than once, or by nobody, at exit and with its loop.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from hh_exporter import BatchLimits, DropReason, Exporter, FlushResult, Settlement
from hh_exporter._clock import SystemClock
from hh_exporter._life.loops import run_in
from tests.conftest import KEY, BuildExporter, MakeExporter
from tests.delivery.test_worker import ended
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, hang, hang_after_storing, status, unavailable
from tests.support import (
    PATIENCE,
    FakeClock,
    assert_balanced,
    in_thread,
    model_event,
    pass_time,
    push_all,
    settle,
)
from tests.test_helper import named

ADVICE = "the exporter was not closed: await aclose(), or use it as an async context manager"
LEFT = "hh_exporter: the event loop ended with 2 events queued{}: await aclose() before it ends"


def lines(text: str) -> list[str]:
    return text.splitlines()


# Exit.


async def test_what_is_queued_at_exit_is_one_warning(server: ScriptedServer) -> None:
    """
    A program that ends with events and no loop says how many are lost, and the callback hears.
    """
    source = """
        exporter = Exporter(on_outcome=lambda s: say(s.outcome, s.reason, *s.event_ids))
        push("e0", "e1", "e2")
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stdout) == (0, "dropped closed e0 e1 e2\n")
    assert lines(done.stderr) == [f"hh_exporter: 3 events dropped (closed): {ADVICE}"]


async def test_a_program_that_forgets_to_close_still_delivers(server: ScriptedServer) -> None:
    """
    What was pushed right before asyncio.run returned arrives, and there is nothing to say.
    """
    source = """
        async def main():
            push("e0", "e1")
        asyncio.run(main())
        stats = exporter.stats()
        say(stats.delivered, stats.dropped, stats.queued)
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stdout, done.stderr) == (0, "2 0 0\n", "")
    assert server.created_ids == ["e0", "e1"]


async def test_what_the_last_call_leaves_is_said_once(server: ScriptedServer) -> None:
    """
    Events that asyncio.run could not deliver are told as left, and what came later as lost.
    """
    server.default = status(403)
    source = """
        async def main():
            push("e0", "e1")
        asyncio.run(main())
        push("e2")
    """

    done = await run_program(source, server.url)

    refusal = f"{server.url}: HTTP 403: check api_key (HH_API_KEY)"
    assert lines(done.stderr)[1:] == [
        LEFT.format(f"; {refusal}"),
        f"hh_exporter: 1 event dropped (closed): {refusal}; {ADVICE}",
    ]
    assert lines(done.stderr)[0].startswith("hh_exporter: suspended: ")


async def test_a_loop_that_was_closed_under_us_is_one_warning(server: ScriptedServer) -> None:
    """
    Events in a loop that was closed without an end for its tasks are said to be lost, once.
    """
    server.default = hang()
    source = """
        async def main():
            push("e0")
            await asyncio.sleep(0)
            push("e1")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """

    done = await run_program(source, server.url)

    ours = [line for line in lines(done.stderr) if "event" in line and "loop" not in line]
    assert ours == [f"hh_exporter: 2 events dropped (closed): {ADVICE}"]
    assert done.status == 0


@pytest.mark.parametrize("compression", ["", "gzip"], ids=["plain", "gzip"])
@pytest.mark.parametrize("before", [(), ("e0",)], ids=["cold", "warm"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_loop_in_a_daemon_thread_has_its_time_at_exit(
    server: ScriptedServer, host: str, before: tuple[str, ...], compression: str
) -> None:
    """
    Where the loop still runs at exit, in a daemon thread, what is queued is sent first.

    No thread can be started any more, for the name of a server that was not connected to before
    or for gzip, whose thread the last body is large enough for.
    """
    source = f"""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
        push(*{before})
        asyncio.run_coroutine_threadsafe(exporter.flush(), loop).result()
        response = {{"content": os.urandom(20_000).hex()}}
        assert exporter.push(ModelEvent(model="m", event_id="last", response=response))
    """
    url = server.url.replace("127.0.0.1", host)

    done = await run_program(source, url, HH_EXPORTER_COMPRESSION=compression)

    assert (done.status, done.stderr) == (0, "")
    assert server.created_ids == [*before, "last"]
    assert {request.connection for request in server.requests} == {1}


async def test_no_end_waits_for_a_lookup_that_hangs() -> None:
    """
    A program ends though the system's resolver never answers: no thread of it is waited for.
    """
    source = """
        import socket
        def hang(*_, **__):
            threading.Event().wait()
        socket.getaddrinfo = hang

        async def main():
            async with exporter:
                push("e0")

        asyncio.run(main())
    """

    done = await run_program(
        source, "https://api.example.test", HH_EXPORTER_CLOSE_TIMEOUT="0.1", HH_API_KEY=KEY
    )

    assert done.status == 0
    said = lines(done.stderr)[0]
    assert said.startswith("hh_exporter: 1 event dropped (closed): https://api.example.test: ")


def test_a_push_after_the_end_is_refused(build_exporter: BuildExporter) -> None:
    """
    Once it was said what is lost no more is taken in, so none is lost in silence.
    """
    exporter = build_exporter()

    exporter._life.save_all()

    assert not exporter.push(model_event())
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


async def test_winding_up_takes_close_timeout_at_most(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A server that does not answer delays an end no longer than a close.
    """
    server.default = hang()
    push_all(exporter, "e0", "e1")
    is_over = asyncio.Event()

    assert exporter._life.wind_up(is_over.set)
    await server.requests_seen(1)
    await clock.advance(4.99)
    assert not is_over.is_set()
    await clock.advance(0.01)

    await is_over.wait()
    assert assert_balanced(exporter).in_flight == 2


async def test_winding_up_waits_for_nothing_that_comes_later(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    It concerns what is there, at once; what is pushed meanwhile is taken, and lingers as ever.
    """
    server.script(hang_after_storing())
    push_all(exporter, "e0", "e1")
    is_over = asyncio.Event()

    assert exporter._life.wind_up(is_over.set)
    await server.requests_seen(1)
    push_all(exporter, "e2")
    server.release()
    await is_over.wait()

    assert assert_balanced(exporter).queued == 1
    assert (await exporter.aclose()).delivered == 1
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_winding_up_ends_with_the_loop(exporter: Exporter, server: ScriptedServer) -> None:
    """
    Where everything is cancelled meanwhile, what was to follow does once the worker has ended.
    """
    server.default = hang()
    push_all(exporter, "e0")
    is_over = asyncio.Event()

    assert exporter._life.wind_up(is_over.set)
    await server.requests_seen(1)
    tasks = [task for task in asyncio.all_tasks() if "hh_exporter" in repr(task)]
    for task in tasks:
        task.cancel()
    await server.requests_seen(2)
    assert not is_over.is_set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    await is_over.wait()
    assert len(tasks) >= 2
    assert assert_balanced(exporter).queued == 1


async def test_winding_up_starts_what_has_not_been_started(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    A loop that runs, though nothing was pushed in it yet, sends what was pushed before it ran.
    """
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, "e0")
    is_over = asyncio.Event()

    assert exporter._life.wind_up(is_over.set)

    await is_over.wait()
    assert server.created_ids == ["e0"]
    assert not exporter._life.wind_up(is_over.set)


def test_an_exporter_can_be_collected() -> None:
    """
    An exporter that nobody refers to any more is gone, though all are known at exit.
    """
    exporter = Exporter(disabled=True)
    known = weakref.ref(exporter), weakref.ref(exporter._life)
    del exporter
    gc.collect()

    assert [each() for each in known] == [None, None]


def test_an_exporter_that_is_collected_with_events_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Whoever lets go of an exporter with events in it hears of them.
    """
    outcomes: list[Settlement] = []
    exporter = Exporter(base_url="http://127.0.0.1:1", on_outcome=outcomes.append)
    push_all(exporter, "e0", "e1")
    del exporter
    gc.collect()

    assert [s.event_ids for s in outcomes] == [("e0", "e1")]
    assert caplog.messages == [f"hh_exporter: 2 events dropped (closed): {ADVICE}"]


async def test_an_exporter_that_is_forgotten_still_delivers(server: ScriptedServer) -> None:
    """
    A worker that runs goes on for what was pushed, whether or not anybody holds the exporter.
    """
    exporter = Exporter(base_url=server.url, batch=BatchLimits(linger=0.0))
    push_all(exporter, "e0")
    del exporter
    gc.collect()

    await server.requests_seen(1)

    assert server.created_ids == ["e0"]
    await ended()


# Loops that go away.


async def test_a_push_beside_a_closed_loop_says_what_is_left(
    build_exporter: BuildExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The first push that finds its loop closed, and no other, is one warning; the next loop delivers.
    """
    exporter = build_exporter()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        push_all(exporter, "e0")

    def end_and_push() -> None:
        loop.run_until_complete(main())
        loop.close()
        push_all(exporter, "e1")
        push_all(exporter, "e2")

    await asyncio.to_thread(end_and_push)

    assert caplog.messages == [LEFT.format("")]
    assert (await exporter.flush()).delivered == 3


async def test_a_close_waits_for_no_loop_that_is_stopped(build_exporter: BuildExporter) -> None:
    """
    An idle worker can't be told of a close while its loop does not run: nobody waits for it.
    """
    exporter = build_exporter()
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, exporter.start())

    await exporter.aclose()

    await asyncio.to_thread(loop.run_until_complete, ended())
    loop.close()


async def test_a_loop_that_is_stopped_keeps_no_thread(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    The thread for lookups ends once the exporter is closed, or served by another loop.
    """
    exporter = build_exporter(base_url=server.url.replace("127.0.0.1", "localhost"))
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, exporter.start())
    [thread] = named("hh_exporter lookups")

    await exporter.aclose()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    await asyncio.to_thread(loop.run_until_complete, ended())
    loop.close()


async def test_a_worker_that_is_collected_with_its_loop_is_no_fault(
    build_exporter: BuildExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where a loop is stopped and forgotten its worker can't be at fault, whatever it meets with.
    """
    exporter = build_exporter()
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, exporter.start())
    worker = exporter._life.worker
    assert worker is not None
    assert worker._task is not None
    life = cast(Coroutine[Any, Any, None], worker._task.get_coro())

    life.close()  # as the collector does

    assert not caplog.messages
    await asyncio.to_thread(loop.run_until_complete, ended())
    loop.close()


async def test_a_loop_after_a_close_is_served(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    One exporter can be started and closed in one loop after the other.
    """
    exporter = build_exporter()

    async def main() -> FlushResult:
        await exporter.start()
        push_all(exporter, f"e{len(server.created)}")
        return await exporter.aclose()

    results = [await in_thread(main) for _ in range(3)]

    assert [result.delivered for result in results] == [1, 1, 1]
    assert server.created_ids == ["e0", "e1", "e2"]


# Closing, more than once.


async def test_two_tasks_may_close_at_once(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Whoever closes while another does waits for the same end, and gets the same result.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter()
    push_all(exporter, "e0", "e1")

    closes = [asyncio.create_task(exporter.aclose()) for _ in range(3)]
    await server.requests_seen(1)
    await settle()
    assert not any(close.done() for close in closes)
    server.release()

    results = [await close for close in closes]
    assert results == [FlushResult(2, 0, 0, 0)] * 3
    assert await exporter.aclose() == results[0]
    assert len(server.requests) == 1


async def test_two_loops_may_close_at_once(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A close from another thread's loop waits for the same end, and gets the same result.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter()
    push_all(exporter, "e0", "e1")

    closes = [asyncio.create_task(in_thread(exporter.aclose)) for _ in range(2)]
    closes.append(asyncio.create_task(exporter.aclose()))
    await server.requests_seen(1)
    server.release()

    assert [await close for close in closes] == [FlushResult(2, 0, 0, 0)] * 3
    assert await in_thread(exporter.aclose) == FlushResult(2, 0, 0, 0)
    assert len(server.requests) == 1


async def test_loops_may_close_what_none_of_them_started(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    Two loops that close an exporter of no loop deliver its events once, in one of them.
    """
    exporter = build_exporter()
    await asyncio.to_thread(push_all, exporter, "e0", "e1")

    results = await asyncio.gather(*(in_thread(exporter.aclose) for _ in range(4)))

    assert results == [FlushResult(2, 0, 0, 0)] * 4
    assert sorted(server.created_ids) == ["e0", "e1"]


async def test_what_another_loop_was_to_do_ends_with_that_loop(clock: FakeClock) -> None:
    """
    Whoever asks a loop that is closed by now learns that it ended, as those who asked before.
    """
    loop = asyncio.new_event_loop()
    loop.close()

    async def work() -> int:
        return 1

    assert await run_in(loop, work(), clock, None) is None


async def test_a_close_during_an_outage_tells_what_is_lost(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A server that fails all along takes the time of the close, no more; the rest is one warning.
    """
    server.default = unavailable()
    push_all(exporter, "e0", "e1", "e2")

    close = asyncio.create_task(exporter.aclose())
    await pass_time(exporter, server, clock, 5.0)

    assert await close == FlushResult(0, 0, 3, 0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 3}
    [said] = [line for line in caplog.messages if "closed" in line]
    assert said.startswith(
        f"hh_exporter: 3 events dropped (closed): {server.url}: HTTP 503; not sent "
    )


@pytest.mark.parametrize(
    ("is_up", "why"),
    [(False, "connection failed (connection refused)"), (True, "no answer in time")],
)
async def test_a_close_says_what_the_server_did(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    unused_tcp_port: int,
    *,
    is_up: bool,
    why: str,
) -> None:
    """
    Whoever reads what is lost learns of the address, and of the cause: nobody is there, or silent.
    """
    server.default = hang()
    url = server.url if is_up else f"http://127.0.0.1:{unused_tcp_port}"
    exporter = build_exporter(base_url=url, _clock=SystemClock())
    push_all(exporter, "e0", "e1")

    await exporter.aclose(0.1)

    [said] = caplog.messages
    assert said.startswith(f"hh_exporter: 2 events dropped (closed): {url}: {why}; not sent by ")
