"""
What may stand between a client and a server: TLS, a proxy, or a cable that can be cut.

Each passes bytes on to an address of 127.0.0.1 and says what it has seen.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from tests.listener import Connection, Listener

__all__ = ["Cable", "Head", "Proxy", "listening", "tls_before"]


@asynccontextmanager
async def listening(
    serve: Callable[[StreamReader, StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """
    Run *serve* for each connection to a port of 127.0.0.1; yield the port.
    """
    conversations: dict[asyncio.Task[None] | None, StreamWriter] = {}

    async def converse(reader: StreamReader, writer: StreamWriter) -> None:
        conversations[asyncio.current_task()] = writer
        try:
            with suppress(ConnectionError, EOFError, ssl.SSLError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # Not cancelled, which asyncio's streams log: each ends with its connection.
        for writer in conversations.values():
            writer.transport.abort()
        await asyncio.gather(*filter(None, conversations))


async def _pass_on(
    port: int,
    reader: StreamReader,
    writer: StreamWriter,
    said: bytes,
    *,
    flows: asyncio.Event | None = None,
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """
    Connect a client, and what it *said* already, with *port*, until one side is done.

    Args:
        flows: While it is not set, nothing passes, and nothing is lost.
        gone: Returns, or raises, once the client has gone, of which no stalled byte tells.
    """
    upstream, up = await asyncio.open_connection("127.0.0.1", port)
    up.write(said)

    async def pump(source: StreamReader, sink: StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while chunk := await source.read(2**16):
                if flows is not None:
                    await flows.wait()
                sink.write(chunk)
                await sink.drain()

    pumps = [asyncio.create_task(pump(reader, up)), asyncio.create_task(pump(upstream, writer))]
    if gone is not None:
        pumps.append(asyncio.create_task(gone()))
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        up.transport.abort()


@asynccontextmanager
async def tls_before(url: str, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """
    Speak TLS before the plain server at *url*; yield the port.
    """
    port = urlsplit(url).port
    assert port

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await _pass_on(port, reader, writer, b"")

    async with listening(serve, tls) as front:
        yield front


@define(kw_only=True)
class Head:
    """
    What a proxy was asked.

    Attributes:
        headers: By lower-case name.
    """

    method: str
    target: str
    headers: Mapping[str, str]


@define(eq=False, kw_only=True)
class Proxy:
    """
    A proxy for HTTP and for tunnels (RFC 9110 §9.3.6), all of which lead to one server.

    Attributes:
        leads_to: The port of 127.0.0.1 behind it, whatever a client asks for.
        refuses: A status to answer instead.
        heads: What clients asked it for; within a tunnel it sees nothing.
        port: Where it listens.
    """

    leads_to: int
    refuses: int | None = None
    heads: list[Head] = field(factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
        async with listening(self._serve, tls) as self.port:
            yield self

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        raw = await reader.readuntil(b"\r\n\r\n")
        line, *fields = raw.decode("latin-1").split("\r\n")[:-2]
        method, target, version = line.split(" ")
        pairs = (text.split(": ", 1) for text in fields)
        head = Head(method=method, target=target, headers={k.lower(): v for k, v in pairs})
        self.heads.append(head)
        if self.refuses is not None:
            writer.write(f"HTTP/1.1 {self.refuses} No\r\nContent-Length: 0\r\n\r\n".encode())
            await reader.read()  # until the client has gone
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            said = b""
        else:
            path = urlsplit(target).path
            said = raw.replace(line.encode(), f"{method} {path} {version}".encode(), 1)
        await _pass_on(self.leads_to, reader, writer, said)


@define(eq=False, repr=False)
class Cable(Listener):
    """
    Passes on bytes of whatever kind, while it is whole.

    Attributes:
        leads_to: The port of 127.0.0.1 at its other end.
        failures: What went wrong within.
    """

    leads_to: int
    failures: list[str] = field(init=False, factory=list)
    _flows: asyncio.Event = field(init=False, factory=asyncio.Event)

    @property
    def port(self) -> int:
        return self._port

    async def open(self) -> None:
        await super().open()
        self._flows.set()

    async def cut(self) -> None:
        """
        Reset its connections and refuse others, as where a host's network is gone.
        """
        await self.stop()

    def freeze(self) -> None:
        """
        Pass nothing on and close nothing, as where packets are lost; connecting still works.
        """
        self._flows.clear()

    def restore(self) -> None:
        """
        End what `cut` or `freeze` began; what was held back arrives, if its client is still there.
        """
        self._flows.set()
        if not self._listening:
            self._listen()

    async def _serve(self, connection: Connection) -> bool:
        streams = connection.reader, connection.writer
        await _pass_on(self.leads_to, *streams, b"", flows=self._flows, gone=connection.released)
        return False

    def _notify(self) -> None:
        pass

    def _fail(self, text: str) -> None:
        self.failures.append(text)
