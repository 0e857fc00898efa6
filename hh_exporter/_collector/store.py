"""
What the collector was sent, in SQLite.

One thread owns the connection, and the loop only waits for it. Rows are never
changed or removed: their order is the order of arrival.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field, frozen

from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

__all__ = ["Row", "Store"]

T = TypeVar("T")

_APPLICATION_ID = int.from_bytes(b"hhco", "big")
_VERSION = 1
_PAGE_BYTES = 2**20


@frozen
class Row:
    """
    One stored event.
    """

    event: bytes = field(repr=False)
    """Its JSON text."""
    event_id: str
    path: str
    """The route that took it."""
    time: int
    """When it arrived, in Unix milliseconds."""


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

    async def add(self, rows: Sequence[Row]) -> None:
        """
        Commit *rows* in one transaction: all of them or, if cancelled, maybe none.
        """
        await self._run(self._add, rows)

    async def count(self) -> int:
        """
        Count the rows.
        """
        return await self._run(self._count)

    async def pages(self) -> AsyncIterator[list[Row]]:
        """
        Read the rows that are there now, in order, about a megabyte at a time.
        """
        after, last = 0, await self.count()
        while True:
            after, rows = await self._run(self._page, after, last)
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
            "CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT NOT NULL, "
            "event_id TEXT NOT NULL, path TEXT NOT NULL, time INTEGER NOT NULL)"
        )
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _add(self, rows: Sequence[Row]) -> None:
        with self._connection as connection:
            connection.executemany(
                "INSERT INTO events (event, event_id, path, time) "
                "VALUES (CAST(? AS TEXT), ?, ?, ?)",
                ((row.event, row.event_id, row.path, row.time) for row in rows),
            )

    def _count(self) -> int:
        # Ids have no gaps, and count(*) would read the whole file.
        (count,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        return int(count)

    def _page(self, after: int, last: int) -> tuple[int, list[Row]]:
        rows: list[Row] = []
        size = 0
        found = self._connection.execute(
            "SELECT id, CAST(event AS BLOB), event_id, path, time FROM events "
            "WHERE id > ? AND id <= ? ORDER BY id",
            (after, last),
        )
        with closing(found):
            for row_id, *columns in found:
                after = row_id
                rows.append(Row(*columns))
                size += len(rows[-1].event)
                if size >= _PAGE_BYTES:
                    break
        return after, rows
