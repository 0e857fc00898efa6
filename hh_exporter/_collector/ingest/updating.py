"""
PUT /events and PUT /v1/events/{event_id}: update an event that was sent before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web
from attrs import frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.ingest.validation import EVENT_UPDATE, V1_EVENT_UPDATE
from hh_exporter._collector.storage.updates import NoRootError, TooLargeError, UnknownEventError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hh_exporter._collector.ingest.calls import Call, Calls
    from hh_exporter._collector.storage.store import Store

__all__ = ["Updating"]

Json: TypeAlias = dict[str, Any]


@frozen
class Updating:
    """
    The handlers, around the store that they change.
    """

    store: Store
    calls: Calls
    note: Callable[[Json], None]
    """Called with each update that was made, its `event_id` included."""

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve them.
        """
        app.router.add_put("/events", self.calls.taking(EVENT_UPDATE, self.update_event))
        v1 = self.calls.taking(V1_EVENT_UPDATE, self.update_v1_event)
        app.router.add_put("/v1/events/{event_id}", v1)

    async def update_event(self, call: Call[Json]) -> web.Response:
        """
        Update the event or session that the body names.
        """
        return await self._update(call.body["event_id"], call.body)

    async def update_v1_event(self, call: Call[Json]) -> web.Response:
        """
        Update the event or session that the path names.
        """
        return await self._update(call.request.match_info["event_id"], call.body)

    async def _update(self, event_id: str, said: Json) -> web.Response:
        try:
            await self.store.update(event_id, said)
        except UnknownEventError as exc:
            raise web.HTTPNotFound(text=str(exc)) from None
        except NoRootError as exc:
            raise web.HTTPBadRequest(text=str(exc)) from None
        except TooLargeError as exc:
            raise web.HTTPRequestEntityTooLarge(0, 0, text=str(exc)) from None
        self.note({**said, "event_id": event_id})
        return json_answer({"success": True})
