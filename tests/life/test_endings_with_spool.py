"""
However a program with a spool ends, what it could not send waits on disk for the next.
"""

from __future__ import annotations

import pytest

from hh_exporter import Exporter
from tests.conftest import KEY
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, created, unavailable

ENDINGS = {
    "no event loop runs": """
        push("e0", "e1", "e2")
    """,
    "SIGTERM with handlers installed, and no event loop": """
        exporter.install_signal_handlers()
        push("e0", "e1", "e2")
        signal.raise_signal(signal.SIGTERM)
    """,
    "nobody holds it any more, and no event loop runs": """
        push("e0", "e1", "e2")
        del exporter
        import gc
        gc.collect()
        os._exit(0)
    """,
    "asyncio.run returns without a close": """
        async def main():
            push("e0", "e1", "e2")
        asyncio.run(main())
    """,
    "a close runs out of time": """
        async def main():
            async with exporter:
                push("e0", "e1", "e2")
        asyncio.run(main())
    """,
    "a close is cancelled, and the process ends without atexit": """
        async def main():
            await exporter.start()
            push("e0", "e1", "e2")
            try:
                await asyncio.wait_for(exporter.aclose(3600), 0.1)
            except TimeoutError:
                os._exit(0)
        asyncio.run(main())
    """,
    "the loop is closed under it": """
        async def main():
            await exporter.start()
            push("e0", "e1", "e2")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """,
    "the loop is stopped": """
        async def main():
            await exporter.start()
            push("e0", "e1", "e2")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
    """,
    "SIGTERM with handlers installed": """
        async def main():
            exporter.install_signal_handlers()
            await exporter.start()
            push("e0", "e1", "e2")
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        asyncio.run(main())
    """,
    "a forked child ends before its parent does": """
        async def main():
            await exporter.start()
            push("e0", "e1")
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            push("e2")
            await exporter.aclose(0.1)
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("durable", [False, True], ids=["memory first", "durable"])
@pytest.mark.parametrize("source", ENDINGS.values(), ids=list(ENDINGS))
async def test_what_an_ending_leaves_is_delivered_by_the_next(
    server: ScriptedServer,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    durable: bool,
) -> None:
    """
    The server is down until the program has ended, and has each event once in the end.
    """
    monkeypatch.setenv("HH_EXPORTER_SPOOL_DIRECTORY", f"{tmp_path}/spool")
    monkeypatch.setenv("HH_EXPORTER_SPOOL_DURABLE", str(durable))
    monkeypatch.setenv("HH_EXPORTER_CLOSE_TIMEOUT", "0.2")
    monkeypatch.setenv("HH_API_KEY", KEY)
    server.default = unavailable()

    done = await run_program(source, server.url)

    assert "dropped" not in done.stderr, done.stderr
    server.default = created()
    async with Exporter(KEY, base_url=server.url) as exporter:
        await exporter.flush()
        stats = exporter.stats()
    assert (stats.recovered, stats.delivered, stats.dropped) == (3, 3, 0), done.stderr
    assert sorted(server.created_ids) == ["e0", "e1", "e2"]
