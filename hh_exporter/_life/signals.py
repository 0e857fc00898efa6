"""
SIGTERM and SIGINT: send what is there first, then do what was to be done.

A handler runs in the main thread between any two steps of the program, so it
only asks the workers to wind up. The last of them raises the signal again, and
that time it takes its course; never in the middle of a queue, which others may
have to enter before all is saved. signal.signal is used, not asyncio's
add_signal_handler, which can't say what was there before.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from threading import RLock, Thread, current_thread, main_thread
from types import FrameType
from typing import Any, TypeAlias

from attrs import Factory, define

from hh_exporter._life.endings import living, save_all
from hh_exporter._life.forks import in_child
from hh_exporter._life.lifetime import Lifetime
from hh_exporter.exceptions import ExporterError

__all__ = ["install"]

_Action: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


@define(eq=False)
class _Handler:
    """
    Our handler of a signal, before the action that was there.
    """

    action: _Action
    _busy: set[Lifetime | None] = Factory(set)
    """Whose workers are winding up."""
    _has_come: bool = False
    """Whether the signal has come and they were asked to."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _comes_later(number):
            return
        if not self._has_come:
            self._has_come = True
            self._wind_up(number)
            if self._busy:
                return
        self._has_come = False  # the program may go on
        if callable(self.action):
            self.action(number, frame)
            return
        save_all(living())
        # So that whoever waits for this process sees which signal ended it.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def forget(self) -> None:
        """
        Begin anew in a forked child: what came so far came to its parent.
        """
        self._busy, self._has_come = set(), False

    def _wind_up(self, number: int) -> None:
        self._busy = {None}  # not empty before all are asked
        for life in living():
            self._busy.add(life)
            if not life.wind_up(partial(self._go_on, life, number)):
                self._busy.discard(life)
        self._busy.discard(None)

    def _go_on(self, life: Lifetime, number: int) -> None:
        self._busy.discard(life)
        if not self._busy and self._has_come:
            signal.pthread_kill(main_thread().ident or 0, number)


def _comes_later(number: int) -> bool:
    """
    Have the signal come again once the queue is left that it has interrupted, if it has.
    """
    locks = [life.queue.lock for life in living()]
    # By this thread, that is: as threading.Condition asks.
    held = [lock for lock in locks if lock._is_owned()]  # type: ignore[attr-defined]
    for lock in held[:1]:
        Thread(target=_raise_after, args=(lock, number), daemon=True).start()
    return bool(held)


def _raise_after(lock: RLock, number: int) -> None:
    with lock:
        pass
    signal.pthread_kill(main_thread().ident or 0, number)


def install() -> None:
    """
    Handle the signals, unless they are ignored.

    Raises:
        ExporterError: This is not the main thread.
    """
    if current_thread() is not main_thread():
        raise ExporterError("install_signal_handlers() works in the main thread only")
    for number in (signal.SIGTERM, signal.SIGINT):
        action = signal.getsignal(number)
        # What is ignored stays so, and what is not Python's (None) could not be called.
        if action in (signal.SIG_IGN, None) or isinstance(action, _Handler):
            continue
        handler = _Handler(action)
        in_child(handler, _Handler.forget)
        signal.signal(number, handler)
