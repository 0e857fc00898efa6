"""
What is in flight of a batch, and what of it goes out in one body.

A record leaves `pending` once. A part never changes: what must be sent differently
becomes new parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from attrs import Factory, define, evolve, field, frozen

from hh_exporter._delivery.shipment import Shipment
from hh_exporter._records import MAIN, Batch, Record, Session, total_bytes

__all__ = ["Delivery", "Part"]


@frozen(eq=False)
class Part:
    """
    Records of a delivery that go out in one body.
    """

    records: tuple[Record, ...]
    announced: Session | None = None
    """The session whose properties are sent with them."""
    withheld: Session | None = None
    """The session whose properties are left out, since the same body was refused with them."""
    is_doubt: bool = False
    """Whether the body with them only failed in passing, which may have been chance."""
    tried_for: float = 0.0
    """Seconds for which its records were tried before."""
    is_probe: bool = False
    """Whether it may be sent while all sending is blocked."""
    is_last: bool = False
    """Whether it is the second and last attempt to have its one record created."""
    refused_at: float = inf
    """
    How many answers had, or may have, created events when one first refused
    a body with its records; inf if none did.
    """

    @property
    def is_lone(self) -> bool:
        return len(self.records) == 1

    def withhold(self, *, is_doubt: bool = False) -> Part:
        """
        Make the same part without the session: if that is accepted, the properties were at fault.
        """
        return evolve(self, announced=None, withheld=self.announced, is_doubt=is_doubt)

    def divide(self, records: tuple[Record, ...], *, is_failed: bool) -> list[Part]:
        """
        Make halves of *records*, which are left of it, or of one its last attempt.
        """
        middle = (len(records) + 1) // 2
        halves = [
            evolve(
                self,
                records=half,
                announced=self.announced or self.withheld,
                withheld=None,
                is_doubt=False,
            )
            for half in (records[:middle], records[middle:])
            if half
        ]
        if not is_failed:
            return halves
        return [evolve(h.withhold(), is_last=True) if h.is_lone else h for h in halves]


@define(eq=False)
class Delivery:
    """
    The records of one batch that are in flight.
    """

    records: tuple[Record, ...]
    """All of the batch."""
    is_probe: bool = False
    """Whether it may be sent while all sending is blocked."""
    session: Session | None = None
    """The session that it announces."""
    route: str = MAIN
    is_full: bool = False
    """Whether waiting would not have made the batch larger."""
    body_size: int = field(init=False)
    """Bytes of its largest body, but for what the dialect puts around."""
    pending: dict[Record, None] = field(init=False)
    """Those in flight, in order."""
    shipment: Shipment | None = field(default=None, init=False)
    """The body under way, or the last one."""
    last: list[Part] = Factory(list)
    """What is to be sent once more, after all else."""
    refused: set[Record] = Factory(set)
    """Records that the server processed and did not create."""
    fitting: float = inf
    """The size in bytes that bodies should not exceed, after one was found too large."""
    has_misfit: bool = False
    """Whether one event, or a session's properties, were too large by themselves."""
    accepted_before: int = 0
    """How many answers had created events when it began."""

    def __attrs_post_init__(self) -> None:
        self.pending = dict.fromkeys(self.records)
        announced = 0 if self.session is None else len(self.session.data)
        self.body_size = total_bytes(self.records) + len(self.records) + announced

    @classmethod
    def of(cls, batch: Batch, *, is_probe: bool) -> Delivery:
        return cls(batch.records, is_probe, batch.session, batch.route, batch.is_full)

    @property
    def idle_until(self) -> float:
        """
        When it goes on by itself; -inf while it is at work.
        """
        return -inf if self.shipment is None else self.shipment.idle_until

    def among(self, records: Sequence[Record]) -> tuple[Record, ...]:
        """
        Choose those of *records* that have no outcome yet.
        """
        pending = self.pending
        if records is self.records and len(records) == len(pending):
            return self.records  # as for most batches, all the way
        return tuple([record for record in records if record in pending])

    def release(self, records: Sequence[Record]) -> tuple[Record, ...]:
        """
        Let go of *records*: the caller settles them or gives them back.
        """
        released = self.among(records)
        for record in released:
            del self.pending[record]
        return released

    def release_all(self) -> tuple[Record, ...]:
        records = tuple(self.pending)
        self.pending.clear()
        return records
