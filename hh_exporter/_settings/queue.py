"""
How much may be in memory, and what happens when there is no room.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from hh_exporter._settings.kinds import choice, whole

__all__ = ["QueueLimits", "portion"]

_FEW = 100
"""Events of a portion, at least: a queue that has room for little more may lend all of it."""


@frozen(kw_only=True)
class QueueLimits:
    """
    The budget for all events in memory, queued and in flight.
    """

    max_events: int = field(default=50_000, validator=whole(1))
    """Events at once, at most."""
    max_bytes: int = field(default=64 * 2**20, validator=whole(1, unit="bytes"))
    """
    Bytes of the encoded events, some of them packed, and of the request bodies in flight. These
    take a quarter at most; but there may always be one. About 300 bytes per event come on top,
    twice that if each has a session of its own; `max_events` bounds those.
    """
    overflow: Literal["drop_oldest", "drop_newest"] = field(
        default="drop_oldest", validator=choice("drop_oldest", "drop_newest")
    )
    """What a push does if there is no room."""


def portion(limits: QueueLimits, parts: int) -> int:
    """
    Say how many events one of so many *parts* of a queue has: 100 at least.
    """
    return max(_FEW, limits.max_events // parts)
