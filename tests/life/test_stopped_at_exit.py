"""
Loops that are stopped, and not closed, when the interpreter exits: what waits in them is sent.
"""

from __future__ import annotations

import importlib.util
import re
import signal
from textwrap import dedent

import pytest

from tests.life.test_endings import ADVICE
from tests.programs import run_program, running
from tests.scripted_server import ScriptedServer, hang, hang_after_storing

LOOP = """
if os.environ.get("UVLOOP"):
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

has_arrived = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: has_arrived.set())

async def sending():
    push("e0", "e1", "e2")
    while not has_arrived.is_set():
        await asyncio.sleep(0)
"""
"""A loop that nobody closes, and a task that returns once the first request is with the server."""

uvloop = pytest.param(
    "1",
    id="uvloop",
    marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="needs uvloop"),
)
on_each_loop = pytest.mark.parametrize("uvloop", [pytest.param("", id="asyncio"), uvloop])

STOPS = {
    "run_until_complete returns": """
        loop.run_until_complete(sending())
    """,
    "a task stops it": """
        async def main():
            await sending()
            loop.stop()
        task = loop.create_task(main())
        loop.run_forever()
    """,
    "another stop is due, as in ipykernel": """
        async def main():
            await sending()
            loop.stop()
        task = loop.create_task(main())
        loop.run_forever()
        for _ in range(3):
            loop.call_soon(loop.stop)
    """,
    "it stops in a thread that ends": """
        thread = threading.Thread(target=loop.run_until_complete, args=(sending(),))
        thread.start()
        thread.join()
    """,
    "SIGTERM raises SystemExit through tasks that wait for each other": """
        async def child():
            await sending()
            signal.raise_signal(signal.SIGTERM)
        async def main():
            await loop.create_task(child())
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            loop.run_until_complete(main())
        except SystemExit:
            pass
    """,
    "Ctrl-C raises KeyboardInterrupt through tasks that wait for each other": """
        async def child():
            await sending()
            signal.raise_signal(signal.SIGINT)
        async def main():
            await loop.create_task(child())
        try:
            loop.run_until_complete(main())
        except KeyboardInterrupt:
            pass
    """,
    "a callback for SIGTERM stops it": """
        async def main():
            await sending()
            os.kill(os.getpid(), signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, loop.stop)
        task = loop.create_task(main())
        loop.run_forever()
    """,
}


def on_loop(source: str) -> str:
    return LOOP + dedent(source)


@on_each_loop
@pytest.mark.parametrize("source", STOPS.values(), ids=list(STOPS))
async def test_a_loop_that_was_stopped_sends_what_is_left(
    server: ScriptedServer, source: str, uvloop: str
) -> None:
    """
    Where a request is in flight as a loop stops, its answer is read, and the rest is sent.
    """
    server.script(hang_after_storing())
    source = on_loop(source) + dedent("""
        assert exporter.push(ModelEvent(model="m", event_id="e3"))
        say("stopped")
    """)
    url = server.url.replace("127.0.0.1", "localhost")

    with running(source, url, UVLOOP=uvloop, HH_EXPORTER_BATCH_LINGER="0") as program:
        await server.requests_seen(1)
        program.send(signal.SIGUSR1)
        await program.said("stopped")
        server.release()
        done = await program.ended()

    assert done.status == 0
    assert "hh_exporter: " not in done.stderr, done.stderr
    assert sorted(server.created_ids) == ["e0", "e1", "e2", "e3"]


@on_each_loop
async def test_its_tasks_go_on_as_long_as_that_takes(server: ScriptedServer, uvloop: str) -> None:
    """
    What requests of an app push at their end, while the loop is run once more, is sent too.
    """
    source = """
        async def ask(number):
            for _ in range(number):
                await asyncio.sleep(0)
            push(f"e{number}")
        async def main():
            push("first")
            tasks = [loop.create_task(ask(number)) for number in range(8)]
            loop.stop()
            await asyncio.gather(*tasks)
        task = loop.create_task(main())
        loop.run_forever()
        assert exporter.stats().pushed < 9
    """

    done = await run_program(on_loop(source), server.url, UVLOOP=uvloop)

    assert done.status == 0, done.stderr
    assert "hh_exporter: " not in done.stderr, done.stderr
    assert sorted(server.created_ids) == [*(f"e{number}" for number in range(8)), "first"]


