"""
A tracer provider of one's own, and the layers that are turned on with it.

It keeps every span with all its attributes, whatever the environment says about sampling and
limits. It is not the global one: nothing that the app traces goes to it, and nothing changes for
the app.
"""

from __future__ import annotations

import os
import secrets
from threading import RLock
from typing import Final, Self

from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, StaticSampler

from hh_exporter._log import get_log
from hh_exporter.integrations._layers import Layer, turn_on
from hh_exporter.integrations._switches import Undo

__all__ = ["Tracing"]

log = get_log(__name__)

_lock: Final = RLock()
"""Held while layers are turned on or off: a variable of the environment is set meanwhile."""


class Tracing:
    """
    What `instrument` turned on: it captures the calls of LLM clients until it is closed.

    `with` or `async with` closes it; without them it captures until the program ends. Print it to
    see what captures each installed client, or why nothing does.

    Attributes:
        provider: Its tracer provider; pass it to instrumentations that you turn on yourself.
        layers: A `Layer` for each client that is installed.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self.provider: TracerProvider = _make_provider(processor)
        self.layers: tuple[Layer, ...] = ()
        self._undo: list[Undo] = []
        self._is_open = True
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            log.warning("hh_exporter: no calls are captured, since OTEL_SDK_DISABLED is true")
            return
        with _lock:
            self.layers, self._undo = turn_on(self.provider)
        if all(layer.state == "off" for layer in self.layers):
            log.warning(
                "hh_exporter: no calls are captured: print what instrument() returns for why"
            )

    def close(self) -> None:
        """
        Turn off what was turned on, and hand what was captured to the exporter, which stays open.

        Calls that have not ended by then are not captured. Works twice.
        """
        with _lock:
            was_open, self._is_open = self._is_open, False
            while self._undo:
                undo = self._undo.pop()
                try:
                    undo()
                except Exception as exc:  # others' code
                    log.warning(
                        "hh_exporter: an instrumentation could not be turned off: %s: %s",
                        *(type(exc).__name__, exc),
                    )
        if was_open:
            self.provider.shutdown()

    def __repr__(self) -> str:
        return "\n".join(map(str, self.layers)) or "no LLM client is installed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


def _make_provider(processor: SpanProcessor) -> TracerProvider:
    limits = (
        *("max_attributes", "max_events", "max_links", "max_span_attributes"),
        *("max_event_attributes", "max_link_attributes"),
        *("max_attribute_length", "max_span_attribute_length"),
    )
    provider = TracerProvider(
        sampler=_KEEP_ALL,
        id_generator=_Ids(),
        span_limits=SpanLimits(**dict.fromkeys(limits, SpanLimits.UNSET)),
        shutdown_on_exit=False,  # the exporter's end is the end of what it is handed
    )
    provider.add_span_processor(processor)
    return provider


_UNSAMPLED: Final = StaticSampler(Decision.RECORD_ONLY)

_KEEP_ALL: Final = ParentBased(
    ALWAYS_ON,
    local_parent_not_sampled=_UNSAMPLED,
    remote_parent_not_sampled=_UNSAMPLED,
)
"""
Records every span. Those in a trace that the app does not sample say so: the app's own provider
goes by that for their children, such as the spans of an HTTP client.
"""


class _Ids(IdGenerator):
    """
    Ids that `random.seed`, which programs with models call, does not repeat.

    The SDK's own takes them from `random`; the ids of events are made of them.
    """

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1

    def is_trace_id_random(self) -> bool:
        return True
