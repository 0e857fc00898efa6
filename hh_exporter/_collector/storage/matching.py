"""
SQL functions for what SQLite can't compare: text in any case, and values within JSON.

What to look for is passed as JSON, which is parsed once and cached. The functions never
raise, whatever the text, and take time proportional to its length, for each test.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from inspect import signature
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import astuple, field, frozen

from hh_exporter._collector.storage.patterns import Number, Pattern, Values

if TYPE_CHECKING:
    import sqlite3

__all__ = ["PathTest", "WordTest", "add_functions", "as_parameter"]

_BACKSLASH: Final = "\ufdd0"
"""Stands for one while other escapes are read; no character (Unicode 23.7)."""
_QUOTES: Final = {'\\"': '"', "\\/": "/"}
_CONTROLS: Final = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\b": "\b", "\\f": "\f"}
_LEVELS: Final = (_QUOTES | _CONTROLS, _QUOTES, _QUOTES)
"""What is read at each level of JSON within JSON; `C:\\new` is no line end but at the first."""
_ESCAPED: Final = frozenset({"\\", *_QUOTES.values(), *_CONTROLS.values()})
_TRIES: Final = 100
"""Places at which a word is looked at, before its text is read."""
_KEPT: Final = 64
"""Parameters that are kept as they were read; a question has about three."""

_PLACE: Final = re.compile("[0-9]{1,9}")
_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@frozen
class WordTest:
    """
    A text that the JSON or the ids of an event must contain, or must not.
    """

    needle: str
    """Without case."""
    is_negated: bool = False


@frozen
class PathTest:
    """
    What must be, or must not be, in one place of an event's JSON.
    """

    parts: tuple[str, ...]
    """Keys, from outside in; a key may have dots, and so be several of them."""
    operator: str
    pattern: Pattern | None
    """What the value reads like, or None if only numbers are compared."""
    number: Number | None
    is_negated: bool
    _keys: tuple[tuple[tuple[str, int], ...], ...] = field(init=False, repr=False, eq=False)
    """For each part the keys that can begin there, and the parts after them."""

    @_keys.default
    def _join(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        places = range(len(self.parts))
        ends = range(1, len(self.parts) + 1)
        return tuple(
            tuple((".".join(self.parts[at:end]), end) for end in ends if end > at) for at in places
        )

    def holds(self, values: Values) -> bool:
        """
        Say whether the *values* in its place are as it wants them.
        """
        return self._is_met(values) is not self.is_negated

    def look(self, event: object) -> Values:
        """
        Find what is there; of a list each of its members.
        """
        # All of a level at once: there may be a million objects in it.
        found: list[list[Any]] = [[event], *([] for _ in self.parts)]
        for at, keys in enumerate(self._keys):
            lists, others = _spread(found[at])
            if _PLACE.fullmatch(self.parts[at]):
                place = int(self.parts[at])
                found[at + 1] += [members[place] for members in lists if place < len(members)]
            objects = [value for value in others if type(value) is dict and value]
            for key, end in keys:
                found[end] += [value[key] for value in objects if key in value]
        return Values(_spread(found[-1])[1])

    def _is_met(self, values: Values) -> bool:
        if compare := _COMPARED.get(self.operator):
            if not values.numbers:
                return False
            best = max if self.operator.startswith(">") else min
            return compare(best(values.numbers), self.number)
        if self.pattern is None:
            return False
        if self.pattern.is_anything:
            return values.are_there
        if self.number is not None and self.number in values.numbers:
            return True
        return self.pattern.fits_any(values)


def as_parameter(looked_for: Pattern | Iterable[WordTest] | Iterable[PathTest]) -> str:
    """
    Write a pattern, or tests of one kind, as the last parameter of their function.
    """
    if isinstance(looked_for, Pattern):
        return orjson.dumps(looked_for.pieces).decode()
    tests = [astuple(test, filter=lambda name, _: name.init) for test in looked_for]
    return orjson.dumps(tests).decode()


def matches(text: str | None, pattern: str) -> bool:
    """
    Tell whether *text* fits; one that is missing never does.
    """
    return text is not None and _pattern(pattern).fits(text)


def contains(event: bytes, event_id: bytes, session_id: bytes, tests: str) -> bool:
    """
    Look for each word in the JSON text *event*, as it reads, and in the ids.

    A text in it may be JSON again, such as the arguments of a tool, with escapes of its
    own. SQLite's LIKE takes the product of both lengths to find nothing, this the sum.
    """
    for way, needles in _words(tests).items():
        written = [way.written(text) for text in (event, event_id, session_id)]
        readings = chain.from_iterable(_readings(text, way) for text in written)
        known: list[str] = []
        for needle, is_negated in needles:
            plain = {way.is_plain(needle, text) for text in written}
            is_there = True in plain or (None in plain and _is_in(needle, known, readings))
            if is_there is is_negated:
                return False
    return True


def holds(event: bytes, tests: str) -> bool:
    """
    Make all *tests* of the values in the JSON text *event*.
    """
    parsed = orjson.loads(event)  # as it was when it was stored
    seen: dict[tuple[str, ...], Values] = {}
    for test in _path_tests(tests):
        if test.parts not in seen:
            seen[test.parts] = test.look(parsed)
        if not test.holds(seen[test.parts]):
            return False
    return True


def add_functions(db: sqlite3.Connection) -> None:
    """
    Let the SQL of *db* use them: `matches`, `contains` and `holds`.

    They take JSON and ids as bytes.
    """
    for function in (matches, contains, holds):
        parameters = len(signature(function).parameters)
        db.create_function(function.__name__, parameters, function, deterministic=True)


@frozen
class _Way:
    """
    How a text is read to find a word.
    """

    is_ascii: bool
    with_units: bool
    """Whether `\\u` escapes matter."""
    is_verbatim: bool
    """Whether no other escape stands for one of its characters."""

    def written(self, text: bytes) -> str:
        """
        Take the case from a text as it is written.
        """
        # Of bytes it goes ten times as fast, and others than ASCII don't matter then.
        if self.is_ascii:
            return text.lower().decode("latin-1")
        return text.decode(errors="replace").casefold()

    def is_plain(self, needle: str, written: str) -> bool | None:
        """
        Tell whether *needle* is in a text without reading it; None if only that can tell.

        What is not written is not read, either, unless an escape stands for some of it. What
        is written is not read if it begins with the letter of an escape.
        """
        if not self.is_verbatim or (self.with_units and "\\u" in written):
            return None
        at = written.find(needle)
        if at < 0:
            return False
        for _ in range(_TRIES):
            if at <= 0 or written[at - 1] != "\\":
                break
            at = written.find(needle, at + 1)
        else:
            return None
        return at >= 0 or None


@lru_cache(_KEPT)
def _pattern(pieces: str) -> Pattern:
    return Pattern(tuple(orjson.loads(pieces)))


@lru_cache(_KEPT)
def _words(tests: str) -> dict[_Way, list[tuple[str, bool]]]:
    """
    Sort words by how they are looked for.
    """
    words: dict[_Way, list[tuple[str, bool]]] = {}
    for needle, is_negated in orjson.loads(tests):
        is_ascii = needle.isascii()
        with_units = not (is_ascii and needle.isprintable())
        way = _Way(is_ascii, with_units, _ESCAPED.isdisjoint(needle))
        words.setdefault(way, []).append((needle, is_negated))
    return words


@lru_cache(_KEPT)
def _path_tests(tests: str) -> list[PathTest]:
    return [
        PathTest(
            tuple(parts), compared, None if pieces is None else Pattern(tuple(pieces[0])), *rest
        )
        for parts, compared, pieces, *rest in orjson.loads(tests)
    ]


def _is_in(needle: str, known: list[str], rest: Iterator[str]) -> bool:
    """
    Look for *needle* in the *known* texts, then in the *rest*, which become known.
    """
    if any(needle in text for text in known):
        return True
    for text in rest:
        known.append(text)
        if needle in text:
            return True
    return False


def _readings(read: str, way: _Way) -> Iterator[str]:
    """
    Read a text that has no case, and the JSON in its texts, level by level.
    """
    for escapes in _LEVELS:
        deeper = _unescaped(read, escapes, with_units=way.with_units)
        yield deeper
        if deeper == read:
            return
        read = deeper


def _unescaped(text: str, escapes: Mapping[str, str], *, with_units: bool) -> str:
    if "\\" not in text:
        return text
    text = text.replace("\\\\", _BACKSLASH)
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    if with_units and "\\u" in text:
        text = text.encode("raw_unicode_escape").decode("raw_unicode_escape", errors="replace")
        whole = text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
        text = whole.casefold()
    return text.replace(_BACKSLASH, "\\")


def _spread(values: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """
    Take lists apart, however deep they are; return all of them, and what is in them.
    """
    lists: list[list[Any]] = []
    others: list[Any] = []
    while values:
        inner = [value for value in values if type(value) is list]
        others += [value for value in values if type(value) is not list] if inner else values
        lists += inner
        values = [*chain.from_iterable(inner)]
    return lists, others
