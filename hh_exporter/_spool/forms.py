"""
The two forms that an event has on disk: its JSON, or that packed, if it is smaller so.

The first byte tells them apart: an event is a JSON object. So each row says by itself how it
is to be read, and what is packed can be copied from file to file as it is.
"""

from __future__ import annotations

import zlib
from typing import Final

from hh_exporter._packing import pack, unpack

__all__ = ["packed", "unpacked"]

_PACKED: Final = b"x"
"""The first byte of the zlib format, with the window that it has by default."""


def packed(data: bytes) -> bytes:
    """
    Return the smaller form of *data*, which is either.
    """
    return data if data.startswith(_PACKED) else min(data, pack(data), key=len)


def unpacked(data: bytes) -> bytes:
    """
    Return the JSON of *data*, which is either form; unchanged where it is damaged.
    """
    if data.startswith(_PACKED):
        try:
            return unpack(data)
        except zlib.error:
            pass  # no JSON, so whoever reads it sees that
    return data
