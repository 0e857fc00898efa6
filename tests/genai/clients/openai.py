"""
The client of OpenAI.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

from tests.genai.scenarios import MAX_TOKENS, MODELS, SCHEMA, TEMPERATURE, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["ChatClient", "ResponsesClient", "chat_arguments", "input_items"]

Json: TypeAlias = dict[str, Any]


def chat_arguments(scenario: Scenario) -> Json:
    """
    Say what is asked, as Chat Completions has it.
    """
    asked: Json = {
        "model": MODELS["chat"],
        "messages": list(scenario.messages),
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
    }
    if scenario.has_tools:
        asked["tools"] = [{"type": "function", "function": TOOL}]
    if scenario.has_schema:
        schema = {"name": "answer", "schema": SCHEMA, "strict": True}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    if scenario.streams:
        asked["stream"] = True
        if scenario.wants_usage:
            asked["stream_options"] = {"include_usage": True}
    return asked


class _OpenAI:
    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[Any]:
        import openai

        with openai.OpenAI(base_url=models.openai_url, api_key="none") as client:
            yield client

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[Any]:
        import openai

        async with openai.AsyncOpenAI(base_url=models.openai_url, api_key="none") as client:
            yield client


class ChatClient(_OpenAI):
    """
    Chat Completions.
    """

    api = "chat"

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        return opened.chat.completions.create(**chat_arguments(scenario))


class ResponsesClient(_OpenAI):
    """
    Responses.
    """

    api = "responses"

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        system, *rest = scenario.messages
        asked: Json = {
            "model": MODELS[self.api],
            "instructions": system["content"],
            "input": [item for message in rest for item in input_items(message)],
            "max_output_tokens": MAX_TOKENS,
        }
        if scenario.has_tools:
            asked["tools"] = [{"type": "function", **TOOL, "strict": False}]
        if scenario.has_schema:
            form = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
            asked["text"] = {"format": form}
        if scenario.thinks:
            asked["reasoning"] = {"effort": "low", "summary": "auto"}
        else:
            asked["temperature"] = TEMPERATURE
        if scenario.streams:
            asked["stream"] = True
        return opened.responses.create(**asked)


def input_items(message: Json) -> Iterator[Json]:
    match message:
        case {"role": "tool", "tool_call_id": identity, "content": output}:
            yield {"type": "function_call_output", "call_id": identity, "output": output}
        case {"tool_calls": calls}:
            for call in calls:
                yield {"type": "function_call", "call_id": call["id"], **call["function"]}
        case {"content": list(parts)}:
            yield {**message, "content": [_part(part) for part in parts]}
        case _:
            yield message


def _part(part: Json) -> Json:
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    return {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
