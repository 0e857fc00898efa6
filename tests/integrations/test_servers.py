"""
ASGI servers that are told to end in the middle of a load: what an app pushed is delivered.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integrations.test_recipes import block
from tests.loads import Load, asked, loaded
from tests.scripted_server import ScriptedServer

pytest.importorskip("uvicorn")

APP = """
from fastapi import BackgroundTasks, FastAPI
from my_model import ask_model

from hh_exporter import Exporter
from hh_exporter.integrations.asgi import lifespan

exporter = Exporter()
app = FastAPI(lifespan=lifespan(exporter))

async def record(question):
    messages = [{"role": "user", "content": question}]
    with exporter.record(model="m", messages=messages) as event:
        event.response = await ask_model(messages)
"""

ENDPOINT = """
@app.get("/ask")
async def ask(question: str, tasks: BackgroundTasks):
"""

REQUESTS = APP + ENDPOINT + "    await record(question)\n"
TASKS = APP + ENDPOINT + "    tasks.add_task(record, question)\n"
"""What is recorded by requests, and what by tasks that outlive their responses."""

LATE = {"HH_EXPORTER_BATCH_LINGER": "600", "HH_EXPORTER_BATCH_MAX_EVENTS": "10000"}
"""Nothing is sent before an exporter is closed."""

ENDLESS = {"SLOW": "3600"}
"""Each fifth question is never answered."""


ALONE = ("--workers", "1")
"""A worker that is up once it answers: signals to granian and gunicorn go by one that starts."""


def check(load: Load) -> None:
    """
    Check that all arrived, once, and that the exporter had nothing to say.
    """
    assert load.lost() == Counter()
    assert asked(load.server).keys() >= load.site.answered.keys()
    assert not load.server.duplicates()
    assert "hh_exporter" not in load.site.done.stderr


def cut_off(load: Load) -> Counter[str]:
    """
    Count the calls that were cut off; each was cancelled, and so has its event.
    """
    found = load.notes.cut_off()
    assert found == load.notes.questions("cut")
    return found


# uvicorn.


def uvicorn(*options: str) -> Callable[[int], list[str]]:
    words = ["-m", "uvicorn", "app:app", "--log-level", "critical", *options]
    return lambda fd: [*words, "--fd", str(fd)]


@pytest.mark.parametrize("source", [REQUESTS, TASKS], ids=["requests", "tasks"])
async def test_uvicorn_waits_for_requests_and_their_tasks(
    server: ScriptedServer, tmp_path: Path, source: str
) -> None:
    """
    By default it waits for all of them, so nothing is cut off.
    """
    async with loaded(server, tmp_path, source, uvicorn(), **LATE) as load:
        await load.stop()

    check(load)
    assert cut_off(load) == Counter()


@pytest.mark.parametrize("source", [REQUESTS, TASKS], ids=["requests", "tasks"])
async def test_what_uvicorn_cancels_is_recorded(
    server: ScriptedServer, tmp_path: Path, source: str
) -> None:
    """
    With `--timeout-graceful-shutdown` it ends the app at once, which waits for what was cancelled.
    """
    command = uvicorn("--timeout-graceful-shutdown", "1")
    async with loaded(server, tmp_path, source, command, **LATE, **ENDLESS) as load:
        await load.stop(calls=10)

    check(load)
    assert cut_off(load) != Counter()


async def test_a_load_sees_what_is_lost(server: ScriptedServer, tmp_path: Path) -> None:
    """
    SIGKILL loses all that was not sent, and cuts off what is under way.
    """
    async with loaded(server, tmp_path, REQUESTS, uvicorn(), **LATE) as load:
        await load.stop(number=signal.SIGKILL)

    assert load.lost() == load.notes.pushed() != Counter()
    assert load.notes.cut_off() != Counter()


# granian.


def granian(*options: str) -> Callable[[int], list[str]]:
    pytest.importorskip("granian", reason="needs the extra apps")
    return lambda port: ["-m", *block("granian", "sh").split(), "--port", str(port), *options]


LISTENS = "[INFO] Started worker-1"
"""What granian prints as soon as somebody listens on its port."""


async def test_granian_loses_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    """
    It does not wait for background tasks, but the middleware does.
    """
    source = block("granian", "python")
    async with loaded(server, tmp_path, source, granian(), ready=LISTENS, **LATE) as load:
        await load.stop(workers=2)

    check(load)
    assert cut_off(load) == Counter()
    assert load.site.done.status == 0


async def test_granian_is_not_left_waiting(server: ScriptedServer, tmp_path: Path) -> None:
    """
    A request that never ends is given up by the app, in time for what it recorded to be sent.
    """
    source = block("granian", "python")
    assert source.count("asyncio.timeout(15)") == block("granian", "sh").count("-timeout 28") == 1
    assert 15 + 3 + 5 < 28 < 30
    source = source.replace("timeout(15)", "timeout(1)")
    async with loaded(
        server, tmp_path, source, granian(*ALONE), ready=LISTENS, **LATE, **ENDLESS
    ) as load:
        began = time.monotonic()
        await load.stop(calls=10)

    check(load)
    assert cut_off(load) != Counter()
    # Granian may say that it kills a worker which has just ended: it looks a millisecond later.
    assert time.monotonic() - began < 28, "it was killed"


async def test_a_task_that_outlives_its_grace_is_recorded(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    granian ends with it; its event says that it was cancelled.
    """
    source = block("granian", "python")
    answer = """
        async with asyncio.timeout(15):
            event.response = await ask_model(messages)
"""
    assert source.count(answer) == 1
    source = source.replace(answer, "        event.response = {}\n")
    async with loaded(
        server, tmp_path, source, granian(*ALONE), ready=LISTENS, **LATE, **ENDLESS
    ) as load:
        await load.stop(calls=10)

    check(load)
    endless = load.notes.cut_off().keys()
    errors = {event["messages"][0]["content"]: event.get("error") for event in server.created}
    assert {errors[question] for question in endless} == {"cancelled"}


