"""
aiohttp's server: a cleanup context.

Not `on_shutdown`: handlers still run then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from hh_exporter import Exporter
from hh_exporter.integrations._holding import holding

__all__ = ["EXPORTER", "cleanup_ctx"]

EXPORTER = web.AppKey("hh_exporter", Exporter)
"""Where handlers find the exporter: `request.app[EXPORTER]`."""


def cleanup_ctx(exporter: Exporter) -> Callable[[web.Application], AsyncIterator[None]]:
    """
    Make a cleanup context that runs *exporter*; the app's first, so that it ends last.

    It closes after the app's own contexts and after what is in `on_cleanup`. If one of these
    raises, aiohttp skips the rest: then what is queued is sent when the event loop ends.
    Apps may share an exporter: the last to shut down closes it.
    """

    async def run(app: web.Application) -> AsyncIterator[None]:
        if app.get(EXPORTER) is not exporter:
            app[EXPORTER] = exporter
        stack = AsyncExitStack()
        await stack.enter_async_context(holding(exporter))
        # That of a sub-app is frozen already, and that of an app which runs again.
        goes_last = not app.on_cleanup.frozen
        if goes_last:
            app.on_cleanup.append(lambda _: stack.aclose())
        try:
            yield
        finally:
            # Still not frozen: the startup failed, and none of on_cleanup will be called.
            if not (goes_last and app.on_cleanup.frozen):
                await stack.aclose()

    return run
