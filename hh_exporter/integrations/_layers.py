"""
Which clients of LLM APIs there are, and what captures the calls of each: plain data.

One layer captures a client. A package is looked up without importing it; only what is turned on is
imported.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final, Literal

from attrs import evolve, frozen
from opentelemetry.sdk.trace import TracerProvider

from hh_exporter._log import get_log
from hh_exporter.integrations._switches import (
    IsOnError,
    Switch,
    Undo,
    openinference,
    pydantic_ai,
    semconv,
)

__all__ = ["CLIENTS", "Client", "Layer", "Way", "turn_on"]

log = get_log(__name__)


@frozen(kw_only=True)
class Layer:
    """
    What was found of one client, and what captures it.
    """

    client: str
    """The distribution, as pip names it."""
    version: str
    state: Literal["on", "off", "left alone"]
    by: str = ""
    """What captures its calls: a distribution and its version."""
    reason: str = ""
    """Why nothing does, and what to do."""

    def __str__(self) -> str:
        how = f"by {self.by}" if self.state == "on" else self.reason
        return f"{self.client} {self.version}: {self.state}, {how}"


@frozen(kw_only=True)
class Way:
    """
    An instrumentation that can capture a client.
    """

    distribution: str
    module: str
    name: str
    """The class in *module* that the switch takes."""
    switch: Switch
    needs: str | None = None
    """Another distribution that it requires."""
    repeats: frozenset[str] = frozenset()
    """Clients whose layers capture the same calls, as spans that have nothing in common."""


@frozen(kw_only=True)
class Client:
    """
    A client, and the ways to capture it, the best first.
    """

    distribution: str
    module: str
    ways: tuple[Way, ...]


def _semconv(client: str, name: str, needs: str | None = None) -> Way:
    return Way(
        distribution=f"opentelemetry-instrumentation-genai-{client}",
        module=f"opentelemetry.instrumentation.genai.{client.replace('-', '_')}",
        name=name,
        switch=semconv,
        needs=needs,
    )


def _openinference(client: str, name: str, repeats: frozenset[str] = frozenset()) -> Way:
    return Way(
        distribution=f"openinference-instrumentation-{client}",
        module=f"openinference.instrumentation.{client.replace('-', '_')}",
        name=name,
        switch=openinference,
        repeats=repeats,
    )


_PYDANTIC_AI: Final = Way(
    distribution="pydantic-ai-slim", module="pydantic_ai", name="Agent", switch=pydantic_ai
)

_API_CLIENTS: Final = frozenset({"openai", "anthropic", "google-genai"})

CLIENTS: Final = (
    Client(
        distribution="openai",
        module="openai",
        ways=(
            _semconv("openai", "OpenAIInstrumentor"),
            _openinference("openai", "OpenAIInstrumentor"),
        ),
    ),
    Client(
        distribution="anthropic",
        module="anthropic",
        ways=(
            _semconv("anthropic", "AnthropicInstrumentor"),
            _openinference("anthropic", "AnthropicInstrumentor"),
        ),
    ),
    Client(
        distribution="google-genai",
        module="google.genai",
        # OpenTelemetry's own does nothing with google-genai 3 (opentelemetry-…-google-genai 1.3b0).
        ways=(_openinference("google-genai", "GoogleGenAIInstrumentor"),),
    ),
    Client(
        distribution="openai-agents",
        module="agents",
        ways=(
            # Steps only; the layer of openai captures the calls of models.
            _semconv("openai-agents", "OpenAIAgentsInstrumentor"),
            _openinference("openai-agents", "OpenAIAgentsInstrumentor"),
        ),
    ),
    Client(distribution="pydantic-ai-slim", module="pydantic_ai", ways=(_PYDANTIC_AI,)),
    # After the clients that it uses.
    Client(
        distribution="langchain-core",
        module="langchain_core",
        ways=(
            _semconv("langchain", "LangChainInstrumentor", needs="langchain"),
            # Its spans and those of a client are in two traces, streamed ones without a common id.
            _openinference("langchain", "LangChainInstrumentor", repeats=_API_CLIENTS),
        ),
    ),
)


def turn_on(provider: TracerProvider) -> tuple[tuple[Layer, ...], list[Undo]]:
    """
    Turn on one layer for each client that is there; returns what undoes that, too.

    Never raises: what an instrumentation raises is in its layer, and in a warning.
    """
    layers: list[Layer] = []
    undo: list[Undo] = []
    for client in CLIENTS:
        if found := _version(client.distribution, client.module):
            layers.append(_layer(client, found, provider, layers, undo))
    return tuple(layers), undo


def _layer(
    client: Client, found: str, provider: TracerProvider, others: list[Layer], undo: list[Undo]
) -> Layer:
    """
    Turn on the first of the ways that works.
    """
    off = Layer(client=client.distribution, version=found, state="off", reason=_pip(client))
    captured = {other.client for other in others if other.state != "off"}
    problem = ""
    for way in client.ways:
        by = _version(way.distribution, way.module)
        if by is None or (way.needs and not _version(way.needs, way.needs)):
            continue
        name = "itself" if way.module == client.module else f"{way.distribution} {by}"
        if captured & way.repeats:
            again = ", ".join(sorted(captured & way.repeats))
            reason = f"since it would capture the calls of {again} twice; for steps, {_pip(client)}"
            return evolve(off, state="left alone", by=name, reason=reason)
        try:
            undo.append(way.switch(getattr(import_module(way.module), way.name), provider))
        except IsOnError:
            reason = f"{name} is on already, by the app or an earlier instrument()"
            return evolve(off, state="left alone", by=name, reason=reason)
        except Exception as exc:  # others' code, which must not end the app
            problem = problem or f"{name} raised {type(exc).__name__}: {exc}"
        else:
            return evolve(off, state="on", by=name, reason="")
    if problem:
        log.warning("hh_exporter: calls of %s are not captured: %s", client.distribution, problem)
        return evolve(off, reason=problem)
    return off


def _pip(client: Client) -> str:
    best = client.ways[0]
    return " ".join(filter(None, ["pip install", best.needs, best.distribution]))


def _version(distribution: str, module: str) -> str | None:
    """
    Find the version of a distribution whose module can be imported.

    Both are asked: a module named `agents` may be the app's own, and what is left of a
    distribution may have no module.
    """
    try:
        return version(distribution) if find_spec(module) else None
    except Exception:  # of a parent of the module, which is imported, among others
        return None
