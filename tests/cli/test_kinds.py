"""
`hh-exporter send` with events of every kind, and with what the collector exports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from hh_exporter._cli._kinds import LineParser
from hh_exporter._collector import Collector
from hh_exporter.events import Event, ModelEvent
from hh_exporter.exceptions import EventError
from tests.collector_client import MANY, V1_MANY, exported, model_event, post, stored, v1_event
from tests.command import Finished, run

OTHERS = "/events/batch"
SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
DIALECTS = ["legacy", "v1"]
BEGIN = 1_796_037_000_000


def parse(value: Any) -> ModelEvent | Event:
    return LineParser().parse(orjson.dumps(value))


async def send(collector: Collector, dialect: str, path: Path) -> Finished:
    return await run("send", str(path), "--url", collector.url, "--dialect", dialect)


def test_a_line_says_its_kind() -> None:
    """
    With an `event_type` it is an Event; null is not set; other keys are kept.
    """
    tool = {"event_type": "tool", "event_name": "search", "error": None, "odd": [1]}

    assert parse(tool) == Event(event_type="tool", event_name="search", extra={"odd": [1]})
    assert parse({"event_type": None, "model": "m"}) == ModelEvent(model="m")


def test_a_model_event_may_be_either() -> None:
    """
    It is a ModelEvent where it has a `model` of its own, as before there were other kinds.
    """
    own = parse({"event_type": "model", "model": "m"})
    plain = parse({"event_type": "model", "config": {"model": "m"}})

    assert own == ModelEvent(model="m", extra={"event_type": "model"})
    assert plain == Event(event_type="model", config={"model": "m"})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"event_type": "tools"}, "event_type: must be model, tool, chain or session"),
        ({"event_type": ["tool"]}, "event_type: must be model, tool, chain or session"),
        ({"event_type": "tool", "duration": "1"}, "duration: must be a number"),
        ({"event_type": "tool", "inputs": []}, "inputs: must be an object"),
        ({"event_type": "chain", "children_ids": "a"}, "children_ids: must be an array"),
    ],
)
def test_what_is_wrong_is_named(line: dict[str, Any], problem: str) -> None:
    """
    By the field as the line has it, also within a line of an export.
    """
    with pytest.raises(EventError) as raised:
        parse(line)
    assert str(raised.value).startswith(problem)

    export = {"event": line, "event_id": "e", "session_id": "s", "path": OTHERS, "time": 1}
    with pytest.raises(EventError) as raised:
        parse(export)
    assert str(raised.value).startswith(f"event.{problem}")


def test_an_export_without_an_event_is_named() -> None:
    """
    Whatever stands there instead.
    """
    with pytest.raises(EventError, match=r"^event: must be an object$"):
        parse({"event": 1, "event_id": "e", "session_id": "s", "path": OTHERS, "time": 1})


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_each_kind_goes_its_way(tmp_path: Path, dialect: str) -> None:
    """
    Model events and others share a file, not a route where the dialect has two.
    """
    kinds = [
        {"model": "m"},
        {"event_type": "session", "event_id": SESSION, "session_id": SESSION},
        {"event_type": "chain", "event_name": "answer", "inputs": {"q": "x"}},
        {"event_type": "tool", "event_name": "search", "outputs": {"hits": [1]}},
    ]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, kinds)))
    async with Collector() as collector:
        finished = await send(collector, dialect, file)
        arrived = await stored(collector)

    assert (finished.status, finished.stderr) == (0, "")
    paths = {one.event.get("event_type", "model"): one.path for one in arrived}
    main, others = (MANY, OTHERS) if dialect == "legacy" else (V1_MANY, V1_MANY)
    assert paths == {"model": main, "session": others, "chain": others, "tool": others}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_export_is_taken_back(tmp_path: Path, dialect: str) -> None:
    """
    What one collector exports arrives at another as it was, under the same ids.
    """
    times = {"start_time": BEGIN, "end_time": BEGIN + 2.5, "duration": 2, "event_name": "n"}
    steps = [
        {"event_type": kind, "inputs": {"q": kind}, "parent_id": "up", "metrics": {"m": 1}, **times}
        for kind in ("tool", "chain")
    ]
    steps.append({"event_type": "session", "session_id": SESSION, "inputs": {}, **times})
    async with Collector() as first:
        if dialect == "v1":
            await post(first, V1_MANY, {"events": [v1_event(**times), *steps]})
        else:
            await post(first, MANY, {"model_events": [model_event(**times)]})
            required = {"project": "p", "source": "dev", "config": {}}
            events = [{**required, **step} for step in steps]
            await post(first, OTHERS, {"events": events})
        file = tmp_path / "export.jsonl"
        file.write_bytes(b"".join(await exported(first)))
        before = {one.event_id: one for one in await stored(first)}

    async with Collector() as second:
        finished = await send(second, dialect, file)
        after = {one.event_id: one for one in await stored(second)}

    assert (finished.status, finished.stderr) == (0, "")
    assert len(before) == 4
    assert after.keys() == before.keys()
    for event_id, one in after.items():
        known = before[event_id]
        ids = {"event_id": event_id, "session_id": known.session_id}
        assert one.event == {**ids, **known.event}
        assert (one.session_id, one.path) == (known.session_id, known.path)
