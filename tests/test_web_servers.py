"""
Under a web server with several processes each event arrives once, from whoever pushed it.

Real servers: they fork or spawn, replace their workers and end them, each in its own way.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests import sites
from tests.docs.pages import PAGES, examples
from tests.life.test_endings import ADVICE
from tests.scripted_server import ScriptedServer
from tests.sites import Site

pytest.importorskip("gunicorn", reason="needs gunicorn")
pytest.importorskip("uvicorn_worker", reason="needs uvicorn-worker")

APP = """
import asyncio, os
from hh_exporter import BatchLimits, Exporter, ModelEvent

exporter = Exporter(batch=BatchLimits(linger=0.05))

def push(event_id):
    assert exporter.push(ModelEvent(model="m", event_id=event_id))

def say(word):
    stats = exporter.stats()
    # In one piece, whoever else writes.
    os.write(1, b"%s %d %d %d\\n" % (word, os.getpid(), stats.pushed, stats.delivered))

push("import-%d" % os.getpid())

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        async with exporter:
            say(b"begun")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            push("end-%d" % os.getpid())
        say(b"ended")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/endless":
        with exporter.record(model="m", event_id="endless"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(3600)
    push(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
"""


@asynccontextmanager
async def serving(server: ScriptedServer, directory: Path, command: str) -> AsyncIterator[Site]:
    """
    Run `APP` under the web server *command*, while the crowd asks, until that has ended.
    """

    def complete(fd: int) -> list[str]:
        words = [word.format(directory=directory, fd=fd) for word in command.split()]
        return ["-m", *words, "--workers", "2", "--log-level", "critical", "app:app"]

    async with sites.serving(server, directory, APP, complete, question="e{}", path="/{}") as site:
        yield site


async def seen(site: Site, workers: int) -> None:
    """
    Wait until so many workers have answered something.
    """
    await site.heard(lambda: len(set(site.answered.values())) >= workers)


def books(site: Site, word: str) -> dict[int, tuple[int, int]]:
    """
    Say what each worker had pushed and delivered when it said *word*.
    """
    lines = [line.split() for line in site.done.stdout.splitlines()]
    found = [line for line in lines if line[0] == word]
    return {int(pid): (int(pushed), int(delivered)) for _, pid, pushed, delivered in found}


GUNICORN = (
    "gunicorn --preload --worker-class uvicorn_worker.UvicornWorker"
    " --chdir {directory} --bind fd://{fd}"
)
UVICORN = "uvicorn --app-dir {directory} --fd {fd}"


def check(site: Site, server: ScriptedServer, pushed_before: int) -> None:
    """
    Check that all that was pushed arrived once, and that each worker's books say so of its own.
    """
    begun, ended = books(site, "begun"), books(site, "ended")
    assert set(begun.values()) == {(pushed_before, 0)}
    # A worker may be told to end before it has served anybody.
    assert begun.keys() >= ended.keys() >= set(map(int, site.answered.values())), site.done
    assert all(pushed == delivered for pushed, delivered in ended.values())
    assert not server.duplicates()
    assert len(server.created_ids) == sum(delivered for _, delivered in ended.values())
    assert {*site.answered, *(f"end-{pid}" for pid in ended)} <= set(server.created_ids)


async def test_workers_that_gunicorn_forks_deliver_what_they_answered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    SIGTERM to gunicorn ends them all well; what the import pushed in the master is lost, and said.
    """
    async with serving(server, tmp_path, GUNICORN) as site:
        await seen(site, 2)
        site.program.send(signal.SIGTERM)

    check(site, server, 0)
    assert (site.done.status, site.done.stderr) == (
        0,
        f"hh_exporter: 1 event dropped (closed): {ADVICE}\n",
    )


async def test_workers_that_are_replaced_deliver_what_they_answered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    So does each worker that gunicorn replaces because it has done enough, or because of SIGHUP.
    """
    async with serving(server, tmp_path, f"{GUNICORN} --max-requests 20") as site:
        await seen(site, 4)
        site.program.send(signal.SIGHUP)
        await seen(site, 6)
        site.program.send(signal.SIGTERM)

    check(site, server, 0)
    assert site.done.status == 0


async def test_workers_that_uvicorn_spawns_deliver_what_they_answered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Each loads the app for itself, so what its import pushes arrives from each.
    """
    async with serving(server, tmp_path, UVICORN) as site:
        await seen(site, 2)
        site.program.send(signal.SIGTERM)

    check(site, server, 1)
    assert (site.done.status, site.done.stderr) == (0, "")


WORKER = examples(PAGES["frameworks"])[0].replace("20", "1")
"""The class that docs/frameworks.md shows, with less patience."""


@pytest.mark.parametrize(
    ("command", "pushed_before"),
    [
        (GUNICORN.replace("uvicorn_worker.UvicornWorker", "worker.Worker"), 0),
        pytest.param(f"{UVICORN} --timeout-graceful-shutdown 1", 1, marks=pytest.mark.soak),
    ],
    ids=["gunicorn", "uvicorn"],
)
async def test_a_request_without_end_costs_no_event(
    server: ScriptedServer, tmp_path: Path, command: str, pushed_before: int
) -> None:
    """
    Where the server cuts off what still runs, the lifespan has its time, and all is sent.
    """
    (tmp_path / "worker.py").write_text(WORKER)
    async with serving(server, tmp_path, command) as site, aiohttp.ClientSession() as session:
        await seen(site, 2)
        endless = await session.get(f"{site.url}/endless")
        site.program.send(signal.SIGTERM)
        with pytest.raises(aiohttp.ClientPayloadError):
            await endless.read()

    check(site, server, pushed_before)
    assert "endless" in server.created_ids
