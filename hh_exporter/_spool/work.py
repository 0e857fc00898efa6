"""
What the spool's thread can be asked to do; each is a step of a commit.

What a step found or could not write is reported once the commit is over, so that
nothing is counted that was rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

from attrs import Factory, define, field

from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record, Spot, Subject
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import EARLIEST, Letter, SpooledRecord

__all__ = [
    "AT_ONCE",
    "Expire",
    "Load",
    "Look",
    "Owner",
    "Redate",
    "Settle",
    "Store",
    "Unload",
    "Work",
    "empty",
    "gather",
]

T = TypeVar("T")

_GATHER = 0.02
"""Seconds for which a commit gathers work, if no caller waits for it."""

AT_ONCE: Final = 1000
"""Records that one commit sees to where it might be any number: others wait for it."""


class Owner(Protocol):
    """
    The owner of the thread, to which steps report.
    """

    def lose(self, seqs: Sequence[int], reason: DropReason, lost: Sequence[Subject]) -> None: ...

    def owe(self, work: Work) -> None: ...

    def fall_behind(self) -> None: ...

    def admit(self, found: Sequence[tuple[SpooledRecord, Spot]]) -> None: ...

    def expire(self) -> None: ...

    def look_around(self) -> None: ...


class Work(Protocol):
    size: int
    """Bytes that wait in memory to be written."""

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
    written: SpooledRecord = field(init=False)
    """What is written of the row: it, or that packed."""
    spot: Spot = field(init=False)
    """The record's; kept here, since an earlier commit that fails takes it from the record."""
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.written = self.row
        self.size = self.row.size if self.record.spot is None else 0
        self.spot = self.record.spot = self.record.spot or Spot()

    def do(self, disk: Disk) -> None:
        if not disk.has(self.spot):
            disk.add([self.written], [self.spot], loaded=self.is_loaded)
        elif not self.is_loaded:
            disk.unload(self.spot)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        if not is_done and self.spot.file is not None:
            owner.owe(self)  # it is there, and was to be noted as not in memory
        elif not is_done:
            if self.record.spot is self.spot:
                self.record.spot = None
            if not self.is_loaded:
                owner.lose((self.record.seq,), DropReason.SPOOL_FULL, (Subject.of(self.row),))
            elif self.on_end is None:
                owner.fall_behind()
        if self.on_end is not None:
            self.on_end()


@define(eq=False)
class Unload:
    """
    Note that a record, which is there, is not in memory any more.

    Holds none of its bytes: it may wait for long behind others that are to be written.
    """

    spot: Spot
    seq: int
    subject: Subject
    is_gone: bool = field(default=False, init=False)
    """Whether its file is lost."""
    size: int = field(default=0, init=False)

    def do(self, disk: Disk) -> None:
        if self.spot.file is not None:
            disk.unload(self.spot, self.seq)
            self.is_gone = isinstance(self.spot.file, Held) and self.spot.file.is_gone

    def end(self, owner: Owner, *, is_done: bool) -> None:
        if self.is_gone:
            owner.lose((self.seq,), DropReason.PURGED, (self.subject,))
        elif self.spot.file is None:  # the commit failed that was to write it
            owner.lose((self.seq,), DropReason.SPOOL_FULL, (self.subject,))
        elif not is_done:
            owner.owe(self)


@define(eq=False)
class Settle:
    """
    Delete records that have their outcome, and keep dead letters of some.
    """

    spots: Sequence[Spot]
    letters: Sequence[Letter]
    written: Sequence[Letter] = field(init=False)
    """What is written of these: they, or those packed."""
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.written = self.letters
        self.size = sum(letter.size for letter in self.letters)

    def do(self, disk: Disk) -> None:
        for spot in self.spots:  # those that could not be written are not there
            disk.remove(spot)
        disk.bury(self.written)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        """
        Try again: what stays on disk would be sent again, and a letter would be lost.
        """
        if not is_done:
            owner.owe(self)


@define(eq=False)
class Load:
    """
    Bring records back to memory; those that are too old, can never fit or are damaged are dropped.
    """

    limit: int
    limit_bytes: int
    now: float
    """Unix time."""
    max_age: float
    """Seconds after which a record is too old."""
    largest: int
    """Bytes that memory has room for: it may have had room for more when a record was written."""
    found: list[tuple[SpooledRecord, Spot]] = Factory(list)
    unfit: dict[DropReason, list[tuple[SpooledRecord, Spot]]] = Factory(dict)
    size: int = 0

    def do(self, disk: Disk) -> None:
        self.found.clear()
        self.unfit.clear()
        for row, spot in disk.next(self.limit, self.limit_bytes):
            reason = self._judge(row)
            if reason is None:
                self.found.append((row, spot))
            else:
                self.unfit.setdefault(reason, []).append((row, spot))

    def _judge(self, row: SpooledRecord) -> DropReason | None:
        if row.damage:
            return DropReason.DAMAGED
        if EARLIEST <= row.pushed_at < self.now - self.max_age:
            return DropReason.EXPIRED
        return DropReason.TOO_LARGE if row.size > self.largest else None

    def end(self, owner: Owner, *, is_done: bool) -> None:
        owner.admit(self.found if is_done else [])
        for reason, unfit in self.unfit.items() if is_done else ():
            rows = [row for row, _ in unfit]
            letters = [row.buried(self.now) for row in rows if reason is DropReason.DAMAGED]
            # Deleted once they are counted, by a commit that is tried again until it is done.
            owner.owe(Settle([spot for _, spot in unfit], letters))
            owner.lose([row.seq for row in rows], reason, [Subject.of(row) for row in rows])


@define(eq=False)
class Expire:
    """
    Delete what is too old and not in memory: records are dropped, dead letters deleted.
    """

    now: float
    """Unix time."""
    max_age: float
    """Seconds after which it is too old."""
    gone: list[tuple[int, Subject]] = Factory(list)
    letters: int = 0
    size: int = 0

    def do(self, disk: Disk) -> None:
        self.gone, self.letters = disk.expire(self.now, self.max_age, AT_ONCE)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        if is_done and (self.gone or self.letters):
            owner.expire()  # there may be more
            lost = [subject for _, subject in self.gone]
            owner.lose([seq for seq, _ in self.gone], DropReason.EXPIRED, lost)
        else:
            owner.look_around()


@define(eq=False)
class Look:
    """
    Go on with a look at files that are not ours, which other work has interrupted.
    """

    size: int = 0

    def do(self, disk: Disk) -> None:
        pass

    def end(self, owner: Owner, *, is_done: bool) -> None:
        owner.look_around()


@define(eq=False)
class Redate:
    """
    Correct the times that are on disk: the machine's clock was set.
    """

    first: float
    last: float
    """Unix times between which all is to be corrected, as it was before."""
    step: float
    """Seconds to be added."""
    size: int = 0

    def do(self, disk: Disk) -> None:
        disk.redate(self.first, self.last, self.step)

    def end(self, owner: Owner, *, is_done: bool) -> None:
        if not is_done:
            owner.owe(self)


def gather(
    work: SimpleQueue[Work | None], hurry: SimpleQueue[None], patience: float
) -> list[Work | None]:
    """
    Wait for work, and for more of it unless a caller waits for this.

    Returns:
        The work; nothing where none came within *patience* seconds.
    """
    try:
        works = [work.get(timeout=patience)]
    except Empty:
        return []
    with suppress(Empty):
        hurry.get(timeout=_GATHER)
    empty(hurry)
    return works + empty(work)


def empty(queue: SimpleQueue[T]) -> list[T]:
    """
    Take all that is there.
    """
    found: list[T] = []
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found
