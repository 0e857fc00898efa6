"""
What SIGTERM and SIGINT do to a program that had the handlers installed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator

import aiohttp
import pytest

from hh_exporter import Exporter, ExporterError
from tests.conftest import BuildExporter
from tests.life.test_endings import ADVICE
from tests.programs import run_program, running
from tests.scripted_server import ScriptedServer, hang

LINGER = (
    'exporter = Exporter(batch=BatchLimits(linger=600.0), close_timeout=float(os.environ["T"]))'
)

WORKER = f"""
{LINGER}
exporter.install_signal_handlers()
async def main():
    push("e0", "e1")
    say("ready")
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_sigterm_waits_until_what_is_there_is_sent(server: ScriptedServer) -> None:
    """
    A worker that is told to go delivers what lingers, and still dies of the signal.
    """
    with running(WORKER, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (-signal.SIGTERM, "")
    assert server.created_ids == ["e0", "e1"]


async def test_a_second_signal_waits_for_nothing(server: ScriptedServer) -> None:
    """
    Whoever sends the signal again while the server is silent ends the program at once.
    """
    server.default = hang()
    with running(WORKER, server.url, T="600") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        await server.requests_seen(1)
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert done.status == -signal.SIGTERM
    assert done.stderr == f"hh_exporter: 2 events dropped (closed): {ADVICE}\n"


@pytest.mark.parametrize("where", ["before", "within"])
async def test_sigint_is_a_keyboard_interrupt_still(server: ScriptedServer, where: str) -> None:
    """
    Ctrl-C ends asyncio.run as ever, after what lingers was sent.
    """
    source = f"""
{LINGER}
async def main():
    if {where == "within"}:
        exporter.install_signal_handlers()
    push("e0", "e1")
    say("ready")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("cleaned up after", exporter.stats().delivered)
        raise
if {where == "before"}:
    exporter.install_signal_handlers()
asyncio.run(main())
"""
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGINT)
        done = await program.ended()

    assert done.status == -signal.SIGINT
    assert done.stdout == "cleaned up after 2\n"
    assert done.stderr.endswith("\nKeyboardInterrupt\n")
    assert "Exception ignored" not in done.stderr
    assert server.created_ids == ["e0", "e1"]


@pytest.mark.parametrize(
    "handle",
    [
        "signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))",
        "loop.add_signal_handler(signal.SIGTERM, stop.set)",
    ],
    ids=["signal", "asyncio"],
)
async def test_a_handler_of_the_programs_own_does_its_work(
    server: ScriptedServer, handle: str
) -> None:
    """
    A program that ends itself in its own way does so, and what it pushes on the way arrives.
    """
    source = f"""
{LINGER}
async def main():
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    {handle}
    exporter.install_signal_handlers()
    async with exporter:
        push("e0", "e1")
        say("ready")
        await stop.wait()
        push("e2")
asyncio.run(main())
say("cleaned up")
"""
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stdout, done.stderr) == (0, "cleaned up\n", "")
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_a_handler_that_ends_the_program_comes_second(server: ScriptedServer) -> None:
    """
    Events are sent before a handler of the program's own, which may leave no time for them.
    """
    source = f"""
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
{WORKER}
"""
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (7, "")
    assert server.created_ids == ["e0", "e1"]


async def test_a_program_that_goes_on_is_drained_each_time(server: ScriptedServer) -> None:
    """
    A handler that ends nothing leaves the exporter open, and the next signal does the same again.
    """
    source = f"""
{LINGER}
handled = asyncio.Event()
def handle(*_):
    say("handled after", exporter.stats().delivered)
    handled.set()
signal.signal(signal.SIGTERM, handle)
exporter.install_signal_handlers()
async def main():
    for event_id in ("e0", "e1"):
        handled.clear()
        push(event_id)
        say("ready")
        await handled.wait()
asyncio.run(main())
"""
    with running(source, server.url, T="60") as program:
        for count in (1, 2):
            await program.said("ready")
            program.send(signal.SIGTERM)
            await program.said(f"handled after {count}")
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")


async def test_a_signal_to_a_child_is_its_own(server: ScriptedServer) -> None:
    """
    A child of a program that is being ended drains its own events when its own signal comes.
    """
    source = f"""
{LINGER}
handled = None
def handle(*_):
    say("handled after", exporter.stats().delivered)
    handled.set()
signal.signal(signal.SIGTERM, handle)
exporter.install_signal_handlers()
async def end(event_id):
    global handled
    handled = asyncio.Event()
    push(event_id)
    os.kill(os.getpid(), signal.SIGTERM)
    if event_id == "parent":
        if os.fork() == 0:
            asyncio.run(end("child"))
            os._exit(0)
        os.wait()
        say("the child has ended")
    await handled.wait()
asyncio.run(end("parent"))
"""

    done = await run_program(source, server.url, T="60")

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == "handled after 1\nthe child has ended\nhandled after 1\n"
    assert server.created_ids == ["child", "parent"]


async def test_without_a_loop_a_signal_tells_what_is_lost(server: ScriptedServer) -> None:
    """
    SIGTERM to a program without an event loop ends it at once, but not in silence.
    """
    source = """
        exporter.install_signal_handlers()
        push("e0")
        say("ready")
        signal.pause()
    """
    with running(source, server.url) as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert done.status == -signal.SIGTERM
    assert done.stderr == f"hh_exporter: 1 event dropped (closed): {ADVICE}\n"


