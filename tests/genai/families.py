"""
Families of instrumentation, and the layers of each: what tells of the calls of one client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from tests.genai.clients.anthropic import MessagesClient
from tests.genai.clients.client import Client
from tests.genai.clients.gemini import GeminiClient
from tests.genai.clients.openai import ChatClient, ResponsesClient

__all__ = ["LAYERS", "Layer"]

Provider: TypeAlias = Any

ENVIRON: Final = {
    "ANTHROPIC_OPEN_TELEMETRY": "false",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
}
"""Anthropic's client is told that it has no spans of its own, which would be doubles."""


@frozen
class Layer:
    """
    What makes spans of the calls of one client.
    """

    family: str
    """The environment in which it is tried."""
    client: str
    instrumentors: tuple[str, ...] = ()
    """The classes that it is turned on with, each with its module."""
    make: Callable[[Provider], Client] = field(kw_only=True)

    def __str__(self) -> str:
        return f"{self.family}: {self.client}"

    @property
    def is_here(self) -> bool:
        """
        Whether this process runs in its environment.
        """
        return all(_is_here(path.rpartition(".")[0]) for path in self.instrumentors)

    @contextmanager
    def turned_on(self, provider: Provider) -> Iterator[Client]:
        """
        Have the client's calls traced by *provider*.
        """
        instrumentors = [_class(path)() for path in self.instrumentors]
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=provider)
        yield self.make(provider)
        for instrumentor in instrumentors:
            instrumentor.uninstrument()


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _direct(family: str, *packages: str) -> list[Layer]:
    """
    List the layers of the clients of OpenAI, Anthropic and Google.
    """
    openai, anthropic, *google = packages
    layers = [
        Layer(family, "openai, Chat Completions", (openai,), make=lambda _: ChatClient()),
        Layer(family, "openai, Responses", (openai,), make=lambda _: ResponsesClient()),
        Layer(family, "anthropic", (anthropic,), make=lambda _: MessagesClient()),
    ]
    gemini = [
        Layer(family, "google-genai", (path,), make=lambda _: GeminiClient()) for path in google
    ]
    return layers + gemini


LAYERS: Final = (
    *_direct(
        "semconv",
        "opentelemetry.instrumentation.genai.openai.OpenAIInstrumentor",
        "opentelemetry.instrumentation.genai.anthropic.AnthropicInstrumentor",
    ),
    *_direct(
        "openinference",
        "openinference.instrumentation.openai.OpenAIInstrumentor",
        "openinference.instrumentation.anthropic.AnthropicInstrumentor",
        "openinference.instrumentation.google_genai.GoogleGenAIInstrumentor",
    ),
    *_direct(
        "openllmetry",
        "opentelemetry.instrumentation.openai.OpenAIInstrumentor",
        "opentelemetry.instrumentation.anthropic.AnthropicInstrumentor",
        "opentelemetry.instrumentation.google_generativeai.GoogleGenerativeAiInstrumentor",
    ),
)
