"""
From an ended span to the event that is pushed: at its place, once for each call.

The rule: whatever a span holds, it becomes an event, is told in another one, is of no wanted
type, or is counted and announced as dropped. One caller at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import Factory, define

from hh_exporter._capture.doubles import Call, Doubles
from hh_exporter._capture.lineage import Lineage, Started
from hh_exporter._log import get_log
from hh_exporter._outside import let_through
from hh_exporter._recording.scopes import Scope
from hh_exporter._spans.mapping import event_id_of, event_of
from hh_exporter._spans.span import Span
from hh_exporter.events import AnyEvent, ModelEvent, SessionProperties

__all__ = ["Converter"]

log = get_log(__name__)

_MAX_TRACES: Final = 1_000
"""Traces whose session is known because one of their spans named it."""

_MAKES_SESSIONS: Final = "pydantic-ai"
"""An instrumentation that makes up a session for each run that is given none."""


@define(eq=False, kw_only=True)
class Converter:
    """
    The spans of one processor, read and sent.
    """

    read: Callable[[Any], Span]
    """Reads an ended span of the tracer."""
    lineage: Lineage
    doubles: Doubles = Factory(Doubles)
    push: Callable[[AnyEvent, SessionProperties | None], object]
    fail: Callable[[str], None]
    """Counts and announces a span that can't be read, by the id of its event."""
    complete: Callable[[ModelEvent], None]
    """Adds to a call what can be known without its span, such as its cost."""
    is_told: Callable[[str], bool]
    """Whether a call with that response id was pushed by another integration."""
    _sessions: dict[str, str] = Factory(dict)
    """The session that a span of a trace named, by trace."""

    def pass_over(self, span_id: int, parent_id: int | None) -> None:
        """
        Note the end of a span that is no step.
        """
        started = self.lineage.started.get(span_id) or Started(None, 0, parent_id, "", None)
        self.lineage.end(span_id, started, None)

    def take(self, ended: Any, now: float) -> None:
        """
        Read an ended span, and push its event, or hold it if it may be told twice.
        """
        span = self.read(ended)
        span_id = int(span.span_id, 16)
        started = self.lineage.started.get(span_id) or _unseen(span)
        try:
            event = self._event_of(span, started)
        except Exception as exc:
            let_through(exc)
            name = type(exc).__name__
            log.error_once("hh_exporter: a span can't be read (%s); logged once", name)
            self.fail(event_id_of(span.trace_id, span.span_id))
            event = None
        if isinstance(event, ModelEvent):
            self._hold(event, span_id, started, now)
            return
        is_sent = event is not None and self.lineage.is_wanted(event.event_type)
        self.lineage.end(span_id, started, event.event_id if event and is_sent else None)
        self.doubles.leave(span_id, now)
        if event is not None and is_sent:
            self._send(event, started.scope)

    def release(self, now: float, *, all_of_them: bool = False) -> Iterator[None]:
        """
        Push, one by one, the calls that have waited for long enough, or all.
        """
        for span_id in self.lineage.tidy_up():
            self.doubles.leave(span_id, now)
        for call in self.doubles.take(now, all_of_them=all_of_them):
            response_id = call.response_id
            if response_id is None or not self.is_told(response_id):
                self.complete(call.event)
                self._send(call.event, call.scope)
            yield

    def _event_of(self, span: Span, started: Started) -> AnyEvent:
        scope = started.scope
        around = None if scope is None else scope.session_id
        known = around or self._sessions.get(span.trace_id)
        event = event_of(span, known)
        if around is not None and span.scope == _MAKES_SESSIONS:
            event.session_id = around
        own = event.session_id
        if own is not None and own != known and own.replace("-", "") != span.trace_id:
            self._sessions[span.trace_id] = own
            if len(self._sessions) > _MAX_TRACES:
                del self._sessions[next(iter(self._sessions))]
        if (span.parent_id is not None or scope is not None) and event.session_id != event.event_id:
            event.parent_id = self.lineage.parent_of(started, event.session_id)
        return event

    def _hold(self, event: ModelEvent, span_id: int, started: Started, now: float) -> None:
        metadata = event.metadata if isinstance(event.metadata, dict) else {}
        response_id = metadata.get("response_id")
        call = Call(
            span_id=span_id,
            event=event,
            scope=started.scope,
            around=self.lineage.call_around(started),
            response_id=response_id if isinstance(response_id, str) and response_id else None,
        )
        self.lineage.end(span_id, started, event.event_id)
        held = self.doubles.add(call, now)
        if held is None:
            self.lineage.end(span_id, started, None)
        elif held.event.event_id is not None:
            for each in (held.span_id, *held.joined):
                self.lineage.move(each, held.event.event_id)

    def _send(self, event: AnyEvent, scope: Scope | None) -> None:
        is_inside = scope is not None and scope.session_id == event.session_id
        self.push(event, scope.session if scope is not None and is_inside else None)


def _unseen(span: Span) -> Started:
    """
    Describe a span that began before there was a processor.
    """
    parent_id = None if span.parent_id is None else int(span.parent_id, 16)
    return Started(None, int(span.trace_id, 16), parent_id, span.scope, None)
