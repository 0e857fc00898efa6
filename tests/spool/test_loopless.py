"""
A durable push where no event loop runs: while a module is imported, in a server's master process.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from hh_exporter import Spool
from hh_exporter._spool.place import is_held, list_files
from tests.conftest import KEY, BuildExporter
from tests.programs import run_program
from tests.scripted_server import ScriptedServer
from tests.spool.test_spool import no_more_threads
from tests.spools import come_back, leave, on_disk
from tests.support import FakeClock, assert_balanced, model_event, push_all, until

NOWHERE = "http://127.0.0.1:9"

WRITTEN = """
import time
from hh_exporter import Spool

def wait_until_written():
    while exporter.stats().commit_lag:
        time.sleep(0.001)
"""

FORKING = """
async def serve(name):
    async with exporter:
        push(name)
        assert await exporter.put(ModelEvent(model="m", event_id=f"{name} put"))

children = []
for n in range(6):
    push(f"parent {n}")  # its thread may be anywhere as the child is forked
    if (child := os.fork()) == 0:
        push(f"child {n} alone")
        wait_until_written()
        asyncio.run(serve(f"child {n}"))
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert exporter.stats().queued == 6
wait_until_written()
asyncio.run(serve("parent"))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def settings(directory: Path) -> dict[str, str]:
    """
    Make the environment of a program with a durable spool there.
    """
    return {
        "HH_API_KEY": KEY,
        "HH_EXPORTER_SPOOL_DIRECTORY": str(directory),
        "HH_EXPORTER_SPOOL_DURABLE": "true",
    }


@pytest.mark.parametrize(
    "push", ["push(*ids)", "threading.Thread(target=push, args=ids).start()"], ids=["main", "other"]
)
async def test_a_push_is_on_disk_once_the_lag_is_over(directory: Path, push: str) -> None:
    """
    `kill -9` loses nothing that `commit_lag` says is written, on whichever thread it was pushed.
    """
    program = f"""
ids = [f"e{{n}}" for n in range(50)]
{push}
while exporter.stats().pushed < 50:
    time.sleep(0.001)
wait_until_written()
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = await run_program(WRITTEN + program, NOWHERE, **settings(directory))

    assert ended.status == -signal.SIGKILL, ended
    assert sorted(on_disk(directory)) == sorted(f"e{n}" for n in range(50))


async def test_an_exit_right_after_the_push_leaves_it_on_disk(directory: Path) -> None:
    """
    However far the thread has come by then, all of it waits for the next process.
    """
    ended = await run_program('push("e0", "e1")', NOWHERE, **settings(directory))

    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    assert on_disk(directory) == ["e0", "e1"]


async def test_workers_that_are_forked_afterwards_have_files_of_their_own(
    server: ScriptedServer, directory: Path
) -> None:
    """
    What was pushed before is sent once, by the parent; so is what each child pushes, by the child.
    """
    ended = await run_program(WRITTEN + FORKING, server.url, **settings(directory))

    assert (ended.status, ended.stderr) == (0, "")
    forms = ("parent {}", "child {}", "child {} put", "child {} alone")
    names = [form.format(n) for n in range(6) for form in forms]
    assert sorted(server.created_ids) == sorted([*names, "parent", "parent put"])
    assert not list_files(directory)


async def test_what_others_left_is_for_a_process_that_can_send_it(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    It is taken over once a loop runs, and not by a process that would only hold it.
    """
    left = directory / "left.spool"
    leave(left, server.url, records=["left"], api_key=KEY)
    exporter = build_exporter(spool=Spool(directory, durable=True))
    await asyncio.to_thread(push_all, exporter, "e0")
    await until(lambda: on_disk(directory) == ["e0", "left"])
    assert not is_held(left)
    assert not exporter.stats().recovered

    await exporter.start()
    assert exporter.stats().recovered == 1
    await come_back(exporter, clock)
    assert sorted(server.created_ids) == ["e0", "left"]
    await exporter.aclose()
    assert not list_files(directory)


async def test_without_a_thread_the_lag_tells(
    build_exporter: BuildExporter, clock: FakeClock, directory: Path
) -> None:
    """
    Push raises nothing and tries no more often than it must; later all of it is written.
    """
    exporter = build_exporter(spool=Spool(directory, durable=True))

    def push_in_vain() -> None:
        with no_more_threads():
            push_all(exporter, "e0", "e1")
            clock.stand_still(4.0)
            push_all(exporter, "e2")
            assert exporter.stats().commit_lag == 4.0
        push_all(exporter, "e3")  # too early

    await asyncio.to_thread(push_in_vain)
    assert not list_files(directory)

    clock.stand_still(1.0)
    await asyncio.to_thread(push_all, exporter, "e4")
    await until(lambda: on_disk(directory) == [f"e{n}" for n in range(5)])
    await until(lambda: not exporter.stats().commit_lag)
    assert assert_balanced(exporter).queued == 5


@pytest.mark.parametrize(
    ("durable", "disabled"), [(False, False), (True, True)], ids=["memory first", "disabled"]
)
async def test_nothing_is_begun_that_is_not_asked_for(
    build_exporter: BuildExporter, directory: Path, durable: bool, disabled: bool
) -> None:
    """
    Without a loop, a spool that is not durable has time, and a disabled exporter has no spool.
    """
    exporter = build_exporter(spool=Spool(directory, durable=durable), disabled=disabled)
    assert await asyncio.to_thread(exporter.push, model_event()) is not disabled

    assert not [thread for thread in threading.enumerate() if "spool" in thread.name]
    assert not list_files(directory)
