"""
What the exporter asks of its spool.

Callers hand work to the spool's thread and go on; what is handed over counts as
on disk immediately. How much may wait to be written is bounded.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from threading import Event, Thread, current_thread

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import PARTS, Clock, Deadline
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._outside import let_through
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record, Subject
from hh_exporter._sessions import Sessions
from hh_exporter._settings.spool import Spool
from hh_exporter._spool.behind import catch_up, write_again
from hh_exporter._spool.kept import Identity, Letter
from hh_exporter._spool.notes import Losses
from hh_exporter._spool.rows import Rows
from hh_exporter._spool.work import Load, Settle, Store, Unload
from hh_exporter._spool.writer import Writer

__all__ = ["Spooler"]

log = get_log(__name__)

_LONGEST_OPENING = 5.0
"""Seconds for which a start waits until the files are opened."""

_LAST_COMMIT = 2.0
"""Seconds that a close gives the disk, at least."""

_OFTEN, _SELDOM = 1.0, 3600.0
"""Seconds between two looks at what is too old, at least and at most."""

_START_AGAIN = 5.0
"""Seconds after which the start of its thread is tried again, if it failed."""

_NO_ROOM = "lost: the spool has no room for them, or is closed"

_KEPT = frozenset({DropReason.RETRIES_EXHAUSTED, DropReason.TOO_LARGE})
"""Drops that are kept as dead letters, like everything that is rejected."""


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
    writer: Writer = field(init=False)
    losses: Losses = field(init=False)
    _rows: Rows = field(init=False)
    _ensured: set[Record] = Factory(set)
    """Records that are, or will be, on disk and are not admitted yet."""
    _tend_at: float = field(default=0.0, init=False)
    _give_up_at: float = field(default=0.0, init=False)
    """When the disk has had its time since `retire`."""
    _is_late: bool = field(default=False, init=False)
    """Whether it was logged that a close gave up waiting for the disk."""

    def __attrs_post_init__(self) -> None:
        self._rows = Rows(self.clock, self.sessions, self.queue.lock)
        self.writer = Writer(
            settings=self.settings,
            identity=self.identity,
            queue=self.queue,
            rows=self._rows,
            clock=self.clock,
        )
        self.losses = Losses(self.writer)
        self.writer.finder.on_end = self.losses.tell
        self.queue.overflow.spool = self.take
        self.writer.on_room = self._catch_up
        self.writer.on_forgotten = self._write_again
        if self.settings.durable:
            self.queue.keep = self.keep

    # For the exporter. Any thread.

    def start(self) -> None:
        """
        Take over what other processes left, and write, in a thread of its own; if it doesn't yet.

        If no thread can be started, there is no spool until `tend` or a put tries again.
        """
        with self.queue.lock:
            thread = self._open()
            shift = self.writer.shift
            if shift is None or shift.reads:
                return
            shift.reads = True
            self._tend_at = self.clock.now()
            self.tend(self._tend_at)
        self.writer.hurry()
        self._run(thread)

    def write(self) -> None:
        """
        Write what is pushed where no event loop runs, in a thread of its own, if it is durable.

        What other processes left is not taken over: nobody here can send it.
        """
        if self.settings.durable and self.writer.shift is None:
            with self.queue.lock:
                is_due = self.clock.now() >= self._tend_at and not self.queue.closed
                thread = self._open() if is_due else None
            self._run(thread)

    def save(self) -> None:
        """
        Write what is handed over from now on, at the end of the process: `join` does the work.
        """
        with self.queue.lock:
            self._open()

    def _open(self) -> Thread | None:
        """
        Take work, if it doesn't yet. Under the queue's lock.

        Returns:
            A thread that is to be started.
        """
        if self.writer.shift is not None:
            return None
        thread = self.writer.open()
        self._is_late = False
        self._catch_up()
        return thread

    def _run(self, thread: Thread | None) -> None:
        if thread is None:
            return
        try:
            thread.start()
        except Exception as exc:  # a limit of threads, or of memory: it may be lifted
            let_through(exc)
            self.writer.give_up(thread, exc)
            self._tend_at = self.clock.now() + _START_AGAIN

    async def wait_open(self) -> None:
        """
        Wait until what other processes left there is counted, or give up waiting.
        """
        bell = Bell(self.clock)
        with self.queue.lock:
            shift = self.writer.shift
            if shift is None or shift.is_read:
                return
            shift.on_read.append(bell.ring)
        now = self.clock.now()
        await bell.wait_within(Deadline(now + _LONGEST_OPENING, now))

    async def aclose(self, deadline: float) -> None:
        """
        Write what was handed over and close the files, or give up waiting.

        If it is cancelled, the disk still has its time first.
        """
        bell = Bell(self.clock)
        is_over = Event()

        def end() -> None:
            is_over.set()
            bell.ring()

        if self.retire(end):
            now, give_up_at = self.clock.now(), self._give_up_at
            try:
                await bell.wait_within(Deadline(max(deadline, give_up_at), now))
            except CancelledError:
                await bell.wait_through(Deadline(give_up_at, now))
                raise
            finally:
                if not is_over.is_set():
                    self._say_late()

    def abandon(self) -> None:
        """
        Leave the files to the parent, in a child that was forked while they were open.
        """
        self.writer.disk.abandon()

    def join(self) -> None:
        """
        Block until all is written after `retire`, where no event loop runs, or give up waiting.
        """
        thread = self.writer.thread
        if thread is None or thread is current_thread():
            return
        if thread.ident:
            left = max(0.0, self._give_up_at - self.clock.now())
            for _ in range(PARTS):  # as a Deadline: the process may be frozen meanwhile
                thread.join(left / PARTS)
        else:
            thread.run()
        if thread.is_alive():
            self._say_late()

    def take(self, record: Record) -> Callable[[], object] | None:
        """
        Prepare that a record which leaves memory waits on disk. Under the queue's lock.

        Returns:
            What to call to have it so; None where there is no room.
        """
        return self._store(record, is_loaded=False)

    def keep(self, record: Record) -> bool:
        """
        Have a record on disk while it is in memory. Under the queue's lock.

        Returns:
            Whether there is room for it; if not, that is logged.
        """
        is_taken = self._store_too(record)
        is_missed = not is_taken and self.writer.shift is not None
        if is_missed and self.writer.room.miss(self.clock.now()):
            self.writer.expire()  # which may make room, and has the thread say it
        return is_taken

    async def ensure(self, record: Record) -> bool:
        """
        Have a record on disk before it is admitted, if the spool is durable; without the lock.

        Follow with `end_ensure`, whatever happens.

        Returns:
            Whether it may be admitted.
        """
        if not self.settings.durable:
            return True
        if self.writer.shift is None and not self.queue.closed:
            self.start()
        bell = Bell(self.clock)
        work = Store(record, self._rows.to_row(record), is_loaded=True, on_end=bell.ring)
        with self.queue.lock:
            if not self.writer.hand_over(work):
                record.spot = None
                return False
            self._ensured.add(record)
        self.writer.hurry()
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
        Delete records that have their outcome, and keep dead letters of those to look at.
        """
        spots = [record.spot for record in records if record.spot is not None]
        freed = sum(spot.size for spot in spots)
        letters: list[Letter] = []
        if outcome is Outcome.REJECTED or reason in _KEPT:
            letters = [self._rows.to_letter(r, outcome, reason, status, answer) for r in records]
        is_taken = True
        if spots or letters:
            with self.queue.lock:
                self.writer.room.used -= freed  # now: its letters may need just that
                is_taken = self.writer.hand_over(Settle(spots, letters))
                if not is_taken:
                    self.writer.hand_over(Settle(spots, []))
        if letters and not is_taken:
            self.writer.on_letters_lost(len(letters), _NO_ROOM)

    def end_ensure(self, record: Record) -> None:
        """
        Undo `ensure`, unless the record was admitted.
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
            wall, max_age = self._rows.wall(), self.settings.max_age
            work = Load(limit, limit_bytes, wall, max_age, largest)
            is_taken = self.writer.hand_over(work)
        self.writer.hurry()
        return is_taken

    def tend(self, now: float) -> float:
        """
        Have what is too old deleted, if it is time to look.

        Returns:
            When it is time again.
        """
        if now >= self._tend_at:
            if self.writer.shift is None and not self.queue.closed:
                self.start()
                return self._tend_at
            self._tend_at = now + min(_SELDOM, max(_OFTEN, self.settings.max_age))
            self.writer.expire()
        return self._tend_at

    @property
    def commit_lag(self) -> float:
        """
        Seconds that the oldest record not yet on disk has waited.
        """
        return self.writer.room.lag(self.clock.now())

    def retire(self, on_over: Callable[[], None]) -> bool:
        """
        Accept no more, and have the thread end once everything is written.

        Returns:
            Whether *on_over* will be called then, by the thread.
        """
        self._give_up_at = self.clock.now() + _LAST_COMMIT
        with self.queue.lock:
            for record in self._ensured:  # too late: their puts find the queue closed
                self._take_back(record)
            self._ensured.clear()
            return self.writer.close(self.losses.noted(on_over))

    def _say_late(self) -> None:
        """
        Log, once per shift, that waiting for the disk was given up: what is lost is not counted.
        """
        if not self._is_late:
            self._is_late = True
            log.warning(
                "hh_exporter: the spool in %s is still writing: its disk is slow, and what is not "
                "on it when the process ends is lost",
                self.settings.directory,
            )

    def _store(self, record: Record, *, is_loaded: bool) -> Callable[[], object] | None:
        before = record.spot
        if before is not None and before.file is not None and not is_loaded:
            return self.writer.accept(Unload(before, record.seq, Subject.of(record)))
        if record.block is not None and not self.writer.has_room(record.size):
            return None  # without unpacking it for that
        work = Store(record, self._rows.to_row(record), is_loaded=is_loaded)
        hand_over = self.writer.accept(work)
        if hand_over is None:
            record.spot = before
        return hand_over

    def _catch_up(self) -> None:
        """
        Have what is in memory alone on disk, too, if the spool is durable. Under the queue's lock.
        """
        if self.settings.durable:
            has_failed = self.writer.rounds.has_failed
            catch_up(self.queue, self.writer.room, self._store_too, has_failed=has_failed)

    def _write_again(self, file: object) -> None:
        """
        Have on disk again what of a lost *file* is in memory. Under the queue's lock.
        """
        store = self._store_too if self.settings.durable else None
        write_again(self.queue, self._ensured, file, store)

    def _store_too(self, record: Record) -> bool:
        hand_over = self._store(record, is_loaded=True)
        if hand_over is not None:
            hand_over()
        return hand_over is not None

    def _take_back(self, record: Record) -> None:
        spot, record.spot = record.spot, None
        if spot is not None:
            self.writer.hand_over(Settle([spot], []))
