"""
Loops that have no network, such as those in which workflows run: nothing ever waits for one.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest

from hh_exporter import DropReason, Exporter, ExporterError
from hh_exporter._life.loops import find_loop
from hh_exporter.testing import FakeClock
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import assert_balanced, model_event, push_all


class WorkflowLoop(asyncio.AbstractEventLoop):
    """
    Tasks in turn, and nothing else: as much of a loop as Temporal gives a workflow.
    """

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **named: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **named)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        task = self.create_task(main)
        with running_loop(self):
            while self._ready:
                self._ready.popleft()._run()
        task.result()


def workflow_loop() -> WorkflowLoop:
    return WorkflowLoop()  # type: ignore[abstract]


@contextmanager
def running_loop(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)


async def test_a_push_there_is_sent_by_the_next_loop(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    What a workflow pushes before any other loop did anything waits for one that can send it.
    """
    exporter = build_exporter()

    async def workflow() -> None:
        push_all(exporter, "e0")
        with exporter.record(model="m", event_id="e1"):
            pass

    workflow_loop().run(workflow())
    assert exporter.stats().health == "starting"
    push_all(exporter, "e2")

    assert (await exporter.flush()).delivered == 3
    assert server.created_ids == ["e0", "e1", "e2"]


async def test_a_push_there_goes_to_the_worker_that_runs(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    Where another loop has the worker, it stays there, whichever loop pushes.
    """
    worker = exporter._life.worker

    async def workflow() -> None:
        push_all(exporter, "e0")

    workflow_loop().run(workflow())

    assert exporter._life.worker is worker
    assert (await exporter.flush()).delivered == 1


WAITS: dict[str, Callable[[Exporter], Coroutine[Any, Any, Any]]] = {
    "start": lambda exporter: exporter.start(),
    "put": lambda exporter: exporter.put(model_event()),
    "flush": lambda exporter: exporter.flush(),
    "aclose": lambda exporter: exporter.aclose(),
    "create_model_event": lambda exporter: exporter.create_model_event(model_event()),
}


@pytest.mark.parametrize("is_served", [False, True], ids=["no worker", "a worker elsewhere"])
@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
async def test_what_waits_there_is_refused(
    make_exporter: MakeExporter,
    build_exporter: BuildExporter,
    server: ScriptedServer,
    wait: Callable[[Exporter], Coroutine[Any, Any, Any]],
    *,
    is_served: bool,
) -> None:
    """
    A coroutine that would wait for the network says where it works, and changes nothing.
    """
    exporter = await make_exporter() if is_served else build_exporter()
    push_all(exporter, "e0")

    async def workflow() -> None:
        with pytest.raises(ExporterError, match=r"this event loop \(WorkflowLoop\) has"):
            await wait(exporter)

    workflow_loop().run(workflow())

    assert assert_balanced(exporter).pushed == 1
    assert (await exporter.aclose()).delivered == 1


def test_the_loops_of_libraries_are_told_from_it() -> None:
    """
    A loop that has the methods of its own can have a worker, whatever it is derived from.
    """

    class Derived(asyncio.SelectorEventLoop):
        pass

    class Wrapped:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop

        def __getattr__(self, name: str) -> Any:
            return getattr(self._loop, name)

    made: list[asyncio.AbstractEventLoop] = [asyncio.new_event_loop(), Derived()]
    if importlib.util.find_spec("uvloop"):
        import uvloop

        made.append(uvloop.new_event_loop())
    wrapped: Any = Wrapped(made[0])
    for loop in (*made, wrapped):
        with running_loop(loop):
            assert find_loop() is loop
    for loop in made:
        loop.close()
    unable: Any
    for unable in (workflow_loop(), Wrapped(workflow_loop()), object()):
        with running_loop(unable):
            assert find_loop() is None


# Sandboxes, in which even the clock raises.


class Forbidding(FakeClock):
    """
    A clock that may not be read for a while, as in the sandbox of a workflow.
    """

    is_forbidden = False

    def now(self) -> float:
        if self.is_forbidden:
            raise PermissionError("secret")
        return super().now()

    def wall(self) -> float:
        self.now()
        return super().wall()


async def test_a_push_raises_nothing_where_no_clock_may_be_read(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    What can't be pushed is counted, which is logged once, by name; the block of a record goes on.
    """
    clock = Forbidding()
    exporter = build_exporter(_clock=clock)
    clock.is_forbidden = True

    taken = [exporter.push(model_event()) for _ in range(2)]
    with exporter.record(model="m") as event:
        event.error = "none"
    clock.is_forbidden = False

    assert taken == [False, False]
    assert caplog.messages == ["hh_exporter: push failed with PermissionError; logged once"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.UNENCODABLE: 3}


async def test_a_push_is_kept_where_no_worker_can_be_made(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where the event is queued, and only the worker can't be started, it waits for the next try.
    """
    exporter = build_exporter()
    made = exporter._keeper.make_worker

    def forbid(*_: object) -> Any:
        raise FileNotFoundError

    exporter._keeper.make_worker = forbid
    push_all(exporter, "e0")
    exporter._keeper.make_worker = made

    assert caplog.messages == ["hh_exporter: push failed with FileNotFoundError; logged once"]
    assert (await exporter.flush()).delivered == 1


async def test_an_update_is_kept_where_no_worker_can_be_made(
    build_exporter: BuildExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It was accepted, as a push is then.
    """
    exporter = build_exporter()
    made = exporter._keeper.make_worker

    def forbid(*_: object) -> Any:
        raise FileNotFoundError

    exporter._keeper.make_worker = forbid
    is_taken = exporter.update("e0", feedback={"rating": 5})
    exporter._keeper.make_worker = made

    assert is_taken
    assert caplog.messages == ["hh_exporter: update failed with FileNotFoundError; logged once"]
    assert (await exporter.flush()).delivered == 1
