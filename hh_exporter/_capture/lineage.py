"""
Which event led to which, where some of the spans between them are never sent.

A span says which span is its parent. That may be one that becomes no event, such as a web
server's, or one that has not ended, of which it must be foreseen whether it will become one.
A step of `record` or `trace` may be between them, too. The rule: the parent that an event names
was sent, or will be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import ReferenceType

from attrs import Factory, define

from hh_exporter._recording.scopes import Scope
from hh_exporter._spans.mapping import event_id_of, kind_of

__all__ = ["Lineage", "Started"]

_MAX_ENDED: Final = 10_000
"""Spans that ended whose place is known; a child that ends later than that many has no parent."""
_MAX_STEPS: Final = 100
"""Spans that are looked at between an event and its parent."""
_FEWEST: Final = 1_000
"""Spans that have not ended, below which nothing is tidied up."""

_SAY_LATE: Final = (
    *("openinference.", "litellm", "langfuse-sdk", "traceloop."),
    *("opentelemetry.instrumentation.langchain", "opentelemetry.instrumentation.openai"),
)
"""How the names of instrumentations begin whose spans say what they are only when they end."""


@define(eq=False)
class Started:
    """
    A span that has begun.
    """

    span: ReferenceType[Any] | None
    """An abandoned stream's span is never ended: nothing here keeps it alive."""
    trace_id: int
    parent_id: int | None
    """The span id of its parent; None for the first span of a trace."""
    instrumentation: str
    scope: Scope | None
    """The session or step of the exporter that encloses it."""
    ended: Any = None
    """The span once it has ended, until it is read."""

    @property
    def is_gone(self) -> bool:
        """
        Whether it will never end.
        """
        return self.ended is None and (self.span is None or self.span() is None)


@define(eq=False, kw_only=True)
class Lineage:
    """
    The spans of one processor that have begun, and those that ended lately.

    Any thread adds to `started`; all else is for one caller at a time.
    """

    attributes_of: Callable[[Any], Mapping[str, Any]]
    """Reads the attributes that a span has now, which another thread may change."""
    is_wanted: Callable[[str | None], bool]
    """Whether steps of that type are sent; None for what is no step."""
    started: dict[int, Started] = Factory(dict)
    """By span id, those that have not ended, or whose end was not looked at."""
    _ended: dict[int, tuple[Started, str | None]] = Factory(dict)
    """By span id; with the id of the event in which it is told, if there is one."""
    _tidy_at: int = _FEWEST

    def end(self, span_id: int, started: Started, event_id: str | None) -> None:
        """
        Note in which event an ended span is told; in none, its parent stands for it.
        """
        self.started.pop(span_id, None)
        started.ended = None
        self._ended[span_id] = (started, event_id)
        if len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def move(self, span_id: int, event_id: str) -> None:
        """
        Note that a span is told in another event than was noted before.
        """
        if span_id in self._ended:
            self._ended[span_id] = (self._ended[span_id][0], event_id)

    def parent_of(self, started: Started, session_id: object) -> str | None:
        """
        Find the id of the nearest event or step above a span, whose event is in that session.
        """
        child = started
        for _ in range(_MAX_STEPS):
            above, event_id = self._above(child)
            step = child.scope
            if step is not None and above is not None and above.scope is step:
                step = None  # around that span, too
            if step is not None and step.event_id and step.session_id == session_id:
                return step.event_id
            if above is None or event_id is not None:
                return event_id
            child = above
        return None

    def call_around(self, started: Started) -> int | None:
        """
        Find the span of the call of a model that encloses another directly, and has not ended.
        """
        child = started
        for _ in range(_MAX_STEPS):
            above = self.started.get(child.parent_id or 0)
            if above is None:
                return None
            kind = self._kind_now(above)
            if kind is not None:
                return child.parent_id if kind == "model" else None
            child = above
        return None

    def tidy_up(self) -> list[int]:
        """
        Forget spans that were abandoned, once there may be many.

        Returns:
            Which they were.
        """
        if len(self.started) < self._tidy_at:
            return []
        known = self.started.copy()  # in one step: other threads add to it
        gone = [span_id for span_id, each in known.items() if each.is_gone]
        for span_id in gone:
            self.started.pop(span_id, None)
        self._tidy_at = max(_FEWEST, 2 * len(self.started))
        return gone

    def _above(self, child: Started) -> tuple[Started | None, str | None]:
        """
        Find the span above, and the id of its event if it has one, or will have.
        """
        span_id = child.parent_id
        if span_id is None:
            return None, None
        if (ended := self._ended.get(span_id)) is not None:
            return ended
        above = self.started.get(span_id)
        if above is None:
            return None, None  # of another process, or of another provider
        kind = self._kind_now(above)
        if kind is None and above.instrumentation.startswith(_SAY_LATE):
            kind = "chain"
        if not self.is_wanted(kind):
            return above, None
        return above, event_id_of(f"{above.trace_id:032x}", f"{span_id:016x}")

    def _kind_now(self, started: Started) -> str | None:
        span = started.ended or (started.span and started.span())
        return None if span is None else kind_of(self.attributes_of(span))
