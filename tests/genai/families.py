"""
Families of instrumentation, and the layers of each: what captures the calls of one client.

A layer is turned on once in a process, since not all can be turned off again. Each has a tracer
provider of its own, and what listens to that is exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from tests.genai.clients.agents import Agents, send_nothing
from tests.genai.clients.anthropic import MessagesClient
from tests.genai.clients.client import Client
from tests.genai.clients.gemini import GeminiClient
from tests.genai.clients.langchain import LangChain
from tests.genai.clients.langfuse import LangfuseChat, LangfuseResponses
from tests.genai.clients.litellm import LiteLlm
from tests.genai.clients.openai import ChatClient, ResponsesClient
from tests.genai.clients.pydantic_ai import PydanticAi

__all__ = ["ENVIRON", "LAYERS", "Layer"]

Provider: TypeAlias = Any

ENVIRON: Final = {
    "ANTHROPIC_OPEN_TELEMETRY": "false",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
}
"""
What must be set before anything is imported.

Anthropic's client would make spans of its own, also below a framework; and LiteLLM would fetch
prices and names of headers from the network.
"""


@frozen
class Layer:
    """
    What makes spans of the calls of one client.
    """

    family: str
    """What makes the spans."""
    client: str
    needs: str
    """A module that only this environment has."""
    make: Callable[[Provider], Client]
    """Make the client, which may trace itself."""
    instrumentors: tuple[str, ...] = field(default=(), kw_only=True)
    """The classes that turn it on, each with its module."""
    environment: str = field(kw_only=True)
    """Where it is tried: a session of .ci/noxfile.py."""

    @environment.default
    def _its_own(self) -> str:
        return self.family

    def __str__(self) -> str:
        return f"{self.family}: {self.client}"

    @property
    def is_here(self) -> bool:
        """
        Whether this process runs in its environment.
        """
        try:
            return find_spec(self.needs) is not None
        except ModuleNotFoundError:
            return False

    @contextmanager
    def turned_on(self, processor: Any) -> Iterator[Client]:
        """
        Have *processor* get the spans of the client's calls, within the block.
        """
        if self.needs.endswith("agents"):
            send_nothing()
        own, own_switch = _provider(self.family)
        switches = [own_switch, *(_instrumented(path) for path in self.instrumentors)]
        for switch in switches:
            switch.processor = processor
        try:
            yield self.make(own)
        finally:
            for switch in switches:
                switch.processor = None


@cache
def _provider(_name: str) -> tuple[Provider, Any]:
    """
    Make a tracer provider, and the switch of its spans.
    """
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    class Switch(SpanProcessor):
        processor: Any = None

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if self.processor is not None:
                self.processor.on_start(span, parent_context)

        def on_end(self, span: Any) -> None:
            if self.processor is not None:
                self.processor.on_end(span)

    provider, switch = TracerProvider(), Switch()
    provider.add_span_processor(switch)
    return provider, switch


@cache
def _instrumented(path: str) -> Any:
    """
    Turn on an instrumentor; return the switch of its spans.
    """
    module, _, name = path.rpartition(".")
    provider, switch = _provider(path)
    getattr(import_module(module), name)().instrument(tracer_provider=provider)
    return switch


def _ignoring(make: Callable[[], Client]) -> Callable[[Provider], Client]:
    """
    Make a client that is traced by others.
    """

    def make_client(_provider: Provider) -> Client:
        return make()

    return make_client


_OTEL: Final = "opentelemetry.instrumentation"
_INFERENCE: Final = "openinference.instrumentation"

_INSTRUMENTORS: Final = {
    "semconv": {
        "openai": f"{_OTEL}.genai.openai.OpenAIInstrumentor",
        "anthropic": f"{_OTEL}.genai.anthropic.AnthropicInstrumentor",
        "langchain": f"{_OTEL}.genai.langchain.LangChainInstrumentor",
        "agents": f"{_OTEL}.genai.openai_agents.OpenAIAgentsInstrumentor",
    },
    "openinference": {
        "openai": f"{_INFERENCE}.openai.OpenAIInstrumentor",
        "anthropic": f"{_INFERENCE}.anthropic.AnthropicInstrumentor",
        "google": f"{_INFERENCE}.google_genai.GoogleGenAIInstrumentor",
        "langchain": f"{_INFERENCE}.langchain.LangChainInstrumentor",
        "agents": f"{_INFERENCE}.openai_agents.OpenAIAgentsInstrumentor",
    },
    "openllmetry": {
        "openai": f"{_OTEL}.openai.OpenAIInstrumentor",
        "anthropic": f"{_OTEL}.anthropic.AnthropicInstrumentor",
        "google": f"{_OTEL}.google_generativeai.GoogleGenerativeAiInstrumentor",
        "langchain": f"{_OTEL}.langchain.LangchainInstrumentor",
        "agents": f"{_OTEL}.openai_agents.OpenAIAgentsInstrumentor",
    },
}

_CLIENTS: Final[tuple[tuple[str, str, Callable[[], Client]], ...]] = (
    ("openai", "openai, Chat Completions", ChatClient),
    ("openai", "openai, Responses", ResponsesClient),
    ("anthropic", "anthropic", MessagesClient),
    ("google", "google-genai", GeminiClient),
    ("langchain", "langchain-openai, Chat Completions", partial(LangChain, "chat")),
    ("langchain", "langchain-openai, Responses", partial(LangChain, "responses")),
    ("langchain", "langchain-anthropic", partial(LangChain, "messages")),
    ("agents", "openai-agents, Responses", partial(Agents, "responses")),
    ("agents", "openai-agents, Chat Completions", partial(Agents, "chat")),
)


def _instrumented_layers() -> Iterator[Layer]:
    for family, paths in _INSTRUMENTORS.items():
        for library, name, make in _CLIENTS:
            if library not in paths:
                continue
            path = paths[library]
            needed: tuple[str, ...] = (path,)
            if family == "semconv" and library == "agents":  # captures the agents alone
                needed = (path, paths["openai"])
            module = path.rpartition(".")[0]
            yield Layer(family, name, module, _ignoring(make), instrumentors=needed)


_PYDANTIC_AI: Final = {
    "chat": "OpenAI Chat Completions",
    "responses": "OpenAI Responses",
    "messages": "Anthropic",
    "gemini": "Google",
}

_LITELLM: Final = {"chat": "OpenAI", "messages": "Anthropic", "gemini": "Google"}

LAYERS: Final = (
    *_instrumented_layers(),
    Layer(
        "anthropic", "anthropic", "pydantic_ai.direct", MessagesClient, environment="pydantic-ai"
    ),
    *(
        Layer("pydantic-ai", name, "pydantic_ai.direct", partial(PydanticAi, api))
        for api, name in _PYDANTIC_AI.items()
    ),
    *(Layer("litellm", name, "litellm", partial(LiteLlm, api)) for api, name in _LITELLM.items()),
    Layer("langfuse", "openai, Chat Completions", "langfuse.openai", LangfuseChat),
    Layer("langfuse", "openai, Responses", "langfuse.openai", LangfuseResponses),
)
