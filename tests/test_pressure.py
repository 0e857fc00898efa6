"""
Under load the exporter stays within its budget.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import pytest

from hh_exporter import BatchLimits, DropReason, Exporter, ModelEvent, QueueLimits
from hh_exporter._clock import let_arrive
from tests.conftest import KEY, MakeExporter
from tests.programs import running
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    status,
)
from tests.support import (
    STEP,
    FakeClock,
    assert_balanced,
    model_event,
    pass_time,
    push_all,
)

FLOOD = 10_000
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

    bodies = -(-stats.body_bytes // size) if bound == "bytes" else 0  # each in the place of events
    assert (stats.queued, stats.in_flight) == (MAX_EVENTS - 400 - bodies, 400)
    assert stats.dropped == FLOOD - MAX_EVENTS + bodies
    said = warnings(caplog)
    assert len(said) == 1
    assert said[0].startswith("hh_exporter: 1 event dropped (queue_full)")
    # Those in flight are the first; of the rest the newest or the oldest are there.
    kept = accepted[:400] + (
        accepted[400:] if overflow == "drop_newest" else accepted[bodies - 1600 :]
    )
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


OVERLOAD = 500
"""Events in each spell of too many."""


@pytest.mark.parametrize(("room", "most"), [(40, 40), (400, 300), (1_000, 750)])
async def test_a_small_queue_can_drop_the_oldest_of_what_waits(
    make_exporter: MakeExporter, server: ScriptedServer, room: int, most: int
) -> None:
    """
    At least a quarter of its events are not in flight, unless these are few.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(
        queue=QueueLimits(max_events=room), batch=BatchLimits(linger=0.0)
    )
    for i in range(3 * room):
        exporter.push(model_event(event_id=f"event-{i:05}"))
        if i % 100 == 99:
            await let_arrive()

    assert 0 < exporter.stats().in_flight <= most
    accepted = exporter.push(model_event())
    assert accepted == (exporter.stats().in_flight < room)


@pytest.mark.parametrize("stalled", [status(503), hang()], ids=["503", "black hole"])
async def test_overload_is_one_warning_and_ends_with_its_cause(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    stalled: Scripted,
) -> None:
    """
    What is too much is shed at once, the oldest first, and once the server is back nothing is.
    """
    room = 50
    exporter = await make_exporter(
        queue=QueueLimits(max_events=room),
        batch=BatchLimits(max_events=10),
        max_in_flight=4,  # with more, all that there is room for may be in flight
    )
    for spell in range(2):
        server.default = stalled
        dropped = exporter.stats().dropped
        for n in range(OVERLOAD):
            requests = exporter.stats().requests
            push_all(exporter, f"e{spell}-{n:03}")
            assert exporter.stats().requests == requests  # whoever pushes waits for nobody
            if n % 10 == 0:
                await pass_time(exporter, server, clock, 1.0)
        stats = assert_balanced(exporter)
        assert stats.dropped_by_reason == {DropReason.QUEUE_FULL: stats.dropped}
        assert stats.dropped - dropped == OVERLOAD - room
        assert stats.health == "retrying"

        server.default = created()
        await server.restart()
        while exporter._queue.has_open_records:
            await pass_time(exporter, server, clock, STEP)
        push_all(exporter, *(well := [f"well{spell}-{n}" for n in range(room)]))
        await exporter.flush()
        assert set(well) <= set(server.created_ids)
        assert f"e{spell}-{OVERLOAD - 1}" in server.created_ids
        assert exporter.stats().dropped == stats.dropped
        assert exporter.stats().health == "ok"
        await clock.advance(60.0)  # without a loss, which ends the episode

    begun = [
        line
        for line in warnings(caplog)
        if line.startswith("hh_exporter: 1 event dropped (queue_full)")
    ]
    assert len(begun) == 2
    assert not server.duplicates()


# What the process really holds.

