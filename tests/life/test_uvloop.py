"""
On uvloop an exporter does what it does on asyncio's own loop.

In programs of their own, since a test's loop is another.
"""

from __future__ import annotations

import signal
from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.test_signals import WORKER
from tests.programs import run_program, running
from tests.scripted_server import ScriptedServer, created, unavailable

pytest.importorskip("uvloop", reason="needs uvloop")

UVLOOP = """
import uvloop
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
"""


def on_uvloop(source: str) -> str:
    return UVLOOP + dedent(source)


async def test_each_loop_and_each_process_delivers_its_own(server: ScriptedServer) -> None:
    """
    What is pushed arrives once: flushed, in a forked child, after a loop was closed, and unclosed.
    """
    source = """
        async def main(*event_ids):
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            push(*event_ids)
            return await exporter.flush()
        loop = asyncio.new_event_loop()
        say(loop.run_until_complete(main("flushed")).delivered)
        push("beside")
        if os.fork() == 0:
            asyncio.run(main("child"))
            os._exit(0)
        os.wait()
        loop.close()
        say(asyncio.run(main("later")).delivered)
        async def leave():
            push("left")
        asyncio.run(leave())
        asyncio.run(exporter.aclose())
        say(exporter.stats().delivered, exporter.stats().dropped)
    """

    done = await run_program(on_uvloop(source), server.url)

    assert (done.status, done.stdout) == (0, "1\n2\n4 0\n"), done.stderr
    assert sorted(server.created_ids) == ["beside", "child", "flushed", "later", "left"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_what_is_there(server: ScriptedServer, number: signal.Signals) -> None:
    """
    The handlers work, though uvloop has handlers of its own while it runs.
    """
    with running(on_uvloop(WORKER), server.url, T="60") as program:
        await program.said("ready")
        program.send(number)
        done = await program.ended()

    assert done.status == -number, done.stderr
    assert server.created_ids == ["e0", "e1"]


async def test_a_spool_outlives_the_program(server: ScriptedServer, tmp_path: Path) -> None:
    """
    What an outage leaves waits on disk, and the next program delivers it.
    """
    environ = {
        "HH_EXPORTER_SPOOL_DIRECTORY": f"{tmp_path}/spool",
        "HH_EXPORTER_SPOOL_DURABLE": "true",
        "HH_EXPORTER_CLOSE_TIMEOUT": "0.2",
    }
    ends = "async def main(): push('e0'); await exporter.put(ModelEvent(model='m', event_id='e1'))"
    begins = "async def main(): await exporter.start(); say((await exporter.flush()).delivered)"
    server.default = unavailable()

    first = await run_program(on_uvloop(f"{ends}\nasyncio.run(main())"), server.url, **environ)
    server.default = created()
    second = await run_program(on_uvloop(f"{begins}\nasyncio.run(main())"), server.url, **environ)

    assert (first.status, second.status) == (0, 0), first.stderr + second.stderr
    assert second.stdout == "2\n"
    assert sorted(server.created_ids) == ["e0", "e1"]
