"""
A backlog is packed in a thread while the server is gone, and arrives as it was pushed.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from random import Random
from typing import Any

import pytest

from hh_exporter import BatchLimits, Exporter, QueueLimits
from hh_exporter._helper import Helper
from tests.conftest import KEY, MakeExporter
from tests.delivery.test_outage import opened
from tests.scripted_server import ScriptedServer, created, unavailable
from tests.support import (
    PATIENCE,
    FakeClock,
    assert_balanced,
    flushed,
    model_event,
    settle,
    until,
)

LIMITS = QueueLimits(max_bytes=256_000, overflow="drop_newest")
COUNT = 80
SIZE = 2_000
"""So that 80 events fit, and 32 are a backlog."""


def push_some(exporter: Exporter, count: int = COUNT, *, first: int = 0) -> dict[str, str]:
    """
    Push events that are unlike each other; returns what each says.
    """
    said = {f"e{n}": Random(n).randbytes(SIZE // 2).hex() for n in range(first, first + count)}
    for event_id, text in said.items():
        assert exporter.push(model_event(event_id=event_id, error=text))
    return said


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "hh_exporter packing"]


def created_with(server: ScriptedServer) -> dict[str, Any]:
    return {event["event_id"]: event.get("error") for event in server.created}


async def begin_outage(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    """
    Have sending blocked, so that all that is pushed waits.
    """
    server.default = unavailable()
    await opened(exporter, server, clock)


async def end_outage(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, said: dict[str, str]
) -> None:
    """
    See that all arrives, with what it says.
    """
    server.default = created()
    assert (await flushed(exporter, clock)).left == 0
    assert {i: text for i, text in created_with(server).items() if i != "first"} == said
    assert exporter.stats().queued_packed == 0


async def packed(exporter: Exporter, count: int) -> None:
    await until(lambda: exporter.stats().queued_packed >= count)


async def test_a_backlog_is_packed_and_arrives_as_it_was(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    More is held than would fit otherwise, nothing is dropped, and each event has its own bytes.
    """
    exporter = await make_exporter(queue=LIMITS, batch=BatchLimits(max_events=7, linger=1.0))
    await begin_outage(exporter, server, clock)

    said = push_some(exporter)
    await packed(exporter, 50)
    said |= push_some(exporter, 50, first=COUNT)

    stats = assert_balanced(exporter)
    assert stats.dropped == 0
    assert stats.capacity_bytes < SIZE * len(said)
    await packed(exporter, 100)
    await end_outage(exporter, server, clock, said)


async def test_no_thread_in_good_times(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It starts with the first backlog and ends with the exporter.
    """
    exporter = await make_exporter(queue=LIMITS)
    push_some(exporter, 20)
    await flushed(exporter, clock)
    assert not threads()

    await begin_outage(exporter, server, clock)
    push_some(exporter, first=20)
    await packed(exporter, 50)
    [thread] = threads()

    await exporter.aclose(0.0)
    await until(lambda: not thread.is_alive())
    assert assert_balanced(exporter).dropped == COUNT + 1


async def test_without_a_thread_nothing_is_packed(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where the system has no more threads, all waits as it is.
    """
    exporter = await make_exporter(queue=LIMITS)
    start = Helper.start

    def start_others(helper: Helper) -> None:
        if helper.name == "hh_exporter packing":
            raise OSError(errno.EAGAIN, "no thread can be started")
        start(helper)

    monkeypatch.setattr(Helper, "start", start_others)
    await begin_outage(exporter, server, clock)
    said = push_some(exporter)
    await settle()

    assert exporter.stats().queued_packed == 0
    await end_outage(exporter, server, clock, said)


async def test_a_job_that_fails_leaves_all_as_it_was(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Such as one for which there is no memory.
    """
    exporter = await make_exporter(queue=LIMITS)
    failed = threading.Event()

    def fail(*_: object) -> bytes:
        failed.set()
        raise MemoryError

    monkeypatch.setattr("hh_exporter._records.pack", fail)
    await begin_outage(exporter, server, clock)
    said = push_some(exporter)
    await until(failed.is_set)

    assert exporter.stats().queued_packed == 0
    await end_outage(exporter, server, clock, said)


async def test_an_idle_backlog_wakes_nobody(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Once all is packed that can be, the worker sleeps until the next probe.
    """
    exporter = await make_exporter(queue=LIMITS)
    await begin_outage(exporter, server, clock)
    push_some(exporter)
    await packed(exporter, 50)
    worker = exporter._life.worker
    assert worker is not None
    await until(lambda: not worker.packer._is_busy and not exporter.stats().in_flight)
    before = exporter.stats().queued_packed

    rings, ring = list[None](), worker.packer.wake
    worker.packer.wake = worker.queue.on_due = lambda: rings.append(ring())
    await settle()
    push_some(exporter, 1, first=COUNT)
    await settle()

    assert not rings
    assert exporter.stats().queued_packed == before


async def test_what_one_loop_packed_another_sends(server: ScriptedServer) -> None:
    """
    The worker of a loop that no longer runs leaves packed events to the next.
    """
    server.default = unavailable()
    # The system's clock: two loops may not wait for the same fake one.
    exporter = Exporter(KEY, base_url=server.url, queue=LIMITS)
    loop, said = asyncio.new_event_loop(), dict[str, str]()

    async def begin() -> None:
        await exporter.start()
        said.update(push_some(exporter))
        await packed(exporter, 50)

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    await asyncio.to_thread(loop.run_until_complete, begin())
    server.default = created()
    await exporter.start()
    result = await exporter.aclose(PATIENCE)
    await asyncio.to_thread(loop.run_until_complete, end())
    loop.close()

    assert result.delivered == COUNT
    assert created_with(server) == said
