"""
Lines of files and pipes, read off the loop by one thread.

A read may block for good, on a pipe that nobody writes to, so the thread is a
daemon and nobody waits for it. It reads no further ahead than a few pieces, and
keeps no more of a line than an event could need: no input is too large.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import stat
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from errno import EBADF
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen

__all__ = ["MAX_LINE_BYTES", "Fault", "Line", "LineReader", "split"]

MAX_LINE_BYTES = 32 * 2**20
"""
A longer line is cut somewhere beyond this size. It is no event that could be
sent, even if each of its characters is written as an escape of six.
"""

_PIECE_BYTES = 2**18
_PIECES_AHEAD = 2
_GZIP = b"\x1f\x8b"
"""The magic number of a gzip member (RFC 1952 §2.3.1)."""
_BOM = b"\xef\xbb\xbf"
_STDIN = "-"


@frozen
class Line:
    """
    A line that is not blank.
    """

    source: str
    number: int
    """The first is 1; blank ones count too."""
    text: bytes = field(repr=False)


@frozen
class Fault:
    """
    Why a source could not be read, or not to its end.
    """

    source: str
    problem: str


@define(eq=False)
class LineReader:
    """
    Iterate over the lines of several sources, those of one read together.

    A context manager, in a running loop: the thread lives within it. Each
    source may be gzipped, as its first bytes tell.

    Args:
        names: Paths, or "-" for standard input.
    """

    names: Sequence[str]
    bytes_read: int = field(default=0, init=False)
    """How much was read of the sources, as they are stored."""
    size: int | None = field(init=False)
    """How much there is of it; None if a source is no ordinary file."""
    _loop: asyncio.AbstractEventLoop = field(init=False, factory=asyncio.get_running_loop)
    _arrived: asyncio.Queue[list[Line | Fault] | Exception] = field(
        init=False, factory=asyncio.Queue
    )
    _room: threading.Semaphore = field(
        init=False, factory=lambda: threading.Semaphore(_PIECES_AHEAD)
    )
    _is_stopped: bool = field(default=False, init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = _find_size(self.names)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._run, name="hh-exporter line reader", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_stopped = True
        self._room.release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Line | Fault]:
        arrived = await self._arrived.get()
        if isinstance(arrived, Exception):
            self._thread.join()  # this was its last act
            raise arrived
        self._room.release()
        return arrived

    # In the thread.

    def _run(self) -> None:
        end: Exception = StopAsyncIteration()
        try:
            for name in self.names:
                for lines in self._read(name):
                    self._room.acquire()
                    if self._is_stopped:
                        return
                    self._hand_over(lines)
        except Exception as exc:  # to be raised where it is awaited
            end = exc
        finally:
            self._hand_over(end)

    def _hand_over(self, what: list[Line | Fault] | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, what)

    def _read(self, name: str) -> Iterator[list[Line | Fault]]:
        source = "<stdin>" if name == _STDIN else name
        number = 0
        try:
            with ExitStack() as stack:
                stream = self._open(name, stack)
                for texts in split(stream):
                    yield [
                        Line(source, at, text)
                        for at, text in enumerate(texts, number + 1)
                        if text.strip()
                    ]
                    number += len(texts)
        except (OSError, EOFError, zlib.error) as exc:
            yield [Fault(source, _describe(exc))]

    def _open(self, name: str, stack: ExitStack) -> io.BufferedIOBase:
        """
        Open a source for reading what it holds, whether gzipped or not.
        """
        if name == _STDIN and sys.stdin is None:
            raise OSError(EBADF, "it is closed")  # its descriptor may be another file's by now
        # A file of our own: the interpreter waits for the lock of sys.stdin when it ends.
        file = stack.enter_context(
            open(  # noqa: SIM115
                0 if name == _STDIN else name, "rb", buffering=0, closefd=name != _STDIN
            )
        )
        os.set_blocking(file.fileno(), True)  # else an empty pipe would look like its end
        head = b""
        while len(head) < len(_GZIP) and (more := file.read(len(_GZIP) - len(head))):
            head += more
        stream = io.BufferedReader(_Unread(head, file, self), _PIECE_BYTES)
        return gzip.GzipFile(fileobj=stream) if head == _GZIP else stream


class _Unread(io.RawIOBase):
    """
    A file of which the first bytes were read, as if they had not been.
    """

    def __init__(self, head: bytes, file: io.FileIO, reader: LineReader) -> None:
        super().__init__()
        self._head = head
        self._file = file
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = len(self._head)
        if count:
            buffer[:count] = self._head
            self._head = b""
        else:
            count = self._file.readinto(buffer)
        self._reader.bytes_read += count
        return count


def _find_size(names: Iterable[str]) -> int | None:
    total = 0
    for name in names:
        try:
            status = os.stat(0 if name == _STDIN else name)  # noqa: PTH116 - a descriptor too
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


def split(stream: io.BufferedIOBase) -> Iterator[list[bytes]]:
    """
    Read lines as they come, without their ends, those of one read together.
    """
    begun: list[bytes] = []  # pieces of a line that has no end yet
    size = 0
    is_start = True
    while piece := stream.read1(_PIECE_BYTES):
        *ended, tail = piece.split(b"\n")
        if ended:
            ended[0] = b"".join((*begun, ended[0]))
            if is_start:
                ended[0] = ended[0].removeprefix(_BOM)
                is_start = False
            yield ended
            begun, size = [], 0
        if size <= MAX_LINE_BYTES:
            begun.append(tail)
            size += len(tail)
    last = b"".join(begun)
    yield [last.removeprefix(_BOM) if is_start else last]


def _describe(exc: Exception) -> str:
    match exc:
        case EOFError():
            return "ends in the middle of its gzip data"
        case gzip.BadGzipFile() | zlib.error():
            return "holds gzip data that are damaged"
        case OSError(strerror=str(text)):
            return f"can't be read: {text}"
        case _:
            return f"can't be read ({type(exc).__name__})"
