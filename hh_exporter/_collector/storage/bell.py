"""
Wake readers that wait for new events.

Get the next ring first, then look, then wait: so nothing is missed.
"""

from __future__ import annotations

import asyncio

from attrs import define, field

__all__ = ["Bell"]


@define(eq=False)
class Bell:
    """
    Rings for all that wait.
    """

    _next: asyncio.Event = field(factory=asyncio.Event, init=False)

    def ring(self) -> None:
        """
        Wake all that wait for the next ring.
        """
        self._next.set()
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """
        Return what is set at the next ring.
        """
        return self._next
