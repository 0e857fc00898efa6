"""
The attributes of a span, and which of them have been read.

Those that no family reads are left over, so that nothing of a span is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, field

__all__ = ["Attributes", "data_of"]

Json: TypeAlias = dict[str, Any]

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

    def take(self, *names: str) -> Any:
        """
        Return the first of *names* that has a value, None if none has; all of them are read.
        """
        found = None
        for name in names:
            value = self.left.pop(name, None)
            if found is None:
                found = value
        return found

    def take_all(self, names: Iterable[tuple[str, str]]) -> Json:
        """
        Return the values of those that have one: pairs of the key in what is returned, and a name.
        """
        pop = self.left.pop
        return {key: value for key, name in names if (value := pop(name, None)) is not None}

    def has_below(self, prefixes: tuple[str, ...]) -> bool:
        """
        Whether the name of any that is left begins with one of *prefixes*.
        """
        return any(name.startswith(prefixes) for name in self.left)

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
