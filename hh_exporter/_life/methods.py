"""
The methods of an exporter that begin, wait and end: start, flush, aclose and what calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from hh_exporter._clock import Clock
from hh_exporter._door import raises_anew
from hh_exporter._environment import Settings
from hh_exporter._outcomes import FlushResult, Stats

if TYPE_CHECKING:
    from hh_exporter._life.lifetime import Lifetime
    from hh_exporter._queue.queue import RecordQueue

__all__ = ["LifeMethods"]


@raises_anew
class LifeMethods:
    """
    The methods of an exporter about its own life.
    """

    _settings: Settings
    _clock: Clock
    _life: Lifetime
    _queue: RecordQueue
    _disabled: str

    async def start(self) -> None:
        """
        Start the worker in the running loop; after `aclose`, start it again.

        Without this call the first push in a running loop starts it. Events that were
        left on disk are counted once this returns.
        """
        if not self._disabled:
            self._life.check_loop()
        if self._queue.closed:
            await self.aclose()
            self._life.open_again()
        if self._life.copy is not None:
            self._life.copy.keeper.see_to_worker()
        if not self._disabled:
            await self._life.start()

    async def flush(self, timeout: float | None = None) -> FlushResult:
        """
        Wait until all that was pushed before has its outcome.

        Args:
            timeout: Seconds to wait at most; None for no limit. It returns
                early if nothing more can be delivered in time and, without a
                limit, once the server refuses the exporter.
        """
        self._life.check_loop()
        from hh_exporter._life.together import flush

        return await flush(self._life, None if timeout is None else self._clock.now() + timeout)

    async def aclose(self, timeout: float | None = None) -> FlushResult:
        """
        Stop accepting events, and deliver what is queued until a deadline.

        What `record` and `trace` still time is pushed first, with the error "cancelled".
        What is left then is dropped as `closed`, or waits in the spool. A second call
        waits for the first and returns the same. If its task is cancelled, that is the
        deadline, unless another call waits: what is left is dropped, or on disk, before
        CancelledError is raised.

        Args:
            timeout: Seconds; default `close_timeout`.
        """
        self._life.check_loop()  # first: a sandbox would load a module of its own
        from hh_exporter._life.together import close

        seconds = self._settings.close_timeout if timeout is None else timeout
        return await close(self._life, self._clock.now() + seconds)

    def install_signal_handlers(self) -> None:
        """
        Flush on SIGTERM or SIGINT, before the previous handler runs.

        That handler, or the end of the process, follows within `close_timeout`, or
        immediately on a second signal. Exporters stay open meanwhile. Call it before
        a web server starts; one that replaces the handlers it finds, as daphne does
        with that of SIGTERM, takes them out of effect.

        Raises:
            ExporterError: This is not the main thread.
        """
        from hh_exporter._life.signals import install

        install()

    if not TYPE_CHECKING:

        def __enter__(self):
            raise TypeError("use `async with`; without asyncio, create it by Exporter.in_thread()")

        __exit__ = __enter__

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def stats(self) -> Stats:
        """
        Read the counters and the health, as they are at one instant. Any thread.
        """
        return self._life.stats()
