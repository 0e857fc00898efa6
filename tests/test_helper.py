"""
A thread of our own makes the calls that would block the loop, and ends with its helper.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hh_exporter._helper import Helper
from tests.support import PATIENCE

__all__ = ["Wall", "named", "out_of_threads"]

NAME = "hh_exporter test"


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@contextmanager
def out_of_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Have the system refuse to start a thread, as it does beyond its limit.
    """

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


class Wall:
    """
    A call that blocks until it is let through.
    """

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.opening = threading.Event()

    def __call__(self) -> str:
        self.is_reached.set()
        assert self.opening.wait(PATIENCE)
        return "through"


async def test_calls_are_made_in_one_thread() -> None:
    """
    All calls are made in the same daemon thread, one after the other.
    """
    helper = Helper(NAME)

    made = await asyncio.gather(*(helper.submit(threading.current_thread) for _ in range(9)))

    assert {(thread.name, thread.daemon) for thread in made} == {(NAME, True)}
    assert len(set(made)) == 1


async def test_what_a_call_raises_is_its_own() -> None:
    """
    An exception goes to who waits for that call, and the thread makes the next one.
    """

    def fail() -> None:
        raise KeyError

    helper = Helper(NAME)
    failed, done = helper.submit(fail), helper.submit(lambda: "done")

    with pytest.raises(KeyError):
        await failed
    assert await done == "done"


@pytest.mark.parametrize("kind", [SystemExit, StopIteration, GeneratorExit])
async def test_what_no_future_takes_is_an_error_of_the_system(kind: type[BaseException]) -> None:
    """
    Whoever waits hears of it by its type, and the thread goes on.
    """

    def fail() -> None:
        raise kind

    helper = Helper(NAME)
    with pytest.raises(OSError, match=kind.__name__):
        await asyncio.wait_for(helper.submit(fail), PATIENCE)
    assert await helper.submit(lambda: 1) == 1


async def test_who_no_longer_waits_is_not_told() -> None:
    """
    A call can't be cancelled, only its future: the thread makes the next one after it.
    """
    helper, wall = Helper(NAME), Wall()
    blocked, behind = helper.submit(wall), helper.submit(lambda: "done")

    blocked.cancel()
    assert not behind.done()
    wall.opening.set()

    assert await behind == "done"


async def test_a_thread_that_waits_refers_to_nothing() -> None:
    """
    What a call used can be collected once it was made, whether or not another follows.
    """
    helper = Helper(NAME)
    wall = Wall()
    wall.opening.set()
    seen = weakref.ref(wall)
    await helper.submit(wall)
    del wall
    await helper.submit(gc.collect)  # by now the thread has gone on

    assert seen() is None


@pytest.mark.parametrize("way", ["closed", "collected"])
async def test_the_thread_ends_with_its_helper(way: str) -> None:
    """
    Whether a helper is closed or forgotten, its thread ends.
    """
    helper = Helper(NAME)
    thread = await helper.submit(threading.current_thread)

    if way == "closed":
        helper.close()
    else:
        del helper
    thread.join(PATIENCE)

    assert not thread.is_alive()


async def test_a_helper_that_is_closed_can_start_again() -> None:
    """
    A new start does not wait for a call that still blocks the thread of the last one.
    """
    helper, wall = Helper(NAME), Wall()
    helper.submit(wall)
    wall.is_reached.wait(PATIENCE)
    [old] = named(NAME)
    helper.close()

    assert await helper.submit(threading.current_thread) is not old

    wall.opening.set()
    old.join(PATIENCE)
    assert not old.is_alive()


def test_a_loop_that_is_gone_is_not_told() -> None:
    """
    A call that outlives its loop ends quietly.
    """
    helper, wall = Helper(NAME), Wall()

    async def leave() -> None:
        helper.submit(wall)

    asyncio.run(leave())
    wall.opening.set()

    assert asyncio.run(_result_of(helper)) == "done"


async def _result_of(helper: Helper) -> str:
    return await helper.submit(lambda: "done")


async def test_no_thread_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A thread that can't be started is EAGAIN, as in pthread_create, and is tried again.
    """
    helper = Helper(NAME)

    with out_of_threads(monkeypatch), pytest.raises(OSError, match="no thread") as caught:
        helper.submit(threading.current_thread)

    assert caught.value.errno == errno.EAGAIN
    assert (await helper.submit(threading.current_thread)).name == NAME
