"""
ASGI servers that are told to end in the middle of a load: what an app pushed is delivered.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.loads import asked, loaded
from tests.scripted_server import ScriptedServer

pytest.importorskip("uvicorn")

APP = """
from fastapi import BackgroundTasks, FastAPI
from my_model import ask_model

from hh_exporter import Exporter
from hh_exporter.integrations.asgi import ExporterMiddleware, lifespan

exporter = Exporter()

async def record(question):
    messages = [{"role": "user", "content": question}]
    with exporter.record(model="m", messages=messages) as event:
        event.response = await ask_model(messages)

app = FastAPI(lifespan=lifespan(exporter))

@app.get("/ask")
async def ask(question: str, tasks: BackgroundTasks):
    tasks.add_task(record, f"afterwards: {question}")
    await record(question)
"""
"""Each request is followed by a task that outlives its response."""


def uvicorn(fd: int) -> list[str]:
    return ["-m", "uvicorn", "app:app", "--fd", str(fd), "--log-level", "critical"]


async def test_uvicorn_waits_for_requests_and_their_tasks(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    By default it waits for all of them, so nothing is cut off and nothing lost.
    """
    async with loaded(server, tmp_path, APP, uvicorn) as load:
        await load.stop()

    assert load.lost() == load.notes.cut_off() == Counter()
    assert {f"afterwards: {question}" for question in load.site.answered} <= asked(server).keys()
    assert not server.duplicates()
    assert load.site.done.stderr == ""


async def test_a_load_sees_what_is_lost(server: ScriptedServer, tmp_path: Path) -> None:
    """
    SIGKILL loses all that was not sent, and cuts off what is under way.
    """
    late = {"HH_EXPORTER_BATCH_LINGER": "600", "HH_EXPORTER_BATCH_MAX_EVENTS": "10000"}
    async with loaded(server, tmp_path, APP, uvicorn, **late) as load:
        await load.stop(number=signal.SIGKILL)

    assert load.lost() == load.notes.pushed() != Counter()
    assert load.notes.cut_off() != Counter()
