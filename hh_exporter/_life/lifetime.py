"""
Start, flush and close an exporter in any loop, and end it where nobody closed it.

Waits end with the loop that the worker lives in; what is left then goes to a worker in
the waiting loop, or is given up.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import _get_running_loop
from collections.abc import Callable
from concurrent import futures
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock, let_arrive
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.worker import Worker
from hh_exporter._environment import Settings
from hh_exporter._life.books import read_books, read_health
from hh_exporter._life.feeds import Feeds
from hh_exporter._life.keeper import Keeper
from hh_exporter._life.leftovers import Leftovers
from hh_exporter._life.loops import check_loop, run_in
from hh_exporter._outcomes import FlushResult, Settlement, Stats
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._queue.watches import Watch
from hh_exporter._recording.blocks import Block, end_all

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["Lifetime"]


@define(eq=False, kw_only=True)
class Lifetime:
    """
    The life of one exporter.
    """

    settings: Settings
    queue: RecordQueue
    settler: Settler
    spooler: Spooler | None
    clock: Clock
    make_worker: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Worker]
    """Called with the loop that it will live in, and what to call once it is over."""
    keeper: Keeper = field(init=False)
    leftovers: Leftovers = field(init=False)
    copy: Lifetime | None = field(default=None, init=False)
    """That of the copies of its events, if there are any: it opens and ends with this one."""
    _then: Callable[[], None] | None = field(default=None, init=False)
    """Called once the worker has sent what is there."""
    _pid: int = Factory(os.getpid)
    _is_forgotten: bool = field(default=False, init=False)
    """Whether its exporter was collected."""
    _is_at_exit: bool = field(default=False, init=False)
    """Whether the end of the process closes it."""
    close_watch: Watch | None = field(default=None, init=False)
    """What was there when it was closed."""
    closers: int = field(default=0, init=False)
    """How many callers wait for a close; changed under the queue's lock."""
    feeds: Feeds = field(factory=Feeds, init=False)
    """What pushes later, unless this ends or is flushed before."""
    open_blocks: set[Block] = field(factory=set, init=False)
    """Blocks of `record` and `trace` that have not ended."""
    on_ended: set[Callable[[], None]] = field(factory=set, init=False)
    """Called once the worker is over. Any thread."""

    def __attrs_post_init__(self) -> None:
        self.leftovers = Leftovers(
            queue=self.queue, settler=self.settler, address=self.settings.address
        )
        self.keeper = Keeper(
            queue=self.queue,
            leftovers=self.leftovers,
            clock=self.clock,
            make_worker=self._make_worker,
            on_over=self._on_worker_over,
            on_loopless=self._on_loopless,
        )

    def _make_worker(self, loop: asyncio.AbstractEventLoop, on_over: Callable[[], None]) -> Worker:
        worker = self.make_worker(loop, on_over)
        worker.on_last_call = self._push_last
        self.feeds.move(loop)
        return worker

    async def _push_last(self) -> None:
        """
        Have all pushed that waits, once the tasks that are cancelled with the worker have ended.
        """
        await let_arrive()
        self.feeds.give()

    @property
    def worker(self) -> Worker | None:
        return self.keeper.worker

    @property
    def holds(self) -> bool:
        """
        Whether anything has no outcome yet, or is still to be pushed by a feed.
        """
        return bool(self.queue.has_records) or self.feeds.holds()

    def live_in_thread(self) -> None:
        """
        Have each worker live in a thread of its own, instead of a loop of the program's.
        """
        self.keeper.has_thread = self.leftovers.has_thread = True
        if self.copy is not None:
            self.copy.live_in_thread()

    check_loop = staticmethod(check_loop)
    """Found here by the exporter: a sandbox would load the module anew for each import."""

    async def start(self) -> None:
        """
        Have a worker that has begun to serve.
        """
        has_begun = False
        while not has_begun:
            worker = self.keeper.need_worker()
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
                worker = self.keeper.need_worker()
                await worker.flush(watch, bell, deadline)
                has_ended = worker.is_over or not worker.loop.is_running()
                if self.queue.closed or worker.loop is _get_running_loop() or not has_ended:
                    break
        finally:
            self.queue.unwatch(watch)
        return watch.result()

    def accept_no_more(self) -> None:
        """
        Push what is being recorded, unless that was done before, and close the queue.
        """
        if not self.queue.closed:
            end_all(self.open_blocks)
        self.feeds.give()  # what came to them after a close is counted as such
        self.queue.close()

    def open_again(self) -> None:
        """
        Accept events again after a close.
        """
        with self.queue.lock:
            if self.close_watch is not None:
                self.queue.unwatch(self.close_watch)
                self.close_watch = None
            self.leftovers.is_cut_short = False
            self.queue.closed = False
        if self.copy is not None:
            self.copy.open_again()

    # How it ends if it is not closed.

    def wind_up(self, then: Callable[[], None], *, ends_blocks: bool = False) -> bool:
        """
        Have the worker send what is there, for `close_timeout` at most.

        Waits for nothing. Any thread, and signal handlers.

        Args:
            then: Called in the worker's loop once everything has its outcome, or no
                more can be delivered in time.
            ends_blocks: Whether to push what is being recorded, too: in that loop, since the
                caller may have interrupted a hook of the program that is called for it.

        Returns:
            Whether there is anything to send, and a loop runs that can; if not,
            *then* is not called.
        """
        if not (self.holds or (ends_blocks and self.open_blocks)):
            return False
        worker = self.worker if _get_running_loop() is None else self.keeper.see_to_worker()
        if worker is None or worker.is_over or not worker.loop.is_running():
            return False
        self._then = then
        flush = self._flush_and_go_on(ends_blocks=ends_blocks)
        try:
            asyncio.run_coroutine_threadsafe(flush, worker.loop)
        except RuntimeError:  # closed just now, by another thread
            flush.close()
            return False
        return True

    async def _flush_and_go_on(self, *, ends_blocks: bool) -> None:
        if ends_blocks:
            end_all(self.open_blocks)
        self.feeds.give()
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
        Have the worker send what is there, for `close_timeout` at most, and then end.

        Waits for nothing.

        Returns:
            Done once the worker has ended; None where no loop can do it. One that is stopped can,
            once it is run: `Keeper.is_stopped` says whether the caller may.
        """
        worker, is_stopped = self.worker, self.keeper.is_stopped
        self._is_at_exit = not self.queue.closed
        if not is_stopped:
            self.accept_no_more()
        if worker is None or not (is_stopped or self.keeper.is_running):
            return None
        # A loop that was stopped has tasks of the program, which go on with it: not for nothing.
        is_needed = not is_stopped or self.holds or self.open_blocks
        if worker.loop is _get_running_loop() or not is_needed:
            return None
        end = self._end_in_loop(self.clock.now())
        try:
            return asyncio.run_coroutine_threadsafe(end, worker.loop)
        except RuntimeError:  # closed just now
            end.close()
            return None

    async def _end_in_loop(self, began_at: float) -> None:
        seconds = self.settings.close_timeout
        deadline = began_at + seconds
        # Tasks of a loop that was stopped go on meanwhile, and push what they were about to.
        while self.queue.has_open_records and self.clock.now() < began_at + seconds / 2:
            if self.queue.closed or (await self.flush(deadline)).left:
                break
            await let_arrive()  # what waits for room in the queue
        self.accept_no_more()
        worker = self.keeper.need_worker() if self.queue.has_records else self.worker
        if worker is not None and not worker.is_over:
            await run_in(worker.loop, worker.close(deadline), self.clock, deadline)

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
        if self.copy is not None:
            self.copy.forget(None)
        self.settler.on_outcome = on_outcome
        self._is_forgotten = True  # first: the worker may be ending
        worker = self.worker
        if worker is not None and self.keeper.is_running:
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
        if self.copy is not None:
            self.copy.save_all()

    def give_up(self) -> None:
        """
        Do the same without waiting; follow with `join`.

        It goes to the spool, for the next process. Without one it is dropped, and logged
        unless a message has counted it already.
        """
        self.accept_no_more()
        worker = self.worker
        with ExitStack() as steps:  # each, whatever the user's callback raises in another
            steps.callback(self._retire)
            steps.callback(self._spool_or_drop)
            if worker is not None and not worker.is_over:
                worker.abandon()
                worker.deliverer.give_up_singles()

    def _spool_or_drop(self) -> None:
        if self.spooler is not None and self.queue.has_records:
            self.spooler.save()
        self.leftovers.give_up(self.worker)

    def _retire(self) -> None:
        self.keeper.hold()
        if self.spooler is None or not self.spooler.retire(self._end):
            self._end()

    def must_write_here(self) -> bool:
        """
        Whether `join` writes what went to the spool itself, since no thread could be started.
        """
        thread = None if self.spooler is None else self.spooler.writer.thread
        return thread is not None and not thread.ident

    def join(self) -> None:
        """
        Block until what went to the spool is on disk, until 2 seconds after `give_up` at most.
        """
        if self.spooler is not None:
            self.spooler.join()

    def _end(self) -> None:
        self.keeper.let_go()
        self.settler.say_rest()

    # Looking in.

    @property
    def failure(self) -> str:
        """
        Why the server takes nothing, as far as is known; empty if it does.
        """
        breaker = None if self.worker is None else self.worker.breaker
        return "" if breaker is None else breaker.reason or breaker.failure

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

    def _on_loopless(self) -> None:
        if self.spooler is not None:
            self.spooler.write()

    def _on_worker_over(self) -> None:
        if self._is_forgotten:
            self.give_up()
        elif self._is_at_exit:
            self.leftovers.give_up(self.worker)
        elif self.queue.closed:
            self.leftovers.give_up_late(self.worker)
        else:
            self.leftovers.say(self.worker)
        self._go_on()
        self.tell_ended()

    def tell_ended(self) -> None:
        for ring in tuple(self.on_ended):
            ring()
