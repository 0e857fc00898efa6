"""
The one thread that owns the spool's files.

Everybody else hands it work and goes on: what arrives during one commit is the
next commit. What is handed over counts as on disk at once; what could not be
written is counted as lost, so the books balance either way. How much may wait
for it is bounded.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock
from hh_exporter._disk import Disk
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._queue import RecordQueue
from hh_exporter._records import Record, Spot
from hh_exporter._sessions import Sessions
from hh_exporter._spool import Spool
from hh_exporter._spool_rows import Rows
from hh_exporter._spool_work import Load, Settle, Store, Work, gather
from hh_exporter._spooled import Identity, Letter, SpooledRecord
from hh_exporter.exceptions import SpoolError

__all__ = ["Spooler"]

log = logging.getLogger(__name__)

_MAX_WAITING = 32 * 2**20
"""Bytes that may wait to be written: a disk that is slower than the events loses, and says so."""

_LONGEST_OPENING = 5.0
"""Seconds for which a start waits for the files to be looked at."""

_LAST_COMMIT = 2.0
"""Seconds that a close gives the disk at least."""

_KEPT = frozenset({DropReason.RETRIES_EXHAUSTED, DropReason.TOO_LARGE})
"""What is dropped and kept for a person, beside all that is rejected."""


@define(eq=False, kw_only=True)
class Spooler:
    """
    The spool of one exporter.
    """

    settings: Spool
    identity: Identity
    queue: RecordQueue
    sessions: Sessions
    clock: Clock
    on_loss: Callable[[tuple[str, ...], DropReason], None] = lambda _, __: None
    """Told of records that are dropped on disk."""
    on_loaded: Callable[[], None] = lambda: None
    """Called when records came back to memory, or none are there. Any thread."""
    fault: str = ""
    """Why the disk can't be used; empty if it can."""
    size: int = field(default=0, init=False)
    """Bytes on disk."""
    letters: int = field(default=0, init=False)
    is_open: bool = field(default=False, init=False)
    _waiting: int = field(default=0, init=False)
    """Bytes that were handed over and are not on disk; changed under the queue's lock."""
    _since: float | None = field(default=None, init=False)
    """When the oldest of that was handed over."""
    _work: SimpleQueue[Work | None] = Factory(SimpleQueue)
    _hurry: threading.Event = Factory(threading.Event)
    _thread: threading.Thread | None = field(default=None, init=False)
    _owed: list[Work] = Factory(list)
    """What could not be done, and is tried again with the next commit."""
    _ensured: set[Record] = Factory(set)
    """Records that are, or will be, on disk and are not admitted yet."""
    _is_read: bool = field(default=False, init=False)
    """Whether the files that others left have been looked at."""
    _on_read: list[Callable[[], None]] = Factory(list)
    _on_closed: list[Callable[[], None]] = Factory(list)
    _rows: Rows = field(init=False)
    _disk: Disk = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rows = Rows(self.clock, self.sessions, self.queue.lock)
        self._disk = Disk(
            directory=self.settings.directory, identity=self.identity, fsync=self.settings.fsync
        )
        self.queue.spool = self.take
        if self.settings.durable:
            self.queue.keep = self.keep

    # For the exporter. Any thread.

    def start(self) -> None:
        """
        Open the files, in a thread of their own; not again while it runs.
        """
        with self.queue.lock:
            if self._thread is not None:
                return
            self._work = SimpleQueue()
            self.is_open = True
            self.queue.keep_queued()
            self._thread = threading.Thread(
                target=self._run, args=(self._work,), name="hh_exporter spool", daemon=True
            )
        self._thread.start()

    async def wait_open(self) -> None:
        """
        Wait until what others left there is counted, or give up waiting for that.
        """
        bell = Bell(self.clock)
        with self.queue.lock:
            if not self.is_open or self._is_read:
                return
            self._on_read.append(bell.ring)
        await bell.wait(self.clock.now() + _LONGEST_OPENING)

    async def aclose(self, deadline: float) -> None:
        """
        Write what was handed over and let go of the files, or give up waiting for that.
        """
        bell = Bell(self.clock)
        if self._retire(bell.ring) is not None:
            await bell.wait(max(deadline, self.clock.now() + _LAST_COMMIT))

    def abandon(self) -> None:
        """
        Leave the files to the parent, in a child that was forked while they were open.
        """
        self._disk.abandon()

    def close(self) -> None:
        """
        Do the same as `aclose` where no event loop runs, and block for as long.
        """
        thread = self._retire(lambda: None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LAST_COMMIT)

    def take(self, record: Record) -> bool:
        """
        Have a record that leaves memory wait on disk. Under the queue's lock.

        Returns:
            Whether there is room for it.
        """
        return self._store(record, is_loaded=False)

    def keep(self, record: Record) -> bool:
        """
        Have a record on disk while it is in memory. Under the queue's lock.
        """
        return self._store(record, is_loaded=True)

    async def ensure(self, record: Record) -> bool:
        """
        Have a record on disk before it is admitted, if the spool is durable; without the lock.

        Follow with `end_ensure`, whatever happens.

        Returns:
            Whether it may be admitted.
        """
        if not self.settings.durable:
            return True
        bell = Bell(self.clock)
        work = Store(record, self._rows.to_row(record), is_loaded=True, on_end=bell.ring)
        with self.queue.lock:
            if not self._hand_over(work):
                record.spot = None
                return False
            self._ensured.add(record)
        self._hurry.set()
        await bell.wait()
        return record.spot is not None

    def settle(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
        *,
        status: int | None,
        answer: str,
    ) -> None:
        """
        Forget records that have their outcome, and bury those that a person may want to see.
        """
        spots = [record.spot for record in records if record.spot is not None]
        letters: list[Letter] = []
        if outcome is Outcome.REJECTED or reason in _KEPT:
            letters = [self._rows.to_letter(r, outcome, reason, status, answer) for r in records]
        if spots or letters:
            with self.queue.lock:
                if not self._hand_over(Settle(spots, letters)) and self.is_open:
                    self._hand_over(Settle(spots, []))

    def end_ensure(self, record: Record) -> None:
        """
        Take back what `ensure` was asked for, unless the record is admitted.
        """
        with self.queue.lock:
            self._ensured.discard(record)
            if not record.seq:
                self._take_back(record)

    def load(self, limit: int, limit_bytes: int) -> bool:
        """
        Bring records back to memory, up to *limit* and about *limit_bytes*, if there is room.

        Returns:
            Whether `on_loaded` will be called.
        """
        with self.queue.lock:
            largest = self.queue.limits.max_bytes
            is_taken = self._hand_over(Load(limit, limit_bytes, self._oldest, largest))
        self._hurry.set()
        return is_taken

    @property
    def _oldest(self) -> float:
        """
        The Unix time before which what was pushed is too old.
        """
        return self.clock.wall() - self.settings.max_age

    @property
    def commit_lag(self) -> float:
        """
        Seconds since the oldest record was handed over that is not on disk yet.
        """
        since = self._since
        return 0.0 if since is None else max(0.0, self.clock.now() - since)

    def _retire(self, on_closed: Callable[[], None]) -> threading.Thread | None:
        """
        Take no more, and have the thread end; *on_closed* is called by it.
        """
        with self.queue.lock:
            for record in self._ensured:  # too late: their puts find the queue closed
                self._take_back(record)
            self._ensured.clear()
            self.is_open = False
            thread = self._thread
            if thread is not None:
                self._on_closed.append(on_closed)
        self._work.put(None)
        self._hurry.set()
        return thread

    def _store(self, record: Record, *, is_loaded: bool) -> bool:
        before = record.spot
        is_taken = self._hand_over(Store(record, self._rows.to_row(record), is_loaded=is_loaded))
        if not is_taken:
            record.spot = before
        return is_taken

    def _take_back(self, record: Record) -> None:
        spot, record.spot = record.spot, None
        if spot is not None:
            self._hand_over(Settle([spot], []))

    def _hand_over(self, work: Work) -> bool:
        if not self.is_open or (
            work.size
            and (
                # What a close leaves was in memory before: that it waits costs no more.
                (self._waiting + work.size > _MAX_WAITING and not self.queue.closed)
                or self.size + self._waiting + work.size > self.settings.max_bytes
            )
        ):
            return False
        self._waiting += work.size
        if self._since is None:
            self._since = self.clock.now()
        self._work.put(work)
        return True

    # Its thread.

    def _run(self, work: SimpleQueue[Work | None]) -> None:
        try:
            self._open()
            with self.queue.lock:
                self._is_read = True
                waiting, self._on_read = self._on_read, []
            for tell in waiting:
                tell()
            while self._commit(gather(work, self._hurry)):
                pass
        finally:
            with suppress(OSError, sqlite3.Error):
                self._disk.close()
            with self.queue.lock:
                self._thread, self._is_read, self.is_open = None, False, False
                waiting = [*self._on_read, *self._on_closed]
                self._on_read, self._on_closed = [], []
            for tell in waiting:
                tell()

    def _open(self) -> None:
        try:
            found, gone = self._disk.open()
            self.queue.recover(found)
            self.lose([0] * gone, DropReason.PURGED)
            with self._disk.transaction():
                self._disk.expire_letters(self._oldest)
        except (SpoolError, OSError, sqlite3.Error) as exc:
            self._fail(exc)
        self._measure()
        self.on_loaded()

    def _commit(self, works: Sequence[Work | None]) -> bool:
        """
        Do all of *works* in one transaction, or each in one of its own where that fails.

        Returns:
            Whether there may be more.
        """
        real = [*self._owed, *(work for work in works if work is not None)]
        self._owed = []
        is_whole = self._try(real)
        are_done = [is_whole or self._try([work]) for work in real]
        with suppress(OSError, sqlite3.Error):
            self._disk.sweep()
        size = sum(work.size for work in real)  # first: a finaliser may push while it is summed
        with self.queue.lock:
            self._waiting -= size
            self._since = None if self._work.empty() else self.clock.now()
            self._measure()
        for work, is_done in zip(real, are_done, strict=True):
            self._end(work, is_done=is_done)
        return None not in works

    def _try(self, works: Sequence[Work]) -> bool:
        try:
            with self._disk.transaction():
                for work in works:
                    work.do(self._disk)
        except Exception as exc:
            self._fail(exc)
            return False
        if any(work.size for work in works):
            self.fault = ""
        return True

    def _end(self, work: Work, *, is_done: bool) -> None:
        try:
            work.end(self, is_done=is_done)
        except BaseException as exc:  # user code is told of losses: all rely on this thread
            # Its type alone: the text may quote what that code knows.
            log.error("what was told of a loss raised %s", type(exc).__name__)  # noqa: TRY400

    def _fail(self, exc: Exception) -> None:
        what = str(exc) or type(exc).__name__
        if not self.fault:
            log.warning(
                "the spool in %s can't be written to (%s): events stay in memory alone, and are "
                "dropped as spool_full where that has no room",
                self.settings.directory,
                what,
            )
        self.fault = what

    def owe(self, work: Work) -> None:
        """
        Try *work* again with the next commit.
        """
        self._owed.append(work)

    def lose(self, seqs: Sequence[int], reason: DropReason, event_ids: Sequence[str] = ()) -> None:
        """
        Drop records that are on disk alone.
        """
        if seqs:
            self.queue.lose(seqs, reason)
            self.on_loss(tuple(event_ids), reason)

    def admit(self, found: Sequence[tuple[SpooledRecord, Spot]]) -> None:
        """
        Admit records from disk to memory, as far as there is room.
        """
        admitted = self.queue.load([self._rows.to_record(row, spot) for row, spot in found])
        for _, spot in found[len(admitted) :]:
            self._disk.unload(spot)
        self.on_loaded()

    def _measure(self) -> None:
        self.size, self.letters = self._disk.size, self._disk.letters
