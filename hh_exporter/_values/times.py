"""
The times of an event: start, end and duration.

What is missing is derived from what is given, which is never changed.
"""

from __future__ import annotations

from math import inf
from typing import Any

__all__ = ["SECONDS", "fill_times"]

SECONDS = 1e11
"""Times below look like Unix seconds; as milliseconds they would be before March 1973."""

_LAST = 253_402_300_799_999
"""The last millisecond of the year 9999, which is the last that a calendar has to know."""


def fill_times(wire: dict[str, Any], now: float | None) -> None:
    """
    Derive what is missing of start, end and duration from what is there.

    Without times the server stamps an event on arrival, which may be late. From absurd
    times nothing is derived that is not finite, nor a start before 1970, as with a
    duration in nanoseconds: the start is the end then.
    """
    start = wire.get("start_time")
    end = wire.get("end_time")
    duration = wire.get("duration")
    if end is None and now is not None:
        end = now if start is None or duration is None else _finite(start + duration, now)
        wire["end_time"] = end
    if duration is None:
        duration = 0 if start is None or end is None else _finite(max(0, end - start), 0)
        wire["duration"] = duration
    if start is None and end is not None:
        start = end - duration
        wire["start_time"] = start if 0 <= start <= _LAST else end


def _finite(number: float, otherwise: float) -> float:
    return number if -inf < number < inf else otherwise
