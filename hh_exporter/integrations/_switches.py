"""
How each kind of instrumentation is turned on with a tracer provider, and off again.

What is on already is left alone, since an instrumentation has one tracer provider at a time. All
that is set here is restored, at the latest when the switch is turned off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider

__all__ = ["IsOnError", "Switch", "Undo", "openinference", "pydantic_ai", "semconv"]

Undo: TypeAlias = Callable[[], None]
Switch: TypeAlias = Callable[[Any, TracerProvider], Undo]
"""Takes a class of the instrumentation; raises IsOnError, or what the instrumentation raises."""

CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_NO_CONTENT: Final = frozenset({"no_content", "false", "0", "no", "off"})

IMAGE_LENGTH: Final = "OPENINFERENCE_BASE64_IMAGE_MAX_LENGTH"
_IMAGE_LENGTH: Final = 1_000_000
"""Characters of an image in base64; an event has room for a few such."""


class IsOnError(Exception):
    """
    The instrumentation is on already.
    """


def semconv(instrumentor: Any, provider: TracerProvider) -> Undo:
    """
    Turn on a package of OpenTelemetry's GenAI instrumentation, with messages on its spans.

    It reads the variable for that once, when it is turned on (opentelemetry-util-genai 1.3b0).
    If it is set to NO_CONTENT, or to a word for no, there are no messages. A meter provider that
    does nothing keeps its metrics from the app's own.
    """
    said = os.environ.get(CONTENT, "").strip().lower()
    with _environment(CONTENT, "NO_CONTENT" if said in _NO_CONTENT else "SPAN_ONLY"):
        return _turn_on(
            instrumentor(), tracer_provider=provider, meter_provider=NoOpMeterProvider()
        )


def openinference(instrumentor: Any, provider: TracerProvider) -> Undo:
    """
    Turn on a package of OpenInference, with images up to 1,000,000 characters in place of 32,000.

    Its variables that hide content apply, as does one that sets that length. The one for
    openai-agents would otherwise replace the app's own trace processors.
    """
    from openinference.instrumentation import TraceConfig

    length = None if IMAGE_LENGTH in os.environ else _IMAGE_LENGTH
    return _turn_on(
        instrumentor(),
        tracer_provider=provider,
        config=TraceConfig(base64_image_max_length=length),
        exclusive_processor=False,
    )


def pydantic_ai(agent: Any, provider: TracerProvider) -> Undo:
    """
    Instrument all agents of pydantic-ai that have no settings of their own for that.
    """
    from pydantic_ai import InstrumentationSettings

    def now() -> Any:
        return getattr(agent, "_instrument_default", False)

    if now():
        raise IsOnError
    settings = InstrumentationSettings(tracer_provider=provider, meter_provider=NoOpMeterProvider())
    agent.instrument_all(settings)

    def undo() -> None:
        if now() is settings:
            agent.instrument_all(False)

    return undo


def _turn_on(instrumentor: Any, **options: Any) -> Undo:
    """
    Turn on an instrumentor, of which there is one in a process.
    """
    if instrumentor.is_instrumented_by_opentelemetry:
        raise IsOnError
    instrumentor.instrument(raise_exception_on_conflict=True, **options)
    if not instrumentor.is_instrumented_by_opentelemetry:
        raise RuntimeError("it did nothing")  # but log: it takes no client of this version

    def undo() -> None:
        if instrumentor.is_instrumented_by_opentelemetry:  # the app may have turned it off
            instrumentor.uninstrument()

    return undo


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
