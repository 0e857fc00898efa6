"""
Bodies of requests, made of encoded records.

Bytes are joined, and never parsed, but for updates that are sent as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from hh_exporter._records import Record, Session, by_seq

__all__ = ["merge", "wrap"]


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


def merge(updates: Sequence[Record]) -> bytes:
    """
    Make one body of all *updates* of one event.

    They are merged as the server merges them (PUT /v1/events/{id}): objects key by key, but
    `outputs` as a whole.
    """
    if len(updates) == 1:
        return updates[0].data
    merged: dict[str, Any] = {}
    for record in sorted(updates, key=by_seq):
        for name, said in orjson.loads(record.data).items():
            known = merged.get(name)
            is_joined = isinstance(known, dict) and isinstance(said, dict) and name != "outputs"
            merged[name] = known | said if is_joined else said
    return orjson.dumps(merged)
