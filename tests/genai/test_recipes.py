"""
The recipes of instrumented clients run as they stand, and each trace of theirs arrives whole.
"""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define

from hh_exporter._collector import Collector
from tests.genai.server import Answer, Call, ModelServer
from tests.integrations.test_recipes import block
from tests.programs import Program, started
from tests.sites import ROOT, taken

HAS_ALL = all(map(find_spec, ("fastapi", "langchain", "pydantic_ai", "uvicorn")))

STARTUP = 120.0
"""Seconds for a program that imports each client there is, on a busy machine."""

pytestmark = [
    pytest.mark.usefixtures("bare_surroundings"),
    pytest.mark.skipif(not HAS_ALL, reason="needs the environment instrument"),
    pytest.mark.timeout(2 * STARTUP),
]

ANSWER = "The capital is Paris."
WEATHER = Call("call_1", "get_weather", {"city": "Paris"})


@define
class Trace:
    """
    The events of one session, each as a line of the page's tree and as it was sent.
    """

    lines: list[dict[str, Any]]
    events: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        """
        Write it as the page does: each event below its parent.
        """
        return "\n".join(self._below(None, ""))

    def _below(self, parent: str | None, indent: str) -> Iterator[str]:
        for line in sorted(self.lines, key=lambda line: float(line["start"])):
            above = line["parent_id"] if line["parent_id"] in self.events else None
            if above == parent:
                yield f"{indent}{line['type']} {line['name']}"
                yield from self._below(line["event_id"], f"{indent}  ")

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """
        List events in the order in which they began.
        """
        lines = sorted(self.lines, key=lambda line: float(line["start"]))
        return [self.events[line["event_id"]] for line in lines if line["type"] == kind]


@define
class Site:
    """
    The app of a recipe in a process of its own.
    """

    program: Program
    url: str
    collector: Collector

    async def ask(self, question: str) -> str:
        """
        Ask as a visitor does, who waits if it is not up yet.
        """
        timeout = aiohttp.ClientTimeout(total=STARTUP)
        async with (
            aiohttp.ClientSession(self.url, timeout=timeout) as client,
            client.get("/ask", params={"question": question}) as response,
        ):
            text = await response.text()
            assert response.status == 200, text
            return text.strip('"')

    async def stop(self) -> list[Trace]:
        """
        Tell it to end, as a platform does; returns what arrived, a trace for each session.
        """
        self.program.send(signal.SIGTERM)
        done = await self.program.ended()
        assert done.stderr == ""
        stored = [stored.event async for stored in self.collector.events()]
        events = {event["event_id"]: event for event in stored}
        traces = []
        async with aiohttp.ClientSession(self.collector.url) as client:
            for session in dict.fromkeys(event["session_id"] for event in stored):
                async with client.get(f"/api/sessions/{session}") as response:
                    lines = (await response.json())["events"]
                found = [line["event_id"] for line in lines]
                traces.append(Trace(lines, {each: events[each] for each in found}))
        return traces


@asynccontextmanager
async def serving(
    recipe: str, collector: Collector, models: ModelServer, directory: Path
) -> AsyncIterator[Site]:
    """
    Run the recipe with its own command, on a port of this machine.
    """
    (directory / "app.py").write_text(block(recipe, "python"))
    words = shlex.split(block(recipe, "sh"))
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    _, *options = (word for word in words if "=" not in word)
    environ = {
        "ANTHROPIC_API_KEY": "key",
        "ANTHROPIC_BASE_URL": models.url,
        "HH_API_URL": collector.url,
        "OPENAI_API_KEY": "key",
        "OPENAI_BASE_URL": models.openai_url,
        "PYTHONPATH": f"{ROOT}:{directory}",
        **variables,
    }
    with taken(is_open=True) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        uvicorn = ("-m", "uvicorn", *options, "--fd", str(fd), "--log-level", "critical")
        with started(*uvicorn, environ=environ, passes=(fd,)) as program:
            listener.close()
            yield Site(program, f"http://127.0.0.1:{port}", collector)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


@pytest.mark.parametrize("recipe", ["anthropic", "openai", "opentelemetry"])
async def test_each_call_arrives_with_all_that_was_said(
    recipe: str, collector: Collector, models: ModelServer, tmp_path: Path
) -> None:
    """
    One event a call, streamed or whole, and nothing else.
    """
    async with serving(recipe, collector, models, tmp_path) as site:
        for question in ("one?", "two?", "three?"):
            assert await site.ask(question) == ANSWER
        traces = await site.stop()

    asked = []
    for trace in traces:
        [event] = trace.of_type("model")
        assert len(trace.lines) == 1
        [question] = event["messages"]
        asked.append(question["content"])
        assert event["response"]["content"] == ANSWER
        assert event["usage"]["total_tokens"] > 0
        assert "error" not in event
    assert asked == ["one?", "two?", "three?"]


TREES = {
    "langchain": """
chain invoke_agent
  model chat gpt-4o-mini
  tool get_weather
  model chat gpt-4o-mini
""",
    "pydantic-ai": """
chain agent
  model chat gpt-4o-mini
  tool get_weather
  model chat gpt-4o-mini
""",
}


@pytest.mark.parametrize("recipe", TREES)
async def test_each_run_of_an_agent_arrives_as_a_tree(
    recipe: str, collector: Collector, models: ModelServer, tmp_path: Path
) -> None:
    """
    With its tool between two calls, each reported once though its client is captured, too.
    """
    async with serving(recipe, collector, models, tmp_path) as site:
        for question in ("one?", "two?"):
            models.answer(Answer(text=None, calls=(WEATHER,)), Answer())
            assert await site.ask(question) == ANSWER
        traces = await site.stop()

    assert [f"\n{trace}\n" for trace in traces] == [TREES[recipe]] * 2
    for trace, question in zip(traces, ("one?", "two?"), strict=True):
        first, second = trace.of_type("model")
        assert first["messages"][-1]["content"] == question
        [call] = first["response"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"
        assert json.loads(call["function"]["arguments"]) == WEATHER.arguments
        [tool] = trace.of_type("tool")
        assert tool["inputs"] == {"arguments": WEATHER.arguments}
        assert tool["outputs"] == {"result": "It is sunny in Paris."}
        assert second["response"]["content"] == ANSWER
        assert {event["usage"]["total_tokens"] for event in (first, second)} == {1300}
