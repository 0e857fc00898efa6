"""
A function of any kind, with a block around each of its calls.

The wrapper is of the same kind as the function and behaves the same for its caller: the same
results and exceptions, and for generators the same values sent, thrown and returned.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Protocol

__all__ = ["Call", "name_of", "wrap"]


class Call(Protocol):
    """
    One call of a function, from its begin to its end.
    """

    def resumed(self) -> AbstractContextManager[None]:
        """
        Make the context in which a generator runs each time that it is resumed.
        """

    def note(self, item: object) -> None:
        """
        Note what a generator yields.
        """

    def end(self, exc: BaseException | None = None) -> None:
        """
        Note that it ended, with *exc* if that is not None.
        """

    def end_with(self, result: object) -> None:
        """
        Note what it returned.
        """


Begin = Callable[[tuple[Any, ...], dict[str, Any]], Call]
"""Begins a call, with its arguments. Raises nothing, nor does what it returns."""


def wrap(function: Any, make_begin: Callable[[Any, bool], Begin]) -> Any:
    """
    Make a function of the same kind that begins and ends a call each time.

    Args:
        function: A function, a method, or what `staticmethod` or `classmethod` made of one.
        make_begin: Called with the function itself, and whether it is a generator.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrap(function.__func__, make_begin))
    if not callable(function) or isinstance(function, type):
        is_class = isinstance(function, type)
        what = (
            f"class {function.__name__}" if is_class else f"value of type {type(function).__name__}"
        )
        raise TypeError(f"only functions can be decorated, and not a {what}")
    called = function if inspect.isroutine(function) else _called(function)
    if inspect.isasyncgenfunction(called):
        return _wrap_async_generator(function, make_begin(function, True))
    if inspect.isgeneratorfunction(called):
        return _wrap_generator(function, make_begin(function, True))
    if inspect.iscoroutinefunction(called):
        return _wrap_coroutine(function, make_begin(function, False))
    return _wrap_function(function, make_begin(function, False))


def name_of(function: Any) -> str:
    """
    Name *function* as a reader of its module would: by its class, and not by what makes it.
    """
    while hasattr(function, "func"):
        function = function.func  # a partial
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _called(instance: Any) -> Any:
    """
    Find what runs when *instance* is called: that may be a coroutine function.
    """
    return instance if hasattr(instance, "func") else type(instance).__call__


def _wrap_function(function: Any, begin: Begin) -> Any:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        one = begin(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as exc:
            one.end(exc)
            raise
        one.end_with(result)
        return result

    return call


def _wrap_coroutine(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        one = begin(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as exc:
            one.end(exc)
            raise
        one.end_with(result)
        return result

    return call


def _wrap_generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        one = begin(args, kwargs)
        resumed = one.resumed()
        try:
            with resumed:
                generator = function(*args, **kwargs)
            resume, given = generator.send, None
            while True:
                try:
                    with resumed:
                        item = resume(given)
                except StopIteration as stop:
                    one.end()
                    return stop.value
                one.note(item)
                try:
                    resume, given = generator.send, (yield item)
                except GeneratorExit:
                    with resumed:
                        value = generator.close()
                    one.end()
                    return value
                except BaseException as exc:  # the reader's, for the generator to handle
                    resume, given = generator.throw, exc
        except BaseException as exc:
            given = None  # it may be this exception, which refers to this frame
            one.end(exc)
            raise

    return call


def _wrap_async_generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        one = begin(args, kwargs)
        resumed = one.resumed()
        try:
            with resumed:
                generator = function(*args, **kwargs)
            resume, given = generator.asend, None
            while True:
                try:
                    with resumed:
                        item = await resume(given)
                except StopAsyncIteration:
                    one.end()
                    return
                one.note(item)
                try:
                    resume, given = generator.asend, (yield item)
                except GeneratorExit:
                    with resumed:
                        await generator.aclose()
                    one.end()
                    return
                except BaseException as exc:
                    resume, given = generator.athrow, exc
        except BaseException as exc:
            given = None
            one.end(exc)
            raise

    return call
