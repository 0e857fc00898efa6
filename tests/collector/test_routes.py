"""
What the official clients send, and the routes for wrapped events and for sessions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import yaml
from aiohttp import ClientSession
from jsonschema import Draft202012Validator

from hh_exporter._collector import Collector
from tests.collector_client import (
    MANY,
    ONE,
    SESSIONS,
    V1_MANY,
    V1_ONE,
    exported,
    known_sessions,
    model_event,
    post,
    refusal,
    stored,
    v1_event,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WIRE = Path(__file__).parents[1] / "wire"
SENT_HEADERS = {"Content-Type", "Accept", "Accept-Encoding", "Cookie", "hh-client-package"}

WRAPPED_ONE = "/events"
WRAPPED_MANY = "/events/batch"
START = "/session/start"
V1_SESSIONS = "/v1/sessions"
UUID_1 = "caf77ace-3417-4da4-944d-f4a0688f3c23"
V1_SESSION_MANY = f"/v1/sessions/{UUID_1}/events/batch"

RECORDED = [json.loads(path.read_text()) for path in sorted((WIRE / "golden").glob("*.json"))]
V1 = yaml.safe_load((WIRE / "openapi/v1-events.yaml").read_text())
ANSWERS = {
    ONE: V1["components"]["schemas"]["OneCreated"],
    MANY: V1["components"]["schemas"]["ManyCreated"],
    START: V1["paths"][V1_SESSIONS]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ],
}
ANSWERS |= {WRAPPED_ONE: ANSWERS[ONE], V1_ONE: ANSWERS[ONE], V1_SESSIONS: ANSWERS[START]}
ANSWERS |= {WRAPPED_MANY: ANSWERS[MANY], V1_MANY: ANSWERS[MANY]}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def test_each_client_and_route_was_recorded() -> None:
    """
    The recorded requests are not a few of them by accident.
    """
    assert {recorded["path"] for recorded in RECORDED} == set(ANSWERS)
    assert len(RECORDED) == 42


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=[f"{recorded['client']}.{recorded['case']}" for recorded in RECORDED]
)
async def test_what_official_clients_send_is_accepted(
    collector: Collector, recorded: dict[str, Any]
) -> None:
    """
    Each recorded request is answered as the API describes, and stored as it was sent.
    """
    body, path = recorded["body"], recorded["path"]
    headers = {name: value for name, value in recorded["headers"] if name in SENT_HEADERS}

    status, answer = await post(collector, path, recorded["body_text"].encode(), **headers)

    assert status == 200
    Draft202012Validator(ANSWERS[path]).validate(answer)
    found = await stored(collector)
    if path in {START, V1_SESSIONS}:
        [session] = await known_sessions(collector)
        assert session.properties == body.get("session", body)
        assert answer["session_id"] == session.session_id == UUID_1
        assert found == []
    else:
        wrapped = body.get("model_event") or body.get("event") or body
        assert [one.event for one in found] == (
            body.get("events") or body.get("model_events") or [wrapped]
        )
        assert answer.get("event_ids", [answer.get("event_id")]) == [one.event_id for one in found]
        assert {one.path for one in found} == {path}
        assert answer["success"] is True


class TestWrapped:
    """
    POST /events and POST /events/batch.
    """

    async def test_an_event_may_have_fields_that_v1_refuses(self, collector: Collector) -> None:
        """
        The deprecated routes are open, as the legacy ones: `project` is no fault.
        """
        event = v1_event(event_id="e1", project="p", extra=[1])

        answer = await post(collector, WRAPPED_ONE, {"event": event})

        assert answer == (200, {"event_id": "e1", "success": True})
        [found] = await stored(collector)
        assert (found.event, found.path) == (event, WRAPPED_ONE)

    async def test_a_bad_event_harms_only_itself(self, collector: Collector) -> None:
        """
        The good events of a batch are stored; the answer is the API's 500 for a part.
        """
        events = [v1_event(event_id="a"), 7, v1_event(event_type=None), v1_event(event_id="b")]

        answer = await post(collector, WRAPPED_MANY, {"events": events})

        assert answer == (
            500,
            {
                "event_ids": ["a", "b"],
                "errors": [
                    "events[1]: must be an object",
                    "events[2]: event_type: must be one of model, tool, chain, session",
                ],
                "success": True,
            },
        )
        assert [found.event_id for found in await stored(collector)] == ["a", "b"]

    @pytest.mark.parametrize("flag", ["is_single_session", "single_session"])
    @pytest.mark.parametrize("properties", ["session_properties", "session"])
    async def test_either_name_makes_one_session(
        self, collector: Collector, flag: str, properties: str
    ) -> None:
        """
        Old and new names of the flag and of the properties put a batch in one session.
        """
        body = {"events": [v1_event(), v1_event()], flag: True, properties: {"session_id": "s"}}

        status, answer = await post(collector, WRAPPED_MANY, body)

        assert (status, answer["session_id"]) == (200, "s")
        assert [one.session_id for one in await stored(collector)] == ["s", "s"]

    @pytest.mark.parametrize(
        ("path", "body", "problem"),
        [
            (WRAPPED_ONE, {}, "event: is required"),
            (WRAPPED_ONE, v1_event(), "event: is required"),
            (WRAPPED_ONE, {"event": {}}, "event: event_type: is required; inputs: is required"),
            (WRAPPED_ONE, {"event": v1_event(error=1)}, "event: error: must be a string or null"),
            (WRAPPED_MANY, {}, "events: is required"),
            (WRAPPED_MANY, {"events": v1_event()}, "events: must be an array"),
            (
                WRAPPED_MANY,
                {"events": [], "session_properties": {"source": 1}},
                "session_properties: source: must be a string",
            ),
        ],
    )
    async def test_a_bad_body_is_refused(
        self, collector: Collector, path: str, body: object, problem: str
    ) -> None:
        """
        Where the fault is not in one event of many, it is 400 and a reason.
        """
        answer = await post(collector, path, body)

        assert answer == refusal(f"body: {problem}")
        assert await collector.count() == 0


@pytest.mark.parametrize(
    ("path", "key", "event"),
    [
        (MANY, "model_events", model_event()),
        (MANY, "model_events", 1),
        (WRAPPED_MANY, "events", 1),
        (V1_MANY, "events", v1_event()),
        (V1_SESSION_MANY, "events", v1_event()),
    ],
)
async def test_a_batch_has_a_bound(
    collector: Collector, path: str, key: str, event: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    More events than one answer could name the errors of are refused as a whole.
    """
    monkeypatch.setattr("hh_exporter._collector.ingest.validation.MAX_EVENTS", 3)

    status, answer = await post(collector, path, {key: [event] * 4})

    assert (status, answer["message"]) == (400, f"body: {key}: must hold no more than 3 events")
    assert await collector.count() == 0
    assert (await post(collector, path, {key: [event] * 3}))[0] in {200, 500}


