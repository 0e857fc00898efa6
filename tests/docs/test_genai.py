"""
docs/genai.md runs as it stands.
"""

from __future__ import annotations

import re

import pytest
from opentelemetry.sdk.trace import TracerProvider

from hh_exporter import Exporter
from hh_exporter.integrations._layers import CLIENTS, Layer
from tests.docs.pages import PAGES, examples, run
from tests.genai.support import tables
from tests.scripted_server import ScriptedServer

[CAPTURE, WATCH, SUPPORT] = examples(PAGES["genai"])


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


async def test_it_says_what_is_captured(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A line for each client that is installed.
    """
    async with Exporter("key", base_url=server.url) as exporter:
        run(CAPTURE)["capture"](exporter)

    assert capsys.readouterr().out


def test_the_lines_that_it_prints_are_of_its_form() -> None:
    """
    Those on the page are made of what is there, in the code's own words.
    """
    [lines] = examples(PAGES["genai"], "text")
    on, off = lines.splitlines()
    client, version, by = re.findall(r"([\w-]+) (\S+): on, by (.*)", on)[0]
    assert str(Layer(client=client, version=version, state="on", by=by)) == on
    client, version, reason = re.findall(r"([\w-]+) (\S+): off, (.*)", off)[0]
    assert str(Layer(client=client, version=version, state="off", reason=reason)) == off


def test_the_table_lists_each_client_with_all_that_captures_it() -> None:
    """
    In the order in which they are tried.
    """
    rows = re.findall(r"^\| ([\w-]+) \| (.*) \|$", PAGES["genai"], re.MULTILINE)
    table = {
        client: re.findall(r"`((?:opentelemetry|openinference)-.*?)`", ways)
        for client, ways in rows
    }
    for client in CLIENTS:
        ways = [way.distribution for way in client.ways if way.module != client.module]
        assert table[client.distribution] == ways


async def test_a_block_is_the_session_of_what_is_called_inside(server: ScriptedServer) -> None:
    """
    As it says, also in the tasks and functions that are called there.
    """
    provider = TracerProvider(shutdown_on_exit=False)
    async with Exporter("key", base_url=server.url, dialect="v1") as exporter:
        run(WATCH)["watch"](provider, exporter)

        async def answer(question: str) -> str:
            asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": question}
            provider.get_tracer("docs").start_span("chat", attributes=asked).end()
            return question

        assert await run(SUPPORT)["support"](exporter, answer) == "Hi"
        await exporter.flush()

    events = [event for request in server.requests for event in request.events]
    [session] = [event for event in events if event["event_type"] == "session"]
    [call] = [event for event in events if event["event_type"] == "model"]
    assert session["event_name"] == "support chat"
    assert call["session_id"] == session["session_id"]


def test_the_tables_of_support_are_what_the_tests_check() -> None:
    """
    `python -m tests.genai.support` writes them.
    """
    assert f"\n\n{tables()}\n\n" in PAGES["genai"]
