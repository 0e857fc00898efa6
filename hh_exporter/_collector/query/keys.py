"""
The keys of the filter language: what values each takes, and where they are looked up.

A key that has a column becomes SQL and is checked for all events; plain text and paths into
the JSON need the text of an event. A missing value matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from types import MappingProxyType
from typing import Final, TypeAlias

from hh_exporter._collector.query.language import QueryError, Term, read_terms
from hh_exporter._collector.storage.filters import Asked, Sql
from hh_exporter._collector.storage.matching import PathTest, WordTest, as_parameter
from hh_exporter._collector.storage.patterns import Pattern
from hh_exporter._collector.storage.summary import MAX_TEXT, short

__all__ = ["KEYS", "ROOTS", "read_asked"]

_FAILED: Final = "nullif(events.error, 'cancelled') IS NOT NULL"  # a cancelled call did not fail
_TOKENS: Final = (
    "coalesce(events.tokens_in + events.tokens_out, events.tokens_in, events.tokens_out)"
)
_SESSION: Final = (
    "events.session_id IN "
    "(SELECT short_id FROM sessions WHERE matches(short_id, ?) OR matches(name, ?))"
)
_USER: Final = (
    "(matches(events.user, ?) OR events.user IS NULL "
    "AND events.session_id IN (SELECT short_id FROM sessions WHERE matches(user, ?)))"
)
_MAX_PARTS: Final = 16
_MAX_INTEGER: Final = 2**64  # of JSON, as it is read

_NUMBER: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?)([a-z]*)")
_UNITS: Final = MappingProxyType({"": 1, "k": 1_000, "m": 1_000_000})
_TIMES: Final = MappingProxyType({"": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000})
"""In milliseconds."""

Meaning: TypeAlias = Callable[[Term], Sql]
"""What must be true of the narrow row, whether the term is negated or not."""


def read_asked(text: str) -> Asked:
    """
    Read a filter.

    Raises `QueryError`, which says where it is wrong and what is allowed there.
    """
    asked = Asked()
    for term in read_terms(text):
        asked &= _ask(term)
    return asked


def _ask(term: Term) -> Asked:
    if not term.key:
        return _ask_text(term)
    name, *parts = term.key
    name = name.lower()
    if name not in ROOTS and (parts or name not in KEYS):
        raise QueryError(
            term.at,
            f"there is no key {'.'.join(term.key)}; known are {', '.join(KEYS)}, and paths that "
            f"begin with {', '.join(f'{root}.' for root in ROOTS)}; quote it to search for text",
        )
    if not term.value:
        raise QueryError(term.at, "a value is missing; key:* finds any, and -key:* finds none")
    return _ask_path(term, (name, *parts)) if name in ROOTS else _ask_column(term, name)


def _ask_text(term: Term) -> Asked:
    if term.value == "error" and not term.is_quoted:
        return Asked(Sql(f"({_FAILED}) = ?", (not term.is_negated,)))
    # Any characters may be around it, also if it is asked for.
    text = term.value if term.is_quoted else term.value.strip("*") or term.value
    if not text:
        raise QueryError(term.at, "there is no text between the quotes")
    return Asked(words=(WordTest(text.casefold(), term.is_negated),))


def _ask_path(term: Term, path: tuple[str, ...]) -> Asked:
    if len(path) > _MAX_PARTS:
        raise QueryError(term.at, f"a path must have at most {_MAX_PARTS} parts")
    if len(path) == 1 and (term.operator, term.value, term.is_quoted) != (":", "*", False):
        raise QueryError(term.at, f"{path[0]} has values in it: name one, such as {path[0]}.size")
    number = _number(term.value, _UNITS)
    if path in _SAME and (number is not None or term.operator != ":"):
        return _ask_column(term, _SAME[path])
    if term.operator != ":":
        if number is None:
            raise QueryError(term.at, f"{term.operator} needs a number, such as 2, 0.5 or 1k")
        test = PathTest(path, term.operator, None, number, term.is_negated)
    else:
        exact = _number(term.value, {"": 1})  # 1k is a text, too
        test = PathTest(path, term.operator, _pattern(term), exact, term.is_negated)
    return Asked(values=(test,))


def _ask_column(term: Term, name: str) -> Asked:
    sql = KEYS[name](term)
    if term.is_negated:
        sql = Sql(f"({sql.condition}) IS NOT TRUE", sql.parameters)
    return Asked(sql)


def _text(condition: str, *, limit: int = MAX_TEXT, is_part: bool = False) -> Meaning:
    """
    Compare texts: a *condition* on the parameters of `matches`, all of which are the same.

    What is compared with has been cut, to *limit* characters.
    """

    def mean(term: Term) -> Sql:
        if term.operator != ":":
            raise QueryError(term.at, f"{_written(term)} is a text: it takes : or =")
        pattern = _pattern(term, limit=limit)
        if is_part:
            pattern = Pattern(("", *pattern.pieces, ""))
        return Sql(condition, (as_parameter(pattern),) * condition.count("?"))

    return mean


def _id(condition: str) -> Meaning:
    def mean(term: Term) -> Sql:
        if term.operator != ":":
            raise QueryError(term.at, f"{_written(term)} is a text: it takes : or =")
        is_whole = term.is_quoted or "*" not in term.value
        pattern = Pattern.of(short(term.value)) if is_whole else _pattern(term)
        return Sql(condition, (as_parameter(pattern),) * condition.count("?"))

    return mean


def _amount(column: str, expected: str, units: Mapping[str, int], *, sign: str = "") -> Meaning:
    """
    Compare numbers, which may have a unit, or a *sign* before them.
    """

    def mean(term: Term) -> Sql:
        if term.operator == ":" and term.value == "*" and not term.is_quoted:
            return Sql(f"{column} IS NOT NULL")
        number = _number(term.value.removeprefix(sign), units)
        if number is None:
            raise QueryError(term.at, f"{_written(term)} must be {expected}, or * for any")
        compared = "=" if term.operator == ":" else term.operator
        return Sql(f"{column} {compared} ?", (float(number),))

    return mean


def _written(term: Term) -> str:
    return ".".join(term.key)


def _pattern(term: Term, limit: int | None = None) -> Pattern:
    if term.is_quoted or "*" not in term.value:
        return Pattern.of(term.value[:limit])
    return Pattern.of(*re.split(r"\*+", term.value))


def _number(text: str, units: Mapping[str, int]) -> int | float | None:
    """
    Read a number and its unit; None if it is none, or none that can be counted with.
    """
    found = _NUMBER.fullmatch(text.lower())
    if found is None or found[2] not in units:
        return None
    number = Decimal(found[1]) * units[found[2]]
    if number == number.to_integral_value() and abs(number) < _MAX_INTEGER:
        return int(number)
    return float(number) if isfinite(float(number)) else None


_A_NUMBER: Final = "a number, such as 2, 0.5 or 1k"
_A_TIME: Final = "a time, such as 2s, 500ms or 1m; a number alone is in milliseconds"

KEYS: Final[Mapping[str, Meaning]] = {
    "model": _text("matches(events.model, ?)"),
    "provider": _text("matches(events.provider, ?)"),
    "source": _text("matches(events.source, ?)"),
    "kind": _text("matches(events.type, ?)"),
    "name": _text("matches(events.name, ?)"),
    "user": _text(_USER),
    "session": _id(_SESSION),
    "id": _id("matches(events.event_id, ?)"),
    "parent": _id("matches(events.parent_id, ?)"),
    "error": _text("matches(events.error, ?)", is_part=True),
    "latency": _amount("events.duration", _A_TIME, _TIMES),
    "ttft": _amount("events.time_to_first_token", _A_TIME, _TIMES),
    "cost": _amount("events.cost", "an amount in USD, such as 0.01 or $0.01", _UNITS, sign="$"),
    "tokens": _amount(_TOKENS, _A_NUMBER, _UNITS),
    "tokens_in": _amount("events.tokens_in", _A_NUMBER, _UNITS),
    "tokens_out": _amount("events.tokens_out", _A_NUMBER, _UNITS),
    "rating": _amount("events.rating", _A_NUMBER, _UNITS),
    "note": _text("matches(events.note, ?)", is_part=True),
}
ROOTS: Final = (
    *("metadata", "feedback", "metrics", "config", "inputs", "outputs", "user_properties"),
    # Of model events, as the legacy routes take them.
    *("messages", "response", "hyperparameters", "usage", "tools"),
)
"""Parts of an event that can be looked into."""
_SAME: Final = {("feedback", "rating"): "rating", ("metrics", "time_to_first_token"): "ttft"}
"""Numbers that are in the narrow row, too, where all events can be asked for them."""
