"""
A NATS server of tests, which has one stream, and misbehaves as it is told.

It speaks what clients need to publish and to be answered, on a port of 127.0.0.1; what real
servers do is tested with real ones. Ids are known again for ever.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from email.parser import HeaderParser
from typing import Any, Final

from attrs import define, field, frozen

from hh_exporter._dialects.messages import read_message
from hh_exporter._records import Record
from tests.listener import Connection, Listener

__all__ = [
    "ACK",
    "FULL",
    "NOBODY",
    "FakeNats",
    "Message",
    "Reply",
    "refusal",
]

_EVENTS: Final = "hh_exporter.events."


@frozen(kw_only=True)
class Reply:
    """
    What the server does with one message.

    Attributes:
        stores: Whether the stream has it then.
        says: What is answered; None for the acknowledgement of a stream.
        times: How often it is answered.
        is_held: Whether that waits for a release.
        closes: Whether the connection is reset then, before anything is answered.
        errs: What the server complains about on the connection.
    """

    stores: bool = True
    says: bytes | None = None
    times: int = 1
    is_held: bool = False
    closes: bool = False
    errs: bytes = b""


def refusal(code: int, err_code: int, description: str) -> Reply:
    """
    Make the error of a stream.
    """
    error = {"code": code, "err_code": err_code, "description": description}
    answer = {"type": "io.nats.jetstream.api.v1.pub_ack_response", "error": error}
    return Reply(stores=False, says=json.dumps(answer).encode())


ACK: Final = Reply()
FULL: Final = refusal(503, 10077, "maximum messages exceeded")
NOBODY: Final = Reply(stores=False, says=b"")
"""No stream has the subject, or it has no leader."""


@frozen(kw_only=True)
class Message:
    """
    What was published.
    """

    subject: str
    reply: str
    name: str
    """By which the stream knows it again."""
    record: Record


@define(eq=False)
class _Client:
    connection: Connection
    sids: dict[str, str] = field(factory=dict)
    """Of its subscriptions, by what their subjects begin with."""
    held: list[Callable[[], None]] = field(factory=list)


@define(eq=False, repr=False)
class FakeNats(Listener):
    """
    The server.

    Attributes:
        info: What it says of itself.
        greeting: What it says instead of all that; None for itself.
        after_connect: What it answers to CONNECT and PING; None to answer as a server does.
        choose: Says what is done with a message.
        stored: What the stream has, by the names of messages.
        repeats: How often each was published again when it was there.
        heard: All lines that clients have said.
        failures: What went wrong within.
    """

    info: dict[str, Any] = field(
        factory=lambda: {"server_id": "F", "version": "2.15.1", "headers": True, "proto": 1}
    )
    greeting: bytes | None = None
    after_connect: bytes | None = None
    choose: Callable[[Message], Reply] = field(default=lambda _: ACK)
    script: deque[Reply] = field(factory=deque)
    """What is done with the next messages, before *choose* is asked."""
    stored: dict[str, Message] = field(factory=dict)
    repeats: Counter[str] = field(factory=Counter)
    published: list[Message] = field(factory=list)
    heard: list[bytes] = field(factory=list)
    failures: list[str] = field(init=False, factory=list)
    _clients: dict[Connection, _Client] = field(init=False, factory=dict)

    async def __aenter__(self) -> FakeNats:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        assert not self.failures, "\n".join(self.failures)

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    @property
    def event_ids(self) -> list[str]:
        """
        List the events that the stream has, in order.
        """
        return [message.record.event_id for message in self.stored.values()]

    def release(self) -> None:
        """
        Answer what was held.
        """
        for client in tuple(self._clients.values()):
            held, client.held = client.held, []
            for answer in held:
                answer()

    def say(self, raw: bytes) -> None:
        """
        Say something to all clients.
        """
        for client in self._clients.values():
            client.connection.writer.write(raw)

    async def _serve(self, connection: Connection) -> bool:
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = _Client(connection)
            info = json.dumps({"max_payload": 2**20} | self.info).encode()
            greeting = b"INFO %b\r\n" % info if self.greeting is None else self.greeting
            connection.writer.write(greeting)
            await connection.writer.drain()
        try:
            line = await connection.reader.readuntil(b"\r\n")
            self.heard.append(line)
            await self._obey(client, line)
        except BaseException:
            del self._clients[connection]
            raise
        return True

    async def _obey(self, client: _Client, line: bytes) -> None:
        verb, *words = line.decode().split()
        writer = client.connection.writer
        match verb.upper():
            case "PING":
                writer.write(b"PONG\r\n" if self.after_connect is None else self.after_connect)
            case "SUB":
                client.sids[words[0].removesuffix(">")] = words[-1]
            case "HPUB":
                subject, reply, head, total = words
                raw = (await client.connection.reader.readexactly(int(total) + 2))[:-2]
                self._take(client, subject, reply, raw[: int(head)], raw[int(head) :])
            case "CONNECT" | "UNSUB" | "PONG":
                pass
            case _:
                self._fail(f"it was told {line!r}")

    def _take(self, client: _Client, subject: str, reply_to: str, head: bytes, data: bytes) -> None:
        headers = dict(HeaderParser().parsestr(head.decode().partition("\r\n")[2]))
        record = read_message(data, headers, 0.0)
        assert record is not None
        assert subject.startswith(_EVENTS)
        name = headers["Nats-Msg-Id"]
        message = Message(subject=subject, reply=reply_to, name=name, record=record)
        self.published.append(message)
        reply = self.script.popleft() if self.script else self.choose(message)
        is_duplicate = name in self.stored
        if reply.stores:
            self.repeats[name] += is_duplicate
            self.stored.setdefault(name, message)
        if reply.errs:
            client.connection.writer.write(reply.errs)
        if reply.closes:
            client.connection.reset()
            raise ConnectionResetError
        says = reply.says
        if says is None:
            seq = list(self.stored).index(name) + 1 if reply.stores else 1
            says = json.dumps(
                {"stream": "EVENTS", "seq": seq} | ({"duplicate": True} if is_duplicate else {})
            ).encode()

        def answer() -> None:
            for _ in range(reply.times):
                self._answer(client, reply_to, says)

        if reply.is_held:
            client.held.append(answer)
        else:
            answer()

    def _answer(self, client: _Client, subject: str, data: bytes) -> None:
        [sid] = [sid for prefix, sid in client.sids.items() if subject.startswith(prefix)]
        writer = client.connection.writer
        if data:
            writer.write(
                b"MSG %b %b %d\r\n%b\r\n" % (subject.encode(), sid.encode(), len(data), data)
            )
        else:
            status = b"NATS/1.0 503\r\n\r\n"
            size = len(status)
            writer.write(
                b"HMSG %b %b %d %d\r\n%b\r\n" % (subject.encode(), sid.encode(), size, size, status)
            )

    def _notify(self) -> None:
        pass

    def _fail(self, text: str) -> None:
        self.failures.append(text)
