"""
A NATS server of tests with the two streams of a fleet, and one consumer, in a test's own time.

It does what JetStream does with a work queue, pulls and acknowledgements, as far as apps and
relays use it; what real servers do is tested with real ones. The rule: a message is in the
hands of one holder at a time, and whoever takes it from one before it is acknowledged or given
back is known.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from email.parser import HeaderParser
from typing import Any, Final

from attrs import define, field

from hh_exporter._fleet.plan import NANOSECONDS, Plan
from hh_exporter.testing import FakeClock
from tests.listener import Connection, Listener

__all__ = ["FakeStream"]

_NEXT: Final = "$JS.API.CONSUMER.MSG.NEXT."
_ACK: Final = "$JS.ACK.HH_EVENTS.relay."
_PLAN: Final = Plan(max_bytes=10**9, dead_max_bytes=10**8)


@define(eq=False)
class _Client:
    connection: Connection
    subjects: dict[str, str] = field(factory=dict)
    """Of its subscriptions, by their numbers."""


@define(eq=False)
class _Stored:
    sequence: int
    name: str
    subject: str
    head: bytes
    data: bytes
    at: float
    delivered: int = 0
    due_at: float = 0.0
    """When it is given to another, if it is in somebody's hands."""


@define(eq=False)
class _Pull:
    client: _Client
    reply: str
    batch: int
    expires_at: float
    heartbeat_at: float


