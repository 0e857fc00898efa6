"""
nats-py's client, where it must not go on as it does, and where its own way costs too much.

It says who we are in the clear if a server offers no TLS; it logs what it can't read, with a
traceback, reads nothing more, and tells nobody; and an answer to a ping that was given up ends
its reading. Here all of that ends the connection, and the last one nothing.

Many messages are written at once, as its protocol has them
(https://docs.nats.io/reference/reference-protocols/nats-protocol#hpub), and what is answered is
handed over as it is read. Its own way copies each message twice and checks each header anew, and
makes an object of each answer and queues it: a third of an app's processor time for an event. The
rule: where a release lacks the private parts for that, its own way does the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from nats import errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from hh_exporter._clock import turn
from hh_exporter._dialects.messages import OutMessage
from hh_exporter._transport.refusals import NoConnection

__all__ = ["CarefulClient", "abort", "writer_of"]

_PIECE = 2**12
"""Bytes that are read before the loop turns, if they end a message."""

_PARTS = ("_send_command", "_flush_pending", "_process_msg")
_ANSWER = 4
"""Subject, where to answer, contents and headers."""


class CarefulClient(Client):
    """
    A client that tells when it ends.

    Args:
        must_encrypt: Whether the server may be told nothing without TLS.
    """

    has_parts: ClassVar[bool] = all(hasattr(Client, name) for name in _PARTS)
    """Whether this release can write many messages at once, and hand over what is answered."""

    def __init__(self, *, must_encrypt: bool) -> None:
        super().__init__()
        self._must_encrypt = must_encrypt
        self._ps = _CarefulParser(self)
        self._receivers: dict[int, Callable[[bytes, bytes], None]] = {}

    def watch(self, on_end: Callable[[], None]) -> None:
        """
        Have *on_end* called once a task ends without which the client does not work.

        Raises:
            NoConnection: What answered is no server that it works with.
        """
        if not (self.is_connected and isinstance(self.max_payload, int)):
            raise NoConnection("connection failed (what answers is no NATS server)")
        for task in (self._reading_task, self._flusher_task):
            assert task is not None  # noqa: S101
            task.add_done_callback(lambda _: on_end())

    async def publish_all(
        self, subject: str, reply: str, messages: Iterable[tuple[int, OutMessage]]
    ) -> None:
        """
        Publish messages to *subject*, without waiting for the server.

        Args:
            reply: Where they are answered, with the number of each behind it.
            messages: Each with its number.
        """
        if not self.has_parts:
            for number, message in messages:
                await self.publish(subject, message.data, f"{reply}{number}", message.headers)
            return
        start = f"HPUB {subject} {reply}".encode()
        parts: list[bytes] = []
        for number, message in messages:
            head, data = message.head, message.data
            size = len(head)
            line = b"%b%d %d %d\r\n%b" % (start, number, size, size + len(data), head)
            parts += (line, data, b"\r\n")
        self.stats["out_msgs"] += len(parts) // 3
        await self._send_command(b"".join(parts))
        if self._flush_queue is not None and self._flush_queue.empty():  # as `publish` does
            await self._flush_pending()

    def hand_over(
        self, subscription: Subscription, receive: Callable[[bytes, bytes], None]
    ) -> None:
        """
        Have *receive* called with subject and contents of messages without headers, once read.

        What it is not called with goes to the callback of *subscription*.
        """
        sid = getattr(subscription, "_id", None)
        if self.has_parts and sid is not None:
            self._receivers[sid] = receive

    async def _process_msg(self, sid: int, *answer: Any) -> None:
        receive = self._receivers.get(sid)
        if receive is None or len(answer) != _ANSWER or answer[3]:
            await super()._process_msg(sid, *answer)
        else:
            self.stats["in_msgs"] += 1  # which has the loop turn
            receive(answer[0], answer[2])

    def _connect_command(self) -> bytes:
        if self._must_encrypt and writer_of(self).get_extra_info("ssl_object") is None:
            raise NoConnection("TLS failed (the server offers none)")
        return super()._connect_command()

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():  # given up
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


class _CarefulParser(Parser):
    async def parse(self, data: bytes = b"") -> None:
        """
        Read *data*, and let the loop turn after some messages of it: what one read brings may be
        a thousand acknowledgements.
        """
        stats = self.nc.stats
        try:
            for start in range(0, len(data), _PIECE):
                before = stats["in_msgs"]
                await super().parse(data[start : start + _PIECE])
                if stats["in_msgs"] != before:
                    await turn()
        except (errors.ProtocolError, OSError):
            raise
        except Exception:
            raise errors.ProtocolError from None


def abort(client: Client) -> None:
    """
    Cut the connection; nats-py has no public way that waits for nobody.
    """
    if (writer := writer_of(client)) is not None:
        writer.transport.abort()


def writer_of(client: Client) -> Any:
    return getattr(getattr(client, "_transport", None), "_io_writer", None)
