"""
before_send decides what of an event leaves the process, and fails closed.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import pytest

from hh_exporter import (
    ConfigError,
    DeliveryError,
    DropReason,
    Exporter,
    ModelEvent,
    SessionProperties,
    Settlement,
)
from hh_exporter._dialects.vendor import to_session_uuid
from tests.builders import dialects
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer, status, unavailable
from tests.support import EPOCH, FakeClock, assert_balanced, flushed, model_event, push_all

SECRET = "what the user typed"


def hook_on(
    cls: type[Any], change: Callable[[Any], Any], seen: list[Any] | None = None
) -> Callable[[Any], Any]:
    """
    Make a hook that has *change* look at what is of *cls*, and notes all that it saw.
    """

    def hook(draft: Any) -> Any:
        if seen is not None:
            seen.append(draft)
        return change(draft) if isinstance(draft, cls) else draft

    return hook


def keep(draft: Any) -> Any:
    return draft


def fail(_: object, error: BaseException | None = None) -> Any:
    raise error or LookupError(SECRET)


async def later(draft: Any) -> Any:
    return draft


async def stream(draft: Any) -> AsyncIterator[Any]:
    yield draft


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


async def sent(exporter: Exporter, server: ScriptedServer) -> list[dict[str, Any]]:
    """
    Flush, and list the events that reached the server.
    """
    await exporter.flush()
    return [event for request in server.requests for event in request.events]


async def test_the_hook_gets_a_plain_copy_with_all_stamps(
    make_exporter: MakeExporter, clock: FakeClock
) -> None:
    """
    It sees what will be sent: ids, times, project and source, and no object of the user's.
    """
    seen: list[ModelEvent] = []
    exporter = await make_exporter(
        project="p", source="s", before_send=hook_on(ModelEvent, keep, seen)
    )
    message = {"content": ("text", datetime(2025, 1, 2, tzinfo=UTC))}
    event = ModelEvent(model="m", messages=[message], duration=2000.0)

    exporter.push(event, SessionProperties(session_id="s1"))

    [_, draft] = seen
    assert type(draft) is ModelEvent
    assert draft.messages == [{"content": ["text", "2025-01-02T00:00:00+00:00"]}]
    assert draft.event_id
    assert (draft.session_id, draft.project, draft.source) == ("s1", "p", "s")
    assert (draft.start_time, draft.end_time) == (EPOCH * 1000 - 2000, EPOCH * 1000)


async def test_a_hook_that_looks_cuts_nothing_off(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An event of many members is whole, and stays so when its text is mapped.
    """
    exporter = await make_exporter(before_send=lambda draft: draft.map_text(str.upper))
    vectors = [{"embedding": [0.125] * 1536} for _ in range(200)]

    exporter.push(model_event(response={"data": vectors}))

    [event] = await sent(exporter, server)
    assert event["response"]["data"] == vectors
    assert not warnings_in(caplog)


async def test_the_events_own_stamps_stay(make_exporter: MakeExporter) -> None:
    """
    What the event names itself is not stamped over.
    """
    seen: list[ModelEvent] = []
    exporter = await make_exporter(
        project="p", source="s", before_send=hook_on(ModelEvent, keep, seen)
    )
    own: dict[str, Any] = {"event_id": "e", "session_id": "s2", "project": "q", "source": "t"}
    own |= {"start_time": 1.0, "end_time": 3.0, "duration": 7.0}

    exporter.push(ModelEvent(model="m", **own), SessionProperties(session_id="s1"))

    assert seen[-1] == ModelEvent(model="m", **own)


@dialects
async def test_what_the_hook_returns_is_sent(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: Any
) -> None:
    """
    It may change anything in place or return another event, which keeps the id if it has none.
    """

    def change(draft: Any) -> Any:
        draft.messages[0]["content"] = "[redacted]"
        if draft.model == "other":
            return ModelEvent(model="m2", metadata={"n": {1}}, session_id="s")
        draft.event_id = "mine"
        return draft

    settlements: list[Settlement] = []
    exporter = await make_exporter(
        dialect=dialect.name, before_send=change, on_outcome=settlements.append
    )
    event = model_event(messages=[{"content": SECRET}], event_id="e1")
    before = copy.deepcopy(event)
    exporter.push(event)
    exporter.push(model_event(model="other", event_id="e2"))

    [one, other] = await sent(exporter, server)

    assert event == before, "the hook had a copy"
    assert (one["event_id"], other["event_id"]) == ("mine", "e2")
    assert [s.event_ids for s in settlements] == [("mine", "e2")]
    assert SECRET.encode() not in server.requests[0].body
    assert b"[redacted]" in server.requests[0].body
    assert other["session_id"] == to_session_uuid("s")
    assert other["metadata"]["n"] == [1]
    assert assert_balanced(exporter).delivered == 2


async def push(exporter: Exporter, event: ModelEvent) -> bool:
    return exporter.push(event)


async def put(exporter: Exporter, event: ModelEvent) -> bool:
    return await exporter.put(event)


async def record(exporter: Exporter, event: ModelEvent) -> bool:
    with exporter.record(model="m", event_id=event.event_id) as recorded:
        recorded.messages = event.messages
    return bool(exporter.stats().queued)


