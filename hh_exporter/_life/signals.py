"""
SIGTERM and SIGINT: flush first, then do what the signal did before.

A handler runs in the main thread between any two steps of the program, so it only
asks the workers to wind up. The last of them raises the signal again, and that time
the previous action runs; never while the signal has interrupted a queue, whose lock
the flush needs. signal.signal is used, not asyncio's add_signal_handler, which can't
tell what was there before.
"""

from __future__ import annotations

import os
import signal
from asyncio import AbstractEventLoop, Handle, _get_running_loop
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

_SIGNALLED = 128
"""What shells add to the number of a signal that ended a process."""

_Action: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


@define(eq=False)
class _Handler:
    """
    Our handler of a signal, before the action that was there.
    """

    action: _Action
    _busy: set[Lifetime | None] = Factory(set)
    """Those whose workers are winding up."""
    _has_come: bool = False
    """Whether the signal has come and they were asked to."""
    _held: tuple[AbstractEventLoop, dict[int, Any], Handle] | None = None
    """An event loop, where it looks for its callbacks, and the one of them that must wait."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _comes_later(number):
            self._hold_up(number)
            return
        if not self._has_come:
            self._has_come = True
            self._wind_up(number)
            if self._busy:
                self._hold_up(number)
                return
        self._has_come = False  # the program may go on
        self._let_go(number)
        if callable(self.action):
            self.action(number, frame)
            return
        lives = living()
        for life in lives:
            life.queue.close()  # what `record` times stays open: hooks may want interrupted locks
        save_all(lives)
        # So that the parent process sees which signal ended this one.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        # The kernel ignores default actions for the first process of a container (PID 1).
        os._exit(_SIGNALLED + number)

    def forget(self) -> None:
        """
        Start again in a forked child: signals so far were its parent's.
        """
        self._busy, self._has_come, self._held = set(), False, None

    def _hold_up(self, number: int) -> None:
        """
        Keep the running loop from calling the callback of add_signal_handler, until `_let_go`.

        The signal's number is in the loop's own socket by now: CPython's handler writes it,
        and asyncio reads it later, in this thread, and looks for what it is to call.
        """
        loop = _get_running_loop()
        callbacks = getattr(loop, "_signal_handlers", None)
        if loop is not None and isinstance(callbacks, dict) and number in callbacks:
            self._held = loop, callbacks, callbacks.pop(number)

    def _let_go(self, number: int) -> None:
        """
        Have the loop call it: once, however often its number was written meanwhile.
        """
        if self._held is None:
            return
        loop, _, callback = self._held
        if loop is _get_running_loop():
            loop.call_soon_threadsafe(callback._run)
            # Put back in the turn after the next, when all numbers so far have been read.
            loop.call_soon(loop.call_soon, self._put_back, number)
        else:
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        if self._held is not None:
            _, callbacks, callback = self._held
            callbacks.setdefault(number, callback)
            self._held = None

    def _wind_up(self, number: int) -> None:
        self._busy = {None}  # not empty before all are asked
        for life in living():
            self._busy.add(life)
            # Without a handler of its own the process ends by it, and its blocks never do.
            ends_blocks = not callable(self.action)
            if not life.wind_up(partial(self._go_on, life, number), ends_blocks=ends_blocks):
                self._busy.discard(life)
        self._busy.discard(None)

    def _go_on(self, life: Lifetime, number: int) -> None:
        self._busy.discard(life)
        if self._busy or not self._has_come:
            return
        if _is_of_uvloop(self.action):
            self._has_come = False  # uvloop shows nobody what it calls, and has called it
        else:
            signal.pthread_kill(main_thread().ident or 0, number)


def _is_of_uvloop(action: _Action) -> bool:
    return type(getattr(action, "__self__", None)).__module__.startswith("uvloop")


def _comes_later(number: int) -> bool:
    """
    Raise the signal again later if it has interrupted a queue; say whether it has.
    """
    locks = [life.queue.lock for life in living()]
    # That is, by this thread; threading.Condition asks in the same way.
    held = [lock for lock in locks if lock._is_owned()]  # type: ignore[attr-defined]
    if not held:
        return False
    try:
        Thread(target=_raise_after, args=(held[0], number), daemon=True).start()
    except (RuntimeError, MemoryError):
        return False  # no thread can be started: better now than never
    return True


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
