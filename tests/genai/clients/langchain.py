"""
LangChain's models, of the clients of OpenAI and Anthropic.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen

from tests.genai.clients.client import Direct
from tests.genai.scenarios import MAX_TOKENS, MODELS, SCHEMA, TEMPERATURE, TOOL, Scenario
from tests.genai.server import ModelServer

__all__ = ["LangChain"]

Json: TypeAlias = dict[str, Any]


@frozen
class LangChain(Direct):
    """
    A chat model, asked directly.
    """

    api: str

    def ask(self, opened: ModelServer, scenario: Scenario) -> Any:
        model = self._model(opened, scenario)
        if scenario.has_tools:
            model = model.bind_tools([{"type": "function", "function": TOOL}])
        if scenario.has_schema:
            model = model.with_structured_output(
                {"title": "answer", **SCHEMA}, method="json_schema"
            )
        name = "stream" if scenario.streams else "invoke"
        messages = [{"content": "", **message} for message in scenario.messages]
        return getattr(model, f"a{name}" if scenario.is_async else name)(messages)

    def _model(self, models: ModelServer, scenario: Scenario) -> Any:
        given: Json = {"model": MODELS[self.api], "api_key": "none", "max_tokens": MAX_TOKENS}
        if self.api == "messages":
            from langchain_anthropic import ChatAnthropic

            if scenario.thinks:
                given["thinking"] = {"type": "adaptive"}
            return ChatAnthropic(base_url=models.url, **given)
        from langchain_openai import ChatOpenAI

        if scenario.thinks:
            given["reasoning"] = {"effort": "low", "summary": "auto"}
        else:
            given["temperature"] = TEMPERATURE
        responses = self.api == "responses"
        return ChatOpenAI(
            base_url=models.openai_url,
            use_responses_api=responses,
            stream_usage=scenario.wants_usage,
            **given,
        )
