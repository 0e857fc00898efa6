"""
Encode as JSON whatever orjson could decode.

orjson reads 1024 levels of nesting and writes 254. Deeper values are written from
the bottom up, so that everything that was accepted can be stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["encode"]

_LEVELS = 200


def encode(value: dict[str, Any]) -> bytes:
    """
    Make the JSON text of *value*, an object that was read from one.

    Consumes the value: if it is deep, its inner containers are replaced.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _encode_deep(value)


def _encode_deep(value: dict[str, Any]) -> bytes:
    levels: list[list[Any]] = [[value]]
    while levels[-1]:
        levels.append([child for parent in levels[-1] for _, child in _containers(parent)])
    for level in levels[::-_LEVELS]:
        for parent in level:
            for key, child in _containers(parent):
                parent[key] = orjson.Fragment(orjson.dumps(child))
    return orjson.dumps(value)


def _containers(parent: Any) -> Iterator[tuple[Any, Any]]:
    members = parent.items() if isinstance(parent, dict) else enumerate(parent)
    return ((key, child) for key, child in members if isinstance(child, dict | list))
