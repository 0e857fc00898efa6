"""
What each layer of instrumentation can't know of a call, and how it shows.

GAPS is the source of the tables in docs/genai.md, which `python -m tests.genai.gaps` prints. The
tests fail for what is missing and not listed, and for what is listed and not missing.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Final

from attrs import field, frozen

from tests.genai.clients.client import scenarios_of
from tests.genai.expected import ASPECTS
from tests.genai.families import LAYERS, Layer

__all__ = ["GAPS", "NO_EVENT", "Gap", "gaps_of", "tables"]

NO_EVENT: Final = "event"
"""The aspect of a call of which nothing is told."""

_PARTIAL: Final = ("died", "closed early", "abandoned", "cancelled")
_STREAMED: Final = ("*streamed*", *_PARTIAL)
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
        scenarios=_PARTIAL,
    ),
    Gap(
        "semconv",
        _ANSWER,
        "has nothing of an answer that was not read to its end",
        clients=("langchain*",),
        scenarios=_PARTIAL,
    ),
    Gap(
        "semconv",
        ("finish reason",),
        "has none, or says error",
        clients=("langchain-openai, Responses",),
    ),
    Gap(
        "semconv",
        ("tokens",),
        "counts no input of a stream",
        clients=("langchain-anthropic",),
        scenarios=_STREAMED,
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
        ("tools",),
        "leaves the descriptions of tools out",
        clients=("openai, Responses",),
    ),
    Gap(
        "openinference",
        ("structured output",),
        "has no schema of the answer",
        clients=("openai, Responses", "anthropic", "langchain*"),
    ),
    Gap(
        "openinference",
        _ANSWER,
        "has nothing of an answer that was not read to its end",
        clients=("openai, Responses",),
        scenarios=_PARTIAL,
    ),
    # Anthropic's client.
    Gap(
        "anthropic",
        ("text", "tool calls", "reasoning"),
        "has nothing of a streamed answer",
        scenarios=_STREAMED,
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
    Gap(
        "pydantic-ai",
        ("finish reason",),
        "says stop for calls of tools",
        clients=("OpenAI Responses", "Google"),
        scenarios=("*tools*",),
    ),
    # LiteLLM.
    Gap(
        "litellm",
        ("model", "model asked for"),
        "has only the model that was asked for of a stream",
        clients=("OpenAI",),
        scenarios=_STREAMED,
    ),
    Gap(
        "litellm",
        ("tokens",),
        "estimates tokens where a stream tells none",
        scenarios=("streamed without usage",),
    ),
    Gap(
        "litellm",
        (NO_EVENT,),
        "has no span of a stream that was not read to its end",
        scenarios=("closed early", "abandoned", "cancelled", "cancelled while waiting"),
    ),
    # langfuse.
    Gap("langfuse", ("provider", "model asked for"), "doesn't say who serves which model"),
    Gap(
        "langfuse",
        ("response id", "finish reason"),
        "doesn't say which answer it was and why it ended",
    ),
    Gap("langfuse", ("messages",), "moves images elsewhere", scenarios=("*image",)),
    Gap("langfuse", ("structured output",), "has no schema of the answer"),
    Gap(
        "langfuse",
        ("messages",),
        "has calls and results of tools as the Responses API writes them",
        clients=("openai, Responses",),
        scenarios=("tool result",),
    ),
    Gap(
        "langfuse",
        ("text",),
        "has nothing of an answer that was not read to its end",
        clients=("openai, Responses",),
        scenarios=_PARTIAL,
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


def tables() -> str:
    """
    Make two tables: what each family knows, and what it is that it doesn't, in words.
    """
    families = list(dict.fromkeys(layer.family for layer in LAYERS))
    known = [
        [aspect, *(_cell(family, aspect) for family in families)] for aspect in (NO_EVENT, *ASPECTS)
    ]
    rows = [["", *families], ["---"] * (len(families) + 1), *known]
    words = [["family", "client", "when", "what"], ["---"] * 4]
    for gap in GAPS:
        clients, scenarios = _listed(gap.clients), _listed(gap.scenarios)
        words.append([gap.family, clients, scenarios, gap.why])
    return "\n\n".join(
        "\n".join(f"| {' | '.join(row)} |" for row in table) for table in (rows, words)
    )


def _cell(family: str, aspect: str) -> str:
    cases = [
        any(aspect in gap.aspects for gap in gaps_of(layer, scenario))
        for layer in LAYERS
        if layer.family == family
        for scenario in scenarios_of(layer.make(None))
    ]
    return "no" if all(cases) else "partly" if any(cases) else "yes"


def _listed(patterns: tuple[str, ...]) -> str:
    return "all" if patterns == ("*",) else ", ".join(p.strip("*") for p in patterns)


if __name__ == "__main__":
    print(tables())
