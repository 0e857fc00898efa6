"""
What stays one thing however it is copied.

A copy refers to the same thing, as a copy of a module would; in another process
there is no such thing, and pickling says so.
"""

from __future__ import annotations

from typing import NoReturn, Self

__all__ = ["Unique"]


class Unique:
    """
    An object that copies of what holds it share.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"an {name} can't be pickled: make one in each process")
