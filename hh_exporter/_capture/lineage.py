"""
The parent and the session of each event, though some of the spans around it are never sent.

A span names its parent span. That one may become no event, such as a web server's, or it may not
have ended, so whether it will become one must be foreseen. A step of `record` or `trace` may be
between the two. The rule: the parent that an event names was sent, or will be.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from weakref import ReferenceType

from attrs import Factory, define

from hh_exporter._recording.scopes import Scope
from hh_exporter._spans.mapping import event_id_of, kind_of, session_of

__all__ = ["MAKES_SESSIONS", "Lineage", "Started"]

_MAX_OPEN: Final = 100_000
"""Spans that have not ended whose place is known; those that begin beyond that have no parent."""
_MAX_ENDED: Final = 10_000
"""
Spans that ended whose place is known, of steps and of others; what ends later than that many after
its parent has no parent.
"""
_MAX_STEPS: Final = 100
"""Spans that are looked at between an event and its parent."""
_FEWEST: Final = 1_000
"""Spans that have not ended, below which nothing is tidied up."""

MAKES_SESSIONS: Final = "pydantic-ai"
"""An instrumentation that makes up a session for each run without one."""

_SAY_LATE: Final = (
    *("openinference.", "litellm", "langfuse-sdk", "traceloop."),
    *("opentelemetry.instrumentation.langchain", "opentelemetry.instrumentation.openai"),
)
"""How the names of instrumentations begin whose spans say what they are only when they end."""


@define(eq=False, repr=False)
class Started:
    """
    A span that has begun, and may have ended since.
    """

    span: ReferenceType[Any] | None
    """An abandoned stream's span is never ended: nothing here keeps it alive."""
    span_id: int
    trace_id: int
    parent_id: int | None
    """The span id of its parent; None for the first span of a trace."""
    instrumentation: str
    scope: Scope | None
    """The session or step of the exporter that encloses it."""
    ended: Any = None
    """The span once it has ended, until it is read."""
    is_over: bool = False
    """Whether it was read, or passed over."""
    is_call: bool = False
    """Whether it was read, as a call of a model."""
    event_id: str | None = None
    """Once it was read, the event that reports it; None if none does."""
    session_id: str | None = None
    """Once it was read, the session that it named itself."""

    @property
    def is_gone(self) -> bool:
        """
        Whether it will never end.
        """
        is_held = self.is_over or self.ended is not None
        return not is_held and (self.span is None or self.span() is None)

    @property
    def own_id(self) -> str:
        """
        The id of the event that it becomes by itself.
        """
        return event_id_of(f"{self.trace_id:032x}", f"{self.span_id:016x}")


