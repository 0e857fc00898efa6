"""
A client's stream, passed on while it is read.

The reader gets the same chunks and exceptions as without us, and the stream is closed when the
reader closes it. There is no generator in between: an event loop would close that in a task of
its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, TypeVar

from attrs import define, field

from hh_exporter._responses.reading import Reading

__all__ = ["AsyncChunks", "Chunks", "pass_on"]

T = TypeVar("T")


@define(eq=False)
class _Passing:
    """
    A stream, and the reading that is taken of it.
    """

    _source: Any = field(repr=False)
    """What can be iterated over; None after the end."""
    _reading: Reading = field(repr=False)
    _iterator: Any = field(default=None, init=False, repr=False)

    def _end(self) -> None:
        self._reading.end = "complete"
        self._source = self._iterator = None

    def _stop(self) -> list[Any]:
        """
        End the stream for its reader, and list what to close, in that order.
        """
        iterator, source = self._iterator, self._source
        self._source = self._iterator = None
        if source is None:
            return []
        self._reading.stop()
        return [source] if iterator is None or iterator is source else [iterator, source]


class AsyncChunks(_Passing, AsyncIterator[T], Generic[T]):
    """
    The chunks of an asynchronous stream.
    """

    __slots__ = ()

    async def __anext__(self) -> T:
        if self._source is None:
            raise StopAsyncIteration
        try:
            if self._iterator is None:
                self._iterator = aiter(self._source)
            chunk: T = await anext(self._iterator)
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as exc:
            self._reading.fail(exc)
            raise
        self._reading.add(chunk)
        return chunk

    async def aclose(self) -> None:
        """
        Close the stream, unless it has ended; after that it has no more chunks.
        """
        await _aclose(self._stop())


class Chunks(_Passing, Iterator[T], Generic[T]):
    """
    The chunks of a synchronous stream.
    """

    __slots__ = ()

    def __next__(self) -> T:
        if self._source is None:
            raise StopIteration
        try:
            if self._iterator is None:
                self._iterator = iter(self._source)
            chunk: T = next(self._iterator)
        except StopIteration:
            self._end()
            raise
        except BaseException as exc:
            self._reading.fail(exc)
            raise
        self._reading.add(chunk)
        return chunk

    def close(self) -> None:
        """
        Close the stream, unless it has ended; after that it has no more chunks.
        """
        _close(self._stop())


class _EitherChunks(AsyncChunks[T], Chunks[T]):
    """
    The chunks of a stream that its reader may read in either way, such as LiteLLM's.
    """

    __slots__ = ()


def pass_on(source: Any, reading: Reading) -> AsyncChunks[Any] | Chunks[Any]:
    """
    Make an iterator over *source*, of the kind that it is.

    Raises:
        TypeError: It can't be iterated over.
    """
    kind = type(source)
    is_awaitable = hasattr(kind, "__await__")
    match hasattr(kind, "__aiter__"), hasattr(kind, "__iter__") and not is_awaitable:
        case True, True:
            return _EitherChunks(source, reading)
        case True, False:
            return AsyncChunks(source, reading)
        case False, True:
            return Chunks(source, reading)
    hint = "; await it first" if is_awaitable else ""
    raise TypeError(f"stream takes what can be iterated over, not a {kind.__name__}{hint}")


async def _aclose(streams: list[Any]) -> None:
    if streams:
        first, *others = streams
        close = getattr(first, "aclose", None) or getattr(first, "close", None)
        try:
            closing: Any = close() if callable(close) else None
            if hasattr(type(closing), "__await__"):
                await closing
        finally:
            await _aclose(others)


def _close(streams: list[Any]) -> None:
    if streams:
        first, *others = streams
        close = getattr(first, "close", None)
        try:
            if callable(close):
                close()
        finally:
            _close(others)
