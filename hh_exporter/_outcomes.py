"""
What one answer says about each record, and what finally became of it.

A verdict is about one attempt and may leave records undecided. An outcome is
final: every record reaches exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum, auto

from attrs import field, frozen

__all__ = ["DropReason", "FlushResult", "Outcome", "Rest", "Settlement", "Stats", "Verdict"]


class Outcome(StrEnum):
    """
    The final fate of an event.
    """

    DELIVERED = "delivered"
    """The server has it."""
    RELAYED = "relayed"
    """A stream has it, for a relay to deliver."""
    REJECTED = "rejected"
    """The server refused this very event."""
    DROPPED = "dropped"
    """We gave up; `DropReason` says why."""

    @property
    def is_loss(self) -> bool:
        """
        Whether it means that the event did not get where it was to go: rejected or dropped.
        """
        return self is Outcome.REJECTED or self is Outcome.DROPPED


class DropReason(StrEnum):
    """
    Why an event was dropped.
    """

    QUEUE_FULL = "queue_full"
    """The queue had no room, and its overflow policy chose this event."""
    TOO_LARGE = "too_large"
    """Larger than a request may be, by our limit or by the server's (HTTP 413)."""
    INVALID = "invalid"
    """Not an event, or a scalar field has a wrong type."""
    UNENCODABLE = "unencodable"
    """A payload can't be encoded as JSON."""
    HOOK_FAILED = "hook_failed"
    """`before_send` raised, or returned what it may not."""
    FILTERED = "filtered"
    """`before_send` returned None."""
    SAMPLED = "sampled"
    """Left out by `sample_rate`."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    """Not delivered within `RetryPolicy.max_elapsed`."""
    CLOSED = "closed"
    """Pushed after the exporter was closed, or not delivered by then."""
    DISABLED = "disabled"
    """The exporter is disabled, or has no API key."""
    SPOOL_FULL = "spool_full"
    """The spool had no room for it, or could not be written to."""
    EXPIRED = "expired"
    """It waited on disk for longer than `Spool.max_age`."""
    PURGED = "purged"
    """It was deleted from the spool, by a command or another process."""
    DAMAGED = "damaged"
    """What the spool has of it is damaged; it is kept as a dead letter."""
    EVENT_LOST = "event_lost"
    """An update of an event that was rejected or dropped."""
    SEND_FAILED = "send_failed"
    """`create_model_event` could not deliver it in time."""
    INTERNAL_ERROR = "internal_error"
    """A bug in this package; the log has a traceback."""


class Rest(Enum):
    """
    What an answer means for the records that it does not name as created.
    """

    NOTHING = auto()
    """There are none: all were created."""
    RETRY = auto()
    """The request failed in passing: send them again later."""
    TOO_LARGE = auto()
    """The body was too large: send smaller ones."""
    INVALID = auto()
    """At least one of them makes the server refuse the whole body."""
    FAILED = auto()
    """The server tried each and could not create them."""
    AMBIGUOUS = auto()
    """Something was created, and the answer does not say which."""
    SUSPENDED = auto()
    """The server refuses the exporter, not the events."""


@frozen(kw_only=True)
class Verdict:
    """
    What one answer says of each record of a request.
    """

    created: frozenset[str] = frozenset()
    """Ids of the records that the server has now."""
    rest: Rest
    """What it means for all others."""
    status: int | None
    """The HTTP status, None without an answer."""
    reason: str
    """The answer in a few words fit for a log."""
    hint: str = ""
    """Where `rest` is SUSPENDED: the setting to check."""
    text: str = field(default="", repr=False)
    """The server's own words. They can echo a prompt: not for logs."""


@frozen(kw_only=True)
class Settlement:
    """
    The outcome of a group of events.
    """

    outcome: Outcome
    reason: DropReason | None
    """Why they were dropped, else None."""
    event_ids: tuple[str, ...]
    status: int | None
    """The HTTP status that decided it, None where no answer did."""
    is_update: bool = False
    """Whether these are updates of events, one for each id; else the events themselves."""


@frozen
class FlushResult:
    """
    What became of the events that had no outcome when a flush or close began.
    """

    delivered: int
    rejected: int
    dropped: int
    left: int
    """Still without an outcome."""
    relayed: int = field(default=0, kw_only=True)
    """Those that a stream has, for a relay to deliver; 0 without JetStream."""


@frozen(kw_only=True)
class Stats:
    """
    The books at one instant.

    They balance: `pushed + recovered == delivered + relayed + rejected + dropped
    + queued + in_flight + spooled`.
    """

    pushed: int
    """Events pushed, and put; those refused or dropped at once included."""
    recovered: int
    """Events taken over from disk, where an earlier process or a person left them."""
    delivered: int
    """Events that the server has."""
    relayed: int
    """Events that a stream has, for a relay to deliver; 0 without JetStream."""
    rejected: int
    """Events that the server refused."""
    dropped: int
    """Events given up."""
    dropped_by_reason: Mapping[DropReason, int]
    """Why; reasons without events are left out."""
    queued: int
    """In memory and not taken by a delivery."""
    in_flight: int
    """Taken by a delivery and without an outcome, backoff included."""
    spooled: int
    """On disk and not in memory."""
    spooled_bytes: int
    """Bytes of the spool's records and dead letters, as they are on disk: packed."""
    dead_letters: int
    """Rejected and dropped events that the spool keeps."""
    stranded: int
    """
    Events in the spool's directory that this exporter can't send, since their files are of
    another key, address or dialect; those that a running process holds are not counted.
    """
    commit_lag: float
    """Seconds that the oldest event not yet written by the spool has waited for it."""
    queued_bytes: int
    """Bytes that the queued events take in memory, where some may be packed."""
    queued_packed: int
    """How many of the queued events are packed."""
    in_flight_bytes: int
    """Bytes of the events in flight, without the request bodies made of them."""
    capacity: int
    """How many events memory takes, queued and in flight: `QueueLimits.max_events`."""
    capacity_bytes: int
    """How many bytes of events and request bodies memory takes: `QueueLimits.max_bytes`."""
    requests: int
    """Attempts: requests that were begun."""
    retries: int
    """Attempts beyond the first of the same events after a passing failure."""
    duplicates: int
    """
    Events that the stream had already when they were published again; 0 without JetStream.
    """
    requests_by_status: Mapping[int | None, int]
    """Requests that ended, by HTTP status; None if no answer came."""
    request_seconds: float
    """Seconds that these requests took together."""
    request_durations: Mapping[float, int]
    """How many of them took no longer than each of some bounds in seconds; the last is inf."""
    in_flight_limit: int
    """How many requests may be in flight now, 1 to `max_in_flight`; 0 before an event loop runs."""
    in_flight_reason: str
    """Why that is not more, in a few words; empty before an event loop runs."""
    body_bytes: int
    """Bytes of the request bodies in flight, which count towards `capacity_bytes`."""
    breaker: str
    """One word: closed, open (the server fails), half_open (a probe is in flight) or suspended."""
    oldest_age: float
    """Seconds since the oldest event without an outcome was pushed, 0.0 without one."""
    health: str
    """One word: ok, starting, retrying, suspended, degraded or closed."""
    health_reason: str
    """Why, in a few words; empty when ok."""

    @property
    def settled(self) -> int:
        """
        Events that have their outcome: delivered, relayed, rejected or dropped.
        """
        return self.delivered + self.relayed + self.rejected + self.dropped
