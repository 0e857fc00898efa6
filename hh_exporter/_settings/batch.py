"""
When a batch is full, and how long it waits to fill.
"""

from __future__ import annotations

from attrs import field, frozen

from hh_exporter._settings.kinds import seconds, whole

__all__ = ["MAX_BODY_BYTES", "BatchLimits"]

MAX_BODY_BYTES = 5_000_000
"""The largest request body, wrapper included: the API refuses requests over 5 MB."""


@frozen(kw_only=True)
class BatchLimits:
    """
    When a batch is full, and how long it waits to fill.
    """

    max_events: int = field(default=1_000, validator=whole(1))
    """
    Events in one request, at most, and a quarter of `QueueLimits.max_events` if that is more than
    100; those of average size fill its bytes before.
    """
    max_bytes: int = field(default=2**20, validator=whole(1, MAX_BODY_BYTES, "bytes"))
    """Bytes of the whole request body; a larger event is sent alone."""
    linger: float = field(default=1.0, validator=seconds(zero=True))
    """Seconds that an event waits for its batch to fill."""
