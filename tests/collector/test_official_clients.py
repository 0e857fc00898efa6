"""
The vendor's own Python clients, each in an environment of its own, pointed at the collector.

`.ci/run` makes these environments; elsewhere: `python -m venv .clients-0` and
`.clients-0/bin/python -m pip install honeyhive==0.2.57`, likewise 1.7.0 in .clients-1.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import known_sessions, stored

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "wire/golden"


async def say_again(version: int, url: str) -> dict[str, Any]:
    """
    Make the recorded calls with the client of *version*; return what it made of each answer.
    """
    python = ROOT / f".clients-{version}/bin/python"
    if not python.exists():
        pytest.skip(f"needs the client honeyhive {version}.x")
    program = Path(__file__).parents[1] / f"clients/python_{version}.py"
    process = await asyncio.create_subprocess_exec(
        *(python, program, url, GOLDEN),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": "/nonexistent", "TRACELOOP_TELEMETRY": "false"},
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    seen: dict[str, Any] = json.loads(stdout)
    return seen


def recorded(client: str) -> dict[str, Any]:
    return {
        path.stem: json.loads(path.read_text())["body"] for path in GOLDEN.glob(f"{client}*.json")
    }


def events_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    many = body.get("model_events") or body.get("events")
    return many or [body.get("model_event") or body.get("event") or body]


@pytest.mark.parametrize(("version", "client"), [(0, "python-0.x"), (1, "python-1.x")])
async def test_each_recorded_call_succeeds(version: int, client: str) -> None:
    """
    The client takes each answer for success, and each event that it sent is there, under its id.
    """
    bodies = recorded(client)
    async with Collector() as collector:
        seen = await say_again(version, collector.url)

        events = {found.event_id: found.event for found in await stored(collector)}
        sessions = {found.session_id: found.properties for found in await known_sessions(collector)}
    added = seen.pop("session_events", {"success": True})
    assert added == {"success": True}
    if version:
        assert seen.pop("later") == {"name": "first", "status": "completed"}
        assert events.pop("traced")["metadata"] == {"old": True, "new": True}
    assert seen.keys() == bodies.keys()
    assert len(seen) == {0: 7, 1: 21}[version]
    for case, body in bodies.items():
        answer = seen[case]
        if case.endswith(".session"):
            said = body.get("session", body)
            assert answer["session_id"] == said["session_id"]
            assert sessions[said["session_id"]].items() >= said.items()
        else:
            assert answer["success"] is True
            ids = answer.get("event_ids") or [answer["event_id"]]
            assert [events.pop(event_id) for event_id in ids] == events_in(body)
    # What is left came by the route whose answer names no event.
    assert len(events) == {0: 0, 1: 3}[version]
