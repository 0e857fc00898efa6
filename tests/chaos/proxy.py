"""
A TCP proxy that spoils what it passes on, by plan.

It knows HTTP only as far as to tell one message from the next. The rule: what
an exchange says of itself is what happened on the sockets, so a test can tell
which answers the client can have read.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from math import inf

from attrs import define, field, frozen

from hh_exporter._clock import Clock
from tests.listener import Connection, Listener

__all__ = ["Certificates", "Exchange", "Fault", "FaultProxy", "Greeting", "Kind"]

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_TICK = 0.25
"""Seconds between two pieces, where a rate is kept."""

NO_TLS = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What a server says that was not told to speak TLS."""


class Kind(Enum):
    """
    What goes wrong with an exchange.
    """

    NOTHING = auto()
    RESET_REQUEST = auto()
    """The server gets the request up to a byte; then both sides get an RST."""
    RESET_ANSWER = auto()
    """The client gets the answer up to a byte, then an RST."""
    CLOSE_ANSWER = auto()
    """The same, but a FIN."""
    HALF_OPEN = auto()
    """The client gets the answer up to a byte, then nothing, and the connection stays."""
    BLACK_HOLE = auto()
    """The request is read and goes nowhere."""
    LATE = auto()
    """The request reaches the server once the client has given up."""


@frozen(kw_only=True)
class Fault:
    """
    What the network does to one exchange.

    Attributes:
        at: Which byte, counted round and round if the message is shorter; -1 is the last.
        delay: Seconds that the request takes.
        answer_delay: Seconds that the answer takes.
        rate: Bytes a second, in either direction.
    """

    kind: Kind = Kind.NOTHING
    at: int = 0
    delay: float = 0.0
    answer_delay: float = 0.0
    rate: float = inf


class Greeting(Enum):
    """
    How a connection begins.
    """

    PROPER = auto()
    IMPOSTOR = auto()
    """With a certificate of an authority that nobody trusts."""
    PLAIN = auto()
    """Without TLS, on a port where it is expected."""


@frozen(repr=False)
class Certificates:
    """
    What the proxy shows to clients that speak TLS.
    """

    good: ssl.SSLContext
    bad: ssl.SSLContext


@define(eq=False, kw_only=True)
class Exchange:
    """
    One request, and what became of its answer.

    Attributes:
        request: As far as it was read.
        answer: As far as the server gave one.
        length: How long it should have been.
        passed: How many bytes of it the client was sent while it was there.
        began: When the request began to arrive.
        ended: When there was nothing more to do.
    """

    number: int
    fault: Fault
    request: bytes = field(default=b"", repr=False)
    answer: bytes = field(default=b"", repr=False)
    length: int = 0
    passed: int = 0
    began: float
    ended: float = inf

    @property
    def status(self) -> int | None:
        """
        The status that the client got; None if the headers did not get through.
        """
        end = self.answer.find(b"\r\n\r\n") + 4
        status = _STATUS.match(self.answer)
        return int(status[1]) if status and 4 <= end <= self.passed else None

    @property
    def is_page(self) -> bool:
        return b"\r\nContent-Type: text/html" in self.answer

    @property
    def body(self) -> bytes | None:
        """
        The body that the client got; None if not all of it did.
        """
        if self.status is None or self.passed < self.length:
            return None
        return self.answer.partition(b"\r\n\r\n")[2]


