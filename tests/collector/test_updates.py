"""
PUT /events and PUT /v1/events/{event_id}: what is said of an event after it was sent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from hh_exporter._collector.storage.summary import short
from tests.collector_client import (
    V1_ONE,
    exported,
    known_sessions,
    model_event,
    post,
    refusal,
    stored,
    v1_event,
)

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def put(
    collector: Collector, event_id: str, said: dict[str, Any], *, v1: bool = False
) -> tuple[int, dict[str, Any]]:
    """
    Update an event by either route; return status and JSON answer.
    """
    path = f"/v1/events/{event_id}" if v1 else "/events"
    body = said if v1 else {"event_id": event_id, **said}
    async with ClientSession(collector.url) as client, client.put(path, json=body) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def get(collector: Collector, path: str) -> Any:
    async with ClientSession(collector.url) as client, client.get(f"/api/{path}") as response:
        assert response.status == 200
        return await response.json()


@pytest.mark.parametrize("v1", [False, True])
class TestBoth:
    """
    Either route.
    """

    async def test_an_event_is_added_to(self, collector: Collector, v1: bool) -> None:
        """
        Objects are merged key by key, outputs and duration are replaced, the rest is ignored.
        """
        event = v1_event(
            event_id="e", metadata={"a": 1, "b": {"x": 1}}, outputs={"old": 1}, duration=5
        )
        await post(collector, V1_ONE, event)
        said = {
            "metadata": {"b": {"y": 2}, "c": 3},
            "feedback": {"liked": True},
            "metrics": {"score": 0.5},
            "config": {"model": "gpt-4o"},
            "user_properties": {"user_id": "u"},
            "outputs": {"new": 2},
            "duration": 7.5,
            "inputs": {"ignored": True},
            "event_name": "ignored",
            "end_time": 0,
        }

        assert await put(collector, "e", said, v1=v1) == (200, {"success": True})

        [found] = await stored(collector)
        for ignored in ("inputs", "event_name", "end_time"):
            said.pop(ignored)
        assert found.event == {**event, **said, "metadata": {"a": 1, "b": {"y": 2}, "c": 3}}

    async def test_outputs_may_be_null(self, collector: Collector, v1: bool) -> None:
        """
        Which takes the old ones away; null elsewhere says nothing.
        """
        await post(collector, V1_ONE, v1_event(event_id="e", metadata={"a": 1}))

        await put(collector, "e", {"outputs": None, "metadata": None}, v1=v1)

        [found] = await stored(collector)
        assert (found.event["outputs"], found.event["metadata"]) == (None, {"a": 1})

    async def test_an_unknown_event_is_404(self, collector: Collector, v1: bool) -> None:
        """
        In the API's own words for errors.
        """
        problem = "event_id: there is no such event, or no more"
        answer = await put(collector, "none", {"metadata": {}}, v1=v1)

        assert answer == refusal(problem, 404, "not_found")

    async def test_a_session_is_added_to(self, collector: Collector, v1: bool) -> None:
        """
        One that was started is known by its own id.
        """
        session = {"session_id": SESSION, "metadata": {"a": 1}}
        await post(collector, "/session/start", {"session": session})

        assert (await put(collector, SESSION, {"metadata": {"b": 2}}, v1=v1))[0] == 200

        [found] = await known_sessions(collector)
        assert found.properties == {**session, "metadata": {"a": 1, "b": 2}}
        assert await collector.count() == 0

    async def test_a_session_without_a_root_is_400(self, collector: Collector, v1: bool) -> None:
        """
        Events name it, and nobody has started it.
        """
        await post(collector, V1_ONE, v1_event(session_id=SESSION))

        status, answer = await put(collector, SESSION, {"metadata": {"b": 2}}, v1=v1)

        assert (status, answer["errorCode"]) == (400, "invalid_request")
        assert "without a root event" in answer["message"]
        await post(collector, "/v1/sessions", {"session_id": SESSION})
        assert (await put(collector, SESSION, {"metadata": {"b": 2}}, v1=v1))[0] == 200

    async def test_a_session_event_is_both(self, collector: Collector, v1: bool) -> None:
        """
        The event and what is known of the session say the same.
        """
        event = v1_event(event_type="session", event_id=SESSION, session_id=SESSION)
        await post(collector, V1_ONE, event)

        await put(collector, SESSION, {"metrics": {"score": 1}}, v1=v1)

        [session], [found] = await known_sessions(collector), await stored(collector)
        assert session.properties["metrics"] == found.event["metrics"] == {"score": 1}

    @pytest.mark.parametrize("said", [{"metadata": 1}, {"outputs": []}, {"duration": "1"}])
    async def test_a_bad_body_is_refused(
        self, collector: Collector, v1: bool, said: dict[str, Any]
    ) -> None:
        """
        Nothing of it is taken.
        """
        await post(collector, V1_ONE, v1_event(event_id="e"))

        assert (await put(collector, "e", {"feedback": {"a": 1}, **said}, v1=v1))[0] == 400

        assert "feedback" not in (await stored(collector))[0].event


async def test_everything_shows_the_event_as_it_is_now(collector: Collector) -> None:
    """
    The list, its filters, the search, the charts and the export; the order stays.
    """
    for name in ("first", "second", "third"):
        event = v1_event(event_id=name, session_id=SESSION, outputs={"role": "assistant"})
        await post(collector, V1_ONE, event)

    said = {"config": {"model": "gpt-4o"}, "metadata": {"prompt_tokens": 3, "cost": 0.5}}
    await put(collector, "second", {**said, "outputs": {"content": "Zürich"}})

    rows = (await get(collector, "events"))["events"]
    assert [row["event_id"] for row in rows] == ["third", "second", "first"]
    assert (rows[1]["model"], rows[1]["tokens_in"], rows[1]["cost"]) == ("gpt-4o", 3, 0.5)
    for query in ("model=gpt-4o", "text=zürich"):
        found = (await get(collector, f"events?{query}"))["events"]
        assert [row["event_id"] for row in found] == ["second"]
    [group] = (await get(collector, "series"))["groups"]
    assert sum(group["tokens_in"]) == 3
    lines = [orjson.loads(line) for line in await exported(collector)]
    assert [line["event_id"] for line in lines] == ["first", "second", "third"]
    assert lines[1]["event"]["outputs"] == {"content": "Zürich"}


async def test_a_sum_of_a_session_is_not_counted_again(collector: Collector) -> None:
    """
    What a session event says of its tokens and cost is in its events already; how long it
    took is no latency.
    """
    counted = {"metadata": {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5}}
    await post(collector, V1_ONE, v1_event(session_id=SESSION, duration=7, **counted))
    event = v1_event(event_type="session", event_id=SESSION, session_id=SESSION, duration=9000)
    await post(collector, V1_ONE, event)
    await put(collector, SESSION, counted)

    [group] = (await get(collector, "series"))["groups"]

    assert [sum(group[name]) for name in ("tokens_in", "tokens_out", "cost")] == [3, 4, 0.5]
    assert {time for time in group["p95"] if time is not None} == {7}


async def test_the_latest_of_one_id_is_meant(collector: Collector) -> None:
    """
    An event that was sent again has two rows.
    """
    for _ in range(2):
        await post(collector, V1_ONE, v1_event(event_id="e"))

    await put(collector, "e", {"metadata": {"a": 1}})

    first, second = await stored(collector)
    assert ("metadata" in first.event, second.event["metadata"]) == (False, {"a": 1})


async def test_a_long_id_is_the_whole_id(collector: Collector) -> None:
    """
    Ids are shortened in the tables, where two that begin alike stay two.
    """
    one, other = "x" * 5000, "x" * 4999 + "y"
    await post(collector, V1_ONE, v1_event(event_id=one))

    assert (await put(collector, other, {"metadata": {"a": 1}}))[0] == 404
    assert (await put(collector, one, {"metadata": {"a": 1}}))[0] == 200


async def test_an_event_that_left_is_unknown() -> None:
    """
    Once it made room for newer ones.
    """
    async with Collector(max_events=1) as collector:
        for name in ("old", "new"):
            await post(collector, V1_ONE, v1_event(event_id=name))

        assert (await put(collector, "old", {"metadata": {}}))[0] == 404
        assert (await put(collector, "new", {"metadata": {}}))[0] == 200


async def test_an_event_does_not_grow_for_ever(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What would be larger than any event is refused; the event stays as it was.
    """
    monkeypatch.setattr("hh_exporter._collector.storage.updates._MAX_BYTES", 5000)
    await post(collector, V1_ONE, v1_event(event_id="e"))

    assert (await put(collector, "e", {"metadata": {"a": "x" * 3000}}))[0] == 200
    assert (await put(collector, "e", {"metadata": {"b": "x" * 3000}}))[0] == 413

    assert (await stored(collector))[0].event["metadata"] == {"a": "x" * 3000}


