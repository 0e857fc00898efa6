"""
Make bodies of ready bytes: one join, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hh_exporter._records import Record, Session

__all__ = ["wrap"]


def wrap(head: bytes, records: Sequence[Record], session: Session | None = None) -> bytes:
    """
    Make the body that begins with *head*, an object open within its first array.
    """
    pieces = [head]
    for record in records:
        pieces += (record.data, b",")
    if records:
        pieces.pop()
    pieces += (b"]}",) if session is None else (b"]", session.data, b"}")
    return b"".join(pieces)
