"""
docs/migrating.md runs as it stands, and what it calls the same is the same.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from hh_exporter import ModelEvent
from hh_exporter._collector import Collector
from tests.collector_client import known_sessions, stored
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/migrating.md").read_text()
FILES = {name: text for text, name in re.findall(r"```python\n(# (\S+)\n.*?)```", PAGE, re.DOTALL)}
TABLE = PAGE.split("## Fields of an event")[1].split("##")[0]
ROWS = [
    (re.findall(r"`(\w+)`", theirs), re.findall(r"`(\w+)`", ours))
    for theirs, ours in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", TABLE, re.MULTILINE)
][2:]
STAMPS = {"event_id", "session_id", "start_time", "end_time"}
"""What our event has that the client leaves to the server."""

THEIR_FIELDS = """
from honeyhive.models import components
print(*components.CreateModelEvent.model_fields)
"""


def their_python() -> Path:
    python = ROOT / ".clients-0/bin/python"
    if not python.exists():
        pytest.skip("needs the client honeyhive 0.x")
    return python


async def run(python: str | Path, source: str, url: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        *(python, "-c", source),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "HOME": "/nonexistent",
            "HH_API_KEY": "hh_test_key",
            "HH_API_URL": url,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TRACELOOP_TELEMETRY": "false",
        },
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


async def sent(python: str | Path, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Run a program of the page; return the one event and the one session that it sends.
    """
    async with Collector() as collector:
        await run(python, source, collector.url)
        [event] = await stored(collector)
        [session] = await known_sessions(collector)
    assert event.session_id == session.session_id
    return event.event, session.properties


async def test_both_programs_send_the_same() -> None:
    """
    Ours adds ids and times to what the client sends, and nothing else.
    """
    before, their_session = await sent(their_python(), FILES["before.py"])
    after, our_session = await sent(sys.executable, FILES["after.py"])

    assert {k: v for k, v in after.items() if k not in STAMPS} == {
        k: v for k, v in before.items() if k not in STAMPS
    }
    assert after.keys() >= STAMPS
    assert our_session["session_name"] == their_session["session_name"] == "support chat"


async def test_the_clients_fields_are_those_of_the_table() -> None:
    """
    Each field of its CreateModelEvent has a row, and each row with a name is one of them.
    """
    fields = (await run(their_python(), THEIR_FIELDS)).split()

    assert sorted(name for theirs, _ in ROWS for name in theirs) == sorted(fields)


def test_our_fields_are_those_of_the_table() -> None:
    """
    Each field of ModelEvent has its place, and those that both have keep their names.
    """
    named = [name for _, ours in ROWS for name in ours]

    assert sorted(named) == sorted(field.name for field in attrs.fields(ModelEvent))
    assert all(theirs in ([], ours) for theirs, ours in ROWS)


async def test_an_event_tells_the_span_that_it_was_made_in(
    server: ScriptedServer, make_exporter: MakeExporter
) -> None:
    """
    The ids in its metadata are those of the current span.
    """
    namespace: dict[str, Any] = {}
    exec(FILES["traced.py"], namespace)
    exporter = await make_exporter()
    span = TracerProvider().get_tracer("app").start_span("a request")
    with trace.use_span(span, end_on_exit=True):
        namespace["answer"](exporter, "Where is my parcel?")
    await exporter.flush()

    [event] = server.created
    context = span.get_span_context()
    assert int(event["metadata"]["trace_id"], 16) == context.trace_id
    assert int(event["metadata"]["span_id"], 16) == context.span_id


def test_no_example_goes_untested() -> None:
    """
    Every Python block of the page is one of the above.
    """
    assert PAGE.count("```python") == len(FILES) == 3
