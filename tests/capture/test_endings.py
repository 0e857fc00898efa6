"""
How programs end, with spans that nobody has read yet.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import run_program
from tests.scripted_server import ScriptedServer

PROGRAM = """
    from opentelemetry.sdk.trace import TracerProvider
    from hh_exporter.integrations.genai import ModelEvents

    CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    provider = TracerProvider()
    provider.add_span_processor(ModelEvents(exporter))
    tracer = provider.get_tracer("t")

    def end(*names):
        for name in names:
            tracer.start_span(name, attributes=CALL).end()
"""


def names(server: ScriptedServer) -> list[str]:
    return sorted(event["event_name"] for event in server.created)


@pytest.mark.parametrize("stops", ["", "provider.shutdown()"])
async def test_the_end_of_asyncio_run(server: ScriptedServer, stops: str) -> None:
    """
    What ended right before the loop did is delivered, whether or not the provider is shut down.
    """
    body = f"""
    async def main():
        end("a", "b")
        {stops}

    asyncio.run(main())
    """

    done = await run_program(PROGRAM + body, server.url)

    assert (done.status, done.stderr) == (0, "")
    assert names(server) == ["a", "b"]


async def test_a_thread_of_its_own(server: ScriptedServer) -> None:
    """
    `Exporter.in_thread` starts with the first span, and is closed by the end of the program.
    """
    body = """
    end("a", "b")
    """
    source = PROGRAM.replace("provider = T", "exporter = Exporter.in_thread()\n    provider = T")

    done = await run_program(source + body, server.url)

    assert (done.status, done.stderr) == (0, "")
    assert names(server) == ["a", "b"]


async def test_no_loop_at_all(server: ScriptedServer) -> None:
    """
    A script without a loop loses them as it loses pushed events, and is told.
    """
    done = await run_program(PROGRAM + '    end("a", "b")\n', server.url)

    assert done.status == 0
    assert done.stderr.startswith("hh_exporter: 2 events dropped (closed): the exporter was not")
    assert names(server) == []


@pytest.mark.parametrize("durable", ["0", "1"])
async def test_a_spool(server: ScriptedServer, tmp_path: Path, durable: str) -> None:
    """
    With a spool, what no loop could send waits on disk, and the next process delivers it.
    """
    environ = {
        "HH_EXPORTER_SPOOL_DIRECTORY": str(tmp_path),
        "HH_EXPORTER_SPOOL_DURABLE": durable,
    }
    later = """
    async def main():
        async with exporter:
            await exporter.flush()

    asyncio.run(main())
    """

    done = await run_program(PROGRAM + '    end("a", "b")\n', server.url, **environ)
    assert (done.status, done.stderr, names(server)) == (0, "", [])
    done = await run_program(later, server.url, **environ)
    assert (done.status, done.stderr, names(server)) == (0, "", ["a", "b"])


async def test_a_fork(server: ScriptedServer) -> None:
    """
    A child sends what ends there; what waited when it was forked is its parent's.
    """
    body = """
    end("parent")
    if not (pid := os.fork()):
        async def main():
            async with exporter:
                end("child")
        asyncio.run(main())
        os._exit(0)
    os.waitpid(pid, 0)

    async def main():
        async with exporter:
            pass
    asyncio.run(main())
    """

    done = await run_program(PROGRAM + body, server.url)

    assert (done.status, done.stderr) == (0, "")
    assert names(server) == ["child", "parent"]


async def test_a_signal(server: ScriptedServer) -> None:
    """
    A program that installed our handlers delivers what ended before SIGTERM.
    """
    body = """
    async def main():
        exporter.install_signal_handlers()
        end("a")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    asyncio.run(main())
    """

    done = await run_program(PROGRAM + body, server.url)

    assert done.status == -15
    assert names(server) == ["a"]