@define(eq=False, repr=False, kw_only=True)
class FakeStream(Listener):
    """
    The server.

    Attributes:
        ack_wait: Seconds.
        is_full: Whether it takes no more events.
        takes_letters: Whether it takes dead letters.
        is_deaf: Whether it hears nobody say that work goes on.
        loses: How many of the next acknowledgements it does not hear (`before`), or hears and
            does not confirm (`after`).
        messages: What it has, by sequence.
        taken: Messages that were taken from their holders, since those said nothing for ack_wait.
        stored: How often it stored each event, by the names of messages.
        dead: The names of dead letters.
        failures: What went wrong within.
    """

    clock: FakeClock
    ack_wait: float = 9.0
    is_full: bool = False
    takes_letters: bool = True
    is_deaf: bool = False
    loses: Counter[str] = field(factory=Counter)
    messages: dict[int, _Stored] = field(init=False, factory=dict)
    taken: set[int] = field(init=False, factory=set)
    stored: Counter[str] = field(init=False, factory=Counter)
    dead: list[str] = field(init=False, factory=list)
    failures: list[str] = field(init=False, factory=list)
    _names: dict[str, int] = field(init=False, factory=dict)
    _last: int = field(init=False, default=0)
    _held: dict[int, _Stored] = field(init=False, factory=dict)
    _again: deque[tuple[float, int]] = field(init=False, factory=deque)
    _next: int = field(init=False, default=1)
    _pulls: deque[_Pull] = field(init=False, factory=deque)
    _clients: dict[Connection, _Client] = field(init=False, factory=dict)

    async def __aenter__(self) -> FakeStream:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        assert not self.failures, "\n".join(self.failures)

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def reset(self, role: str) -> None:
        """
        Reset all connections of apps, or of relays.
        """
        for client in tuple(self._clients.values()):
            if any(f".{role}." in subject for subject in client.subjects.values()):
                client.connection.reset()

    def look(self) -> None:
        """
        Do what is due by now.
        """
        now = self.clock.now()
        for stored in tuple(self._held.values()):
            if stored.due_at <= now:
                del self._held[stored.sequence]
                self.taken.add(stored.sequence)
                self._again.append((now, stored.sequence))
        for pull in tuple(self._pulls):
            if not self._hears(pull):
                self._pulls.remove(pull)
            elif pull.expires_at <= now:
                self._pulls.remove(pull)
                self._say_status(pull, "408 Request Timeout", pending=pull.batch)
            elif pull.heartbeat_at <= now:
                pull.heartbeat_at = now + 5.0
                self._say_status(pull, "100 Idle Heartbeat")
        self._give()

    # The protocol.

    async def _serve(self, connection: Connection) -> bool:
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = _Client(connection)
            info = {"server_id": "F", "version": "2.15.1", "headers": True, "proto": 1}
            said = json.dumps({"max_payload": 2**23} | info).encode()
            connection.writer.write(b"INFO %b\r\n" % said)
            await connection.writer.drain()
        try:
            line = await connection.reader.readuntil(b"\r\n")
            await self._obey(client, line)
        except BaseException:
            del self._clients[connection]
            raise
        return True

    async def _obey(self, client: _Client, line: bytes) -> None:
        verb, *words = line.decode().split()
        reader, writer = client.connection.reader, client.connection.writer
        match verb.upper():
            case "PING":
                writer.write(b"PONG\r\n")
            case "SUB":
                client.subjects[words[-1]] = words[0]
            case "UNSUB":
                client.subjects.pop(words[0], None)
            case "PUB":
                subject, *reply, size = words
                data = (await reader.readexactly(int(size) + 2))[:-2]
                self._take(client, subject, "".join(reply), b"", data)
            case "HPUB":
                subject, *reply, head, size = words
                raw = (await reader.readexactly(int(size) + 2))[:-2]
                self._take(client, subject, "".join(reply), raw[: int(head)], raw[int(head) :])
            case "CONNECT" | "PONG":
                pass
            case _:
                self._fail(f"it was told {line!r}")

    def _take(self, client: _Client, subject: str, reply: str, head: bytes, data: bytes) -> None:
        if subject.startswith(_NEXT):
            asked, now = json.loads(data), self.clock.now()
            expires_at = now + asked["expires"] / NANOSECONDS
            self._pulls.append(_Pull(client, reply, asked["batch"], expires_at, now + 5.0))
            self.look()
        elif subject.startswith(_ACK):
            self._note_ack(client, int(subject.split(".")[5]), reply, data)
        elif subject.startswith("$JS.API."):
            self._say(client, reply, json.dumps(self._inform(subject)).encode())
        elif subject.startswith("hh_exporter."):
            self._store(client, subject, reply, head, data)
        else:
            self._fail(f"it was told {subject}")

    def _inform(self, subject: str) -> dict[str, Any]:
        kind, name = subject.split(".")[2], subject.split(".")[4]
        if kind == "CONSUMER":
            config = _PLAN.consumer() | {"ack_wait": int(self.ack_wait * NANOSECONDS)}
            held = len(self._held)
            waiting = len(self.messages) - held
            return {"config": config, "num_pending": waiting, "num_ack_pending": held}
        config = _PLAN.events(1) if name == "HH_EVENTS" else _PLAN.dead(1)
        return {"config": config, "state": {"messages": len(self.messages)}}

    def _store(self, client: _Client, subject: str, reply: str, head: bytes, data: bytes) -> None:
        headers = dict(HeaderParser().parsestr(head.decode().partition("\r\n")[2]))
        name = headers["Nats-Msg-Id"]
        is_event = subject.startswith("hh_exporter.events.")
        answer: dict[str, Any] = {"stream": "S", "seq": self._names.get(name, 0)}
        if name in self._names:
            answer["duplicate"] = True
        elif self.is_full if is_event else not self.takes_letters:
            full = "maximum messages exceeded"
            answer = {"error": {"code": 503, "err_code": 10077, "description": full}}
        elif is_event:
            self._last += 1
            at = self.clock.wall()
            self.messages[self._last] = _Stored(self._last, name, subject, head, data, at)
            self._names[name] = answer["seq"] = self._last
            self.stored[name] += 1
        else:
            self._names[name] = answer["seq"] = len(self.dead) + 1
            self.dead.append(name)
        self._say(client, reply, json.dumps(answer).encode())
        self._give()

    def _note_ack(self, client: _Client, sequence: int, reply: str, said: bytes) -> None:
        held = self._held.get(sequence)
        match said[:4]:
            case b"+ACK":
                if self.loses["before"]:
                    self.loses["before"] -= 1
                    return
                self.messages.pop(sequence, None)
                self._held.pop(sequence, None)
                if self.loses["after"]:
                    self.loses["after"] -= 1
                elif reply:
                    self._say(client, reply, b"")
            case b"-NAK":
                if held is not None:
                    delay = json.loads(said[4:] or b'{"delay": 0}')["delay"] / NANOSECONDS
                    del self._held[sequence]
                    self._again.append((self.clock.now() + delay, sequence))
                    self._give()
            case b"+WPI":
                if held is not None and not self.is_deaf:
                    held.due_at = self.clock.now() + self.ack_wait

    # The consumer.

    def _give(self) -> None:
        while self._pulls and (stored := self._pop()) is not None:
            pull = self._pulls[0]
            self._pulls.rotate(-1)
            stored.delivered += 1
            stored.due_at = self.clock.now() + self.ack_wait
            self._held[stored.sequence] = stored
            nanoseconds = int(stored.at * NANOSECONDS)
            numbers = f"{stored.delivered}.{stored.sequence}.{stored.sequence}.{nanoseconds}.0"
            self._write(pull, stored.subject, f"{_ACK}{numbers}", stored.head, stored.data)
            pull.batch -= 1
            pull.heartbeat_at = self.clock.now() + 5.0
            if not pull.batch:
                self._pulls.remove(pull)

    def _pop(self) -> _Stored | None:
        """
        Find what is given next, if anybody hears it.
        """
        for pull in tuple(self._pulls):
            if not self._hears(pull):
                self._pulls.remove(pull)
        if not self._pulls:
            return None
        now = self.clock.now()
        for at, sequence in tuple(self._again):
            if at <= now or sequence not in self.messages:
                self._again.remove((at, sequence))
                if sequence in self.messages:
                    return self.messages[sequence]
        while self._next <= self._last:
            self._next += 1
            if (stored := self.messages.get(self._next - 1)) is not None:
                return stored
        return None

    def _hears(self, pull: _Pull) -> bool:
        return pull.client.connection in self._clients and bool(_sid(pull.client, pull.reply))

    def _say_status(self, pull: _Pull, status: str, pending: int | None = None) -> None:
        head = f"NATS/1.0 {status}\r\n"
        if pending is not None:
            head += f"Nats-Pending-Messages: {pending}\r\n"
        self._write(pull, pull.reply, "", f"{head}\r\n".encode(), b"")

    def _write(self, pull: _Pull, subject: str, reply: str, head: bytes, data: bytes) -> None:
        sid = _sid(pull.client, pull.reply)
        line = f"HMSG {subject} {sid} {reply} {len(head)} {len(head) + len(data)}\r\n"
        pull.client.connection.writer.write(line.encode() + head + data + b"\r\n")

    def _say(self, client: _Client, subject: str, data: bytes) -> None:
        if sid := _sid(client, subject):
            line = f"MSG {subject} {sid} {len(data)}\r\n"
            client.connection.writer.write(line.encode() + data + b"\r\n")

    def _notify(self) -> None:
        pass

    def _fail(self, text: str) -> None:
        self.failures.append(text)


def _sid(client: _Client, subject: str) -> str:
    for sid, pattern in client.subjects.items():
        if subject == pattern or subject.startswith(pattern.removesuffix(">")):
            return sid
    return ""
