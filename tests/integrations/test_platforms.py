"""
Web servers with endings of their own, and notebooks: what is delivered there, and what is lost.

Sanic and Robyn ask for older libraries and run in an environment of their own, which `.ci/run`
makes; elsewhere: `python -m venv .servers` and `.servers/bin/python -m pip install '.[servers]'`.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from pathlib import Path
from typing import cast

import attrs
import pytest

from hh_exporter._environment import Settings
from tests.command import run
from tests.integrations.test_recipes import RECIPES, block, command
from tests.loads import MODEL, Load, asked, loaded, noting
from tests.programs import Program, started
from tests.scripted_server import ScriptedServer
from tests.sites import ROOT
from tests.support import until

SERVERS = ROOT / ".servers/bin/python"

LATE = {"HH_EXPORTER_BATCH_LINGER": "600", "HH_EXPORTER_BATCH_MAX_EVENTS": "10000"}
"""Nothing is sent before an exporter is closed."""

CLOSE_TIMEOUT = cast("float", attrs.fields(Settings).close_timeout.default)

KUBERNETES = 30.0
"""Seconds after which it kills a process that it told to end, by default."""

ENDLESS = MODEL.replace("0.5", "3600")
"""The model that never answers every fifth question, and so keeps each of the crowd waiting."""

ALL_ARE_UP = """
from sanic.worker.manager import WorkerManager

_wait = WorkerManager.wait_for_ack

def _wait_and_say(manager):
    _wait(manager)
    print("all are up", flush=True)

WorkerManager.wait_for_ack = _wait_and_say
"""
"""Sanic's manager never ends if SIGTERM comes before it knows that all workers are up."""

in_servers = pytest.mark.skipif(not SERVERS.exists(), reason="needs the extra servers")


def sanic(port: int) -> list[str]:
    return ["-m", *block("sanic", "sh").split(), "--port", str(port)]


@in_servers
async def test_sanic_loses_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    """
    SIGTERM in the middle of a load: each worker lets its requests end, and sends their events.
    """
    source = block("sanic", "python") + ALL_ARE_UP
    async with loaded(
        server, tmp_path, source, sanic, python=SERVERS, ready="all are up", **LATE
    ) as load:
        await load.stop(workers=2)

    check(load)
    assert load.notes.cut_off() == Counter()
    assert load.site.done.stderr == ""


