"""
nats-py's client, where it must not go on as it does.

It says who we are in the clear if a server offers no TLS; it logs what it can't read, with a
traceback, reads nothing more, and tells nobody; and an answer to a ping that was given up ends
its reading. Here all of that ends the connection, and the last one nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.protocol.parser import Parser

from hh_exporter._clock import turn
from hh_exporter._transport.refusals import NoConnection

__all__ = ["CarefulClient", "abort", "writer_of"]

_PIECE = 2**12
"""Bytes that are read before the loop turns, if they end a message."""


class CarefulClient(Client):
    """
    A client that tells when it ends.

    Args:
        must_encrypt: Whether the server may be told nothing without TLS.
    """

    def __init__(self, *, must_encrypt: bool) -> None:
        super().__init__()
        self._must_encrypt = must_encrypt
        self._ps = _CarefulParser(self)

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
