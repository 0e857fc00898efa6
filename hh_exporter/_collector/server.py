"""
The collector as a whole: one database, one listening socket.

Whatever start() opened, aclose() closes, in the opposite order.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import web
from attrs import define, field, frozen

from hh_exporter._clock import Clock, SystemClock
from hh_exporter._collector.connections import Connections
from hh_exporter._collector.guard import Guard
from hh_exporter._collector.ingest.bodies import Bodies
from hh_exporter._collector.ingest.faults import FaultInjector, Faults
from hh_exporter._collector.routes import Routes
from hh_exporter._collector.storage.retention import Retention
from hh_exporter._collector.storage.store import Store
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ["Collector", "StoredEvent", "StoredSession"]

_SHUTDOWN_TIMEOUT = 0.5
_KEEPALIVE_TIMEOUT = 75.0
_UNHEARD = logging.Logger("aiohttp.server", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy
"""For what aiohttp has to say of bad requests, which it quotes."""
_BACKLOG = 128


@frozen(kw_only=True)
class StoredEvent:
    """
    An event as the collector has it.
    """

    event: dict[str, Any] = field(repr=False)
    """What was sent, with what updates said of it since."""
    event_id: str
    """Its own id, or the one that it was given."""
    session_id: str = ""
    """The session it belongs to: its own, its request's, or one made for it."""
    path: str
    """The route that took it."""
    time: int
    """When it arrived, in Unix milliseconds."""


@frozen(kw_only=True)
class StoredSession:
    """
    A session that a request named, or that was created for an event.
    """

    session_id: str
    properties: dict[str, Any] = field(repr=False)
    """Its properties as requests gave them; {} if none did."""
    time: int
    """When it was first seen, in Unix milliseconds."""


@define(eq=False, kw_only=True)
class Collector:
    """
    A HoneyHive-compatible server for tests, demos and the developer's machine.

    Events are stored in the SQLite file *db*, which is created if it is missing;
    without one they are gone after `aclose`. The newest *max_events* are kept, as far as
    they fit into *max_bytes*, and none older than *max_age* seconds; None for no bound.
    Port 0 takes a free one.
    """

    db: Path | str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    """The key that requests must have; None if they need none."""
    max_events: int | None = 100_000
    """How many events are kept, the newest; None: all."""
    max_age: float | None = None
    """Seconds that an event is kept; None: for ever."""
    max_bytes: int | None = 2**30
    """What is stored may take so much of the file, but for the newest event; None: no bound."""
    faults: Faults = field(factory=Faults)
    """The faults at the start."""
    clock: Clock = field(factory=SystemClock, repr=False)
    random: Callable[[], float] = field(default=random.random, repr=False)
    """Decides which requests get a fault."""
    script: Callable[[], str | None] = field(default=lambda: None, repr=False)
    """Says the fault of the next request; None leaves it to chance."""
    note_update: Callable[[dict[str, Any]], None] = field(default=lambda _: None, repr=False)
    """Called with each update that was made: what was sent, and its `event_id`."""
    _store: Store | None = field(default=None, init=False, repr=False)
    _url: str = field(default="", init=False, repr=False)
    _cleanup: AsyncExitStack = field(factory=AsyncExitStack, init=False, repr=False)
    _serving: AsyncExitStack = field(factory=AsyncExitStack, init=False, repr=False)
    """The part of the cleanup that ends before the database is closed."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    @property
    def url(self) -> str:
        """
        The address to send to, such as "http://127.0.0.1:40123".
        """
        self._running_store()
        return self._url

    async def start(self) -> None:
        """
        Open the database and listen, unless that is done already.

        Raises `ExporterError` if either is impossible, and holds neither then.
        """
        if self._store is not None:
            return
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                Store.open(self.db, Retention(self.max_events, self.max_age, self.max_bytes))
            )
            bodies = Bodies(self.clock)
            connections = Connections()
            routes = Routes(
                store=store,
                clock=self.clock,
                bodies=bodies,
                guard=Guard(self.host, self.api_key, self.clock, bodies),
                faults=FaultInjector(self.clock, self.random, self.faults, self.script),
                connections=connections,
                note_update=self.note_update,
            )
            runner = web.AppRunner(
                routes.application(),
                access_log=None,
                auto_decompress=False,  # by aiohttp it would have no bound
                handle_signals=False,
                keepalive_timeout=_KEEPALIVE_TIMEOUT,
                logger=_UNHEARD,
                shutdown_timeout=_SHUTDOWN_TIMEOUT,
            )
            serving = await stack.enter_async_context(AsyncExitStack())
            serving.push_async_callback(runner.cleanup)
            await runner.setup()
            connections.server = runner.server
            try:
                listener = await asyncio.get_running_loop().create_server(
                    connections, self.host, self.port, backlog=_BACKLOG
                )
            except OSError as exc:
                raise ExporterError(
                    f"can't listen on {self.host}, port {self.port} ({exc.strerror}): "
                    "choose another host or port, or port 0 for any free port"
                ) from exc
            serving.callback(listener.close)
            self._store = store
            self._url = _url(*listener.sockets[0].getsockname()[:2])
            self._serving = serving
            self._cleanup = stack.pop_all()

    async def stop(self) -> None:
        """
        Finish the requests at hand and take no more; what is stored can be read until `aclose`.
        """
        await self._serving.aclose()

    async def aclose(self) -> None:
        """
        Finish the requests at hand, then let go of port and database.
        """
        self._store = None
        await self._cleanup.aclose()

    async def count(self) -> int:
        """
        Count the stored events.
        """
        return await self._running_store().count()

    async def events(self) -> AsyncIterator[StoredEvent]:
        """
        Read the events that are stored now, in order of arrival.
        """
        async for rows in self._running_store().events():
            for row in rows:
                yield StoredEvent(
                    event=orjson.loads(row.event),
                    event_id=row.event_id,
                    session_id=row.session_id,
                    path=row.path,
                    time=row.time,
                )

    async def sessions(self) -> AsyncIterator[StoredSession]:
        """
        Read the sessions that are known now, in the order in which they were first seen.
        """
        async for rows in self._running_store().sessions():
            for row in rows:
                yield StoredSession(
                    session_id=row.session_id,
                    properties=orjson.loads(row.properties),
                    time=row.time,
                )

    def _running_store(self) -> Store:
        if self._store is None:
            raise ExporterError("the collector is not running: enter it, or await start()")
        return self._store


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