async def test_its_puts_still_get_room(server: ScriptedServer) -> None:
    """
    Those that waited for room in the queue as the loop was stopped have it, and are sent.
    """
    source = """
        from hh_exporter import QueueLimits
        exporter = Exporter(queue=QueueLimits(max_events=2), batch=BatchLimits(linger=600.0))
        async def main():
            push("e0", "e1")
            loop.call_soon(loop.stop)
            for number in range(2, 8):
                await exporter.put(ModelEvent(model="m", event_id=f"e{number}"))
        task = loop.create_task(main())
        loop.run_forever()
    """

    done = await run_program(on_loop(source), server.url)

    assert done.status == 0
    assert "hh_exporter" not in done.stderr, done.stderr
    assert server.created_ids == [f"e{number}" for number in range(8)]


async def test_a_worker_that_was_cancelled_has_a_successor(server: ScriptedServer) -> None:
    """
    Where a program cancels every task in turn, and leaves its loop open, what is left is sent.
    """
    server.script(hang())
    source = """
        async def main():
            await sending()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            while left := [task for task in tasks if not task.done()]:
                for task in left:
                    task.cancel()
                await asyncio.sleep(0)
        loop.run_until_complete(main())
    """

    with running(on_loop(source), server.url, HH_EXPORTER_BATCH_LINGER="0") as program:
        await server.requests_seen(1)
        program.send(signal.SIGUSR1)
        done = await program.ended()

    assert done.stderr.startswith("hh_exporter: the event loop ended with 3 events queued")
    assert (done.status, len(done.stderr.splitlines())) == (0, 1)
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_a_loop_is_not_run_for_nothing(server: ScriptedServer) -> None:
    """
    Where all was delivered before it stopped, the tasks of the program stay where they are.
    """
    source = """
        async def main():
            push("e0")
            await exporter.flush()
            loop.stop()
            await asyncio.sleep(0)
            say("it goes on")
        task = loop.create_task(main())
        loop.run_forever()
    """

    done = await run_program(on_loop(source), server.url)

    assert (done.status, done.stdout) == (0, "")
    assert server.created_ids == ["e0"]


