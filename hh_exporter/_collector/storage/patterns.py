"""
Texts with gaps, and the values of an event that they are compared with.

Upper and lower case are the same. No pattern tries one place twice, so that none explodes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, TypeAlias

import orjson
from attrs import frozen

__all__ = ["Number", "Pattern", "Values"]

_WRITTEN: Final = frozenset({int, float, bool})
"""Types of values whose JSON is their text."""

Number: TypeAlias = int | float


@frozen
class Pattern:
    """
    A text with gaps that stand for any characters; upper and lower case are the same.
    """

    pieces: tuple[str, ...]
    """What is between the gaps, without case."""

    @classmethod
    def of(cls, *pieces: str) -> Pattern:
        """
        Make one of texts as they are written.
        """
        return cls(tuple(piece.casefold() for piece in pieces))

    @property
    def is_anything(self) -> bool:
        """
        Whether it fits any text.
        """
        return len(self.pieces) > 1 and not any(self.pieces)

    def fits(self, text: str) -> bool:
        """
        Compare it with a whole text.
        """
        return self._fits(text.casefold())

    def fits_any(self, texts: Values) -> bool:
        """
        Compare it with each of many.
        """
        if len(self.pieces) == 1:
            return self.pieces[0] in texts.folded
        # What is nowhere need not be looked for in each.
        is_possible = all(piece in texts.joined for piece in self.pieces)
        return is_possible and any(map(self._fits, texts.folded))

    def _fits(self, text: str) -> bool:
        first, *inner = self.pieces
        if not inner:
            return text == first
        last = inner.pop()
        at, end = len(first), len(text) - len(last)
        if at > end or not (text.startswith(first) and text.endswith(last)):
            return False
        for piece in inner:  # each as early as it can be: no other way finds more
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True


@frozen
class Values:
    """
    What is in one place of an event's JSON: each value once, however often it is there.

    An event of some megabytes may have a million of them, for each of many tests.
    """

    values: list[Any]

    @cached_property
    def are_there(self) -> bool:
        """
        Whether there is any but null.
        """
        return any(value is not None for value in self.values)

    @cached_property
    def numbers(self) -> set[Number]:
        """
        Those that are numbers.
        """
        return {value for value in self.values if type(value) is int or type(value) is float}

    @cached_property
    def folded(self) -> set[str]:
        """
        How they read, without case; objects have no text, nor has null.
        """
        texts = {value for value in self.values if type(value) is str}
        others = [value for value in self.values if type(value) in _WRITTEN]
        written = orjson.dumps(others)[1:-1].decode().split(",") if others else ()
        return {*map(str.casefold, texts), *written}

    @cached_property
    def joined(self) -> str:
        """
        All of these texts as one.
        """
        return "\n".join(self.folded)
