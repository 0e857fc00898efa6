"""
Task queues and schedulers that are told to end in the middle of a load: their recipes keep all.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.integrations.test_recipes import block, write
from tests.loads import MODEL, asked, noting
from tests.programs import started
from tests.scripted_server import ScriptedServer

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
        enqueue: Source that enqueues JOBS jobs, each with its own question, for the module `app`.
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
        f"""
import app, arq, asyncio

async def main():
    queue = await arq.create_pool(app.WorkerSettings.redis_settings)
    for n in range({JOBS}):
        await queue.enqueue_job("ask", f"question {{n}}")
    await queue.aclose()

asyncio.run(main())
""",
    ),
    "dramatiq": Queue(
        "workers",
        f"""
import app

for n in range({JOBS}):
    app.ask.send(f"question {{n}}")
""",
        ("--processes", "2", "--threads", "4"),
        workers=2,
    ),
    "taskiq": Queue(
        "workers",
        f"""
import app, asyncio

async def main():
    await app.broker.startup()
    for n in range({JOBS}):
        await app.ask.kiq(f"question {{n}}")
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


@pytest.mark.parametrize("recipe", QUEUES)
async def test_what_tasks_recorded_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, recipe: str
) -> None:
    """
    Each task that a worker took ends, and its event arrives.
    """
    queue = QUEUES[recipe]
    pytest.importorskip(recipe, reason=f"needs the extra {queue.extra}")
    environ = write(tmp_path, recipe) | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text(MODEL)
    with redis(tmp_path) as url, noting(tmp_path) as notes:
        environ |= notes.environ | {"REDIS_URL": url}
        with started("-c", queue.enqueue, environ=environ) as program:
            done = await program.ended()
            assert done.status == 0, done.stderr
        with started(
            "-m", *block(recipe, "sh").split(), *queue.options, environ=environ
        ) as program:
            await notes.busy(queue.workers)
            program.send(signal.SIGTERM)
            done = await program.ended()

    assert asked(server) == notes.pushed()
    assert notes.pushed().total() < JOBS  # it was told in the middle
    assert notes.cut_off() == Counter()
    assert done.status == 0
    assert "hh_exporter" not in done.stderr


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
