"""
The limit on open connections.

There is always room for one more: the connection whose last request is the oldest
is cut for it. So no client keeps others out by sending slowly, sending nothing, or
not reading.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.typedefs import Handler

__all__ = ["MAX_CONNECTIONS", "Connections"]

MAX_CONNECTIONS = 512


@define(eq=False)
class Connections:
    """
    Makes the connections of *server*, which must be set before the first.
    """

    server: web.Server | None = None
    _asked: dict[web.RequestHandler, int] = field(factory=dict, init=False)
    """For each that has asked for something, in which place it did so last."""
    _places: Iterator[int] = field(factory=lambda: count(1), init=False)

    def __call__(self) -> web.RequestHandler:
        """
        Make a connection, and cut one if there are MAX_CONNECTIONS.
        """
        assert self.server is not None  # noqa: S101
        alive = {
            connection: transport
            for connection in self.server.connections
            if (transport := connection.transport) is not None and not transport.is_closing()
        }
        self._asked = {one: place for one, place in self._asked.items() if one in alive}
        if len(alive) >= MAX_CONNECTIONS:
            alive[min(alive, key=lambda one: self._asked.get(one, 0))].abort()
        return self.server()

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """
        Remember that the connection of *request* asked for something.
        """
        self._asked[request.protocol] = next(self._places)
        return await handler(request)
