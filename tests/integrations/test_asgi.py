"""
An ASGI app's exporter runs before its startup code and until after its shutdown code.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from fastapi import FastAPI, Request

from hh_exporter import Exporter, ModelEvent
from hh_exporter.integrations.asgi import ExporterMiddleware, lifespan
from tests.conftest import BuildExporter
from tests.programs import run_program
from tests.scripted_server import ScriptedServer
from tests.sites import served, serving
from tests.support import in_thread, push_all

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class Broken(Exporter):
    """
    An exporter that can neither start nor close, and says why.
    """

    async def start(self) -> None:
        raise RuntimeError("hh_secret")

    async def aclose(self, timeout: float | None = None) -> Any:
        raise RuntimeError("hh_secret")


async def get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


def is_closed(exporter: Exporter) -> bool:
    return exporter.stats().health == "closed"


# lifespan.


async def test_the_last_events_of_the_apps_own_lifespan_are_delivered(
    server: ScriptedServer, build_exporter: BuildExporter
) -> None:
    """
    The app's own lifespan has the exporter at both of its ends, and its state stays.
    """
    exporter = build_exporter()

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        push_all(exporter, "first")
        yield {"name": "own"}
        push_all(exporter, "last")

    app = FastAPI(lifespan=lifespan(exporter, own))

    @app.get("/")
    async def root(request: Request) -> str:
        push_all(request.state.hh_exporter, "middle")
        return str(request.state.name)

    async with served(app, lifespan="on") as url:
        assert await get(url) == '"own"'

    assert server.created_ids == ["first", "middle", "last"]
    assert is_closed(exporter)


@pytest.mark.parametrize("has_state", [True, False])
async def test_an_app_starts_where_the_server_knows_no_state(
    server: ScriptedServer, build_exporter: BuildExporter, *, has_state: bool
) -> None:
    """
    The protocol lets a server leave `state` out: requests find the exporter all the same.
    """
    exporter = build_exporter()
    app = FastAPI(lifespan=lifespan(exporter))
    stack = app.middleware_stack = app.build_middleware_stack()
    found: list[object] = []

    @app.get("/")
    async def root(request: Request) -> None:
        found.append(request.state.hh_exporter)

    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}}
    state: dict[str, Any] = {"state": {}} if has_state else {}
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(app({**scope, **state}, inbox.get, said.put))
    await inbox.put({"type": "lifespan.startup"})
    assert await said.get() == {"type": "lifespan.startup.complete"}

    request = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await app({**request, **state}, inbox.get, said.put)
    await inbox.put({"type": "lifespan.shutdown"})
    await life

    assert found == [exporter]
    assert app.middleware_stack is stack
    assert is_closed(exporter)


@pytest.mark.parametrize("where", ["startup", "shutdown"])
@pytest.mark.parametrize("is_broken", [False, True])
async def test_what_the_apps_own_lifespan_raises_goes_on(
    build_exporter: BuildExporter,
    caplog: pytest.LogCaptureFixture,
    where: str,
    *,
    is_broken: bool,
) -> None:
    """
    The exporter is closed all the same, and if it can't be, that hides nothing and shows no text.
    """
    exporter = Broken(disabled=True) if is_broken else build_exporter()

    @asynccontextmanager
    async def own(app: object) -> AsyncIterator[None]:
        if where == "startup":
            raise ValueError("the app's")
        yield
        raise ValueError("the app's")

    with pytest.raises(ValueError, match="the app's"):
        async with lifespan(exporter, own)(None):
            pass

    assert is_closed(exporter) or is_broken
    assert [record.getMessage() for record in caplog.records] == (
        [
            f"hh_exporter: the exporter could not be {done}: RuntimeError"
            for done in ("started", "closed")
        ]
        if is_broken
        else []
    )


async def test_apps_that_share_an_exporter_keep_it_open(
    server: ScriptedServer, build_exporter: BuildExporter
) -> None:
    """
    The first app to shut down leaves it to the other, which closes it.
    """
    exporter = build_exporter()

    async with lifespan(exporter)("one"):
        async with lifespan(exporter)("other"):
            push_all(exporter, "e0")
        push_all(exporter, "e1")

    assert server.created_ids == ["e0", "e1"]
    assert is_closed(exporter)


async def test_an_app_can_be_started_again(server: ScriptedServer) -> None:
    """
    Each of its lives, in an event loop of its own, delivers what it pushed.
    """
    exporter = Exporter(base_url=server.url)
    run = lifespan(exporter)

    for event_id in ("e0", "e1"):

        async def live(event_id: str = event_id) -> None:
            async with run(None):
                push_all(exporter, event_id)

        await in_thread(live)

    assert server.created_ids == ["e0", "e1"]


async def test_an_app_of_a_forked_child_is_its_own(server: ScriptedServer) -> None:
    """
    That its parent's app holds the exporter keeps the child's open no longer than its app.
    """
    source = """
        from hh_exporter.integrations.asgi import lifespan
        run = lifespan(exporter)

        async def live(name):
            async with run(None):
                push(name)
            say(name, exporter.stats().health)

        with asyncio.Runner() as runner:
            parents = run(None)
            runner.run(parents.__aenter__())
            if not os.fork():
                asyncio.run(live("child"))
                os._exit(0)
            os.wait()
            runner.run(parents.__aexit__(None, None, None))
    """

    done = await run_program(source, server.url)

    assert (done.status, done.stdout, done.stderr) == (0, "child closed\n", "")
    assert server.created_ids == ["child"]


# ExporterMiddleware.


async def speaks(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


async def raises_at_once(receive: Receive, send: Send) -> None:
    raise ValueError("only http")


async def returns_at_once(receive: Receive, send: Send) -> None: ...


async def leaves_after_its_startup(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})


async def listens_on(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


def pushing(exporter: Exporter, live: Callable[[Receive, Send], Awaitable[None]]) -> App:
    """
    Make an app that pushes the path of each request, in a thread.
    """

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        event = ModelEvent(model="m", event_id=scope["path"][1:])
        assert await asyncio.to_thread(exporter.push, event)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize(
    "live", [speaks, raises_at_once, returns_at_once, leaves_after_its_startup, listens_on]
)
async def test_any_app_delivers_what_it_pushed(
    server: ScriptedServer, build_exporter: BuildExporter, live: Any
) -> None:
    """
    However much of the lifespan protocol an app speaks, it is served, and its exporter closed.
    """
    exporter = build_exporter()
    app = ExporterMiddleware(pushing(exporter, live), exporter)

    async with served(app, lifespan="on") as url:
        await get(f"{url}/e0")
        assert not is_closed(exporter)

    assert server.created_ids == ["e0"]
    assert is_closed(exporter)


async def test_the_exporter_is_closed_before_the_server_hears_that_the_app_has_ended(
    build_exporter: BuildExporter,
) -> None:
    """
    Whether the app ends well or not, what it pushed last is sent while the server waits.
    """
    exporter = build_exporter()
    heard: list[tuple[str, bool]] = []

    async def run(*words: str) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            for word in words:
                await receive()
                await send({"type": word})

        async def receive() -> Message:
            return {"type": "lifespan.startup" if not heard else "lifespan.shutdown"}

        async def send(message: Message) -> None:
            heard.append((message["type"], is_closed(exporter)))

        heard.clear()
        await ExporterMiddleware(app, exporter)({"type": "lifespan"}, receive, send)

    await run("lifespan.startup.complete", "lifespan.shutdown.complete")
    assert heard == [("lifespan.startup.complete", False), ("lifespan.shutdown.complete", True)]
    await run("lifespan.startup.complete", "lifespan.shutdown.failed")
    assert heard == [("lifespan.startup.complete", False), ("lifespan.shutdown.failed", True)]
    await run("lifespan.startup.failed")
    assert heard == [("lifespan.startup.failed", True)]


@pytest.mark.parametrize("word", [None, "lifespan.startup.complete"])
async def test_an_app_whose_lifespan_breaks_off_is_served_on(
    server: ScriptedServer, build_exporter: BuildExporter, word: str | None
) -> None:
    """
    What it raises goes on to the server, which serves it all the same; so does the exporter.
    """
    exporter = build_exporter()

    async def breaks_off(receive: Receive, send: Send) -> None:
        await receive()
        if word is not None:
            await send({"type": word})
        raise ValueError("the app's")

    app = ExporterMiddleware(pushing(exporter, breaks_off), exporter)

    async with served(app) as url:
        await get(f"{url}/e0")
    await exporter.aclose()

    assert server.created_ids == ["e0"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_first_scope_starts_the_exporter_without_a_lifespan(
    server: ScriptedServer, build_exporter: BuildExporter, kind: str
) -> None:
    """
    Where no lifespan is ever sent, what a request pushes from a thread goes out nevertheless.
    """
    exporter = build_exporter()
    app = ExporterMiddleware(pushing(exporter, speaks), exporter)

    async def receive() -> Message:
        return {"type": f"{kind}.disconnect"}

    async def send(message: Message) -> None: ...

    for path in ("/e0", "/e1"):
        await app({"type": kind, "path": path}, receive, send)
    assert exporter.stats().health == "ok"
    await exporter.aclose()

    assert server.created_ids == ["e0", "e1"]


async def test_a_request_does_not_open_what_the_lifespan_has_closed(
    build_exporter: BuildExporter,
) -> None:
    """
    A straggler after the end of the app is counted, and brings nothing back to life.
    """
    exporter = build_exporter()
    app = ExporterMiddleware(pushing(exporter, returns_at_once), exporter)
    async with served(app):
        pass

    with pytest.raises(AssertionError):
        await app({"type": "websocket", "path": "/e0"}, asyncio.Event().wait, print)  # type: ignore[arg-type]

    assert exporter.stats().dropped_by_reason == {"closed": 1}


async def test_an_app_within_the_middleware_may_have_the_lifespan_too(
    server: ScriptedServer, build_exporter: BuildExporter
) -> None:
    """
    The exporter closes once, when the outer of both lets go.
    """
    exporter = build_exporter()
    app = FastAPI(lifespan=lifespan(exporter))
    app.add_middleware(ExporterMiddleware, exporter=exporter)

    async with served(app, lifespan="on"):
        push_all(exporter, "e0")

    assert server.created_ids == ["e0"]
    assert is_closed(exporter)


# Real processes; the recipes are such, too.

OFF = """
from hh_exporter import Exporter
from hh_exporter.integrations.asgi import ExporterMiddleware
from urllib.parse import parse_qs

exporter = Exporter()
exporter.install_signal_handlers()

async def served(scope, receive, send):
    question = parse_qs(scope["query_string"].decode())["question"][0]
    with exporter.record(model="m", messages=[{"role": "user", "content": question}]):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

app = ExporterMiddleware(served, exporter)
"""


async def test_signal_handlers_do_without_a_lifespan(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    With `--lifespan off` nobody closes the exporter; what was answered arrives all the same.
    """

    def command(fd: int) -> list[str]:
        options = ["--lifespan", "off", "--log-level", "critical"]
        return ["-m", "uvicorn", "app:app", "--fd", str(fd), *options]

    async with serving(server, tmp_path, OFF, command) as site:
        await site.busy()
        site.program.send(signal.SIGTERM)

    assert {event["messages"][0]["content"] for event in server.created} >= site.answered.keys()
    assert not server.duplicates()
    assert site.done.stderr == ""
