"""
The attributes of a span, and which of them have been read.

What is read is taken away, and the rest is left for the metadata, so nothing of a span is lost or
sent twice. A value of another type than its reader expects is left, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, field

__all__ = ["Attributes", "Table", "data_of"]

Json: TypeAlias = dict[str, Any]
Table: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Keys of what is returned, and the names of the attributes that may have it."""

_MAX_KNOWN: Final = 128
"""Characters of a name that is remembered."""

_MAX_LEVELS: Final = 32
"""Dots of a name that are looked at; what is behind them stays one name."""


def data_of(value: object) -> Any:
    """
    Read *value*, if it is the JSON text of an object or array, else return it as it is.
    """
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value  # cut short by a limit of the tracer, or no JSON
    return value


@define(eq=False)
class Attributes:
    """
    Attributes by name, from which those that are read are taken away.
    """

    left: Json = field(repr=False)
    """Those that nobody has read, some of them perhaps None."""
    cut: list[str] = field(factory=list, init=False)
    """The fields of the event whose JSON text was cut short by a limit of the tracer."""

    def take(self, *names: str) -> Any:
        """
        Return the first of *names* that has a value, None if none has.

        The others are read, too, if they say the same or nothing.
        """
        return self._take(names, _is_anything)

    def take_text(self, *names: str) -> str | None:
        """
        Return the first of *names* that has a text, which isn't empty.
        """
        found: str | None = self._take(names, _is_text)
        return found

    def take_number(self, *names: str) -> float | None:
        """
        Return the first of *names* that has a number.
        """
        found: float | None = self._take(names, _is_number)
        return found

    def take_texts(self, table: Table) -> dict[str, str]:
        """
        Take the texts of *table* that there are, as `take_text` does each.
        """
        return self._take_those(table, _is_text)

    def take_numbers(self, table: Table) -> dict[str, float]:
        """
        Take the numbers of *table* that there are.
        """
        return self._take_those(table, _is_number)

    def _take_those(self, table: Table, fits: Callable[[object], bool]) -> dict[str, Any]:
        left = self.left
        found = {}
        for key, names in table:
            for name in names:
                if name in left:
                    if (value := self._take(names, fits)) is not None:
                        found[key] = value
                    break
        return found

    def _take(self, names: tuple[str, ...], fits: Callable[[object], bool]) -> Any:
        found = None
        left = self.left
        for name in names:
            if name not in left:
                continue
            value = left[name]
            if found is None and fits(value):
                found = value
            elif value is not None and value != "" and value != found:
                continue
            del left[name]
        return found

    def take_json(self, part: str, *names: str) -> Any:
        """
        Return the first of *names* that has a value, read as JSON, which it is by convention.

        If its text was cut short, that is noted of *part*, a field of the event, and the text is
        returned as `{"content": …}`.
        """
        value = self._take(names, _is_anything)
        if value is None:
            return None
        data = data_of(value)
        if data is value and isinstance(value, str) and value[:1] in ("{", "["):
            self.cut.append(part)
            return {"content": value}
        return data

    def take_all(self, names: Iterable[tuple[str, str]]) -> Json:
        """
        Return the values of those that have one: pairs of the key in what is returned, and a name.
        """
        left = self.left
        found = {}
        for key, name in names:
            if name in left and (value := left.pop(name)) is not None:
                found[key] = value
        return found

    def drop(self, *names: str) -> None:
        """
        Take away what is redundant.
        """
        for name in names:
            self.left.pop(name, None)

    def take_lists(self, lists: frozenset[str]) -> dict[str, list[Json]]:
        """
        Put together lists of objects that were taken apart as `a.list.number.member`, in one pass.

        Args:
            lists: Their names, each of two words.

        Returns:
            The members of each object, by list, in the order of the numbers that there are.
        """
        found: dict[str, dict[str, Json]] = {}
        left: Json = {}
        for name, value in self.left.items():
            own, number, member = _place_of(name) if len(name) <= _MAX_KNOWN else _split(name)
            if own not in lists:
                left[name] = value
                continue
            items = found.get(own)
            if items is None:
                items = found[own] = {}
            if number in items:
                items[number][member] = value
            else:
                items[number] = {member: value}
        self.left = left
        return {name: [items[n] for n in sorted(items, key=_size)] for name, items in found.items()}

    def has_below(self, prefixes: tuple[str, ...]) -> bool:
        """
        Whether the name of any that is left begins with one of *prefixes*.
        """
        for name in self.left:  # noqa: SIM110 - half of what `any` costs, which takes a generator
            if name.startswith(prefixes):
                return True
        return False

    def take_below(self, prefix: str, read: Callable[[object], Any] = data_of) -> Any:
        """
        Put together again what was taken apart into one attribute a value, by names with dots.

        `prefix.a.0` and `prefix.a.1` are the list `a` of an object. A value at *prefix*
        itself is JSON text of all of it or, if something is below, the member "". None if
        there is nothing. *read* makes data of each value.
        """
        names = [name for name in self.left if name.startswith(f"{prefix}.")]
        below = {name.removeprefix(f"{prefix}."): self.left.pop(name) for name in names}
        whole = self.take(prefix)
        if below and whole is not None:
            below[""] = whole
        return _joined(below.items(), read) if below else read(whole)

    def take_numbered(self, prefix: str) -> list[Any] | None:
        """
        The same of a list, in order, some of whose numbers may be missing; None if it is empty.
        """
        start = len(prefix) + 1
        names = [
            name
            for name in self.left
            if name.startswith(f"{prefix}.") and name[start:].partition(".")[0].isdecimal()
        ]
        if not names:
            return None
        whole = _joined([(name[start:], self.left.pop(name)) for name in names], data_of)
        if isinstance(whole, list):
            return whole
        return [whole[number] for number in sorted(whole, key=lambda text: (len(text), text))]


def _split(name: str) -> tuple[str | None, str, str]:
    """
    Split a name into those of a list, a number and a member, if it has these.
    """
    words = name.split(".", 3)
    if len(words) == 4 and words[2].isdecimal():
        return f"{words[0]}.{words[1]}", words[2], words[3]
    return None, "", ""


_place_of = lru_cache(maxsize=4096)(_split)
"""The same, of names that come again with each span."""


def _size(number: str) -> tuple[int, str]:
    return len(number), number


def _is_anything(value: object) -> bool:
    return value is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _joined(values: Iterable[tuple[str, object]], read: Callable[[object], Any]) -> Any:
    whole: Json = {}
    for name, value in values:
        *parents, last = name.split(".", _MAX_LEVELS)
        place = whole
        for parent in parents:
            inner = place.setdefault(parent, {})
            if type(inner) is _Leaf:  # that is a value itself, too
                inner = place[parent] = {"": inner}
            place = inner
        if type(place.get(last)) is dict:
            place, last = place[last], ""
        place[last] = _Leaf(read(value))
    return _plain(whole)


@define
class _Leaf:
    """
    A value, however it looks: nothing goes below it.
    """

    value: Any


def _plain(value: Any) -> Any:
    if type(value) is _Leaf:
        return value.value
    if type(value) is not dict:
        return value
    members = {name: _plain(inner) for name, inner in value.items()}
    if members.keys() == {str(index) for index in range(len(members))}:
        return [members[str(index)] for index in range(len(members))]
    return members
