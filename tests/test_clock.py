"""
Time in which nothing of ours can run counts towards no deadline.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._clock import NEVER, PARTS, Deadline, SystemClock, let_arrive, within
from tests.support import FakeClock, settle

LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
]

seconds = st.floats(0.01, 1e6)


@given(start=st.floats(0.0, 1e9), length=seconds)
def test_a_deadline_holds_where_the_loop_turns(start: float, length: float) -> None:
    """
    Who looks whenever it is time to finds it over at its moment, neither sooner nor later.
    """
    deadline = Deadline(start + length, start)
    now = start

    while not deadline.is_over(now):
        assert now < start + length
        now = deadline.look(now)

    assert (now, deadline.held) == (start + length, 0.0)


@given(length=seconds, standstill=st.floats(0.1, 1e9), after=st.floats(0.0, 0.74))
def test_a_standstill_costs_a_quarter_at_most(
    length: float, standstill: float, after: float
) -> None:
    """
    However long nothing can run, three quarters of the time are left to what can.
    """
    deadline = Deadline(length, 0.0)
    now, resumed, used = 0.0, 0.0, 0.0
    began = after * length
    while not deadline.is_over(now):
        due = deadline.look(now)
        if not resumed and due > began:
            due = resumed = max(due, began + standstill)
            used = began
        now = due

    assert used + now - resumed >= length * 0.74
    assert used + now - resumed <= length * 1.01 + 0.2


@given(late=st.lists(st.floats(0.0, 1e6), min_size=PARTS, max_size=PARTS))
def test_a_deadline_comes_however_late_each_turn_is(late: list[float]) -> None:
    """
    A loop that stands still again and again has a few turns, and not endlessly many.
    """
    deadline = Deadline(10.0, 0.0)
    now, looks = 0.0, 0
    while not deadline.is_over(now):
        now = deadline.look(now) + late[looks % PARTS]
        looks += 1

    assert looks <= PARTS + 1


@pytest.mark.parametrize("at", [-inf, -1.0, 0.0])
def test_what_is_past_is_over(at: float) -> None:
    """
    Where no time is left to begin with, none is added.
    """
    deadline = Deadline(at, 0.0)

    assert deadline.is_over(0.0)
    assert deadline.is_over(1000.0)


def test_never_does_not_come() -> None:
    """
    Nobody has to look at it, and whoever does changes nothing.
    """
    assert NEVER.look(1e9) == inf
    assert not NEVER.is_over(1e9)


async def test_who_waits_gives_up_in_time(clock: FakeClock) -> None:
    """
    At its moment, the deadline ends what waits with TimeoutError.
    """

    async def wait() -> None:
        async with within(clock, Deadline(10.0, 0.0)):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.1)

    with pytest.raises(TimeoutError):
        waiting.result()


async def test_who_waited_leaves_no_timer(clock: FakeClock) -> None:
    """
    Nothing wakes the loop once nobody waits, nor where nobody will give up.
    """
    async with within(clock, Deadline(10.0, 0.0)):
        assert clock.next_timer() == 2.5
    assert clock.next_timer() == inf

    async with within(clock, NEVER):
        assert clock.next_timer() == inf


async def test_who_waits_has_its_time_after_a_standstill(clock: FakeClock) -> None:
    """
    A loop that was blocked for long gives what it waits for the rest of the time.
    """
    answer = asyncio.Event()

    async def wait() -> None:
        async with within(clock, Deadline(10.0, 0.0)):
            await answer.wait()

    waiting = asyncio.create_task(wait())
    await settle()
    clock.stand_still(1000.0)
    await clock.advance(7.4)
    assert not waiting.done()
    answer.set()

    await waiting


@pytest.mark.parametrize("make_loop", LOOPS)
def test_what_lies_in_the_socket_wins(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """
    An answer that arrived while the loop was blocked counts, though the timer is due as well.
    """

    async def read(sock: socket.socket, clock: FakeClock) -> bytes:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            async with within(clock, Deadline(10.0, 0.0)):
                return await reader.readexactly(6)
        finally:
            writer.close()

    async def main() -> bytes:
        clock = FakeClock()
        ours, theirs = socket.socketpair()
        with theirs:
            reading = asyncio.create_task(read(ours, clock))
            await clock.advance(7.5)
            theirs.sendall(b"answer")
            clock.stand_still(2.5)
            return await reading

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(main()) == b"answer"


@pytest.mark.parametrize("make_loop", LOOPS)
def test_the_machines_clock_keeps_a_deadline(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """
    Timers of either loop end what waits, and not before its moment.
    """

    async def main() -> float:
        clock = SystemClock()
        began = clock.now()
        with pytest.raises(TimeoutError):
            async with within(clock, Deadline(began + 0.02, began)):
                await asyncio.Event().wait()
        return clock.now() - began

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(main()) >= 0.02


@pytest.mark.parametrize("make_loop", LOOPS)
def test_what_has_arrived_is_let_in(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """
    Before a task is cancelled it can go on with what lies in its socket.
    """

    async def main() -> bool:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            reading = asyncio.create_task(reader.readexactly(6))
            await settle()
            theirs.sendall(b"answer")
            await let_arrive()
            writer.close()
            return reading.done()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(main())