async def create(exporter: Exporter, event: ModelEvent) -> bool:
    """
    Say whether it was sent, or refused for another reason than the hook's.
    """
    try:
        await exporter.create_model_event(event)
    except DeliveryError as error:
        return bool(SECRET in str(error) or error.reason not in REASONS)
    return True


REASONS = (DropReason.FILTERED, DropReason.HOOK_FAILED)
each_way = pytest.mark.parametrize("way", [push, put, record, create])
Way: TypeAlias = Callable[[Exporter, ModelEvent], Awaitable[bool]]


@each_way
async def test_every_way_in_asks_the_hook(
    make_exporter: MakeExporter, server: ScriptedServer, way: Way
) -> None:
    """
    Nothing is sent that it did not see, and what it saw is sent as it returned it.
    """
    exporter = await make_exporter(before_send=lambda draft: draft.map_text(str.upper))

    assert await way(exporter, model_event(messages=[{"content": "text"}], event_id="e1"))
    [event] = await sent(exporter, server)
    assert event["messages"] == [{"content": "TEXT"}]


REFUSALS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Exception": (fail, "raised LookupError"),
    "CancelledError": (partial(fail, error=asyncio.CancelledError()), "raised CancelledError"),
    "text": (lambda _: SECRET, "returned a str"),
    "true": (lambda _: True, "returned a bool"),
    "dict": (lambda _: {"model": SECRET}, "returned a dict"),
    "class": (lambda _: ModelEvent, "returned a type"),
    "coroutine": (later, "returned a coroutine"),
    "stream": (stream, "returned a async_generator"),
}


@each_way
@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_hook_that_fails_sends_nothing(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    way: Way,
) -> None:
    """
    Each event is dropped as hook_failed; one warning names the type, and the text nowhere.
    """
    answer, what = REFUSALS[kind]
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        before_send=hook_on(ModelEvent, answer), on_outcome=settlements.append
    )

    for event_id in ("e1", "e2"):
        assert not await way(exporter, model_event(event_id=event_id))

    assert exporter.stats().dropped_by_reason == {DropReason.HOOK_FAILED: 2}
    assert [s.event_ids for s in settlements] == [("e1",), ("e2",)]
    [warning] = warnings_in(caplog)
    assert warning.endswith(f"(hook_failed): before_send {what} for a ModelEvent")
    assert not await sent(exporter, server)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_what_stops_the_program_goes_through(
    make_exporter: MakeExporter, stop: type[BaseException]
) -> None:
    """
    An interrupt that arrives within the hook is none of its failures, and counts nothing.
    """
    exporter = await make_exporter(before_send=partial(fail, error=stop()))

    with pytest.raises(stop):
        exporter.push(model_event())

    assert exporter.stats().pushed == 0


@each_way
async def test_none_leaves_the_event_out(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    way: Way,
) -> None:
    """
    It counts as filtered, which is nothing to warn of.
    """
    exporter = await make_exporter(before_send=lambda _: None)

    assert not await way(exporter, model_event())

    assert exporter.stats().dropped_by_reason == {DropReason.FILTERED: 1}
    assert not await sent(exporter, server)
    assert not warnings_in(caplog)


