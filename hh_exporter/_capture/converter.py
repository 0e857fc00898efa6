"""
From an ended span to a pushed event, in its session, below its parent, once for each call.

The rule: whatever a span holds, it becomes an event, is reported by another one, is of a
type that isn't wanted, or is counted and announced as dropped. One caller at a time; what is
returned is to be called where that caller holds no lock, since it calls the program's functions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from attrs import Factory, define, field

from hh_exporter._capture.duplicates import Call, Duplicates, Reported
from hh_exporter._capture.lineage import MAKES_SESSIONS, Lineage, Started
from hh_exporter._capture.pairs import Pairs
from hh_exporter._log import get_log
from hh_exporter._outside import let_through
from hh_exporter._recording.scopes import Scope
from hh_exporter._spans.mapping import event_of
from hh_exporter._spans.span import Span
from hh_exporter.events import AnyEvent, ModelEvent, SessionProperties

__all__ = ["Converter", "Then"]

log = get_log(__name__)

Then: TypeAlias = Callable[[], object]

_MAX_TRACES: Final = 1_000
"""Traces whose session is known because one of their spans named it."""


@define(eq=False, repr=False, kw_only=True)
class Converter:
    """
    The spans of one processor, read and sent.
    """

    read: Callable[[Any], Span]
    """Reads an ended span of the tracer."""
    lineage: Lineage
    duplicates: Duplicates = field(init=False)
    pairs: Pairs = Factory(Pairs)
    push: Callable[[AnyEvent, SessionProperties | None], object]
    fail: Callable[[str], None]
    """Counts and announces a span that can't be read, by the id of its event."""
    complete: Callable[[ModelEvent], None]
    """Adds to a call what can be known without its span, such as its cost."""
    is_claimed: Callable[[str], bool]
    """Whether a call with that response id was pushed by another integration."""
    is_reported: Callable[[str], bool]
    """Whether another integration reports the calls of the instrumentation of that name."""
    _sessions: OrderedDict[str, str] = Factory(OrderedDict)
    """The session that a span of a trace named, by trace."""

    def __attrs_post_init__(self) -> None:
        self.duplicates = Duplicates(self.lineage.is_parent)

    def take(self, started: Started, now: float) -> Then | None:
        """
        Read a span that has ended, and have its event pushed, or hold it if duplicates may follow.
        """
        if started.is_over:
            started.ended = None
            return None  # the processor was added twice
        try:
            return self._take(started, now)
        except Exception as exc:
            let_through(exc)
            self._leave(started, None, now)
            return partial(self._fail, started.own_id, type(exc).__name__)

    def release(self, now: float, *, all_of_them: bool = False) -> Iterator[Then]:
        """
        Take, one by one, the calls that are due, or all.
        """
        for gone in self.lineage.tidy_up():
            self.duplicates.give_up(gone.span_id, now)
        for call in self.duplicates.take(now, all_of_them=all_of_them):
            yield partial(self._send_call, call)

    def _take(self, started: Started, now: float) -> Then | None:
        span = self.read(started.ended)
        event = self._event_of(span, started)
        if not isinstance(event, ModelEvent):
            is_sent = self.lineage.is_wanted(event.event_type)
            self._leave(started, event.event_id if is_sent else None, now)
            return partial(self._send, event, started.scope) if is_sent else None
        if self.is_reported(span.scope):
            self._leave(started, None, now)
            return None
        return self._hold(event, started, span.scope, now)

    def _leave(self, started: Started, event_id: str | None, now: float) -> None:
        self.lineage.end(started, event_id)
        self._move(self.duplicates.leave(started.span_id, now))

    def _event_of(self, span: Span, started: Started) -> AnyEvent:
        event = event_of(span)
        event_type = getattr(event, "event_type", None)
        if event_type != "session":  # that is one itself
            self._place_in_session(event, span, started)
            event.parent_id = self.lineage.parent_of(started, event.session_id)
        return event

    def _place_in_session(self, event: AnyEvent, span: Span, started: Started) -> None:
        """
        Put an event into the session that its span names, or else the nearest one around it.
        """
        around, scope = self.lineage.session_of(started)
        own = event.session_id
        is_default = own is None or own.replace("-", "") == span.trace_id
        if is_default or (span.scope == MAKES_SESSIONS and scope is not None):
            own = None
        if own is not None:
            started.session_id = own
            self._sessions[span.trace_id] = own
            if len(self._sessions) > _MAX_TRACES:
                self._sessions.popitem(last=False)
        elif (known := around or self._sessions.get(span.trace_id)) is not None:
            event.session_id = known

    def _hold(self, event: ModelEvent, started: Started, scope: str, now: float) -> Then | None:
        metadata = event.metadata if isinstance(event.metadata, dict) else {}
        response_id = metadata.get("response_id")
        has_id = isinstance(response_id, str) and bool(response_id)
        call = Call(
            started.span_id,
            event,
            started.scope,
            response_id=response_id if has_id else None,
        )
        if calls := self.lineage.calls_around(started):
            call.around = calls[0].span_id
            event.event_id = calls[-1].event_id or calls[-1].own_id
            event.parent_id = self.lineage.parent_of(calls[-1], event.session_id)
        started.is_call = True
        self.lineage.end(started, event.event_id)
        self._move([self.duplicates.add(call, now)])
        pair = self.pairs.look(scope, has_id=has_id)
        return None if pair is None else partial(_warn_of, *pair)

    def _move(self, reported: list[Reported]) -> None:
        for each in reported:
            for span_id in each.span_ids:
                self.lineage.move(span_id, each.event_id)

    # Where no lock is held.

    def _fail(self, event_id: str, name: str) -> None:
        log.error_once("hh_exporter: a span can't be read (%s); logged once", name)
        self.fail(event_id)

    def _send_call(self, call: Call) -> None:
        if call.response_id is None or not self.is_claimed(call.response_id):
            self.complete(call.event)
            self._send(call.event, call.scope)

    def _send(self, event: AnyEvent, scope: Scope | None) -> None:
        is_inside = scope is not None and scope.session_id == event.session_id
        self.push(event, scope.session if scope is not None and is_inside else None)


def _warn_of(framework: str, client: str) -> None:
    log.warning(
        "hh_exporter: calls may be sent twice, as both %s and %s make spans of them, and nothing "
        "joins those of a stream or of a failed call: turn one of the two off",
        framework,
        client,
    )
