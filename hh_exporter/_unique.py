"""
Objects that are never copied.

Copying one returns itself, as with a module. In another process there is no such
object, so pickling raises.
"""

from __future__ import annotations

from typing import NoReturn, Self

__all__ = ["Unique"]


class Unique:
    """
    An object that is shared by all copies of what refers to it.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"an {name} can't be pickled: make one in each process")
