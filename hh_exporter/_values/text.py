"""
Apply a function of the user's to all text in an event, as for redaction.

It fails closed: the function sees every text, or the event is not changed. It sees
what a person would read: of JSON in a text each string and number, since escapes
could hide a name; of other text with such escapes, first the pieces with them and
then the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from hh_exporter._values.kinds import legal_text
from hh_exporter._values.legalize import legalize_fields

__all__ = ["map_fields"]

_Fn: TypeAlias = Callable[[str], str]

_TOKEN = re.compile(r'"((?:[^"\\]++|\\.)*+)"|-?\d[\d.eE+-]*+', re.DOTALL)
"""A string of JSON, whose inside is the group, or a number."""

_PIECE = re.compile(r'(?:[^"\\\x00-\x1f]++|\\.)++')
"""What may stand within the quotes of a string of JSON."""

_ESCAPES = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))++')
_HIDING = re.compile(r"\\u[0-9a-fA-F]{4}")

_MAX_DEPTH = 10
"""Levels of JSON in a text of JSON; each doubles the backslashes, so real ones are few."""


def map_fields(owner: object, names: Iterable[str], fn: _Fn) -> None:
    """
    Replace those fields *names* of *owner* that are set by plain copies that *fn* has seen.

    Raises:
        TypeError: *fn* returned no text.
    """
    fields = {name: value for name in names if (value := getattr(owner, name)) is not None}
    copies, _ = legalize_fields(fields)
    for name, value in _map(copies, fn).items():
        setattr(owner, name, value)


def _map(plain: Any, fn: _Fn) -> Any:
    """
    Apply *fn* to each text in *plain* but keys, and return it: its containers are ours.
    """
    if type(plain) is str:
        return _map_text(plain, fn)
    if type(plain) is dict:
        for name, value in plain.items():
            plain[name] = _map(value, fn)
    elif type(plain) is list:
        plain[:] = [_map(value, fn) for value in plain]
    return plain


def _map_text(text: str, fn: _Fn, depth: int = 0) -> str:
    """
    Apply *fn* to *text*, or to all that is said in it, and leave the rest of it as it is.
    """
    if depth == _MAX_DEPTH:
        return _call(fn, text)
    if _is_json(text):
        return _TOKEN.sub(lambda token: _map_token(token, fn, depth + 1), text)
    if _HIDING.search(text):
        text = _PIECE.sub(lambda piece: _map_piece(piece[0], fn, depth + 1), text)
    return _call(fn, text)


def _is_json(text: str) -> bool:
    """
    Whether *text* is an object or an array in JSON.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, strict=False)  # not orjson, which is stricter
    except (ValueError, RecursionError):
        return False
    return True


def _map_token(token: re.Match[str], fn: _Fn, depth: int) -> str:
    if token[1] is None:
        mapped = _call(fn, token[0])
        return token[0] if mapped == token[0] else f'"{_escape(mapped)}"'
    inner = _unescape(token[1])
    mapped = _map_text(inner, fn, depth)
    return token[0] if mapped == inner else f'"{_escape(mapped)}"'


def _map_piece(piece: str, fn: _Fn, depth: int) -> str:
    """
    Apply *fn* to what stands between two quotes, if it hides something: of JSON in prose, or cut.
    """
    if not _HIDING.search(piece):
        return piece
    inner = _unescape(piece)
    mapped = _map_text(inner, fn, depth)
    return piece if mapped == inner else _escape(mapped)


def _unescape(text: str) -> str:
    return legal_text(_ESCAPES.sub(lambda run: json.loads(f'"{run[0]}"'), text))


def _escape(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _call(fn: _Fn, text: str) -> str:
    result = fn(text)
    if not isinstance(result, str):
        name = type(result).__name__
        raise TypeError(f"map_text takes a function that returns a str, not a {name}")
    return str.__str__(result)  # its characters, whatever its class says of them