async def test_a_loop_of_another_thread_has_its_time_too(server: ScriptedServer) -> None:
    """
    A signal waits for the worker wherever its loop runs.
    """
    source = f"""
{LINGER}
exporter.install_signal_handlers()
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(exporter.start(), loop).result()
push("e0", "e1")
say("ready")
while True:
    signal.pause()
"""
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (-signal.SIGTERM, "")
    assert server.created_ids == ["e0", "e1"]


@pytest.fixture
def handlers() -> Iterator[Callable[[signal.Signals], object]]:
    """
    Look up the handlers of this process, which are put back after the test.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield signal.getsignal
    for number, handler in before.items():
        signal.signal(number, handler)


def test_one_handler_is_enough(
    build_exporter: BuildExporter, handlers: Callable[[signal.Signals], object]
) -> None:
    """
    Installing them again, for the same exporter or another, changes nothing.
    """
    before = handlers(signal.SIGTERM)
    build_exporter().install_signal_handlers()
    first = handlers(signal.SIGTERM)

    build_exporter().install_signal_handlers()

    assert handlers(signal.SIGTERM) is first is not before


def test_an_ignored_signal_stays_ignored(
    build_exporter: BuildExporter, handlers: Callable[[signal.Signals], object]
) -> None:
    """
    A program that was started to ignore a signal, as by nohup, goes on to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    build_exporter().install_signal_handlers()

    assert handlers(signal.SIGINT) is signal.SIG_IGN


async def test_only_the_main_thread_installs_handlers(exporter: Exporter) -> None:
    """
    Elsewhere there is an error that says so.
    """
    with pytest.raises(ExporterError, match="main thread"):
        await asyncio.to_thread(exporter.install_signal_handlers)


WEB_APP = f"""
import contextlib, socket
import uvicorn
from fastapi import FastAPI
{LINGER}

@contextlib.asynccontextmanager
async def lifespan(app):
    async with exporter:
        exporter.install_signal_handlers()
        yield

app = FastAPI(lifespan=lifespan if os.environ["CLOSES"] else None)

@app.get("/{{event_id}}")
async def handle(event_id):
    push(event_id)

if not os.environ["CLOSES"]:
    exporter.install_signal_handlers()
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    say("http://127.0.0.1:%d" % listener.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
"""


@pytest.mark.parametrize("closes", ["yes", ""], ids=["closed by its lifespan", "never closed"])
async def test_a_web_app_delivers_what_it_answered(server: ScriptedServer, closes: str) -> None:
    """
    Every event of a request that uvicorn answered before it ended is at the server.
    """
    answered: set[str] = set()

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        while True:
            event_id = f"e{len(asked)}"
            asked.append(event_id)
            async with session.get(f"{url}/{event_id}") as response:
                assert response.ok
            answered.add(event_id)
            if len(answered) == 20:
                program.send(signal.SIGTERM)

    asked: list[str] = []
    with running(WEB_APP, server.url, T="60", CLOSES=closes) as program:
        url = await program.line()
        async with aiohttp.ClientSession() as session:
            asking = [ask(session, url) for _ in range(3)]
            ends = await asyncio.gather(*asking, return_exceptions=True)
        done = await program.ended()

    assert all(isinstance(end, aiohttp.ClientError) for end in ends), ends
    assert (done.status, done.stderr) == (-signal.SIGTERM, "")
    assert answered <= set(server.created_ids)
    assert len(server.created_ids) == len(set(server.created_ids))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_callback_of_the_loop_is_called_once(server: ScriptedServer, loop: str) -> None:
    """
    What add_signal_handler was given runs once a signal; in asyncio after what is there was sent.
    """
    source = f"""
import {loop}
{LINGER}
async def main():
    stop, calls = asyncio.Event(), []
    def on_term():
        calls.append(exporter.stats().delivered)
        if len(calls) == 2:
            stop.set()
        else:
            asyncio.get_running_loop().call_later(0.2, say, "again")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
    exporter.install_signal_handlers()
    async with exporter:
        push("e0", "e1")
        say("ready")
        await stop.wait()
    say(len(calls), max(calls))
{loop}.run(main())
"""
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        await program.said("again")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == "2 2\n"


@pytest.mark.parametrize("events", [("e0", "e1"), ()])
async def test_a_callback_of_the_loop_waits_for_a_signal_that_comes_later(
    server: ScriptedServer, events: tuple[str, ...]
) -> None:
    """
    A signal that interrupts a queue is put off; the loop's callback for it runs once, even so.
    """
    source = f"""
{LINGER}
async def main():
    over, calls = asyncio.Event(), []
    def on_term():
        calls.append(exporter.stats().delivered)
        asyncio.get_running_loop().call_later(0.2, over.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
    exporter.install_signal_handlers()
    async with exporter:
        push(*{events!r})
        with exporter._life.queue.lock:
            signal.raise_signal(signal.SIGTERM)
        await over.wait()
    say(calls)
asyncio.run(main())
"""
    done = await run_program(source, server.url, T="60")

    assert (done.status, done.stdout, done.stderr) == (0, f"[{len(events)}]\n", "")


async def test_the_first_process_of_a_container_ends(server: ScriptedServer) -> None:
    """
    The kernel takes no default action for it: it ends by itself, with the status of the signal.
    """
    source = WORKER.replace("asyncio.run", "signal.raise_signal = lambda _: None\nasyncio.run")
    with running(source, server.url, T="60") as program:
        await program.said("ready")
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert (done.status, done.stderr) == (128 + signal.SIGTERM, "")
    assert server.created_ids == ["e0", "e1"]
