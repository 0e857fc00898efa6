"""
Keep one worker in a loop that runs.

A worker belongs to one event loop and ends with it; the queue does not. Where
the loop went away the worker's records go back to the queue, and the next loop
that has something to do with the exporter gets a worker of its own.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, field

from hh_exporter._batcher import Batcher
from hh_exporter._bell import Bell
from hh_exporter._breaker import Breaker
from hh_exporter._clock import Clock
from hh_exporter._delivery import Deliverer
from hh_exporter._dialect import Dialect
from hh_exporter._environment import Settings
from hh_exporter._outcomes import DropReason
from hh_exporter._probing import Prober
from hh_exporter._queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter._recovery import Recovery
from hh_exporter._sessions import Sessions
from hh_exporter._settler import Settler
from hh_exporter._shipping import Shipper
from hh_exporter._spooler import Spooler
from hh_exporter._transport import Transport
from hh_exporter._worker import Worker
from hh_exporter.exceptions import DeliveryError

__all__ = ["Lifetime", "run_in"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOPLESS_EVENTS = 1000
"""How many events may be queued without a loop before it is worth a warning."""


@define(eq=False, kw_only=True)
class Lifetime:
    """
    The worker, and the loop that it lives in.
    """

    settings: Settings
    queue: RecordQueue
    settler: Settler
    dialect: Dialect
    sessions: Sessions
    spooler: Spooler | None
    clock: Clock
    random: Callable[[], float]
    worker: Worker | None = field(default=None, init=False)
    _warned_loopless: bool = field(default=False, init=False)

    def see_to_worker(self) -> Worker | None:
        """
        Have a worker in a loop that runs, the running one if it has none.

        Returns:
            The worker; None where there is none and no loop runs here.
        """
        loop = _get_running_loop()
        with self.queue.lock:
            worker = self.worker
            if worker is not None and not worker.is_over:
                if worker.loop.is_running():
                    return worker
                if loop is not None:
                    worker.abandon()
            if self.queue.closed and not self.queue.ledger.queued:
                return worker  # a push that lost its race with a close starts nothing
            if loop is not None:
                worker = self.worker = self._make_worker(loop)
        if loop is None or worker is None:
            self._warn_loopless()  # not under the lock: a log handler is user code
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
            with suppress(TimeoutError):
                async with self.clock.timeout_at(deadline):
                    await worker.wait_started()
            try:
                return await worker.deliverer.deliver_one(record, deadline)
            finally:
                worker.ring()

        server_id = await run_in(worker.loop, send(), self.clock, deadline)
        if server_id is None:
            raise DeliveryError(
                "the event could not be delivered: the exporter's event loop does not answer",
                reason=DropReason.SEND_FAILED,
            )
        return server_id

    def health(self) -> tuple[str, str]:
        """
        Say how the worker is, in one word, and why, in a few.
        """
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
        if self.spooler is not None and self.spooler.fault:
            return "degraded", f"the spool can't be written to: {self.spooler.fault}"
        return "ok", ""

    def _make_worker(self, loop: asyncio.AbstractEventLoop) -> Worker:
        settings = self.settings
        batcher = Batcher(settings.batch, self.dialect.overhead, self.sessions)
        breaker = Breaker(self.random)
        bell = Bell(self.clock)
        transport = Transport(
            base_url=settings.base_url,
            api_key=settings.api_key,
            timeout=settings.request_timeout,
            clock=self.clock,
            ssl_context=settings.ssl_context,
        )
        shipper = Shipper(
            queue=self.queue,
            transport=transport,
            breaker=breaker,
            policy=settings.retry,
            clock=self.clock,
            random=self.random,
            on_ambiguous=settings.on_ambiguous,
            compresses=settings.compression == "gzip",
            on_answer=bell.ring,
        )
        deliverer = Deliverer(
            queue=self.queue,
            settler=self.settler,
            dialect=self.dialect,
            sessions=self.sessions,
            shipper=shipper,
            clock=self.clock,
            limit_bytes=batcher.limit_bytes,
        )
        recovery = self._make_recovery(breaker, bell)
        return Worker(
            loop=loop,
            queue=self.queue,
            batcher=batcher,
            prober=Prober(self.queue, settings.batch.max_events),
            breaker=breaker,
            shipper=shipper,
            deliverer=deliverer,
            transport=transport,
            clock=self.clock,
            max_in_flight=settings.max_in_flight,
            recovery=recovery,
            on_over=self._on_worker_over,
            bell=bell,
        )

    def _make_recovery(self, breaker: Breaker, bell: Bell) -> Recovery | None:
        if self.spooler is None:
            return None
        recovery = Recovery(
            spooler=self.spooler,
            queue=self.queue,
            breaker=breaker,
            random=self.random,
            max_events=self.settings.batch.max_events,
            max_bytes=self.settings.batch.max_bytes,
        )

        def note() -> None:
            recovery.note_loaded()
            bell.ring()

        self.spooler.on_loaded = note
        return recovery

    def _on_worker_over(self) -> None:
        if self.queue.closed:
            self.settler.drain(DropReason.CLOSED)
        elif left := self.queue.ledger.queued:
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


async def run_in(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    clock: Clock,
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
    future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    try:
        async with clock.timeout_at(deadline):
            return await future
    except TimeoutError:
        return None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not future.cancelled() or (task is not None and task.cancelling()):
            raise
        return None  # the other loop ended, not this task
