"""
Events as bytes: what the queue holds, a batch carries and the wire sees.

A record's bytes are made once, at push, and never change. While it waits in the queue they
may be packed, together with those of others, in a block; whoever takes it from there gets
them as they were.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final, Protocol

from attrs import define, field, frozen

from hh_exporter._outcomes import DropReason
from hh_exporter._packing import pack, unpack

__all__ = [
    "MAIN",
    "OTHERS",
    "UPDATES",
    "Batch",
    "Block",
    "Loss",
    "Record",
    "Session",
    "Spot",
    "Subject",
    "by_seq",
    "total_bytes",
]

MAIN: Final = ""
"""The route of model events; of all events, where a dialect has one route for all kinds."""
OTHERS: Final = "others"
"""The route of events of other kinds, where these have one of their own."""
UPDATES: Final = "updates"
"""The route of updates; the `event_id` of such a record is that of the event it is about."""

_LEVEL: Final = 3
"""How hard a block is packed: a fifth more work than the least saves a twentieth of the bytes."""


class _Named(Protocol):
    @property
    def event_id(self) -> str: ...

    @property
    def route(self) -> str: ...


@define(eq=False)
class Session:
    """
    A session whose properties are still to be sent; shared by its records.
    """

    session_id: str
    data: bytes = field(repr=False)
    """
    What is added to a body that announces it, behind its records; or the whole event, if the
    session is an event of its own.
    """
    event_id: str | None = None
    """The id of that event; None where the session is announced within a body."""
    doubts: int = field(default=0, init=False)
    """How often a body was accepted without its properties after a passing failure with them."""


@define(eq=False)
class Spot:
    """
    Where a record is on disk; only the spool's thread writes to it.
    """

    file: object = None
    """None until it is there."""
    id: int = 0
    size: int = 0
    """Bytes that it takes there."""


@define(eq=False)
class Block:
    """
    The bytes of several records, packed together.
    """

    packed: bytes = field(repr=False)
    share: int
    """What each of the records takes of the budget: all together no less than the block."""
    first_seq: int
    last_seq: int
    """The places of the first and the last of them in the order of admission."""
    _ids: array[int] = field(repr=False)
    """Those of the objects: places in the order are not unique among what comes from disk."""
    _sizes: array[int] = field(repr=False)

    @classmethod
    def of(cls, records: Sequence[Record], pieces: Sequence[bytes]) -> Block | None:
        """
        Pack *pieces*, the bytes of *records*; None if that makes them no smaller.
        """
        plain = b"".join(pieces)
        packed = pack(plain, _LEVEL)
        if len(packed) + len(pieces) > len(plain):
            return None
        share = -(-len(packed) // len(pieces))
        ids, sizes = array("Q", map(id, records)), array("I", map(len, pieces))
        return cls(packed, share, records[0].seq, records[-1].seq, ids, sizes)

    @property
    def growth(self) -> int:
        """
        How many more bytes its records take unpacked.
        """
        return sum(self._sizes) - self.share * len(self._sizes)

    def open(self) -> dict[int, bytes]:
        """
        Unpack all, by the `id` of the records that have this block.
        """
        plain = unpack(self.packed)
        pieces, end = dict[int, bytes](), 0
        for id_, size in zip(self._ids, self._sizes, strict=True):
            begin, end = end, end + size
            pieces[id_] = plain[begin:end]
        return pieces


@define(eq=False)
class Record:
    """
    One encoded event.

    Not frozen, which would triple the cost of making one. The queue writes to
    it once, when it admits it, and a delivery that gives it back.
    """

    event_id: str
    data: bytes = field(repr=False)
    """Not there, so that reading it raises AttributeError, while it is packed."""
    pushed_at: float
    """When it was pushed, a reading of the monotonic clock."""
    session: Session | None = None
    """The session that it was pushed with, where that has properties to announce."""
    route: str = MAIN
    """The way to the server that it shares with all records of a batch."""
    seq: int = field(default=0, init=False)
    """Order of admission, below 0 for what was inherited; a flush waits for all up to its own."""
    tried_for: float = field(default=0.0, init=False)
    """Seconds for which deliveries failed with it, pauses not counted."""
    failed_at: int | None = field(default=None, init=False)
    """How many answers had created events when the server first failed on a body with it."""
    doubted_at: int = field(default=-1, init=False)
    """
    How many answers had, or may have, created events when one refused us, or
    all events, over a body with this record; -1 if none did.
    """
    spot: Spot | None = field(default=None, init=False)
    """Where it is, or will be, on disk; None if it is in memory alone."""
    block: Block | None = field(default=None, init=False, repr=False)
    """What has its bytes while it is packed, as only a record that waits in the queue may be."""

    @property
    def size(self) -> int:
        """
        Bytes that it takes of the budget: its own, or its share of a block.
        """
        block = self.block
        return len(self.data) if block is None else block.share


@frozen(eq=False)
class Batch:
    """
    Records that share one request; no two have the same event_id.
    """

    records: tuple[Record, ...]
    session: Session | None = None
    """The session that it announces; all its records belong to that one."""
    route: str = MAIN
    """The route of all its records."""
    is_full: bool = False
    """Whether waiting would not have made it larger: a limit closed it, or it announces."""


@frozen
class Loss:
    """
    Records that were dropped when one was offered, perhaps that one itself.
    """

    reason: DropReason
    records: tuple[Record, ...]


@frozen
class Subject:
    """
    What a record is about: an event itself, or an update of it.
    """

    event_id: str
    is_update: bool

    @classmethod
    def of(cls, record: _Named) -> Subject:
        return cls(record.event_id, record.route == UPDATES)


by_seq = attrgetter("seq")
"""The key by which records are sorted in order of admission."""

_data = attrgetter("data")


def total_bytes(records: Iterable[Record]) -> int:
    """
    Add up the bytes of *records*.
    """
    return sum(map(len, map(_data, records)))
