"""
The client of OpenAI, as langfuse wraps it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from attrs import frozen

from tests.genai.clients.openai import ChatClient, ResponsesClient
from tests.genai.server import ModelServer

__all__ = ["LangfuseChat", "LangfuseResponses"]


@frozen
class _Langfuse:
    provider: Any
    """Whose tracers it uses."""

    @contextmanager
    def opened(self, models: ModelServer) -> Iterator[Any]:
        from langfuse.openai import openai

        client = self._langfuse(models)
        with openai.OpenAI(base_url=models.openai_url, api_key="none") as wrapped:
            yield wrapped
        client.flush()

    @asynccontextmanager
    async def opened_async(self, models: ModelServer) -> AsyncIterator[Any]:
        from langfuse.openai import openai

        client = self._langfuse(models)
        async with openai.AsyncOpenAI(base_url=models.openai_url, api_key="none") as wrapped:
            yield wrapped
        client.flush()

    def _langfuse(self, models: ModelServer) -> Any:
        from langfuse import Langfuse
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        # There is one of each key, and its own spans would be sent to the first server for good.
        return Langfuse(
            public_key="pk-none",
            secret_key="sk-none",
            base_url=models.url,
            tracer_provider=self.provider,
            span_exporter=InMemorySpanExporter(),
        )


class LangfuseChat(_Langfuse, ChatClient):
    """
    Chat Completions.
    """


class LangfuseResponses(_Langfuse, ResponsesClient):
    """
    Responses.
    """
