"""
ASGI: a lifespan for Starlette and FastAPI, and a middleware for any app.

The exporter starts before the app's own startup code and closes after its shutdown code, which
does not begin while calls of the app still end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeAlias, TypeVar, cast, overload

from hh_exporter import Exporter
from hh_exporter.integrations._calls import (
    GRACE,
    App,
    Calls,
    Message,
    Receive,
    Send,
    check_grace,
)
from hh_exporter.integrations._holding import holding, start

__all__ = ["ExporterMiddleware", "lifespan"]

AppT = TypeVar("AppT")

_Lifespan: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[Mapping[str, Any]]]
_Inner: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[Mapping[str, Any] | None]]

_ATTENDED = "hh_exporter.attended"
"""In the scope of a lifespan: a middleware around this one waits for the calls of both."""


@overload
def lifespan(exporter: Exporter, inner: None = None, *, grace: float = GRACE) -> _Lifespan[Any]: ...


@overload
def lifespan(
    exporter: Exporter, inner: _Inner[AppT], *, grace: float = GRACE
) -> _Lifespan[AppT]: ...


def lifespan(
    exporter: Exporter, inner: _Inner[AppT] | None = None, *, grace: float = GRACE
) -> _Lifespan[AppT]:
    """
    Make a lifespan for Starlette or FastAPI that runs *exporter*.

    Requests find it as `request.state.hh_exporter`, also with servers whose lifespan scope has
    no `state`.
    Apps may share an exporter: the last to shut down closes it.

    Args:
        exporter: The exporter.
        inner: The app's own lifespan. It is entered after the exporter starts and left before
            it closes, so what it pushes at its end is sent, too; its state is passed on.
        grace: Seconds to wait at most, before *inner* is left, for requests that have not
            returned, background tasks included; default 3. Other frameworks' apps are not
            waited for: use `ExporterMiddleware`.

    Raises:
        ConfigError: *grace* is not a number of seconds from 0.
    """
    check_grace(grace)

    @asynccontextmanager
    async def run(app: AppT) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(holding(exporter))
            state = await stack.enter_async_context(inner(app)) if inner else None
            own = {"hh_exporter": exporter}
            if getattr(app, "middleware_stack", None) is None:
                yield {**(state or {}), **own}
                return
            # A state of the lifespan is refused where the server's scope has none, which
            # the protocol allows: each request is given it instead.
            with _counted(app, own if state is None else {}) as requests:
                try:
                    yield cast("Mapping[str, Any]", None if state is None else {**state, **own})
                finally:  # also if it is cancelled, together with the requests
                    await requests.returned(exporter._clock, grace)

    return run


@contextmanager
def _counted(app: Any, state: Mapping[str, Any]) -> Iterator[Calls]:
    """
    Count the requests of a Starlette app, and have each find *state* in its own.
    """
    inside: App = app.middleware_stack
    app.middleware_stack = requests = _Requests(inside, state)
    try:
        yield requests
    finally:
        if app.middleware_stack is requests:
            app.middleware_stack = inside


class _Requests(Calls):
    def __init__(self, app: App, state: Mapping[str, Any]) -> None:
        super().__init__(app)
        self._state = state

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._state:
            own = scope.setdefault("state", {})
            for name, value in self._state.items():
                own.setdefault(name, value)
        await super().__call__(scope, receive, send)


class ExporterMiddleware:
    """
    Run an exporter around any ASGI app, as the outermost middleware.

    The app need not speak the lifespan protocol. Where the server sends no lifespan, the first
    request starts the exporter, and nothing closes it: with uvicorn's `--lifespan off` call its
    `install_signal_handlers()` where you create it. daphne replaces these handlers, but leaves
    its event loop open, so that the end of the process sends the rest.

    Args:
        app: The app.
        exporter: The exporter. Apps may share one: the last to shut down closes it.
        grace: Seconds to wait at most, before the app hears of its shutdown, for calls of it
            that have not returned, such as background tasks and open streams; default 3.

    Raises:
        ConfigError: *grace* is not a number of seconds from 0.
    """

    def __init__(self, app: App, exporter: Exporter, *, grace: float = GRACE) -> None:
        check_grace(grace)
        self._app = app
        self._exporter = exporter
        self._grace = grace
        self._calls = Calls(app)
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where the exporter was started."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        is_new, self._loop = self._loop is not loop, loop
        if is_new or scope["type"] == "lifespan":
            self._calls = Calls(self._app)
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if is_new:
            # Not left to the first push, which may come from a thread without a loop.
            await start(self._exporter)
        await self._calls(scope, receive, send)

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        heard: set[str] = set()
        said: set[str] = set()
        calls = self._calls

        async def wait() -> None:
            if _ATTENDED not in scope:
                await calls.returned(self._exporter._clock, self._grace)

        async def hear() -> Message:
            message = await receive()
            heard.add(message["type"])
            if message["type"] == "lifespan.shutdown":
                await wait()
            return message

        async def say(message: Message) -> None:
            said.add(message["type"])
            if message["type"] != "lifespan.startup.complete":
                await stack.aclose()  # before the server hears that it can end
            await send(message)

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(holding(self._exporter))
            stack.push_async_callback(wait)  # if it is cancelled, together with the calls
            try:
                await self._app({**scope, _ATTENDED: True}, hear, say)
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
