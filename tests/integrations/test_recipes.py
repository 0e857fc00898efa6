"""
The programs of docs/recipes run as they stand, and lose nothing when they are told to end.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from tests.programs import Program, started
from tests.scripted_server import ScriptedServer
from tests.sites import MODEL, ROOT, serving

RECIPES = ROOT / "docs/recipes"


def block(recipe: str, language: str) -> str:
    """
    Read the one block of a recipe that is in *language*.
    """
    text = (RECIPES / f"{recipe}.md").read_text()
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


def command(recipe: str, fd: int) -> list[str]:
    """
    Complete the command of a recipe: where to listen, and to say only what is wrong.
    """
    match block(recipe, "sh").split():
        case ["python", "app.py"]:
            # As the recipe does it, on a socket that is open already.
            [options] = re.findall(r"web\.run_app\(app, (.*)\)", block(recipe, "python"))
            socket = f"print=None, sock=socket.socket(fileno={fd})"
            return ["-c", f"import app, socket; app.web.run_app(app.app, {options}, {socket})"]
        case ["uvicorn", *words]:
            return ["-m", "uvicorn", *words, "--fd", str(fd), "--log-level", "critical"]
        case ["gunicorn", *words]:
            # One worker, which is up once it answers: gunicorn's SIGTERM goes by one that starts.
            words += ["--workers", "1", "--bind", f"fd://{fd}", "--log-level", "critical"]
            return ["-m", "gunicorn", *words]
        case words:
            raise AssertionError(words)


APPS = {
    "aiohttp": "aiohttp",
    "fastapi": "fastapi",
    "gunicorn": "uvicorn_worker",
    "litestar": "litestar",
    "quart": "quart",
    "django": "django",
}
"""The web apps, and what each can't do without."""


@pytest.mark.parametrize(("recipe", "library"), APPS.items())
async def test_what_was_answered_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, recipe: str, library: str
) -> None:
    """
    SIGTERM while a crowd asks costs no event, nor does the app's own end.
    """
    pytest.importorskip(library, reason="needs the extra apps")
    source = block(recipe, "python")
    async with serving(server, tmp_path, source, lambda fd: command(recipe, fd)) as site:
        await site.busy()
        site.program.send(signal.SIGTERM)

    assert set(asked(server)) >= site.answered.keys()
    assert any(event.get("event_name") == "last words" for event in server.created) == (
        "last words" in source
    )
    assert not server.duplicates()
    assert site.done.stderr == ""
    # uvicorn has the signal take its course once it is done.
    assert site.done.status in (0, -signal.SIGTERM)


def write(directory: Path, recipe: str) -> dict[str, str]:
    """
    Write the module `app` of a recipe and what it imports; returns what a process needs for it.
    """
    (directory / "app.py").write_text(block(recipe, "python"))
    (directory / "my_model.py").write_text(MODEL)
    return {"PYTHONPATH": f"{ROOT}:{directory}"}


async def rest(program: Program) -> list[str]:
    """
    Wait for all that the program prints until it ends.
    """
    assert program.process.stdout
    text = await asyncio.to_thread(program.process.stdout.read)
    return text.decode().splitlines()


def asked(server: ScriptedServer) -> list[str]:
    return [event["messages"][0]["content"] for event in server.created if event["messages"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_script_ends_when_it_is_told_to(
    server: ScriptedServer, tmp_path: Path, number: signal.Signals
) -> None:
    """
    Each question that it answered until then arrives, and it ends well.
    """
    environ = write(tmp_path, "script") | {"HH_API_URL": server.url}
    with started("-m", "app", environ=environ) as program:
        await program.said("answered 1")
        program.send(number)
        count = 1 + len(await rest(program))
        done = await program.ended()

    assert asked(server) == [f"question {n}" for n in range(1, count + 1)]
    assert (done.status, done.stderr) == (0, "")


async def test_a_function_has_sent_everything_when_it_returns(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Its process may be frozen after each invocation, and killed while it is.
    """
    environ = write(tmp_path, "serverless") | {"HH_API_URL": server.url}
    source = """
import app, os, signal
for question in ("one", "two"):
    print(app.handler({"question": question}, None)["content"], flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    with started("-c", source, environ=environ) as program:
        await program.said("an answer")
        assert asked(server) == ["one"]
        await asyncio.to_thread(os.waitid, os.P_PID, program.process.pid, os.WSTOPPED)
        program.send(signal.SIGCONT)
        await program.said("an answer")
        program.send(signal.SIGKILL)

    assert asked(server) == ["one", "two"]


CELERY = """
import os
folder = os.environ["FOLDER"]
broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": folder, "data_folder_out": folder, "control_folder": folder + "/control",
}
worker_prefetch_multiplier = 1
worker_redirect_stdouts = False
"""

TELLING = """
import os

def ask_model(messages):
    # In one piece, whoever else writes.
    os.write(1, messages[0]["content"].encode() + b"\\n")
    return {"role": "assistant", "content": "an answer"}
"""
"""The model, as one that prints what it was asked."""


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
async def test_what_celery_let_end_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, pool: str
) -> None:
    """
    Whichever pool runs them, the event of each task that ended arrives.
    """
    pytest.importorskip("celery", reason="needs the extra apps")
    environ = {
        **write(tmp_path, "celery"),
        "FOLDER": str(tmp_path / "queue"),
        "HH_API_URL": server.url,
        "HH_EXPORTER_BATCH_LINGER": "600",  # so that nothing is sent before a close
    }
    (tmp_path / "queue").mkdir()
    (tmp_path / "celeryconfig.py").write_text(CELERY)
    (tmp_path / "my_model.py").write_text(TELLING)
    source = "import app\nfor n in range(100): app.ask.delay(f'question {n}')"
    with started("-c", source, environ=environ) as program:
        done = await program.ended()
    assert done.status == 0, done.stderr

    celery, *words = block("celery", "sh").replace("prefork", pool).split()
    with started("-m", celery, "--quiet", *words, "--concurrency", "2", environ=environ) as program:
        answered = [await program.line() for _ in range(10)]
        program.send(signal.SIGTERM)
        answered += await rest(program)
        done = await program.ended()

    # Celery says in between that it ends.
    assert sorted(asked(server)) == sorted(line for line in answered if "question" in line)
    assert done.status == 0
    assert "dropped" not in done.stderr


def test_no_recipe_goes_untested() -> None:
    """
    Each recipe is one of the above, or of a module named for it or its kind.
    """
    others = {"celery", "litellm", "script", "serverless"}
    blocking = {"django-wsgi", "flask", "plain-script", "streamlit"}
    platforms = {"notebook", "robyn", "sanic"}
    servers = {"granian", "gunicorn-asgi", "hypercorn"}
    workers = {"apscheduler", "arq", "dramatiq", "taskiq", "temporal"}
    captured = {"anthropic", "langchain", "openai", "opentelemetry", "pydantic-ai"}

    elsewhere = others | blocking | platforms | servers | workers | captured
    assert {path.stem for path in RECIPES.iterdir()} == APPS.keys() | elsewhere
