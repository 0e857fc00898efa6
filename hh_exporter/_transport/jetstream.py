"""
One attempt: publish messages to a stream, and say which of them it has.

All messages of a body are written one after the other, on one connection, and their
acknowledgements arrive in one inbox: one future a body, which ends with the last of them, with
the connection, or with time. A connection that is lost is not repaired; the next attempt opens
another one. A server that acknowledged nothing of a body in time is left, since what it was sent
may wait in it for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import Context
from http import HTTPStatus
from itertools import count
from typing import Final

from attrs import Factory, define, field

from hh_exporter._clock import Clock, Deadline, turn, within
from hh_exporter._dialects.messages import Messages, OutMessage, Receipt
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.answers import is_acknowledged, read_object
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Box, Connection, Lost
from hh_exporter._transport.refusals import NoConnection, printable
from hh_exporter._transport.resolver import Addresses

__all__ = ["JetStreamTransport"]

_TOO_LARGE: Final = frozenset({10054, 10097})
"""Errors of a stream: a message larger than it takes, headers larger than any stream takes."""

_PIECE: Final = 2**18
"""Bytes of messages that are written before the loop turns."""

_MOST_AT_ONCE: Final = 200
"""Messages that are written before the loop turns."""

_NO_STREAM: Final = int(HTTPStatus.SERVICE_UNAVAILABLE), "no stream has that subject, or no leader"
_NO_ACK: Final = int(HTTPStatus.BAD_GATEWAY), "what answers is no stream"

_CHECK_USER: Final = (
    "check user and password (HH_EXPORTER_JETSTREAM_USER, HH_EXPORTER_JETSTREAM_PASSWORD) or"
    " credentials (HH_EXPORTER_JETSTREAM_CREDENTIALS), and what they permit"
)


@define(eq=False)
class _Attempt:
    """
    What has come back for the messages of one body.
    """

    items: Sequence[OutMessage]
    done: asyncio.Future[None] = Factory(lambda: asyncio.get_running_loop().create_future())
    waiting: dict[str, OutMessage] = field(init=False)
    """Those without an answer, by the end of the subject of theirs."""
    is_answered: bool = False
    """Whether any answer came."""
    stored: list[str] = Factory(list)
    too_large: list[str] = Factory(list)
    duplicates: int = 0
    status: int | None = None
    failure: str = "no acknowledgement in time"

    def __attrs_post_init__(self) -> None:
        self.waiting = {str(index): message for index, message in enumerate(self.items)}

    def take(self, index: str, data: bytes) -> None:
        """
        Note what came back for one message; only the first answer counts.
        """
        message = self.waiting.pop(index, None)
        if message is None:
            return
        self.is_answered = True
        answer = read_object(data) or {}
        error = answer.get("error")
        if isinstance(error, dict) and error.get("err_code") in _TOO_LARGE:
            self.too_large.append(message.event_id)
        elif isinstance(error, dict):
            code, text = error.get("code"), printable(str(error.get("description", "an error")))
            self.status = code if isinstance(code, int) else None
            self.failure = f"{text} ({error.get('err_code', 0)})"
        elif is_acknowledged(answer):
            self.stored.append(message.event_id)
            self.duplicates += answer.get("duplicate") is True
        else:
            self.status, self.failure = _NO_ACK if data else _NO_STREAM
        if not self.waiting:
            self.end()

    def leave_out(self, index: str) -> None:
        """
        Note that no message may hold what one has.
        """
        self.too_large.append(self.waiting.pop(index).event_id)
        if not self.waiting:
            self.end()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


@define(eq=False, kw_only=True)
class JetStreamTransport:
    """
    The connection to one cluster, for one event loop; an async context manager.
    """

    access: JetStream
    timeout: float
    """Seconds for one attempt, from the connection to the last acknowledgement."""
    clock: Clock
    addresses: Addresses = field(factory=Addresses, repr=False)
    _connector: Connector = field(init=False)
    _connection: Connection | None = field(default=None, init=False)
    _inbox: Box | None = field(default=None, init=False)
    _opening: asyncio.Task[None] | None = field(default=None, init=False)
    _closing: set[asyncio.Task[None]] = field(factory=set, init=False)
    _attempts: dict[str, _Attempt] = field(factory=dict, init=False)
    """Those under way, by number."""
    _numbers: Iterator[int] = field(factory=count, init=False)

    def __attrs_post_init__(self) -> None:
        self._connector = Connector(
            access=self.access, role="app", clock=self.clock, addresses=self.addresses
        )

    @property
    def address(self) -> str:
        return self.access.address

    async def __aenter__(self) -> JetStreamTransport:
        self._connector.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError, NoConnection, Lost):
                await self._opening
        self._leave(self._connection)
        if self._closing:
            await asyncio.wait(self._closing)
        self.end_threads()

    def end_threads(self) -> None:
        """
        Let the threads end after their current calls. Any thread.
        """
        self._connector.close()

    async def compress(self, body: Messages) -> None:
        """
        Leave *body* as it is: the stream may compress what it stores.
        """

    async def send(
        self,
        method: str,
        path: str,
        body: Messages,
        *,
        encoding: str = "",
        deadline: Deadline | None = None,
    ) -> Receipt:
        """
        Publish *body* once.

        Args:
            method: Not used: there is one way.
            path: The subject.
            body: What to publish.
            encoding: Not used: it has none.
            deadline: When to end; default: `timeout` seconds from now.
        """
        attempt = _Attempt(body.items)
        number = str(next(self._numbers))
        connection: Connection | None = None
        hint = ""
        try:
            async with within(self.clock, deadline or Deadline.after(self.clock, self.timeout)):
                connection = await self._connect()
                connection.on_fault.add(attempt.end)
                self._attempts[number] = attempt
                await self._publish(connection, path, number, attempt)
                await attempt.done
        except TimeoutError:
            if connection is not None and not attempt.is_answered:
                self._leave(connection)
        except NoConnection as exc:
            attempt.failure, hint = exc.reason, _CHECK_USER if exc.is_refused else ""
        except Lost:
            pass
        finally:
            self._attempts.pop(number, None)
            if connection is not None:
                connection.on_fault.discard(attempt.end)
        if attempt.waiting and connection is not None and connection.fault:
            attempt.failure = connection.fault
            if connection.is_refused:
                hint = _CHECK_USER
                self._leave(connection)  # another one may be permitted more
        left = len(attempt.items) - len(attempt.stored)
        if is_answered := left == len(attempt.too_large):
            attempt.failure = "larger than a message may be" if left else ""
        return Receipt(
            status=int(HTTPStatus.OK) if is_answered else attempt.status,
            failure=attempt.failure,
            stored=attempt.stored,
            too_large=attempt.too_large,
            duplicates=attempt.duplicates,
            hint=hint,
        )

    async def _publish(
        self, connection: Connection, subject: str, number: str, attempt: _Attempt
    ) -> None:
        """
        Write all messages of *attempt* that a message may hold.

        Raises:
            Lost: The connection is, or the server does not permit it.
        """
        if connection.is_refused:
            raise Lost
        assert self._inbox is not None  # noqa: S101
        items = attempt.items
        reply = f"{self._inbox.prefix}{number}."
        most, written = connection.max_payload, 0
        piece: list[int] = []
        for index, message in enumerate(items):
            size = len(message.head) + len(message.data)
            if size > most:
                attempt.leave_out(str(index))
                continue
            piece.append(index)
            written += size
            if written >= _PIECE or len(piece) == _MOST_AT_ONCE:
                await connection.publish_all(subject, reply, ((n, items[n]) for n in piece))
                piece, written = [], 0
                await turn()
        if piece:
            await connection.publish_all(subject, reply, ((n, items[n]) for n in piece))

    def _take(self, rest: str, data: bytes) -> None:
        number, _, index = rest.partition(".")
        if (attempt := self._attempts.get(number)) is not None:
            attempt.take(index, data)

    async def _connect(self) -> Connection:
        """
        Find the connection, or open one, once for all who wait.

        Raises:
            NoConnection: No server took us.
            Lost: The connection was lost at once.
        """
        while self._connection is None or not self._connection.is_open:
            if self._opening is None:
                # In a context of its own: the caller's may be that of a request.
                self._opening = asyncio.Task(self._open(), context=Context())
                self._opening.add_done_callback(self._note_opened)
            await asyncio.shield(self._opening)
        return self._connection

    async def _open(self) -> None:
        self._leave(self._connection)
        connection = await self._connector.open(Deadline.after(self.clock, self.timeout))
        try:
            self._inbox = await connection.collect(self._take)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    def _note_opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # whoever waits for it has it

    def _leave(self, connection: Connection | None) -> None:
        """
        Close *connection* in the background, if it is still ours; what it owes is sent again.
        """
        if connection is not None and connection is self._connection:
            self._connection = None
            connection.lose("no acknowledgement in time")
            task = asyncio.Task(connection.close(), context=Context())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
