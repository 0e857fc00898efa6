"""
Programs that the vendor's clients trace, each in an environment of its own.

`.ci/run` makes these environments; elsewhere: `python -m venv .clients-1` and
`.clients-1/bin/python -m pip install honeyhive==1.7.0`, likewise
honeyhive-daemon==0.7.5 in .clients-daemon, and `npm install` in a copy of
tests/clients/package.json in .clients-npm.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import known_sessions, stored

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests/clients"
CHAT = [{"role": "user", "content": "Wo ist mein Päckchen?"}]


async def run(program: list[str | Path], **env: str) -> dict[str, Any]:
    """
    Run a program that a client traces; return what it prints last. The client reports no problem.
    """
    process = await asyncio.create_subprocess_exec(
        *program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], **env},
    )
    stdout, stderr = await process.communicate()
    assert (process.returncode, stderr.decode()) == (0, "")
    told: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return told


def python(client: str) -> Path:
    path = ROOT / f".clients-{client}/bin/python"
    if not path.exists():
        pytest.skip(f"needs the client in .clients-{client}")
    return path


async def run_python(url: str) -> dict[str, Any]:
    return await run([python("1"), PROGRAMS / "tracer_1.py", url])


async def run_npm(url: str) -> dict[str, Any]:
    packages = ROOT / ".clients-npm/node_modules"
    node = shutil.which("node")
    if node is None or not packages.exists():
        pytest.skip("needs node and the client in .clients-npm")
    told = await run([node, PROGRAMS / "tracer_npm.js", url], NODE_PATH=str(packages))
    assert told["problems"] == []
    return told


async def shown(collector: Collector, session_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Read a session's properties, and the summaries of its events by name, as the page does.
    """
    async with (
        ClientSession(collector.url) as client,
        client.get(f"/api/sessions/{session_id}") as response,
    ):
        session = await response.json()
    return session["properties"], {event["name"]: event for event in session["events"]}


@pytest.mark.parametrize("run_client", [run_python, run_npm])
async def test_a_traced_program_stands_on_the_page(run_client: Any) -> None:
    """
    Each traced function is an event: its kind, place, arguments, result, error, model and tokens.
    """
    async with Collector() as collector:
        told = await run_client(collector.url)
        properties, rows = await shown(collector, told["session_id"])
        found = {one.event["event_name"]: one.event for one in await stored(collector)}

    assert {name: rows[name]["type"] for name in ("answer", "ask", "find_parcel")} == {
        "answer": "chain",
        "ask": "model",
        "find_parcel": "tool",
    }
    answer, ask, find, call = (
        found[name] for name in ("answer", "ask", "find_parcel", "call_driver")
    )
    assert answer["parent_id"] == told["session_id"]
    assert ask["parent_id"] == call["parent_id"] == answer["event_id"]
    assert find["parent_id"] == ask["event_id"]
    assert ask["inputs"]["chat_history"] == CHAT
    assert ask["outputs"].items() >= {"role": "assistant", "content": "In Bern."}.items()
    assert rows["ask"].items() >= {"model": "gpt-4o", "provider": "openai"}.items()
    assert (rows["ask"]["tokens_in"], rows["ask"]["tokens_out"]) == (3, 4)
    assert (ask["metrics"], ask["feedback"]) == ({"score": 0.5}, {"liked": True})
    assert ask["config"]["temperature"] == 0.2
    arguments = find["inputs"].get("_params_", find["inputs"])  # npm's own name
    assert arguments == {"number": 7, "how": {"deep": [1, {"x": True}]}}
    assert find["outputs"]["result"].items() >= {"place": "Bern", "number": 7}.items()
    assert "no answer" in rows["call_driver"]["error"]
    assert rows["ask"]["error"] is None
    assert answer["duration"] >= ask["duration"] > 0
    assert properties["session_name"] == "support"
    assert properties["metadata"] == {"k": 1}
    assert properties["feedback"] == {"rating": 5}
    assert properties["outputs"] == {"done": True}
    assert properties["user_properties"] == {"user_id": "u1"}


async def test_the_daemon_loses_nothing(tmp_path: Path) -> None:
    """
    A session's start, turns, tool and end are events, and what it adds to them later is there.
    """
    program = [python("daemon"), PROGRAMS / "daemon_0.py"]
    async with Collector() as collector:
        told = await run([*program, collector.url, tmp_path])
        properties, rows = await shown(collector, told["session_id"])
        found = {one.event["event_name"]: one.event for one in await stored(collector)}
        sessions = await known_sessions(collector)

    assert "updated session artifact" in told["log"]
    assert "failed" not in told["log"]
    assert {name: row["type"] for name, row in rows.items()} == {
        "session.start": "session",
        "turn.user": "chain",
        "tool.Bash": "tool",
        "turn.agent": "model",
        "session.end": "chain",
    }
    assert [one.session_id for one in sessions] == [told["session_id"]]
    assert rows["turn.agent"]["model"] == "claude-fable-5"
    assert found["turn.agent"]["inputs"]["chat_history"] == [
        {"role": "user", "content": "Where is my parcel?"}
    ]
    assert found["tool.Bash"]["outputs"] == {"tool_response": {"stdout": "7\n"}}
    assert found["session.end"]["outputs"]["artifact"]["type"] == "transcript"
    assert found["session.start"]["metrics"]["coding_agent.total_tokens"] == 42
    assert properties["metrics"] == found["session.start"]["metrics"]
    assert rows["session.start"]["tokens_in"] == 30
