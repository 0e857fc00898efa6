"""
Parts of an event, by the names of the fields of a ModelEvent, `event_type`, and `is_streamed`.

What a family does not know is missing there, never None.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Parts", "joined", "named", "present"]

Parts: TypeAlias = dict[str, Any]


def present(values: Parts) -> Parts:
    """
    Copy *values* without those that are None.
    """
    return {key: value for key, value in values.items() if value is not None}


def named(name: str, value: Any) -> Parts | None:
    """
    Return *value*, if it is an object, else an object that has it as *name*.
    """
    return value if isinstance(value, dict) or value is None else {name: value}


def joined(parts: Parts, more: Parts) -> Parts:
    """
    Join two readings of one span. Where both have a part, *more* counts; objects are merged.
    """
    if not parts:
        return more
    both = parts | more
    if len(both) < len(parts) + len(more):
        for key in parts.keys() & more.keys():
            if isinstance(parts[key], dict) and isinstance(more[key], dict):
                both[key] = parts[key] | more[key]
    return both
