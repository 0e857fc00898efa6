"""
Keep one worker in a loop that runs, and handle what is left if none does.

A worker belongs to one event loop and ends with it; the queue does not. If the loop
is gone, the worker's records go back to the queue, and the next loop that uses the
exporter gets a worker of its own.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import _get_running_loop
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.worker import Worker
from hh_exporter._environment import Settings
from hh_exporter._life.books import read_books, read_health
from hh_exporter._life.loops import run_in
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason, FlushResult, Settlement, Stats
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter.exceptions import DeliveryError

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["Lifetime"]

log = get_log(__name__)

_LOOPLESS_EVENTS = 1000
"""How many events may be queued without a loop before it is worth a warning."""

_ENDED = "the exporter was not closed: await aclose(), or use it as an async context manager"
_LATE = "not sent by the end of aclose(): raise close_timeout, or use a spool"

_at_work: set[Lifetime] = set()
"""
Those with a worker that may still run, or whose spool is being closed: an event loop holds its
tasks weakly, and to collect one that is pending breaks it.
"""


@define(eq=False, kw_only=True)
class Lifetime:
    """
    The worker, and the loop that it lives in.
    """

    settings: Settings
    queue: RecordQueue
    settler: Settler
    spooler: Spooler | None
    clock: Clock
    make_worker: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Worker]
    """Called with the loop that it will live in, and what to call once it is over."""
    worker: Worker | None = field(default=None, init=False)
    _warned_loopless: bool = field(default=False, init=False)
    _counted_to: int = field(default=0, init=False)
    """The last record that a log message has counted as left."""
    _then: Callable[[], None] | None = field(default=None, init=False)
    """Called once the worker has sent what is there."""
    _pid: int = Factory(os.getpid)
    _is_forgotten: bool = field(default=False, init=False)
    """Whether its exporter was collected."""

    def see_to_worker(self) -> Worker | None:
        """
        Have a worker in a loop that runs; without one, make it in the running loop.

        Returns:
            The worker; None if there is none and no loop runs here.
        """
        loop = _get_running_loop()
        orphan: Worker | None = None
        with self.queue.lock:
            worker = self.worker
            if worker is not None and not worker.is_over:
                if worker.loop.is_running():
                    return worker
                if loop is not None or worker.loop.is_closed():
                    orphan = worker
                    orphan.abandon()
                    _at_work.discard(self)
            # A push that lost its race with a close starts nothing.
            is_done = self.queue.closed and not self.queue.ledger.queued
            if loop is not None and not is_done:
                made = self.make_worker(loop, self._on_worker_over)
                # A push may come in between, from a signal handler or a finaliser: to compare
                # and to store is one step for these.
                if self.worker is not worker:
                    return self.worker
                worker = self.worker = made
                _at_work.add(self)
        # Not under the lock: it calls user code.
        if orphan is not None:
            orphan.deliverer.give_up_singles()
        if is_done:
            return worker
        if loop is None or worker is None:
            is_closed = orphan is not None and orphan.loop.is_closed()
            self._say_left() if is_closed else self._warn_loopless()
            return None
        try:
            if worker.recovery is not None:
                worker.recovery.begin()
            worker.start()
        except BaseException:  # from outside: the next to come makes another one
            worker.abandon()
            raise
        return worker

    def need_worker(self) -> Worker:
        """
        Do the same in a coroutine, where a loop certainly runs.
        """
        worker = self.see_to_worker()
        assert worker is not None  # noqa: S101
        return worker

    async def start(self) -> None:
        """
        Have a worker that has begun to serve.
        """
        has_begun = False
        while not has_begun:
            worker = self.need_worker()
            await run_in(worker.loop, worker.wait_started(), self.clock, None)
            has_begun = worker.loop.is_running()
        if self.spooler is not None:
            await self.spooler.wait_open()

    async def flush(self, deadline: float | None) -> FlushResult:
        """
        Wait until all records have an outcome, or no more can be delivered by *deadline*. Any loop.

        If the worker's loop ends meanwhile, a worker in this one continues.
        """
        watch = self.queue.watch(lambda: None)
        try:
            while True:
                bell = Bell(self.clock)  # a new one: the last may still ring
                watch.wake = bell.ring
                if not watch.left or (deadline is not None and self.clock.now() > deadline):
                    break
                worker = self.need_worker()
                await worker.flush(watch, bell, deadline)
                has_ended = worker.is_over or not worker.loop.is_running()
                if self.queue.closed or worker.loop is _get_running_loop() or not has_ended:
                    break
        finally:
            self.queue.unwatch(watch)
        return watch.result()

    async def close(self, deadline: float) -> None:
        """
        Accept no more, send what is there until *deadline*, and give up the rest. Any loop.
        """
        self.queue.close()
        has_ended = False
        while not has_ended and (self.queue.has_records or self.worker is not None):
            worker = self.need_worker()
            if not worker.is_over:  # abandoned: its loop is stopped
                await run_in(worker.loop, worker.close(deadline), self.clock, deadline)
            has_ended = worker.is_over or worker.loop.is_running()
        self._drain_late()
        if self.spooler is not None:
            await self.spooler.aclose(deadline)
        self.settler.say_rest()

    async def deliver_one(self, record: Record, deadline: float) -> str:
        """
        Have the worker send one record by itself; see `Deliverer.deliver_one`.
        """
        worker = self.need_worker()

        async def send() -> str:
            limit = Deadline(deadline, self.clock.now())
            with suppress(TimeoutError):
                async with within(self.clock, limit):
                    await worker.wait_started()
            try:
                return await worker.deliverer.deliver_one(record, limit)
            finally:
                worker.ring()

        server_id = await run_in(worker.loop, send(), self.clock, deadline)
        if server_id is None:
            if not worker.loop.is_running():
                worker.deliverer.give_up_singles()
            raise DeliveryError(
                "the event could not be delivered: the exporter's event loop does not answer",
                reason=DropReason.SEND_FAILED,
            )
        return server_id

    # How it ends if it is not closed.

    def wind_up(self, then: Callable[[], None]) -> bool:
        """
        Have the worker send what is there, for `close_timeout` at most.

        Waits for nothing. Any thread, and signal handlers.

        Args:
            then: Called in the worker's loop once everything has its outcome, or no
                more can be delivered in time.

        Returns:
            Whether there is anything to send, and a loop runs that can; if not,
            *then* is not called.
        """
        worker = self.worker if _get_running_loop() is None else self.see_to_worker()
        if worker is None or worker.is_over or not worker.loop.is_running():
            return False
        if not self.queue.has_records:
            return False
        self._then = then
        flush = self._flush_and_go_on()
        try:
            asyncio.run_coroutine_threadsafe(flush, worker.loop)
        except RuntimeError:  # closed just now, by another thread
            flush.close()
            return False
        return True

    async def _flush_and_go_on(self) -> None:
        await self.flush(self.clock.now() + self.settings.close_timeout)
        # Not if this is cancelled: the loop ends then, and the worker still sends as it does.
        self._go_on()

    def _go_on(self) -> None:
        worker, then, self._then = self.worker, self._then, None
        if then is not None and worker is not None and not worker.loop.is_closed():
            # Not here, within a task: it may raise KeyboardInterrupt.
            worker.loop.call_soon(then)

    def begin_end(self) -> futures.Future[None] | None:
        """
        Accept no more, and have the worker close if it runs in another thread's loop.
        """
        self.queue.close()
        worker = self.worker
        if worker is None or not self.is_running:
            return None
        close = worker.close(self.clock.now() + self.settings.close_timeout)
        try:
            return asyncio.run_coroutine_threadsafe(close, worker.loop)
        except RuntimeError:  # closed just now
            close.close()
            return None

    def forget(self, on_outcome: Callable[[Settlement], None] | None) -> None:
        """
        End by itself, within `close_timeout`: its exporter was collected and can't be closed.

        If its loop runs, this waits for nothing and takes no lock: the garbage collector calls
        it, whatever the thread was doing.

        Args:
            on_outcome: The callback that the exporter held until now.
        """
        if os.getpid() != self._pid:
            return  # in a forked child, before all was made anew: it is the parent's
        self.settler.on_outcome = on_outcome
        self._is_forgotten = True  # first: the worker may be ending
        worker = self.worker
        if worker is not None and self.is_running:
            with suppress(RuntimeError):  # closed just now
                worker.loop.call_soon_threadsafe(self._leave)
                return
        self.save_all()

    def _leave(self) -> None:
        worker = self.worker
        if worker is not None and not worker.is_over:
            self.queue.close()
            worker.begin_close(self.clock.now() + self.settings.close_timeout)

    def save_all(self) -> None:
        """
        Accept no more, and give up what is in memory: no loop will run that could send it.
        """
        self.give_up()
        self.join()

    def give_up(self) -> None:
        """
        Do the same without waiting; follow with `join`.

        It goes to the spool, for the next process. Without one it is dropped, and logged
        unless a message has counted it already.
        """
        self.queue.close()
        worker = self.worker
        if worker is not None and not worker.is_over:
            worker.abandon()
            worker.deliverer.give_up_singles()
        if self.spooler is not None and self.queue.has_records:
            self.spooler.start(is_ending=True)
        detail = f"{self._trouble('%s; ')}{_ENDED}"
        self.settler.drain(DropReason.CLOSED, detail=detail, counted_to=self._counted_to)
        _at_work.add(self)
        if self.spooler is None or not self.spooler.retire(self._end):
            self._end()

    def join(self) -> None:
        """
        Block until what went to the spool is on disk, until 2 seconds after `give_up` at most.
        """
        if self.spooler is not None:
            self.spooler.join()

    def _end(self) -> None:
        _at_work.discard(self)
        self.settler.say_rest()

    # Looking in.

    def stats(self) -> Stats:
        """
        Read the books. Any thread.
        """
        return read_books(self.queue, self.worker, self.spooler, self.clock, self.health())

    def health(self) -> tuple[str, str]:
        """
        Say the health in one word, and why.
        """
        disabled = self.settings.disabled_reason
        return read_health(self.queue, self.worker, self.spooler, self.clock, disabled)

    # Within.

    @property
    def is_running(self) -> bool:
        """
        Whether there is a worker, in a loop that runs.
        """
        worker = self.worker
        return worker is not None and not worker.is_over and worker.loop.is_running()

    def _on_worker_over(self) -> None:
        with self.queue.lock:
            if self.worker is None or self.worker.is_over:  # else another has begun
                _at_work.discard(self)
        if self._is_forgotten:
            self.give_up()
        elif self.queue.closed:
            self._drain_late()
        else:
            self._say_left()
        self._go_on()

    def _drain_late(self) -> None:
        self.settler.drain(DropReason.CLOSED, detail=f"{self._trouble('%s; ')}{_LATE}")

    def _trouble(self, form: str) -> str:
        """
        Say, in *form*, how the last answer failed; empty if it did not.
        """
        trouble = "" if self.worker is None else self.worker.breaker.trouble
        return trouble and form % f"{self.settings.base_url}: {trouble}"

    def _say_left(self) -> None:
        ledger = self.queue.ledger
        if left := ledger.queued:
            self._counted_to = ledger.pushed + ledger.recovered
            log.warning(
                "hh_exporter: the event loop ended with %d events queued%s: "
                "await aclose() before it ends",
                left,
                self._trouble("; %s"),
            )

    def _warn_loopless(self) -> None:
        queued = self.queue.ledger.queued
        if not self._warned_loopless and queued >= _LOOPLESS_EVENTS:
            self._warned_loopless = True
            log.warning(
                "hh_exporter: %d events were pushed, but no event loop sends them: "
                "await start() in one",
                queued,
            )
