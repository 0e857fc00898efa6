"""
Plain data, the exact types that JSON is parsed into: whether a payload is, and where it goes.

Exact, since a `__class__` may lie and a subclass may run code of its own. A
dialect refuses what is not plain where it has to look into it; the codec then
makes plain data of the event and calls again.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["are_equal", "file_into", "is_texts", "require_plain", "take_misfits"]

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


def is_texts(value: Any) -> bool:
    """
    Whether *value* is an array of strings.
    """
    return type(value) is list and all(type(item) is str for item in value)


def take_misfits(objects: dict[str, Any]) -> dict[str, Any]:
    """
    Remove the values that are not objects from *objects*, and return them.
    """
    taken = {n: require_plain(value) for n, value in objects.items() if type(value) is not dict}
    for name in taken:
        del objects[name]
    return taken


def file_into(metadata: dict[str, Any] | None, *lefts: dict[str, Any]) -> dict[str, Any]:
    """
    Add what found no place to a copy of *metadata*, each under its name or one like it.
    """
    filed = {**(metadata or {})}
    for left in lefts:
        for name, value in left.items():
            key, number = name, 1
            while key in filed and not are_equal(filed[key], value):
                number += 1
                key = f"{name} ({number})"
            filed[key] = value
    return filed


def are_equal(one: Any, other: Any) -> bool:
    """
    Whether both read the same on the wire, where true is not 1 and 1 is not 1.0.
    """
    return one is other or orjson.dumps(one) == orjson.dumps(other)
