"""
Where every record is, in places and in numbers.

Every change keeps `pushed + recovered == delivered + rejected + dropped + queued +
in_flight + spooled`, and is one step: what it needs is computed first, then stored by
lines that call nothing, or one function of C at their end. CPython runs signal handlers
only after calls and backward jumps, so an exception from outside leaves all of a change
or none of it. The ledger has no lock of its own: the queue calls it under the one lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TypeAlias

from attrs import Factory, define

from hh_exporter._outcomes import DropReason, FlushResult, Outcome
from hh_exporter._queue.holders import let_go
from hh_exporter._queue.requests import Requests
from hh_exporter._queue.watches import Watch, Watches
from hh_exporter._records import Record, Session, by_seq, total_bytes

__all__ = ["Due", "Ledger"]

Due: TypeAlias = tuple[float, float]
_NEVER: Due = (inf, inf)


@define(eq=False)
class Ledger:
    """
    Where every record is.
    """

    pushed: int = 0
    recovered: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: dict[DropReason, int] = Factory(dict)
    queued: int = 0
    in_flight: int = 0
    spooled: int = 0
    queued_bytes: int = 0
    in_flight_bytes: int = 0
    session_bytes: int = 0
    """Bytes that the sessions of these records are still to announce."""
    waiting: deque[Record] = Factory(deque)
    """Queued and not pulled, in order of admission."""
    waiting_bytes: int = 0
    packed: int = 0
    """How many of these are packed, which no other record is."""
    packed_bytes: int = 0
    pulled: set[Record] = Factory(set)
    """Queued, and in a batch of the worker that is not taken."""
    flying: set[Record] = Factory(set)
    """In flight."""
    holders: dict[Session, int] = Factory(dict)
    """How many records in memory each session has."""
    watches: Watches = Factory(Watches)
    requests: Requests = Factory(Requests)
    _due: Due = _NEVER

    # From outside.

    def enter(self, record: Record) -> Due | None:
        """
        Queue a record that is pushed, behind all others, and give it its place in the order.

        Returns:
            What `wake_at` was told, where as many wait now; follow with `note_rung`.
        """
        size, session = len(record.data), record.session
        announced = 0 if session is None else len(session.data)
        # In one step.
        self.pushed += 1
        self.queued += 1
        self.queued_bytes += size
        self.waiting_bytes += size
        record.seq = self.pushed + self.recovered
        if session is not None:
            held = self.holders[session] if session in self.holders else 0  # noqa: SIM401
            self.holders[session] = held + 1
            if not held:
                self.session_bytes += announced
        self.waiting.append(record)
        due = self._due
        return due if len(self.waiting) >= due[0] or self.waiting_bytes >= due[1] else None

    def enter_in_flight(self, record: Record) -> None:
        """
        Count a record that is pushed and goes out at once, past the queue.
        """
        size, one = len(record.data), {record}
        # In one step; it announces no session.
        self.pushed += 1
        self.in_flight += 1
        self.in_flight_bytes += size
        record.seq = self.pushed + self.recovered
        self.flying |= one

    def refuse(self, reason: DropReason, count: int = 1) -> None:
        """
        Count events that are pushed and dropped at once.
        """
        self.dropped.setdefault(reason, 0)
        # In one step.
        self.pushed += count
        self.dropped[reason] += count

    def spool_new(self, hand_over: Callable[[], object]) -> None:
        """
        Count a record that is pushed and waits on disk at once; see `spool`.
        """
        self.pushed += 1
        self.spooled += 1
        hand_over()

    def recover(self, count: int) -> None:
        """
        Count records on disk that others pushed, and that are now ours to deliver.
        """
        # They come before all others, so each watch will see their outcomes.
        tallies = self.watches.expect(count)
        # In one step.
        self.recovered += count
        self.spooled += count
        self.watches.tallies = tallies

    # Between memory and disk.

    def spool(self, record: Record, hand_over: Callable[[], object]) -> None:
        """
        Have a record wait on disk that is pulled, or the first that waits.

        Args:
            record: The record.
            hand_over: A function of C that has it written: the end of the step.
        """
        size, one, is_packed = record.size, {record}, record.block is not None
        session = record.session
        announced = 0 if session is None else len(session.data)
        # In one step.
        if is_packed:
            self.packed -= 1
            self.packed_bytes -= size
        if record in self.pulled:
            self.pulled -= one
        else:
            del self.waiting[0]
            self.waiting_bytes -= size
        self.queued -= 1
        self.queued_bytes -= size
        self.spooled += 1
        if session is not None:
            self.holders[session] -= 1
            if not self.holders[session]:
                del self.holders[session]
                self.session_bytes -= announced
        hand_over()

    def load(self, record: Record) -> Due | None:
        """
        Move a record from disk back into the queue, to its place in the order.

        Returns:
            As `enter` does.
        """
        size, session = len(record.data), record.session
        announced = 0 if session is None else len(session.data)
        at = bisect_left(self.waiting, record.seq, key=by_seq)
        # In one step.
        self.spooled -= 1
        self.queued += 1
        self.queued_bytes += size
        self.waiting_bytes += size
        if session is not None:
            held = self.holders[session] if session in self.holders else 0  # noqa: SIM401
            self.holders[session] = held + 1
            if not held:
                self.session_bytes += announced
        self.waiting.insert(at, record)
        due = self._due
        return due if len(self.waiting) >= due[0] or self.waiting_bytes >= due[1] else None

    def lose(self, seqs: Sequence[int], reason: DropReason) -> list[Watch]:
        """
        Count records on disk that are dropped without coming back to memory.

        Args:
            seqs: Their places in the order.

        Returns:
            The watches that are complete with this.
        """
        count = len(seqs)
        self.dropped.setdefault(reason, 0)
        tallies = self.watches.note(seqs, Outcome.DROPPED)
        # In one step.
        self.spooled -= count
        self.dropped[reason] += count
        self.watches.tallies = tallies
        return self.watches.complete()

    # Within memory.

    def pull(self, limit: int) -> list[Record]:
        """
        Pull up to *limit* records from the head of what waits, as far as they are not packed.
        """
        waiting, pulled, records = self.waiting, self.pulled, list[Record]()
        while len(records) < limit and waiting:
            record = waiting[0]
            if record.block is not None:
                break
            size, one = len(record.data), {record}
            # In one step.
            del waiting[0]
            self.waiting_bytes -= size
            pulled |= one
            records.append(record)
        return records

    def take(self, records: Iterable[Record]) -> None:
        """
        Move pulled records into a delivery.
        """
        batch = self.pulled.intersection(records)
        count, size = len(batch), total_bytes(batch)
        # In one step.
        self.pulled -= batch
        self.flying |= batch
        self.queued -= count
        self.queued_bytes -= size
        self.in_flight += count
        self.in_flight_bytes += size

    def untake(self, records: Iterable[Record]) -> None:
        """
        Count records in flight as pulled again.
        """
        batch = self.flying.intersection(records)
        count, size = len(batch), total_bytes(batch)
        # In one step.
        self.flying -= batch
        self.pulled |= batch
        self.queued += count
        self.queued_bytes += size
        self.in_flight -= count
        self.in_flight_bytes -= size

    def put_back(self, records: Iterable[Record]) -> None:
        """
        Put records that are pulled or in flight where they were, at the head or among others.
        """
        at = -1
        for record in sorted(records, key=by_seq, reverse=True):
            size, one = len(record.data), {record}
            if at < 0:
                at = bisect_left(self.waiting, record.seq, key=by_seq)
            while at and self.waiting[at - 1].seq > record.seq:
                at -= 1
            # In one step.
            if record in self.flying:
                self.flying -= one
                self.in_flight -= 1
                self.in_flight_bytes -= size
                self.queued += 1
                self.queued_bytes += size
            elif record in self.pulled:
                self.pulled -= one
            else:
                continue  # it has an outcome, or is back already
            self.waiting_bytes += size
            self.waiting.insert(at, record)

    # To an outcome.

    def drop(self, record: Record, reason: DropReason) -> list[Watch]:
        """
        Drop a record that is pulled, or the first that waits.

        Returns:
            The watches that are complete with this.
        """
        origin = self.pulled if record in self.pulled else None
        return self._end(origin, (record,), Outcome.DROPPED, reason)[1]

    def settle(
        self, records: Sequence[Record], outcome: Outcome, reason: DropReason | None
    ) -> tuple[Sequence[Record], list[Watch]]:
        """
        Count the outcome of those of *records* that are in flight.

        Returns:
            These, and the watches that are complete with this.
        """
        return self._end(self.flying, records, outcome, reason)

    # Watches, and the bell.

    def watch(self, wake: Callable[[], None]) -> Watch:
        """
        Watch all records that have no outcome now; end with `Watch.end`.
        """
        watch = Watch(wake, self.watches)
        pushed = -1
        while pushed != self.pushed:  # a handler may push meanwhile
            pushed = self.pushed
            left = self.queued + self.in_flight + self.spooled
            tallies = {**self.watches.tallies, watch: FlushResult(0, 0, 0, left)}
        # In one step.
        watch.last_seq = self.pushed + self.recovered
        self.watches.tallies = tallies
        return watch

    def wake_at(self, events: float, size: float) -> bool:
        """
        Have `enter` and `load` say so when *events* or *size* bytes wait.

        Returns:
            Whether they do now; then they don't.
        """
        is_due = len(self.waiting) >= events or self.waiting_bytes >= size
        self._due = _NEVER if is_due else (events, size)
        return is_due

    def note_rung(self, due: Due) -> None:
        """
        Note that the worker was woken for *due*: once is enough, it asks again.
        """
        if self._due is due:
            self._due = _NEVER

    def held(self, session: Session) -> int:
        """
        Say how many records in memory *session* has.
        """
        return self.holders.get(session, 0)

    # Within.

    def _end(
        self,
        origin: set[Record] | None,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
    ) -> tuple[Sequence[Record], list[Watch]]:
        """
        Give those of *records* an outcome that are in *origin*; None is the head of what waits.
        """
        watches = self.watches
        is_delivered = outcome is Outcome.DELIVERED
        is_flying = origin is self.flying
        if reason is not None:
            self.dropped.setdefault(reason, 0)
        batch = set(records)
        if origin is not None and not batch <= origin:
            batch &= origin
        ended = records if len(records) == len(batch) else [r for r in records if r in batch]
        count, size = len(ended), total_bytes(ended) if origin is not None else ended[0].size
        is_packed = origin is None and ended[0].block is not None
        tallies = watches.note([r.seq for r in ended] if watches.tallies else (), outcome)
        pushed = -1
        while pushed != self.pushed:  # a handler may push meanwhile, of one of their sessions
            pushed = self.pushed
            holders, announced = let_go(self.holders, ended)
        # In one step.
        if origin is None:
            del self.waiting[0]
            self.waiting_bytes -= size
            if is_packed:
                self.packed -= 1
                self.packed_bytes -= size
        else:
            origin -= batch
        if is_flying:
            self.in_flight -= count
            self.in_flight_bytes -= size
        else:
            self.queued -= count
            self.queued_bytes -= size
        self.holders |= holders
        self.session_bytes -= announced
        if reason is not None:
            self.dropped[reason] += count
        elif is_delivered:
            self.delivered += count
        else:
            self.rejected += count
        self.watches.tallies = tallies
        for session in holders:
            if session in self.holders and not self.holders[session]:
                del self.holders[session]
        return ended, watches.complete()
