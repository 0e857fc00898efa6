"""
Which events are packed as they are written.

Packing takes longer than writing, so it is left out where it gains nothing: an event that is
in memory, too, will soon be delivered, unless others wait already; and at the end of the
process its time is short. What is packed is in memory only until it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

from attrs import define

from hh_exporter._spool.work import Settle, Store, Work

__all__ = ["Packer"]

_BACKLOG: Final = 2**20
"""Bytes that wait on disk before events are packed that are in memory, too."""

_IN_A_HURRY: Final = 8 * 2**20
"""Bytes that a round packs at most where the process may end before they are written."""


@define(eq=False)
class Packer:
    """
    What packs for the rounds of one spool.
    """

    _left: float = inf
    """Bytes that it may still pack in this round."""

    def begin(self, *, hurries: bool) -> None:
        """
        Begin a round.

        Args:
            hurries: Whether the process may be about to end.
        """
        self._left = _IN_A_HURRY if hurries else inf

    @contextmanager
    def packed(self, works: Iterable[Work], on_disk: int) -> Iterator[None]:
        """
        Have *works* write packed in the block what is worth it.

        Args:
            on_disk: Bytes of the records that are there.
        """
        stores: list[Store] = []
        settles: list[Settle] = []
        for work in works:
            if self._left <= 0:
                break
            if isinstance(work, Store):
                on_disk += work.size
                if not work.size or (work.is_loaded and on_disk <= _BACKLOG):
                    continue
                work.written = work.row.packed()
                stores.append(work)
            elif isinstance(work, Settle):
                work.written = [letter.packed() for letter in work.letters]
                settles.append(work)
            self._left -= work.size
        try:
            yield
        finally:
            for store in stores:
                store.written = store.row
            for settle in settles:
                settle.written = settle.letters
