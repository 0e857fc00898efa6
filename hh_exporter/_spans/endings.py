"""
How a step ended: whole, early, cancelled, or with an error.

As for a block of `record`, it is no error of the call if the reader of a stream stops early or is
cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hh_exporter._responses.call import CANCELLED

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes
    from hh_exporter._spans.parts import Parts
    from hh_exporter._spans.span import Span

__all__ = ["conclude"]

_STOPPED: Final = "stopped"
_FAILED: Final = "failed"
_INCOMPLETE: Final = "incomplete"
"""Of a stream that was not read to its end, for a reason that its span doesn't say."""

_ABANDONED: Final = "abandoned stream"
"""The description of a span whose stream was collected, of OpenTelemetry's own packages 1.3b0."""

_EXPLICIT: Final = (
    "opentelemetry.instrumentation.genai.",
    "opentelemetry.instrumentation.google_genai",
    "openinference.instrumentation.",
)
"""Scopes that report each failure and cancellation of a stream as an error."""

_LANGCHAIN: Final = "opentelemetry.instrumentation.genai.langchain"
"""A scope that reports a stream as an error even if it is closed, and of which the finish reason
"error" says nothing, since it has that of each answer of OpenAI Responses."""


def conclude(span: Span, attributes: Attributes, parts: Parts) -> None:
    """
    Add to *parts*, those of all families, the error, and how the stream ended if it was one.
    """
    error, kind = _error(span, attributes)
    is_cancelled = kind is not None and kind.rpartition(".")[2] == "CancelledError"
    is_stopped = kind == "GeneratorExit" or (error == _ABANDONED and span.is_error)
    is_stream = parts.pop("is_streamed", False) and parts.get("event_type") == "model"
    metadata = parts["metadata"]
    if is_stopped or (is_cancelled and is_stream):
        metadata["stream"] = _STOPPED if is_stopped else CANCELLED
        error = kind = None
    elif is_cancelled:
        error, kind = CANCELLED, None
    elif is_stream and error is not None and ("response" in parts or "metrics" in parts):
        metadata["stream"] = _FAILED
    elif is_stream and error is None and _is_early(span, metadata):
        metadata["stream"] = _STOPPED if span.scope.startswith(_EXPLICIT) else _INCOMPLETE
    if metadata.get("finish_reason") == "error" and span.scope.startswith(_EXPLICIT[0]):
        del metadata["finish_reason"]  # the instrumentation's own word
    if kind is not None and kind != error:
        metadata["error_type"] = kind
    if error is not None:
        parts.setdefault("error", error)


def _is_early(span: Span, metadata: Parts) -> bool:
    """
    Whether a stream ended before the API said why; OpenTelemetry's own packages say "error" then.
    """
    return span.scope != _LANGCHAIN and metadata.get("finish_reason") in (None, "error")


def _error(span: Span, attributes: Attributes) -> tuple[str | None, str | None]:
    """
    Take what went wrong away: its text, and the type of the exception.

    The exception comes first, since a description may hold its whole traceback.
    """
    if not span.is_error and not span.exception:
        return None, None
    said = (span.exception.get("exception.message"), span.description)
    text = next((text for text in said if isinstance(text, str) and text), None)
    if text is None or attributes.left.get("error.message") == text:
        text = attributes.take_text("error.message") or text
    own, kind = attributes.left.get("error.type"), span.exception.get("exception.type")
    if not isinstance(kind, str) or not kind or (isinstance(own, str) and kind.endswith(own)):
        own = attributes.take_text("error.type")
        kind = kind or own
    kind = kind if isinstance(kind, str) and kind != "_OTHER" else None
    return text or kind or "error", kind
