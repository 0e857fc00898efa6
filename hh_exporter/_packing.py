"""
Bytes made smaller while they wait, in memory or on disk.

In the zlib format, whichever library writes it: what one process packed any other reads,
whatever is installed there. Both libraries release the interpreter's lock meanwhile.
"""

from __future__ import annotations

import zlib
from contextlib import suppress

try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None  # type: ignore[assignment]

__all__ = ["pack", "unpack"]

_LEVEL = 1
"""Events shrink to about 0.4 of their size; the next levels cost far more than they save."""


def pack(data: bytes) -> bytes:
    """
    Compress *data*: by isal where the extra `gzip` is installed, at a quarter of zlib's cost.
    """
    if isal_zlib is not None:
        return isal_zlib.compress(data, _LEVEL)
    return zlib.compress(data, _LEVEL)


def unpack(packed: bytes) -> bytes:
    """
    Return what was packed.

    Raises:
        zlib.error: It is damaged.
    """
    if isal_zlib is not None:
        with suppress(Exception):  # isal's own, which is no zlib.error
            return isal_zlib.decompress(packed)
    return zlib.decompress(packed)
