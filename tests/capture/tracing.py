"""
A tracer whose spans an exporter captures, and spans as instrumentations make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import define, field
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Span

from hh_exporter import Exporter
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter.integrations.genai import ModelEvents
from tests.scripted_server import ScriptedServer

__all__ = ["AGENT", "CALL", "OUTSIDE", "TOOL", "Traced", "call"]

AGENT = {"gen_ai.operation.name": "invoke_agent"}
TOOL = {"gen_ai.operation.name": "execute_tool"}
CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
OUTSIDE: dict[str, Any] = {"http.request.method": "POST"}
"""Attributes of a span that is no step."""


def call(response_id: str | None = None, **more: Any) -> dict[str, Any]:
    """
    Make the attributes of a call's span, with an answer of that id.
    """
    attributes = {**CALL, **{name.replace("__", "."): value for name, value in more.items()}}
    if response_id is not None:
        attributes["gen_ai.response.id"] = response_id
    return attributes


@define(eq=False)
class Traced:
    """
    A provider of tracers, and the processor that pushes what they trace.
    """

    exporter: Exporter
    only: Any = None
    sampler: Sampler = ALWAYS_ON
    events: ModelEvents = field(init=False)
    provider: TracerProvider = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.events = ModelEvents(self.exporter, only=self.only)
        self.provider = TracerProvider(sampler=self.sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(self.events)

    def start(
        self,
        name: str,
        attributes: Mapping[str, Any] = CALL,
        parent: Span | None = None,
        *,
        by: str = "opentelemetry.instrumentation.genai.openai",
    ) -> Span:
        """
        Start a span, inside the current one unless it has another *parent*.
        """
        context = None if parent is None else trace.set_span_in_context(parent, Context())
        return self.provider.get_tracer(by).start_span(name, context, attributes=attributes)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any] = CALL, **more: Any) -> Iterator[Span]:
        """
        Have a span that is the current one within the block.
        """
        with trace.use_span(self.start(name, attributes, **more), end_on_exit=True) as span:
            yield span

    def end(self, *names: str, attributes: Mapping[str, Any] = CALL, **more: Any) -> None:
        """
        Make spans that have ended.
        """
        for name in names:
            self.start(name, attributes, **more).end()

    async def sent(self, server: ScriptedServer) -> dict[str, Any]:
        """
        Flush, and return all events that the server has, by the names of their spans.
        """
        await self.exporter.flush()
        names = [event["event_name"] for event in server.created]
        assert len(names) == len(set(names)), names
        ids = server.created_ids
        assert len(ids) == len(set(ids)), ids
        return {event["event_name"]: event for event in server.created}

    async def sessions(self, server: ScriptedServer, *known: str) -> dict[str, str]:
        """
        Flush, and return the session of each event by its name, as the program named it.
        """
        by_id = {to_session_uuid(name): name for name in known}
        events = await self.sent(server)
        ids = {name: event["session_id"] for name, event in events.items()}
        return {name: by_id.get(each, each) for name, each in ids.items()}

    async def tree(self, server: ScriptedServer) -> dict[str, str | None]:
        """
        Flush, and return the name of each event's parent, by its own.
        """
        events = await self.sent(server)
        by_id = {event["event_id"]: name for name, event in events.items()}
        parents = {name: event.get("parent_id") for name, event in events.items()}
        return {name: None if p is None else by_id[p] for name, p in parents.items()}
