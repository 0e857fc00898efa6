"""
The query parameters of GET requests: known ones only, each once, and valid.

A problem names the parameter and says what it must be; it never repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from aiohttp import web

from hh_exporter._collector.query.keys import read_asked
from hh_exporter._collector.storage.filters import Asked, Filter

if TYPE_CHECKING:
    from multidict import MultiMapping

__all__ = ["FILTERS", "at_least", "read_filter", "read_query", "refuse"]

Reading: TypeAlias = Callable[[str], Any]
"""Makes a value of a parameter's text; raises `ValueError`, saying what it must be."""

_MAX_TEXT = 2_000
_MAX_NUMBER = 2**53


def at_least(lowest: int, highest: int = _MAX_NUMBER) -> Reading:
    """
    Read a whole number within bounds.
    """

    def read(text: str) -> int:
        if re.fullmatch("[0-9]{1,16}", text) and lowest <= int(text) <= highest:
            return int(text)
        raise ValueError(f"must be a whole number from {lowest} to {highest}")

    return read


def _text(text: str) -> str:
    if len(text) > _MAX_TEXT:
        raise ValueError(f"must have at most {_MAX_TEXT} characters")
    return text


def _yes_or_no(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError("must be yes or no")
    return text == "yes"


def _asked(text: str) -> Asked:
    return read_asked(_text(text))


FILTERS: Final[dict[str, Reading]] = {
    "since": at_least(0),
    "until": at_least(0),
    "model": _text,
    "provider": _text,
    "session": _text,
    "source": _text,
    "event_id": _text,
    "type": _text,
    "error": _yes_or_no,
    "text": _text,
    "filter": _asked,
}
"""The parameters that say which events are meant."""


def read_query(query: MultiMapping[str], known: Mapping[str, Reading]) -> dict[str, Any]:
    """
    Read the parameters in *query*, of which blank ones count as not given.

    Raises aiohttp's 400 if one is not *known*, is there twice, or is not what it must be.
    """
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name not in known:
            refuse(f"there is no such parameter; known are {', '.join(known) or 'none'}")
        if name in values:
            refuse(f"{name}: must be given once")
        try:
            values[name] = known[name](text) if text else None
        except ValueError as exc:
            refuse(f"{name}: {exc}")
    return {name: value for name, value in values.items() if value is not None}


def read_filter(values: dict[str, Any]) -> Filter:
    """
    Take out of *values* those that say which events are meant.
    """
    return Filter(**{name: values.pop(name) for name in FILTERS if name in values})


def refuse(problem: str) -> NoReturn:
    """
    Answer 400 and say what is wrong with the query.
    """
    raise web.HTTPBadRequest(text=f"query: {problem}") from None
