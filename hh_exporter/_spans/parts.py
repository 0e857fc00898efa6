"""
Parts of an event, by the names of the fields of a ModelEvent, `event_type`, and `is_streamed`.

What a family does not know is missing there, never None.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Parts", "joined", "present"]

Parts: TypeAlias = dict[str, Any]


def present(values: Parts) -> Parts:
    """
    Copy *values* without those that are None.
    """
    return {key: value for key, value in values.items() if value is not None}


def joined(parts: Parts, more: Parts) -> Parts:
    """
    Join two readings of one span; where both say something, *more* counts. Objects are joined, too.
    """
    if not parts:
        return more
    both = parts | more
    if len(both) < len(parts) + len(more):
        for key in parts.keys() & more.keys():
            if isinstance(parts[key], dict) and isinstance(more[key], dict):
                both[key] = parts[key] | more[key]
    return both
