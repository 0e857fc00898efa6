"""
The body of a request: unpacked, parsed and checked, or refused.

It may have no more than MAX_BODY_BYTES, compressed or not, and no more than that
is ever unpacked; nor may it have more than MAX_CONTAINERS opening brackets, those
in its strings included. It must arrive within BODY_TIMEOUT, and all bodies in
memory share MAX_ROOM: a body that has no room is refused with 503.
"""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson
from aiohttp import web
from attrs import define

from hh_exporter._values.reading import read_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from hh_exporter._clock import Clock
    from hh_exporter._collector.ingest.validation import Schema

__all__ = [
    "BODY_TIMEOUT",
    "MAX_BODY_BYTES",
    "MAX_CONTAINERS",
    "MAX_ROOM",
    "Bodies",
    "check_containers",
    "parse",
]

T = TypeVar("T")

MAX_BODY_BYTES = 5_000_000
"""The vendor's troubleshooting page: "Payload too large" for requests over 5 MB."""
MAX_ROOM = 256 * 2**20
MAX_CONTAINERS = 1_000_000
"""Objects and arrays, each of which takes thirty times its two bytes once it is read."""
BODY_TIMEOUT = 30.0


@define(eq=False)
class Bodies:
    """
    The bodies that are read or waited for, and the room that they share.
    """

    clock: Clock
    _used: int = 0

    @asynccontextmanager
    async def read(
        self, request: web.Request, schema: Schema, limit: int = MAX_BODY_BYTES
    ) -> AsyncIterator[dict[str, Any]]:
        """
        Read the object that *request* sends, which *schema* allows; it has room in the block.

        Raises as `take` does.
        """
        async with self.take(request, lambda text: parse(text, schema), limit) as body:
            yield body

    @asynccontextmanager
    async def take(
        self,
        request: web.Request,
        parse: Callable[[bytes | bytearray], T],
        limit: int = MAX_BODY_BYTES,
    ) -> AsyncIterator[T]:
        """
        Let *parse* make something of the body that *request* sends; it has room in the block.

        Raises aiohttp's 400, 408, 413, 415 or 503, with a text that says why.
        The server must leave the body packed.
        """
        with self._share() as take:
            sent = await self._receive(request, limit, take)
            text = _unpack(sent, request.headers.get("Content-Encoding", ""), limit)
            if text is not sent:
                take(len(text))
            body = parse(text)
            del sent, text  # the body alone is waited with
            yield body

    async def _receive(
        self, request: web.Request, limit: int, take: Callable[[int], None]
    ) -> bytearray:
        sent = bytearray()
        try:
            async with self.clock.timeout_at(self.clock.now() + BODY_TIMEOUT):
                while chunk := await request.content.readany():
                    sent += chunk
                    if len(sent) > limit:
                        _refuse_size(limit, len(sent))
                    take(len(chunk))
        except (web.RequestPayloadError, ConnectionError):
            _refuse("is cut short")
        except TimeoutError:
            raise web.HTTPRequestTimeout(
                text=f"body: did not arrive within {BODY_TIMEOUT:.0f} seconds"
            ) from None
        return sent

    @contextmanager
    def _share(self) -> Iterator[Callable[[int], None]]:
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._used + size > MAX_ROOM:
                raise web.HTTPServiceUnavailable(
                    text="body: too much arrives at once: send it again",
                    headers={"Retry-After": "1"},
                )
            self._used += size
            taken += size

        try:
            yield take
        finally:
            self._used -= taken


def check_containers(text: bytes | bytearray) -> None:
    """
    Refuse, with 413, what opens more brackets than MAX_CONTAINERS, those in its strings included.
    """
    if (containers := text.count(b"{") + text.count(b"[")) > MAX_CONTAINERS:
        raise web.HTTPRequestEntityTooLarge(
            MAX_CONTAINERS,
            containers,
            text=f"body: must have no more than {MAX_CONTAINERS:,} objects and arrays",
        )


def parse(text: bytes | bytearray, schema: Schema) -> dict[str, Any]:
    """
    Read the object that *text* is, which *schema* allows; raises aiohttp's 400 or 413.
    """
    check_containers(text)
    try:
        body: dict[str, Any] = read_json(text)
    except orjson.JSONDecodeError as exc:
        _refuse(f"is not JSON: {exc}")
    if (problem := schema.problem(body)) is not None:
        _refuse(problem)
    return body


def _unpack(sent: bytearray, encoding: str, limit: int) -> bytes | bytearray:
    match encoding.lower():
        case "" | "identity":
            return sent
        case "gzip":
            window = zlib.MAX_WBITS | 16
        case "deflate":
            # RFC 9110 §8.4.1.2: some send it without the zlib format around it.
            is_zlib = sent != b"" and sent[0] & 15 == 8
            window = zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
        case _:
            raise web.HTTPUnsupportedMediaType(
                text="body: its Content-Encoding must be gzip or deflate",
                headers={"Accept-Encoding": "gzip, deflate"},
            )
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(sent, limit + 1)
    except zlib.error:
        _refuse("is not in its Content-Encoding")
    if len(unpacked) > limit:
        _refuse_size(limit, len(unpacked))
    if not unpacker.eof or unpacker.unused_data:
        _refuse("is not in its Content-Encoding")
    return unpacked


def _refuse_size(limit: int, size: int) -> NoReturn:
    raise web.HTTPRequestEntityTooLarge(
        limit, size, text=f"Payload too large: body: must have no more than {limit:,} bytes"
    )


def _refuse(problem: str) -> NoReturn:
    raise web.HTTPBadRequest(text=f"body: {problem}") from None
