"""
A bell that any thread may ring for a task of one loop.
"""

from __future__ import annotations

import asyncio
import threading

from hh_exporter._bell import Bell
from tests.support import FakeClock, settle


def in_thread(bell: Bell) -> None:
    thread = threading.Thread(target=bell.ring)
    thread.start()
    thread.join()


async def test_a_ring_wakes_who_waits(clock: FakeClock) -> None:
    """
    A wait without a deadline ends with the ring, and not before.
    """
    bell = Bell(clock)
    waiting = asyncio.create_task(bell.wait())
    await clock.advance(1e9)
    assert not waiting.done()

    bell.ring()
    await settle()

    assert waiting.done()


async def test_another_thread_can_ring(clock: FakeClock) -> None:
    """
    It touches nothing of the loop but by the one call that is safe.
    """
    asyncio.get_running_loop().set_debug(True)  # refuses all other calls
    bell = Bell(clock)
    waiting = asyncio.create_task(bell.wait())
    await settle()

    in_thread(bell)
    await settle()

    assert waiting.done()


async def test_a_ring_stays_until_it_is_cleared(clock: FakeClock) -> None:
    """
    Nobody needs to wait for it yet, and two rings are one.
    """
    bell = Bell(clock)
    bell.ring()
    in_thread(bell)
    await settle()

    await bell.wait()
    await bell.wait()
    bell.clear()
    waiting = asyncio.create_task(bell.wait())
    await settle()
    assert not waiting.done()

    bell.ring()
    await waiting


async def test_a_wait_ends_at_its_deadline(clock: FakeClock) -> None:
    """
    Without a ring it returns then, quietly; a deadline that has passed is no wait.
    """
    bell = Bell(clock)
    waiting = asyncio.create_task(bell.wait(10.0))

    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.2)
    await waiting
    await bell.wait(10.0)


async def test_a_cancelled_wait_is_cancelled(clock: FakeClock) -> None:
    """
    A cancellation is no deadline.
    """
    waiting = asyncio.create_task(Bell(clock).wait(10.0))
    await settle()

    waiting.cancel()
    await settle()

    assert waiting.cancelled()


def test_ringing_for_a_loop_that_is_gone_does_nothing(clock: FakeClock) -> None:
    """
    From any thread: nobody can wait there any more.
    """

    async def make() -> Bell:
        return Bell(clock)

    bell = asyncio.run(make())

    bell.ring()
    in_thread(bell)
