"""
Which block ends, where one context manager was entered several times.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field

from hh_exporter._recording.scopes import here

__all__ = ["Entered"]

T = TypeVar("T")


@define(eq=False)
class Entered(Generic[T]):
    """
    What was made on each entry, by tasks and threads that may share the context manager.
    """

    _made: list[tuple[object, T]] = field(factory=list)

    def add(self, made: T) -> None:
        """
        Note what an entry made.
        """
        self._made.append((here(), made))

    def take(self) -> T:
        """
        Take what the last entry of this task or thread made; if there is none, the last of all.
        """
        made = self._made
        if len(made) > 1:
            home = here()
            for entry in reversed(made):
                if entry[0] is home:
                    made.remove(entry)
                    return entry[1]
        return made.pop()[1]