async def test_several_loops_are_run_in_turn(server: ScriptedServer) -> None:
    """
    Exporters in loops of their own end together, though one thread runs them all.
    """
    server.default = hang_after_storing()
    source = """
        exporters = [exporter, Exporter(), Exporter()]
        loops = [asyncio.new_event_loop() for _ in exporters]
        for number, (exporter, loop) in enumerate(zip(exporters, loops)):
            loop.run_until_complete(exporter.start())
            push(f"e{number}")
    """

    with running(source, server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600") as program:
        await server.requests_seen(3)  # with one after the other there were one
        server.release()
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert sorted(server.created_ids) == ["e0", "e1", "e2"]


async def test_a_program_ends_by_itself_where_the_server_is_silent(
    server: ScriptedServer,
) -> None:
    """
    A loop is run for `close_timeout` at most, and what it could not send is counted.
    """
    server.default = hang()
    source = """
        async def ticking():
            while True:
                push("tick")
                await asyncio.sleep(0.01)
        task = loop.create_task(ticking())
        loop.run_until_complete(exporter.start())
    """

    done = await run_program(
        on_loop(source),
        server.url,
        HH_EXPORTER_CLOSE_TIMEOUT="0.3",
        HH_EXPORTER_BATCH_LINGER="0",
    )

    said = [line for line in done.stderr.splitlines() if "hh_exporter: " in line]
    assert done.status == 0
    # What a tick pushed too late may be said before it.
    counted = re.compile(r"hh_exporter: \d+ events? dropped \(closed\): .*")
    assert all(counted.fullmatch(line) for line in said)
    assert any(line.endswith(f": {server.url}: no answer in time; {ADVICE}") for line in said)


async def test_ctrl_c_ends_the_wait(server: ScriptedServer) -> None:
    """
    Whoever does not want to wait for the server presses Ctrl-C, and reads what is lost.
    """
    server.default = hang()
    source = """
        loop.run_until_complete(exporter.start())
        push("e0")
    """

    with running(on_loop(source), server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600") as program:
        await server.requests_seen(1)
        program.send(signal.SIGINT)
        done = await program.ended()

    assert done.status == 0
    assert done.stderr == f"hh_exporter: 1 event dropped (closed): {ADVICE}\n"


async def test_what_ends_the_program_again_does_not_end_the_wait(server: ScriptedServer) -> None:
    """
    SystemExit and KeyboardInterrupt of tasks, and of handlers of signals, keep nothing from it.
    """
    server.script(hang_after_storing())
    source = """
        async def raise_(exc, delay):
            await asyncio.sleep(delay)
            raise exc
        loop.run_until_complete(exporter.start())
        push("e0")
        loop.create_task(raise_(SystemExit(1), 0))
        loop.create_task(raise_(KeyboardInterrupt(), 0))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    """

    with running(on_loop(source), server.url) as program:
        await server.requests_seen(1)
        program.send(signal.SIGTERM)
        server.release()
        done = await program.ended()

    assert done.status == 0
    assert "hh_exporter: " not in done.stderr, done.stderr
    assert set(server.created_ids) == {"e0"}  # again where that interrupted a request


async def test_a_forked_child_leaves_it_to_its_parent(server: ScriptedServer) -> None:
    """
    A child that ends as programs do sends its own events, and runs no loop of its parent's.
    """
    source = """
        async def ticking():
            while True:
                await asyncio.sleep(0)
                if os.getpid() != parent:
                    say("run in the child")
        parent = os.getpid()
        loop.run_until_complete(exporter.start())
        task = loop.create_task(ticking())
        push("e0")
        if (child := os.fork()) == 0:
            own = asyncio.new_event_loop()
            own.run_until_complete(exporter.start())
            push("e1")
            sys.exit()
        os.waitpid(child, 0)
    """

    done = await run_program(on_loop(source), server.url)

    assert (done.status, done.stdout) == (0, ""), done.stderr
    assert server.created_ids == ["e1", "e0"]


UNFIT = {
    "it is closed": """
        loop.close()
    """,
    "its selector is closed": """
        loop._selector.close()
    """,
    "it can't be run": """
        def refuse(*_):
            raise NotImplementedError
        loop.run_forever = refuse
    """,
    "its thread may go on with it": """
        ready = threading.Event()
        def work():
            loop.run_until_complete(exporter.start())
            ready.set()
            threading.Event().wait()
        loop = asyncio.new_event_loop()
        exporter = Exporter()
        threading.Thread(target=work, daemon=True).start()
        ready.wait()
        push("e1")
    """,
    "the interpreter ends within a loop": """
        import atexit
        async def end():
            atexit._run_exitfuncs()
        asyncio.new_event_loop().run_until_complete(end())
    """,
    "the interpreter ends within this loop": """
        import atexit
        async def end():
            atexit._run_exitfuncs()
        loop.run_until_complete(end())
    """,
}


@pytest.mark.parametrize("source", UNFIT.values(), ids=list(UNFIT))
async def test_a_loop_that_can_not_be_run_is_not_waited_for(
    server: ScriptedServer, source: str
) -> None:
    """
    Where that is so, the program ends without it, and says what is lost.
    """
    source = on_loop("""
        loop.run_until_complete(exporter.start())
        push("e0")
    """) + dedent(source)

    done = await run_program(source, server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600")

    assert done.status == 0
    assert f"hh_exporter: 1 event dropped (closed): {ADVICE}" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert not server.requests or "its thread" in str(source)
