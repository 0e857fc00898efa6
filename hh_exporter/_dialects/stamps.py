"""
What push adds to an event on its way into the wire's shape, alike in every dialect.
"""

from __future__ import annotations

from typing import Any

from hh_exporter._values.times import fill_times

__all__ = ["stamp"]


def stamp(
    wire: dict[str, Any],
    event_id: str | None,
    session_id: str | None,
    source: str | None,
    now: float | None,
) -> None:
    """
    Add the id, fill in session and source where *wire* leaves them open, and derive its times.
    """
    if event_id is not None:
        wire["event_id"] = event_id
    if session_id is not None:
        wire.setdefault("session_id", session_id)
    if source is not None:
        wire.setdefault("source", source)
    fill_times(wire, now)
