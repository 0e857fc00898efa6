"""
Servers that are of no use: they refuse, they don't accept, they don't answer.

What needs no code to fail is a bare socket; the others are processes of their
own. Run as a module it prints its port and trickles its answers, and ends when
its standard input does.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from benchmarks._server import running, serve

__all__ = ["HOSTILE", "REFUSING", "SILENT"]

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"success":true}'


@contextmanager
def _refusing() -> Iterator[str]:
    """
    Keep a port on which nobody listens.
    """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield _name(server)


@contextmanager
def _accepting_none() -> Iterator[str]:
    """
    Listen on a port whose line of connections to accept is full, and stays so.
    """
    with socket.socket() as server, ExitStack() as clients:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        while _connects(server, clients.enter_context(socket.socket())):
            pass
        yield _name(server)


def _connects(server: socket.socket, client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.connect(server.getsockname())
    except TimeoutError:
        return False
    return True


def _name(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _answering(pause: float | None) -> Iterator[str]:
    """
    Run a server that takes all that comes.

    Args:
        pause: Seconds before each byte of an answer; None for no answer.
    """
    with running(__name__, pause or 0.0) as url:
        yield url


REFUSING = "refuses connections"
SILENT = "never answers"
HOSTILE: Mapping[str, Callable[[], AbstractContextManager[str]]] = {
    REFUSING: _refusing,
    "accepts no connection": _accepting_none,
    SILENT: partial(_answering, None),
    "answers a byte a second": partial(_answering, 1.0),
}
"""Each runs for a block of code, and yields its URL."""


class _Connection(asyncio.Protocol):
    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._rest = _ANSWER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._pause:
            asyncio.get_running_loop().call_later(self._pause, self._answer)

    def _answer(self) -> None:
        first, self._rest = self._rest[:1], self._rest[1:]
        if first and not self._transport.is_closing():
            self._transport.write(first)
            asyncio.get_running_loop().call_later(self._pause, self._answer)


if __name__ == "__main__":
    pause = float(sys.argv[1])
    asyncio.run(serve(lambda: _Connection(pause)))
