"""
An agent of the OpenAI Agents SDK, which asks once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, ClassVar

from attrs import frozen

from tests.genai.clients.openai import input_items
from tests.genai.scenarios import MAX_TOKENS, MODELS, TEMPERATURE, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["Agents", "send_nothing"]


@frozen
class Agents:
    """
    An agent that stops at the first call of a tool.
    """

    api: str
    scenarios: ClassVar[frozenset[str]] = frozenset(
        {
            "whole",
            "whole, async",
            "streamed, async",
            "tools",
            "parallel tools",
            "tool result",
            "image",
            "reasoning",
            "retried",
            "failed",
            "cancelled",
            "cancelled while waiting",
        }
    )

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[Any]:
        from openai import AsyncOpenAI

        yield self._model(AsyncOpenAI(base_url=models.openai_url, api_key="none"))

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[Any]:
        from openai import AsyncOpenAI

        async with AsyncOpenAI(base_url=models.openai_url, api_key="none") as client:
            yield self._model(client)

    def _model(self, client: Any) -> Any:
        from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel

        make = OpenAIChatCompletionsModel if self.api == "chat" else OpenAIResponsesModel
        return make(MODELS[self.api], client)

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        from agents import Agent, FunctionTool, ModelSettings, Runner
        from openai.types.shared import Reasoning

        async def weather(context: Any, arguments: str) -> str:
            return "21 degrees"

        system, *rest = scenario.messages
        thinks = Reasoning(effort="low", summary="auto")
        settings = (
            ModelSettings(max_tokens=MAX_TOKENS, reasoning=thinks)
            if scenario.thinks
            else ModelSettings(max_tokens=MAX_TOKENS, temperature=TEMPERATURE, include_usage=True)
        )
        tool = FunctionTool(
            name=TOOL["name"],
            description=TOOL["description"],
            params_json_schema=TOOL["parameters"],
            on_invoke_tool=weather,
            strict_json_schema=False,
        )
        agent = Agent(
            name="geographer",
            instructions=system["content"],
            model=opened,
            model_settings=settings,
            tools=[tool] if scenario.has_tools else [],
            tool_use_behavior="stop_on_first_tool",
        )
        asked = [item for message in rest for item in input_items(message)]
        if scenario.streams:
            return Runner.run_streamed(agent, asked).stream_events()
        return (Runner.run if scenario.is_async else Runner.run_sync)(agent, asked)


@cache
def send_nothing() -> None:
    """
    Send no traces to OpenAI; once, before an instrumentor listens to them.
    """
    from agents import set_trace_processors

    set_trace_processors([])
