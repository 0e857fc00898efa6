"""
The calls of an exporter, without the exporter: what is pushed stays in a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hh_exporter import ModelCall, SessionProperties
from hh_exporter._recording.blocks import Blocks
from hh_exporter._recording.methods import RecordingMethods
from hh_exporter._recording.recordings import Recording
from hh_exporter._recording.scopes import current
from tests.support import FakeClock

__all__ = ["Recorder"]


class Recorder(RecordingMethods):
    """
    Records as an exporter does, and keeps what would be pushed.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._blocks = Blocks(clock)
        self.pushed: list[Any] = []
        self.sessions: list[SessionProperties | None] = []
        self.on_push: Callable[[], object] = bool

    def push(self, event: Any, session: SessionProperties | None = None) -> bool:
        self.pushed.append(event)
        self.sessions.append(session)
        self.on_push()
        return True

    def call(self, **fields: Any) -> Recording[ModelCall]:
        """
        Record a call of some model.
        """
        return self.record(model="gpt-4o", **fields)

    @property
    def only(self) -> Any:
        """
        The one event that was pushed.
        """
        (event,) = self.pushed
        return event

    @property
    def parent(self) -> str | None:
        """
        What an event would have as its parent here.
        """
        scope = current(self._blocks.owner)
        return None if scope is None else scope.event_id

    @property
    def tree(self) -> dict[str, str | None]:
        """
        The names of all events that were pushed, with those of their parents.
        """
        names = {event.event_id: event.event_name for event in self.pushed}
        return {event.event_name: names.get(event.parent_id) for event in self.pushed}
