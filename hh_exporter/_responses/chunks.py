"""
What the assemblies of all APIs need: members of chunks, pieces of text, and room for them.

Chunks are looked at without running code of theirs, each one for a few microseconds, and are
not kept.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar

from attrs import define, field

from hh_exporter._responses.completion import Json

__all__ = ["MAX_CHARACTERS", "Assembly", "Room", "Text", "members", "merge", "note", "settled"]

T = TypeVar("T")

MAX_CHARACTERS: Final = 800_000
"""Of one stream; what comes after is passed on, and not kept. An event may have 2**20 bytes."""

_ITEM: Final = 64
"""Characters that a member or an item counts for."""

_MOST_PIECES: Final = 1000
_MOST_MEMBERS: Final = 64

_NEAREST: Final = 128
"""Items at the end of a list that may have more to come."""

_WHOLE: Final = frozenset({"role", "type", "id", "name", "index", "format", "call_id"})
"""Members that come whole, if perhaps again and again; other text comes in pieces."""


class Assembly(Protocol):
    """
    A response that is put together from the chunks of a stream.
    """

    def add(self, held: Json, room: Room) -> bool:
        """
        Add a chunk's members; whether it has text, thoughts or a call of a tool.
        """

    def whole(self) -> Json | None:
        """
        Return the response as far as it came, in the shape of one that came whole.
        """


@define
class Room:
    """
    How much more of a stream is kept.
    """

    left: int = MAX_CHARACTERS

    def takes(self, size: int = _ITEM) -> bool:
        """
        Whether *size* characters still fit, or one more thing; if not, nothing does from now on.
        """
        self.left = max(self.left - size, -1) if self.left >= 0 else -1
        return self.left >= 0


@define(eq=False, repr=False)
class Text:
    """
    A text that comes in pieces; they are joined now and then, since each has an overhead.
    """

    _joined: list[str] = field(factory=list, init=False)
    _pieces: list[str] = field(factory=list, init=False)

    def add(self, piece: str, room: Room) -> None:
        """
        Add *piece* if there is room.
        """
        if piece and room.takes(len(piece)):
            self._pieces.append(piece)
            if len(self._pieces) == _MOST_PIECES:
                self._joined.append("".join(self._pieces))
                self._pieces.clear()

    def __str__(self) -> str:
        return "".join((*self._joined, *self._pieces))


def members(value: Any) -> Json:
    """
    Return what a dict or an object of a client holds, itself or not; it is only to be read.
    """
    if type(value) is dict:
        return value
    try:
        held: Json = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    try:
        extra = object.__getattribute__(value, "__pydantic_extra__")
    except AttributeError:
        return held
    return {**held, **extra} if extra else held


def note(head: Json, held: Json, *without: str) -> None:
    """
    Note in *head* what a chunk says about the whole response; later chunks win.
    """
    for name, value in held.items():
        if value and name not in without and (name in head or len(head) < _MOST_MEMBERS):
            head[name] = value


def merge(place: Json, delta: Json, room: Room) -> None:
    """
    Add *delta* to *place*: text at the end of text, members to objects, items to lists.
    """
    for name, value in delta.items():
        old = place.get(name)
        if value is None or (old is None and not room.takes()):
            continue
        if type(value) is str and name not in _WHOLE:
            _grown(place, name, Text).add(value, room)
        elif type(value) is list:
            for item in value:
                _merge_item(_grown(place, name, list), item, room)
        elif type(value) is dict or members(value):
            merge(_grown(place, name, dict), members(value), room)
        else:
            place[name] = old if value == "" else value


def _grown(place: Json, name: str, kind: type[T]) -> T:
    """
    Return the member to add to; if it has another type, a new one that is thrown away.
    """
    value = place.setdefault(name, kind())
    return value if type(value) is kind else kind()


def _merge_item(items: list[Any], item: Any, room: Room) -> None:
    """
    Add *item* to the one that has its index and its id, else as one more.
    """
    held = members(item)
    place = _place_of(items, held) if held else None
    if place is not None:
        merge(place, held, room)
    elif room.takes():
        if held:
            new: Json = {}
            items.append(new)
            merge(new, held, room)
        else:
            items.append(item)


def _place_of(items: list[Any], held: Json) -> Json | None:
    index, own = held.get("index"), held.get("id")
    if index is None and own is None:
        return None
    for place in reversed(items[-_NEAREST:]):
        if type(place) is not dict or (index is not None and place.get("index") != index):
            continue
        # Some servers number all calls 0, and tell them apart by their ids.
        if not own or place.get("id") in (None, own):
            return place
    return None


def settled(value: Any) -> Any:
    """
    Copy *value* with its texts joined.
    """
    if type(value) is Text:
        return str(value)
    if type(value) is dict:
        return {name: settled(inner) for name, inner in value.items()}
    if type(value) is list:
        return [settled(inner) for inner in value]
    return value
