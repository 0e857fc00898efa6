"""
Events that are pushed inside a session or a step belong there, too.
"""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

import pytest

from hh_exporter import Event, Exporter, SessionProperties
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import model_event

both = pytest.mark.parametrize("dialect", ["legacy", "v1"])


def sent(server: ScriptedServer) -> dict[str, tuple[str | None, str | None]]:
    """
    The session and the parent of each event.
    """
    return {
        event["event_id"]: (event.get("session_id"), event.get("parent_id"))
        for request in server.requests
        for event in request.events
    }


@both
async def test_what_is_pushed_belongs_to_the_blocks_around_it(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    By push and put: the session, and the nearest step as parent.
    """
    event = model_event(event_id="e1")
    with exporter.session("chat") as session:
        exporter.push(event)
        with exporter.trace("step") as step:
            exporter.push(Event(event_type="tool", event_id="e2"))
            await exporter.put(model_event(event_id="e3"))
    exporter.push(model_event(event_id="e4"))
    await exporter.flush()

    found = sent(server)
    assert found["e1"] == (session.session_id, None)
    assert found["e2"] == found["e3"] == (session.session_id, step.event_id)
    assert found["e4"] == (None, None)
    assert event.session_id is None


@both
async def test_later_events_belong_there_as_the_first_does(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    Also once the session's properties are sent: with odd payloads, and with extra keys.
    """
    with exporter.session("chat") as session:
        exporter.push(model_event(event_id="e1"))
        await exporter.flush()
        with exporter.trace("step") as step:
            exporter.push(model_event(event_id="e2"))
            exporter.push(Event(event_type="tool", event_id="e3", inputs={"odd": object()}))
            exporter.push(model_event(event_id="e4", extra={"children_ids": ["c"]}))
    with exporter.session(session_id="chat 7"), exporter.trace("other") as other:
        exporter.push(model_event(event_id="e5"))
    await exporter.flush()

    found = sent(server)
    assert found["e1"] == (session.session_id, None)
    assert found["e2"] == found["e3"] == found["e4"] == (session.session_id, step.event_id)
    assert found["e5"] == (str(uuid5(NAMESPACE_URL, "chat 7")), other.event_id)


@both
async def test_one_event_at_once_belongs_there_too(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    `create_model_event` takes a session, and the one around it otherwise.
    """
    given = SessionProperties(session_name="given")
    with exporter.session("chat") as session:
        await exporter.create_model_event(model_event(event_id="e1"))
        await exporter.create_model_event(model_event(event_id="e2"), session=given)
    await exporter.flush()

    found = sent(server)
    assert found["e1"] == (session.session_id, None)
    assert found["e2"] == (given.session_id, None)
    if dialect == "v1":
        assert {session.session_id, given.session_id} <= found.keys()


async def test_what_names_its_own_place_stays_there(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    An event with a session or a parent of its own, or given one, is not moved.
    """
    own = "5e551000-0000-4000-8000-000000000001"
    given = SessionProperties()
    with exporter.session("chat"), exporter.trace("step"):
        exporter.push(model_event(event_id="e1", session_id=own))
        exporter.push(model_event(event_id="e2", parent_id="p"))
        exporter.push(model_event(event_id="e3"), session=given)
        exporter.push(Event(event_type="session", event_id=own))
    await exporter.flush()

    found = sent(server)
    assert found["e1"] == (own, None)
    assert found["e2"] == (None, "p")
    assert found["e3"] == (given.session_id, None)
    assert found[own] == (own, None)


async def test_blocks_of_another_exporter_say_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Each has sessions and steps of its own.
    """
    one, other = await make_exporter(), await make_exporter()
    with one.session("chat"), one.trace("step"):
        other.push(model_event(event_id="e1"))
    await other.flush()

    assert sent(server)["e1"] == (None, None)


async def test_a_wrong_event_is_dropped_there_as_elsewhere(
    exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    push never raises because of data; the log says what is wrong.
    """
    with exporter.session("chat"):
        for wrong in (None, {"model": "m"}, object()):
            assert not exporter.push(wrong)  # type: ignore[arg-type]

    said = [record.getMessage() for record in caplog.records]
    for wrong in ("NoneType", "dict", "object"):
        assert any(f"push takes a ModelEvent or an Event, not a {wrong}" in each for each in said)
