"""
Bodies of requests, made of encoded records.

Bytes are joined, and never parsed.
"""

from __future__ import annotations

from collections.abc import Sequence

from hh_exporter._records import Record, Session

__all__ = ["wrap"]


def wrap(head: bytes, records: Sequence[Record], session: Session | None = None) -> bytes:
    """
    Make the body that begins with *head*, an object open within its first array.
    """
    tail = b"]}" if session is None else b"]%b}" % session.data
    if not records:
        return head + tail
    pieces = [record.data for record in records]
    pieces[0] = head + pieces[0]
    pieces[-1] += tail
    return b",".join(pieces)
