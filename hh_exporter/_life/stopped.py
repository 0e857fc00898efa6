"""
Event loops that were stopped before their work was done, run once more at the end of the process.

The tasks of the program in such a loop go on as well, so it runs no longer than is needed, and
what they raise to end the program ends nothing: it is ending.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

from attrs import define, field

__all__ = ["Interrupt", "StoppedLoop", "interruptible"]


@define(eq=False)
class StoppedLoop:
    """
    An event loop that only this thread can run.
    """

    loop: asyncio.AbstractEventLoop
    is_fit: bool = field(default=True, init=False)
    """Whether it can be run."""
    _is_run: bool = field(default=False, init=False)

    def run(self, seconds: float) -> None:
        """
        Run it for so long, or until something stops it.
        """
        try:
            timer = self.loop.call_later(seconds, self.loop.stop)
            self._is_run = True
            self.loop.run_forever()
            timer.cancel()
        except (KeyboardInterrupt, SystemExit):
            pass  # a task of the program passes it on, as the one did that it waited for
        except Exception:  # its files are closed, another thread runs it, or whatever it raises
            self.is_fit = False
        finally:
            self._is_run = False

    def stop(self, _: object = None) -> None:
        """
        End `run` now; called in the loop.
        """
        if self._is_run:
            self.loop.stop()


@define(eq=False)
class Interrupt:
    """
    Whether Ctrl-C was pressed.
    """

    has_come: bool = False

    def __call__(self, *_: object) -> None:
        self.has_come = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """
    Note Ctrl-C in the block, which else raises KeyboardInterrupt somewhere in a task of the loop.
    """
    interrupt = Interrupt()
    action = signal.getsignal(signal.SIGINT)
    if action is not signal.default_int_handler or current_thread() is not main_thread():
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, action)
