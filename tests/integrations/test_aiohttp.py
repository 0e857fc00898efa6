"""
An aiohttp app's exporter closes after all of the app's own cleanup.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hh_exporter import Exporter
from hh_exporter.integrations.aiohttp import EXPORTER, cleanup_ctx
from tests.conftest import BuildExporter
from tests.programs import run_program
from tests.scripted_server import ScriptedServer
from tests.support import push_all


@pytest.fixture
def exporter(build_exporter: BuildExporter) -> Exporter:
    return build_exporter()


def pushes() -> web.Application:
    """
    Make an app that pushes in a context, at its shutdown, and for each request.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        push_all(app[EXPORTER], "context begins")
        yield
        push_all(app[EXPORTER], "context ends")

    async def shutdown(app: web.Application) -> None:
        push_all(app[EXPORTER], "shutdown")

    async def handle(request: web.Request) -> web.Response:
        push_all(request.config_dict[EXPORTER], "request")
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handle)
    app.cleanup_ctx.append(context)
    app.on_shutdown.append(shutdown)
    return app


def is_closed(exporter: Exporter) -> bool:
    return exporter.stats().health == "closed"


async def ask(app: web.Application, path: str = "/") -> None:
    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        assert answer.status == 200


async def test_what_every_hook_pushes_is_delivered(
    server: ScriptedServer, exporter: Exporter
) -> None:
    """
    From the first context to the last of on_cleanup the exporter takes events.
    """

    async def cleanup(app: web.Application) -> None:
        push_all(app[EXPORTER], "cleanup")

    app = pushes()
    app.cleanup_ctx.insert(0, cleanup_ctx(exporter))
    app.on_cleanup.append(cleanup)

    await ask(app)

    assert server.created_ids == [
        *("context begins", "request", "shutdown", "context ends", "cleanup")
    ]
    assert is_closed(exporter)


async def test_a_sub_app_may_have_the_exporter(server: ScriptedServer, exporter: Exporter) -> None:
    """
    That of a sub-app closes with its contexts.
    """
    app, sub_app = web.Application(), pushes()
    sub_app.cleanup_ctx.insert(0, cleanup_ctx(exporter))
    app.add_subapp("/sub", sub_app)

    await ask(app, "/sub/")

    assert server.created_ids == ["context begins", "request", "shutdown", "context ends"]
    assert is_closed(exporter)


async def test_apps_that_share_an_exporter_keep_it_open(
    server: ScriptedServer, exporter: Exporter
) -> None:
    """
    The first app to end leaves it to the other, which closes it.
    """
    app, other = pushes(), web.Application()
    for each in (app, other):
        each.cleanup_ctx.insert(0, cleanup_ctx(exporter))

    async with TestServer(other):
        await ask(app)
        push_all(exporter, "later")

    assert server.created_ids[-2:] == ["context ends", "later"]
    assert is_closed(exporter)


async def test_an_app_can_run_again(server: ScriptedServer, exporter: Exporter) -> None:
    """
    A second run of the same app starts the exporter again, and closes it again.
    """
    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx(exporter))

    for event_id in ("e0", "e1"):
        runner = web.AppRunner(app)
        await runner.setup()
        push_all(exporter, event_id)
        await runner.cleanup()

    assert server.created_ids == ["e0", "e1"]
    assert is_closed(exporter)


async def test_a_startup_that_fails_closes_the_exporter(
    server: ScriptedServer, exporter: Exporter
) -> None:
    """
    What the app raises goes on, and what it pushed before is delivered.
    """

    async def fail(app: web.Application) -> None:
        push_all(exporter, "e0")
        raise ValueError("the app's")

    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx(exporter))
    app.on_startup.append(fail)
    runner = web.AppRunner(app)

    with pytest.raises(ValueError, match="the app's"):
        await runner.setup()
    await runner.cleanup()

    assert server.created_ids == ["e0"]
    assert is_closed(exporter)


async def test_a_cleanup_that_fails_costs_no_event(server: ScriptedServer) -> None:
    """
    Where aiohttp calls no further cleanup, run_app's end of the loop sends what is queued.
    """
    source = """
        from aiohttp import web
        from hh_exporter.integrations.aiohttp import cleanup_ctx

        async def fail(app):
            push("last")
            raise ValueError("the app's")

        async def end(app):
            push("first")
            signal.raise_signal(signal.SIGTERM)

        app = web.Application()
        app.cleanup_ctx.append(cleanup_ctx(exporter))
        app.on_startup.append(end)
        app.on_cleanup.append(fail)
        web.run_app(app, port=0, print=None)
    """

    done = await run_program(source, server.url)

    assert server.created_ids == ["first", "last"]
    assert done.stderr.endswith("\nValueError: the app's\n")
