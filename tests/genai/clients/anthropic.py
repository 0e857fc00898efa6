"""
The client of Anthropic.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, TypeAlias

from attrs import frozen

from tests.genai.scenarios import MAX_TOKENS, MODELS, SCHEMA, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["MessagesClient"]

Json: TypeAlias = dict[str, Any]


@frozen
class MessagesClient:
    """
    Messages.
    """

    provider: Any = None
    """Whose tracers it uses itself, if any."""
    api: ClassVar[str] = "messages"

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[Any]:
        import anthropic

        with anthropic.Anthropic(**self._given(models)) as client:
            yield client

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[Any]:
        import anthropic

        async with anthropic.AsyncAnthropic(**self._given(models)) as client:
            yield client

    def _given(self, models: ModelServer) -> Json:
        given: Json = {"base_url": models.url, "api_key": "none", "open_telemetry": False}
        if self.provider is not None:
            traces = {"content_mode": "content"}
            given["open_telemetry"] = {"tracer_provider": self.provider, "traces": traces}
        return given

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        system, *rest = scenario.messages
        asked: Json = {
            "model": MODELS[self.api],
            "system": system["content"],
            "messages": [_message(message) for message in rest],
            "max_tokens": MAX_TOKENS,
        }
        if scenario.has_tools:
            named = {"name": TOOL["name"], "description": TOOL["description"]}
            asked["tools"] = [{**named, "input_schema": TOOL["parameters"]}]
        if scenario.has_schema:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if scenario.thinks:
            asked["thinking"] = {"type": "adaptive"}
        if scenario.streams:
            asked["stream"] = True
        return opened.messages.create(**asked)


def _message(message: Json) -> Json:
    match message:
        case {"role": "tool", "tool_call_id": identity, "content": output}:
            result = {"type": "tool_result", "tool_use_id": identity, "content": output}
            return {"role": "user", "content": [result]}
        case {"tool_calls": calls}:
            return {"role": "assistant", "content": [_use(call) for call in calls]}
        case {"content": list(parts)}:
            return {**message, "content": [_part(part) for part in parts]}
        case _:
            return message


def _use(call: Json) -> Json:
    function = call["function"]
    given = json.loads(function["arguments"])
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": given}


def _part(part: Json) -> Json:
    if part["type"] == "text":
        return part
    kind, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
