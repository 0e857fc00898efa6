"""
Gzip for request bodies, and whatever an answer's body comes in.

The same body gives the same bytes, whenever it is compressed; and a body that takes
longer than passing it to a thread never blocks the event loop.
"""

from __future__ import annotations

import gzip
import zlib
from functools import partial

from hh_exporter._helper import Helper

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

__all__ = ["READABLE", "compress", "decompress"]

_LEVEL = 1
"""Events shrink to less than half; the next levels cost far more than they save."""

_INLINE = 2**14
"""Bytes that zlib compresses within the 100 µs that passing them to a thread takes."""


READABLE = "gzip, deflate"
"""What `decompress` can undo, as Accept-Encoding says it."""

_WRAPPED, _BARE = 47, -15
"""How zlib calls gzip and deflate, and deflate as some servers send it, without a wrapper."""


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """
    Undo the Content-Encoding *coding* of *body*, for *limit* bytes at most, as far as it goes.

    Returns:
        *body* as it is, where it is in no coding that we know, or not in the one it claims.
    """
    match coding.strip().lower():
        case "gzip" | "x-gzip":
            forms: tuple[int, ...] = (_WRAPPED,)
        case "deflate":
            forms = _WRAPPED, _BARE
        case _:
            return body
    for form in forms:
        try:
            return zlib.decompressobj(form).decompress(body, limit)
        except zlib.error:
            pass
    return body


async def compress(body: bytes, helper: Helper) -> bytes | None:
    """
    Compress *body*, with isal where the extra `gzip` is installed, else with zlib.

    Returns:
        None where it is too large for the event loop and *helper* has no thread.
    """
    if len(body) <= _INLINE:
        return _gzip(body)
    try:
        compressed = helper.submit(partial(_gzip, body))
    except OSError:
        return None
    return await compressed


def _gzip(body: bytes) -> bytes:
    # A time in the header would make two bodies of one batch differ.
    if igzip is not None:
        return igzip.compress(body, _LEVEL, mtime=0)
    return gzip.compress(body, _LEVEL, mtime=0)
