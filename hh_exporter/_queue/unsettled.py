"""
Where each record is that has no outcome: waiting, pulled, in flight, or on disk.

Each move is one step, of numbers and places alike: what it needs is computed first, then
stored by lines that call nothing, or one function of C at their end. CPython runs signal
handlers only after calls and backward jumps, so an exception from outside leaves all of a
move or none of it. It has no lock of its own: the queue calls it under the one lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import TypeAlias

from attrs import Factory, define

from hh_exporter._records import Record, Session, by_seq, total_bytes

__all__ = ["Due", "Unsettled"]

Due: TypeAlias = tuple[float, float]
_NEVER: Due = (inf, inf)


@define(eq=False)
class Unsettled:
    """
    The records without an outcome, in numbers and in places.
    """

    pushed: int = 0
    recovered: int = 0
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

    def spool_new(self, hand_over: Callable[[], object]) -> None:
        """
        Count a record that is pushed and waits on disk at once; see `spool`.
        """
        self.pushed += 1
        self.spooled += 1
        hand_over()

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

    # What is there.

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
