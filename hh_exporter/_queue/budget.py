"""
The budget for everything in memory, and the line of puts that wait for room.

It covers every record, also in flight, the properties that their sessions are still
to announce, the bodies that are sent, and the room that is reserved for the first in line
and for the next body. It has no lock of its own: the queue calls it under the one lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import Factory, define

from hh_exporter._queue.ledger import Ledger
from hh_exporter._records import Record
from hh_exporter._settings.queue import QueueLimits

__all__ = ["Budget", "Place"]


@define(eq=False)
class Place:
    """
    A place in the line for room.
    """

    size: int
    wake: Callable[[], None]
    """Called, without the lock, once room is reserved or the queue closed."""
    has_room: bool = False
    is_refused: bool = False
    """Whether the queue was closed while it waited."""


@define(eq=False)
class Budget:
    """
    What is in use of the limits.
    """

    limits: QueueLimits
    ledger: Ledger
    line: deque[Place] = Factory(deque)
    bodies: int = 0
    """Bytes of the bodies in flight, and of the next one while it waits for room."""
    kept: int = 0
    """Bytes of that next one alone, for which there may be no room yet."""
    _reserved_events: int = 0
    _reserved_bytes: int = 0

    @property
    def events(self) -> int:
        return self.ledger.queued + self.ledger.in_flight + self._reserved_events

    @property
    def bytes(self) -> int:
        ledger = self.ledger
        return (
            ledger.queued_bytes
            + ledger.in_flight_bytes
            + ledger.session_bytes
            + self.bodies
            + self._reserved_bytes
        )

    def has_room(self, size: int) -> bool:
        """
        Whether one more event of *size* bytes fits.
        """
        limits, ledger = self.limits, self.ledger
        # As `events` and `bytes` have it, written out: push asks for each event.
        return (
            ledger.queued + ledger.in_flight + self._reserved_events < limits.max_events
            and ledger.queued_bytes
            + ledger.in_flight_bytes
            + ledger.session_bytes
            + self.bodies
            + self._reserved_bytes
            + size
            <= limits.max_bytes
        )

    def size_of(self, record: Record) -> int:
        """
        Say how many bytes *record* would add to what is in memory.
        """
        size, session = len(record.data), record.session
        return size if session is None or self.ledger.held(session) else size + len(session.data)

    def reserve(self, place: Place) -> None:
        """
        Keep room for *place*, until `release`.
        """
        # In one step, as all changes of the ledger are.
        place.has_room = True
        self._reserved_events += 1
        self._reserved_bytes += place.size

    def release(self, place: Place) -> None:
        place.has_room = False
        self._reserved_events -= 1
        self._reserved_bytes -= place.size

    def admit(self) -> list[Place]:
        """
        Reserve room for those at the head of the line, as far as there is any.

        Returns:
            Their places; wake them without the lock.
        """
        admitted: list[Place] = []
        while self.line and self.has_room(self.line[0].size):
            place = self.line[0]
            admitted.append(place)
            # In one step.
            del self.line[0]
            place.has_room = True
            self._reserved_events += 1
            self._reserved_bytes += place.size
        return admitted
