r"""
Read JSON as others write it: strictly if it is valid, and tolerantly if it is not.

What is read can always be written again: it has no lone surrogate, no NaN and no
number that orjson can't write.
"""

from __future__ import annotations

import codecs
import json
import re
from math import isfinite
from typing import Any

import orjson

__all__ = ["read_json"]

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|.)",
    re.DOTALL,
)
_LEAST_INT, _MOST_INT = -(2**63), 2**64 - 1
_LONGEST_INT = len(str(_MOST_INT))
"""As orjson has them: others become floats. Python refuses to read very long ones."""
_MOST_LEVELS = 1024


def read_json(raw: bytes | bytearray) -> Any:
    r"""
    Parse *raw*, in UTF-8 unless it says otherwise.

    It accepts what RFC 8259 forbids or leaves open and others write all the same:
    a byte order mark, bytes of Latin-1, control characters in texts, NaN and
    infinities, which become None, and half of a surrogate pair, such as
    "\\ud83d" of an emoji that was cut, which becomes U+FFFD.

    Raises:
        orjson.JSONDecodeError: It is not JSON even so; the error is that of strict reading.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        strict = exc
    try:
        text = raw.decode(json.detect_encoding(bytes(raw[:4])), _LATIN_1)
        value = _DECODER.decode(_ESCAPE.sub(_replace_lone, text))
    except (ValueError, RecursionError):
        raise strict from None
    if _is_deep(value):
        raise strict
    return value


def _is_deep(value: Any) -> bool:
    """
    Whether *value* has more levels than orjson reads; the standard library's limit is Python's.
    """
    level = [value]
    for _ in range(_MOST_LEVELS):
        containers = [one for one in level if isinstance(one, dict | list)]
        if not containers:
            return False
        level = [v for one in containers for v in (one.values() if type(one) is dict else one)]
    return any(isinstance(one, dict | list) for one in level)


def _replace_lone(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape["lone"] else escape[0]


def _read_float(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


def _read_int(text: str) -> float | None:
    if len(text) <= _LONGEST_INT and _LEAST_INT <= (value := int(text)) <= _MOST_INT:
        return value
    return _read_float(text)


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """
    Read bytes that are invalid in their encoding, and only those, as Latin-1.
    """
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101
    return error.object[error.start : error.end].decode("latin-1"), error.end


_LATIN_1 = "hh_exporter.latin_1"
codecs.register_error(_LATIN_1, _as_latin_1)

_DECODER = json.JSONDecoder(
    strict=False,
    parse_float=_read_float,
    parse_int=_read_int,
    parse_constant=lambda _: None,
)