class TestSessions:
    """
    POST /session/start, POST /v1/sessions and the events of one session.
    """

    @pytest.mark.parametrize("path", [START, V1_SESSIONS])
    async def test_a_session_is_answered_whole(self, collector: Collector, path: str) -> None:
        """
        The answer is the session event, with the ids that an official client insists on.
        """
        session = {"session_id": UUID_1, "session_name": "n", "metadata": {"a": [1, None]}}

        answer = await post(collector, path, {"session": session} if path == START else session)

        assert answer == (
            200,
            {
                **session,
                "event_type": "session",
                "event_id": UUID_1,
                "org_id": "local",
                "workspace_id": "local",
                "project_id": "local",
            },
        )
        [found] = await known_sessions(collector)
        assert (found.session_id, found.properties) == (UUID_1, session)

    @pytest.mark.parametrize("path", [START, V1_SESSIONS])
    async def test_a_session_without_an_id_gets_one(self, collector: Collector, path: str) -> None:
        """
        The collector makes the id of a session, and says it.
        """
        _, answer = await post(collector, path, {"session": {}} if path == START else {})

        [found] = await known_sessions(collector)
        assert answer["session_id"] == answer["event_id"] == found.session_id
        assert str(UUID(found.session_id)) == found.session_id

    @pytest.mark.parametrize("path", [START, V1_SESSIONS])
    async def test_an_id_that_is_no_uuid_is_replaced(self, collector: Collector, path: str) -> None:
        """
        As the API does.
        """
        said = {"session_id": "mine"}
        _, replaced = await post(collector, path, {"session": said} if path == START else said)

        assert str(UUID(replaced["session_id"])) == replaced["session_id"]

    @pytest.mark.parametrize("path", [START, V1_SESSIONS])
    async def test_a_known_session_is_added_to(self, collector: Collector, path: str) -> None:
        """
        Said again, metadata and user_properties are merged, anything else is replaced.
        """
        for said in (
            {"session_id": UUID_1, "source": "a", "metadata": {"a": 1, "b": 1}},
            {"session_id": UUID_1, "source": "b", "metadata": {"b": 2}},
        ):
            await post(collector, path, {"session": said} if path == START else said)

        [found] = await known_sessions(collector)
        assert found.properties["metadata"] == {"a": 1, "b": 2}
        assert found.properties["source"] == "b"

    async def test_a_deep_session_is_answered_and_kept(self, collector: Collector) -> None:
        """
        A session nested deeper than orjson writes fails neither storing nor answering.
        """
        deep = b"[" * 1000 + b"]" * 1000

        status, answer = await post(collector, V1_SESSIONS, b'{"metadata":{"d":' + deep + b"}}")

        levels, inner = 0, answer["metadata"]["d"]
        while inner:
            levels, [inner] = levels + 1, inner
        [line] = await exported(collector, SESSIONS)
        assert (status, levels) == (200, 999)
        assert b'{"metadata":{"d":' + deep + b"}}" in line

    async def test_events_are_added_to_the_session_of_the_path(self, collector: Collector) -> None:
        """
        The answer names no event; an event's own session is not overruled.
        """
        events = [v1_event(event_id="a"), v1_event(event_id="b", session_id="other")]

        answer = await post(collector, V1_SESSION_MANY, {"events": events})

        assert answer == (200, {"success": True})
        found = await stored(collector)
        assert [(one.event_id, one.session_id) for one in found] == [("a", UUID_1), ("b", "other")]
        assert {one.path for one in found} == {"/v1/sessions/{session_id}/events/batch"}

    @pytest.mark.parametrize("session_id", ["mine", "%00", "..%2f..%2fetc", UUID_1[:-1]])
    async def test_a_session_of_the_path_must_be_a_uuid(
        self, collector: Collector, session_id: str
    ) -> None:
        """
        Anything else is 400, and nothing is stored.
        """
        path = f"/v1/sessions/{session_id}/events/batch"

        answer = await post(collector, path, {"events": [v1_event()]})

        problem = "path: session_id: must be a UUID"
        assert answer == refusal(problem)
        assert await collector.count() == 0

    @pytest.mark.parametrize(
        ("path", "body", "problem"),
        [
            (START, {}, "session: is required"),
            (START, {"session": "{}"}, "session: must be an object"),
            (START, {"session": {"metadata": None}}, "session: metadata: must be an object"),
            (V1_SESSIONS, [], "must be an object"),
            (V1_SESSIONS, {"project": "p"}, "must have no unknown fields"),
            (V1_SESSIONS, {"session_id": 1}, "session_id: must be a string"),
            (V1_SESSION_MANY, {"events": [{}]}, "events: [0]: event_type: is required; inputs: is"),
            (V1_SESSION_MANY, {"events": [], "single_session": True}, "must have no unknown field"),
        ],
    )
    async def test_a_bad_body_is_refused(
        self, collector: Collector, path: str, body: object, problem: str
    ) -> None:
        """
        A body that is no valid request is answered 400 and a reason; nothing is stored.
        """
        status, answer = await post(collector, path, body)

        assert (status, answer["errorCode"]) == (400, "invalid_request")
        assert answer["message"].startswith(f"body: {problem}")
        assert await collector.count() == 0
        assert await known_sessions(collector) == []


