"""
What `instrument` turns on together: one event a call, whatever the framework around the client.

The clients run in a process of their own: they keep threads and connections for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

import pytest

from hh_exporter.integrations._layers import CLIENTS
from tests.genai.server import Answer, Call, Failure, ModelServer
from tests.programs import run_program
from tests.scripted_server import ScriptedServer

HAS_ALL = all(map(find_spec, ("langchain", "langchain_anthropic", "pydantic_ai", "agents")))

STARTUP = 120.0
"""Seconds for a program that imports each client there is, on a busy machine."""

pytestmark = [
    pytest.mark.usefixtures("bare_surroundings"),
    pytest.mark.skipif(not HAS_ALL, reason="needs the environment instrument"),
    pytest.mark.timeout(2 * STARTUP),
]

PROGRAM = """
import agents, anthropic, openai, pydantic_ai
from google import genai
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from hh_exporter.integrations.genai import instrument

agents.set_trace_processors([])  # it would send its traces to the vendor
CHAT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"
ASKED = [{"role": "user", "content": "How is it in Paris?"}]

def get_weather(city: str) -> str:
    "Tell the weather of a city."
    return "sunny"

async def read(chunks):
    async for _ in chunks:
        pass

async def chat():
    await openai.AsyncOpenAI().chat.completions.create(model=CHAT, messages=ASKED)

async def chat_streamed():
    client, usage = openai.AsyncOpenAI(), {"include_usage": True}
    await read(await client.chat.completions.create(
        model=CHAT, messages=ASKED, stream=True, stream_options=usage))

async def responses():
    await openai.AsyncOpenAI().responses.create(model=CHAT, input="How is it in Paris?")

async def messages():
    await anthropic.AsyncAnthropic().messages.create(model=CLAUDE, max_tokens=9, messages=ASKED)

async def messages_streamed():
    client = anthropic.AsyncAnthropic()
    async with client.messages.stream(model=CLAUDE, max_tokens=9, messages=ASKED) as stream:
        await read(stream)

async def gemini():
    client = genai.Client()  # which closes itself once it is garbage
    await client.aio.models.generate_content(model=GEMINI, contents="How is it in Paris?")

async def openai_agents():
    agent = agents.Agent(name="geo", model=CHAT, tools=[agents.function_tool(get_weather)])
    await agents.Runner.run(agent, "How is it in Paris?")

async def langchain():
    await ChatOpenAI(model=CHAT).ainvoke(ASKED)

async def langchain_streamed():
    await read(ChatOpenAI(model=CHAT).astream(ASKED))

async def langchain_failed():
    try:
        await ChatOpenAI(model=CHAT).ainvoke(ASKED)
    except openai.BadRequestError:
        pass

async def langchain_anthropic():
    await ChatAnthropic(model=CLAUDE).ainvoke(ASKED)

async def langchain_anthropic_streamed():
    await read(ChatAnthropic(model=CLAUDE).astream(ASKED))

async def langchain_agent():
    agent = create_agent(ChatOpenAI(model=CHAT), tools=[tool(get_weather)])
    await agent.ainvoke({"messages": ASKED})

async def pydantic(model):
    agent = pydantic_ai.Agent(model, name="geo", tools=[get_weather])
    await agent.run("How is it in Paris?")

async def pydantic_ai_openai():
    await pydantic("openai-chat:" + CHAT)

async def pydantic_ai_anthropic():
    await pydantic("anthropic:" + CLAUDE)

async def pydantic_ai_google():
    await pydantic("google:" + GEMINI)

async def pydantic_ai_streamed():
    agent = pydantic_ai.Agent("openai-chat:" + CHAT, name="geo")
    async with agent.run_stream("How is it in Paris?") as run:
        await read(run.stream_text())

async def main():
    for name in sys.argv[1:]:
        async with Exporter(project=name) as exporter, instrument(exporter) as tracing:
            assert {layer.state for layer in tracing.layers} == {"on"}, str(tracing)
            await globals()[name]()
    print(tracing)
    async with Exporter(project="afterwards") as exporter, instrument(exporter) as tracing:
        tracing.close()
        for ask in (chat, messages, gemini, langchain, pydantic_ai_openai, openai_agents):
            await ask()
    for name, value in os.environ.items():
        assert "OTEL" not in name, (name, value)

