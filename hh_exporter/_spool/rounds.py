"""
Rounds of the spool's thread: what arrived is committed, then a part of what is owed.

A disk that fails costs a round a few transactions, however much arrives or is owed:
after some failures in a row of one kind of work, the rest of that kind has failed too.
Nothing is committed to a file that its name does not lead to, or that was truncated: it is
copied to a new one first.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Final

from attrs import Factory, define, field

from hh_exporter._records import Spot
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.kept import Letter
from hh_exporter._spool.packer import Packer
from hh_exporter._spool.schema import is_corrupt, is_lost
from hh_exporter._spool.work import AT_ONCE, Settle, Work

__all__ = ["RETRY", "Owed", "Rounds"]

RETRY: Final = 1.0
"""Seconds after which what could not be written is tried again, if no other work comes."""

_TOUCH = 3600.0
"""Seconds after which files are touched, so that no cleaner of temporary files takes them away."""

_FEW = 3
"""Failures in a row after which the disk is at fault, and not what was to be written."""


class _Astray(Exception):  # noqa: N818 - it ends a transaction, and goes no further
    """
    Nobody would find what is written.
    """


@define(eq=False)
class Owed:
    """
    What could not be done and still is to be: one list, whatever it was a part of.

    What is tried of it is halved each time that it fails, and doubled each time that
    it doesn't: it costs a disk that stays full next to nothing, and what can't be
    written for its own sake holds up nothing else.
    """

    size: int = field(default=0, init=False)
    """Bytes of its letters, and of what else is to be written."""
    _items: deque[Spot | Letter | Work] = Factory(deque)
    _most: int = AT_ONCE

    def __len__(self) -> int:
        return len(self._items)

    @property
    def letters(self) -> int:
        return sum(isinstance(item, Letter) for item in self._items)

    def add(self, work: Work) -> None:
        if isinstance(work, Settle):
            self._items.extend(spot for spot in work.spots if spot.file is not None)
            self._items.extend(work.letters)
        else:
            self._items.append(work)
        self.size += work.size

    def part(self) -> tuple[int, list[Work]]:
        """
        Return how much is to be tried now, and that as work.
        """
        items = list(islice(self._items, self._most))
        spots = [item for item in items if isinstance(item, Spot)]
        letters = [item for item in items if isinstance(item, Letter)]
        works = [item for item in items if not isinstance(item, Spot | Letter)]
        return len(items), [*works, Settle(spots, letters)]

    def end(self, count: int, *, is_done: bool) -> None:
        """
        Note what became of a part of *count*.
        """
        if is_done:
            gone = [self._items.popleft() for _ in range(count)]
            self.size -= sum(item.size for item in gone if not isinstance(item, Spot))
            self._most = min(AT_ONCE, 2 * self._most)
        else:
            self._most = max(1, count // 2)
            self._items.rotate(-(count == 1))  # another one may do


@define(eq=False, kw_only=True)
class Rounds:
    """
    The rounds of one spool.
    """

    disk: Disk
    max_bytes: int
    on_fail: Callable[[Exception], None]
    """Called for each transaction that fails."""
    on_deleted: Callable[[int], None]
    """Called with the number of dead letters that were deleted to make room."""
    on_restored: Callable[[], None] = lambda: None
    """Called when a new file has the contents of one that is not where it was, or not whole."""
    on_lost: Callable[[object, int, int], None] = lambda *_: None
    """Called with what `Disk.forget` returns, where nothing of it can be read."""
    owed: Owed = Factory(Owed)
    has_failed: bool = field(default=False, init=False)
    """Whether a transaction of the last round failed."""
    has_written: bool = field(default=False, init=False)
    """Whether the last round added anything."""
    _packer: Packer = field(factory=Packer, init=False)
    _touch_at: float = field(default=-inf, init=False)
    """When to touch the files again."""

    def patience(self, *, is_behind: bool) -> float:
        """
        Say in how many seconds there is something to do though no work comes.

        Args:
            is_behind: Whether something is in memory alone that is to be on disk, too.
        """
        if self.owed and not self.has_failed:
            return 0.0
        is_astray = self.has_failed and self.disk.is_astray
        is_waiting = is_behind or is_astray or self.owed or self.disk.takeover.is_stuck
        return RETRY if is_waiting or self.disk.is_loose else _TOUCH

    def go(self, works: Sequence[Work], now: float, *, hurries: bool = False) -> list[bool]:
        """
        Do all of *works* in few transactions, or each in one of its own once one fails.

        Args:
            works: What arrived.
            now: A reading of the monotonic clock.
            hurries: Whether the process may be about to end.

        Returns:
            Which of them were done.
        """
        self.has_failed = self.has_written = False
        if not works:
            self._look_after()
        self._packer.begin(hurries=hurries)
        are_done: list[bool] = []
        for part in self._parts(works):
            if not self._try(part) and not (self._look_after() and self._try(part)):
                rest = works[len(are_done) :]
                are_done += self._do_each(rest) if len(rest) > 1 else [False]
                break
            are_done += [True] * len(part)
        if self.owed:
            count, part = self.owed.part()
            self.owed.end(count, is_done=self._try(part))
        touches = now >= self._touch_at
        if touches:
            self._touch_at = now + _TOUCH
        with suppress(OSError, sqlite3.Error):
            self.disk.sweep(touches=touches)
        return are_done

    def _parts(self, works: Sequence[Work]) -> Iterator[list[Work]]:
        # A commit is in the log beside the file, all of it.
        part: list[Work] = []
        size = 0
        for work in works:
            if part and size + work.size > self.disk.log_size:
                yield part
                part, size = [], 0
            part.append(work)
            size += work.size
        if part:
            yield part

    def _look_after(self) -> bool:
        """
        Go on in a new file, if ours is not where it was, or not whole.

        Returns:
            Whether that is so, and it could be made.
        """
        if not self.disk.is_astray:
            return False
        try:
            try:
                self.disk.restore()
                self.on_restored()
            except sqlite3.Error as exc:
                if not is_lost(exc):
                    raise
                self.on_lost(*self.disk.forget())
        except Exception as exc:
            self.has_failed = True
            self.on_fail(exc)
            return False
        return True

    def _do_each(self, works: Sequence[Work]) -> list[bool]:
        are_done: list[bool] = []
        failures = Counter[object]()
        for work in works:
            kind = type(work), work.size > 0
            is_done = failures[kind] < _FEW and self._try([work])
            failures[kind] = 0 if is_done else failures[kind] + 1
            are_done.append(is_done)
        return are_done

    def _try(self, works: Sequence[Work]) -> bool:
        before = self.disk.size
        try:
            with (
                self._packer.packed(works, self.disk.record_size),
                self.disk.transaction(),
            ):
                for work in works:
                    work.do(self.disk)
                deleted = self.disk.make_room(before, self.max_bytes)
                if self.disk.is_astray:
                    raise _Astray
        except _Astray:
            return False  # `_look_after` says why, where it can't be helped
        except Exception as exc:
            self.has_failed = True
            self.on_fail(exc)
            if isinstance(exc, sqlite3.Error) and is_corrupt(exc):
                with suppress(OSError, sqlite3.Error):
                    for lost in self.disk.set_aside():
                        self.on_lost(*lost)
            return False
        self.has_written = self.has_written or any(work.size for work in works)
        if deleted:
            self.on_deleted(deleted)
        return True
