"""
One worker, in a loop that runs.

A worker belongs to one event loop and ends with it; the queue does not. If the loop
is gone, the worker's records go back to the queue, and the next loop that uses the
exporter gets a worker of its own. That is a loop of the program's, or one in a thread
that is started for each worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from threading import Thread, current_thread
from weakref import ReferenceType, ref

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._delivery.worker import Worker
from hh_exporter._life.leftovers import Leftovers
from hh_exporter._life.loops import find_loop
from hh_exporter._life.thread import LoopThread, start_thread
from hh_exporter._queue.queue import RecordQueue

__all__ = ["Keeper"]

_START_AGAIN = 1.0
"""Seconds after which the start of a thread is tried again, if it failed."""

_held: set[Keeper] = set()
"""
Those with a worker that may still run, or whose spool is being closed: an event loop holds its
tasks weakly, and to collect one that is pending breaks it.
"""


@define(eq=False, kw_only=True)
class Keeper:
    """
    The worker of one exporter, and the loop that it lives in.
    """

    queue: RecordQueue
    leftovers: Leftovers
    clock: Clock
    make_worker: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Worker]
    """Called with the loop that it will live in, and what to call once it is over."""
    on_over: Callable[[], None]
    """Called once a worker is over, and what it held is back in the queue."""
    on_loopless: Callable[[], None]
    """Called where an event is pushed and no loop runs."""
    on_thread: Callable[[], None] = field(default=lambda: None, init=False)
    """Called once a thread was started for a worker."""
    has_thread: bool = field(default=False, init=False)
    """Whether the worker lives in a thread of its own, not in a loop of the program's."""
    worker: Worker | None = field(default=None, init=False)
    _thread: ReferenceType[Thread] | None = field(default=None, init=False)
    """The thread that runs the worker's loop, or did."""
    _start_at: float = field(default=-inf, init=False)
    """When the start of a thread may be tried again."""

    def see_to_worker(self) -> Worker | None:
        """
        Have a worker in a loop that runs; without one, make it in the running loop.

        Returns:
            The worker; None if there is none and no loop runs here that can have one.
        """
        if not self.has_thread:
            return self._see_to_worker(find_loop(), current_thread())
        if self.is_running or self._is_done:
            return self.worker
        started = self._start_thread()
        if started is None:  # then as any other
            return self._see_to_worker(find_loop(), current_thread())
        wait = None
        try:
            worker = self._see_to_worker(started.loop, started.thread)
            if worker is not None and worker.loop is started.loop:  # else another was faster
                wait = worker.ended.wait
        finally:
            started.end_after(wait)
        return worker

    def _start_thread(self) -> LoopThread | None:
        """
        Start a thread, unless that failed a moment ago: not every push should try.
        """
        if self.clock.now() < self._start_at:
            return None
        started = start_thread()
        if started is None:
            self._start_at = self.clock.now() + _START_AGAIN
        else:
            self.on_thread()
        return started

    @property
    def _is_done(self) -> bool:
        """
        Whether no more comes: a push that lost its race with a close starts nothing.
        """
        return self.queue.closed and not self.queue.ledger.queued

    def _see_to_worker(
        self, loop: asyncio.AbstractEventLoop | None, thread: Thread
    ) -> Worker | None:
        """
        Do the same with *loop*, which runs in *thread*, if there is no worker in another.
        """
        orphan: Worker | None = None
        with self.queue.lock:
            worker = self.worker
            if worker is not None and not worker.is_over:
                if worker.loop.is_running():
                    return worker
                if loop is not None or worker.loop.is_closed():
                    orphan = worker
                    orphan.abandon()
                    self.let_go()
            is_done = self._is_done
            if loop is not None and not is_done:
                made = self.make_worker(loop, self._on_worker_over)
                # A push may come in between, from a signal handler or a finaliser: to compare
                # and to store is one step for these.
                if self.worker is not worker:
                    return self.worker
                worker = self.worker = made
                self._thread = ref(thread)
                self.hold()
        # Not under the lock: it calls user code.
        if orphan is not None:
            orphan.deliverer.give_up_singles()
        if is_done:
            return worker
        if loop is None or worker is None:
            self.on_loopless()
            is_closed = orphan is not None and orphan.loop.is_closed()
            self.leftovers.say(orphan) if is_closed else self.leftovers.warn_loopless()
            return None
        try:
            if worker.refill is not None:
                worker.refill.begin()
            worker.start()
        except BaseException:  # from outside: the next to come makes another one
            worker.abandon()
            raise
        return worker

    def need_worker(self) -> Worker:
        """
        Do the same in a coroutine, after `check_loop`.
        """
        worker = self.see_to_worker()
        assert worker is not None  # noqa: S101
        return worker

    @property
    def is_running(self) -> bool:
        """
        Whether there is a worker, in a loop that runs.
        """
        worker = self.worker
        return worker is not None and not worker.is_over and worker.loop.is_running()

    @property
    def is_stopped(self) -> bool:
        """
        Whether the worker's loop is stopped, but open, and no other thread lives that may run it.
        """
        worker = self.worker
        if worker is None or worker.loop.is_running() or worker.loop.is_closed():
            return False
        thread = None if self._thread is None else self._thread()
        return thread is None or thread is current_thread() or not thread.is_alive()

    def hold(self) -> None:
        """
        Keep the worker from being collected, until `let_go`.
        """
        _held.add(self)

    def let_go(self) -> None:
        _held.discard(self)

    def _on_worker_over(self) -> None:
        with self.queue.lock:
            if self.worker is None or self.worker.is_over:  # else another has begun
                self.let_go()
        self.on_over()
