"""
What the spool's thread can be asked to do: each is a step of some commit.

What a step found or could not write is told to the spooler once the commit is
over, so that nothing counts that was rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import Factory, define, field

from hh_exporter._disk import Disk
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record, Spot
from hh_exporter._spooled import Letter, SpooledRecord

__all__ = ["Load", "Owner", "Settle", "Store", "Work"]


class Owner(Protocol):
    """
    Whose thread it is.
    """

    def lose(self, count: int, reason: DropReason, event_ids: Sequence[str]) -> None: ...

    def admit(self, found: Sequence[tuple[SpooledRecord, Spot]]) -> None: ...


class Work(Protocol):
    size: int
    """Bytes that it will take on disk."""

    def do(self, disk: Disk) -> None:
        """
        Do it, within a transaction.
        """

    def end(self, owner: Owner, *, is_done: bool) -> None:
        """
        Note that it was committed, or could not be.
        """


@define(eq=False)
class Store:
    """
    Write a record, unless it is there already.
    """

    record: Record
    row: SpooledRecord
    is_loaded: bool = field(kw_only=True)
    """Whether it is in memory, too."""
    on_end: Callable[[], None] | None = field(default=None, kw_only=True)
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.record.spot is None:
            self.record.spot = Spot()
            self.size = len(self.row.data) + len(self.row.session or b"")
        else:
            self.size = 0

    def do(self, disk: Disk) -> None:
        spot = self.record.spot
        assert spot is not None  # noqa: S101
        if spot.file is None:
            disk.add([self.row], [spot], loaded=self.is_loaded)
        elif not self.is_loaded:
            disk.unload(spot)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        if not is_done:
            self.record.spot = None
            if not self.is_loaded:
                owner.lose(1, DropReason.SPOOL_FULL, (self.record.event_id,))
        if self.on_end is not None:
            self.on_end()


@define(eq=False)
class Settle:
    """
    Forget records, and bury some of them.
    """

    spots: Sequence[Spot]
    letters: Sequence[Letter]
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = sum(len(letter.data) for letter in self.letters)

    def do(self, disk: Disk) -> None:
        for spot in self.spots:
            if spot.file is not None:  # else it could not be written
                disk.remove(spot)
        disk.bury(self.letters)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        """
        Nothing is lost: they have their outcome.
        """


@define(eq=False)
class Load:
    """
    Bring records back to memory; those that are too old are dropped.
    """

    limit: int
    oldest: float
    """Unix time before which a record is too old."""
    found: list[tuple[SpooledRecord, Spot]] = Factory(list)
    expired: list[str] = Factory(list)
    size: int = 0

    def do(self, disk: Disk) -> None:
        self.found.clear()
        self.expired.clear()
        for row, spot in disk.next(self.limit):
            if row.pushed_at < self.oldest:
                disk.remove(spot)
                self.expired.append(row.event_id)
            else:
                self.found.append((row, spot))

    def end(self, owner: Owner, *, is_done: bool) -> None:
        owner.admit(self.found if is_done else [])
        if is_done:
            owner.lose(len(self.expired), DropReason.EXPIRED, self.expired)
