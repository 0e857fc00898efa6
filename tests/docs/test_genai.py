"""
docs/genai.md runs as it stands.
"""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider

from hh_exporter import Exporter
from tests.docs.pages import PAGES, examples, run
from tests.scripted_server import ScriptedServer

[WATCH] = examples(PAGES["genai"])


async def test_a_span_of_a_call_becomes_an_event(server: ScriptedServer) -> None:
    """
    As it says, by one added line.
    """
    provider = TracerProvider(shutdown_on_exit=False)
    async with Exporter("key", base_url=server.url) as exporter:
        run(WATCH)["watch"](provider, exporter)
        asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
        provider.get_tracer("docs").start_span("chat", attributes=asked).end()
        await exporter.flush()

    [request] = server.requests
    [event] = request.events
    assert event["model"] == "gpt-4o"
