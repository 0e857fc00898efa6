"""
What `Exporter.record` and `Exporter.trace` return: a context manager that is a decorator, too.

Each entry, and each call of a decorated function, is a block of its own with an event of
its own. A wrong name among the fields is an error where it is written, not where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from attrs import define, field

from hh_exporter._recording.blocks import Block, Blocks
from hh_exporter._recording.entered import Entered
from hh_exporter._recording.scopes import frame_of_generator
from hh_exporter._responses.call import ModelCall
from hh_exporter.events import Event, SessionProperties

__all__ = ["Recording"]

EventT = TypeVar("EventT", ModelCall, Event)


@define(eq=False)
class Recording(Generic[EventT]):
    """
    A recipe for blocks, which yields the event that is pushed at the end.
    """

    _blocks: Blocks
    _push: Callable[[Any, SessionProperties | None], object]
    _make: Callable[[], EventT]
    """Makes an event of the fields that were given."""
    _session: SessionProperties | None = None
    _encloses: bool = False
    """Whether what runs inside belongs to it."""
    _first: list[EventT] = field(init=False)
    """An event that is made at once, which checks the names of the fields, for the first entry."""
    _entered: Entered[Block] = field(factory=Entered, init=False)

    def __attrs_post_init__(self) -> None:
        self._first = [self._make()]

    def __enter__(self) -> EventT:
        return self._enter(sys._getframe(1))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.take().end(exc)

    async def __aenter__(self) -> EventT:
        return self._enter(sys._getframe(1))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.take().end(exc)

    def _enter(self, frame: FrameType) -> EventT:
        event = self._first.pop() if self._first else self._make()
        block = Block(event, self._session, self._blocks, self._push)
        encloses = self._encloses
        block.begin(encloses=encloses, frame=frame_of_generator(frame) if encloses else 0)
        self._entered.add(block)
        return event