class TestTraces:
    """
    POST /session/{session_id}/traces, deprecated.
    """

    PATH = "/session/caf77ace-3417-4da4-944d-f4a0688f3c23/traces"

    @pytest.mark.parametrize("key", ["events", "logs"])
    async def test_events_are_of_the_session(self, collector: Collector, key: str) -> None:
        """
        By either name; the answer names none of them.
        """
        answer = await post(collector, self.PATH, {key: [v1_event(event_id="e")]})

        assert answer == (200, {"success": True})
        [found] = await stored(collector)
        assert (found.event_id, found.session_id) == ("e", self.PATH.split("/")[2])

    @pytest.mark.parametrize("body", [{}, {"events": [], "logs": []}, {"events": [{}]}])
    async def test_a_bad_body_is_refused(self, collector: Collector, body: object) -> None:
        """
        One of both names must be there, and each event as it should be.
        """
        assert (await post(collector, self.PATH, body))[0] == 400
        assert (await post(collector, "/session/mine/traces", {"events": []}))[0] == 400


async def test_runs_are_answered(collector: Collector) -> None:
    """
    With what an official client insists on; nothing is kept of them.
    """
    status, answer = await post(collector, "/v1/runs", {"name": "first", "event_ids": ["e"]})

    assert status == 200
    run = answer["evaluation"]
    assert run["run_id"] == run["id"] == answer["run_id"]
    assert run.items() >= {"name": "first", "event_ids": ["e"], "is_active": True}.items()
    path, said = f"/v1/runs/{answer['run_id']}", {"status": "completed"}
    async with ClientSession(collector.url) as client, client.put(path, json=said) as response:
        changed = await response.json()
    assert changed["evaluation"].items() >= {"run_id": run["run_id"], "status": "completed"}.items()
    assert await collector.count() == 0
