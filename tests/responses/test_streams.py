"""
ModelCall.stream(): a stream is passed on as it is, and timed.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing, nullcontext, suppress
from typing import Any

import pytest

from hh_exporter import Exporter, ModelCall, ModelEvent
from tests.conftest import MakeExporter
from tests.support import FakeClock, settle


class Source:
    """
    A client's stream: what it yields takes a second each, and it knows whether it was closed.
    """

    def __init__(self, clock: FakeClock, *chunks: Any) -> None:
        self.clock = clock
        self.chunks = list(chunks)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not self.chunks:
            raise StopAsyncIteration
        await self.clock.advance(1.0)
        chunk = self.chunks.pop(0)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    async def close(self) -> None:
        self.closed += 1

    async def __aenter__(self) -> Source:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class EndlessSource:
    """
    A synchronous stream.
    """

    closed = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return "a"

    def close(self) -> None:
        self.closed += 1


def outcome(call: ModelEvent) -> tuple[str | None, str | None]:
    return (call.metadata or {}).get("stream"), call.error


async def test_a_stream_is_passed_on_and_timed(exporter: Exporter, clock: FakeClock) -> None:
    """
    The reader gets each chunk itself; the first one is timed from the beginning of the block.
    """
    chunks = [object(), object()]

    with exporter.record(model="gpt-4o") as call:
        await clock.advance(0.5)
        got = [chunk async for chunk in call.stream(Source(clock, *chunks))]

    assert all(one is other for one, other in zip(got, chunks, strict=True))
    assert call.metrics == {"time_to_first_token": 1500.0}
    assert call.duration == 2500.0
    assert outcome(call) == (None, None)


async def test_a_synchronous_stream_is_passed_on_and_timed(exporter: Exporter) -> None:
    """
    So is any iterable, such as a list that was kept.
    """
    with exporter.record(model="gpt-4o") as call:
        got = list(call.stream(["Hel", "lo"]))

    assert got == ["Hel", "lo"]
    assert call.metrics == {"time_to_first_token": 0.0}
    assert outcome(call) == (None, None)


async def test_what_a_generator_returns_is_passed_on(exporter: Exporter) -> None:
    """
    `yield from` has the value of the generator inside.
    """

    def inner() -> Generator[str, None, str]:
        yield "a"
        return "usage"

    def outer() -> Iterator[str]:
        with exporter.record(model="gpt-4o") as call:
            stream: Any = call.stream(inner())
            returned = yield from stream
        yield returned

    assert list(outer()) == ["a", "usage"]


async def test_other_metrics_and_metadata_stay(exporter: Exporter) -> None:
    """
    What the block sets is joined with what the stream shows, whenever it is set, and counts more.
    """
    given = {"rank": 1}

    with exporter.record(model="gpt-4o", metadata={"tenant": "a"}) as call:
        next(call.stream(["Hel", "lo"]))
        call.metrics = given
    with exporter.record(model="gpt-4o", metadata={"stream": "mine"}) as other:
        next(other.stream(["Hel", "lo"]))
        other.metrics = {"time_to_first_token": 1}

    assert call.metrics == {"rank": 1, "time_to_first_token": 0.0}
    assert call.metadata == {"tenant": "a", "stream": "stopped"}
    assert given == {"rank": 1}
    assert (other.metrics, other.metadata) == ({"time_to_first_token": 1}, {"stream": "mine"})


async def test_a_stream_without_chunks_has_no_first_token(exporter: Exporter) -> None:
    """
    It is complete all the same.
    """
    with exporter.record(model="gpt-4o") as call:
        assert list(call.stream([])) == []

    assert (call.metrics, call.metadata, call.error) == (None, None, None)


async def test_a_reader_that_leaves_stops_it(exporter: Exporter, clock: FakeClock) -> None:
    """
    That is no error, and leaves the client's stream open, as without us; no task closes it.
    """
    source, endless = Source(clock, 1, 2), EndlessSource()
    tasks = asyncio.all_tasks()

    with exporter.record(model="gpt-4o") as call:
        async for _ in call.stream(source):
            break
    with exporter.record(model="gpt-4o") as other:
        for _ in other.stream(endless):
            break
    gc.collect()

    assert outcome(call) == outcome(other) == ("stopped", None)
    assert (source.closed, endless.closed) == (0, 0)
    assert asyncio.all_tasks() == tasks
    assert source.chunks == [2]


async def test_a_reader_that_closes_it_closes_the_clients(
    exporter: Exporter, clock: FakeClock
) -> None:
    """
    Once, however often; after that there is nothing to read.
    """
    source, endless = Source(clock, 1, 2), EndlessSource()

    with exporter.record(model="gpt-4o") as call:
        async with aclosing(call.stream(source)) as chunks:
            await anext(chunks)
        await chunks.aclose()
        assert [chunk async for chunk in chunks] == []
    with exporter.record(model="gpt-4o") as other:
        with closing(other.stream(endless)) as read:
            next(read)
        read.close()
        assert list(read) == []

    assert outcome(call) == outcome(other) == ("stopped", None)
    assert (source.closed, endless.closed) == (1, 1)


async def test_closing_it_closes_generators(exporter: Exporter) -> None:
    """
    Their `finally` runs before `aclose` returns, also that of one behind an iterable of its own.
    """
    ended = []

    async def generate(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append(name)

    class Client:
        def __aiter__(self) -> AsyncIterator[int]:
            return generate("inner")

        async def close(self) -> None:
            ended.append("client")

    sources: list[Any] = [generate("generator"), Client()]
    for source in sources:
        with exporter.record(model="gpt-4o") as call:
            async with aclosing(call.stream(source)) as chunks:
                await anext(chunks)

    assert ended == ["generator", "inner", "client"]


async def test_a_stream_that_is_over_is_not_closed(exporter: Exporter, clock: FakeClock) -> None:
    """
    Closing what was read to its end changes nothing: it stays complete.
    """
    source = Source(clock, 1)

    with exporter.record(model="gpt-4o") as call:
        async with aclosing(call.stream(source)) as chunks:
            assert [chunk async for chunk in chunks] == [1]

    assert source.closed == 0
    assert outcome(call) == (None, None)


async def test_a_clients_context_manager_closes_it(exporter: Exporter, clock: FakeClock) -> None:
    """
    `async with` around the client's own stream works as without us.
    """
    with exporter.record(model="gpt-4o") as call:
        async with Source(clock, 1, 2) as source:
            async for _ in call.stream(source):
                break

    assert source.closed == 1
    assert outcome(call) == ("stopped", None)


@pytest.mark.parametrize("how", ["waiting", "reading", "closing"])
async def test_a_cancelled_reader_is_no_error(
    exporter: Exporter, clock: FakeClock, how: str
) -> None:
    """
    Whether it waits for a chunk, does something with one, or closes it; the cancellation goes on.
    """
    calls = []

    async def chunks() -> AsyncIterator[int]:
        yield 1
        await clock.sleep(9.0)
        yield 2

    async def read() -> None:
        with exporter.record(model="gpt-4o") as call:
            calls.append(call)
            async with (
                aclosing(call.stream(chunks()))
                if how == "closing"
                else nullcontext(call.stream(chunks())) as stream
            ):
                async for _ in stream:
                    await clock.sleep(0.0 if how == "waiting" else 9.0)

    task = asyncio.create_task(read())
    await settle()
    task.cancel()
    await settle()

    assert task.cancelled()
    assert outcome(calls[0]) == ("cancelled", None)


async def test_cancelled_after_its_end(exporter: Exporter) -> None:
    """
    A block that is cancelled when its stream is complete says so in `error`, as without one.
    """
    with suppress(asyncio.CancelledError), exporter.record(model="gpt-4o") as call:
        list(call.stream([1]))
        raise asyncio.CancelledError

    assert outcome(call) == (None, "cancelled")


async def test_an_exception_of_the_stream_reaches_its_reader(
    exporter: Exporter, clock: FakeClock
) -> None:
    """
    As it is; the block's error says which, and the event that its stream has failed.
    """
    error = ConnectionError("reset")

    with pytest.raises(ConnectionError) as caught, exporter.record(model="gpt-4o") as call:
        async for _ in call.stream(Source(clock, 1, error)):
            pass
    with exporter.record(model="gpt-4o") as handled, suppress(ConnectionError):
        async for _ in handled.stream(Source(clock, 1, error)):
            pass

    assert caught.value is error
    assert outcome(call) == ("failed", "ConnectionError: reset")
    assert outcome(handled) == ("failed", None)


async def test_an_error_of_the_reader_is_one(exporter: Exporter) -> None:
    """
    What the reader raises over a chunk stops the stream, and is the block's error.
    """
    with suppress(ValueError), exporter.record(model="gpt-4o") as call:
        for chunk in call.stream(["a"]):
            raise ValueError(chunk)

    assert outcome(call) == ("stopped", "ValueError: a")


async def test_a_stream_may_go_on_after_an_exception(exporter: Exporter, clock: FakeClock) -> None:
    """
    Whether it does is its own affair, such as when a single read timed out.
    """
    with exporter.record(model="gpt-4o") as call:
        chunks = call.stream(Source(clock, 1, TimeoutError(), 2))
        assert await anext(chunks) == 1
        with pytest.raises(TimeoutError):
            await anext(chunks)
        assert [chunk async for chunk in chunks] == [2]

    assert outcome(call) == (None, None)


async def test_a_generator_around_it_may_be_closed(exporter: Exporter) -> None:
    """
    As a web server closes the body of a response whose reader has left.
    """
    calls = []

    async def chunks() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def body() -> AsyncIterator[int]:
        with exporter.record(model="gpt-4o") as call:
            calls.append(call)
            async for chunk in call.stream(chunks()):
                yield chunk

    async with aclosing(body()) as sent:  # type: ignore[type-var]
        await anext(sent)

    assert outcome(calls[0]) == ("stopped", None)


async def test_a_stream_that_nobody_reads(exporter: Exporter, clock: FakeClock) -> None:
    """
    It is not begun; if it is read after its block, it is passed on all the same.
    """
    source = Source(clock, 1)

    with exporter.record(model="gpt-4o") as call:
        late = call.stream(source)
        call.stream(EndlessSource())

    assert outcome(call) == ("stopped", None)
    assert call.metrics is None
    assert [chunk async for chunk in late] == [1]
    assert (call.metrics, source.closed) == (None, 0)


async def test_the_last_stream_counts(exporter: Exporter, clock: FakeClock) -> None:
    """
    A call that was tried again has the outcome of the second try.
    """
    with exporter.record(model="gpt-4o") as call:
        with suppress(ConnectionError):
            async for _ in call.stream(Source(clock, ConnectionError())):
                pass
        async for _ in call.stream(Source(clock, 1)):
            pass

    assert outcome(call) == (None, None)
    assert call.metrics == {"time_to_first_token": 2000.0}


async def test_a_stream_of_both_kinds_is_one(exporter: Exporter, clock: FakeClock) -> None:
    """
    A client's stream that may be read in either way, such as LiteLLM's, may be so afterwards.
    """

    class Both(Source, EndlessSource):  # type: ignore[misc]
        pass

    with exporter.record(model="gpt-4o") as call:
        assert next(iter(call.stream(Both(clock)))) == "a"  # type: ignore[call-overload]
        assert [chunk async for chunk in call.stream(Both(clock, 1))] == [1]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: 5, "stream takes what can be iterated over, not a int"),
        (
            lambda: asyncio.get_running_loop().create_future(),
            "stream takes what can be iterated over, not a Future; await it first",
        ),
    ],
    ids=["number", "future"],
)
async def test_what_is_no_stream_is_refused(
    exporter: Exporter, make: Callable[[], Any], text: str
) -> None:
    """
    With a hint where an `await` was forgotten; the block's error says so, too.
    """
    with pytest.raises(TypeError) as caught, exporter.record(model="gpt-4o") as call:
        call.stream(make())

    assert str(caught.value) == text
    assert call.error == f"TypeError: {caught.value}"
    assert call.metadata is None


async def test_a_broken_clock_breaks_no_stream(make_exporter: MakeExporter) -> None:
    """
    Where no clock may be read the stream is passed on, untimed.
    """

    class Broken(FakeClock):
        is_broken = False

        def now(self) -> float:
            if self.is_broken:
                raise PermissionError
            return super().now()

    clock = Broken()
    exporter = await make_exporter(_clock=clock)
    clock.is_broken = True
    with exporter.record(model="gpt-4o") as call:
        assert list(call.stream(["a"])) == ["a"]
    clock.is_broken = False

    assert call.metrics is None


def test_a_call_is_an_event() -> None:
    """
    It equals the event with the same fields, and a copy of it has them, and no clock.
    """
    call = ModelCall(model="gpt-4o", response={"content": "Hi"})

    assert call == ModelEvent(model="gpt-4o", response={"content": "Hi"})
    assert ModelEvent(model="gpt-4o", response={"content": "Hi"}) == call
    assert call != ModelEvent(model="gpt-4o")
    assert call != "gpt-4o"
    copy = pickle.loads(pickle.dumps(call))
    assert copy == call
    assert type(copy) is ModelCall
    assert list(copy.stream(["a"])) == ["a"]
    assert repr(call).startswith("ModelCall(model='gpt-4o'")