@define(eq=False, repr=False, kw_only=True)
class Lineage:
    """
    The spans of one processor that have begun, and those that ended lately.

    `begin` and `pass_over` are for any thread, and take no lock; all else is for one caller at a
    time.
    """

    attributes_of: Callable[[Any], Mapping[str, Any]]
    """Reads the attributes that a span has now, which another thread may change."""
    is_wanted: Callable[[str | None], bool]
    """Whether steps of that type are sent; None for what is no step."""
    spans: dict[int, Started] = Factory(dict)
    """By span id."""
    _read: deque[Started] = Factory(deque)
    """Those of steps that are over, the oldest first."""
    _others: deque[int] = Factory(deque)
    """The ids of all others that are over."""
    _parents: OrderedDict[str, None] = Factory(OrderedDict)
    """The events that others named as their parents lately."""
    _tidy_at: int = _FEWEST

    def begin(self, started: Started) -> None:
        if len(self.spans) < _MAX_OPEN:
            self.spans[started.span_id] = started

    def pass_over(self, span_id: int) -> None:
        """
        Note the end of a span that is no step: its parent stands for it.
        """
        if (started := self.spans.get(span_id)) is not None:
            started.ended, started.is_over = None, True
            others = self._others
            others.append(span_id)
            if len(others) > _MAX_ENDED:
                self.spans.pop(others.popleft(), None)

    def end(self, started: Started, event_id: str | None) -> None:
        """
        Note which event reports a span that was read; if none does, its parent stands for it.
        """
        started.ended, started.is_over, started.event_id = None, True, event_id
        self.spans[started.span_id] = started
        self._read.append(started)
        if len(self._read) > _MAX_ENDED:
            self.spans.pop(self._read.popleft().span_id, None)

    def move(self, span_id: int, event_id: str) -> None:
        """
        Note that another event reports a span than was noted before.
        """
        if (started := self.spans.get(span_id)) is not None:
            started.event_id = event_id

    def parent_of(self, started: Started, session_id: object) -> str | None:
        """
        Find the id of the nearest event or step above a span, whose event is in that session.
        """
        for child, above in self._upwards(started):
            step = _between(child, above)
            if step is not None and step.event_id and step.session_id == session_id:
                return step.event_id
            if above is not None and (event_id := self._event_of(above)) is not None:
                self._parents[event_id] = None
                if len(self._parents) > _MAX_ENDED:
                    self._parents.popitem(last=False)
                return event_id
        return None

    def is_parent(self, event_id: str) -> bool:
        """
        Whether another event named that one as its parent.
        """
        return event_id in self._parents

    def session_of(self, started: Started) -> tuple[str | None, Scope | None]:
        """
        Find the session that encloses a span most closely; one that was made up comes last.

        Returns:
            Its id, and the scope of the exporter that it is if it is one.
        """
        made_up = None
        for child, above in self._upwards(started):
            if (scope := _between(child, above)) is not None and scope.session_id is not None:
                return scope.session_id, scope
            if above is not None and (named := self._named_by(above)) is not None:
                if above.instrumentation != MAKES_SESSIONS:
                    return made_up or named, None
                made_up = made_up or named
        return made_up, None

    def calls_around(self, started: Started) -> list[Started]:
        """
        List the calls of a model that enclose another one with no other step between, outwards.
        """
        calls: list[Started] = []
        for _, above in self._upwards(started):
            if above is None:
                break
            kind = ("model" if above.is_call else None) if above.is_over else self._kind_now(above)
            if kind == "model":
                calls.append(above)
            elif kind is not None or (above.is_over and above.event_id is not None):
                break
        return calls

    def tidy_up(self) -> list[Started]:
        """
        Forget spans that were abandoned, once there may be many.

        Returns:
            Which they were.
        """
        if len(self.spans) < self._tidy_at:
            return []
        known = self.spans.copy()  # in one step: other threads add to it
        gone = [each for each in known.values() if each.is_gone]
        for each in gone:
            self.spans.pop(each.span_id, None)
        self._tidy_at = max(_FEWEST, 2 * len(self.spans))
        return gone

    def _upwards(self, started: Started) -> Iterator[tuple[Started, Started | None]]:
        """
        Walk from a span to the first of its trace that is known: pairs of a span and its parent.
        """
        child = started
        for _ in range(_MAX_STEPS):
            # One that is not known is of another process, of another provider, or long over.
            above = None if child.parent_id is None else self.spans.get(child.parent_id)
            yield child, above
            if above is None:
                return
            child = above

    def _event_of(self, above: Started) -> str | None:
        """
        Find the id of the event that reports a span, or will; None if none does.
        """
        if above.is_over:
            return above.event_id
        kind = self._kind_now(above)
        if kind is None and above.instrumentation.startswith(_SAY_LATE):
            kind = "chain"
        if not self.is_wanted(kind):
            return None
        calls = self.calls_around(above) if kind == "model" else []
        return (calls[-1] if calls else above).own_id

    def _named_by(self, above: Started) -> str | None:
        span = _now(above)
        if above.is_over or span is None:
            return above.session_id
        return session_of(self.attributes_of(span))

    def _kind_now(self, started: Started) -> str | None:
        span = _now(started)
        return None if span is None else kind_of(self.attributes_of(span))


def _between(child: Started, above: Started | None) -> Scope | None:
    """
    Find the scope that encloses a span, but not its parent.
    """
    return None if above is not None and above.scope is child.scope else child.scope


def _now(started: Started) -> Any:
    return started.ended or (started.span and started.span())
