"""
Real instrumentations are turned on together, and leave every client as it was.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from hh_exporter.integrations._layers import CLIENTS, _version
from hh_exporter.integrations._tracing import Tracing
from tests.genai.families import ENVIRON
from tests.programs import started

pytestmark = pytest.mark.timeout(120)

WRAPPED: Final = (
    "openai.OpenAI.request",
    "openai.AsyncOpenAI.request",
    "openai.resources.chat.completions.Completions.create",
    "openai.resources.chat.completions.AsyncCompletions.parse",
    "openai.resources.responses.responses.AsyncResponses.create",
    "openai.resources.embeddings.Embeddings.create",
    "anthropic.resources.messages.Messages.create",
    "anthropic.resources.messages.AsyncMessages.stream",
    "anthropic.resources.beta.messages.AsyncMessages.create",
    "google.genai.models.Models.generate_content",
    "google.genai.models.AsyncModels.generate_content_stream",
    "langchain_core.callbacks.BaseCallbackManager.__init__",
)
"""What one or the other family wraps."""

FAMILIES: Final = {
    "semconv": "opentelemetry-instrumentation-genai-langchain",
    "openinference": "openinference-instrumentation-langchain",
}
"""The environments, and what there is only there."""


def is_here(distribution: str) -> bool:
    ways = [way for client in CLIENTS for way in client.ways if way.distribution == distribution]
    return any(_version(way.distribution, way.module) for way in ways)


def found() -> list[Any]:
    """
    List what stands in place of each function that may be wrapped, and who follows agents.
    """
    functions = []
    for path in WRAPPED:  # which may be inherited
        module, owner, name = path.rsplit(".", 2)
        functions.append(getattr(getattr(import_module(module), owner), name))
    processors = import_module("agents").tracing.get_trace_provider()._multi_processor._processors
    return [*functions, *processors]


async def hold(name: str) -> None:
    """
    Have the check of that name hold in a process of its own.

    Other tests of this one may have turned on what can't be turned off.
    """
    source = f"from {__name__} import {name}; {name}()"
    with started("-W", "ignore", "-c", source, environ=ENVIRON) as program:
        done = await program.ended()
    assert done.status == 0, done.stderr


def all_is_as_it_was() -> None:
    environ = dict(os.environ)
    before = found()
    for _ in range(2):
        with Tracing(SpanProcessor()) as tracing:
            meanwhile = found()
            assert dict(os.environ) == environ
        assert found() == before

    assert "on" in {layer.state for layer in tracing.layers}
    changed = sum(old is not new for old, new in zip(before, meanwhile, strict=False))
    assert changed > 3
    # What follows the agents of the app already goes on to do so.
    assert [each for each in before if each not in meanwhile and not callable(each)] == []


def langchain_is_left_to_its_clients() -> None:
    with Tracing(SpanProcessor()) as tracing:
        pass

    states = {layer.client: layer.state for layer in tracing.layers}
    assert states.pop("langchain-core") == "left alone"
    assert set(states.values()) == {"on"}


@pytest.mark.parametrize("family", FAMILIES)
async def test_all_is_as_it_was(family: str) -> None:
    """
    Also a second time, and also the environment.
    """
    if not is_here(FAMILIES[family]):
        pytest.skip(f"needs the environment {family}")
    await hold(all_is_as_it_was.__name__)


async def test_openinference_leaves_langchain_to_its_clients() -> None:
    """
    Both would report each call, in two traces.
    """
    if not is_here(FAMILIES["openinference"]) or is_here(FAMILIES["semconv"]):
        pytest.skip("needs the environment openinference")
    await hold(langchain_is_left_to_its_clients.__name__)
