"""
record(): time a block and push what it was.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from contextvars import copy_context

import pytest

from hh_exporter import ModelEvent
from tests.recording.recorder import Recorder
from tests.support import EPOCH, FakeClock, settle

START = EPOCH * 1000


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


async def test_a_block_is_timed(recorder: Recorder, clock: FakeClock) -> None:
    """
    The event starts and ends with the block, in milliseconds, and is pushed at its end.
    """
    await clock.advance(1.0)

    with recorder.call(provider="openai") as event:
        await clock.advance(0.25)
        event.response = {"content": "Hi"}
        assert recorder.pushed == []

    assert recorder.only is event
    assert event == ModelEvent(
        model="gpt-4o",
        provider="openai",
        response={"content": "Hi"},
        event_id=event.event_id,
        start_time=START + 1000.0,
        end_time=START + 1250.0,
        duration=250.0,
    )


async def test_a_clock_that_is_set_back_shortens_no_block(clock: FakeClock) -> None:
    """
    How long it took is read from the monotonic clock.
    """

    class SetBack(FakeClock):
        now = clock.now

        def wall(self) -> float:
            return EPOCH - clock.now()

    recorder = Recorder(SetBack())

    with recorder.call():
        await clock.advance(2.0)

    assert recorder.only.duration == 2000.0
    assert recorder.only.end_time == START + 2000.0


async def test_times_that_are_set_stay(recorder: Recorder, clock: FakeClock) -> None:
    """
    What the block knows better is not overwritten, zero included.
    """
    with recorder.call(start_time=1.0) as event:
        await clock.advance(1.0)
        event.duration = 0.0
        event.end_time = 2.0

    assert (event.start_time, event.end_time, event.duration) == (1.0, 2.0, 0.0)


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (ValueError("no such model"), "ValueError: no such model"),
        (ValueError(), "ValueError"),
        (CancelledError(), "cancelled"),
        (CancelledError("a message"), "cancelled"),
        (GeneratorExit(), None),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
        (BrokenError(), "BrokenError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_exception_is_recorded_and_goes_on(
    recorder: Recorder, exc: BaseException, text: str | None
) -> None:
    """
    Whatever ends the block is named in `error`, but for a reader's stop, and is raised as it was.
    """
    with pytest.raises(type(exc)) as caught, recorder.call():
        raise exc

    assert caught.value is exc
    assert recorder.only.error == text


@pytest.mark.parametrize("error", ["rate limited", ""])
def test_an_error_that_is_set_stays(recorder: Recorder, error: str) -> None:
    """
    The block may say what went wrong in its own words.
    """
    with suppress(ValueError), recorder.call() as event:
        event.error = error
        raise ValueError("HTTP 429")

    assert recorder.only.error == error


def test_a_block_that_succeeds_has_no_error(recorder: Recorder) -> None:
    """
    Not even one for an exception that was handled inside it.
    """
    with recorder.call(), suppress(ValueError):
        raise ValueError

    assert recorder.only.error is None


async def test_blocks_around_awaits_do_not_mix(recorder: Recorder, clock: FakeClock) -> None:
    """
    Recordings of several tasks overlap, and one that is cancelled says so.
    """

    async def call(name: str, seconds: float) -> None:
        with recorder.call(event_name=name):
            await clock.sleep(seconds)

    tasks = [asyncio.create_task(call(*args)) for args in [("a", 3.0), ("b", 1.0), ("c", 9.0)]]
    await clock.advance(5.0)
    tasks[2].cancel()
    await settle()

    assert [(e.event_name, e.duration, e.error) for e in recorder.pushed] == [
        ("b", 1000.0, None),
        ("a", 3000.0, None),
        ("c", 5000.0, "cancelled"),
    ]
    assert tasks[2].cancelled()


async def test_a_generator_may_be_left_early(recorder: Recorder, clock: FakeClock) -> None:
    """
    A block inside a generator ends with it, exhausted or closed; neither is an error of the call.
    """

    def stream() -> Iterator[str]:
        with recorder.call():
            yield "Hel"
            yield "lo"

    async def astream() -> AsyncIterator[str]:
        with recorder.call():
            yield "Hel"
            await clock.sleep(1.0)

    assert list(stream()) == ["Hel", "lo"]
    left = stream()
    next(left)
    left.close()  # type: ignore[attr-defined]
    aleft = astream()
    await anext(aleft)
    await aleft.aclose()  # type: ignore[attr-defined]

    errors = [event.error for event in recorder.pushed]
    assert errors == [None, None, None]


def test_no_context_variable_is_set(recorder: Recorder) -> None:
    """
    Whatever runs inside the block sees the context that it would see without.
    """
    before = dict(copy_context())

    with recorder.call():
        assert dict(copy_context()) == before