async def test_granian_kills_what_takes_too_long(server: ScriptedServer, tmp_path: Path) -> None:
    """
    With too little time, what waits in the exporter is lost.
    """
    source, command = block("granian", "python"), granian(*ALONE, "--workers-kill-timeout", "1")
    async with loaded(server, tmp_path, source, command, ready=LISTENS, **LATE, **ENDLESS) as load:
        await load.stop(calls=10)

    assert load.lost() == load.notes.pushed() != Counter()


async def test_granian_without_a_lifespan_closes_nothing(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Its processes are multiprocessing's, which end without atexit until Python 3.13.
    """
    source, command = block("granian", "python"), granian(*ALONE, "--interface", "asginl")
    async with loaded(server, tmp_path, source, command, ready=LISTENS, **LATE) as load:
        await load.stop(calls=10)

    assert load.notes.pushed() != Counter()
    is_lost = sys.version_info < (3, 13)
    assert load.lost() == (load.notes.pushed() if is_lost else Counter())


# hypercorn.


def hypercorn(fd: int) -> list[str]:
    pytest.importorskip("hypercorn", reason="needs the extra apps")
    words = [*block("hypercorn", "sh").split(), "--log-level", "critical"]
    return ["-m", *words, "--bind", f"fd://{fd}"]


async def test_hypercorn_loses_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    """
    The first worker that is done does not end the other, which still works.
    """
    source = block("hypercorn", "python")
    async with loaded(server, tmp_path, source, hypercorn, **LATE) as load:
        await load.stop(workers=2)

    check(load)
    assert cut_off(load) == Counter()
    assert load.site.done.status == 0


async def test_hypercorn_is_not_left_waiting(server: ScriptedServer, tmp_path: Path) -> None:
    """
    A request that never ends is given up by the app; since Python 3.12 Hypercorn waits for it.
    """
    source = block("hypercorn", "python")
    assert source.count("asyncio.timeout(15)") == 1
    source = source.replace("timeout(15)", "timeout(1)")
    async with loaded(server, tmp_path, source, hypercorn, **LATE, **ENDLESS) as load:
        await load.stop(calls=10)

    check(load)
    assert cut_off(load) != Counter()


# gunicorn's own ASGI worker.


def gunicorn(*options: str) -> Callable[[int], list[str]]:
    pytest.importorskip("gunicorn.workers.gasgi", reason="needs the extra apps")
    words = [*block("gunicorn-asgi", "sh").split(), "--log-level", "critical", *options]
    return lambda fd: ["-m", *words, "--bind", f"fd://{fd}"]


async def test_gunicorns_worker_loses_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    """
    It does not wait for background tasks, but the middleware does.
    """
    source = block("gunicorn-asgi", "python")
    async with loaded(server, tmp_path, source, gunicorn(), **LATE) as load:
        await load.stop(workers=2)

    check(load)
    assert cut_off(load) == Counter()
    assert load.site.done.status == 0


async def test_gunicorns_worker_is_not_killed_by_what_never_ends(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    It cancels that after the app was shut down, when its events are recorded and sent already.
    """
    source = block("gunicorn-asgi", "python")
    assert source.count('"graceful_timeout", 20)') == 1
    assert 20 + 3 + 5 < 30
    source = source.replace('"graceful_timeout", 20)', '"graceful_timeout", 1)')
    async with loaded(server, tmp_path, source, gunicorn(*ALONE), **LATE, **ENDLESS) as load:
        await load.stop(calls=10)

    check(load)
    assert cut_off(load) != Counter()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
async def test_gunicorns_worker_in_a_hurry_loses_nothing_silently(
    server: ScriptedServer, tmp_path: Path, number: signal.Signals
) -> None:
    """
    It cancels the lifespan and all requests at once, and gives them a second: all arrives then.
    """
    source = block("gunicorn-asgi", "python")
    async with loaded(server, tmp_path, source, gunicorn(*ALONE), **LATE, **ENDLESS) as load:
        await load.stop(calls=10, number=number)

    # On a machine that is too slow for that, what was too late is counted.
    dropped = re.findall(r"(\d+) (?:more )?events? dropped", load.site.done.stderr)
    assert load.lost().total() == sum(map(int, dropped))
    assert not load.server.duplicates()
    assert cut_off(load) != Counter()
