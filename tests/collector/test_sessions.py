"""
Which session the collector puts an event in, and what it keeps of a session.

The two dialects differ only in words: each rule is tested in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from attrs import frozen

from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector, StoredSession
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
    stored,
    v1_event,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIME = 1_750_000_000_250


class StoppedClock(SystemClock):
    """
    A clock that always says TIME.
    """

    def wall(self) -> float:
        return TIME / 1000


@frozen
class Dialect:
    """
    The words in which a dialect sends a batch.
    """

    path: str
    event: Callable[..., dict[str, Any]]
    events: str
    flag: str
    properties: str = "session_properties"

    def batch(self, *events: dict[str, Any], **rest: Any) -> dict[str, Any]:
        """
        Make the body of a batch; *rest* is flag and properties, in any dialect's terms.
        """
        words = {"single": self.flag, "properties": self.properties}
        return {
            self.events: [self.event(**fields) for fields in events],
            **{words[name]: value for name, value in rest.items()},
        }


@pytest.fixture(
    params=[
        Dialect(MANY, model_event, "model_events", "is_single_session"),
        Dialect(MANY, model_event, "model_events", "single_session", "session"),
        Dialect(V1_MANY, v1_event, "events", "single_session"),
    ],
    ids=["legacy", "legacy aliases", "v1"],
)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = request.param
    return made


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector(clock=StoppedClock()) as collector:
        yield collector


async def sessions_of(collector: Collector) -> list[str]:
    return [event.session_id for event in await stored(collector)]


@pytest.mark.parametrize(
    ("path", "body"),
    [(ONE, lambda **fields: {"model_event": model_event(**fields)}), (V1_ONE, v1_event)],
)
async def test_a_single_event_has_a_session(
    collector: Collector, path: str, body: Callable[..., dict[str, Any]]
) -> None:
    """
    It is the event's own, else one made for it; the event is stored as it was sent.
    """
    await post(collector, path, body(session_id="s1"))
    await post(collector, path, body())

    own, made = await stored(collector)
    assert own.session_id == own.event["session_id"] == "s1"
    assert made.session_id not in {"", "s1", made.event_id}
    assert made.event.keys().isdisjoint({"session_id", "parent_id"})


@pytest.mark.parametrize("rest", [{}, {"single": False}])
async def test_without_the_flag_each_event_has_its_own_session(
    collector: Collector, dialect: Dialect, rest: dict[str, Any]
) -> None:
    """
    Session properties are then ignored, their session_id too.
    """
    properties = {"session_id": "p", "session_name": "ignored"}
    body = dialect.batch({}, {"session_id": "s1"}, {}, **rest, properties=properties)

    status, answer = await post(collector, dialect.path, body)

    assert (status, "session_id" in answer) == (200, False)
    sessions = await sessions_of(collector)
    assert sessions[1] == "s1"
    assert len({*sessions, "p"}) == 4
    assert await known_sessions(collector) == [
        StoredSession(session_id=one, properties={}, time=TIME) for one in sessions
    ]


@pytest.mark.parametrize(
    ("named", "own", "expected"),
    [
        ("p", [None, None], ["p", "p"]),
        ("p", [None, "a", "b"], ["p", "a", "b"]),
        (None, [None, "a", None], ["a", "a", "a"]),
        (None, [None, "b", "a"], ["b", "b", "a"]),
    ],
)
async def test_a_single_session_holds_the_events_that_name_none(
    collector: Collector,
    dialect: Dialect,
    named: str | None,
    own: list[str | None],
    expected: list[str],
) -> None:
    """
    The properties name it, else the first event that names one; an event's own stays its own.
    """
    properties = {"session_name": "n"} | ({"session_id": named} if named else {})
    body = dialect.batch(
        *({"session_id": one} if one else {} for one in own), single=True, properties=properties
    )

    status, _ = await post(collector, dialect.path, body)

    assert status == 200
    assert await sessions_of(collector) == expected
    sessions = {one.session_id: one.properties for one in await known_sessions(collector)}
    assert sessions == {one: {} for one in expected} | {expected[0]: properties}


async def test_a_single_session_that_nobody_names_is_made(
    collector: Collector, dialect: Dialect
) -> None:
    """
    The events of a request share it, and no other request does.
    """
    for _ in range(2):
        await post(collector, dialect.path, dialect.batch({}, {}, single=True))

    first, second, third, fourth = await sessions_of(collector)
    assert first == second != third == fourth


async def test_v1_answers_with_the_single_session(collector: Collector) -> None:
    """
    Only v1 says which session it was: the legacy answer has no place for it.
    """
    events = [{"event_id": "a"}, {"event_id": "b", "session_id": "own"}]
    v1 = {"events": [v1_event(**fields) for fields in events], "single_session": True}
    v1["session_properties"] = {"session_id": "p"}
    legacy = {"model_events": [model_event(**fields) for fields in events], "single_session": True}

    answers = [await post(collector, V1_MANY, v1), await post(collector, MANY, legacy)]

    created = {"event_ids": ["a", "b"], "success": True}
    assert answers == [(200, {**created, "session_id": "p"}), (200, created)]


@pytest.mark.parametrize("strange", [7, None, {"x": 1}])
async def test_v1_properties_may_hold_anything_as_session_id(
    collector: Collector, strange: object
) -> None:
    """
    v1 does not describe that key: what is no text names no session, but is kept.
    """
    body = {"events": [v1_event()], "single_session": True}
    body["session_properties"] = {"session_id": strange}

    _, answer = await post(collector, V1_MANY, body)

    [session] = await known_sessions(collector)
    assert [session.session_id] == [answer["session_id"]] == await sessions_of(collector)
    assert session.properties == {"session_id": strange}


async def test_only_good_events_open_a_session(collector: Collector) -> None:
    """
    A bad event of a legacy batch names no session, and without a good one there is none.
    """
    bad = model_event(model=None, session_id="bad")
    body = {"is_single_session": True, "session_properties": {"session_name": "n"}}

    await post(collector, MANY, {"model_events": [bad], **body})
    assert await known_sessions(collector) == []

    await post(collector, MANY, {"model_events": [bad, model_event(session_id="good")], **body})
    assert [one.session_id for one in await known_sessions(collector)] == ["good"]


async def test_what_is_said_of_a_session_adds_up(collector: Collector, dialect: Dialect) -> None:
    """
    Metadata and user properties merge, of all else the last is kept; silence changes nothing.
    """
    said: list[dict[str, Any]] = [
        {"session_name": "old", "metadata": {"a": 1, "b": {"x": 1}}, "inputs": {"a": 1}},
        {},
        {"session_name": "new", "metadata": {"b": {"y": 2}}, "user_properties": {"u": 1}},
        {"user_properties": {"v": "\0"}, "inputs": {"b": 2}},
    ]
    for properties in said:
        body = dialect.batch({"session_id": "s"}, single=True, properties=properties)
        assert (await post(collector, dialect.path, body))[0] == 200
    await post(collector, dialect.path, dialect.batch({"session_id": "s"}))

    [session] = await known_sessions(collector)
    assert session.properties == {
        "session_name": "new",
        "metadata": {"a": 1, "b": {"y": 2}},
        "inputs": {"b": 2},
        "user_properties": {"u": 1, "v": "\0"},
    }


async def test_a_session_that_had_only_events_can_be_described(
    collector: Collector, dialect: Dialect
) -> None:
    """
    It keeps its place, and gets its properties.
    """
    await post(collector, dialect.path, dialect.batch({"session_id": "a"}, {"session_id": "b"}))
    body = dialect.batch({}, single=True, properties={"session_id": "a", "session_name": "n"})
    await post(collector, dialect.path, body)

    assert [(one.session_id, one.properties) for one in await known_sessions(collector)] == [
        ("a", {"session_id": "a", "session_name": "n"}),
        ("b", {}),
    ]


async def test_deep_properties_come_back_equal(collector: Collector) -> None:
    """
    Properties nested deeper than orjson writes are merged and exported all the same.
    """
    deep = orjson.Fragment(b"[" * 900 + b"]" * 900)
    for name in ("a", "b"):
        body = {"events": [v1_event(session_id="s")], "single_session": True}
        body["session_properties"] = {"metadata": {name: deep}}
        assert (await post(collector, V1_MANY, orjson.dumps(body)))[0] == 200

    [line] = await exported(collector, SESSIONS)
    metadata = orjson.dumps({"a": deep, "b": deep})
    assert line.startswith(b'{"session_id":"s","properties":{"metadata":' + metadata + b"}")


async def test_each_line_of_the_export_is_one_session(collector: Collector) -> None:
    """
    GET /api/sessions.jsonl has a session's id, properties and time, in order of arrival.
    """
    events = [v1_event(session_id=f"s{n:05}") for n in range(10_000)]
    body = {"events": events, "single_session": True, "session_properties": {"session_id": "p"}}
    await post(collector, V1_MANY, body)

    lines = await exported(collector, SESSIONS)

    assert all(line.endswith(b"\n") for line in lines)
    assert [orjson.loads(line) for line in lines] == [
        {"session_id": "p", "properties": {"session_id": "p"}, "time": TIME},
        *({"session_id": f"s{n:05}", "properties": {}, "time": TIME} for n in range(10_000)),
    ]


async def test_a_session_may_be_an_event(collector: Collector) -> None:
    """
    An event of type "session" that has the session's id says what the session is, and counts.
    """
    said = {"event_type": "session", "user_properties": {"plan": "pro"}}
    events = [
        v1_event(session_id="a", event_id="a", event_name="chat", **said),
        v1_event(session_id="b", event_name="call", **said),  # its id is minted
        v1_event(session_id="c", event_id="e1", **said),  # some other event's
        v1_event(session_id="a", event_id="e2"),
    ]
    status, answer = await post(collector, V1_MANY, {"events": events})
    assert (status, len(answer["event_ids"])) == (200, 4)

    known = {one.session_id: one.properties for one in await known_sessions(collector)}

    assert (known["a"]["session_name"], known["a"]["user_properties"]) == ("chat", {"plan": "pro"})
    assert known["b"]["session_name"] == "call"
    assert known["c"] == {}
    assert answer["event_ids"][1] == "b"
    assert await collector.count() == 4


async def test_several_sessions_of_a_batch_are_known(collector: Collector) -> None:
    """
    Each session event of a batch is kept, and what is said again is merged.
    """
    events = [
        v1_event(event_type="session", session_id=i, event_id=i, event_name=i, metadata={i: 1})
        for i in ("a", "b", "a")
    ]
    events[2]["metadata"] = {"more": 2}
    await post(collector, V1_MANY, {"events": events})

    known = {one.session_id: one.properties for one in await known_sessions(collector)}

    assert {i: properties["session_name"] for i, properties in known.items()} == {
        "a": "a",
        "b": "b",
    }
    assert known["a"]["metadata"] == {"a": 1, "more": 2}
