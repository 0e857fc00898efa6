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

TRACERS_OWN = {"trace_id", "span_id", "scope", "event_type", "event_name"}
"""What the tracer repeats in the metadata of each event."""
OPTIONS = PAGE.split("### The tracer's options")[1].split("\n## ")[0]

THEIR_OPTIONS = """
from honeyhive.config.models import tracer as of
for config in (of.TracerConfig, of.SessionConfig, of.EvaluationConfig):
    print(*config.model_fields)
"""
THEIR_FIELDS = """
from honeyhive.models import components
print(*components.CreateModelEvent.model_fields)
"""


def their_python(major: int = 0) -> Path:
    python = ROOT / f".clients-{major}/bin/python"
    if not python.exists():
        pytest.skip(f"needs the client honeyhive {major}.x")
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


async def traced(python: str | Path, source: str) -> list[dict[str, Any]]:
    """
    Run a program of the page; return its events as they are read, ids replaced by names.
    """
    async with Collector() as collector:
        await run(python, source, collector.url)
        events = [one.event for one in await stored(collector)]
        sessions = {one.session_id: one.properties for one in await known_sessions(collector)}
    names = {event["event_id"]: event["event_name"] for event in events}
    names |= dict.fromkeys(sessions)  # a session is no step
    told = []
    for event in events:
        metadata = event.get("metadata", {})
        session = sessions[event["session_id"]]
        told.append(
            {
                "name": event["event_name"],
                "type": event["event_type"],
                "parent": names[event.get("parent_id", event["session_id"])],
                "session": session["session_name"],
                **{key: event[key] for key in ("inputs", "outputs")},
                "feedback": event.get("feedback", {}),
                "metrics": event.get("metrics", {}),
                "metadata": {k: v for k, v in metadata.items() if k not in TRACERS_OWN},
                "of_session": {k: session.get(k, {}) for k in ("user_properties", "metadata")},
            }
        )
    return told


def an_event(name: str, /, **changes: Any) -> dict[str, Any]:
    """
    Say of an event of the page what both tell of it.
    """
    return {
        "name": name,
        "type": "chain",
        "parent": None,
        "session": "support chat",
        "inputs": {"question": "Where is my parcel?"},
        "outputs": {"result": "On its way."},
        "feedback": {},
        "metrics": {},
        "metadata": {},
        "of_session": {"user_properties": {}, "metadata": {}},
        **changes,
    }


SEARCH = an_event(
    "search",
    type="tool",
    inputs={"q": "parcels"},
    outputs={"result": ["a page about parcels"]},
)
OF_A_PRO = {"user_properties": {"plan": "pro"}, "metadata": {}}
TOLD = {
    "nested": [
        {**SEARCH, "parent": "answer"},
        an_event(
            "answer",
            inputs={"question": "parcels"},
            outputs={"result": "See a page about parcels."},
        ),
    ],
    "enrich": [{**SEARCH, "metadata": {"index": "pages-7"}, "metrics": {"hits": 1}}],
    "session": [an_event("answer", of_session={**OF_A_PRO, "metadata": {"solved": True}})],
    "feedback": [an_event("answer", feedback={"rating": 5})],
    "sessions": [
        an_event("answer", session="first chat", of_session=OF_A_PRO),
        an_event("answer", session="second chat", inputs={"question": "Where is my bill?"}),
        an_event(
            "answer", session="first chat", of_session=OF_A_PRO, inputs={"question": "And now?"}
        ),
    ],
}
"""What both programs of a pattern send, in the order in which it ends."""


@pytest.mark.parametrize("pattern", TOLD)
async def test_our_programs_send_the_trees_of_the_patterns(pattern: str) -> None:
    """
    Names, types, parents, sessions, inputs, outputs and what was added later.
    """
    assert await traced(sys.executable, FILES[f"{pattern}_after.py"]) == TOLD[pattern]


@pytest.mark.parametrize("pattern", TOLD)
async def test_the_tracers_programs_send_the_same_trees(pattern: str) -> None:
    """
    The tracer's program of each pattern is read as ours is.
    """
    told = await traced(their_python(1), FILES[f"{pattern}_before.py"])

    assert told == TOLD[pattern]


async def test_the_tracers_options_are_those_of_the_table() -> None:
    """
    Each option has one row, and each row is of options.
    """
    options = (await run(their_python(1), THEIR_OPTIONS)).split()
    rows = re.findall(r"^\| (`.*?) \|", OPTIONS, re.MULTILINE)

    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(set(options))


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
    pairs = {f"{pattern}_{side}.py" for pattern in TOLD for side in ("before", "after")}

    assert PAGE.count("```python") == len(FILES)
    assert FILES.keys() == {"before.py", "after.py", "traced.py"} | pairs
