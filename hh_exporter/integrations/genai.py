"""
OpenTelemetry's spans of LLM clients and frameworks, as events.

`ModelEvents` is a span processor, for a program that has a tracer provider; `instrument` is for
one that has not. A span may end in the garbage collector, in any thread: `on_end` appends it to a
deque, and takes no lock.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError, _get_running_loop
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal
from weakref import ref

try:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
    from opentelemetry.trace import SpanContext, StatusCode, TraceFlags
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        "this needs OpenTelemetry's SDK, which the extra 'genai' of hh_exporter installs",
        name=_missing.name,
    ) from None

from hh_exporter import ConfigError, DropReason, Exporter
from hh_exporter._capture.converter import Converter
from hh_exporter._capture.lineage import Lineage, Started
from hh_exporter._capture.prices import Prices
from hh_exporter._capture.pump import Pump
from hh_exporter._life.forks import in_child
from hh_exporter._life.loops import find_loop
from hh_exporter._log import Log, get_log
from hh_exporter._recording.scopes import Scope, current
from hh_exporter._spans import span as plain
from hh_exporter._spans.mapping import MARKS
from hh_exporter.events import new_id
from hh_exporter.integrations._layers import Layer
from hh_exporter.integrations._reported import claim, is_reported
from hh_exporter.integrations._tracing import Tracing

__all__ = ["Layer", "ModelEvents", "Tracing", "instrument"]

log: Log = get_log(__name__)

_NOTHING: Final[Mapping[str, Any]] = {}
_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
_SAMPLED: Final = int(TraceFlags.SAMPLED)
_LOOK: Final = 1.0
"""Seconds within which a loop that is not blocked turns."""


def instrument(exporter: Exporter, *, only: Literal["model"] | None = None) -> Tracing:
    """
    Capture the calls of each LLM client that is installed with an instrumentation.

    Call it once, when the program starts. Instrumentations are turned on with their own
    tracer provider, which keeps every span without limits, and with messages, unless an
    environment variable hides them. What the program has turned on itself is left alone. The
    captured clients are imported.

    Never raises because of a client or its instrumentation: a warning names what is not captured.

    Args:
        exporter: Where the events go, as with `ModelEvents`.
        only: "model" to push calls of models alone; default: all steps.

    Returns:
        What was turned on: print it to see that, and close it to turn it off before the program
        ends.

    Raises:
        ConfigError: *only* is something else.
    """
    events = ModelEvents(exporter, only=only)
    events._takes_unsampled = True  # what the app samples away is marked so, for the app alone
    return Tracing(events)


class ModelEvents(SpanProcessor):
    """
    Push an event for each span of a call of a model, a tool, an agent or a chain.

    Add it to a tracer provider of OpenTelemetry's SDK: `provider.add_span_processor(…)`. Spans
    of OpenTelemetry's own instrumentations, OpenInference, OpenLLMetry, pydantic-ai, LiteLLM,
    Langfuse, HoneyHive and the anthropic client are read; all others are ignored. They are
    read in the exporter's event loop, in slices of half a millisecond. A call is held for a
    second, for another span of the same call; `flush` and `aclose` don't wait for that.

    An event is in the `exporter.session` or step that encloses its span, unless the span names
    a session.

    Args:
        exporter: Where the events go. It starts as with its first push.
        only: "model" to push calls of models alone; default: all steps.

    Raises:
        ConfigError: *only* is something else.
    """

    def __init__(self, exporter: Exporter, *, only: Literal["model"] | None = None) -> None:
        if only not in (None, "model"):
            raise ConfigError(f'only must be "model" or None, not {only!r}')
        self._exporter = exporter
        self._only = only
        self._warned_of_limits = False
        self._takes_unsampled = False
        self._begin()

    def _begin(self) -> None:
        exporter = self._exporter
        life, copy = exporter._life, exporter._life.copy
        self._keeper = life.keeper if copy is None or not exporter._disabled else copy.keeper
        self._is_off = bool(exporter._disabled) and copy is None
        self._lineage = Lineage(attributes_of=_attributes_of, is_wanted=self._is_wanted)
        converter = Converter(
            read=self._read,
            lineage=self._lineage,
            push=exporter.push,
            fail=self._fail,
            complete=Prices().complete,
            is_claimed=lambda response_id: not claim(exporter, response_id, "spans"),
            is_reported=lambda scope: is_reported(exporter, scope),
        )
        self._pump = Pump(
            clock=exporter._clock,
            converter=converter,
            find_loop=self._find_loop,
            see_to_home=self._keeper.see_to_worker,
            lose=self._lose,
        )
        for each in (life, copy):
            if each is not None:
                each.feeds.add(self._pump)
        in_child(self, ModelEvents._begin)  # what waited is its parent's

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """
        Note where a span begins, and have the exporter started if it is not.
        """
        if self._is_off:
            return
        self._lineage.begin(_started(span, current(self._exporter._blocks.owner)))
        worker, loop = self._keeper.worker, _get_running_loop()
        if (
            worker is None
            or worker.is_over
            or (loop is not worker.loop and (loop is not None or worker.loop.is_closed()))
        ) and (loop is not None or self._keeper.has_thread):
            self._keeper.see_to_worker()

    def on_end(self, span: ReadableSpan) -> None:
        """
        Take a span that has ended.
        """
        context = span.get_span_context()
        if self._is_off or context is None:
            return
        lineage, pump = self._lineage, self._pump
        is_sampled = context.trace_flags & _SAMPLED or self._takes_unsampled
        if not is_sampled or _attributes_of(span).keys().isdisjoint(MARKS):
            lineage.pass_over(context.span_id)
            return
        started = lineage.spans.get(context.span_id) or _started(span, None)
        started.ended = span
        if not pump.inbox.add(started):
            lineage.pass_over(context.span_id)
        elif not pump.is_awake:
            pump.wake()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """
        Push what has ended and, where that can be waited for, have it delivered.

        In the thread of the exporter's event loop nothing can be waited for, nor in another one
        while that loop is blocked.

        Returns:
            Whether all of it has its outcome.
        """
        self._pump.give()
        worker, seconds = self._keeper.worker, timeout_millis / 1000
        loop = None if worker is None or worker.is_over else worker.loop
        if loop is None or not _turns(loop, min(seconds, _LOOK)):
            return not self._exporter._queue.has_records
        flush = asyncio.run_coroutine_threadsafe(self._exporter.flush(seconds), loop)
        try:
            return flush.result(seconds).left == 0
        except (TimeoutError, CancelledError):
            flush.cancel()
            return False

    def shutdown(self) -> None:
        """
        Push what has ended. The exporter stays open.
        """
        self._pump.give()

    def __del__(self) -> None:
        # Nothing else refers to the pump, so its lock is free; and finalizers may push.
        if (pump := self.__dict__.get("_pump")) is not None and pump.holds():
            pump.give()

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        worker = self._keeper.worker
        if worker is not None and not worker.is_over and not worker.loop.is_closed():
            return worker.loop
        return find_loop()

    def _is_wanted(self, kind: str | None) -> bool:
        return kind == "model" or (kind is not None and self._only is None)

    def _read(self, span: ReadableSpan) -> plain.Span:
        if span.dropped_attributes and not self._warned_of_limits:
            self._warned_of_limits = True
            log.warning(
                "hh_exporter: spans of %s have more attributes than OpenTelemetry keeps, so parts "
                "of messages are missing: raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
                _scope_of(span)[0] or "an instrumentation",
            )
        return _plain(span)

    def _fail(self, event_id: str) -> None:
        self._exporter._settler.refuse(event_id, DropReason.INTERNAL_ERROR, "it can't be read")

    def _lose(self, count: int) -> None:
        ids = tuple([new_id() for _ in range(count)])
        why = "too many spans ended before they could be read"
        self._exporter._settler.refuse_all(ids, DropReason.QUEUE_FULL, why)


def _turns(loop: asyncio.AbstractEventLoop, seconds: float) -> bool:
    """
    Whether a loop that runs in another thread can be waited for: it turns within so long.
    """
    if loop is _get_running_loop() or not loop.is_running():
        return False
    has_turned = threading.Event()
    with suppress(RuntimeError):  # closed just now
        loop.call_soon_threadsafe(has_turned.set)
        return has_turned.wait(seconds)
    return False


def _started(span: ReadableSpan, scope: Scope | None) -> Started:
    context, parent, by = span.get_span_context(), span.parent, span.instrumentation_scope
    assert context is not None  # noqa: S101 - a span that has begun has one
    return Started(
        ref(span),
        context.span_id,
        context.trace_id,
        None if parent is None else parent.span_id,
        "" if by is None else by.name,
        scope,
    )


def _attributes_of(bearer: ReadableSpan | Resource) -> Mapping[str, Any]:
    attributes = bearer.attributes
    if attributes is None:
        return _NOTHING
    # One step, which another thread can't interrupt; each look at the original takes longer.
    return attributes.copy()  # type: ignore[attr-defined,no-any-return]


def _context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - a span that has begun has one
    return context


def _scope_of(span: ReadableSpan) -> tuple[str, str]:
    scope = span.instrumentation_scope
    return ("", "") if scope is None else (scope.name, scope.version or "")


def _plain(span: ReadableSpan) -> plain.Span:
    """
    Copy what is of use of *span*.
    """
    context, parent, status = _context_of(span), span.parent, span.status
    scope, version = _scope_of(span)
    exception, first_token = _told_by(events) if (events := span.events) else (_NOTHING, None)
    return plain.Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=None if parent is None else f"{parent.span_id:016x}",
        name=span.name,
        scope=scope,
        scope_version=version,
        start=span.start_time or 0,
        end=span.end_time or 0,
        is_error=status.status_code is StatusCode.ERROR,
        description=status.description or "",
        attributes=_listed(_attributes_of(span)),
        resource=_attributes_of(span.resource),
        exception=exception,
        first_token=first_token,
    )


def _told_by(events: Sequence[Event]) -> tuple[Mapping[str, Any], int | None]:
    """
    Read the last exception, and when a stream began.
    """
    exception, first_token = _NOTHING, None
    for event in events:
        if event.name == "exception":
            exception = _listed(event.attributes or {})
        elif event.name == plain.STREAM_BEGAN and first_token is None:
            first_token = event.timestamp
    return exception, first_token


def _listed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v if type(v) in _PLAIN else _as_data(v) for k, v in attributes.items()}


def _as_data(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_as_data(each) for each in value]
    return _listed(value) if isinstance(value, Mapping) else value
