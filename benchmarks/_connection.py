"""
A connection to one of our servers: whole requests, one after the other.

One rule: what a request costs to read does not show beside the client that sent it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeAlias

from benchmarks._wires import Answer

__all__ = ["Connection", "Respond", "asks_for"]

_BUFFER_BYTES = 2**18
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Connection(asyncio.BufferedProtocol):
    """
    One connection.

    It reads into one buffer that it keeps, and that grows to the largest request:
    making 256 KB of bytes for each read costs more than all else here.

    Args:
        respond: Takes a whole request, whose body is good for no longer than the call.
            It has to see to it that the connection's `write` is called once.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._buffer = bytearray(_BUFFER_BYTES)
        self._filled = 0

    @property
    def is_open(self) -> bool:
        """
        Whether an answer still reaches somebody.
        """
        return not self._transport.is_closing()

    def write(self, answer: Answer) -> None:
        """
        Send the answer to the request.
        """
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b"
            % (
                answer.status,
                answer.content_type,
                len(answer.content),
                answer.headers,
                answer.content,
            )
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        head_end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if head_end < 0:
            return
        body_start = head_end + 4
        head = bytes(self._buffer[:body_start])
        length = _LENGTH.search(head)
        body_end = body_start + (int(length[1]) if length else 0)
        if self._filled < body_end:
            if len(self._buffer) < body_end:
                self._buffer = self._buffer.ljust(body_end)
            return
        self._filled = 0  # nobody pipelines: a client waits for its answer
        self._respond(self, head, memoryview(self._buffer)[body_start:body_end])


Respond: TypeAlias = Callable[[Connection, bytes, memoryview], None]


def asks_for(path: str, head: bytes) -> bool:
    """
    Say whether the request with this *head* is a GET of *path*.
    """
    return head.startswith(b"GET %b " % path.encode())
