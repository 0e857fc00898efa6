"""
Exceptions that leave public methods, without the frames of this package.

Error reporters keep the locals of each frame of a traceback, and ours hold the key, headers
and bodies: the traceback of what is raised to the program begins at the public method.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar

from hh_exporter.exceptions import ExporterError

__all__ = ["raises_anew"]

P = ParamSpec("P")
T = TypeVar("T")


def raises_anew(cls: type[T]) -> type[T]:
    """
    Have all public coroutine functions of *cls* raise without our frames.
    """
    for name, method in tuple(vars(cls).items()):
        if iscoroutinefunction(method) and not name.startswith("_"):
            setattr(cls, name, _raising_anew(method))
    return cls


def _raising_anew(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Have *method*, a coroutine function, raise errors and cancellation without frames of ours.
    """

    @wraps(method)
    async def door(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except (ExporterError, CancelledError) as exc:
            raised = exc.with_traceback(None)
        raised.__cause__ = raised.__context__ = None
        try:
            raise raised
        finally:
            del raised  # it refers to this frame: a reference cycle

    return door
