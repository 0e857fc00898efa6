"""
Calls of a model as spans, as OpenTelemetry's instrumentation of openai writes them.

One rule: they are spans of the SDK, and what is measured gets each as a program would hand it
over: the living one as it begins, and the one that can only be read when it has ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any

from attrs import define, field
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

from benchmarks._holds import Holds
from benchmarks._workload import generate_text

__all__ = ["Calls", "Timed"]

_SEED = 20_261_130
_TEXTS = 50
"""Calls of which each has texts of its own; then they begin again."""


@define(eq=False)
class Calls(SpanProcessor):
    """
    Makes calls, whose spans go to *processor* if there is one.
    """

    processor: SpanProcessor | None = None
    _ended: list[ReadableSpan] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    _texts: list[tuple[str, str]] = field(init=False)
    _provider: TracerProvider = field(init=False)

    def __attrs_post_init__(self) -> None:
        random = Random(_SEED)
        self._texts = [(_make_chat(random), _make_answer(random)) for _ in range(_TEXTS)]
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(self)
        if self.processor is not None:
            self._provider.add_span_processor(self.processor)

    def begin(self, number: int) -> list[Span]:
        """
        Begin so many calls, each in a trace of its own.
        """
        tracer = self._provider.get_tracer("opentelemetry.instrumentation.genai.openai", "1.3b0")
        spans = (
            tracer.start_span("chat gpt-4o-mini", kind=SpanKind.CLIENT, attributes=_ASKED)
            for _ in range(number)
        )
        return [span for span in spans if isinstance(span, Span)]

    def end(self, spans: Sequence[Span]) -> list[ReadableSpan]:
        """
        End *spans* with what an answer adds.
        """
        self._ended = []
        for span in spans:
            number = next(self._numbers)
            chat, answer = self._texts[number % _TEXTS]
            span.set_attributes(
                {
                    **_ANSWERED,
                    "gen_ai.input.messages": chat,
                    "gen_ai.output.messages": answer,
                    "gen_ai.tool.definitions": _write(*_TOOLS),
                    "gen_ai.response.id": f"chatcmpl-{number}",
                }
            )
            span.end()
        return self._ended

    def on_end(self, span: ReadableSpan) -> None:
        self._ended.append(span)


@define(eq=False)
class Timed(SpanProcessor):
    """
    A processor, and for how long it holds the threads of the program.
    """

    _processor: SpanProcessor
    _holds: Holds

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._holds.time_push(lambda: self._processor.on_start(span, parent_context))

    def on_end(self, span: ReadableSpan) -> None:
        self._holds.time_push(lambda: self._processor.on_end(span))


_ASKED: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.max_tokens": 1000,
    "server.address": "api.openai.com",
    "server.port": 443,
}
_ANSWERED: dict[str, Any] = {
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.cache_read.input_tokens": 800,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.reasoning.output_tokens": 200,
    "openai.response.service_tier": "default",
    "openai.response.system_fingerprint": "fp_44709d6fcb",
}


_TOOLS = [
    {
        "name": "look_up",
        "description": "Look up the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
        "type": "function",
    }
]


def _make_chat(random: Random) -> str:
    """
    Write four messages: what the model is, a question, its call of a tool, and the result.
    """
    call = {"arguments": {"city": "Zürich"}, "name": "look_up", "id": "call_1", "type": "tool_call"}
    result = {
        "response": generate_text(random, 300),
        "id": "call_1",
        "type": "tool_call_response",
    }
    return _write(
        _say("system", _text(random, 300)),
        _say("user", _text(random, 1_200)),
        _say("assistant", call),
        _say("tool", result),
    )


def _make_answer(random: Random) -> str:
    return _write({**_say("assistant", _text(random, 1_000)), "finish_reason": "stop"})


def _say(role: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": [part], "name": None}


def _text(random: Random, size: float) -> dict[str, Any]:
    return {"content": generate_text(random, size), "type": "text"}


def _write(*messages: dict[str, Any]) -> str:
    return json.dumps(messages, separators=(",", ":"))
