"""
Keep one worker in a loop that runs, and see to what is left where none does.

A worker belongs to one event loop and ends with it; the queue does not. Where
the loop went away the worker's records go back to the queue, and the next loop
that has something to do with the exporter gets a worker of its own.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from concurrent import futures
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from hh_exporter._clock import NEVER, PARTS, Clock, Deadline, within
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.worker import Worker
from hh_exporter._environment import Settings
from hh_exporter._life.books import read_books
from hh_exporter._outcomes import DropReason, Stats
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter.exceptions import DeliveryError

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["Lifetime"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOPLESS_EVENTS = 1000
"""How many events may be queued without a loop before it is worth a warning."""

_TO_HANG_UP = 1.0
"""Seconds that the worker of another thread's loop may take to end once its time is up."""

_ENDED = "the exporter was not closed: await aclose(), or use it as an async context manager"


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
    _told: int = field(default=0, init=False)
    """The last record of which the log says that it is left."""
    _then: Callable[[], None] | None = field(default=None, init=False)
    """What follows once the worker has sent what is there."""

    def see_to_worker(self) -> Worker | None:
        """
        Have a worker in a loop that runs, the running one if it has none.

        Returns:
            The worker; None where there is none and no loop runs here.
        """
        loop = _get_running_loop()
        is_orphaned = False
        with self.queue.lock:
            worker = self.worker
            if worker is not None and not worker.is_over:
                if worker.loop.is_running():
                    return worker
                is_orphaned = worker.loop.is_closed()
                if loop is not None or is_orphaned:
                    worker.abandon()
            if self.queue.closed and not self.queue.ledger.queued:
                return worker  # a push that lost its race with a close starts nothing
            if loop is not None:
                worker = self.worker = self.make_worker(loop, self._on_worker_over)
        if loop is None or worker is None:
            # Not under the lock: a log handler is user code.
            self._say_left() if is_orphaned else self._warn_loopless()
            return None
        if self.spooler is not None:
            self.spooler.start()
        worker.start()
        return worker

    def need_worker(self) -> Worker:
        """
        Do the same within a coroutine, where a loop runs for certain.
        """
        worker = self.see_to_worker()
        assert worker is not None  # noqa: S101
        return worker

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

        server_id = await self.run_in(worker.loop, send(), deadline)
        if server_id is None:
            raise DeliveryError(
                "the event could not be delivered: the exporter's event loop does not answer",
                reason=DropReason.SEND_FAILED,
            )
        return server_id

    async def run_in(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        deadline: float | None,
    ) -> T | None:
        """
        Await *work* in *loop*, from whichever loop is running.

        Returns:
            What it returns; None if another loop ended first, or did not answer
            by *deadline*.
        """
        if loop is asyncio.get_running_loop():
            return await work
        try:
            future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
        except RuntimeError:  # closed since it was chosen
            work.close()
            return None
        try:
            limit = NEVER if deadline is None else Deadline(deadline, self.clock.now())
            async with within(self.clock, limit):
                return await future
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not future.cancelled() or (task is not None and task.cancelling()):
                raise
            return None  # the other loop ended, not this task

    # How it ends where nobody closes it.

    def wind_up(self, then: Callable[[], None]) -> bool:
        """
        Have the worker send what is there, for `close_timeout` at most.

        Waits for nothing. Any thread, and signal handlers.

        Args:
            then: Called in the worker's loop once all that is there has its outcome,
                or no more can be had in time.

        Returns:
            Whether there is anything to send and a loop runs to do so; if not,
            *then* is not called.
        """
        worker = self.worker if _get_running_loop() is None else self.see_to_worker()
        if worker is None or worker.is_over or not worker.loop.is_running():
            return False
        if not self.queue.has_records:
            return False
        self._then = then
        flush = self._flush(worker)
        try:
            asyncio.run_coroutine_threadsafe(flush, worker.loop)
        except RuntimeError:  # closed just now, by another thread
            flush.close()
            return False
        return True

    async def _flush(self, worker: Worker) -> None:
        await worker.flush(self.clock.now() + self.settings.close_timeout)
        # Not if this is cancelled: the loop ends then, and the worker still sends as it does.
        self._go_on()

    def _go_on(self) -> None:
        worker, then, self._then = self.worker, self._then, None
        if then is not None and worker is not None and not worker.loop.is_closed():
            # Not here, within a task: it may raise KeyboardInterrupt.
            worker.loop.call_soon(then)

    def end(self) -> None:
        """
        Close, in the loop of another thread where one runs, and without any else.
        """
        self.queue.close()
        worker, seconds = self.worker, self.settings.close_timeout
        if worker is not None and not worker.is_over and worker.loop.is_running():
            close = worker.close(self.clock.now() + seconds)
            closed = asyncio.run_coroutine_threadsafe(close, worker.loop)
            for _ in range(PARTS):  # as a Deadline: the process may be frozen meanwhile
                if futures.wait((closed,), (seconds + _TO_HANG_UP) / PARTS).done:
                    break
        self.save_all()

    def save_all(self) -> None:
        """
        Take no more, and give up what is in memory: no loop will run that could send it.

        It goes to the spool, for who starts next. Else it is dropped, and said, unless the
        log has told of it already.
        """
        self.queue.close()
        worker = self.worker
        if worker is not None and not worker.is_over:
            worker.abandon()
        if self.spooler is not None and self.queue.has_records:
            self.spooler.start(is_ending=True)
        self.settler.drain(DropReason.CLOSED, detail=_ENDED, told=self._told)
        if self.spooler is not None:
            self.spooler.close()
        self.settler.say_rest()

    def __del__(self) -> None:
        if self.queue.has_records:
            self.save_all()

    # Looking in.

    def stats(self) -> Stats:
        """
        Read the books; they balance. Any thread.
        """
        return read_books(self.queue, self.worker, self.spooler, self.clock, self.health())

    def health(self) -> tuple[str, str]:
        """
        Say how the exporter is, in one word, and why, in a few.
        """
        if self.settings.disabled_reason:
            return "closed", self.settings.disabled_reason
        if self.queue.closed:
            return "closed", "aclose() was called"
        worker = self.worker
        if worker is None or not worker.is_serving or not worker.loop.is_running():
            if worker is not None and worker.fault:
                return "degraded", f"the worker failed of {worker.fault} and starts again"
            return "starting", "no event loop runs it"
        if worker.breaker.is_suspended:
            return "suspended", worker.breaker.reason
        if worker.breaker.is_blocked:
            return "retrying", f"the server fails: {worker.breaker.reason}"
        if worker.shipper.backing_off or worker.breaker.hold_until > self.clock.now():
            return "retrying", "the server can't be reached or asks for time"
        if self.spooler is not None and (fault := self.spooler.writer.fault):
            return "degraded", f"the spool can't be written to: {fault}"
        return "ok", ""

    # Within.

    def _on_worker_over(self) -> None:
        if self.queue.closed:
            self.settler.drain(DropReason.CLOSED)
        else:
            self._say_left()
        self._go_on()

    def _say_left(self) -> None:
        ledger = self.queue.ledger
        if left := ledger.queued:
            self._told = ledger.pushed + ledger.recovered
            log.warning(
                "the event loop ends with %d events queued: await aclose() before it does", left
            )

    def _warn_loopless(self) -> None:
        queued = self.queue.ledger.queued
        if not self._warned_loopless and queued >= _LOOPLESS_EVENTS:
            self._warned_loopless = True
            log.warning(
                "%d events were pushed and no event loop has run yet: await start() in one", queued
            )
