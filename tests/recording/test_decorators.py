"""
Functions of each kind, decorated: they do what they did, and each call is an event.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from asyncio import CancelledError
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any

import pytest

from hh_exporter import Event, ModelEvent
from hh_exporter._recording.capture import MAX_COPIED, MAX_YIELDED
from hh_exporter._values.legalize import TOO_LARGE
from tests.recording.recorder import Recorder
from tests.support import EPOCH, FakeClock, settle


async def test_a_decorated_function_can_add_to_its_step(recorder: Recorder) -> None:
    """
    It finds the event of its own call, also in a session within; outside there is none.
    """

    @recorder.trace(event_type="tool")
    async def search(q: str) -> list[str]:
        await asyncio.sleep(0)
        with recorder.session("other"):
            step = recorder.current_step()
        assert step is not None
        step.metrics = {"hits": len(q)}
        return [q]

    @recorder.trace
    def step_of_a_generator() -> Iterator[object]:
        yield recorder.current_step()

    assert recorder.current_step() is None
    await asyncio.gather(search("a"), search("bb"))
    [step] = step_of_a_generator()
    assert recorder.current_step() is None

    assert step is recorder.pushed[-1]
    found = {e.inputs["q"]: e.metrics for e in recorder.pushed if e.inputs}
    assert found == {"a": {"hits": 1}, "bb": {"hits": 2}}


def pushed(recorder: Recorder) -> list[tuple[str | None, Any, Any]]:
    """
    List name, inputs and outputs of each event.
    """
    return [(event.event_name, event.inputs, event.outputs) for event in recorder.pushed]


# All kinds.


async def test_each_kind_of_function_is_recorded(recorder: Recorder) -> None:
    """
    By its name, with what it was given and what came of it; it stays of its kind.
    """

    @recorder.trace(event_type="tool")
    def plain(q: str, limit: int = 2) -> list[str]:
        """
        Find.
        """
        return [q] * limit

    @recorder.trace(event_type="tool")
    async def coroutine(q: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"hit": q}

    @recorder.trace(event_type="tool")
    def generator(q: str) -> Iterator[str]:
        yield q
        yield q

    @recorder.trace(event_type="tool")
    async def agenerator(q: str) -> AsyncIterator[str]:
        yield q
        await asyncio.sleep(0)
        yield q

    assert plain("a") == ["a", "a"]
    assert await coroutine("b") == {"hit": "b"}
    assert list(generator("c")) == ["c", "c"]
    assert [item async for item in agenerator("d")] == ["d", "d"]

    assert pushed(recorder) == [
        ("plain", {"q": "a", "limit": 2}, {"result": ["a", "a"]}),
        ("coroutine", {"q": "b"}, {"hit": "b"}),
        ("generator", {"q": "c"}, {"result": ["c", "c"]}),
        ("agenerator", {"q": "d"}, {"result": ["d", "d"]}),
    ]
    assert {event.event_type for event in recorder.pushed} == {"tool"}
    assert all(type(event) is Event for event in recorder.pushed)
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(agenerator)
    assert plain.__doc__ is not None
    assert str(inspect.signature(plain)) == "(q: 'str', limit: 'int' = 2) -> 'list[str]'"


async def test_a_call_is_timed(recorder: Recorder, clock: FakeClock) -> None:
    """
    From its first step to its last, waits for its reader included.
    """

    @recorder.trace
    async def work() -> None:
        await clock.sleep(2.0)

    @recorder.trace
    def stream() -> Iterator[int]:
        yield 1

    task = asyncio.create_task(work())
    await clock.advance(2.0)
    await task
    items = stream()
    await clock.advance(1.0)
    next(items)
    await clock.advance(3.0)
    list(items)

    times = [(event.start_time / 1000 - EPOCH, event.duration) for event in recorder.pushed]
    assert times == [(0.0, 2000.0), (3.0, 3000.0)]


def test_the_decorator_has_several_forms(recorder: Recorder) -> None:
    """
    With and without parentheses, and with a name.
    """

    @recorder.trace
    def bare() -> None: ...

    @recorder.trace()
    def called() -> None: ...

    @recorder.trace("named", metadata={"tenant": "a"}, outputs={"given": 1}, inputs={})
    def other(value: int) -> int:
        return value

    bare()
    called()
    assert other(1) == 1

    assert pushed(recorder) == [
        ("bare", {}, {"result": None}),
        ("called", {}, {"result": None}),
        ("named", {}, {"given": 1}),
    ]
    assert recorder.pushed[-1].metadata == {"tenant": "a"}
    assert [event.event_type for event in recorder.pushed] == ["chain"] * 3


def test_calls_nest(recorder: Recorder) -> None:
    """
    Each call has an event of its own, also where a function calls itself.
    """

    @recorder.trace
    def count(left: int) -> int:
        return 0 if not left else 1 + count(left - 1)

    with recorder.session("chat"), recorder.trace("outer") as outer:
        assert count(2) == 2

    inner, middle, first, _ = recorder.pushed
    assert [e.inputs["left"] for e in (inner, middle, first)] == [0, 1, 2]
    assert (inner.parent_id, middle.parent_id) == (middle.event_id, first.event_id)
    assert first.parent_id == outer.event_id
    assert len({event.session_id for event in recorder.pushed}) == 1


async def test_calls_at_once_don_t_mix(recorder: Recorder) -> None:
    """
    Parallel calls are siblings.
    """

    @recorder.trace
    async def tool(name: str) -> str:
        await asyncio.sleep(0)
        with recorder.call(event_name=f"{name}'s"):
            await asyncio.sleep(0)
        return name

    @recorder.trace
    async def agent() -> list[str]:
        return await asyncio.gather(*map(tool, "abc"))

    assert await agent() == ["a", "b", "c"]

    parents = {e.inputs["name"]: e for e in recorder.pushed if e.event_name == "tool"}
    [top] = [e for e in recorder.pushed if e.event_name == "agent"]
    assert {e.parent_id for e in parents.values()} == {top.event_id}
    for event in recorder.pushed:
        if event.event_name.endswith("'s"):
            assert event.parent_id == parents[event.event_name[0]].event_id


async def test_errors_are_recorded_and_raised(recorder: Recorder, clock: FakeClock) -> None:
    """
    As they were, from each kind of function; a cancelled one says so.
    """
    error = ValueError("no")

    @recorder.trace
    def plain() -> None:
        raise error

    @recorder.trace
    async def coroutine() -> None:
        raise error

    @recorder.trace
    def generator() -> Iterator[int]:
        yield 1
        raise error

    @recorder.trace
    async def agenerator() -> AsyncIterator[int]:
        yield 1
        raise error

    @recorder.trace
    async def cancelled() -> None:
        await clock.sleep(9.0)

    with pytest.raises(ValueError, match="no") as caught:
        plain()
    assert caught.value is error
    with pytest.raises(ValueError, match="no"):
        await coroutine()
    with pytest.raises(ValueError, match="no"):
        list(generator())
    with pytest.raises(ValueError, match="no"):
        [_ async for _ in agenerator()]
    task = asyncio.create_task(cancelled())
    await settle()
    task.cancel()
    with pytest.raises(CancelledError):
        await task

    assert [e.error for e in recorder.pushed] == ["ValueError: no"] * 4 + ["cancelled"]
    assert [e.outputs for e in recorder.pushed] == [
        *(None, None, {"result": [1]}, {"result": [1]}, None)
    ]


# Methods, and what else can be called.


async def test_methods_of_each_kind(recorder: Recorder) -> None:
    """
    Without `self` and `cls`, on either side of `staticmethod` and `classmethod`.
    """

    class Agent:
        @recorder.trace
        def plain(self, q: str) -> str:
            return q

        @recorder.trace
        async def coroutine(self, q: str) -> str:
            return q

        @classmethod
        @recorder.trace
        def of_class(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @recorder.trace
        @classmethod
        def of_class_above(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @staticmethod
        @recorder.trace
        def static(q: str) -> str:
            return q

        @recorder.trace()
        @staticmethod
        def static_above(q: str) -> str:
            return q

        @recorder.trace
        def __call__(self, q: str) -> str:
            return q

    agent = Agent()
    assert agent.plain("a") == "a"
    assert await agent.coroutine("b") == "b"
    assert agent.of_class("c") == Agent.of_class_above("c") == "Agent c"
    assert agent.static("d") == Agent.static_above("d") == "d"
    assert agent("e") == "e"

    assert [e.inputs for e in recorder.pushed] == [{"q": q} for q in "abccdde"]
    assert [e.event_name for e in recorder.pushed[:3]] == [
        *("Agent.plain", "Agent.coroutine", "Agent.of_class")
    ]


async def test_what_else_can_be_called(recorder: Recorder) -> None:
    """
    Partials, bound methods, objects and builtins.
    """

    class Tool:
        async def __call__(self, q: str) -> str:
            return q

        def method(self, q: str) -> str:
            return q

    def add(a: int, b: int) -> int:
        return a + b

    assert recorder.trace(functools.partial(add, 1))(2) == 3
    assert recorder.trace(Tool().method)("a") == "a"
    assert await recorder.trace(Tool())("b") == "b"
    assert recorder.trace(max)(1, 2) == 2

    assert pushed(recorder) == [
        ("add", {"b": 2}, {"result": 3}),
        ("Tool.method", {"q": "a"}, {"result": "a"}),
        ("Tool", {"q": "b"}, {"result": "b"}),
        ("max", {"args": [1, 2], "kwargs": {}}, {"result": 2}),
    ]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (Event, "only functions can be decorated, and not a class Event"),
        (5, "only functions can be decorated, and not a value of type int"),
        (
            property(lambda _: 1),
            "only functions can be decorated, and not a value of type property",
        ),
    ],
)
def test_what_can_t_be_decorated(recorder: Recorder, what: Any, said: str) -> None:
    """
    That is said where the decorator stands.
    """
    with pytest.raises(TypeError, match=said):
        recorder.trace(what)


def test_wrong_fields_are_found_where_the_decorator_stands(recorder: Recorder) -> None:
    """
    Not at the first call.
    """
    any_recorder: Any = recorder
    with pytest.raises(TypeError, match=r"trace\(\) has no field 'imputs': did you mean 'inputs'"):
        any_recorder.trace(imputs={})(print)

    with pytest.raises(TypeError, match=r"record\(\) needs a model"):
        any_recorder.record(provider="openai")(print)


# Arguments and results.


def test_arguments_have_the_names_that_the_function_has(recorder: Recorder) -> None:
    """
    However they are given, and with defaults; also names that the capture might use itself.
    """

    @recorder.trace
    def f(a, /, b, c=3, *rest, d, copy=None, type=4, _copy=5, **more): ...  # type: ignore[no-untyped-def]  # noqa: A002

    any_f: Any = f
    any_f(1, 2, d=4)
    any_f(1, c=6, b=5, d=7, copy=8, type=9, args=10, kwargs=11)
    any_f(1, 2, 3, 4, [5], d=6)

    defaults = {"copy": None, "type": 4, "_copy": 5}
    assert [e.inputs for e in recorder.pushed] == [
        {"a": 1, "b": 2, "c": 3, "rest": [], "d": 4, **defaults, "more": {}},
        {
            "a": 1,
            "b": 5,
            "c": 6,
            "rest": [],
            "d": 7,
            "copy": 8,
            "type": 9,
            "_copy": 5,
            "more": {"args": 10, "kwargs": 11},
        },
        {"a": 1, "b": 2, "c": 3, "rest": [4, [5]], "d": 6, **defaults, "more": {}},
    ]


def test_arguments_that_don_t_fit_are_the_function_s_to_refuse(recorder: Recorder) -> None:
    """
    Its own error is raised and recorded, with what it was given.
    """

    @recorder.trace
    def f(a: int) -> None: ...

    any_f: Any = f
    with pytest.raises(TypeError, match=r"f\(\) got an unexpected keyword argument 'b'"):
        any_f(1, b=2)

    assert recorder.only.inputs == {"args": [1], "kwargs": {"b": 2}}
    assert recorder.only.error.startswith("TypeError: ")


def test_what_was_given_is_recorded_as_it_was_given(recorder: Recorder) -> None:
    """
    A list that the function appends to, and the dicts in it, are as they were when it began.
    """

    @recorder.trace
    def agent(messages: list[dict[str, str]], state: dict[str, Any], *notes: list[int]) -> None:
        messages[0]["content"] = "changed"
        messages.append({"role": "assistant"})
        state["history"].append("changed")
        state["new"] = 1
        notes[0].append(1)

    history: list[str] = []
    given = [{"role": "user"}]
    agent(given, {"history": history}, [])

    assert len(given) == 2
    assert recorder.only.inputs == {
        "messages": [{"role": "user"}],
        "state": {"history": []},
        "notes": [[]],
    }


def test_large_arguments_are_not_copied(recorder: Recorder) -> None:
    """
    A call costs the same whatever it is given.
    """

    @recorder.trace
    def f(many: list[int], nested: list[list[int]]) -> None: ...

    many = [0] * (MAX_COPIED + 1)
    f(many, [many])

    assert recorder.only.inputs["many"] is many
    assert recorder.only.inputs["nested"][0] is many


class Hostile:
    """
    Raises whatever is asked of it.
    """

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError

    __eq__ = __hash__ = __repr__ = __str__ = __len__ = __bool__ = __iter__ = (  # type: ignore[assignment]
        lambda *_: 1 / 0
    )


async def test_no_value_breaks_a_call(recorder: Recorder) -> None:
    """
    Nothing is asked of arguments, results and items, which may raise at everything.
    """
    hostile = Hostile()

    @recorder.trace
    def plain(value: Any) -> Any:
        return value

    @recorder.trace
    def generator(value: Any) -> Any:
        yield value

    assert plain(hostile) is hostile
    [item] = generator(hostile)
    assert item is hostile
    assert recorder.pushed[0].inputs["value"] is hostile
    assert recorder.pushed[1].outputs["result"][0] is hostile


def test_arguments_and_results_can_be_left_out(recorder: Recorder) -> None:
    """
    Either, for what must not leave the process.
    """

    @recorder.trace(capture_inputs=False, capture_outputs=False)
    def plain(secret: str) -> str:
        return secret

    @recorder.trace(capture_outputs=False)
    def generator(q: str) -> Iterator[str]:
        yield q

    @recorder.record(model="gpt-4o", capture_inputs=False, capture_outputs=False)
    def call(messages: list[str]) -> str:
        return "secret"

    plain("a")
    list(generator("b"))
    call(["c"])

    assert pushed(recorder) == [
        ("plain", None, None),
        ("generator", {"q": "b"}, None),
        ("call", None, None),
    ]
    assert (recorder.pushed[2].messages, recorder.pushed[2].response) == (None, None)


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        (1, MAX_YIELDED // 100),
        ("x" * 9_900, 100),
        (b"x" * 9_900, 100),
        ({"text": "x" * 9_900}, 100),
        (["x" * 9_900], 100),
    ],
    ids=["small", "text", "bytes", "dict", "list"],
)
def test_what_is_kept_of_a_stream_is_bounded(recorder: Recorder, item: Any, kept: int) -> None:
    """
    The reader gets everything; the event says that there was more.
    """

    @recorder.trace
    def generator(count: int) -> Iterator[Any]:
        for _ in range(count):
            yield item

    assert sum(1 for _ in generator(kept)) == kept
    assert sum(1 for _ in generator(kept + 5)) == kept + 5

    whole, cut = (event.outputs["result"] for event in recorder.pushed)
    assert (len(whole), whole[-1]) == (kept, item)
    assert (len(cut), cut[-1]) == (kept + 1, TOO_LARGE)


async def test_what_a_generator_has_yielded_so_far_is_there_at_a_close(
    recorder: Recorder,
) -> None:
    """
    An exporter that closes first pushes what there is, and its end pushes nothing.
    """
    from hh_exporter._recording.blocks import end_all

    @recorder.trace
    def generator() -> Iterator[int]:
        yield 1
        yield 2

    items = generator()
    next(items)
    end_all(recorder._blocks.open)

    assert list(items) == [2]
    assert recorder.only.error == "cancelled"


# Generators do what they did.


def test_a_generator_is_sent_to_and_thrown_at(recorder: Recorder) -> None:
    """
    And returns what it returned.
    """

    @recorder.trace
    def echo() -> Generator[Any, Any, str]:
        got: Any = None
        while got != "end":
            try:
                got = yield got
            except ValueError as exc:
                got = exc
        return "done"

    items = echo()
    assert next(items) is None
    assert items.send(1) == 1
    error = ValueError()
    assert items.throw(error) is error
    with pytest.raises(StopIteration) as stop:
        items.send("end")

    assert stop.value.value == "done"
    assert recorder.only.outputs == {"result": [None, 1, error]}
    assert recorder.only.error is None


async def test_an_asynchronous_generator_is_sent_to_and_thrown_at(recorder: Recorder) -> None:
    """
    As a synchronous one.
    """

    @recorder.trace
    async def echo() -> Any:
        got: Any = None
        while got != "end":
            try:
                got = yield got
            except ValueError as exc:
                got = exc

    items = echo()
    assert await anext(items) is None
    assert await items.asend(1) == 1
    error = ValueError()
    assert await items.athrow(error) is error
    with pytest.raises(StopAsyncIteration):
        await items.asend("end")

    assert recorder.only.outputs == {"result": [None, 1, error]}


async def test_a_generator_is_closed(recorder: Recorder) -> None:
    """
    Its cleanup runs within its step, and to be left is no error.
    """
    parents = []

    @recorder.trace
    def stream() -> Iterator[int]:
        try:
            yield 1
        finally:
            parents.append(recorder.parent)

    @recorder.trace
    async def astream() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            parents.append(recorder.parent)

    items: Any = stream()
    next(items)
    items.close()
    aitems: Any = astream()
    await anext(aitems)
    await aitems.aclose()

    assert parents == [event.event_id for event in recorder.pushed]
    assert [event.error for event in recorder.pushed] == [None, None]
    assert recorder.parent is None


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_generator_that_is_dropped_is_ended_by_the_collector(
    recorder: Recorder, is_async: bool
) -> None:
    """
    With its cleanup, and without an error.
    """
    seen = []

    @recorder.trace
    def stream() -> Iterator[int]:
        try:
            yield 1
        finally:
            seen.append("closed")

    @recorder.trace
    async def astream() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append("closed")

    with recorder.trace("outer") as outer:
        if is_async:
            aitems = astream()
            await anext(aitems)
            del aitems
        else:
            items = stream()
            next(items)
            del items
        gc.collect()
        await settle()
        assert recorder.parent == outer.event_id

    assert seen == ["closed"]
    assert [e.error for e in recorder.pushed] == [None, None]
    assert recorder.tree.popitem() == ("outer", None)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_generator_s_step_is_not_its_reader_s(recorder: Recorder, is_async: bool) -> None:
    """
    The scope is there while a step runs, in whatever context that is; so is one within it.
    """

    @recorder.trace("g")
    def stream() -> Iterator[str | None]:
        yield recorder.parent
        with recorder.trace("inner"):
            yield recorder.parent
            yield recorder.parent
        yield recorder.parent

    @recorder.trace("g")
    async def astream() -> AsyncIterator[str | None]:
        yield recorder.parent
        async with recorder.trace("inner"):
            await asyncio.sleep(0)
            yield recorder.parent
            yield recorder.parent
        yield recorder.parent

    async def take(items: Any) -> str | None:
        item: str | None = await anext(items) if is_async else next(items)
        return item

    seen = []
    with recorder.trace("outer"):
        items: Any = astream() if is_async else stream()
        for context in (None, Context(), None, Context()):
            with recorder.trace("reader") as reader:
                seen.append(await asyncio.create_task(take(items), context=context))
                assert recorder.parent == reader.event_id
        with suppress(StopIteration, StopAsyncIteration):
            await take(items) if is_async else next(items)

    [step] = [event for event in recorder.pushed if event.event_name == "g"]
    [inner] = [event for event in recorder.pushed if event.event_name == "inner"]
    assert seen == [step.event_id, inner.event_id, inner.event_id, step.event_id]
    assert inner.parent_id == step.event_id
    assert recorder.parent is None


def test_other_variables_are_the_generator_s_own_affair(recorder: Recorder) -> None:
    """
    What it sets in the context of its reader stays set, as without the decorator.
    """
    variable: ContextVar[int] = ContextVar("variable", default=0)

    @recorder.trace
    def stream() -> Iterator[int]:
        variable.set(1)
        yield variable.get()

    def read() -> tuple[list[int], int]:
        return list(stream()), variable.get()

    assert Context().run(read) == ([1], 1)


def test_a_generator_s_error_holds_no_frame_of_ours(recorder: Recorder) -> None:
    """
    What was thrown in and comes out again is freed with its last reference.
    """

    @recorder.trace
    def stream() -> Iterator[int]:
        yield 1

    class Marker:
        pass

    def run() -> None:
        marker = Marker()
        error = ValueError(marker)
        items: Any = stream()
        next(items)
        with suppress(ValueError):
            items.throw(error)
        error.__traceback__ = None

    gc.collect()
    gc.disable()
    try:
        run()
        assert not [o for o in gc.get_objects() if type(o) is Marker]
    finally:
        gc.enable()


# Model calls.


async def test_a_model_call_is_recorded(recorder: Recorder) -> None:
    """
    A list of messages, the other arguments, and what it returned.
    """

    @recorder.record(model="gpt-4o", provider="openai")
    async def complete(messages: list[dict[str, str]], temperature: float = 0.5) -> dict[str, str]:
        return {"role": "assistant", "content": "Hi"}

    @recorder.record(model="gpt-4o", event_name="stream")
    def stream(messages: list[str]) -> Iterator[str]:
        yield "Hel"
        yield "lo"

    @recorder.record(model="gpt-4o")
    def ask(messages: str) -> str:
        return "Hi"

    with recorder.trace("step") as step:
        await complete([{"role": "user", "content": "Hello"}])
        list(stream(["a"]))
        ask("Hello")

    first, second, third, _ = recorder.pushed
    assert isinstance(first, ModelEvent)
    assert first.messages == [{"role": "user", "content": "Hello"}]
    assert first.inputs == {"temperature": 0.5}
    assert first.response == {"role": "assistant", "content": "Hi"}
    assert (first.event_name, first.model) == ("complete", "gpt-4o")
    assert (second.messages, second.response) == (["a"], ["Hel", "lo"])
    assert second.event_name == "stream"
    assert (third.messages, third.inputs, third.response) == (None, {"messages": "Hello"}, "Hi")
    assert {e.parent_id for e in (first, second, third)} == {step.event_id}


def test_a_model_call_encloses_nothing(recorder: Recorder) -> None:
    """
    What runs inside is in the step around it; the variable is not touched, by generators either.
    """

    @recorder.record(model="gpt-4o")
    def stream() -> Iterator[str | None]:
        yield recorder.parent

    with recorder.trace("step") as step:
        assert list(stream()) == [step.event_id]


def test_a_function_may_be_decorated_twice(recorder: Recorder) -> None:
    """
    Each decorator records what it sees.
    """

    @recorder.trace("outer")
    @recorder.record(model="gpt-4o")
    def f(q: str) -> str:
        return q

    assert f("a") == "a"

    assert [e.inputs for e in recorder.pushed] == [{"q": "a"}, {"q": "a"}]
