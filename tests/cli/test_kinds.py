"""
`hh-exporter send` with events of every kind, and with what the collector exports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter._cli._kinds import LineParser
from hh_exporter._collector import Collector
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter.events import Event, ModelEvent
from hh_exporter.exceptions import EventError
from tests.collector_client import (
    EXPORT,
    MANY,
    SESSIONS,
    V1_MANY,
    exported,
    known_sessions,
    model_event,
    post,
    stored,
    v1_event,
)
from tests.command import Finished, run

OTHERS = "/events/batch"
SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
TRACES = "/opentelemetry/v1/traces"
SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "name": "search",
    "startTimeUnixNano": "1796037000000000000",
    "endTimeUnixNano": "1796037001000000000",
}
DIALECTS = ["legacy", "v1"]
BEGIN = 1_796_037_000_000


def parse(value: Any) -> ModelEvent | Event:
    [event] = parse_all(value)
    return event


def parse_all(*values: Any) -> list[ModelEvent | Event]:
    """
    Parse lines of one run, without those that are skipped.
    """
    parser = LineParser()
    events = [parser.parse(orjson.dumps(value)) for value in values]
    return [event for event in events if event is not None]


def event_line(event: Any, event_id: str = "e", session_id: str = "s") -> dict[str, Any]:
    ids = {"event_id": event_id, "session_id": session_id}
    return {"event": event, **ids, "path": OTHERS, "time": BEGIN}


def session_line(properties: Any, session_id: str = SESSION) -> dict[str, Any]:
    return {"session_id": session_id, "properties": properties, "time": BEGIN}


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

    with pytest.raises(EventError) as raised:
        parse(event_line(line))
    assert str(raised.value).startswith(f"event.{problem}")


def test_an_export_without_an_event_is_named() -> None:
    """
    Whatever stands there instead.
    """
    with pytest.raises(EventError, match=r"^event: must be an object$"):
        parse(event_line(1))


@pytest.mark.parametrize("session", [{}, {"session_id": SESSION}])
def test_a_session_that_says_nothing_is_skipped(session: dict[str, Any]) -> None:
    """
    Its events name it.
    """
    assert parse_all(session_line(session)) == []


def test_a_session_is_an_event_of_its_own() -> None:
    """
    With all that is said of it; it is as long as it says, and began when it was first seen.
    """
    said = {"session_name": "n", "feedback": {"rating": 5}, "odd": 1, "config": None}
    ids: dict[str, Any] = {"event_id": SESSION, "session_id": SESSION}

    assert parse(session_line(said)) == Event(
        event_type="session",
        event_name="n",
        feedback={"rating": 5},
        extra={"odd": 1},
        end_time=BEGIN,
        **ids,
    )
    times: dict[str, Any] = {"start_time": BEGIN - 9, "duration": 2}
    assert parse(session_line(times)) == Event(event_type="session", **ids, **times)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_session_is_sent_once(is_first: bool) -> None:
    """
    The export of events may have it, too, ahead of that of sessions or after it.
    """
    event = event_line({"event_type": "session", "event_name": "n"}, SESSION, SESSION)
    session = session_line({"session_name": "n"})
    tool = event_line({"event_type": "tool"}, "t", SESSION)
    lines = [event, session] if is_first else [session, event]

    kinds = [
        (one.event_type, one.event_id)
        for one in parse_all(*lines, tool, session, event)
        if isinstance(one, Event)
    ]

    assert kinds == [("session", SESSION), ("tool", "t")]


def test_a_session_keeps_what_it_is_by_its_uuid() -> None:
    """
    The exporter sends a session that a program named itself under a UUID: so must its event be.
    """
    uuid = to_session_uuid("chat 7")

    event = parse(event_line({"event_type": "session"}, "chat 7", "chat 7"))
    session = parse(session_line({"session_name": "n"}, "chat 7"))

    assert (event.event_id, event.session_id) == (uuid, "chat 7")
    assert (session.event_id, session.session_id) == (uuid, "chat 7")


def test_what_has_no_times_ended_when_it_arrived() -> None:
    """
    The first time: not when it is sent again. What it has itself stays.
    """
    times: list[tuple[dict[str, int], int | None]] = [
        ({}, BEGIN),
        ({"duration": 5}, BEGIN),
        ({"start_time": 1}, BEGIN),
        ({"start_time": 1, "duration": 5}, None),
        ({"end_time": 7}, 7),
    ]

    for said, end in times:
        assert parse(event_line({"model": "m", **said})).end_time == end


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ([], "properties: must be an object"),
        ({"session_name": 1}, "properties.session_name: must be a string"),
        ({"metadata": [1]}, "properties.metadata: must be an object"),
    ],
)
def test_what_is_wrong_with_a_session_is_named(line: Any, problem: str) -> None:
    """
    By the property.
    """
    with pytest.raises(EventError) as raised:
        parse(session_line(line))
    assert str(raised.value) == problem


def test_an_event_may_have_keys_of_an_export() -> None:
    """
    One that is complete without them is what it says; what is neither is told so.
    """
    own = {"event": {"model": "x"}, "properties": {}, "path": "p", "time": 1}
    assert parse({"model": "m", **own}) == ModelEvent(model="m", extra=own)
    assert parse({"event_type": "tool", **own}) == Event(event_type="tool", extra=own)

    for body in ({"event": {"event_type": "tool"}}, {"session_id": "s", "properties": {}}):
        with pytest.raises(EventError, match="neither an event nor a whole line of the coll"):
            parse(body)


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


@pytest.mark.parametrize("order", [("events", "sessions"), ("sessions", "events")])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_both_exports_make_the_same_collector(
    tmp_path: Path, dialect: str, order: tuple[str, ...]
) -> None:
    """
    Whatever the routes were: events, sessions with all that is said of them, and feedback.
    """
    lone = "0b9bbbb6-9a3c-4b0c-8a0b-6a4b5a6f2f11"
    rated = {"feedback": {"rating": 1, "note": "no"}}
    async with Collector() as first, ClientSession(first.url) as client:
        session = {"session_id": SESSION, "session_name": "chat", "user_properties": {"id": "u"}}
        body = {"is_single_session": True, "session_properties": session}
        await post(first, MANY, {"model_events": [model_event(event_id="m")], **body})
        await post(first, V1_MANY, {"events": [v1_event(event_id="v", event_name="v")]})
        root = v1_event(event_type="session", event_name="root", session_id=lone, event_id=lone)
        await post(first, V1_MANY, {"events": [root]})
        await post(first, TRACES, {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]})
        for event_id in ("m", SESSION, lone):
            async with client.put("/events", json={"event_id": event_id, **rated}) as response:
                assert response.status == 200
        (tmp_path / "events").write_bytes(b"".join(await exported(first)))
        (tmp_path / "sessions").write_bytes(b"".join(await exported(first, SESSIONS)))
        before = {one.event_id: one for one in await stored(first)}
        known = {one.session_id: one.properties for one in await known_sessions(first)}

    async with Collector() as second:
        files = [str(tmp_path / name) for name in order]
        finished = await run("send", *files, "--url", second.url, "--dialect", dialect, "--json")
        after = {one.event_id: one for one in await stored(second)}
        told = {one.session_id: one.properties for one in await known_sessions(second)}
        count = await second.count()

    assert (finished.status, finished.stderr) == (0, "")
    assert orjson.loads(finished.stdout)["skipped"] == 3
    assert after.keys() == before.keys() | {SESSION}  # which is an event now, as in the API
    assert count == len(after)
    assert told.keys() == known.keys()
    for event_id, one in before.items():
        again = after[event_id]
        assert (again.session_id, again.event.get("event_type", "model")) == (
            one.session_id,
            one.event.get("event_type", "model"),
        )
        assert again.event.get("feedback") == one.event.get("feedback")
    for session_id, said in known.items():
        assert told[session_id] | said == told[session_id]


async def test_a_filtered_export_is_taken_too(tmp_path: Path) -> None:
    """
    What was bad goes to another collector, and nothing else.
    """
    events = [
        model_event(event_id=f"e{rating}", feedback={"rating": rating}) for rating in range(1, 6)
    ]
    async with Collector() as first, Collector() as second:
        await post(first, MANY, {"model_events": events})
        lines = await exported(first, f"{EXPORT}?filter=feedback.rating%3C3")
        (tmp_path / "bad").write_bytes(b"".join(lines))

        finished = await send(second, "legacy", tmp_path / "bad")
        arrived = await stored(second)

    assert (finished.status, finished.stderr) == (0, "")
    assert {one.event_id for one in arrived} == {"e1", "e2"}
    assert {one.event["feedback"]["rating"] for one in arrived} == {1, 2}
