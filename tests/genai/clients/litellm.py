"""
LiteLLM, which asks each API as if it were Chat Completions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, Final

from attrs import frozen

from tests.genai.clients.openai import chat_arguments
from tests.genai.scenarios import MODELS, SCENARIOS, Scenario
from tests.genai.server import ModelServer
from tests.support import PATIENCE

__all__ = ["LiteLlm"]

_PREFIXES: Final = {"chat": "openai", "messages": "anthropic", "gemini": "gemini"}


@frozen
class LiteLlm:
    """
    `completion` and `acompletion`.
    """

    api: str
    provider: Any
    """Whose tracers it uses."""

    @property
    def scenarios(self) -> frozenset[str]:
        """
        Those that it can go through: only the client of OpenAI tries again by itself.
        """
        return frozenset(SCENARIOS) - (set() if self.api == "chat" else {"retried"})

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[ModelServer]:
        _listen(self.provider)
        try:
            yield models
        finally:
            _finish()

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[ModelServer]:
        _listen(self.provider)
        try:
            yield models
        finally:
            from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

            await GLOBAL_LOGGING_WORKER.flush()
            _finish()

    def ask(self, opened: ModelServer, scenario: Scenario) -> Any:
        import litellm

        asked = chat_arguments(scenario)
        asked["messages"] = [{"content": "", **message} for message in asked["messages"]]
        asked["model"] = f"{_PREFIXES[self.api]}/{MODELS[self.api]}"
        asked["api_base"] = opened.openai_url if self.api == "chat" else opened.url
        if scenario.thinks:
            asked["reasoning_effort"] = "low"
        if scenario.thinks or self.api == "messages":
            del asked["temperature"]
        if self.api == "chat":
            asked["max_retries"] = 2
        ask = litellm.acompletion if scenario.is_async else litellm.completion
        return ask(api_key="none", **asked)


@cache
def _listen(provider: Any) -> None:
    import litellm
    from litellm.integrations.opentelemetry import OpenTelemetry

    litellm.callbacks = [OpenTelemetry(tracer_provider=provider)]


def _finish() -> None:
    """
    Wait until the threads that report calls to the callbacks have nothing to do.
    """
    from litellm.litellm_core_utils.thread_pool_executor import executor

    for thread in threading.enumerate():
        if "failure_handler" in thread.name:  # one of its own for each stream that failed
            thread.join(PATIENCE)
            assert not thread.is_alive()
    give_up = time.monotonic() + PATIENCE
    while executor._pending_slots._value < executor._max_pending_tasks:
        assert time.monotonic() < give_up
        time.sleep(0.001)
