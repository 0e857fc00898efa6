"""
Tell exceptions of the user's code from those that interrupted it.

What the code of an event, a hook or a log handler raises is reported by its type, and changes
nothing. What comes from outside, from a signal handler that interrupted that code, is meant for
the program and must reach it.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import CO_VARARGS
from types import FrameType
from typing import Any

__all__ = ["comes_from_outside", "let_through"]

_STOPS = (KeyboardInterrupt, SystemExit)
"""What an event or a hook raises only to end the program."""


def comes_from_outside(exc: BaseException) -> bool:
    """
    Whether *exc* was not raised by the code that ran, but between two steps of it.

    That is a KeyboardInterrupt, or what a signal handler raised: a frame that has the frame
    below it, which it interrupted, as an argument.
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
    Raise *exc* again if it comes from outside, or is to end the program.
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
