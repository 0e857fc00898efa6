"""
The body of a request: unpacked, parsed and checked, or refused.

Neither packed nor unpacked may it have more than MAX_BODY_BYTES, and no more
than that is ever unpacked.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from hh_exporter._collector.validation import Schema

__all__ = ["MAX_BODY_BYTES", "read_body"]

MAX_BODY_BYTES = 32 * 2**20


async def read_body(request: web.Request, schema: Schema) -> dict[str, Any]:
    """
    Read the object that *request* sends, which *schema* allows.

    Raises aiohttp's 400, 413 or 415, with a text that says why. The server
    must leave the body packed.
    """
    try:
        sent = await request.read()
    except (web.RequestPayloadError, ConnectionError):
        _refuse("is cut short")
    try:
        body: dict[str, Any] = orjson.loads(
            _unpack(sent, request.headers.get("Content-Encoding", ""))
        )
    except orjson.JSONDecodeError as exc:
        _refuse(f"is not JSON: {exc}")
    if (problem := schema.problem(body)) is not None:
        _refuse(problem)
    return body


def _unpack(sent: bytes, encoding: str) -> bytes:
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
        unpacked = unpacker.decompress(sent, MAX_BODY_BYTES + 1)
    except zlib.error:
        _refuse("is not in its Content-Encoding")
    if len(unpacked) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(unpacked))
    if not unpacker.eof or unpacker.unused_data:
        _refuse("is not in its Content-Encoding")
    return unpacked


def _refuse(problem: str) -> NoReturn:
    raise web.HTTPBadRequest(text=f"body: {problem}") from None