FLOODED = """
import gc, logging
from hh_exporter import QueueLimits, Spool

logging.disable(logging.CRITICAL)
budget, times, directory = int(os.environ["BUDGET"]), int(os.environ["TIMES"]), os.environ["SPOOL"]

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def flood(size):
    settings = {}
    if directory:
        room = int(os.environ["ROOM"])
        settings["spool"] = Spool(directory, durable=not room, max_bytes=room or 2**30)
    limits = QueueLimits(max_events=10**6, max_bytes=budget)
    exporter = Exporter(queue=limits, batch=BatchLimits(linger=0.0), **settings)
    await exporter.start()
    text, chunk, peak = "x" * size, max(1, budget // size // 16), 0
    for i in range(budget * times // size):
        exporter.push(ModelEvent(model="m", response={"content": text}))
        if i % chunk == 0:
            peak = max(peak, resident())
            await asyncio.sleep(0)
        # As many bodies as take a quarter of it, or one.
        while i == 4 * chunk and exporter.stats().requests < min(4, max(1, budget // size // 5)):
            await asyncio.sleep(0)
    held = exporter.stats()
    assert held.in_flight and held.queued_bytes <= budget and held.dropped or directory, held
    await exporter.aclose(0)
    return peak

async def main():
    gc.collect()
    before = resident()
    say(await flood(int(os.environ["SIZE"])) - before)

asyncio.run(main())
"""

KB, MB = 2**10, 2**20
SIZES = (KB, 64 * KB, MB, 4 * MB)
ROOMS = (None, 4 * MB, 0)
"""Bytes of a spool that is memory first; None for no spool, 0 for a large one that is durable."""

OBJECTS = 0.5
"""What a record of 1 KB costs beside its bytes, in memory and while it waits to be written."""
SLACK = 8 * MB
"""Sockets, code that is first needed, and what the allocator keeps; as much again with a spool."""


def allowed(size: int, budget: int, room: int | None) -> float:
    """
    Compute what the docs allow: the budget, one body and its events, and what waits to be written.

    An event that is being encoded is there twice for a moment, beside all that.
    """
    waiting = 0 if room is None else (room or 32 * MB) + SLACK
    beyond = 2 * (max(size, MB) + 64 * KB)
    return (budget + waiting) * (1 + OBJECTS * KB / size) + beyond + 2 * size + SLACK


async def flood(
    server: ScriptedServer, directory: Path, size: int, budget: int, times: int, room: int | None
) -> int:
    """
    Push *times* the budget in events of *size*; return by how much the process grew at most.
    """
    server.default = hang()
    environ = {
        "BUDGET": str(budget),
        "TIMES": str(times),
        "SIZE": str(size),
        "SPOOL": "" if room is None else str(directory / "spool"),
        "ROOM": str(room or 0),
    }
    with running(FLOODED, server.url, **environ) as program:
        done = await program.ended()
    assert done.status == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    ("size", "room"),
    [(KB, None), (4 * MB, None), (64 * KB, 4 * MB), (MB, 0)],
)
async def test_the_process_stays_within_the_budget(
    server: ScriptedServer, tmp_path: Path, size: int, room: int | None
) -> None:
    """
    A server that stalls costs no more resident memory than the docs say, whatever events are like.
    """
    budget = 20 * MB

    peak = await flood(server, tmp_path, size, budget, 2, room)

    assert peak <= allowed(size, budget, room), peak / budget


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("size", SIZES)
async def test_the_process_stays_within_the_budget_for_long(
    server: ScriptedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    size: int,
    room: int | None,
) -> None:
    """
    So it does after ten times the default budget, in events of one size.
    """
    budget = 64 * MB

    peak = await flood(server, tmp_path, size, budget, 10, room)

    with capsys.disabled():
        share, most = peak / budget, allowed(size, budget, room) / budget
        print(f"\n{size:>8} bytes, room {room}: {share:.2f} of the budget, {most:.2f} allowed")
    assert peak <= allowed(size, budget, room)
