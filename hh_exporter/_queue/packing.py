"""
What of a backlog is packed, and when it is unpacked again.

Nothing is done until what waits takes half of the byte limit. From then on all of it is
packed but a window at the head, which is sent next: from the window outwards, the oldest first,
so each record is packed once, and a block of them leaves memory as it came. Unpacking keeps
ahead of what is sent, as far as the budget allows.

Pure: it has no thread. A job is chosen under the queue's lock, done without it, and committed
under it if its records still wait; else it is forgotten. A record is packed or unpacked in one
step, as all changes of the ledger are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, TypeAlias

from attrs import define, field

from hh_exporter._queue.budget import Budget
from hh_exporter._queue.ledger import Ledger
from hh_exporter._records import Block, Record, by_seq

__all__ = ["Job", "Packing"]

_PART: Final = 2
"""Which part of the byte limit waits where a backlog begins: far servers have less on the way."""
_WINDOW: Final = 2 * 2**20
"""Bytes at the head that stay unpacked, at most: some full batches."""
_WINDOW_EVENTS: Final = 2_000
_BLOCK: Final = 128 * 2**10
"""Bytes of records that fill a block, at most: to unpack them takes less than a millisecond."""
_PACKED_AT_ONCE, _UNPACKED_AT_ONCE = 4, 8
"""Blocks of one job: it takes the loop as long as a few pushes, and unpacks a full batch."""


@define(eq=False)
class Pack:
    """
    Make blocks of records that wait.
    """

    parts: Sequence[Sequence[Record]]
    _pieces: Sequence[Sequence[bytes]]
    blocks: Sequence[Block | None] = ()
    """Of each part, once it is run: None where packing is in vain."""

    def run(self) -> None:
        self.blocks = tuple(map(Block.of, self.parts, self._pieces))
        self._pieces = ()  # else they would not be freed where they are packed


@define(eq=False)
class Unpack:
    """
    Unpack blocks.
    """

    blocks: Sequence[Block]
    pieces: Sequence[Mapping[int, bytes]] = ()

    def run(self) -> None:
        self.pieces = tuple(block.open() for block in self.blocks)


Job: TypeAlias = Pack | Unpack
"""What is to be done, by `run`, without the lock."""


@define(eq=False)
class Packing:
    """
    Choose what is packed or unpacked next, and count it. Used under the queue's lock.
    """

    budget: Budget
    ledger: Ledger
    wake: Callable[[], None]
    """Called, without the lock, after `is_due`."""
    starts_at: int = field(init=False)
    """Waiting bytes with which a backlog begins; it is over at half of them."""
    window: int = field(init=False)
    """Bytes at the head that stay unpacked."""
    block: int = field(init=False)
    """Bytes of records that fill a block."""
    look_at: float = field(init=False)
    """With how many unpacked bytes that wait `next` should be called; inf while a job is out."""
    is_served: bool = field(default=False, init=False)
    """Whether a job is out that ends soon: then nothing is unpacked where it would block a loop."""
    freed: int = field(default=0, init=False)
    """Bytes that packing has freed; for others to reset."""
    _is_draining: bool = field(default=False, init=False)
    """Whether records were pulled since unpacking was last ahead of them."""
    _is_waited_for: bool = field(default=False, init=False)
    """Whether the worker waits until what is sent next is, or can be, unpacked."""
    _is_backlog: bool = field(default=False, init=False)
    _last: float = field(default=-inf, init=False)
    """Where in the order the last block ended."""
    _packed_to: float = field(default=-inf, init=False)
    """Where the block ended that was packed furthest from the head."""
    _skipped_to: float = field(default=-inf, init=False)
    """Where those ended that could not be made smaller."""

    def __attrs_post_init__(self) -> None:
        self.start_at(self.budget.limits.max_bytes // _PART)

    def start_at(self, size: int, *, block: int = _BLOCK) -> None:
        """
        Have a backlog begin with *size* bytes that wait; 0 packs all, the window included.
        """
        self.starts_at = self.look_at = size
        self.window = min(_WINDOW, size // 4)
        self.block = min(block, max(1, size // 16)) if size else block

    def next(self) -> Job | None:
        """
        Choose what is to be done now; follow with `commit`, unless it can't be done.
        """
        job = self._choose_unpacking() or self._choose_packing()
        if job is not None:
            self.look_at = inf
        else:
            more = self._unpacked_bytes + _PACKED_AT_ONCE * self.block
            self.look_at = more if self._is_backlog else self.starts_at
        return job

    @property
    def wait_bytes(self) -> float:
        """
        With how many bytes that wait, packed or not, `next` should be called.
        """
        return self.look_at + self.ledger.packed_bytes

    def commit(self, job: Job) -> None:
        """
        Count *job*, which was run, as far as it still applies.
        """
        if isinstance(job, Unpack):
            for block, pieces in zip(job.blocks, job.pieces, strict=True):
                self._unpack(block, pieces)
            return
        for records, made in zip(job.parts, job.blocks, strict=True):
            self._last = records[-1].seq
            if made is None:
                self._skipped_to = max(self._skipped_to, self._last)
            elif self._all_wait(records):
                self._pack(made, records)
                self._packed_to = max(self._packed_to, self._last)

    def pull(self, limit: int) -> list[Record]:
        """
        Pull up to *limit* records from the head of what waits; see `RecordQueue.pull`.
        """
        self._is_draining = True
        self._is_waited_for = self.is_stuck
        if self._is_waited_for:
            return []
        waiting = self.ledger.waiting
        if waiting and (block := waiting[0].block) is not None:
            self._unpack(block, block.open())
        return self.ledger.pull(limit)

    @property
    def is_stuck(self) -> bool:
        """
        Whether what is sent next can't be pulled before a job, or something in flight, ends.
        """
        waiting = self.ledger.waiting
        block = waiting[0].block if waiting else None
        return block is not None and (self.is_served or not self._may_grow(block.growth))

    def is_due(self) -> bool:
        """
        Whether the worker should look again, which is said once: `wake` it.
        """
        is_free = self._is_waited_for and not self.is_stuck
        if is_free:
            self._is_waited_for = False
        # `Unsettled.enter` says so as well, unless packed records make room for what is pushed.
        is_behind = self._unpacked_bytes >= self.look_at
        if is_behind:
            self.look_at = inf
        return is_free or is_behind

    # Which.

    @property
    def _unpacked_bytes(self) -> int:
        """
        Bytes that wait and are not packed.
        """
        return self.ledger.waiting_bytes - self.ledger.packed_bytes

    def _may_grow(self, size: int) -> bool:
        """
        Whether unpacking may take *size* more bytes: always if nothing in flight could make room.
        """
        budget = self.budget
        return not self.ledger.in_flight or budget.bytes + size <= budget.limits.max_bytes

    def _choose_unpacking(self) -> Unpack | None:
        """
        Choose the next blocks, if less than half of the window is left of what was unpacked.
        """
        self._is_draining = self._is_draining and self.ledger.packed > 0
        if not self._is_draining:
            return None
        at, waiting = self._measure_window(part=2), self.ledger.waiting
        blocks, growth = list[Block](), 0
        while at < len(waiting) and (block := waiting[at].block) is not None:
            if block not in blocks:
                growth += block.growth
                if len(blocks) == _UNPACKED_AT_ONCE or not self._may_grow(growth):
                    break
                blocks.append(block)
            at += 1
        self._is_draining = bool(blocks)
        return Unpack(blocks) if blocks else None

    def _choose_packing(self) -> Pack | None:
        """
        Choose the first records that fill a block: behind the window, or behind what is packed.
        """
        waiting_bytes, starts_at = self.ledger.waiting_bytes, self.starts_at
        self._is_backlog = waiting_bytes >= (starts_at // 2 if self._is_backlog else starts_at)
        if not self._is_backlog:
            return None
        for at in self._starts():
            parts = list[list[Record]]()
            while len(parts) < _PACKED_AT_ONCE and (records := self._fill_block(at)):
                parts.append(records)
                at += len(records)  # noqa: PLW2901 - within this run
            if parts:
                return Pack(parts, [[record.data for record in records] for records in parts])
        return None

    def _starts(self) -> Iterator[int]:
        """
        List where unpacked records may begin: behind the window, the last block, and all blocks.

        The first two differ where records were put back, which wait in front of the blocks.
        """
        waiting, skipped_to = self.ledger.waiting, self._skipped_to
        yield max(self._measure_window(), bisect_right(waiting, skipped_to, key=by_seq))
        yield bisect_right(waiting, self._last, key=by_seq)
        yield bisect_right(waiting, max(self._packed_to, skipped_to), key=by_seq)

    def _measure_window(self, part: int = 1) -> int:
        """
        Count the unpacked records at the head, as far as the window, divided by *part*, goes.
        """
        waiting, at, size, most = self.ledger.waiting, 0, 0, self.window // part
        end = min(len(waiting), _WINDOW_EVENTS // part)
        while at < end and size < most and waiting[at].block is None:
            size += len(waiting[at].data)
            at += 1
        return at

    def _fill_block(self, at: int) -> list[Record]:
        """
        List the unpacked records from place *at* on that fill a block; none if they don't.
        """
        waiting, records, size = self.ledger.waiting, list[Record](), 0
        while at < len(waiting) and size < self.block and waiting[at].block is None:
            records.append(waiting[at])
            size += len(waiting[at].data)
            at += 1
        return records if size >= self.block else []

    # In steps.

    def _all_wait(self, records: Sequence[Record]) -> bool:
        """
        Whether all *records* wait, and none is packed.
        """
        waiting = self.ledger.waiting
        at = bisect_left(waiting, records[0].seq, key=by_seq)
        for record in records:
            while at < len(waiting) and waiting[at] is not record and waiting[at].seq <= record.seq:
                at += 1
            if at >= len(waiting) or waiting[at] is not record or record.block is not None:
                return False
        return True

    def _pack(self, block: Block, records: Sequence[Record]) -> None:
        ledger, share = self.ledger, block.share
        for record in records:
            freed = len(record.data) - share
            # In one step.
            record.block = block
            del record.data
            ledger.queued_bytes -= freed
            ledger.waiting_bytes -= freed
            ledger.packed += 1
            ledger.packed_bytes += share
        self.freed += block.growth

    def _unpack(self, block: Block, pieces: Mapping[int, bytes]) -> None:
        """
        Unpack those records of *block* that still wait.
        """
        ledger, share, waiting = self.ledger, block.share, self.ledger.waiting
        at = bisect_left(waiting, block.first_seq, key=by_seq)
        while at < len(waiting) and waiting[at].seq <= block.last_seq:
            record = waiting[at]
            at += 1
            if record.block is not block:
                continue
            piece = pieces[id(record)]
            grown = len(piece) - share
            # In one step.
            record.data = piece
            record.block = None
            ledger.queued_bytes += grown
            ledger.waiting_bytes += grown
            ledger.packed -= 1
            ledger.packed_bytes -= share
