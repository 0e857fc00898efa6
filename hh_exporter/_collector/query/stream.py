"""
GET /api/stream: new events as they arrive, as server-sent events.

Nothing is queued for a reader: it gets what the database has when it is ready for
more, so that a slow one costs nothing and misses no count.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web
from attrs import define, field

from hh_exporter._collector.query.news import tell
from hh_exporter._collector.query.parameters import (
    FILTERS,
    at_least,
    read_filter,
    read_query,
    refuse,
)

if TYPE_CHECKING:
    from hh_exporter._clock import Clock
    from hh_exporter._collector.query.news import News
    from hh_exporter._collector.storage.filters import Filter
    from hh_exporter._collector.storage.store import Store

__all__ = ["Stream"]

_MAX_STREAMS: Final = 32
_PAUSE: Final = 0.2
"""Seconds between two messages, at least."""
_HEARTBEAT: Final = 15.0
_PATIENCE: Final = 30.0
"""Seconds in which a reader must take what it is sent."""
_AFTER: Final = at_least(0)


@define(eq=False)
class Stream:
    """
    The handler, and how many it serves.
    """

    store: Store
    clock: Clock
    _readers: set[asyncio.Transport] = field(factory=set, init=False)
    _closing: asyncio.Event = field(factory=asyncio.Event, init=False)

    def add_to(self, app: web.Application) -> None:
        """
        Serve it in *app*, until that shuts down.
        """
        app.router.add_get("/api/stream", self.follow, allow_head=False)
        app.on_shutdown.append(self._close)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """
        Send what arrives after the event that the reader knows, else from now on.
        """
        values = read_query(request.query, FILTERS | {"after": _AFTER})
        after = _last_event_id(request) if "Last-Event-ID" in request.headers else None
        if after is None:
            after = values.get("after")
        wanted = read_filter(values)
        reader = request.transport
        if reader is None:
            return web.Response()  # it went away, so that no one sees this
        # A stream ends late after its reader went away: at the next word to it.
        if sum(not reader.is_closing() for reader in self._readers) >= _MAX_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"there are {_MAX_STREAMS} streams already")
        self._readers.add(reader)
        try:
            return await self._serve(request, reader, wanted, after)
        finally:
            self._readers.remove(reader)

    async def _serve(
        self, request: web.Request, reader: asyncio.Transport, wanted: Filter, after: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        try:
            await self._tell(response, wanted, after)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader went away
        except TimeoutError:
            reader.abort()  # else aiohttp would wait for it to read on
        return response

    async def _tell(self, response: web.StreamResponse, wanted: Filter, after: int | None) -> None:
        known = await tell(self.store, wanted, None, None)
        # Beyond the end: that was another database.
        after = known.last if after is None or after > known.last else after
        await self._greet(response, known, after)
        while not self._closing.is_set():
            rung = self.store.bell.next()
            new = await tell(self.store, wanted, after, known.updates)
            if new.store != known.store:
                await self._greet(response, new, new.last)
            after, known = new.last, new
            if new.events or new.skipped:
                data = {"events": new.events, "skipped": new.skipped}
                await self._write(response, _message("events", after, data))
            if new.changed != []:
                data = {"events": new.changed}
                await self._write(response, _message("updates", after, data))
            await self._wait(self._closing, _PAUSE)
            if not await self._wait(rung, _HEARTBEAT):
                await self._write(response, b": still here\nid: %d\n\n" % after)

    async def _greet(self, response: web.StreamResponse, known: News, after: int) -> None:
        data = {"store": known.store, "last": known.last}
        await self._write(response, _message("hello", after, data))

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        async with self.clock.timeout_at(self.clock.now() + _PATIENCE):
            await response.write(data)

    async def _wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            async with self.clock.timeout_at(self.clock.now() + seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    async def _close(self, _: web.Application) -> None:
        self._closing.set()
        self.store.bell.ring()


def _last_event_id(request: web.Request) -> int | None:
    text = request.headers["Last-Event-ID"]
    try:
        return int(_AFTER(text)) if text else None
    except ValueError as exc:
        refuse(f"Last-Event-ID: {exc}")


def _message(event: str, row_id: int, data: dict[str, Any]) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (event.encode(), row_id, orjson.dumps(data))
