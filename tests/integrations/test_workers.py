"""
Task queues and schedulers that are told to end in the middle of a load: their recipes keep all.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from attrs import define, frozen

from hh_exporter import Exporter
from tests.integrations.test_recipes import block, write
from tests.loads import MODEL, Notes, asked, noting
from tests.programs import Program, started
from tests.scripted_server import ScriptedServer, created, hang

LATE = {"HH_EXPORTER_BATCH_LINGER": "600", "HH_EXPORTER_BATCH_MAX_EVENTS": "10000"}
"""Settings with which nothing is sent before a close."""

JOBS = 1000
"""More than a worker can do while it is told to end."""


@frozen
class Queue:
    """
    A task queue.

    Attributes:
        extra: With which it is installed.
        enqueue: Source that enqueues $JOBS jobs of the module `app`, each with its own question.
        options: What to add to the command of its recipe.
        workers: How many processes work then.
    """

    extra: str
    enqueue: str
    options: tuple[str, ...] = ()
    workers: int = 1


QUEUES = {
    "arq": Queue(
        "arq",
        """
import app, arq, asyncio, os

async def main():
    queue = await arq.create_pool(app.WorkerSettings.redis_settings)
    for n in range(int(os.environ["JOBS"])):
        await queue.enqueue_job("ask", f"question {n}")
    await queue.aclose()

asyncio.run(main())
""",
    ),
    "dramatiq": Queue(
        "workers",
        """
import app, os

for n in range(int(os.environ["JOBS"])):
    app.ask.send(f"question {n}")
""",
        ("--processes", "2", "--threads", "4"),
        workers=2,
    ),
    "taskiq": Queue(
        "workers",
        """
import app, asyncio, os

async def main():
    await app.broker.startup()
    for n in range(int(os.environ["JOBS"])):
        await app.ask.kiq(f"question {n}")
    await app.broker.shutdown()

asyncio.run(main())
""",
        ("--workers", "2", "--max-async-tasks", "5", "--log-level", "WARNING"),
        workers=2,
    ),
}


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """
    Run a Redis server that keeps nothing on disk, no longer than the block; yields its URL.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    socket = directory / "redis.sock"
    with subprocess.Popen(
        (program, "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", ""),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        try:
            assert any(b"eady to accept connections" in line for line in process.stdout)
            yield f"unix://{socket}"
        finally:
            process.kill()


@define(eq=False)
class Working:
    """
    The worker of a recipe, and the notes of its model.
    """

    program: Program
    notes: Notes


@asynccontextmanager
async def working(
    server: ScriptedServer,
    directory: Path,
    recipe: str,
    *options: str,
    jobs: int = JOBS,
    model: str = MODEL,
    leaving_out: str = "",
    environ: Mapping[str, str] = LATE,
) -> AsyncIterator[Working]:
    """
    Run a worker with so many *jobs* in its queue, as its recipe says.

    Args:
        leaving_out: A line of the recipe that its program shall lack.
    """
    queue = QUEUES[recipe]
    pytest.importorskip(recipe, reason=f"needs the extra {queue.extra}")
    own = write(directory, recipe) | {"HH_API_URL": server.url, "JOBS": str(jobs)}
    if leaving_out:
        source = block(recipe, "python")
        assert leaving_out in source
        (directory / "app.py").write_text(source.replace(leaving_out, ""))
    (directory / "my_model.py").write_text(model)
    with redis(directory) as url, noting(directory) as notes:
        environ = {**environ, **own, **notes.environ, "REDIS_URL": url}
        with started("-c", queue.enqueue, environ=environ) as program:
            done = await program.ended()
            assert done.status == 0, done.stderr
        words = [*block(recipe, "sh").split(), *queue.options, *options]
        with started("-m", *words, environ=environ) as program:
            yield Working(program, notes)


@pytest.mark.parametrize("recipe", QUEUES)
async def test_what_tasks_recorded_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, recipe: str
) -> None:
    """
    Each task that a worker took ends, and its event arrives.
    """
    async with working(server, tmp_path, recipe) as worker:
        await worker.notes.busy(QUEUES[recipe].workers)
        worker.program.send(signal.SIGTERM)
        done = await worker.program.ended()

    pushed = worker.notes.pushed()
    assert asked(server) == pushed
    assert pushed.total() < JOBS  # it was told in the middle
    assert worker.notes.cut_off() == Counter()
    assert done.status == 0
    assert "hh_exporter" not in done.stderr


TELLING = """
import signal

async def ask_model(messages, ask=ask_model):
    answer = await ask(messages)
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    return answer
"""
"""What makes a model send its process a signal just after the job that asked it has ended."""


async def test_what_a_job_of_arq_recorded_is_delivered_even_if_on_shutdown_is_skipped(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Without job_completion_wait, arq fails where SIGTERM meets it as it stores a result.
    """
    line, model = "    job_completion_wait = 5  # seconds\n", MODEL + TELLING
    async with working(server, tmp_path, "arq", jobs=1, model=model, leaving_out=line) as worker:
        done = await worker.program.ended()

    assert asked(server) == worker.notes.pushed() == Counter(["question 0"])
    assert done.status == 1
    assert "CancelledError" in done.stderr
    assert "hh_exporter" not in done.stderr


async def test_what_taskiq_cancels_the_close_of_is_on_the_spool(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    With a `close_timeout` that is too long, the next process delivers it.
    """
    server.default = hang()
    spool = {"HH_EXPORTER_SPOOL_DIRECTORY": str(tmp_path / "spool")}
    line, options = "close_timeout=4.0", ("--shutdown-timeout", "0.5")
    async with working(
        server, tmp_path, "taskiq", *options, leaving_out=line, environ=LATE | spool
    ) as worker:
        await worker.notes.busy(QUEUES["taskiq"].workers)
        worker.program.send(signal.SIGTERM)
        done = await worker.program.ended()
    assert done.status == 0
    assert "cannot be completed in 0.5 seconds" in done.stderr  # taskiq's word
    assert asked(server) == Counter()

    server.default = created()
    async with Exporter(base_url=server.url, spool=tmp_path / "spool") as exporter:
        await exporter.flush()

    assert asked(server) == worker.notes.pushed()


SCHEDULE = """
import app, asyncio

app.scheduler.remove_all_jobs()
app.scheduler.configure(job_defaults={"max_instances": 100, "misfire_grace_time": None})
for job in (app.ask, app.ask_in_thread):
    for n in range(10):
        app.scheduler.add_job(job, "interval", [f"{job.__name__} {n}"], seconds=0.3)
asyncio.run(app.main())
"""
"""A scheduler with many jobs, each fifth of which takes longer than its turn."""


async def test_what_scheduled_jobs_recorded_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Each job of APScheduler that began ends, in the loop or in a thread, and its event arrives.
    """
    pytest.importorskip("apscheduler", reason="needs the extra workers")
    environ = write(tmp_path, "apscheduler") | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text(MODEL)
    with (
        noting(tmp_path) as notes,
        started("-c", SCHEDULE, environ=environ | notes.environ) as program,
    ):
        await notes.busy()
        program.send(signal.SIGTERM)
        done = await program.ended()

    assert asked(server) == notes.pushed()
    assert notes.cut_off() == Counter()
    assert (done.status, done.stderr) == (0, "")
