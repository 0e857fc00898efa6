"""
Tell what others' code raised from what came from outside while it ran.

What the code of an event, a hook or a log handler raises is its own affair: it is reported
by name, and changes nothing. What a signal handler raises meanwhile is meant for the
program, and goes on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import CO_VARARGS
from types import FrameType
from typing import Any

__all__ = ["comes_from_outside", "let_through"]

_STOPS = (KeyboardInterrupt, SystemExit)
"""What nothing in an event or a hook raises but to end the program."""


def comes_from_outside(exc: BaseException) -> bool:
    """
    Whether *exc* was not raised by the code that ran, but in between two steps of it.

    So are a KeyboardInterrupt, and what a signal handler raises: that is told by its
    arguments, of which one is the frame that it interrupts.
    """
    if isinstance(exc, KeyboardInterrupt):
        return True
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        interrupted, at = at.tb_frame, at.tb_next
        if any(interrupted is argument for argument in _arguments(at.tb_frame)):
            return True
    return False


def let_through(exc: BaseException) -> None:
    """
    Raise what others' code can't mean by it: *exc* comes from outside, or ends the program.
    """
    if isinstance(exc, _STOPS) or comes_from_outside(exc):
        raise exc


def _arguments(frame: FrameType) -> Iterator[Any]:
    code, values = frame.f_code, frame.f_locals
    several = code.co_argcount + code.co_kwonlyargcount
    for name in code.co_varnames[:several]:
        yield values.get(name)
    if code.co_flags & CO_VARARGS:
        yield from values.get(code.co_varnames[several], ())
