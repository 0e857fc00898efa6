"""
The one thread that owns the spool's files.

What arrives during one commit is the next commit. What could not be written is
counted as lost and logged, or tried again, so the books balance either way. A close
ends a shift; what a start hands over while the disk is still busy with the last
shift is done in the next.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from queue import SimpleQueue

from attrs import Factory, define, field

from hh_exporter._clock import Clock
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Spot, Subject
from hh_exporter._settings.spool import Spool
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.fault import Fault
from hh_exporter._spool.finder import Finder
from hh_exporter._spool.kept import Identity, SpooledRecord
from hh_exporter._spool.room import Room
from hh_exporter._spool.rounds import RETRY, Owed, Rounds
from hh_exporter._spool.rows import Rows
from hh_exporter._spool.shift import Shift
from hh_exporter._spool.work import Expire, Look, Redate, Work, empty, gather

__all__ = ["Writer"]

log = get_log(__name__)

_MADE_ROOM = "deleted, the oldest first: the spool is full (max_bytes) and needs room"
_RESTORED = "the spool goes on in a new one, with all that was in it"
_LOST = "it can't be read any more, and what was there alone is lost (events: %d, dead letters: %d)"
_GONE = (
    "lost: their spool file was deleted, moved, replaced or truncated, and can't be read any more"
)
_UNWRITTEN = "lost: the spool could not be written to before it closed"


@define(eq=False, kw_only=True)
class Writer:
    """
    The thread of one spool, and what it is to do.
    """

    settings: Spool
    identity: Identity
    queue: RecordQueue
    rows: Rows
    clock: Clock
    on_loss: Callable[[Sequence[Subject], DropReason], None] = lambda _, __: None
    """Called with records that are dropped on disk; none if their ids are not known."""
    on_letters_lost: Callable[[int, str], None] = lambda _, __: None
    """Called with the number of dead letters that are not kept, and why."""
    on_loaded: Callable[[], None] = lambda: None
    """Called when records came back to memory, or there are none. Any thread."""
    on_room: Callable[[], None] = lambda: None
    """
    Called when there may be room for what is in memory alone and is to be on disk, too. Under
    the queue's lock.
    """
    on_forgotten: Callable[[object], None] = lambda _: None
    """Called with what spots have as their file if that is lost. Under the queue's lock."""
    size: int = field(default=0, init=False)
    """Bytes on disk."""
    letters: int = field(default=0, init=False)
    room: Room = field(init=False)
    disk: Disk = field(init=False)
    rounds: Rounds = field(init=False)
    finder: Finder = field(init=False)
    _hurry: SimpleQueue[None] = Factory(SimpleQueue)
    """Not an Event: its lock may be held by the code that a signal handler interrupts."""
    thread: threading.Thread | None = field(default=None, init=False)
    _shifts: deque[Shift] = Factory(deque)
    """The one that is under way, and those that follow; changed under the queue's lock."""
    _fault: Fault = field(init=False)
    _look_at: float = field(default=-inf, init=False)
    """When to see again whether there is room for what is in memory alone."""

    def __attrs_post_init__(self) -> None:
        self.room = Room(self.settings.max_bytes)
        self._fault = Fault(self.settings.directory, self.clock)
        self.disk = Disk(
            directory=self.settings.directory,
            identity=self.identity,
            fsync=self.settings.fsync,
            max_bytes=self.settings.max_bytes,
            any_key=self.settings.adopt == "any_key",
        )
        self.rounds = Rounds(
            disk=self.disk,
            max_bytes=self.settings.max_bytes,
            on_fail=self._fault.note,
            on_deleted=lambda count: self.on_letters_lost(count, _MADE_ROOM),
            on_restored=lambda: self._fault.note_moved(_RESTORED),
            on_lost=self._forget,
        )
        self.finder = Finder(
            disk=self.disk,
            queue=self.queue,
            lose=self.lose,
            on_fail=self._fault.note,
            on_counted=self._measure,
        )

    # For the spooler. Any thread, under the queue's lock.

    def hurry(self) -> None:
        """
        Have what was handed over done immediately: a caller waits for it. Needs no lock.
        """
        self._hurry.put(None)

    @property
    def shift(self) -> Shift | None:
        """
        The shift that takes work; None while it is closed.
        """
        return self._shifts[-1] if self._shifts and not self._shifts[-1].is_closing else None

    def open(self) -> threading.Thread | None:
        """
        Take work, which is done in the order in which it comes.

        Returns:
            The thread to be started; None where the one of an earlier shift still runs.
        """
        self._shifts.append(Shift())
        if self.thread is not None:
            return None
        self.thread = threading.Thread(target=self._run, name="hh_exporter spool", daemon=True)
        return self.thread

    def give_up(self, thread: threading.Thread, exc: Exception) -> None:
        """
        Go on without *thread*, which could not be started; what it was given stays in memory.
        """
        with self.queue.lock:
            if self.thread is not thread or thread.ident is not None:
                return
            shift = self._shifts.popleft()
            self.thread = None
            self.room.waiting, self.room.since = 0, None
            waiting = [*shift.on_read, *shift.on_over]
        self._fault.note(exc)
        for work in empty(shift.work):
            if work is not None:
                self._end(work, is_done=False)
        for tell in waiting:
            tell()

    def hand_over(self, work: Work) -> bool:
        """
        Have *work* done, if there is room for what it writes.
        """
        hand_over = self.accept(work)
        if hand_over is not None:
            hand_over()
        return hand_over is not None

    def accept(self, work: Work) -> Callable[[], object] | None:
        """
        Reserve room for *work*, which the caller hands over immediately.

        Returns:
            A function of C that does so; None where there is no room for what it writes.
        """
        shift = self.shift
        if shift is None or not self.has_room(work.size):
            return None
        self.room.take(work.size, self.clock.now())
        return partial(shift.work.put, work)

    def has_room(self, size: int) -> bool:
        """
        Whether *size* more bytes may be handed over.
        """
        return self.shift is not None and self.room.has(size, is_last=self.queue.closed)

    def close(self, on_over: Callable[[], None]) -> bool:
        """
        Accept no more; *on_over* is called once everything is done and the files are closed.

        Returns:
            Whether it will be called: False if all is over.
        """
        if not self._shifts:
            return False
        shift = self._shifts[-1]
        shift.is_closing = True
        shift.on_over.append(on_over)
        shift.work.put(None)
        self.hurry()
        return True

    @property
    def fault(self) -> str:
        """
        Why the disk can't be used; empty if it can. Any thread.
        """
        return self._fault.text

    # Its thread.

    def _run(self) -> None:
        has_more = True
        while has_more:
            shift = self._shifts[0]
            try:
                while self._commit(self._gather(shift)):
                    pass
            finally:
                self._let_go()
                with self.queue.lock:
                    self._shifts.popleft()
                    has_more = bool(self._shifts)
                    if not has_more:
                        self.thread = None
                    waiting = [*shift.on_read, *shift.on_over]
                for tell in waiting:
                    tell()

    def _gather(self, shift: Shift) -> list[Work | None]:
        """
        Wait for work; take over what other processes left, a part before each commit.
        """
        while self.disk.has_more:
            self.finder.look(shift, self.disk.take_over)
            if not self.disk.takeover.is_behind:
                self.expire()  # what was moved may be too old
            if not shift.work.empty():
                break
        patience = self.rounds.patience(is_behind=self.room.behind_since is not None)
        works = gather(shift.work, self._hurry, patience)
        if not works:
            self.disk.tighten()
        if shift.reads and not shift.has_begun:
            shift.has_begun = True
            self.finder.look(shift, self.disk.open)
            self.on_loaded()
        return works

    def _let_go(self) -> None:
        """
        Close the files, and log what is lost by that.
        """
        with suppress(OSError, sqlite3.Error):
            self.disk.close()
        owed, self.rounds.owed = self.rounds.owed, Owed()
        with self.queue.lock:
            self.room.owed, self.room.behind_since = 0, None
        if lost := owed.letters:
            self.on_letters_lost(lost, _UNWRITTEN)
        self._tell_room(is_closing=True)

    def _commit(self, works: Sequence[Work | None]) -> bool:
        """
        Do *works*, and what else there is to do.

        Returns:
            Whether there may be more.
        """
        works = [*works, *self._follow_clock()]
        real = [work for work in works if work is not None]
        are_done = self.rounds.go(real, self.clock.now(), hurries=self.queue.closed)
        size = sum(work.size for work in real)  # first: a finaliser may push while it is summed
        if self.rounds.has_written and not self.rounds.has_failed:
            self._fault.text = ""
        with self.queue.lock:
            is_idle = all(shift.work.empty() for shift in self._shifts)
            # Anew where nothing else waits: who is interrupted hands over less than was counted.
            self.room.waiting = 0 if is_idle else self.room.waiting - size
            self.room.since = None if is_idle else self.clock.now()
            self.room.owed = self.rounds.owed.size
            self._measure()
        for work, is_done in zip(real, are_done, strict=True):
            self._end(work, is_done=is_done)
        self._tell_room()
        self._catch_up(is_due=not works)
        return None not in works

    def _follow_clock(self) -> Sequence[Work | None]:
        """
        Return what is to be done where the machine's clock was set, behind all that goes by it.
        """
        with self.queue.lock:
            times = self.rows.follow_clock()
            return [*empty(self._shifts[0].work), Redate(*times)] if times else ()

    def _forget(self, file: object, count: int, letters: int) -> None:
        """
        Go on without a file that can't be read: what of it is in memory is written again.
        """
        self._fault.note_moved(_LOST % (count, letters))
        self.lose([0] * count, DropReason.PURGED)
        if letters:
            self.on_letters_lost(letters, _GONE)
        with self.queue.lock:
            self.on_forgotten(file)

    def _catch_up(self, *, is_due: bool) -> None:
        """
        Have what is in memory alone written, once there is room, and now and then in case.
        """
        now = self.clock.now()
        with self.queue.lock:
            if self.room.behind_since is None or self._shifts[0].is_closing:
                return
            if (
                is_due
                or now >= self._look_at
                or (self.room.is_half_free and not self.rounds.has_failed)
            ):
                self._look_at = now + RETRY
                self.on_room()

    def _end(self, work: Work, *, is_done: bool) -> None:
        try:
            work.end(self, is_done=is_done)
        except BaseException as exc:  # losses are reported to user code, which may raise anything
            # Its type alone: the text may quote what that code knows.
            log.error("hh_exporter: reporting a loss on disk raised %s", type(exc).__name__)  # noqa: TRY400

    def _tell_room(self, *, is_closing: bool = False) -> None:
        with self.queue.lock:
            told = self.room.tell(is_closing=is_closing)
        if told:
            log.warning("hh_exporter: %s", told)

    def _measure(self) -> None:
        self.size, self.letters = self.disk.size, self.disk.letters
        self.room.used = self.disk.record_size + self.disk.excess

    # What its work asks of it.

    def owe(self, work: Work) -> None:
        """
        Try *work* again with the next commits.
        """
        self.rounds.owed.add(work)
        with self.queue.lock:
            self.room.owed = self.rounds.owed.size

    def fall_behind(self) -> None:
        """
        Note that a record which was to be on disk, too, is in memory alone.
        """
        with self.queue.lock:
            self.room.fall_behind(self.clock.now())

    def lose(self, seqs: Sequence[int], reason: DropReason, lost: Sequence[Subject] = ()) -> None:
        """
        Drop records that are on disk alone.
        """
        if seqs:
            self.queue.lose(seqs, reason, lost)
            self.on_loss(lost, reason)

    def admit(self, found: Sequence[tuple[SpooledRecord, Spot]]) -> None:
        """
        Admit records from disk to memory, as far as there is room.
        """
        records = [self.rows.to_record(row, spot) for row, spot in found]
        with self.queue.lock:
            # Not once it closes, though the queue may be open again: the next shift finds them.
            admitted = [] if self._shifts[0].is_closing else self.queue.load(records)
        self.disk.put_back([spot for _, spot in found[len(admitted) :]])
        self.on_loaded()

    def look_around(self) -> None:
        """
        Look at the files that are not ours, until other work waits; then go on later.
        """
        work = self._shifts[0].work
        now, max_age = self.rows.wall(), self.settings.max_age
        if self.disk.look_around(now, max_age, lambda: not work.empty()):
            with self.queue.lock:
                self.hand_over(Look())

    def expire(self) -> None:
        """
        Look for what is too old.
        """
        with self.queue.lock:
            self.hand_over(Expire(self.rows.wall(), self.settings.max_age))
