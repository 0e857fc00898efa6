"""
Bytes made smaller while they wait, in memory or on disk, and the memory that this frees.

In the zlib format, whichever library writes it: what one process packed any other reads,
whatever is installed there. Both libraries release the interpreter's lock meanwhile.
"""

from __future__ import annotations

import ctypes
import zlib
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path

try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None  # type: ignore[assignment]

__all__ = ["crc32", "give_back", "pack", "unpack"]

_LEVEL = 1
"""An event by itself shrinks to half of its size; the next levels cost far more than they save."""

_LITTLE = 32
"""Which part of a process's memory is too little to be given back."""


def pack(data: bytes, level: int = _LEVEL) -> bytes:
    """
    Compress *data*: by isal where the extra `gzip` is installed, at a quarter of zlib's cost.

    Args:
        data: Any bytes.
        level: 1 to 3; a higher one is slower, and makes them smaller.
    """
    if isal_zlib is not None:
        return isal_zlib.compress(data, level)
    return zlib.compress(data, level)


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


def crc32(data: bytes) -> int:
    """
    Compute the CRC-32 of *data*: by isal where it is installed, at a third of zlib's cost.
    """
    if isal_zlib is not None:
        return isal_zlib.crc32(data)
    return zlib.crc32(data)


def give_back(freed: int) -> bool:
    """
    Give freed memory back to the system, where libc is glibc: else it keeps what others surround.

    Not where *freed* bytes are little beside what the process has: that goes through all of its
    memory, about a millisecond for each 10 MB, and who allocates waits meanwhile.

    Returns:
        Whether it was tried.
    """
    with suppress(AttributeError, OSError, TypeError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        if freed * _LITTLE < pages * PAGESIZE:
            return False
        ctypes.CDLL(None).malloc_trim(0)
    return True
