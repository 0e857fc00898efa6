"""
The entries of one context manager, which may be entered several times before it is left.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field

from hh_exporter._recording.scopes import here

__all__ = ["Entries"]

T = TypeVar("T")


@define(eq=False)
class Entries(Generic[T]):
    """
    What each entry made, by the tasks and threads that share the context manager.
    """

    _made: list[tuple[object, T]] = field(factory=list)

    def add(self, made: T) -> None:
        """
        Note what an entry made.
        """
        self._made.append((here(), made))

    def take(self) -> T:
        """
        Take what the last entry by this task or thread made, or else the last entry of all.
        """
        made = self._made
        if len(made) > 1:
            home = here()
            for entry in reversed(made):
                if entry[0] is home:
                    made.remove(entry)
                    return entry[1]
        return made.pop()[1]
