"""
What NATS answers, read with care: anything may answer to a subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["is_acknowledged", "read_object"]


def read_object(data: bytes) -> dict[str, Any] | None:
    """
    Read what a server answered as a JSON object; None if it is none.
    """
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def is_acknowledged(answer: Mapping[str, Any]) -> bool:
    """
    Whether *answer* says that a stream has the message; anything may answer to a subject.
    """
    return isinstance(answer.get("stream"), str) and isinstance(answer.get("seq"), int)