@in_servers
async def test_sanic_cuts_off_an_endless_request_in_time(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    After `GRACEFUL_SHUTDOWN_TIMEOUT` it is cancelled, and recorded as that.
    """
    source = block("sanic", "python") + ALL_ARE_UP
    [option] = re.findall(r"GRACEFUL_SHUTDOWN_TIMEOUT = [\d.]+", source)
    assert float(option.split()[-1]) + CLOSE_TIMEOUT < 10.0  # when the manager ends its workers
    source = source.replace(option, "GRACEFUL_SHUTDOWN_TIMEOUT = 0.1")
    async with loaded(
        server,
        tmp_path,
        source,
        sanic,
        model=ENDLESS,
        python=SERVERS,
        ready="all are up",
        **LATE,
    ) as load:
        await load.notes.busy(calls=10)
        load.site.program.send(signal.SIGTERM)

    check(load)
    assert load.notes.cut_off() != Counter()


def check(load: Load) -> None:
    """
    Check that each call arrived as one event, which says of those that were cut off that they were.
    """
    assert asked(load.server) == load.notes.questions("begun")
    failed = [event["messages"][0]["content"] for event in load.server.created if "error" in event]
    assert load.notes.cut_off() <= Counter(failed)
    assert not load.server.duplicates()
    assert load.site.done.status == 0
    # Servers have something of their own to say of requests that they cut off.
    assert "hh_exporter: " not in load.site.done.stderr


async def test_aiohttp_cuts_off_an_endless_request_in_time(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    After `shutdown_timeout`, which it waits for twice, it is cancelled, and recorded as that.
    """
    source = block("aiohttp", "python")
    [option] = re.findall(r"shutdown_timeout=\d+", source)
    assert 2 * float(option.split("=")[1]) + CLOSE_TIMEOUT < KUBERNETES

    def serve(fd: int) -> list[str]:
        words = command("aiohttp", fd)
        assert option in words[-1]
        return [word.replace(option, "shutdown_timeout=0.1") for word in words]

    async with loaded(server, tmp_path, source, serve, model=ENDLESS, **LATE) as load:
        await load.notes.busy(calls=10)
        load.site.program.send(signal.SIGTERM)

    check(load)
    assert load.notes.cut_off() != Counter()


@in_servers
@pytest.mark.parametrize("processes", [1, 2])
async def test_what_robyn_answered_outlives_it(
    server: ScriptedServer, tmp_path: Path, processes: int
) -> None:
    """
    At SIGTERM several processes are killed and one goes on; all that `put` took is on disk.
    """
    spool = str(tmp_path / "spool")
    source = block("robyn", "python").replace("/var/lib/my-app/events", spool)
    _, _, *words = block("robyn", "sh").replace("2", str(processes)).split()

    def command(port: int) -> list[str]:
        return ["-c", ROBYN.format(port=port), *words]

    async with loaded(
        server, tmp_path, source, command, python=SERVERS, ready="starts", **LATE
    ) as load:
        await load.stop(workers=processes)
        if processes == 1:
            await stopped_serving(load.site.program)
            assert load.site.program.process.poll() is None
            load.site.program.send(signal.SIGKILL)
    assert not server.created
    done = await run("spool", spool, "--drain", HH_API_URL=server.url)

    assert done.status == 0, done.stderr
    assert asked(server).keys() >= load.site.answered.keys()
    assert not server.duplicates()


ROBYN = """
import app
app.app.startup_handler(lambda: print("starts", flush=True))
app.app.start(port={port})
"""
"""The end of the recipe, on another port."""


async def stopped_serving(program: Program) -> None:
    """
    Wait until Robyn says that it serves nobody any more.
    """
    assert program.process.stderr
    while b"accept thread stopped" not in (
        line := await asyncio.to_thread(program.process.stderr.readline)
    ):
        assert line


JUPYTER = """
import asyncio, signal, sys
from jupyter_client.manager import start_new_async_kernel

def say(message):
    if message["msg_type"] == "error":
        sys.exit("\\n".join(message["content"]["traceback"]))

async def main():
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    manager, client = await start_new_async_kernel()
    with open(sys.argv[1]) as notebook:
        for cell in notebook.read().split("# %%"):
            await client.execute_interactive(cell, output_hook=say)
    client.stop_channels()
    print("ran", flush=True)
    await told.wait()
    manager.shutdown_wait_time = 60.0  # half of that is the kernel's, on a busy machine
    await manager.shutdown_kernel()

asyncio.run(main())
"""
"""Runs the cells of a notebook one after the other, and shuts its kernel down at SIGTERM."""

LEFT_OPEN = """
# %%
exporter = Exporter()
asking = [asyncio.create_task(ask(exporter, question)) for question in questions]
"""
"""The last cell, as one that waits for nothing."""


@pytest.mark.parametrize("is_closed", [True, False])
async def test_a_notebook_loses_nothing(
    server: ScriptedServer, tmp_path: Path, *, is_closed: bool
) -> None:
    """
    What a cell closes is sent once it ends; what none does, when the kernel is shut down.
    """
    pytest.importorskip("ipykernel", reason="needs the extra apps")
    source = block("notebook", "python")
    if not is_closed:
        assert "\nasync with Exporter()" in source
        source = source.partition("async with")[0] + LEFT_OPEN
    count = 100 if is_closed else 80
    (tmp_path / "notebook.py").write_text(source)
    (tmp_path / "my_model.py").write_text(MODEL if is_closed else ENDLESS)
    with noting(tmp_path) as notes:
        environ = {"HH_API_URL": server.url, "PYTHONPATH": f"{ROOT}:{tmp_path}", **LATE}
        with started(
            "-c", JUPYTER, str(tmp_path / "notebook.py"), environ=environ | notes.environ
        ) as program:
            await program.said("ran")
            await until(lambda: len(notes.read("ended")) == count)
            assert len(asked(server)) == (count if is_closed else 0)
            program.send(signal.SIGTERM)
            done = await program.ended()

    assert (done.status, done.stdout) == (0, "")
    assert "hh_exporter" not in done.stderr
    assert asked(server) == Counter(f"question {n}" for n in range(100))
    assert sum("error" in event for event in server.created) == 100 - count


@pytest.mark.parametrize("handlers", ["", "exporter.install_signal_handlers()\n"])
async def test_django_under_daphne_loses_nothing(
    server: ScriptedServer, tmp_path: Path, handlers: str
) -> None:
    """
    Without a lifespan, and without our signal handlers, the end of the process sends what is left.
    """
    pytest.importorskip("daphne", reason="needs the extra apps")
    [words] = re.findall("`(daphne .*?)`", (RECIPES / "django.md").read_text())

    def command(fd: int) -> list[str]:
        return ["-m", *words.split(), "--fd", str(fd), "--verbosity", "0"]

    source = block("django", "python") + handlers
    async with loaded(server, tmp_path, source, command, **LATE) as load:
        await load.stop()

    check(load)
