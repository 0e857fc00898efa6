"""
Flush and close from code that can't await: block the calling thread until it is done.

What is awaited runs in an event loop of the call's own, so it can wait for the exporter's, whatever
becomes of that.
"""

from __future__ import annotations

import asyncio
from asyncio import Runner, _get_running_loop
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hh_exporter._outcomes import FlushResult
from hh_exporter._unique import Unique
from hh_exporter.exceptions import ExporterError

if TYPE_CHECKING:
    from hh_exporter._life.lifetime import Lifetime

__all__ = ["BlockingMethods"]

T = TypeVar("T")


class _NoLoopError(ExporterError):
    """
    There is no event loop to wait in.
    """


class BlockingMethods(Unique):
    """
    The methods of an exporter that block.
    """

    if TYPE_CHECKING:  # what else an exporter has
        _life: Lifetime

        async def start(self) -> None: ...

        async def flush(self, timeout: float | None = None) -> FlushResult: ...

        async def aclose(self, timeout: float | None = None) -> FlushResult: ...

    def flush_sync(self, timeout: float | None = None) -> FlushResult:
        """
        Block until all that was pushed before has its outcome; see `flush`.

        Args:
            timeout: Seconds to wait at most; None for no limit.

        Raises:
            ExporterError: It is called in the exporter's own thread, as by `on_outcome`, or no
                event loop can be made here.
        """
        _check_thread(self._life)
        return _wait_for(lambda: self.flush(timeout))

    def close(self, timeout: float | None = None) -> FlushResult:
        """
        Stop accepting events, and deliver what is queued until a deadline; see `aclose`.

        A program that ends without this call does the same, unless it ends by `os._exit`, as
        Celery's prefork children do.

        Args:
            timeout: Seconds; default `close_timeout`.

        Raises:
            ExporterError: It is called in the exporter's own thread, as by `on_outcome`, or no
                event loop can be made here: then what is queued was given up.
        """
        _check_thread(self._life)
        try:
            return _wait_for(lambda: self.aclose(timeout))
        except _NoLoopError:
            self._life.save_all()
            raise

    def __enter__(self) -> Self:
        """
        Open again what was closed, and take over what other processes left on a spool.
        """
        if self._life.queue.closed or self._life.spooler is not None:
            _wait_for(self.start)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _check_thread(life: Lifetime) -> None:
    if life.worker is not None and life.worker.loop is _get_running_loop():
        raise ExporterError("the exporter's own thread can't wait for itself: call it in another")


def _wait_for(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run *work* in an event loop of its own: in this thread, or beside one that runs a loop already.
    """
    if _get_running_loop() is None:
        return _run(work)
    future = Future[T]()

    def run() -> None:
        try:
            future.set_result(_run(work))
        except BaseException as exc:
            future.set_exception(exc)

    try:
        Thread(target=run, name="hh_exporter wait", daemon=True).start()
    except RuntimeError as exc:
        raise _NoLoopError(f"no thread can be started to wait in: {exc}") from None
    return future.result()


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    runner = Runner(loop_factory=asyncio.new_event_loop)
    try:
        runner.get_loop()
    except OSError as exc:
        raise _NoLoopError(f"no event loop can be made to wait in: {exc.strerror}") from None
    with runner:
        return runner.run(work())
