"""
The calls of an ASGI app that have not returned, each with what it does after its response.

A server may end an app while they run: uvicorn cancels them and goes on at once, others wait for
responses only, not for background tasks. Every call is counted from before its first step until
it returns or raises: once none is open, nothing in the app pushes any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock, Deadline
from hh_exporter._settings.kinds import seconds

__all__ = ["GRACE", "App", "Calls", "Message", "Receive", "Send", "check_grace"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

GRACE: Final = 3.0
"""Seconds to wait for open calls, unless told otherwise."""


def check_grace(grace: float) -> None:
    """
    Raise ConfigError unless *grace* is a duration.
    """
    seconds(zero=True).check("grace", grace)


class Calls:
    """
    An ASGI app, and the number of its calls that have not returned.

    Belongs to one event loop: a call never returns once its loop has stopped.

    Args:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self.app: App = app  # as other middlewares name it: frameworks look through
        self._open = 0
        self._bell: Bell | None = None
        self._deadline: Deadline | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._open -= 1
            if not self._open and self._bell is not None:
                self._bell.ring()

    async def returned(self, clock: Clock, grace: float) -> None:
        """
        Wait until none is open, for *grace* seconds at most, counted from the first such call.
        """
        if self._open:
            now = clock.now()
            self._deadline = self._deadline or Deadline(now + grace, now)
            self._bell = Bell(clock)
            await self._bell.wait_within(self._deadline)
