"""
The times of an event: whatever of them it names, it leaves with all three.
"""

from __future__ import annotations

from math import inf
from typing import Any

__all__ = ["fill_times"]


def fill_times(wire: dict[str, Any], now: float | None) -> None:
    """
    Derive what is missing of start, end and duration from what is there.

    Without times an event that is sent late is stamped on arrival. What would be
    no finite number, of times that are absurd, is not derived of them.
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
        wire["start_time"] = _finite(end - duration, end)


def _finite(number: float, otherwise: float) -> float:
    return number if -inf < number < inf else otherwise
