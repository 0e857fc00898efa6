"""
The client of Google.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

from tests.genai.scenarios import MAX_TOKENS, MODELS, SCHEMA, TEMPERATURE, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["GeminiClient", "make_client"]

Json: TypeAlias = dict[str, Any]

_RETRY: Final = {"attempts": 3, "initial_delay": 0.001, "max_delay": 0.001, "jitter": 0.0}


def make_client(models: ModelServer) -> Any:
    """
    Make a client, which tries again.
    """
    from google import genai

    options = {"base_url": models.url, "retry_options": _RETRY}
    return genai.Client(api_key="none", http_options=options)


class GeminiClient:
    """
    generateContent.
    """

    api = "gemini"

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[Any]:
        client = make_client(models)
        yield client.models
        client.close()

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[Any]:
        client = make_client(models)
        yield client.aio.models
        await client.aio.aclose()
        client.close()

    def ask(self, opened: Any, scenario: Scenario) -> Any:
        from google.genai.types import Content

        system, *rest = scenario.messages
        config: Json = {
            "system_instruction": system["content"],
            "max_output_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
        }
        if scenario.has_tools:
            named = {"name": TOOL["name"], "description": TOOL["description"]}
            function = {**named, "parameters_json_schema": TOOL["parameters"]}
            config["tools"] = [{"function_declarations": [function]}]
        if scenario.has_schema:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = SCHEMA
        if scenario.thinks:
            config["thinking_config"] = {"include_thoughts": True}
        contents = [Content.model_validate(_content(message)) for message in rest]
        ask = opened.generate_content_stream if scenario.streams else opened.generate_content
        return ask(model=MODELS[self.api], contents=contents, config=config)


def _content(message: Json) -> Json:
    match message:
        case {"role": "tool", "tool_call_id": identity, "content": output}:
            answer = {"id": identity, "name": TOOL["name"], "response": {"result": output}}
            return {"role": "user", "parts": [{"function_response": answer}]}
        case {"tool_calls": calls}:
            return {"role": "model", "parts": [_call(call) for call in calls]}
        case {"content": list(parts)}:
            return {"role": "user", "parts": [_part(part) for part in parts]}
        case _:
            return {"role": "user", "parts": [{"text": message["content"]}]}


def _call(call: Json) -> Json:
    function = call["function"]
    given = json.loads(function["arguments"])
    return {"function_call": {"id": call["id"], "name": function["name"], "args": given}}


def _part(part: Json) -> Json:
    if part["type"] == "text":
        return {"text": part["text"]}
    kind, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
    return {"inline_data": {"mime_type": kind, "data": base64.b64decode(data + "==")}}
