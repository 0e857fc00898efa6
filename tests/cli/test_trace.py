"""
The agent of the demo: a session whose steps a server can put together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hh_exporter._cli._trace import agent_trace
from hh_exporter.events import Event, ModelEvent

if TYPE_CHECKING:
    from hh_exporter.events import AnyEvent

NOW = 1_796_037_000_000.0


def kind_of(event: AnyEvent) -> str:
    return event.event_type if isinstance(event, Event) else "model"


def depth(event: AnyEvent, by_id: dict[str | None, AnyEvent]) -> int:
    """
    Count how far it stands below the session.
    """
    parent = by_id.get(event.parent_id)
    return 0 if parent is None else 1 + depth(parent, by_id)


def test_it_has_three_levels_of_every_kind() -> None:
    """
    One session, of which all are part; what an event led to comes before it.
    """
    events = agent_trace(NOW)
    by_id = {event.event_id: event for event in events}

    assert {kind_of(event) for event in events} == {"session", "chain", "tool", "model"}
    assert {event.session_id for event in events} == {events[-1].event_id}
    assert max(depth(event, by_id) for event in events) == 3
    places = {event.event_id: place for place, event in enumerate(events)}
    assert all(
        places[event.event_id] < places[event.parent_id] for event in events if event.parent_id
    )


def test_its_times_agree() -> None:
    """
    It ends now, each step within its parent's time, and some side by side.
    """
    events = agent_trace(NOW)
    spans: dict[str | None, Any] = {
        event.event_id: (event.start_time, event.end_time, event.duration) for event in events
    }

    for event in events:
        start, end, duration = spans[event.event_id]
        assert end - start == duration
        if event.parent_id is not None:
            parent_start, parent_end, _ = spans[event.parent_id]
            assert parent_start <= start < end <= parent_end
    assert spans[events[-1].event_id][1] == NOW
    order, address = (
        next(spans[event.event_id] for event in events if event.event_name == name)
        for name in ("lookup_order", "agent/address")
    )
    assert address[0] < order[1] < address[1]


def test_a_call_was_streamed_and_a_tool_failed() -> None:
    """
    There is something to see.
    """
    events = agent_trace(NOW)

    assert [event.event_name for event in events if event.error] == ["geocode"]
    calls = [event for event in events if isinstance(event, ModelEvent)]
    assert [call.metrics for call in calls] == [None, {"time_to_first_token": 410}]


def test_each_has_ids_of_its_own() -> None:
    """
    Two demos leave two sessions.
    """
    first, second = ({event.event_id for event in agent_trace(NOW)} for _ in range(2))

    assert len(first) == len(second) == 9
    assert not first & second
