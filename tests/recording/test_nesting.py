"""
What encloses what: sessions, steps and calls find their place, wherever they run.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import Context, copy_context
from typing import Any
from weakref import ref

import pytest

from hh_exporter import SessionProperties
from hh_exporter._recording.scopes import Scope
from tests.conftest import MakeExporter
from tests.recording.recorder import Recorder
from tests.support import FakeClock, settle


def test_what_is_inside_belongs_to_it(recorder: Recorder) -> None:
    """
    Steps and calls have the step around them as their parent, and all are in the session.
    """
    with recorder.session("chat", user_properties={"plan": "pro"}) as session:
        with recorder.trace("answer") as answer:
            with recorder.trace("search", event_type="tool"), recorder.call(event_name="rank"):
                pass
            with recorder.call(event_name="write"):
                pass
        with recorder.call(event_name="after"):
            pass

    assert recorder.tree == {
        "rank": "search",
        "search": "answer",
        "write": "answer",
        "answer": None,
        "after": None,
    }
    assert {event.session_id for event in recorder.pushed} == {session.session_id}
    assert recorder.sessions == [session] * 5
    assert answer.parent_id is None  # for the server, that is the session
    assert session.user_properties == {"plan": "pro"}


async def test_blocks_may_be_asynchronous(recorder: Recorder) -> None:
    """
    `async with` is the same as `with`.
    """
    async with (
        recorder.session("chat") as session,
        recorder.trace("answer") as step,
        recorder.call(event_name="write") as call,
    ):
        assert (call.parent_id, call.session_id) == (step.event_id, session.session_id)

    assert recorder.tree == {"write": "answer", "answer": None}
    assert recorder.parent is None


def test_ids_are_there_on_entry(recorder: Recorder) -> None:
    """
    What is in another process, say, can be told of them; ids of the user's own stay.
    """
    with recorder.trace("a", event_id="mine") as step, recorder.call() as call:
        assert step.event_id == call.parent_id == "mine"
        assert len(call.event_id or "") == 36
    with recorder.call(event_id="c", session_id="s", parent_id="p") as call:
        pass

    assert (call.event_id, call.session_id, call.parent_id) == ("c", "s", "p")


def test_a_step_without_a_session_begins_one(recorder: Recorder) -> None:
    """
    Or the server would make a session for each event inside, and the tree would be in none.
    """
    with recorder.trace("a") as first, recorder.call() as inside:
        pass
    with recorder.trace("b") as second:
        pass
    with recorder.call() as alone:
        pass

    assert first.session_id == inside.session_id is not None
    assert second.session_id not in (None, first.session_id)
    assert alone.session_id is None
    assert recorder.sessions == [None] * 4


def test_a_step_that_is_a_session_is_its_own(recorder: Recorder) -> None:
    """
    The server knows a session's own event by its id.
    """
    with recorder.trace("chat", event_type="session") as chat, recorder.call() as call:
        pass

    assert chat.session_id == chat.event_id == call.session_id == call.parent_id


def test_what_is_given_counts(recorder: Recorder) -> None:
    """
    An event with a session of its own has no parent in another, unless it names one.
    """
    other = SessionProperties(session_name="other")
    with recorder.session("chat") as chat, recorder.trace("a") as step:
        with recorder.call(session=other) as elsewhere, recorder.call(session_id="s") as named:
            pass
        with recorder.call(session=other, parent_id="p") as parented:
            pass
        with recorder.call(session_id=chat.session_id) as here:
            pass
        with recorder.trace("b", session=other), recorder.call() as inside:
            pass

    assert (elsewhere.session_id, elsewhere.parent_id) == (other.session_id, None)
    assert (named.session_id, named.parent_id) == ("s", None)
    assert (parented.session_id, parented.parent_id) == (other.session_id, "p")
    assert (here.session_id, here.parent_id) == (chat.session_id, step.event_id)
    assert inside.session_id == other.session_id
    assert recorder.sessions[:4] == [None, other, other, chat]


def test_a_session_in_a_step_begins_a_tree(recorder: Recorder) -> None:
    """
    A session that is entered again within one of its own steps does not.
    """
    with recorder.session("a") as a, recorder.trace("outer") as step:
        with recorder.session("b"), recorder.call() as other:
            pass
        with recorder.session(a) as again, recorder.call() as same:
            pass

    assert again is a
    assert other.parent_id is None
    assert same.parent_id == step.event_id


def test_a_session_can_be_joined(recorder: Recorder) -> None:
    """
    With nothing but its id nothing is announced: that is for the program that has begun it.
    """
    with recorder.session(session_id="s") as session, recorder.call() as call:
        pass
    with recorder.session("named", session_id="t"), recorder.call():
        pass

    assert session.session_id == call.session_id == "s"
    assert [s and s.session_name for s in recorder.sessions] == [None, "named"]


def test_no_context_variable_is_set_by_a_call(recorder: Recorder) -> None:
    """
    Whatever runs inside the block sees the context that it would see without.
    """
    before = dict(copy_context())

    with recorder.call():
        assert dict(copy_context()) == before


def test_nothing_is_left_of_a_block(recorder: Recorder) -> None:
    """
    The scope of a step ends with it, also by an exception.
    """
    with recorder.session("a"):
        with suppress(ValueError), recorder.trace("b"):
            raise ValueError
        assert recorder.parent is None
    assert [value for value in copy_context().values() if isinstance(value, Scope)] == []


# Tasks.


async def test_parallel_tools_are_in_the_step_that_starts_them(
    recorder: Recorder, clock: FakeClock
) -> None:
    """
    Tasks of a group, and those that are gathered, nest by themselves and not in each other.
    """

    async def tool(name: str, seconds: float) -> None:
        with recorder.trace(name, event_type="tool"):
            await clock.sleep(seconds)
            with recorder.call(event_name=f"{name}'s"):
                await clock.sleep(seconds)

    async def agent() -> None:
        with recorder.trace("agent"):
            async with asyncio.TaskGroup() as group:
                group.create_task(tool("a", 2.0))
                group.create_task(tool("b", 1.0))
            await asyncio.gather(tool("c", 1.0), tool("d", 2.0))

    task = asyncio.create_task(agent())
    await clock.advance(20.0)
    await task

    tools = dict.fromkeys("abcd", "agent")
    assert recorder.tree == tools | {f"{name}'s": name for name in "abcd"} | {"agent": None}
    assert len({event.session_id for event in recorder.pushed}) == 1


async def test_a_task_that_outlives_its_step_belongs_to_it(recorder: Recorder) -> None:
    """
    What goes on in the background is still part of what started it.
    """
    go_on = asyncio.Event()

    async def background() -> None:
        await go_on.wait()
        with recorder.trace("background"):
            pass

    async def start() -> asyncio.Task[None]:
        with recorder.trace("step"):
            return asyncio.create_task(background())

    task = await start()
    assert recorder.parent is None
    go_on.set()
    await task

    assert recorder.tree == {"step": None, "background": "step"}


async def test_tasks_that_start_each_other_without_end_leave_no_chain(recorder: Recorder) -> None:
    """
    Each is a child of the last, of which nothing is kept but its ids.
    """

    async def job(left: int) -> None:
        with recorder.trace(f"job {left}"):
            if left:
                tasks.append(asyncio.create_task(job(left - 1)))

    tasks = [asyncio.create_task(job(50))]
    for task in tasks:
        await task
    gc.collect()

    assert recorder.tree["job 0"] == "job 1"
    scopes = [o for o in gc.get_objects() if isinstance(o, Scope)]
    assert len([scope for scope in scopes if scope._before or scope._outer]) <= 1


async def test_a_step_that_is_cancelled_leaves_nothing(
    recorder: Recorder, clock: FakeClock
) -> None:
    """
    Its event says so, and what encloses it is again what encloses all else.
    """
    with recorder.trace("outer") as outer:

        async def work() -> None:
            with suppress(CancelledError), recorder.trace("inner"):
                await clock.sleep(9.0)
            assert recorder.parent == outer.event_id

        task = asyncio.create_task(work())
        await settle()
        task.cancel()
        await task

    assert [(e.event_name, e.error) for e in recorder.pushed] == [
        ("inner", "cancelled"),
        ("outer", None),
    ]


async def test_no_context_keeps_an_exporter(clock: FakeClock) -> None:
    """
    A task that outlives its step has the ids of that, and neither its event nor its exporter.
    """
    recorder = Recorder(clock)
    may_end = asyncio.Event()
    with recorder.trace("a", inputs={"q": (payload := Payload())}), recorder.session("b"):
        task = asyncio.create_task(may_end.wait())
        await settle()

    gone: list[ref[Any]] = [ref(recorder), ref(payload)]
    del recorder, payload
    gc.collect()
    assert [was() for was in gone] == [None, None]

    may_end.set()
    await task


class Payload:
    pass


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs Python 3.12")
async def test_eager_tasks_nest_like_others(recorder: Recorder, clock: FakeClock) -> None:
    """
    A task that runs within the call that makes it leaves its scope behind for nobody.
    """
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

    async def tool(name: str) -> None:
        with recorder.trace(name):
            await clock.sleep(1.0)
            with recorder.call(event_name=f"{name}'s"):
                pass

    with recorder.trace("agent") as agent:
        tasks = [asyncio.create_task(tool(name)) for name in "ab"]
        assert recorder.parent == agent.event_id
    await clock.advance(5.0)
    await asyncio.gather(*tasks)

    assert recorder.tree == {"agent": None, "a": "agent", "b": "agent", "a's": "a", "b's": "b"}


# Threads.


async def test_threads_with_a_copied_context_belong_to_it(recorder: Recorder) -> None:
    """
    `asyncio.to_thread` copies it by itself; a thread that has none is outside.
    """

    def tool(name: str) -> None:
        with recorder.trace(name):
            pass

    with recorder.trace("agent"):
        await asyncio.to_thread(tool, "to_thread")
        run_thread(copy_context().run, tool, "copied")
        run_thread(Context().run, tool, "bare")

    assert recorder.tree == {"to_thread": "agent", "copied": "agent", "bare": None, "agent": None}


def run_thread(call: Callable[..., object], *args: object) -> None:
    thread = threading.Thread(target=call, args=args)
    thread.start()
    thread.join()


def test_a_program_without_a_loop_nests(recorder: Recorder) -> None:
    """
    In plain threads, each with a tree of its own.
    """
    is_open, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with recorder.trace("held"):
            is_open.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_open.wait()
    with recorder.trace("main"), recorder.call(event_name="call"):
        pass
    may_end.set()
    thread.join()

    assert recorder.tree == {"call": "main", "main": None, "held": None}


def test_a_block_may_end_in_another_thread(recorder: Recorder) -> None:
    """
    The thread that began it is inside no more, though only its own end could have set that back.
    """
    block = recorder.trace("moved")
    block.__enter__()
    run_thread(block.__exit__, None, None, None)

    with recorder.trace("next") as step:
        assert recorder.parent == step.event_id
    assert recorder.parent is None
    assert recorder.tree == {"moved": None, "next": None}


# Two exporters.


def test_exporters_don_t_see_each_other(clock: FakeClock) -> None:
    """
    Each finds the nearest scope of its own, whatever the other has opened since.
    """
    one, other = Recorder(clock), Recorder(clock)

    with one.trace("a"):
        with (
            other.trace("A"),
            one.trace("b"),
            other.call(event_name="B"),
            one.call(event_name="c"),
        ):
            pass
        with one.call(event_name="d"):
            pass

    assert one.tree == {"c": "b", "b": "a", "d": "a", "a": None}
    assert other.tree == {"B": "A", "A": None}


async def test_a_task_keeps_what_each_exporter_had_around_it(clock: FakeClock) -> None:
    """
    Also when the step that started it has ended.
    """
    one, other = Recorder(clock), Recorder(clock)
    go_on = asyncio.Event()

    async def background() -> None:
        await go_on.wait()
        with one.call(event_name="b"), other.call(event_name="B"):
            pass

    with one.trace("a"), other.trace("A"):
        task = asyncio.create_task(background())
    go_on.set()
    await task

    assert (one.tree["b"], other.tree["B"]) == ("a", "A")


# Generators.


def steps(recorder: Recorder, name: str, count: int = 3) -> Generator[str, None, None]:
    """
    A generator with a step around all that it does.
    """
    with recorder.trace(name):
        for number in range(count):
            with recorder.call(event_name=f"{name}{number}"):
                pass
            yield name


async def asteps(recorder: Recorder, name: str, count: int = 3) -> AsyncIterator[str]:
    async with recorder.trace(name):
        for number in range(count):
            await asyncio.sleep(0)
            with recorder.call(event_name=f"{name}{number}"):
                pass
            yield name


async def drain(items: Iterator[str] | AsyncIterator[str], see: Callable[[], None]) -> None:
    if isinstance(items, Iterator):
        for _ in items:
            see()
    else:
        async for _ in items:
            see()


@pytest.mark.parametrize("make", [steps, asteps])
async def test_a_generator_s_step_is_not_its_reader_s(
    recorder: Recorder, make: Callable[..., Any]
) -> None:
    """
    Between two items the reader is where it was, and the generator's calls stay in its step.
    """
    seen = []

    def see() -> None:
        seen.append(recorder.parent)
        with recorder.trace(f"read {len(seen)}"):
            pass

    with recorder.trace("outer") as outer:
        await drain(make(recorder, "g"), see)

    assert seen == [outer.event_id] * 3
    reads = {f"read {number}": "outer" for number in (1, 2, 3)}
    assert recorder.tree == reads | {"g0": "g", "g1": "g", "g2": "g", "g": "outer", "outer": None}


@pytest.mark.parametrize("make", [steps, asteps])
async def test_generators_may_take_turns(recorder: Recorder, make: Callable[..., Any]) -> None:
    """
    Each is in its own step, whichever was entered last, and they may end in any order.
    """
    first, second = make(recorder, "a"), make(recorder, "b")

    async def take(items: Any) -> None:
        with suppress(StopIteration, StopAsyncIteration):
            _ = next(items) if isinstance(items, Iterator) else await anext(items)
        assert recorder.parent is None

    for items in (first, second, first, second, first, first, second, second):
        await take(items)

    own = {f"{name}{number}": name for name in "ab" for number in range(3)}
    assert recorder.tree == own | {"a": None, "b": None}


@pytest.mark.parametrize("make", [steps, asteps])
async def test_a_generator_in_its_reader_s_step_stays_in_its_own(
    recorder: Recorder, make: Callable[..., Any]
) -> None:
    """
    A step that the reader opens around a single item encloses the generator less closely.
    """
    items = make(recorder, "g", 2)

    async def take() -> None:
        with suppress(StopIteration, StopAsyncIteration):
            _ = next(items) if isinstance(items, Iterator) else await anext(items)

    await take()
    with recorder.trace("reader"), recorder.trace("within"):
        await take()
    await take()

    assert recorder.tree == {
        "g0": "g",
        "g1": "g",
        "within": "reader",
        "reader": None,
        "g": None,
    }


async def test_a_generator_may_outlive_the_step_that_it_began_in(recorder: Recorder) -> None:
    """
    It goes on in its own; nothing is left of either, in whatever order they end.
    """
    for make in (steps, asteps):
        with recorder.trace("outer") as outer:
            items: Any = make(recorder, "g", 2)
            await drain_one(items)
            task = asyncio.create_task(look(recorder))
        assert recorder.parent is None
        await drain_one(items)
        assert recorder.parent is None
        await drain_one(items)
        assert [value for value in copy_context().values() if isinstance(value, Scope)] == []
        assert await task in (outer.event_id, recorder.pushed[-1].event_id)
        assert recorder.tree == {"g0": "g", "g1": "g", "g": "outer", "outer": None}


async def look(recorder: Recorder) -> str | None:
    return recorder.parent


async def drain_one(items: Any) -> None:
    _ = next(items, None) if isinstance(items, Iterator) else await anext(items, None)


def test_generators_within_generators(recorder: Recorder) -> None:
    """
    What one calls or delegates to is in its step, and has no other.
    """

    def outer() -> Iterator[str]:
        with recorder.trace("outer"):
            yield from steps(recorder, "inner", 2)
            for item in steps(recorder, "called", 2):
                with recorder.call(event_name="use"):
                    yield item

    items = outer()
    for _ in items:
        assert recorder.parent is None

    assert recorder.tree == {
        "inner0": "inner",
        "inner1": "inner",
        "inner": "outer",
        "called0": "called",
        "called1": "called",
        "called": "outer",
        "use": "outer",
        "outer": None,
    }


def test_a_generator_may_go_on_in_another_context(recorder: Recorder) -> None:
    """
    As where a server takes each item in a thread of a pool: all are in its step.
    """
    items = steps(recorder, "g")

    with recorder.trace("request") as request:
        for _ in range(4):
            run_thread(copy_context().run, next, items, None)
            assert recorder.parent == request.event_id

    assert recorder.tree == {
        "g0": "g",
        "g1": "g",
        "g2": "g",
        "g": "request",
        "request": None,
    }


async def test_an_asynchronous_generator_may_go_on_in_another_task(recorder: Recorder) -> None:
    """
    And end there.
    """
    items = asteps(recorder, "g", 2)

    async def take() -> str | None:
        return await anext(items, None)

    for _ in range(3):
        await asyncio.create_task(take(), context=Context())

    assert recorder.tree == {"g0": "g", "g1": "g", "g": None}
    assert recorder.parent is None


async def test_a_generator_that_nobody_reads_on_is_ended_by_the_collector(
    recorder: Recorder,
) -> None:
    """
    Its event has no error, and nothing is left of its scope.
    """
    with recorder.trace("outer") as outer:
        for make in (steps, asteps):
            items: Any = make(recorder, "g")
            _ = next(items) if isinstance(items, Iterator) else await anext(items)
            del items
            gc.collect()
            await settle()
        assert recorder.parent == outer.event_id

    assert [e.error for e in recorder.pushed if e.event_name == "g"] == [None, None]
    assert recorder.tree["g"] == "outer"


async def test_a_task_that_a_generator_starts_belongs_to_its_step(recorder: Recorder) -> None:
    """
    It has a copy of the context, and the generator's frame is not on its stack.
    """

    async def tool() -> None:
        with recorder.call(event_name="tool"):
            pass

    async def stream() -> AsyncIterator[None]:
        with recorder.trace("stream"):
            await asyncio.create_task(tool())
            yield

    async for _ in stream():
        pass

    assert recorder.tree == {"tool": "stream", "stream": None}


async def test_a_context_manager_of_the_user_s_own_encloses_its_block(recorder: Recorder) -> None:
    """
    A generator that contextlib drives is no stream: its step is there for the block.
    """

    @contextmanager
    def step(name: str) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(recorder.trace(name))
            yield

    @asynccontextmanager
    async def astep(name: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(recorder.trace(name))
            yield

    with step("a"):
        async with astep("b"):
            with recorder.call(event_name="c"):
                pass
    assert recorder.parent is None

    assert recorder.tree == {"c": "b", "b": "a", "a": None}


def test_a_stack_in_a_generator_is_the_generator_s(recorder: Recorder) -> None:
    """
    An ExitStack is looked through.
    """

    def stream() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(recorder.trace("stream"))
            yield
            with recorder.call(event_name="call"):
                pass

    for _ in stream():
        assert recorder.parent is None

    assert recorder.tree == {"call": "stream", "stream": None}


async def test_a_coroutine_in_a_generator_is_no_generator(recorder: Recorder) -> None:
    """
    Its block can't be open while the generator yields.
    """

    async def work() -> None:
        with recorder.trace("work"):
            await asyncio.sleep(0)
            with recorder.call(event_name="call"):
                pass

    async def stream() -> AsyncIterator[None]:
        with recorder.trace("stream"):
            await work()
            yield

    async for _ in stream():
        assert recorder.parent is None

    assert recorder.tree == {"call": "work", "work": "stream", "stream": None}


# What is entered more than once, and what ends elsewhere.


async def test_one_object_may_be_entered_again(recorder: Recorder) -> None:
    """
    Also while it is open, by several tasks: each entry is an event.
    """
    block = recorder.trace("again")
    session = recorder.session("shared")

    async def enter(turns: int) -> str | None:
        async with session, block as event:
            for _ in range(turns):
                await asyncio.sleep(0)
            assert recorder.parent == event.event_id
        assert recorder.parent is None
        return event.event_id

    ids = await asyncio.gather(enter(3), enter(1), enter(2))
    with block, block as inner:
        pass

    ended = [e.event_id for e in recorder.pushed]
    assert ended[:4] == [ids[1], ids[2], ids[0], inner.event_id]
    assert len({e.event_id for e in recorder.pushed}) == 5
    assert inner.parent_id == recorder.pushed[-1].event_id


def test_an_event_has_its_place_from_where_it_began(recorder: Recorder) -> None:
    """
    Where it is pushed is another's, such as that of a program that closes its exporter.
    """
    seen: list[str | None] = []

    def look() -> None:  # as a hook of the user's may
        recorder.on_push = bool
        seen.append(recorder.parent)
        with recorder.trace("hook") as step, recorder.call(event_name="call"):
            seen.append(step.parent_id)
            assert recorder.parent == step.event_id
        assert recorder.parent is None

    outside = recorder.call(event_name="outside")
    outside.__enter__()
    with recorder.trace("other") as other:
        recorder.on_push = look
        outside.__exit__(None, None, None)
        assert recorder.parent == other.event_id

    assert seen == [None, None]
    assert recorder.tree == {"outside": None, "call": "hook", "hook": None, "other": None}


async def test_the_worker_inherits_nothing(make_exporter: MakeExporter) -> None:
    """
    What runs in the exporter's own task is in no session, whoever started that.
    """
    seen: list[dict[Any, Any]] = []
    exporter = await make_exporter(on_outcome=lambda _: seen.append(dict(copy_context())))

    with exporter.session("chat"):
        with exporter.record(model="gpt-4o"):
            pass
        await exporter.flush()

    assert seen
    assert not [
        scope for held in seen for scope in held.values() if type(scope).__name__ == "Scope"
    ]


async def test_a_session_begins_where_its_block_does(recorder: Recorder, clock: FakeClock) -> None:
    """
    Not when the first event inside ends. One that another program may have begun says nothing.
    """
    began = clock.wall() * 1000
    with recorder.session("chat", session_id=None) as session:
        await clock.advance(2.0)
        with recorder.call():
            pass
    with recorder.session(session) as again:
        assert again is session
    with recorder.session("chat", session_id="s") as joined:
        pass
    with recorder.session("chat", start_time=5) as timed:
        pass

    assert recorder.sessions[0] is session
    assert session.start_time == began
    assert (joined.start_time, timed.start_time) == (None, 5)
