"""
Whether a payload is plain data: the exact types that JSON is parsed into.

Exact, since a `__class__` may lie and a subclass may run code of its own. A
dialect refuses what is not plain where it has to look into it; the codec then
makes plain data of the event and calls again.
"""

from __future__ import annotations

from typing import Any

__all__ = ["require_plain"]

_PLAIN = (dict, list, str, int, float, bool, type(None))


def require_plain(value: Any) -> Any:
    """
    Return *value* if it is plain data, at its top at least.

    Raises:
        TypeError: It is not.
    """
    if type(value) not in _PLAIN:
        raise TypeError("a payload is not plain data")
    return value
