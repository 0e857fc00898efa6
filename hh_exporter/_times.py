"""
The times of an event: whatever of them it names, it leaves with all three.
"""

from __future__ import annotations

from typing import Any

__all__ = ["fill_times"]


def fill_times(wire: dict[str, Any], now: float | None) -> None:
    """
    Derive what is missing of start, end and duration from what is there.

    Without times an event that is sent late is stamped on arrival.
    """
    start = wire.get("start_time")
    end = wire.get("end_time")
    duration = wire.get("duration")
    if end is None and now is not None:
        end = wire["end_time"] = now if start is None or duration is None else start + duration
    if duration is None:
        duration = 0 if start is None or end is None else max(0, end - start)
        wire["duration"] = duration
    if start is None and end is not None:
        wire["start_time"] = end - duration
