"""
Gzip for request bodies.

The same body gives the same bytes, whenever it is compressed; and a body that takes
longer than passing it to a thread never blocks the event loop.
"""

from __future__ import annotations

import gzip
from functools import partial

from hh_exporter._transport.helper import Helper

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

__all__ = ["compress"]

_LEVEL = 1
"""Events shrink to less than half; the next levels cost far more than they save."""

_INLINE = 2**14
"""Bytes that zlib compresses within the 100 µs that passing them to a thread takes."""


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
