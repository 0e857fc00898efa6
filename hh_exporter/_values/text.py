"""
A function of the user's over all the text that an event holds, as for redaction.

It fails closed: the function sees every text or the event stays as it is, and
what it was shown is what is written. Text in text is shown as well: the
arguments of a tool call are JSON, whose escapes would hide a name from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from hh_exporter._values.legalize import legalize, legalize_fields

__all__ = ["map_fields"]

_JSON_KEY = "arguments"
"""In a member of this name models give the arguments of a call, as JSON in a text."""


def map_fields(owner: object, names: Iterable[str], fn: Callable[[str], str]) -> None:
    """
    Replace those fields *names* of *owner* that are set by plain copies that *fn* has seen.

    Raises:
        TypeError: *fn* returned no text.
    """
    fields = {name: value for name in names if (value := getattr(owner, name)) is not None}
    copies, _ = legalize_fields(fields)
    for name, value in _map(copies, fn).items():
        setattr(owner, name, value)


def _map(plain: Any, fn: Callable[[str], str]) -> Any:
    """
    Apply *fn* to each text in *plain* but keys, and return it: its containers are ours.
    """
    if type(plain) is str:
        return _call(fn, plain)
    if type(plain) is dict:
        for name, value in plain.items():
            is_json = name == _JSON_KEY and type(value) is str
            plain[name] = _map_json(value, fn) if is_json else _map(value, fn)
    elif type(plain) is list:
        plain[:] = [_map(value, fn) for value in plain]
    return plain


def _map_json(text: str, fn: Callable[[str], str]) -> str:
    """
    Apply *fn* to the texts inside of *text* if it is an object or an array in JSON.
    """
    try:
        # Not orjson, which is stricter: what does not parse keeps its escapes.
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return _call(fn, text)
    if not isinstance(value, dict | list):
        return _call(fn, text)
    # Also where nothing changed: a key that is there twice was shown once.
    return orjson.dumps(_map(legalize(value), fn)).decode()


def _call(fn: Callable[[str], str], text: str) -> str:
    result = fn(text)
    if not isinstance(result, str):
        name = type(result).__name__
        raise TypeError(f"map_text takes a function that returns a str, not a {name}")
    return result
