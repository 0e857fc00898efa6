"""
What each layer of instrumentation can't know of a call, and how it shows.

GAPS is the source of the tables in docs/genai.md, which `python -m tests.genai.support` writes. The
tests fail for what is missing and not listed, and for what is listed and not missing.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Final

from attrs import field, frozen

from tests.genai.families import Layer

__all__ = ["GAPS", "NO_EVENT", "PARTIAL", "STREAMED", "Gap", "gaps_of"]

NO_EVENT: Final = "event"
"""The aspect of a call that becomes no event."""

PARTIAL: Final = ("died", "closed early", "abandoned", "cancelled")
STREAMED: Final = ("*streamed*", *PARTIAL)
_NOT_CHAT: Final = ("openai, Responses", "anthropic", "google-genai", "langchain*")
_REASONING_CHAINS: Final = ("langchain-openai, Responses", "langchain-anthropic")
_ANSWER: Final = ("model", "model asked for", "response id", "text")


@frozen
class Gap:
    """
    Aspects that a family doesn't know, or has wrong.
    """

    family: str
    aspects: tuple[str, ...]
    why: str
    """What it says instead, if anything."""
    clients: tuple[str, ...] = field(default=("*",), kw_only=True)
    """Patterns of the clients of which this is so."""
    scenarios: tuple[str, ...] = field(default=("*",), kw_only=True)
    """Patterns of the scenarios in which this is so."""

    def is_of(self, layer: Layer, scenario: str) -> bool:
        """
        Whether this is so in a scenario of a layer.
        """
        return (
            self.family == layer.family
            and any(fnmatch(layer.client, pattern) for pattern in self.clients)
            and any(fnmatch(scenario, pattern) for pattern in self.scenarios)
        )


GAPS: Final = (
    # OpenTelemetry's own.
    Gap("semconv", ("structured output",), "has no schema of the answer"),
    Gap(
        "semconv",
        ("reasoning",),
        "leaves reasoning out of answers",
        clients=("*Responses",),
    ),
    Gap(
        "semconv",
        ("response id", "text"),
        "has nothing of an answer that was not read to its end",
        clients=("*Responses",),
        scenarios=PARTIAL,
    ),
    Gap(
        "semconv",
        _ANSWER,
        "has nothing of an answer that was not read to its end",
        clients=("langchain*",),
        scenarios=PARTIAL,
    ),
    Gap(
        "semconv",
        ("finish reason",),
        "has no reason of the end",
        clients=("langchain-openai, Responses",),
    ),
    Gap(
        "semconv",
        ("tokens", "cached tokens", "response id"),
        "counts no input of a stream, and has no id of its answer",
        clients=("langchain-anthropic",),
        scenarios=STREAMED,
    ),
    Gap(
        "semconv",
        ("tools",),
        "leaves the parameters of tools out",
        clients=("langchain-anthropic",),
    ),
    # OpenInference.
    Gap(
        "openinference",
        ("messages",),
        "replaces an image of more than 32,000 characters",
        scenarios=("large image",),
    ),
    Gap(
        "openinference",
        _ANSWER,
        "has nothing of an answer that was not read to its end",
        clients=("openai, Responses",),
        scenarios=PARTIAL,
    ),
    Gap(
        "openinference",
        ("tool calls",),
        "has no ids of calls of tools",
        clients=("google-genai",),
        scenarios=("*tools*",),
    ),
    Gap(
        "openinference",
        ("tools", "structured output"),
        "writes additionalProperties as additional_properties",
        clients=("google-genai",),
    ),
    Gap(
        "openinference",
        ("messages",),
        "has the result of a tool as JSON of what Gemini takes",
        clients=("google-genai",),
        scenarios=("tool result",),
    ),
    Gap(
        "openinference",
        (NO_EVENT,),
        "has no span of a call that is cancelled",
        clients=("langchain*",),
        scenarios=("cancelled while waiting",),
    ),
    Gap(
        "openinference",
        ("model", "model asked for"),
        "has only the model that was asked for, of an answer that was not read to its end",
        clients=("langchain-openai*",),
        scenarios=PARTIAL,
    ),
    Gap(
        "openinference",
        ("response id",),
        "has no id of a streamed answer",
        clients=("langchain-openai, Chat Completions", "langchain-anthropic"),
        scenarios=STREAMED,
    ),
    Gap(
        "openinference",
        ("tokens", "cached tokens"),
        "counts no input of a stream",
        clients=("langchain-anthropic",),
        scenarios=STREAMED,
    ),
    Gap("openinference", ("reasoning",), "leaves reasoning out", clients=_REASONING_CHAINS),
    Gap(
        "openinference",
        ("model", "model asked for"),
        "has one model, and none if there is no answer",
        clients=("openai-agents*",),
    ),
    Gap(
        "openinference",
        ("messages", "text", "response id"),
        "has nothing of a call that is not answered",
        clients=("openai-agents, Responses",),
        scenarios=("failed", "cancelled*"),
    ),
    Gap(
        "openinference",
        (
            *("cached tokens", "reasoning tokens", "finish reason"),
            *("response id", "tools"),
        ),
        "has less of an answer",
        clients=("openai-agents, Chat Completions",),
    ),
    Gap(
        "openinference",
        ("text",),
        "has no text of a stream",
        clients=("openai-agents, Chat Completions",),
        scenarios=("streamed, async", "cancelled"),
    ),
    Gap(
        "openinference",
        ("messages",),
        "has no images",
        clients=("openai-agents, Chat Completions",),
        scenarios=("image",),
    ),
    # OpenLLMetry.
    Gap("openllmetry", ("structured output",), "has no schema of the answer", clients=_NOT_CHAT),
    Gap(
        "openllmetry",
        (NO_EVENT,),
        "has no span of a call that is cancelled",
        clients=("openai,*", *_NOT_CHAT[1:]),
        scenarios=("cancelled while waiting",),
    ),
    Gap(
        "openllmetry",
        (NO_EVENT,),
        "has no span of a stream that was not read to its end",
        clients=("anthropic", "google-genai"),
        scenarios=PARTIAL,
    ),
    Gap(
        "openllmetry",
        (NO_EVENT,),
        "has no span of a stream that failed",
        clients=("google-genai",),
        scenarios=("failed, streamed",),
    ),
    Gap(
        "openllmetry",
        ("messages",),
        "has no messages if there is an image",
        clients=("openai, Chat Completions",),
        scenarios=("*image",),
    ),
    Gap(
        "openllmetry",
        ("reasoning tokens",),
        "counts no reasoning in a stream",
        clients=("openai, Chat Completions",),
        scenarios=STREAMED,
    ),
    Gap(
        "openllmetry",
        _ANSWER,
        "has nothing of an answer that was not read to its end",
        clients=("openai, Responses",),
        scenarios=PARTIAL,
    ),
    Gap(
        "openllmetry",
        ("messages",),
        "has nothing of a stream that died",
        clients=("openai, Responses",),
        scenarios=("died",),
    ),
    Gap(
        "openllmetry",
        ("tool calls",),
        "has other ids of calls of tools than their results",
        clients=("openai, Responses",),
        scenarios=("*tools*",),
    ),
    Gap(
        "openllmetry",
        ("tokens",),
        "counts more output of a stream than there was",
        clients=("anthropic",),
        scenarios=STREAMED,
    ),
    Gap(
        "openllmetry",
        ("messages", "tools", "tokens", "reasoning tokens"),
        "has no instructions and tools, and counts no reasoning",
        clients=("google-genai",),
    ),
    Gap(
        "openllmetry",
        ("text", "tool calls", "reasoning", "finish reason"),
        "has the last piece of a stream for the whole",
        clients=("google-genai",),
        scenarios=STREAMED,
    ),
    Gap(
        "openllmetry",
        ("finish reason", "reasoning"),
        "has no reasoning, and no reason of the end",
        clients=_REASONING_CHAINS,
    ),
    Gap(
        "openllmetry",
        ("model", "model asked for", "response id"),
        "has only the model that was asked for of a stream, and no id",
        clients=("langchain*",),
        scenarios=STREAMED,
    ),
    Gap(
        "openllmetry",
        ("model", "model asked for", "response id"),
        "has only the model that was asked for, and no id",
        clients=("langchain-openai, Responses",),
    ),
    Gap(
        "openllmetry",
        ("text",),
        "has nothing of an answer that was not read to its end",
        clients=("langchain*",),
        scenarios=PARTIAL,
    ),
    Gap(
        "openllmetry",
        ("text",),
        "has calls of tools in the text, too",
        clients=_REASONING_CHAINS,
        scenarios=("*tools*",),
    ),
    Gap(
        "openllmetry",
        ("reasoning tokens",),
        "counts no reasoning",
        clients=("langchain-openai*",),
    ),
    Gap(
        "openllmetry",
        ("cached tokens",),
        "counts no writes to the cache",
        clients=("langchain-anthropic",),
    ),
    Gap(
        "openllmetry",
        ("tokens", "cached tokens"),
        "counts no input of a stream",
        clients=("langchain-anthropic",),
        scenarios=STREAMED,
    ),
    Gap(
        "openllmetry",
        ("model", "model asked for"),
        "has one model, and none if there is no answer",
        clients=("openai-agents*",),
    ),
    Gap(
        "openllmetry",
        ("reasoning",),
        "leaves reasoning out",
        clients=("openai-agents, Responses",),
    ),
    Gap(
        "openllmetry",
        ("tool calls",),
        "has the first of several calls of tools",
        clients=("openai-agents, Responses",),
        scenarios=("parallel tools",),
    ),
    Gap(
        "openllmetry",
        ("messages",),
        "has images as the Responses API writes them",
        clients=("openai-agents, Responses",),
        scenarios=("image",),
    ),
    Gap(
        "openllmetry",
        ("messages",),
        "has nothing of a call that is not answered",
        clients=("openai-agents, Responses",),
        scenarios=("failed*", "cancelled*"),
    ),
    Gap(
        "openllmetry",
        ("messages",),
        "has no ids of earlier calls of tools",
        clients=("openai-agents, Responses",),
        scenarios=("tool result",),
    ),
    Gap(
        "openllmetry",
        ("text", "response id"),
        "has nothing of an answer that was not read to its end",
        clients=("openai-agents, Responses",),
        scenarios=("cancelled",),
    ),
    Gap(
        "openllmetry",
        (
            *("text", "tool calls", "tokens", "cached tokens"),
            *("reasoning tokens", "response id", "finish reason", "tools"),
        ),
        "has nothing of an answer",
        clients=("openai-agents, Chat Completions",),
    ),
    # Anthropic's client.
    Gap(
        "anthropic",
        ("text", "tool calls", "reasoning"),
        "has nothing of a streamed answer",
        scenarios=STREAMED,
    ),
    Gap("anthropic", ("tools",), "has no definitions of tools"),
    Gap("anthropic", ("messages",), "has no images", scenarios=("*image",)),
    Gap("anthropic", ("structured output",), "has no schema of the answer"),
    Gap("anthropic", ("error",), "has the kind of an error, not its text", scenarios=("failed*",)),
    # pydantic-ai.
    Gap(
        "pydantic-ai",
        ("messages",),
        "has no messages of a call that gets no answer",
        scenarios=("failed*", "cancelled while waiting"),
    ),
    # LiteLLM.
    Gap(
        "litellm",
        ("model", "model asked for"),
        "has only the model that was asked for of a stream",
        scenarios=STREAMED,
    ),
    Gap("litellm", ("tool calls",), "has no ids of calls of tools", scenarios=("*tools*",)),
    Gap("litellm", ("structured output",), "has no schema of the answer"),
    Gap(
        "litellm",
        ("reasoning", "reasoning tokens"),
        "leaves reasoning out, and estimates its tokens",
        clients=("Anthropic", "Google"),
        scenarios=("reasoning*",),
    ),
    Gap(
        "litellm",
        ("error",),
        "has not what the server says of a stream that it refuses",
        clients=("Google",),
        scenarios=("failed, streamed",),
    ),
    Gap(
        "litellm",
        ("tokens",),
        "estimates tokens where a stream has none",
        scenarios=("streamed without usage",),
    ),
    Gap(
        "litellm",
        (NO_EVENT,),
        "has no span of a stream that was not read to its end",
        scenarios=("closed early", "abandoned", "cancelled*"),
    ),
    Gap(
        "litellm",
        ("text",),
        "has no text of a stream that died",
        scenarios=("died",),
    ),
    # langfuse.
    Gap("langfuse", ("model asked for",), "has only the model that answered"),
    Gap(
        "langfuse",
        ("response id", "finish reason"),
        "doesn't say which answer it was and why it ended",
    ),
    Gap("langfuse", ("messages",), "moves images elsewhere", scenarios=("*image",)),
    Gap("langfuse", ("structured output",), "has no schema of the answer"),
    Gap(
        "langfuse",
        ("text",),
        "has nothing of an answer that was not read to its end",
        clients=("openai, Responses",),
        scenarios=PARTIAL,
    ),
    Gap(
        "langfuse",
        (NO_EVENT,),
        "has no span of a call that is cancelled",
        scenarios=("cancelled while waiting",),
    ),
)


def gaps_of(layer: Layer, scenario: str) -> list[Gap]:
    """
    Find what *layer* can't know in *scenario*.
    """
    return [gap for gap in GAPS if gap.is_of(layer, scenario)]
