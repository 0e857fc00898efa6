"""
What the collector was sent, in SQLite.

One thread owns the connection, and the loop only waits for it. No row is ever
removed, and none of an event changed: their order is the order of arrival.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, TypeVar

import orjson
from attrs import define, field, frozen

from hh_exporter._collector.encoding import encode
from hh_exporter._collector.sessions import merged
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

__all__ = ["EventRow", "SessionRow", "Store"]

T = TypeVar("T")

_APPLICATION_ID = int.from_bytes(b"hhco", "big")
_VERSION = 2
_PAGE_BYTES = 2**20
_ROW_BYTES = 2**8  # about what a row has beside its text

# Ids have no gaps, and count(*) would read the whole file.
_LAST_EVENT = "SELECT coalesce(max(id), 0) FROM events"
_LAST_SESSION = "SELECT coalesce(max(id), 0) FROM sessions"
_EVENTS = (
    "SELECT id, CAST(event AS BLOB), event_id, session_id, path, time "
    "FROM events WHERE id > ? AND id <= ? ORDER BY id"
)
_SESSIONS = (
    "SELECT id, CAST(properties AS BLOB), session_id, time "
    "FROM sessions WHERE id > ? AND id <= ? ORDER BY id"
)


@frozen
class EventRow:
    """
    One stored event.
    """

    event: bytes = field(repr=False)
    """Its JSON text."""
    event_id: str
    session_id: str
    path: str
    """The route that took it."""
    time: int
    """When it arrived, in Unix milliseconds."""


@frozen
class SessionRow:
    """
    One session.
    """

    properties: bytes = field(repr=False)
    """The JSON text of what is said of it."""
    session_id: str
    time: int
    """When it was first seen, in Unix milliseconds."""


@define(eq=False)
class Store:
    """
    The rows of one database file, or of a temporary one.
    """

    _path: Path | str | None
    _thread: ThreadPoolExecutor
    _connection: sqlite3.Connection = field(init=False)
    _cleanup: ExitStack = field(factory=ExitStack, init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path | str | None) -> AsyncIterator[Store]:
        """
        Open the database at *path*, or a temporary one, until the block ends.

        Raises `ExporterError` if the file can't be written or is not the
        collector's; it is left as it was.
        """
        store = cls(path, ThreadPoolExecutor(1, "hh-collector-store"))
        try:
            await store._run(store._open)
            yield store
        finally:
            await asyncio.shield(store._close())

    async def add(self, events: Sequence[EventRow], session: SessionRow | None = None) -> None:
        """
        Commit *events*, their sessions, and what is said of *session*, in one transaction.

        All of it or, if cancelled, maybe nothing.
        """
        await self._run(self._add, events, session)

    async def count(self) -> int:
        """
        Count the events.
        """
        return await self._run(self._last, _LAST_EVENT)

    def events(self) -> AsyncIterator[list[EventRow]]:
        """
        Read the events that are there when it begins, in order, about a megabyte at a time.
        """
        return self._pages(EventRow, _EVENTS, _LAST_EVENT)

    def sessions(self) -> AsyncIterator[list[SessionRow]]:
        """
        Read the sessions that are there when it begins, in the same way.
        """
        return self._pages(SessionRow, _SESSIONS, _LAST_SESSION)

    async def _pages(self, row: Callable[..., T], query: str, last: str) -> AsyncIterator[list[T]]:
        after, until = 0, await self._run(self._last, last)
        while True:
            after, rows = await self._run(self._page, row, query, after, until)
            if not rows:
                return
            yield rows

    async def _close(self) -> None:
        await self._run(self._cleanup.close)
        await asyncio.to_thread(self._thread.shutdown)  # joins it: not for the loop to wait

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _open(self) -> None:
        try:
            # SQLite names, makes and removes a temporary file itself.
            connection = sqlite3.connect(self._path or "")
            self._connection = self._cleanup.enter_context(closing(connection))
            connection.execute("PRAGMA page_size = 16384")  # an event has some kilobytes
            with connection:
                connection.execute("BEGIN IMMEDIATE")  # fails now, where an insert would later
                self._claim()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as exc:
            raise ExporterError(
                f"{self._path or 'a temporary file'} can't be the collector's database ({exc}): "
                "name a new file, in a directory that can be written"
            ) from exc

    def _claim(self) -> None:
        application_id, version, tables = self._connection.execute(
            "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
            "FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if (application_id, version) == (_APPLICATION_ID, _VERSION):
            return
        if application_id == _APPLICATION_ID:
            raise ExporterError(
                f"{self._path} is of another version of the collector: name another file"
            )
        if application_id or version or tables:
            raise ExporterError(f"{self._path} is not the collector's: name another file")
        self._connection.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT NOT NULL, event_id TEXT "
            "NOT NULL, session_id TEXT NOT NULL, path TEXT NOT NULL, time INTEGER NOT NULL)"
        )
        self._connection.execute(
            "CREATE TABLE sessions (id INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, "
            "properties TEXT NOT NULL, time INTEGER NOT NULL)"
        )
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _add(self, events: Sequence[EventRow], session: SessionRow | None) -> None:
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")  # another program may have the file open, too
            if session is not None:
                self._describe(session)
            connection.executemany(
                "INSERT INTO sessions (session_id, properties, time) VALUES (?, '{}', ?) "
                "ON CONFLICT DO NOTHING",
                ((row.session_id, row.time) for row in events),
            )
            connection.executemany(
                "INSERT INTO events (event, event_id, session_id, path, time) "
                "VALUES (CAST(? AS TEXT), ?, ?, ?, ?)",
                ((row.event, row.event_id, row.session_id, row.path, row.time) for row in events),
            )

    def _describe(self, session: SessionRow) -> None:
        known = self._connection.execute(
            "SELECT CAST(properties AS BLOB) FROM sessions WHERE session_id = ?",
            (session.session_id,),
        ).fetchone()
        said = orjson.loads(session.properties)
        properties = encode(merged(orjson.loads(known[0]), said)) if known else session.properties
        self._connection.execute(
            "INSERT INTO sessions (session_id, properties, time) VALUES (?, CAST(? AS TEXT), ?) "
            "ON CONFLICT (session_id) DO UPDATE SET properties = excluded.properties",
            (session.session_id, properties, session.time),
        )

    def _last(self, query: str) -> int:
        (last,) = self._connection.execute(query).fetchone()
        return int(last)

    def _page(
        self, row: Callable[..., T], query: str, after: int, until: int
    ) -> tuple[int, list[T]]:
        rows: list[T] = []
        size = 0
        with closing(self._connection.execute(query, (after, until))) as found:
            for row_id, text, *columns in found:
                after = row_id
                rows.append(row(text, *columns))
                size += len(text) + _ROW_BYTES
                if size >= _PAGE_BYTES:
                    break
        return after, rows
