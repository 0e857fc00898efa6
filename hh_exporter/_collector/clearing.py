"""
DELETE /api/events: delete everything that is stored.

It takes no filter: a parameter that would be ignored is an error, and nothing is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from attrs import frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.query.parameters import refuse

if TYPE_CHECKING:
    from hh_exporter._collector.storage.store import Store

__all__ = ["Clearing"]


@frozen
class Clearing:
    """
    The handler, around the store that it empties.
    """

    store: Store

    def add_to(self, app: web.Application) -> None:
        """
        Serve it in *app*.
        """
        app.router.add_delete("/api/events", self.clear)

    async def clear(self, request: web.Request) -> web.Response:
        """
        Delete all events and sessions that are there, and say how many events that were.
        """
        if request.query:
            refuse("must be empty: all events are deleted, never some")
        return json_answer({"deleted": await self.store.clear()})
