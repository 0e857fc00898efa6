"""
An ASGI app is shut down, and its exporter closed, once its calls have returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from attrs import define, field
from fastapi import BackgroundTasks, FastAPI

from hh_exporter import ConfigError, Exporter
from hh_exporter.integrations.asgi import ExporterMiddleware, lifespan
from tests.conftest import BuildExporter
from tests.scripted_server import ScriptedServer, hang, hang_after_storing
from tests.support import FakeClock, model_event, push_all, settle

HTTP = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


@define(eq=False)
class Running:
    """
    An ASGI app as a server runs it: with a lifespan, and calls that end when the test says so.

    Attributes:
        events: What happened, in order.
        go_on: What each call waits for.
    """

    exporter: Exporter
    app: Any = field(init=False)
    events: list[str] = field(init=False, factory=list)
    go_on: asyncio.Event = field(init=False, factory=asyncio.Event)
    _inbox: asyncio.Queue[dict[str, Any]] = field(init=False, factory=asyncio.Queue)
    _life: asyncio.Task[None] | None = field(init=False, default=None)

    async def work(self, name: str) -> None:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            await settle()  # as many steps as frameworks may take
            self.events.append(f"{name} cancelled")
        finally:
            push_all(self.exporter, name)
            self.events.append(f"{name} ended")

    async def plain(self, scope: Any, receive: Any, send: Any) -> None:
        """
        Be an app without a framework.
        """
        if scope["type"] != "lifespan":
            await self.work(scope["name"])
            return
        for stage in ("startup", "shutdown"):
            await receive()
            self.events.append(stage)
            await send({"type": f"lifespan.{stage}.complete"})

    def fastapi(self, **options: Any) -> FastAPI:
        """
        Make an app whose work is done after the response.
        """

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[None]:
            self.events.append("startup")
            yield
            self.events.append("shutdown")

        app = FastAPI(lifespan=lifespan(self.exporter, own, **options))

        @app.get("/")
        async def root(tasks: BackgroundTasks) -> None:
            tasks.add_task(self.work, "call")

        return app

    async def start(self, app: Any) -> None:
        self.app = app
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._life = asyncio.create_task(app(scope, self._inbox.get, self._say))
        await self._inbox.put({"type": "lifespan.startup"})
        await settle()
        assert self.events == ["startup"]
        self.events.clear()

    def call(self, name: str = "call") -> asyncio.Task[None]:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        return asyncio.create_task(self.app({**HTTP, "name": name}, receive, self._say))

    async def shut_down(self) -> None:
        """
        Send what the server sends; `ended` waits for what comes of it.
        """
        await settle()
        await self._inbox.put({"type": "lifespan.shutdown"})
        await settle()

    def cancel(self) -> None:
        assert self._life is not None
        self._life.cancel()

    async def ended(self) -> None:
        assert self._life is not None
        await self._life
        assert self.exporter.stats().health == "closed"

    async def _say(self, message: Any) -> None: ...


DOORS: dict[str, Callable[..., Any]] = {
    "lifespan": lambda running, **options: running.fastapi(**options),
    "middleware": lambda running, **options: ExporterMiddleware(
        running.plain, running.exporter, **options
    ),
}

through_both_doors = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())


@pytest.fixture
def running(build_exporter: BuildExporter) -> Running:
    return Running(build_exporter())


@through_both_doors
async def test_the_app_is_shut_down_once_its_calls_have_returned(
    running: Running, server: ScriptedServer, door: Callable[..., Any]
) -> None:
    """
    What they push last is taken, and what they use is still there, though the server waits no more.
    """
    await running.start(door(running))
    call = running.call()
    await running.shut_down()
    assert running.events == []

    running.go_on.set()
    await running.ended()
    await call

    assert running.events == ["call ended", "shutdown"]
    assert server.created_ids == ["call"]


@through_both_doors
async def test_calls_that_are_cancelled_may_take_their_time(
    running: Running, server: ScriptedServer, door: Callable[..., Any]
) -> None:
    """
    A server that cancels them and ends the app at the same moment is right to do so.
    """
    await running.start(door(running))
    call = running.call()
    await settle()
    call.cancel()
    await running.shut_down()
    await running.ended()

    assert running.events == ["call cancelled", "call ended", "shutdown"]
    assert server.created_ids == ["call"]


@through_both_doors
async def test_an_app_that_is_cancelled_with_its_calls_closes_after_them(
    running: Running, server: ScriptedServer, door: Callable[..., Any]
) -> None:
    """
    A server in a hurry, or the end of `asyncio.run`, cancels the lifespan and the calls alike.
    """
    await running.start(door(running))
    call = running.call()
    await settle()
    running.cancel()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.ended()

    assert running.events[:2] == ["call cancelled", "call ended"]
    assert server.created_ids == ["call"]
    assert running.exporter.stats().health == "closed"


@through_both_doors
@pytest.mark.parametrize(("options", "grace"), [({}, 3.0), ({"grace": 7}, 7.0)])
async def test_a_call_that_never_returns_is_waited_for_that_long(
    running: Running,
    clock: FakeClock,
    door: Callable[..., Any],
    options: dict[str, float],
    grace: float,
) -> None:
    """
    Three seconds, unless told otherwise; another call that returns meanwhile ends no wait.
    """
    await running.start(door(running, **options))
    call, short = running.call(), running.call("short")
    await settle()
    short.cancel()
    await running.shut_down()
    running.events.clear()
    await clock.advance(grace - 0.1)
    assert running.events == []

    await clock.advance(0.1)
    await running.ended()
    assert running.events == ["shutdown"]
    call.cancel()
    with pytest.raises(AssertionError):  # its push is refused
        await call


@through_both_doors
@pytest.mark.parametrize("options", [{}, {"grace": 0}])
async def test_nothing_is_waited_for_if_no_call_is_open(
    running: Running, clock: FakeClock, door: Callable[..., Any], options: dict[str, float]
) -> None:
    """
    The app hears of its shutdown without any time going by; so it does if no grace is given.
    """
    await running.start(door(running, **options))
    call = running.call()
    if not options:
        running.go_on.set()
        await call
    await running.shut_down()
    await running.ended()

    assert running.events[-1] == "shutdown"
    running.go_on.set()
    await asyncio.gather(call, return_exceptions=True)


async def test_the_outer_of_two_middlewares_waits_for_both(
    running: Running, build_exporter: BuildExporter, clock: FakeClock
) -> None:
    """
    A call that never returns is waited for once, not by each.
    """
    inner = ExporterMiddleware(running.plain, running.exporter)
    await running.start(ExporterMiddleware(inner, build_exporter()))
    call = running.call()
    await running.shut_down()
    await clock.advance(3.0)
    await running.ended()

    assert running.events == ["shutdown"]
    running.go_on.set()
    await asyncio.gather(call, return_exceptions=True)


async def test_an_app_that_knows_no_lifespan_is_waited_for(
    running: Running, server: ScriptedServer
) -> None:
    """
    The middleware, which answers in its stead, closes the exporter after the last call.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            running.events.append("startup")
            raise ValueError("only http")
        await running.work("call")

    await running.start(ExporterMiddleware(app, running.exporter))
    call = running.call()
    await running.shut_down()
    assert running.exporter.stats().health == "ok"
    running.go_on.set()
    await running.ended()
    await call

    assert server.created_ids == ["call"]