async def test_what_the_hook_makes_is_checked_like_any_event(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A wrong scalar is invalid; an odd payload is made legal and marked.
    """

    def change(draft: ModelEvent) -> ModelEvent:
        if draft.event_id == "e1":
            draft.cost = "much"  # type: ignore[assignment]
        if draft.event_id == "e4":
            draft.event_id = 4  # type: ignore[assignment]
        if draft.event_id == "e2":
            draft.extra = {"model": 1}
        draft.outputs = {"odd": object(), 1: {2}}
        return draft

    exporter = await make_exporter(before_send=change)

    pushed = [exporter.push(model_event(event_id=f"e{n}")) for n in (1, 2, 4, 3)]
    assert pushed == [False, False, False, True]
    assert exporter.stats().dropped_by_reason == {DropReason.INVALID: 3}
    [event] = await sent(exporter, server)
    assert event["outputs"] == {"odd": "<object>", "1": [2]}


async def test_the_hook_sees_an_event_once(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Retries and splits send the bytes that there are.
    """
    seen: list[Any] = []
    exporter = await make_exporter(before_send=hook_on(ModelEvent, keep, seen))
    server.script(unavailable(), status(400))
    push_all(exporter, "e1", "e2", "e3")

    result = await flushed(exporter, clock)

    assert result.delivered == 3
    assert len(server.requests) == 4
    assert [draft.event_id for draft in seen] == ["e1", "e2", "e3"]


# Sessions


@dialects
async def test_the_hook_sees_a_session_until_it_is_announced(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: Any
) -> None:
    """
    Once, ahead of its first event, as a plain copy; what it returns is announced.
    """
    seen: list[Any] = []

    def change(draft: Any) -> Any:
        draft.user_properties["name"] = "[redacted]"
        return draft

    exporter = await make_exporter(
        dialect=dialect.name, before_send=hook_on(SessionProperties, change, seen)
    )
    session = SessionProperties(session_id="s1", user_properties={"name": SECRET, "odd": {1}})
    before = copy.deepcopy(session)
    for _ in range(3):
        assert exporter.push(model_event(), session)
    events = await sent(exporter, server)
    assert exporter.push(model_event(), session)

    events = await sent(exporter, server)

    kinds = [type(draft) for draft in seen]
    assert kinds == [SessionProperties] + 4 * [ModelEvent]
    assert session == before
    [announced, second] = [request.body for request in server.requests]
    assert b"[redacted]" in announced
    assert SECRET.encode() not in announced
    assert b"session_properties" not in second
    assert {event["session_id"] for event in events} == {to_session_uuid("s1")}


async def test_a_session_that_the_hook_renames_is_announced_once(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A hook may hide the ids of sessions too, if it does so for their events.
    """

    def rename(draft: Any) -> Any:
        draft.session_id = draft.session_id.replace("s1", "hidden")
        return draft

    exporter = await make_exporter(before_send=rename)
    session = SessionProperties(session_id="s1", user_properties={"a": 1})
    for _ in range(2):
        exporter.push(model_event(), session)
        await exporter.flush()

    [first, second] = [request.body for request in server.requests]
    assert f'"session_properties":{{"session_id":"{to_session_uuid("hidden")}"'.encode() in first
    assert b"session_properties" not in second
    assert b'"hidden"' in second
    assert b'"s1"' not in first + second


async def test_an_event_that_the_hook_takes_out_of_its_session_goes_without(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Neither the id nor the properties of the session go with it.
    """

    def take_out(draft: ModelEvent) -> ModelEvent:
        draft.session_id = None
        return draft

    exporter = await make_exporter(before_send=hook_on(ModelEvent, take_out))
    exporter.push(model_event(), SessionProperties(session_id="s1", inputs={"a": SECRET}))

    [event] = await sent(exporter, server)

    assert "session_id" not in event
    assert b"session_properties" not in server.requests[0].body


async def test_a_filtered_session_is_not_announced(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its events go without its properties, and the hook is not asked again.
    """
    seen: list[Any] = []
    hook = hook_on(SessionProperties, lambda _: None, seen)
    exporter = await make_exporter(before_send=hook)
    session = SessionProperties(session_id="s1", user_properties={"name": SECRET})

    assert [exporter.push(model_event(), session) for _ in range(2)] == [True, True]

    events = await sent(exporter, server)
    assert [event["session_id"] for event in events] == [to_session_uuid("s1")] * 2
    assert SECRET.encode() not in server.requests[0].body
    assert sum(type(draft) is SessionProperties for draft in seen) == 1
    assert not warnings_in(caplog)


@pytest.mark.parametrize("change", [fail, lambda _: True, lambda _: model_event(), later])
async def test_a_hook_that_fails_of_a_session_sends_none_of_its_events(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Any], Any],
) -> None:
    """
    They are dropped as hook_failed, while events of no session go out.
    """
    exporter = await make_exporter(before_send=hook_on(SessionProperties, change))
    session = SessionProperties(user_properties={"name": SECRET})

    assert [exporter.push(model_event(), session) for _ in range(2)] == [False, False]
    assert exporter.push(model_event(event_id="e1"))

    assert exporter.stats().dropped_by_reason == {DropReason.HOOK_FAILED: 2}
    [warning] = warnings_in(caplog)
    assert warning.endswith("for a SessionProperties")
    assert [event["event_id"] for event in await sent(exporter, server)] == ["e1"]


async def test_a_session_that_the_hook_spoils_is_invalid(make_exporter: MakeExporter) -> None:
    """
    A session has to have an id, and its scalars their types, after the hook too.
    """

    def spoil(draft: SessionProperties) -> SessionProperties:
        draft.session_id = None
        return draft

    exporter = await make_exporter(before_send=hook_on(SessionProperties, spoil))

    assert not exporter.push(model_event(), SessionProperties())
    assert exporter.stats().dropped_by_reason == {DropReason.INVALID: 1}


# Settings


@pytest.mark.parametrize("name", ["before_send", "on_outcome"])
@pytest.mark.parametrize("value", [later, partial(later), "print", 1, True])
def test_a_hook_is_a_function_that_can_be_called_at_once(name: str, value: Any) -> None:
    """
    A coroutine function would be called and never run: it is refused from the start.
    """
    with pytest.raises(ConfigError, match=f"{name} must be a function that is not a coroutine"):
        Exporter(base_url="http://127.0.0.1:1", **{name: value})


async def test_no_hook_is_called_where_nothing_is_sent(build_exporter: BuildExporter) -> None:
    """
    A disabled or closed exporter has nothing to show it.
    """
    disabled = build_exporter(disabled=True, before_send=fail)
    closed = build_exporter(before_send=fail)
    await closed.aclose()

    assert not disabled.push(model_event(), SessionProperties())
    assert not closed.push(model_event(), SessionProperties())

    assert disabled.stats().dropped_by_reason == {DropReason.DISABLED: 1}
    assert closed.stats().dropped_by_reason == {DropReason.CLOSED: 1}
