"""
The books of a relay: what it took from the stream, and what became of it.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hh_exporter._outcomes import Stats

__all__ = ["BALANCED", "BOOKS", "RelayStats"]

BALANCED = ("recovered", "delivered", "rejected", "dropped", "returned", "queued", "in_flight")
"""The first is the sum of all others."""
BOOKS = (*BALANCED, "redelivered", "unconfirmed")
"""What relays tell of their books."""


@frozen(kw_only=True)
class RelayStats:
    """
    The books of a relay at one instant, and what it knows of the stream.

    They balance: `recovered == delivered + rejected + dropped + returned + queued + in_flight`.
    """

    books: Stats
    """Those of its exporter: `recovered` is what it took, `spooled` what it gave back."""
    redelivered: int
    """
    Events that it took and that had been given out before: some may have been sent, so this is
    the most that can be duplicates.
    """
    unconfirmed: int
    """Acknowledgements that the server has not confirmed yet."""
    repeated: int
    """Acknowledgements that had to be repeated."""
    dead_letters: int
    """Rejected and dropped events that the stream of dead letters took from it."""
    letters_waiting: int
    """Those that it has not taken yet: their events stay in the stream."""
    in_hand: int
    """Messages of the stream that are not given to another relay: those above, and those below."""
    backlog: int | None
    """Messages that wait for relays of its dialect or are in their hands; None if not known yet."""
    oldest_in_stream: float
    """Seconds since the oldest message of the stream was published, 0.0 without one."""
    health: str
    """One word: ok, starting, retrying, suspended, degraded or closed."""
    health_reason: str
    """Why, in a few words; empty when ok."""

    @property
    def recovered(self) -> int:
        """
        Messages taken from the stream; the same one counts again if it was given back.
        """
        return self.books.recovered

    @property
    def delivered(self) -> int:
        return self.books.delivered

    @property
    def rejected(self) -> int:
        return self.books.rejected

    @property
    def dropped(self) -> int:
        return self.books.dropped

    @property
    def returned(self) -> int:
        """
        Messages given back to the stream, for this relay or another.
        """
        return self.books.spooled

    @property
    def queued(self) -> int:
        return self.books.queued

    @property
    def in_flight(self) -> int:
        return self.books.in_flight

    def to_json(self) -> dict[str, Any]:
        """
        Make the numbers that `hh-exporter fleet` adds up.
        """
        return {
            "books": {name: getattr(self, name) for name in BOOKS},
            "repeated": self.repeated,
            "dead_letters": self.dead_letters,
            "letters_waiting": self.letters_waiting,
            "in_hand": self.in_hand,
            "backlog": self.backlog,
            "oldest_in_stream": round(self.oldest_in_stream, 3),
            "health": self.health,
            "health_reason": self.health_reason,
        }
