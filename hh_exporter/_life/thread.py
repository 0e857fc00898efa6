"""
An event loop in a daemon thread of its own, for programs that have none.

It runs before `start_thread` returns, and ends with the worker that it was started for. Starting
one takes no lock of ours and calls no code of the program, so signal handlers and finalisers may.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Runner
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from threading import Event, Thread
from typing import TypeAlias

from attrs import define, field

from hh_exporter._log import get_log
from hh_exporter._outside import let_through

__all__ = ["LoopThread", "start_thread"]

log = get_log(__name__)

_Wait: TypeAlias = Callable[[], Awaitable[object]]

_running: set[LoopThread] = set()
"""A forked child lacks the threads, and must not collect their loops: those are its parent's."""


@define(eq=False)
class LoopThread:
    """
    A thread that runs an event loop, in an empty context.
    """

    loop: AbstractEventLoop
    _runner: Runner
    _end: Future[_Wait | None]
    """What the thread waits for before it ends; None to end at once."""
    _is_up: Event = field(factory=Event, init=False)
    thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.thread = Thread(target=self._run, name="hh_exporter loop", daemon=True)

    def end_after(self, wait: _Wait | None) -> None:
        """
        End once *wait* returns, or at once; called once. Any thread.
        """
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._end.set_result, wait, context=Context())

    def begin(self) -> None:
        """
        Start, and wait until the loop runs.

        Raises:
            OSError, RuntimeError, MemoryError: No thread can be started.
        """
        # Made in the thread that waits: asyncio may log that, and that thread hold a log's lock.
        self.loop.call_soon(self._is_up.set, context=Context())
        _running.add(self)
        try:
            self.thread.start()
            self._is_up.wait()
        except BaseException:
            self.end_after(None)
            if self.thread.ident is None:  # it was not started
                _running.discard(self)
                self.loop.close()
            raise

    def _run(self) -> None:
        try:
            with self._runner as runner:
                runner.run(self._stay(), context=Context())
        except BaseException as exc:  # what on_outcome may raise to end the program
            # Without its text, which may quote a payload.
            log.error("hh_exporter: the exporter's thread ended with %s", type(exc).__name__)  # noqa: TRY400
        finally:
            self._is_up.set()
            _running.discard(self)

    async def _stay(self) -> None:
        wait = await self._end
        if wait is not None:
            await wait()


def start_thread() -> LoopThread | None:
    """
    Start a thread that runs an event loop, until `LoopThread.end_after` lets it end.

    Returns:
        None where no thread can be started, or no event loop be made: that is logged once.
    """
    try:
        # Not in set_event_loop, and in no context: the caller's are nobody else's.
        runner = Runner(loop_factory=asyncio.new_event_loop)
        loop = Context().run(runner.get_loop)
        thread = LoopThread(loop, runner, loop.create_future())
        thread.begin()
    except Exception as exc:
        let_through(exc)
        log.error_once(
            "hh_exporter: no thread can be started to send events (%s), retrying; logged once",
            type(exc).__name__,
        )
        return None
    return thread
