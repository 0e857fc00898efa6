"""
Sources that hold events back before they push them, such as captured spans.

Before an exporter is flushed or closed, each of them pushes what it holds.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import Protocol
from weakref import WeakSet

from attrs import define, field

__all__ = ["Feed", "Feeds"]


class Feed(Protocol):
    """
    Something that pushes later.
    """

    def holds(self) -> bool:
        """
        Whether there is anything that it has not pushed.
        """

    def move(self, loop: AbstractEventLoop) -> None:
        """
        Note that the exporter's worker lives in *loop* from now on. Any thread; takes no lock.
        """

    def give(self) -> None:
        """
        Push all that it holds. Any thread.
        """

    async def give_in_slices(self, deadline: float) -> None:
        """
        Do the same until *deadline*, and let the event loop turn meanwhile.
        """


@define(eq=False)
class Feeds:
    """
    The feeds of one exporter, which are held weakly.
    """

    _feeds: WeakSet[Feed] = field(factory=WeakSet, init=False)

    def add(self, feed: Feed) -> None:
        self._feeds.add(feed)

    def holds(self) -> bool:
        return any(feed.holds() for feed in tuple(self._feeds))

    def move(self, loop: AbstractEventLoop) -> None:
        for feed in tuple(self._feeds):
            feed.move(loop)

    def give(self) -> None:
        for feed in tuple(self._feeds):
            feed.give()

    async def give_in_slices(self, deadline: float) -> None:
        for feed in tuple(self._feeds):
            await feed.give_in_slices(deadline)
