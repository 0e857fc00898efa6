"""
Which events are packed as they are written.

Packing takes longer than writing, so it is left out where it gains nothing: an event that is
in memory, too, will soon be delivered, unless others wait already; and at the end of the
process its time is short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hh_exporter._spool.room import MAX_WAITING
from hh_exporter._spool.work import Settle, Store, Work

__all__ = ["pack_rows"]

_BACKLOG: Final = 2**20
"""Bytes that wait on disk before events are packed that are in memory, too."""

_IN_A_HURRY: Final = 8 * 2**20
"""Bytes that are packed at most where the process may end before they are written."""


def pack_rows(works: Iterable[Work], on_disk: int, *, hurries: bool) -> None:
    """
    Pack what *works* are to write, as far as that is worth its time.

    Args:
        on_disk: Bytes of the records that are there.
        hurries: Whether the process may be about to end.
    """
    left = _IN_A_HURRY if hurries else MAX_WAITING
    for work in works:
        if left <= 0:
            return
        if isinstance(work, Store):
            on_disk += work.size
            if not work.size or (work.is_loaded and on_disk <= _BACKLOG):
                continue
            work.row = work.row.packed()
        elif isinstance(work, Settle):
            work.letters = [letter.packed() for letter in work.letters]
        left -= work.size
