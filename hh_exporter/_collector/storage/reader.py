"""
The reading side of the database: a connection and a thread of its own.

Writing never waits for a query, and no query runs for long.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from attrs import define, field

from hh_exporter._collector.storage.matching import add_functions
from hh_exporter._collector.storage.schema import bound_log, connect
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Reader", "TooMuchError"]

P = ParamSpec("P")
T = TypeVar("T")

_TICK = 1_000_000
_MAX_TICKS = 100
"""Some seconds of work, counted in what SQLite does: it needs no clock."""


class TooMuchError(ExporterError):
    """
    A question would take too long to answer.
    """


@define(eq=False)
class Reader:
    """
    Answer questions about the database, one after the other.
    """

    _path: Path
    _thread: ThreadPoolExecutor = field(
        init=False, factory=lambda: ThreadPoolExecutor(1, "hh-collector-reader")
    )
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _ticks: int = field(default=0, init=False)
    _is_closing: bool = field(default=False, init=False)

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Call *question* with the connection; all that it reads is of one moment.

        Raises `TooMuchError` if that takes too long.
        """

        def answer() -> T:
            db = self._open()
            self._ticks = 0
            try:
                with db:
                    db.execute("BEGIN")
                    return question(db, *args, **kwargs)
            except sqlite3.OperationalError as exc:
                if self._ticks > _MAX_TICKS:
                    raise TooMuchError("it takes too long: choose a shorter range") from exc
                raise
            finally:
                bound_log(db, self._path)

        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)

    async def aclose(self) -> None:
        """
        Let go of the database; a question at hand is given up.
        """
        self._is_closing = True
        self._thread.submit(self._close)
        await asyncio.to_thread(self._thread.shutdown)  # joins it: not for the loop to wait

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA query_only = ON")
            add_functions(self._connection)
            self._connection.set_progress_handler(self._tick, _TICK)
        return self._connection

    def _tick(self) -> bool:
        self._ticks += 1
        return self._is_closing or self._ticks > _MAX_TICKS

    def _close(self) -> None:
        if self._connection is not None:
            with closing(self._connection):
                self._connection = None
