"""
Cancelled at any await, the exporter loses nothing and swallows no cancellation.

Each story is told again and again, with the cancellation one step later each
time, until it comes too late to matter. Nothing here knows where the awaits are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import define, field

from hh_exporter import (
    BatchLimits,
    Exporter,
    ModelEvent,
    Outcome,
    QueueLimits,
    Settlement,
)
from tests.conftest import KEY
from tests.scripted_server import (
    Event,
    Scripted,
    ScriptedServer,
    hang_after_storing,
    partly,
    reset_before_storing,
    status,
    too_many,
    unavailable,
)
from tests.spools import come_back, on_disk
from tests.support import FakeClock, assert_balanced, model_event, settle, until

EVENTS = 30
ROOM = 40

STEP = 0.5
"""Seconds by which time passes at a time."""

Moment = Literal["as it falls asleep", "as it wakes"]
MOMENTS: tuple[Moment, ...] = ("as it falls asleep", "as it wakes")

ENOUGH = 2_000
"""Steps after which a story should have ended."""


@define(eq=False)
class Interrupted:
    """
    Await *work*, with the awaiting task cancelled at one of its suspensions.

    Attributes:
        at: Which suspension; the first is 1.
        moment: Whether it has yet to sleep there, or what it awaits has come
            already, so that the cancellation and the result arrive together.
        times: How often: again at each suspension that follows.
    """

    work: Coroutine[Any, Any, object]
    at: int
    moment: Moment
    times: int = 1
    suspensions: int = field(default=0, init=False)

    def __await__(self) -> Generator[Any, Any, None]:
        step: Callable[[], Any] = partial(self.work.send, None)
        while True:
            try:
                future = step()
            except StopIteration:
                return
            self.suspensions += 1
            if self.at <= self.suspensions < self.at + self.times:
                self._cancel(future)
            try:
                step = partial(self.work.send, (yield future))
            except BaseException as exc:
                step = partial(self.work.throw, exc)

    def _cancel(self, future: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if future is None or self.moment == "as it falls asleep":
            task.cancel()
        else:
            # Called before the task's own callback, which is added after this one.
            future.add_done_callback(lambda _: task.cancel())


@define(eq=False)
class Stage:
    """
    A fresh exporter and server for one telling of a story.
    """

    server: ScriptedServer
    clock: FakeClock
    exporter: Exporter
    outcomes: dict[str, list[Outcome]]
    spool: Path
    accepted: list[str] = field(factory=list)
    """Ids of the events that the exporter has taken."""

    def push(self, n: int) -> None:
        for _ in range(n):
            event = numbered_event(len(self.accepted))
            assert self.exporter.push(event)
            self.accepted.append(id_of(event))

    async def put(self, n: int) -> None:
        for _ in range(n):
            event = numbered_event(len(self.accepted))
            assert await self.exporter.put(event)
            self.accepted.append(id_of(event))


@asynccontextmanager
async def stage(
    *script: Scripted,
    time_passes: bool = True,
    room: int = ROOM,
    spool: Path | None = None,
) -> AsyncIterator[Stage]:
    """
    Set the stage, let time pass on it, and leave nothing of it.
    """
    outcomes: dict[str, list[Outcome]] = {}

    def note_outcome(settlement: Settlement) -> None:
        for event_id in settlement.event_ids:
            outcomes.setdefault(event_id, []).append(settlement.outcome)

    clock = FakeClock()
    async with ScriptedServer() as server:
        server.script(*script)
        exporter = Exporter(
            KEY,
            base_url=server.url,
            queue=QueueLimits(max_events=room, overflow="drop_newest"),
            batch=BatchLimits(max_events=8, linger=0.5),
            max_in_flight=2,
            on_outcome=note_outcome,
            spool=spool,
            _clock=clock,
            _random=lambda: 1.0,
        )
        time = asyncio.create_task(pass_time(clock) if time_passes else asyncio.sleep(0))
        try:
            yield Stage(server, clock, exporter, outcomes, spool or Path())
        finally:
            await exporter.aclose(0.0)
            time.cancel()
            await asyncio.wait([time])
        assert_balanced(exporter)
        await server.disconnected()
        await settle()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


async def pass_time(clock: FakeClock) -> None:
    while True:
        await clock.advance(STEP)


def numbered_event(n: int) -> ModelEvent:
    return model_event(event_id=f"event-{n}", metadata={"n": n})


def id_of(event: ModelEvent) -> str:
    assert event.event_id is not None
    return event.event_id


def is_fifth(event: Event) -> bool:
    return bool(event["metadata"]["n"] % 5 == 4)


# What a program awaits.

Story = Callable[[Stage], Coroutine[Any, Any, object]]


async def push_and_flush(stage: Stage) -> None:
    stage.push(EVENTS)
    await stage.exporter.flush()


async def put_where_there_is_no_room(stage: Stage) -> None:
    await stage.put(ROOM + EVENTS)


async def start(stage: Stage) -> None:
    await stage.exporter.start()
    stage.push(EVENTS)


async def start_push_and_close(stage: Stage) -> None:
    await stage.exporter.start()
    stage.push(EVENTS)
    await stage.exporter.aclose()


async def start_again(stage: Stage) -> None:
    await start_push_and_close(stage)
    await stage.exporter.start()
    stage.push(EVENTS)


async def leave_a_with_block(stage: Stage) -> None:
    async with stage.exporter:
        stage.push(EVENTS)
        await asyncio.sleep(0)
        await stage.exporter.flush(1.0)
        stage.push(EVENTS)


STORIES = [push_and_flush, put_where_there_is_no_room, start]

STORIES_OF_A_CLOSE = [start_push_and_close, start_again, leave_a_with_block]


async def tellings(
    story: Story, moment: Moment, *script: Scripted, times: int = 1, spool: Path | None = None
) -> AsyncIterator[Stage]:
    """
    Tell *story* once for each of its suspensions, cancelled there.

    Args:
        times: How often it is cancelled: again at each suspension that follows.
        spool: Where there is one, no time passes, which the disk would need.
    """
    for at in range(1, ENOUGH):
        async with stage(
            *script, spool=spool and spool / str(at), time_passes=spool is None
        ) as new:
            interrupted = Interrupted(story(new), at, moment, times)
            task = asyncio.ensure_future(_await(interrupted))
            await asyncio.wait([task])
            if interrupted.suspensions < at:
                assert at > 1, "it never waits"
                await task
                return
            assert task.cancelled(), f"swallowed at suspension {at}"
            assert_balanced(new.exporter)
            yield new
    raise AssertionError("it has no end")


async def _await(work: Awaitable[None]) -> None:
    await work


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("story", STORIES)
async def test_a_cancelled_call_loses_no_event(story: Story, moment: Moment) -> None:
    """
    What was accepted before a call is cancelled is delivered, once, under its own id.
    """
    async for told in tellings(story, moment):
        await told.exporter.start()
        result = await told.exporter.flush()

        assert not result.left
        assert Counter(told.server.created_ids) == Counter(told.accepted)
        assert told.outcomes == {i: [Outcome.DELIVERED] for i in told.accepted}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_put_gives_its_room_back(moment: Moment) -> None:
    """
    The room of a put that is cancelled while it waits, or gets it, is free again.
    """
    async for told in tellings(put_where_there_is_no_room, moment):
        await told.exporter.flush()
        told.push(ROOM)  # while the loop does not turn, all of it is needed

        assert not told.exporter.push(model_event())


async def test_the_room_of_a_cancelled_put_goes_to_the_next_in_line() -> None:
    """
    A put that is cancelled as its room comes free hands it on, with nothing else to free any.
    """
    async with stage(hang_after_storing(), room=1) as told:
        told.push(1)
        await told.server.next_request()
        first = asyncio.create_task(told.exporter.put(model_event()))
        second = asyncio.create_task(told.exporter.put(model_event()))
        await settle()
        told.server.release()
        await until(lambda: told.outcomes)
        first.cancel()

        await until(second.done)
        assert second.result()
        assert first.cancelled()


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("story", STORIES_OF_A_CLOSE)
async def test_a_cancelled_close_leaves_nothing_open(
    story: Story, moment: Moment, times: int
) -> None:
    """
    What a close could not send before it was cancelled is dropped by then, and nothing else.
    """
    dropped = 0
    async for told in tellings(story, moment, times=times):
        stats = assert_balanced(told.exporter)
        if stats.health == "closed":
            assert stats.queued == stats.in_flight == 0
        else:  # cancelled before, or after it was opened again
            await told.exporter.flush()

        assert {len(outcomes) for outcomes in told.outcomes.values()} <= {1}
        assert set(told.outcomes) == set(told.accepted)
        is_delivered = [i for i, [outcome] in told.outcomes.items() if outcome is Outcome.DELIVERED]
        assert set(is_delivered) <= set(told.server.created_ids)
        dropped += stats.dropped
    assert dropped or moment == "as it wakes"


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("story", STORIES_OF_A_CLOSE)
async def test_a_cancelled_close_keeps_all_in_the_spool(
    story: Story, moment: Moment, times: int, tmp_path: Path
) -> None:
    """
    What a close could not send before it was cancelled is on disk by then, or in memory still.
    """
    async for told in tellings(story, moment, times=times, spool=tmp_path):
        stats = assert_balanced(told.exporter)
        kept = on_disk(told.spool)
        if stats.health == "closed":
            assert stats.queued == stats.in_flight == 0
            assert len(kept) == stats.spooled
        assert stats.dropped == 0

        await told.exporter.start()
        await come_back(told.exporter, told.clock)
        assert set(told.server.created_ids) == set(told.accepted)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_create_has_an_outcome_if_it_had_begun(moment: Moment) -> None:
    """
    An event whose create_model_event is cancelled is not counted, or dropped; another works.
    """

    async def create(stage: Stage) -> None:
        await stage.exporter.create_model_event(numbered_event(0))

    begun = 0
    async for told in tellings(create, moment, unavailable(), reset_before_storing()):
        stats = told.exporter.stats()
        assert stats.in_flight == 0
        assert told.outcomes == ({"event-0": [Outcome.DROPPED]} if stats.pushed else {})
        begun += stats.pushed

        await told.exporter.create_model_event(numbered_event(1))
        assert told.outcomes["event-1"] == [Outcome.DELIVERED]
    assert begun


# What runs in the background.

TROUBLE = (
    unavailable(),
    partly(is_fifth, shuffle=True, errors=False),
    too_many(1),
    reset_before_storing(),
)
"""A server that makes the worker retry, hold, and take new connections."""

OUTAGE = (unavailable(),) * 7
"""One that fails until all sending is blocked, and fails at a probe, which steps aside."""

REFUSED = (status(401),) * 3
"""One that suspends us, and refuses a probe."""

DISLIKED = (status(400),) * 4
"""One that refuses bodies: they are split, one at a time while others wait for their turn."""

TROUBLES = pytest.mark.parametrize(
    ("script", "step"),
    [
        pytest.param((), 1, id="healthy"),
        pytest.param(TROUBLE, 13, id="trouble"),
        pytest.param(OUTAGE, 43, id="outage"),
        pytest.param(REFUSED, 29, id="refused"),
        pytest.param(DISLIKED, 7, id="disliked"),
    ],
)
"""With how many turns of the loop to go on at a time."""


def is_worker(task: asyncio.Task[Any]) -> bool:
    return task.get_name() == "hh_exporter worker"


def is_delivery(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == "Deliverer.deliver"


def is_ours(task: asyncio.Task[Any]) -> bool:
    return is_worker(task) or is_delivery(task)


def cancel_all(which: Callable[[asyncio.Task[Any]], bool]) -> list[asyncio.Task[Any]]:
    tasks = [task for task in asyncio.all_tasks() if which(task)]
    for task in tasks:
        task.cancel()
    return tasks


async def cancelled_later(
    which: Callable[[asyncio.Task[Any]], bool], step: int, *script: Scripted
) -> AsyncIterator[tuple[Stage, list[asyncio.Task[Any]]]]:
    """
    Have tasks of the exporter cancelled after ever more turns of the loop, while it
    delivers; also those that it has only begun then.
    """
    for turns in count(0, step):
        assert turns < ENOUGH, "it has no end"
        async with stage(*script) as new:
            new.push(EVENTS)
            for _ in range(turns):
                await asyncio.sleep(0)
            if len(new.outcomes) == EVENTS:
                return
            yield new, cancel_all(which)


def assert_all_delivered(told: Stage) -> None:
    """
    Each event has one outcome; an answer lost on the way may have doubled it in the store.
    """
    assert told.outcomes == {i: [Outcome.DELIVERED] for i in told.accepted}
    assert set(told.server.created_ids) == set(told.accepted)
    stats = assert_balanced(told.exporter)
    assert stats.delivered == EVENTS


@TROUBLES
async def test_a_cancelled_worker_sends_or_keeps_what_it_had(
    script: tuple[Scripted, ...], step: int
) -> None:
    """
    A worker cancelled at any moment ends, and the next one delivers what is left.
    """
    async for told, workers in cancelled_later(is_worker, step, *script):
        if workers:
            await asyncio.wait(workers)
        assert all(worker.cancelled() for worker in workers)
        stats = assert_balanced(told.exporter)
        assert stats.in_flight == 0 or not workers

        await told.exporter.start()
        while (await told.exporter.flush()).left:
            pass  # refused once more
        assert_all_delivered(told)


@TROUBLES
async def test_a_cancelled_delivery_gives_its_events_back(
    script: tuple[Scripted, ...], step: int
) -> None:
    """
    The events of a delivery cancelled at any moment are sent by another one.
    """
    async for told, _ in cancelled_later(is_delivery, step, *script):
        while (await told.exporter.flush()).left:
            pass  # refused once more

        assert_all_delivered(told)


@TROUBLES
async def test_a_close_at_any_moment_keeps_its_deadline_and_the_books(
    script: tuple[Scripted, ...], step: int
) -> None:
    """
    aclose ends in time in the midst of any trouble, each event with one outcome.
    """
    async for told, _ in cancelled_later(lambda _: False, 2 * step, *script):
        closed_by = told.clock.now() + 3.0
        result = await told.exporter.aclose(3.0)

        assert told.clock.now() <= closed_by + STEP
        assert not result.left
        assert all(len(outcomes) == 1 for outcomes in told.outcomes.values())
        assert set(told.outcomes) == set(told.accepted)


async def test_a_second_cancellation_ends_a_worker_at_once() -> None:
    """
    A worker cancelled in its last call ends in no time, and what it had is queued.
    """
    for turns in range(40):
        silence = [hang_after_storing() for _ in range(EVENTS)]
        async with stage(*silence, time_passes=False) as told:
            await told.exporter.start()
            told.push(EVENTS)
            await told.server.requests_seen(2)
            cancel_all(is_ours)
            await told.server.requests_seen(4)  # its last call
            for _ in range(turns):
                await asyncio.sleep(0)
            ended = cancel_all(is_ours)
            await until(lambda: all(task.done() for task in ended))  # noqa: B023

            stats = assert_balanced(told.exporter)
            assert (stats.queued, stats.in_flight) == (EVENTS, 0)
            await told.exporter.aclose(0.0)