@define(eq=False, repr=False)
class FaultProxy(Listener):
    """
    Stands between clients and the server at a port of 127.0.0.1.

    Attributes:
        leads_to: That port.
        clock: What delays are measured by.
        certificates: What it speaks TLS with; None to speak none.
        choose: Told the number of an exchange, the first is 0; says what happens to it.
        greet: Told the number of a connection, the first is 1; says how it begins.
        exchanges: All of them so far.
        moves: Rises whenever something happens.
        failures: What went wrong within.
    """

    leads_to: int
    clock: Clock
    certificates: Certificates | None = None
    choose: Callable[[int], Fault] = field(default=lambda _: Fault())
    greet: Callable[[int], Greeting] = field(default=lambda _: Greeting.PROPER)
    exchanges: list[Exchange] = field(init=False, factory=list)
    moves: int = field(init=False, default=0)
    failures: list[str] = field(init=False, factory=list)
    _begun: int = field(init=False, default=0)

    @property
    def url(self) -> str:
        scheme = "https" if self.certificates else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def _notify(self) -> None:
        self.moves += 1

    def _fail(self, text: str) -> None:
        self.failures.append(text)

    def _tls(self) -> ssl.SSLContext | None:
        self._notify()
        if self.certificates is None:
            return None
        match self.greet(self.connections):
            case Greeting.PLAIN:
                return None
            case Greeting.IMPOSTOR:
                return self.certificates.bad
            case Greeting.PROPER:
                return self.certificates.good

    async def _serve(self, connection: Connection) -> bool:
        client = connection
        if self.certificates and client.writer.get_extra_info("ssl_object") is None:
            await client.reader.read(1)
            client.writer.write(NO_TLS)
            return False
        head = await client.reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(
            number=self._begun, fault=self.choose(self._begun), began=self.clock.now(), request=head
        )
        self._begun += 1
        self.exchanges.append(exchange)
        try:
            return await self._carry(exchange, client)
        finally:
            exchange.ended = self.clock.now()
            self._notify()

    async def _carry(self, exchange: Exchange, client: Connection) -> bool:
        fault = exchange.fault
        size = _size_of(exchange.request)
        if fault.kind is Kind.RESET_REQUEST:
            size = fault.at % size
        missing = max(0, size - len(exchange.request))
        exchange.request += await client.reader.readexactly(missing)
        self._notify()
        if fault.kind in (Kind.BLACK_HOLE, Kind.LATE):
            await self._wait(client)
        if fault.kind is Kind.BLACK_HOLE:
            return False
        await self._wait(client, fault.delay)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
        except ConnectionError:
            client.reset()
            return False
        is_late = client.writer.is_closing()
        if not is_late:
            client.on_lost = writer.transport.abort
        try:
            await self._send(writer, exchange.request[:size], client, fault)
            if fault.kind is Kind.RESET_REQUEST:
                client.reset()
                return False
            if is_late:
                writer.write_eof()
                await reader.read()
                return False
            await self._read_answer(reader, exchange)
            await self._wait(client, fault.answer_delay)
            return await self._answer(exchange, client)
        finally:
            writer.transport.abort()

    async def _read_answer(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        """
        Read all of it, or what there is before the server hangs up.
        """
        try:
            exchange.answer = await reader.readuntil(b"\r\n\r\n")
            exchange.length = _size_of(exchange.answer)
            body = await reader.readexactly(exchange.length - len(exchange.answer))
            exchange.answer += body
        except asyncio.IncompleteReadError as error:
            exchange.answer += error.partial
            exchange.length = max(exchange.length, len(exchange.answer) + 1)
        self._notify()

    async def _answer(self, exchange: Exchange, client: Connection) -> bool:
        kind, answer = exchange.fault.kind, exchange.answer
        spoils = kind in (Kind.RESET_ANSWER, Kind.CLOSE_ANSWER, Kind.HALF_OPEN)
        if spoils and answer:
            answer = answer[: exchange.fault.at % len(answer)]
        await self._send(client.writer, answer, client, exchange.fault, exchange)
        match kind:
            case Kind.RESET_ANSWER:
                client.reset()
            case Kind.HALF_OPEN:
                await self._wait(client)
            case Kind.NOTHING:
                return exchange.passed == exchange.length
        return False

    async def _send(
        self,
        sink: asyncio.StreamWriter,
        data: bytes,
        client: Connection,
        fault: Fault,
        exchange: Exchange | None = None,
    ) -> None:
        """
        Send *data* at the rate of *fault*; what goes to the client counts while it is there.
        """
        step = len(data) if fault.rate == inf else max(1, int(fault.rate * _TICK))
        for start in range(0, len(data), step or 1):
            piece = data[start : start + step]
            if start:
                await self._wait(client, _TICK)
            if exchange is not None:
                if client.writer.is_closing():
                    return
                exchange.passed += len(piece)
            sink.write(piece)
            self._notify()
            await sink.drain()

    async def _wait(self, client: Connection, seconds: float = inf) -> None:
        """
        Wait for *seconds*, or until the client has gone.
        """
        if not seconds:
            return
        deadline = None if seconds == inf else self.clock.now() + seconds
        with suppress(TimeoutError, ConnectionResetError):
            async with self.clock.timeout_at(deadline):
                await client.released()


def _size_of(head: bytes) -> int:
    """
    Find how long the message is that begins with *head*.
    """
    length = _LENGTH.search(head)
    return len(head) + (int(length[1]) if length else 0)
