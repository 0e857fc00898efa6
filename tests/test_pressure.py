"""
Under load the exporter stays within its budget.
"""

from __future__ import annotations

import logging
from typing import Literal, TypeVar

import pytest

from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import (
    ScriptedServer,
    hang_after_storing,
)
from tests.support import FakeClock, assert_balanced, model_event

T = TypeVar("T")

FLOOD = 50_000
MAX_EVENTS = 2_000


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_a_silent_server_costs_no_more_memory_than_the_budget(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    bound: str,
    overflow: Literal["drop_oldest", "drop_newest"],
) -> None:
    """
    However much is pushed, the budget holds, and the log tells of the loss in one line.
    """
    server.script(*[hang_after_storing() for _ in range(4)])
    size = len(encoded(model_event(event_id="event-00000", inputs={"pad": "x" * 500})))
    limits = {
        "events": QueueLimits(max_events=MAX_EVENTS, overflow=overflow),
        "bytes": QueueLimits(
            max_events=FLOOD, max_bytes=MAX_EVENTS * size + size // 2, overflow=overflow
        ),
    }
    exporter = await make_exporter(queue=limits[bound], batch=BatchLimits(max_events=100))

    accepted = []
    for i in range(FLOOD):
        event_id = f"event-{i:05}"
        if exporter.push(model_event(event_id=event_id, inputs={"pad": "x" * 500})):
            accepted.append(event_id)
        if i == 400:
            await server.requests_seen(4)
        if i % 1000 == 0:
            stats = assert_balanced(exporter)
            assert stats.queued + stats.in_flight <= MAX_EVENTS
            assert stats.queued_bytes == stats.queued * size
    stats = assert_balanced(exporter)

    assert (stats.queued, stats.in_flight) == (MAX_EVENTS - 400, 400)
    assert stats.dropped == FLOOD - MAX_EVENTS
    said = warnings(caplog)
    assert len(said) == 1
    assert said[0].startswith("1 event dropped (queue_full)")
    # Those in flight are the first; of the rest the newest or the oldest are there.
    kept = accepted[:400] + (accepted[400:] if overflow == "drop_newest" else accepted[-1600:])
    server.release()
    await exporter.flush()
    assert sorted(server.created_ids) == kept


def encoded(event: ModelEvent) -> bytes:
    """
    Find the bytes of *event* by the way of all events.
    """
    exporter = Exporter(KEY, base_url="http://127.0.0.1:1", _clock=FakeClock())
    record = exporter._intake.codec.encode(event, str(event.event_id))
    return record.data
