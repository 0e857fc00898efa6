"""
A port of 127.0.0.1 that comes and goes, and its connections.

What servers and proxies of tests are built on. The rule: nobody is served who
was accepted before a stop, and the port stays ours until the end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from attrs import define, field

__all__ = ["Connection", "Listener"]


class Connection(asyncio.StreamReaderProtocol):
    """
    The streams of one client, closed as soon as the client has gone.

    Attributes:
        gate: Opens once for each release, and when the connection is lost.
        on_lost: Called then.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.gate = asyncio.Semaphore(0)
        self.on_lost: Callable[[], object] = lambda: None
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        self.writer = asyncio.StreamWriter(transport, self, self.reader, loop)

    def eof_received(self) -> bool:
        # A stream stays half open by default, and a held answer would never
        # learn that nobody waits for it any more.
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gate.release()
        self.on_lost()

    def reset(self) -> None:
        """
        Close at once with an RST; harmless on a closed connection.
        """
        if not self.writer.is_closing():
            peer: socket.socket = self.writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def released(self) -> None:
        """
        Wait for a release; raises ConnectionResetError once the client has gone.
        """
        if not self.writer.is_closing():
            await self.gate.acquire()
        if self.writer.is_closing():
            raise ConnectionResetError("nobody waits for the answer")


@define(eq=False, repr=False)
class Listener(ABC):
    """
    Serves each connection in a task of its own.

    Attributes:
        connections: How many TCP connections were accepted.
    """

    connections: int = field(init=False, default=0)
    _socket: socket.socket = field(init=False)
    _port: int = field(init=False)
    _listening: bool = field(init=False, default=False)
    _open: set[Connection] = field(init=False, factory=set)
    _conversations: set[asyncio.Task[None]] = field(init=False, factory=set)

    @abstractmethod
    async def _serve(self, connection: Connection) -> bool:
        """
        Read and answer one request; return whether another one may follow.
        """

    @abstractmethod
    def _notify(self) -> None:
        """
        Note that a connection has ended.
        """

    @abstractmethod
    def _fail(self, text: str) -> None:
        """
        Note a fault of the test's own.
        """

    def _tls(self) -> ssl.SSLContext | None:
        """
        Choose how to begin with the connection that was just accepted; None for no TLS.
        """
        return None

    @property
    def url(self) -> str:
        """
        Name the server's address, without a slash at the end.
        """
        return f"http://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        """
        Count the TCP connections that are open now.
        """
        return len(self._conversations)

    async def open(self) -> None:
        self._socket = _bound_socket(0)
        self._port = self._socket.getsockname()[1]
        self._listen()

    async def close(self) -> None:
        await self.stop()
        self._socket.close()

    async def stop(self) -> None:
        """
        Refuse new connections and reset the open ones; nothing is forgotten.
        """
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            # Bound but not listening, it refuses connections and keeps the port ours.
            self._socket = _bound_socket(self._port)
        for connection in self._open:
            connection.reset()
        # Not cancelled: each ends by itself, and a task cancelled before its
        # first step would leave its socket open.
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def restart(self) -> None:
        """
        Stop if need be, then listen on the same port again.
        """
        await self.stop()
        self._listen()

    def _listen(self) -> None:
        self._socket.listen(128)
        # Not asyncio's own server: a connection that arrives while that one is
        # being closed leaves its socket open.
        asyncio.get_running_loop().add_reader(self._socket, self._accept)
        self._listening = True

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # gone before we looked
        accepted.setblocking(False)
        self.connections += 1
        conversation = asyncio.create_task(self._converse(accepted, self.connections))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._hang_up)

    def _hang_up(self, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        self._notify()
        if not conversation.cancelled() and (error := conversation.exception()):
            # A fault of the script or of this file must not look like the client's.
            self._fail("".join(traceback.format_exception(error)))

    async def _converse(self, accepted: socket.socket, number: int) -> None:
        """
        Serve one connection until it is closed for good.
        """
        connection = Connection(number)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, ssl=self._tls())
        except (ConnectionError, ssl.SSLError):
            return  # who does not trust us says so, or just goes
        self._open.add(connection)
        try:
            if not self._listening:
                connection.reset()  # stopped since it was accepted
            while await self._serve(connection):
                pass
        except (ConnectionError, EOFError):
            pass  # the client has gone, as clients do
        finally:
            connection.writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await connection.writer.wait_closed()
            self._open.discard(connection)


def _bound_socket(port: int) -> socket.socket:
    # By this name asyncio knows TCP and turns Nagle's algorithm off, whose pauses are real time.
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound
