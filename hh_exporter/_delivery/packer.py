"""
Have a backlog packed, and unpacked ahead of what is sent, in a thread of its own.

The queue says what is to be done. One job is under way at a time, and the next one begins where
it ends: the worker is woken once nothing is left. What becomes of a job that is never committed
is no matter: its records wait as they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf

from attrs import Factory, define, field

from hh_exporter._helper import Helper
from hh_exporter._log import get_log
from hh_exporter._packing import give_back
from hh_exporter._queue.packing import Job
from hh_exporter._queue.queue import RecordQueue

__all__ = ["Packer"]

log = get_log(__name__)

_GIVEN_BACK = 2 * 2**20
"""How many freed bytes are given back to the system at once, at least."""


@define(eq=False)
class Packer:
    """
    The packing of one worker, used in its loop.
    """

    queue: RecordQueue
    wake: Callable[[], None]
    """Wakes the worker, which calls `tend` then."""
    _helper: Helper = Factory(lambda: Helper("hh_exporter packing"))
    _give_back_at: int = field(default=_GIVEN_BACK, init=False)
    """How many bytes are freed before they are given back."""
    _is_busy: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)

    def tend(self, *, is_closing: bool = False) -> float:
        """
        Begin what is to be done, unless something is under way; nothing where all is to be sent.

        Returns:
            With how many bytes that wait to call it again.
        """
        if is_closing:
            self.queue.packing.is_served = False
            return inf
        self._is_over = False
        if not self._is_busy:
            self._begin()
        with self.queue.lock:
            return self.queue.packing.wait_bytes

    def end(self) -> None:
        """
        Let the thread end after its current job; `tend` starts another.
        """
        self._is_over = True
        self.queue.packing.is_served = False
        self._helper.close()

    def _begin(self) -> None:
        packing = self.queue.packing
        with self.queue.lock:
            job = self.queue.overflow.alone(packing.next)
        packing.is_served = False
        if job is None and packing.freed < self._give_back_at:
            return
        run: Callable[[], object] = partial(give_back, packing.freed) if job is None else job.run
        try:
            future = self._helper.submit(run)
        except OSError as exc:
            log.debug("nothing is packed: %s", exc)
            return
        self._is_busy, packing.is_served = True, job is not None
        future.add_done_callback(partial(self._end, job))

    def _end(self, job: Job | None, future: asyncio.Future[object]) -> None:
        self._is_busy, packing = False, self.queue.packing
        packing.is_served = False
        has_failed = future.exception() is not None
        with self.queue.lock:
            if job is not None and not has_failed:
                self.queue.overflow.alone(packing.commit, job)
            is_due = packing.is_due()
            if job is None and not has_failed and future.result():
                packing.freed, self._give_back_at = 0, _GIVEN_BACK
            elif job is None:
                self._give_back_at = 2 * packing.freed
        if has_failed:  # such as for lack of memory: not again before the worker looks
            log.debug("nothing is packed: %s", type(future.exception()).__name__)
        elif not self._is_over:
            self._begin()
        if is_due or not (self._is_busy or has_failed):
            self.wake()
