"""
Any Python value as plain JSON data, bounded: the encoder's second try, and what hooks get.

What JSON can represent stays as it is; the rest becomes the nearest JSON value, or a marker
in angle brackets that says what was there:

    <TypeName>    an object of an unknown kind, or one that raised while it was read
    <bytes: 12>   binary data, by its length
    <cycle>       a container inside itself
    <too deep>    containers below MAX_DEPTH levels
    <too large>   members beyond the bounds; in an object it is their key as well

The bounds are for odd values. Plain lists, tuples and objects are cut only if no body could
hold them, whatever is next to them and whether or not a hook looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from hh_exporter._outside import let_through
from hh_exporter._values.kinds import (
    CONTAINERS,
    LIST,
    MAX_INT,
    MIN_INT,
    Converter,
    Pairs,
    find_converter,
    legal_text,
    marker,
    name_of,
    pairs_of,
    step,
)

__all__ = [
    "CYCLE",
    "MAX_DEPTH",
    "MAX_MEMBERS",
    "MAX_ODD",
    "TOO_DEEP",
    "TOO_LARGE",
    "legalize",
    "legalize_fields",
]

MAX_DEPTH = 200
"""Levels of containers; orjson takes a little over 250."""
MAX_MEMBERS = 2_500_000
"""Members of all containers together: a member takes two bytes, and a body 5,000,000 at most."""
MAX_ODD = 250_000
"""Of these, members of containers that are not plain JSON data, and may be endless."""

CYCLE = "<cycle>"
TOO_DEEP = "<too deep>"
TOO_LARGE = "<too large>"


def legalize(value: object) -> Any:
    """
    Copy *value* as plain JSON data that orjson takes, leaving it as it is.

    Plain data within the bounds comes back equal; NaN and infinities count as
    plain. No container is shared with *value*. Never raises because of data:
    only a KeyboardInterrupt or SystemExit goes on its way.

    Returns:
        str without lone surrogates, int within 64 bits, float, bool, None, and
        lists and dicts of these with str keys, all of exactly these types. At
        most MAX_DEPTH levels and, one TOO_LARGE aside, MAX_MEMBERS members.
    """
    root = [value]
    try:
        _Walk().fill(root)
    except RecursionError:  # our caller had all but used up the stack
        return TOO_DEEP
    except MemoryError:
        return TOO_LARGE
    return root[0]


def legalize_fields(fields: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """
    Copy *fields* as `legalize` does, all of them within its bounds.

    Returns:
        The copies, and the names of those of which the bounds cut something off.

    Raises:
        RecursionError, MemoryError: Our caller had left too little.
    """
    walk = _Walk()
    copies: dict[str, Any] = {}
    cut = []
    for name, value in fields.items():
        root = [value]
        walk.is_cut = False
        walk.fill(root)
        copies[name] = root[0]
        if walk.is_cut:
            cut.append(name)
    return copies, cut


@define(eq=False)
class _Walk:
    """
    A walk over values, and what there is still room for.
    """

    members: int = MAX_MEMBERS
    odd: int = MAX_ODD
    repeats: int = MAX_ODD
    is_cut: bool = False
    _found: dict[int, tuple[type, Converter | None]] = field(factory=dict)
    """By id, with the type, so that no other gets it meanwhile."""
    _seen: set[int] = field(factory=set)
    """The ids of plain containers."""

    def fill(self, root: list[Any]) -> None:
        """
        Make all that *root* holds plain, in place and without recursion.

        Members are paid for when their container is copied, so that the copies are
        as bounded as the result.
        """
        path: dict[int, object] = {}  # holds what we are in, so that nothing else gets its id
        frames: list[tuple[Any, Iterator[tuple[Any, Any]]]] = [(root, enumerate(root))]
        while frames:
            out, members = frames[-1]
            for key, value in members:
                kind = type(value)
                try:
                    if kind is str:
                        if not value.isascii():
                            out[key] = legal_text(value)
                        continue
                    if kind is int:
                        if MIN_INT <= value <= MAX_INT:
                            continue
                    elif kind is float or kind is bool or value is None:
                        continue
                    if id(value) in path:
                        out[key] = CYCLE
                        continue
                    plain = self._read(value, is_too_deep=len(path) >= MAX_DEPTH)
                    out[key] = plain
                    if plain and (type(plain) is dict or type(plain) is list):
                        path[id(value)] = value
                        inners = plain.items() if type(plain) is dict else enumerate(plain)
                        frames.append((plain, iter(inners)))
                        break
                except BaseException as exc:  # whatever the value's own code raises
                    let_through(exc)
                    out[key] = marker(value)
            else:
                frames.pop()
                if path:
                    path.popitem()

    def _read(self, value: Any, *, is_too_deep: bool) -> Any:
        """
        Make *value* a leaf, or a container of our own with members that are still to be filled.
        """
        kind = type(value)
        is_plain = kind is list or kind is dict or kind is tuple or self._find(kind) is LIST
        limit = 0 if is_too_deep else self._room_for(value, is_plain=is_plain)
        if kind is tuple:
            value = list(value[: limit + 1])
        elif kind is not list and kind is not dict:
            value = step(value, limit, self._find)
        if type(value) not in CONTAINERS:
            return value
        if is_too_deep:
            self.is_cut = True
            return TOO_DEEP
        if not value:
            return [] if type(value) is list else {}
        return self._copy(value, limit, is_plain=is_plain)

    def _room_for(self, value: object, *, is_plain: bool) -> int:
        """
        Say how many members of *value* fit.

        A plain container may come again, but not without end: a list twice in a
        list twice in a list, and so on, soon has more members than there are atoms.
        """
        if not is_plain:
            return min(self.members, self.odd)
        if id(value) in self._seen:
            if not self.repeats:
                return 0
            self.repeats -= 1
        self._seen.add(id(value))
        return self.members

    def _copy(self, source: Any, limit: int, *, is_plain: bool) -> Any:
        """
        Copy the first *limit* members of a dict, list or pairs under legal names.
        """
        copy: Any = None
        if type(source) is dict:
            if len(source) <= limit:
                copy = source.copy()
            if copy is None or not all(map(_is_legal_key, copy)):
                copy = None
                is_plain, limit = False, min(limit, self.odd)
                source = pairs_of(source, limit)
        if not limit:
            self.is_cut = True
            return TOO_LARGE
        if copy is None:
            is_object = type(source) is Pairs
            copy = source[: limit + 1]
            if len(copy) > limit:
                self.is_cut = True
                copy[limit:] = [(TOO_LARGE, TOO_LARGE) if is_object else TOO_LARGE]
            if is_object:
                copy = _named(copy)
        self.members = max(self.members - len(copy), 0)
        if not is_plain:
            self.odd = max(self.odd - len(copy), 0)
        return copy

    def _find(self, kind: type) -> Converter | None:
        """
        Find how to convert instances of *kind*, once in the whole walk.
        """
        found = self._found.get(id(kind))
        if found is None:
            found = self._found[id(kind)] = (kind, find_converter(kind))
        return found[1]


def _is_legal_key(key: object) -> bool:
    return type(key) is str and (key.isascii() or legal_text(key) is key)


def _named(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """
    Give each member a name of its own; those that are legal already keep theirs.
    """
    names = [name_of(key) for key, _ in pairs]
    kept = {name for (key, _), name in zip(pairs, names, strict=True) if name is key}
    numbers: dict[str, int] = {}
    out: dict[str, Any] = {}
    for (key, value), base in zip(pairs, names, strict=True):
        name = base
        # A number is tried once per base, so that even equal names take linear time.
        while name in out or (name in kept and name is not key):
            number = numbers[base] = numbers.get(base, 1) + 1
            name = f"{base} ({number})"
        out[name] = value
    return out