async def test_a_deep_event_can_be_added_to(collector: Collector) -> None:
    """
    What could be stored can be read and stored again.
    """
    deep = b'{"event_type":"model","event_id":"e","inputs":' + b'{"a":' * 900 + b"1" + b"}" * 901
    assert (await post(collector, V1_ONE, deep))[0] == 200

    assert (await put(collector, "e", {"metadata": {"a": 1}}))[0] == 200


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_file_of_a_version_before_is_brought_up(tmp_path: Path, version: int) -> None:
    """
    Its events and sessions can be updated, too, and lists show as much of them as of new ones.
    """
    long = "p" * 300
    deep = b'{"event_type":"model","inputs":' + b'{"a":' * 1010 + b"1" + b"}" * 1011
    db = tmp_path / "events.db"
    async with Collector(db=db) as collector:
        await post(collector, "/events/model", {"model_event": model_event(event_id="e")})
        named = {"session_name": "s", "user_properties": {"user_id": "ann"}}
        await post(collector, "/v1/sessions", {"session_id": SESSION, **named})
        await post(collector, V1_ONE, v1_event(session_id=SESSION, feedback={"rating": 5}))
        for parent in ("up", long):
            await post(collector, V1_ONE, v1_event(parent_id=parent, session_id="tree"))
        await post(collector, V1_ONE, v1_event(inputs={"parent_id": "no"}, session_id="tree"))
        assert (await post(collector, V1_ONE, deep))[0] == 200
        before = (await get(collector, "events"))["events"]
    with closing(sqlite3.connect(db)) as connection:
        for name in ("input", "output"):
            connection.execute(f"ALTER TABLE texts DROP COLUMN {name}")
        for name in ("user", "time_to_first_token", "rating", "note"):
            connection.execute(f"ALTER TABLE events DROP COLUMN {name}")
        for name in ("name", "user"):
            connection.execute(f"ALTER TABLE sessions DROP COLUMN {name}")
        if version < 5:
            connection.execute("ALTER TABLE events DROP COLUMN parent_id")
        if version == 3:
            connection.execute("ALTER TABLE sessions DROP COLUMN has_root")
            connection.execute("DROP INDEX events_by_event_id")
        connection.execute(f"PRAGMA user_version = {version}")

    async with Collector(db=db) as collector:
        assert (await get(collector, "events"))["events"] == before
        assert (await put(collector, "e", {"metadata": {"a": 1}}))[0] == 200
        assert (await put(collector, SESSION, {"metadata": {"a": 1}}))[0] == 200
        owner = (await stored(collector))[0].session_id
        assert (await put(collector, owner, {"metadata": {"a": 1}}))[0] == 400
        shown = (await get(collector, "sessions/tree"))["events"]
        assert [event["parent_id"] for event in shown] == ["up", short(long), None]
