"""
The store: events and sessions in an SQLite database.

One thread owns the connection that writes, and the loop only waits for it. The order
of rows is the order of arrival, also when an event is updated later. What exceeds the
bounds is deleted in the transaction that adds to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from attrs import define, field

from hh_exporter._collector.storage.bell import Bell
from hh_exporter._collector.storage.encoding import encode
from hh_exporter._collector.storage.filters import EVERYTHING, Filter
from hh_exporter._collector.storage.lists import (
    count,
    event_rows,
    last_event,
    last_session,
    session_rows,
)
from hh_exporter._collector.storage.reader import Reader
from hh_exporter._collector.storage.retention import Retention, clear_some, fit, prune
from hh_exporter._collector.storage.rows import EventRow, SessionRow, insert, named
from hh_exporter._collector.storage.schema import claim, compact, connect, cut, rename, used_bytes
from hh_exporter._collector.storage.sessions import merged
from hh_exporter._collector.storage.summary import short
from hh_exporter._collector.storage.updates import update
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

__all__ = ["EventRow", "SessionRow", "Store", "UnwritableError"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_PROPERTIES = 32 * 2**20
_MAX_UPDATES = 200
"""That are remembered for those who follow."""
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
    }
)
"""What is wrong with the disk or the file, and may be well again."""

_ADD_SESSION: Final = (
    "INSERT INTO sessions (short_id, session_id, properties, time, has_events, has_root) "
    "VALUES (?, ?, '{}', ?, 1, 0) "
    "ON CONFLICT (short_id) DO UPDATE SET has_events = 1 WHERE NOT has_events"
)


class UnwritableError(ExporterError):
    """
    The file can't be written to just now, as on a full disk.
    """


@define(eq=False)
class Store:
    """
    The rows of one database file, or of a temporary one.
    """

    path: Path | str | None
    retention: Retention
    bell: Bell = field(init=False, factory=Bell)
    """Rings when something has been added."""
    _thread: ThreadPoolExecutor = field(
        init=False, factory=lambda: ThreadPoolExecutor(1, "hh-collector-store")
    )
    _file: Path = field(init=False)
    """Where it is."""
    _db: sqlite3.Connection = field(init=False)
    _reader: Reader | None = field(default=None, init=False)
    _cleanup: ExitStack = field(factory=ExitStack, init=False)
    _is_unwritable: bool = field(default=False, init=False)
    _updates: deque[int] = field(factory=lambda: deque(maxlen=_MAX_UPDATES), init=False)
    _update_count: int = field(default=0, init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path | str | None, retention: Retention | None = None
    ) -> AsyncIterator[Store]:
        """
        Open the database at *path*, or a temporary one, until the block ends.

        Raises `ExporterError` if the file can't be written or is not the
        collector's; it is left as it was.
        """
        store = cls(path, retention or Retention())
        try:
            await store._run(store._open)
            yield store
        finally:
            await asyncio.shield(store._close())

    @property
    def reader(self) -> Reader:
        """
        Answers questions about what is stored.
        """
        if self._reader is None:
            raise ExporterError("the store is not open")
        return self._reader

    async def add(self, events: Sequence[EventRow], *sessions: SessionRow) -> None:
        """
        Commit *events*, their sessions, and what is said of *sessions*, in one transaction.

        All of it or, if cancelled, maybe nothing. Raises `UnwritableError`, and stores
        nothing, while the disk is full or the file is otherwise not to be written to.
        """
        await self._write(self._add, events, sessions)
        self.bell.ring()

    async def update(self, event_id: str, said: dict[str, Any]) -> None:
        """
        Add what is *said* to an event or a session; raises as `updates.update` and `add` do.
        """
        row_id = await self._write(self._update, event_id, said)
        if row_id is not None:
            self._updates.append(row_id)
            self._update_count += 1
        self.bell.ring()

    async def clear(self) -> int:
        """
        Delete all events and sessions that are there when it begins; returns how many events.

        Bit by bit, so that others write in between; raises as `add` does, with a part of it
        done. Ids go on counting, and the database has a new `store` id.
        """
        last, session = await self._run(lambda: (last_event(self._db), last_session(self._db)))
        deleted = 0
        while (some := await self._write(self._clear, last, session)) is not None:
            deleted += some
        await self._write(self._renew)
        self.bell.ring()
        return deleted

    def updated_after(self, count: int | None) -> tuple[int, list[int] | None]:
        """
        Tell how many updates there have been, and the rows of those after the first *count*.

        None is from now on. There are no rows, but None, if not all of them are remembered:
        more than _MAX_UPDATES came, or there never were *count*, which is of an earlier run.
        """
        known = self._update_count
        new = 0 if count is None else known - count
        if not 0 <= new <= len(self._updates):
            return known, None
        return known, sorted(set(islice(reversed(self._updates), new)))

    async def count(self) -> int:
        """
        Count the events.
        """
        return await self.reader.ask(count)

    async def events(self, wanted: Filter = EVERYTHING) -> AsyncIterator[list[EventRow]]:
        """
        Read the events that are there when it begins, in order, about a megabyte at a time.
        """
        after, until = 0, await self.reader.ask(last_event)
        while after < until:
            after, rows = await self.reader.ask(event_rows, wanted, after, until)
            if rows:
                yield rows

    async def sessions(self) -> AsyncIterator[list[SessionRow]]:
        """
        Read the sessions that are there when it begins, in the same way.
        """
        after, until = 0, await self.reader.ask(last_session)
        while after < until:
            after, rows = await self.reader.ask(session_rows, after, until)
            if rows:
                yield rows

    async def _close(self) -> None:
        if self._reader is not None:
            await self._reader.aclose()
        await self._run(self._cleanup.close)
        await asyncio.to_thread(self._thread.shutdown)  # joins it: not for the loop to wait

    async def _write(self, work: Callable[..., T], *args: object) -> T:
        try:
            done = await self._run(work, *args)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in _PASSING:  # an extended code begins with its kind
                raise
            if not self._is_unwritable:  # once: the disk may stay full for a million requests
                log.error(  # noqa: TRY400
                    "hh_exporter: the collector can't write to %s (%s): events are refused",
                    self._name,
                    exc,
                )
            self._is_unwritable = True
            raise UnwritableError(f"the database can't be written ({exc})") from exc
        self._is_unwritable = False
        return done

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    @property
    def _name(self) -> str:
        return "a temporary file" if self.path is None else str(Path(self.path))

    def _open(self) -> None:
        try:
            path = self._file = self._place()
            self._db = self._cleanup.enter_context(closing(connect(path)))
            # A temporary file is gone with the process, whatever the disk has of it.
            self._db.execute(f"PRAGMA synchronous = {'OFF' if self.path is None else 'NORMAL'}")
            claim(self._db, self._name)
            self._keep_private(path)
        except (OSError, sqlite3.Error) as exc:
            raise ExporterError(
                f"{self._name} can't be the collector's database ({exc}): "
                "name a new file, in a directory that can be written"
            ) from exc
        self._reader = Reader(path)

    def _keep_private(self, path: Path) -> None:
        """
        Take the file from other users, as one of ours that was there may be theirs to read.
        """
        for place in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            with suppress(OSError):  # there may be no such file, and a few know no modes
                place.chmod(0o600)

    def _place(self) -> Path:
        if self.path is not None:
            path = Path(self.path).absolute()  # never a name that SQLite has a meaning for
            # Before SQLite does, which would let the umask decide who may read it. What else is
            # wrong with it SQLite says.
            with suppress(OSError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
            return path
        # SQLite's own temporary files are for one connection alone.
        directory = TemporaryDirectory(prefix="hh-collector-", ignore_cleanup_errors=True)
        return Path(self._cleanup.enter_context(directory)) / "events.db"

    def _add(self, events: Sequence[EventRow], sessions: Sequence[SessionRow]) -> None:
        with self._writing() as db:
            for session in sessions:
                self._describe(session)
            self._insert(events)
            prune(db, self.retention, events, sessions)

    def _update(self, event_id: str, said: dict[str, Any]) -> int | None:
        with self._writing() as db:
            return update(db, event_id, said)

    def _clear(self, last: int, session: int) -> int | None:
        with self._db as db:
            db.execute("BEGIN IMMEDIATE")
            return clear_some(db, last, session)

    def _renew(self) -> None:
        rename(self._db)
        compact(self._db)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """
        Begin a transaction, which ends with the block; what it makes too large is made to fit.
        """
        with self._db as db:
            db.execute("BEGIN IMMEDIATE")  # another program may have the file open, too
            before = used_bytes(db)
            yield db
            fit(db, self.retention, used_bytes(db) - before)
        cut(self._db, self._file)

    def _insert(self, events: Sequence[EventRow]) -> None:
        self._db.executemany(
            _ADD_SESSION, ((short(row.session_id), row.session_id, row.time) for row in events)
        )
        insert(self._db, last_event(self._db) + 1, events)

    def _describe(self, session: SessionRow) -> None:
        known = self._db.execute(
            "SELECT CAST(properties AS BLOB) FROM sessions WHERE short_id = ?",
            (short(session.session_id),),
        ).fetchone()
        properties = session.properties
        if known is not None:
            both = encode(merged(orjson.loads(known[0]), orjson.loads(properties)))
            # What is said again and again must not pile up.
            properties = both if len(both) <= _MAX_PROPERTIES else properties
        self._db.execute(
            "INSERT INTO sessions "
            "(short_id, session_id, name, user, properties, time, has_events, has_root) "
            "VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, 0, 1) ON CONFLICT (short_id) DO UPDATE SET "
            "name = excluded.name, user = excluded.user, "
            "properties = excluded.properties, has_root = 1",
            (
                *(short(session.session_id), session.session_id),
                *named(orjson.loads(properties)),
                *(properties, session.time),
            ),
        )