asyncio.run(main())
"""

WEATHER = Call("call_1", "get_weather", {"city": "Paris"})
TOOL = (Answer(text=None, calls=(WEATHER,)), Answer())

ANSWERS: Final[Mapping[str, tuple[Answer | Failure, ...]]] = {
    "langchain_failed": (Failure(400, "not that"),),
    "openai_agents": TOOL,
    "langchain_agent": TOOL,
    "pydantic_ai_openai": TOOL,
    "pydantic_ai_anthropic": TOOL,
    "pydantic_ai_google": TOOL,
}
"""What the models answer in each scenario; by default, one text."""

AGENT: Final = ("chain", "model", "model", "tool")

EXPECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("model",),
    "chat_streamed": ("model",),
    "responses": ("model",),
    "messages": ("model",),
    "messages_streamed": ("model",),
    "gemini": ("model",),
    "openai_agents": ("chain", *AGENT),  # a workflow, and the agent in it
    "langchain": ("model",),
    "langchain_streamed": ("model",),
    "langchain_failed": ("model",),
    "langchain_anthropic": ("model",),
    "langchain_anthropic_streamed": ("model",),
    "langchain_agent": AGENT,
    "pydantic_ai_openai": AGENT,
    "pydantic_ai_anthropic": AGENT,
    "pydantic_ai_google": AGENT,
    "pydantic_ai_streamed": ("chain", "model"),
}
"""The kinds of the events of each scenario."""


async def run() -> tuple[str, list[dict[str, Any]], int]:
    """
    Run all scenarios in one program; returns what it printed, its events, and how many requests
    there were after all was turned off.
    """
    with ModelServer() as models:
        for name in EXPECTED:
            models.answer(*ANSWERS.get(name, (Answer(),)))
        expected = sum(len(ANSWERS.get(name, (Answer(),))) for name in EXPECTED)
        async with ScriptedServer() as server:
            source = f"import sys\nsys.argv[1:] = {list(EXPECTED)}\n{PROGRAM}"
            done = await run_program(
                source,
                server.url,
                ANTHROPIC_API_KEY="key",
                ANTHROPIC_BASE_URL=models.url,
                GEMINI_API_KEY="key",
                GOOGLE_GEMINI_BASE_URL=models.url,
                OPENAI_API_KEY="key",
                OPENAI_BASE_URL=models.openai_url,
            )
            assert done.status == 0, done.stderr
            return done.stdout, list(server.created), len(models.asked) - expected


@pytest.fixture(scope="module")
def result() -> tuple[str, list[dict[str, Any]], int]:
    return asyncio.run(run())


def test_each_client_has_a_layer(result: tuple[str, list[dict[str, Any]], int]) -> None:
    """
    All of them are on at once, each by the first of its ways.
    """
    lines = result[0].splitlines()

    assert len(lines) == len(CLIENTS)
    for line, client in zip(lines, CLIENTS, strict=True):
        way = client.ways[0]
        by = "itself" if way.module == client.module else way.distribution
        assert line.startswith(f"{client.distribution} ")
        assert f": on, by {by}" in line


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_call_is_told_once(scenario: str, result: tuple[str, list[dict[str, Any]], int]) -> None:
    """
    Although the framework and its client are both captured, and all below it is one tree.
    """
    events = [event for event in result[1] if event["project"] == scenario]

    assert sorted(map(kind_of, events)) == sorted(EXPECTED[scenario])
    ids = {event["event_id"] for event in events}
    assert sum(event.get("parent_id") not in ids for event in events) == 1
    assert len({event["session_id"] for event in events}) == 1
    failed = [event["error"] for event in events if "error" in event]
    assert len(failed) == (scenario == "langchain_failed"), failed


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_call_says_all_that_was_said(
    scenario: str, result: tuple[str, list[dict[str, Any]], int]
) -> None:
    """
    The question and the answer are there, without a switch that somebody has to set.
    """
    calls = [
        event for event in result[1] if event["project"] == scenario and kind_of(event) == "model"
    ]

    for call in calls:
        asked = [message["content"] for message in call["messages"] if message["role"] == "user"]
        assert asked == ["How is it in Paris?"]
        if scenario != "langchain_failed":
            assert call["response"].get("content") or call["response"]["tool_calls"]
            # LangChain asks for no usage of OpenAI's streams, and counts no input of Anthropic's.
            assert call["usage"].get("completion_tokens") or scenario == "langchain_streamed"


def test_nothing_is_told_once_it_is_off(result: tuple[str, list[dict[str, Any]], int]) -> None:
    """
    The clients still work, and the environment is as it was.
    """
    _, events, requests = result

    assert requests == 6
    assert {event["project"] for event in events} == EXPECTED.keys()


def kind_of(event: Mapping[str, Any]) -> str:
    return str(event.get("event_type", "model"))


BESIDE = """
import anthropic, openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from hh_exporter.integrations.genai import instrument

ASKED = [{"role": "user", "content": "Hi"}]
own = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(own))
trace.set_tracer_provider(provider)
unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("app")

async def claude():
    client = anthropic.AsyncAnthropic()
    await client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ASKED)

async def chat():
    await openai.AsyncOpenAI().chat.completions.create(model="gpt-4o-mini", messages=ASKED)

async def main():
    async with Exporter(project="global") as exporter, instrument(exporter):
        await claude()
    names = [span.name for span in own.get_finished_spans()]
    assert names == ["anthropic.messages.create"], names

    with unsampled.start_as_current_span("request"):
        async with Exporter(project="unsampled") as exporter, instrument(exporter):
            await chat()

    os.environ["ANTHROPIC_OPEN_TELEMETRY_PROPAGATION"] = "false"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "NO_CONTENT"
    async with Exporter(project="hidden") as exporter, instrument(exporter):
        await claude()

    del os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"]
    client = openai.AsyncOpenAI()
    async with Exporter(project="late") as exporter:
        tracing = instrument(exporter)
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=ASKED, stream=True)
        tracing.close()
        async for _ in stream:
            pass

asyncio.run(main())
"""


async def test_it_keeps_to_itself(models: ModelServer, server: ScriptedServer) -> None:
    """
    The app's own tracer provider gets what it got before, and decides nothing for this one.
    """
    done = await run_program(
        BESIDE,
        server.url,
        ANTHROPIC_API_KEY="key",
        ANTHROPIC_BASE_URL=models.url,
        OPENAI_API_KEY="key",
        OPENAI_BASE_URL=models.openai_url,
    )

    assert done.status == 0, done.stderr
    events = {event["project"]: event for event in server.created}
    assert len(events) == len(server.created) == 4
    for project in ("global", "unsampled", "late"):  # the last one is read after the close
        assert events[project]["messages"] == [{"role": "user", "content": "Hi"}]
        assert events[project]["response"]["content"] == "The capital is Paris."
    assert not events["hidden"]["messages"]
    assert not events["hidden"]["response"].get("content")
    assert events["hidden"]["usage"]["total_tokens"] == 980
    seen = ["traceparent" in asked.headers for asked in models.asked if asked.api == "messages"]
    assert seen == [True, False]
