"""
ASGI: a lifespan for Starlette and FastAPI, and a middleware for any app.

The exporter starts before the app's own startup code and closes after its shutdown code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeAlias, TypeVar, cast, overload

from hh_exporter import Exporter
from hh_exporter.integrations._holding import holding, start

__all__ = ["ExporterMiddleware", "lifespan"]

AppT = TypeVar("AppT")

_Lifespan: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[Mapping[str, Any]]]
_Inner: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[Mapping[str, Any] | None]]

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Message, _Receive, _Send], Awaitable[None]]


@overload
def lifespan(exporter: Exporter, inner: None = None) -> _Lifespan[Any]: ...


@overload
def lifespan(exporter: Exporter, inner: _Inner[AppT]) -> _Lifespan[AppT]: ...


def lifespan(exporter: Exporter, inner: _Inner[AppT] | None = None) -> _Lifespan[AppT]:
    """
    Make a lifespan for Starlette or FastAPI that runs *exporter*.

    Requests find it as `request.state.hh_exporter`, also with servers whose lifespan scope has
    no `state`.
    Apps may share an exporter: the last to shut down closes it.

    Args:
        exporter: The exporter.
        inner: The app's own lifespan. It is entered after the exporter starts and left before
            it closes, so what it pushes at its end is sent, too; its state is passed on.
    """

    @asynccontextmanager
    async def run(app: AppT) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(holding(exporter))
            state = await stack.enter_async_context(inner(app)) if inner else None
            own = {"hh_exporter": exporter}
            if state is None and getattr(app, "middleware_stack", None) is not None:
                # A state of the lifespan is refused where the server's scope has none, which
                # the protocol allows: each request is given it instead.
                stack.enter_context(_stated(app, own))
                yield cast("Mapping[str, Any]", None)  # Starlette's types know one or the other
            else:
                yield {**(state or {}), **own}

    return run


@contextmanager
def _stated(app: Any, state: Mapping[str, Any]) -> Iterator[None]:
    """
    Have each request of a Starlette app find *state* in its own, within the block.
    """
    inside: _App = app.middleware_stack

    async def stack(scope: _Message, receive: _Receive, send: _Send) -> None:
        own = scope.setdefault("state", {})
        for name, value in state.items():
            own.setdefault(name, value)
        await inside(scope, receive, send)

    app.middleware_stack = stack
    try:
        yield
    finally:
        if app.middleware_stack is stack:
            app.middleware_stack = inside


class ExporterMiddleware:
    """
    Run an exporter around any ASGI app, as the outermost middleware.

    The app need not speak the lifespan protocol. Where the server sends no lifespan, such as
    uvicorn with `--lifespan off`, the first request starts the exporter, and nothing closes
    it: in that case call its `install_signal_handlers()` where you create it.

    Args:
        app: The app.
        exporter: The exporter. Apps may share one: the last to shut down closes it.
    """

    def __init__(self, app: _App, exporter: Exporter) -> None:
        self._app = app
        self._exporter = exporter
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where the exporter was started."""

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        loop = asyncio.get_running_loop()
        is_new, self._loop = self._loop is not loop, loop
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if is_new:
            # Not left to the first push, which may come from a thread without a loop.
            await start(self._exporter)
        await self._app(scope, receive, send)

    async def _live(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        heard: set[str] = set()
        said: set[str] = set()

        async def hear() -> _Message:
            message = await receive()
            heard.add(message["type"])
            return message

        async def say(message: _Message) -> None:
            said.add(message["type"])
            if message["type"] != "lifespan.startup.complete":
                await stack.aclose()  # before the server hears that it can end
            await send(message)

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(holding(self._exporter))
            try:
                await self._app(scope, hear, say)
            except Exception:
                if heard:
                    self._loop = None  # the server may go on; the next request starts it again
                    raise
            # What the app left unsaid, such as all of it.
            for stage in ("lifespan.startup", "lifespan.shutdown"):
                if f"{stage}.failed" in said:
                    return
                if stage not in heard:
                    await hear()
                if f"{stage}.complete" not in said:
                    await say({"type": f"{stage}.complete"})