async def test_calls_of_a_loop_that_has_stopped_are_not_waited_for(
    running: Running, clock: FakeClock
) -> None:
    """
    They never return; the app's next life, in another loop, ends without them.
    """
    app = running.app = ExporterMiddleware(running.plain, running.exporter)

    async def live() -> None:
        await running.start(app)
        await running.shut_down()
        assert running.events == ["shutdown"]
        await running.ended()

    def run_twice() -> None:
        with asyncio.Runner() as stopped:
            call = stopped.run(_call(running))
            asyncio.run(live())
            assert not call.done()

    await asyncio.to_thread(run_twice)


async def _call(running: Running) -> asyncio.Task[None]:
    call = running.call()
    await settle()
    return call


# What no call of the app pushes.


async def test_an_app_may_push_while_the_last_events_are_sent(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    The exporter is flushed once before it is closed: a task without a request has that time.
    """
    exporter = build_exporter()
    server.script(hang_after_storing())
    leaving = await _left(exporter, "e0")
    await server.next_request()
    exporter.push(model_event(event_id="e1"))
    server.release()
    await leaving

    assert set(server.created_ids) == {"e0", "e1"}


async def test_a_close_takes_no_longer_than_close_timeout(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    The flush before it is part of that time.
    """
    exporter = build_exporter(close_timeout=4.0)
    server.default = hang()

    leaving = await _left(exporter, "e0")
    await server.next_request()
    await clock.advance(4.0)
    assert leaving.done()

    assert exporter.stats().dropped_by_reason == {"closed": 1}


async def _left(exporter: Exporter, event_id: str) -> asyncio.Task[None]:
    """
    Leave a lifespan in which an event was pushed.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lifespan(exporter)(None))
        push_all(exporter, event_id)
        return asyncio.create_task(stack.pop_all().aclose())


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), "3"])
def test_grace_is_a_number_of_seconds(build_exporter: BuildExporter, grace: Any) -> None:
    """
    Anything else is refused where the app is made.
    """
    exporter = Exporter(disabled=True)

    with pytest.raises(ConfigError, match="grace must be a number of seconds from 0"):
        lifespan(exporter, grace=grace)
    with pytest.raises(ConfigError, match="grace must be a number of seconds from 0"):
        ExporterMiddleware(Running.plain, exporter, grace=grace)  # type: ignore[arg-type]
