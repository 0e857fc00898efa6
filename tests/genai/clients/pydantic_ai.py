"""
The models of pydantic-ai.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias

from attrs import frozen

from tests.genai.clients.client import Direct
from tests.genai.clients.gemini import make_client
from tests.genai.scenarios import MAX_TOKENS, MODELS, SCHEMA, TEMPERATURE, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["PydanticAi"]

Json: TypeAlias = dict[str, Any]


@frozen
class PydanticAi(Direct):
    """
    A model, asked directly; an agent asks it in the same way.
    """

    api: str
    provider: Any
    """Whose tracers it uses."""

    def ask(self, opened: ModelServer, scenario: Scenario) -> Any:
        from pydantic_ai import direct
        from pydantic_ai.models.instrumented import InstrumentationSettings

        given: Json = {
            "model": self._model(opened, scenario),
            "messages": [_message(message) for message in scenario.messages],
            "model_settings": {"max_tokens": MAX_TOKENS},
            "model_request_parameters": _parameters(scenario),
            "instrument": InstrumentationSettings(tracer_provider=self.provider),
        }
        if not scenario.thinks and self.api != "messages":
            given["model_settings"]["temperature"] = TEMPERATURE
        if not scenario.streams:
            ask = direct.model_request if scenario.is_async else direct.model_request_sync
            return ask(**given)
        return self._streamed_async(given) if scenario.is_async else self._streamed(given)

    def _streamed(self, given: Json) -> Iterator[Any]:
        from pydantic_ai.direct import model_request_stream_sync

        with model_request_stream_sync(**given) as stream:
            yield from stream

    async def _streamed_async(self, given: Json) -> AsyncIterator[Any]:
        from pydantic_ai.direct import model_request_stream

        async with model_request_stream(**given) as stream:
            async for piece in stream:
                yield piece

    def _model(self, models: ModelServer, scenario: Scenario) -> Any:
        name = MODELS[self.api]
        if self.api == "messages":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            thinking: Any = {"anthropic_thinking": {"type": "adaptive"}}
            return AnthropicModel(
                name,
                provider=AnthropicProvider(base_url=models.url, api_key="none"),
                settings=thinking if scenario.thinks else None,
            )
        if self.api == "gemini":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            thinking = {"google_thinking_config": {"include_thoughts": True}}
            return GoogleModel(
                name,
                provider=GoogleProvider(client=make_client(models)),
                settings=thinking if scenario.thinks else None,
            )
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=models.openai_url, api_key="none")
        if self.api == "chat":
            return OpenAIChatModel(name, provider=provider)
        thinking = {"openai_reasoning_effort": "low", "openai_reasoning_summary": "auto"}
        return OpenAIResponsesModel(
            name, provider=provider, settings=thinking if scenario.thinks else None
        )


def _parameters(scenario: Scenario) -> Any:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    given: Json = {}
    if scenario.has_tools:
        tool = ToolDefinition(
            name=TOOL["name"],
            description=TOOL["description"],
            parameters_json_schema=TOOL["parameters"],
        )
        given["function_tools"] = [tool]
    if scenario.has_schema:
        given["output_mode"] = "native"
        given["output_object"] = OutputObjectDefinition(
            json_schema=SCHEMA, name="answer", strict=True
        )
    return ModelRequestParameters(**given)


def _message(message: Json) -> Any:
    from pydantic_ai import messages as m

    match message:
        case {"role": "system", "content": text}:
            return m.ModelRequest(parts=[m.SystemPromptPart(text)])
        case {"role": "tool", "tool_call_id": identity, "content": result}:
            returned = m.ToolReturnPart(TOOL["name"], result, tool_call_id=identity)
            return m.ModelRequest(parts=[returned])
        case {"tool_calls": calls}:
            made = [
                m.ToolCallPart(
                    call["function"]["name"],
                    call["function"]["arguments"],
                    tool_call_id=call["id"],
                )
                for call in calls
            ]
            return m.ModelResponse(parts=made)
        case {"content": list(parts)}:
            return m.ModelRequest(parts=[m.UserPromptPart([_content(part) for part in parts])])
        case _:
            return m.ModelRequest(parts=[m.UserPromptPart(message["content"])])


def _content(part: Json) -> Any:
    from pydantic_ai.messages import BinaryContent

    if part["type"] == "text":
        return part["text"]
    kind, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
    return BinaryContent(base64.b64decode(data + "=="), media_type=kind)
