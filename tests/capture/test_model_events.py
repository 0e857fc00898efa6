"""
Spans that end, whoever ends them, and wherever: none is lost without being counted.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hh_exporter import ConfigError, DropReason, Exporter, Settlement
from hh_exporter._capture.duplicates import HOLD
from hh_exporter._capture.inbox import ROOM
from hh_exporter._clock import SystemClock
from hh_exporter.integrations.genai import ModelEvents
from tests.capture.tracing import AGENT, CALL, OUTSIDE, TOOL, Traced
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer, hang
from tests.support import FakeClock, assert_balanced, delivered, in_thread, settle, until


class Dropped:
    """
    A stream that its reader forgets: the garbage collector ends its span.
    """

    def __init__(self, span: Any) -> None:
        self.span = span
        self.itself = self

    def __del__(self) -> None:
        self.span.end()


async def test_calls_are_pushed_by_themselves(
    traced: Traced, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A step is pushed as soon as it ends, a call once it has waited for duplicates.
    """
    traced.end("tool", attributes=TOOL)
    traced.end("call")
    await settle()
    assert assert_balanced(traced.exporter).pushed == 1

    await clock.advance(HOLD)
    assert assert_balanced(traced.exporter).pushed == 2
    await traced.exporter.flush()
    assert traced.exporter.stats().delivered == 2


async def test_a_wrong_choice_is_refused(exporter: Exporter) -> None:
    """
    What may be sent is said in one way.
    """
    with pytest.raises(ConfigError, match='only must be "model" or None'):
        ModelEvents(exporter, only="tool")  # type: ignore[arg-type]


async def test_other_spans_are_passed_over(traced: Traced) -> None:
    """
    What is no step of an LLM program wakes nothing and is never pushed.
    """
    for name in ("GET /", "SELECT"):
        traced.end(name, attributes=OUTSIDE)
    assert not traced.events._pump.holds()
    await traced.exporter.flush()

    assert traced.exporter.stats().pushed == 0


class TestWhoeverEndsThem:
    """
    Threads, the garbage collector, and locks that are held meanwhile.
    """

    async def test_the_garbage_collector(self, traced: Traced, server: ScriptedServer) -> None:
        """
        A stream that is dropped ends its span in a finalizer, here while our locks are held.
        """
        Dropped(traced.start("dropped"))
        with traced.exporter._queue.lock, traced.events._pump._lock:
            gc.collect()

        assert set(await traced.sent(server)) == {"dropped"}

    async def test_the_garbage_collector_of_another_thread(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        It runs in whichever thread, while another one holds our locks.
        """
        Dropped(traced.start("dropped"))
        thread = threading.Thread(target=gc.collect)
        with traced.exporter._queue.lock, traced.events._pump._lock:
            thread.start()
            thread.join()

        assert set(await traced.sent(server)) == {"dropped"}

    async def test_a_thousand_threads(self, traced: Traced, server: ScriptedServer) -> None:
        """
        Spans that end in threads all arrive, at their places.
        """

        def work(number: int) -> None:
            with traced.span(f"agent {number}", AGENT), traced.span(f"call {number}"):
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

        tree = await traced.tree(server)
        assert tree == {
            **{f"agent {number}": None for number in range(1_000)},
            **{f"call {number}": f"agent {number}" for number in range(1_000)},
        }

    async def test_a_span_that_began_before(
        self, exporter: Exporter, server: ScriptedServer
    ) -> None:
        """
        A processor may be added while spans are open: they count, and lead nowhere unknown.
        """
        provider = TracerProvider(shutdown_on_exit=False)
        tracer = provider.get_tracer("t")
        spans = [tracer.start_span(name, attributes=CALL) for name in ("call", "call 2")]
        traced = Traced(exporter)
        provider.add_span_processor(traced.events)
        for span in spans:
            span.end()

        assert await traced.tree(server) == {"call": None, "call 2": None}

    async def test_beside_other_processors(
        self, exporter: Exporter, server: ScriptedServer
    ) -> None:
        """
        In a provider that calls several processors in threads, each gets each span.
        """
        kept, processor = InMemorySpanExporter(), ConcurrentMultiSpanProcessor(3)
        traced = Traced(exporter)
        traced.provider = TracerProvider(shutdown_on_exit=False, active_span_processor=processor)
        for each in (SimpleSpanProcessor(kept), traced.events):
            traced.provider.add_span_processor(each)
        with traced.exporter.session(session_id="s"), traced.span("agent", AGENT):
            traced.end("call")
        processor._executor.shutdown()

        assert await traced.tree(server) == {"agent": None, "call": "agent"}
        assert len(kept.get_finished_spans()) == 2

    async def test_added_twice(self, traced: Traced, server: ScriptedServer) -> None:
        """
        A processor that is added twice, or to two providers, reports each span once.
        """
        traced.provider.add_span_processor(traced.events)
        with traced.span("agent", AGENT):
            traced.end("call", "other")
            await traced.exporter.flush()

        assert await traced.tree(server) == {"agent": None, "call": "agent", "other": "agent"}

    async def test_two_exporters(self, make_exporter: MakeExporter, server: ScriptedServer) -> None:
        """
        Each of two exporters on one provider gets each span.
        """
        one, other = Traced(await make_exporter()), Traced(await make_exporter(), only="model")
        one.provider.add_span_processor(other.events)
        with one.span("agent", AGENT):
            one.end("call")
        await one.exporter.flush()
        await other.exporter.flush()

        assert (one.exporter.stats().delivered, other.exporter.stats().delivered) == (2, 1)


class TestTooMuch:
    """
    What has no room, or can't be read.
    """

    async def test_overflow_is_counted(self, make_exporter: MakeExporter) -> None:
        """
        What ends while the inbox is full is dropped as `queue_full`, each under an id.
        """
        settled: list[Settlement] = []
        exporter = await make_exporter(on_outcome=settled.append)
        traced = Traced(exporter)
        for _ in range(ROOM + 2_500):
            traced.provider.get_tracer("t").start_span("tool", Context(), attributes=TOOL).end()
        assert exporter.stats().pushed == 0
        await exporter.flush()

        stats = assert_balanced(exporter)
        assert stats.pushed == ROOM + 2_500
        assert stats.dropped_by_reason[DropReason.QUEUE_FULL] >= 2_500
        lost = {i for s in settled if s.reason is DropReason.QUEUE_FULL for i in s.event_ids}
        assert len(lost) == stats.dropped_by_reason[DropReason.QUEUE_FULL]

    async def test_what_cant_be_read_is_counted(
        self, traced: Traced, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A span that is in no form that is known is dropped, and says so once; others are sent.
        """
        for _ in range(2):
            with traced.span("odd", TOOL) as span:
                span._events = None  # type: ignore[attr-defined]
        traced.end("tool", attributes=TOOL)

        assert set(await traced.sent(server)) == {"tool"}
        assert assert_balanced(traced.exporter).dropped_by_reason == {DropReason.INTERNAL_ERROR: 2}
        said = [record.message for record in caplog.records]
        assert sum("a span can't be read (TypeError)" in each for each in said) == 1

    async def test_many_at_once_hold_the_loop_in_slices(self, make_exporter: MakeExporter) -> None:
        """
        Two thousand spans that end at once are read in many turns of the loop.
        """
        exporter = await make_exporter(_clock=SystemClock())
        traced = Traced(exporter)
        for _ in range(2_000):
            traced.provider.get_tracer("t").start_span("tool", Context(), attributes=TOOL).end()
        turns = 0
        while traced.events._pump.holds():
            await asyncio.sleep(0)
            turns += 1

        # On a machine that reads a span in 10 µs, it takes 40 slices of half a millisecond.
        assert turns >= 40
        assert assert_balanced(exporter).pushed == 2_000

    async def test_dropped_attributes_are_warned_of_once(
        self, traced: Traced, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        OpenTelemetry drops the oldest attributes beyond its limit, which may be the first messages.
        """
        for _ in range(2):
            with traced.span("call") as span:
                for number in range(200):
                    span.set_attribute(f"filler.{number}", 1)
                span.set_attributes(CALL)
        caplog.set_level(logging.WARNING, "hh_exporter")
        await traced.exporter.flush()

        said = [r.message for r in caplog.records if r.name.startswith("hh_exporter")]
        assert len(said) == 1
        assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in said[0]


class TestFlush:
    """
    `force_flush` and `shutdown` of the provider.
    """

    async def test_in_the_loops_own_thread(self, traced: Traced, server: ScriptedServer) -> None:
        """
        There nothing can be waited for: all is pushed, and it says that not all is delivered.
        """
        traced.end("call")

        assert traced.provider.force_flush() is False
        assert assert_balanced(traced.exporter).pushed == 1
        await traced.exporter.flush()
        assert traced.provider.force_flush() is True

    async def test_in_another_thread(self, traced: Traced, server: ScriptedServer) -> None:
        """
        There it waits until all is delivered.
        """
        traced.end("call")

        assert await asyncio.to_thread(traced.provider.force_flush) is True
        assert len(server.created) == 1

    async def test_within_its_timeout(self, traced: Traced, server: ScriptedServer) -> None:
        """
        If the server does not answer, it gives up in time.
        """
        server.default = hang()
        traced.end("call")

        assert await asyncio.to_thread(traced.provider.force_flush, 50) is False

    async def test_while_the_loop_is_blocked(self, exporter: Exporter) -> None:
        """
        A provider that flushes in threads of its own blocks the loop, which then is not waited for.
        """
        traced = Traced(exporter)
        processor = ConcurrentMultiSpanProcessor(1)
        processor.add_span_processor(traced.events)
        traced.end("call")

        assert processor.force_flush() is False
        processor._executor.shutdown()
        assert assert_balanced(exporter).pushed == 1

    async def test_with_a_loop_that_was_stopped(self, build_exporter: BuildExporter) -> None:
        """
        Nothing turns there: what waits is pushed, and waits for the next loop.
        """
        exporter = build_exporter()
        traced = Traced(exporter)
        loop = asyncio.new_event_loop()

        def use_and_stop() -> bool:
            loop.run_until_complete(exporter.start())
            traced.end("call")
            return traced.provider.force_flush()

        assert await asyncio.to_thread(use_and_stop) is False
        assert assert_balanced(exporter).queued == 1
        worker = exporter._keeper.worker
        assert worker is not None
        await exporter.flush()
        assert exporter.stats().delivered == 1
        await asyncio.to_thread(loop.run_until_complete, worker.ended.wait())  # and its requests
        loop.close()

    async def test_a_shutdown_pushes_and_leaves_the_exporter_open(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        A provider may be shut down twice, and the exporter outlives it.
        """
        traced.end("call")
        traced.provider.shutdown()
        assert assert_balanced(traced.exporter).pushed == 1
        traced.events.shutdown()

        other = Traced(traced.exporter)
        other.end("call 2")
        assert set(await other.sent(server)) == {"call", "call 2"}


class TestLife:
    """
    Exporters that are not started, closed, disabled, or collected.
    """

    async def test_the_first_span_starts_it(
        self, build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock
    ) -> None:
        """
        As the first push does.
        """
        exporter = build_exporter()
        Traced(exporter).end("tool", attributes=TOOL)
        await settle()
        await clock.advance(2.0)
        await delivered(exporter, 1)

    async def test_spans_from_before_any_loop(
        self, build_exporter: BuildExporter, server: ScriptedServer
    ) -> None:
        """
        What ended where no loop ran is read as soon as the exporter has one.
        """
        exporter = build_exporter()
        traced = Traced(exporter)
        await asyncio.to_thread(traced.end, "tool", attributes=TOOL)
        assert exporter.stats().pushed == 0
        await exporter.start()
        await settle()

        assert assert_balanced(exporter).pushed == 1

    async def test_a_second_loop(self, build_exporter: BuildExporter) -> None:
        """
        Each `asyncio.run` reads its own spans, and the first leaves nothing.
        """
        exporter = build_exporter(_clock=SystemClock())
        traced = Traced(exporter)

        async def main() -> None:
            traced.end("call", "other")

        for number in range(1, 4):
            await in_thread(main)
            stats = assert_balanced(exporter)
            assert (stats.pushed, stats.delivered) == (2 * number, 2 * number)

    async def test_a_loop_that_is_stopped(self, build_exporter: BuildExporter) -> None:
        """
        What ended in a loop that never runs again is read in the next one.
        """
        exporter = build_exporter()
        traced = Traced(exporter)
        loop = asyncio.new_event_loop()

        async def end_one() -> None:
            traced.end("tool", attributes=TOOL)

        await asyncio.to_thread(loop.run_until_complete, end_one())
        traced.end("tool 2", attributes=TOOL)
        await settle()

        assert assert_balanced(exporter).pushed == 2
        await exporter.flush()
        loop.close()

    async def test_a_close_in_another_thread_waits_for_what_is_being_pushed(
        self, server: ScriptedServer
    ) -> None:
        """
        It would drop it as closed. Here a hook takes long, in the thread of the exporter.
        """
        is_in_hook, may_go_on = threading.Event(), threading.Event()

        def hook(event: Any) -> Any:
            is_in_hook.set()
            may_go_on.wait(10)
            return event

        exporter = Exporter.in_thread("k", base_url=server.url, before_send=hook)
        traced = Traced(exporter)
        traced.end("tool", attributes=TOOL)
        assert await asyncio.to_thread(is_in_hook.wait, 10)
        closer = threading.Thread(target=exporter.close)
        closer.start()
        closer.join(0.1)  # as far as it comes
        may_go_on.set()
        await asyncio.to_thread(closer.join)

        stats = exporter.stats()
        assert (stats.delivered, stats.dropped) == (1, 0)

    async def test_spans_that_end_as_tasks_are_cancelled(
        self, build_exporter: BuildExporter
    ) -> None:
        """
        `asyncio.run` cancels streams, which end their spans then: these are delivered, too.
        """
        exporter = build_exporter(_clock=SystemClock())
        traced = Traced(exporter)

        async def stream(name: str) -> None:
            with traced.span(name), suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

        async def main() -> None:
            tasks.extend(asyncio.create_task(stream(f"call {number}")) for number in range(3))
            await asyncio.sleep(0)

        tasks: list[asyncio.Task[None]] = []
        await in_thread(main)

        stats = assert_balanced(exporter)
        assert (stats.pushed, stats.delivered) == (3, 3)

    async def test_after_a_close(
        self, traced: Traced, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A span that ends after the close is dropped as `closed`, and a new start takes spans again.
        """
        await traced.exporter.aclose()
        traced.end("late")
        await settle()

        assert assert_balanced(traced.exporter).dropped_by_reason == {DropReason.CLOSED: 1}
        await traced.exporter.start()
        traced.end("call")
        assert set(await traced.sent(server)) == {"call"}

    async def test_a_close_pushes_what_waits(self, traced: Traced, server: ScriptedServer) -> None:
        """
        Calls that wait for duplicates are delivered by a close.
        """
        traced.end("call")
        result = await traced.exporter.aclose()

        assert (result.delivered, len(server.created)) == (1, 1)

    async def test_a_disabled_exporter(
        self, make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Nothing piles up, and nothing is said.
        """
        traced = Traced(await make_exporter(disabled=True))
        traced.end("tool", attributes=TOOL)
        traced.end("call")

        assert not traced.events._pump.holds()
        assert not traced.events._lineage.spans
        assert traced.provider.force_flush() is True
        assert not [r for r in caplog.records if r.name.startswith("hh_exporter")]

    async def test_copies_of_a_disabled_exporter(
        self, make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
    ) -> None:
        """
        With `also`, a disabled exporter has captured spans copied.
        """
        exporter = await make_exporter(
            base_url="http://127.0.0.1:9", disabled=True, also=server.url
        )
        traced = Traced(exporter)
        traced.end("call")
        await settle()
        await clock.advance(HOLD)
        await clock.advance(1.0)
        await until(lambda: server.created)

        assert [event["event_name"] for event in server.created] == ["call"]

    async def test_nothing_is_kept_alive(
        self, build_exporter: BuildExporter, server: ScriptedServer
    ) -> None:
        """
        A provider that is dropped takes its processor and its exporter along; what waits is pushed.
        """
        exporter = Exporter("k", base_url=server.url)
        await exporter.start()
        traced = Traced(exporter)
        traced.end("call")
        life = exporter._life
        await exporter.flush()
        traced.end("call 2")
        found = [weakref.ref(each) for each in (exporter, traced.events, traced.provider)]
        del exporter, traced

        def is_gone() -> bool:
            gc.collect()
            return not any(each() for each in found)

        await until(is_gone)  # once the call has waited for duplicates
        await until(lambda: life.worker is None or life.worker.is_over)

        assert [event["event_name"] for event in server.created] == ["call", "call 2"]


async def test_the_pair_that_nothing_joins_is_warned_of_once(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A stream of LangChain, and the client's own span of it, may be sent twice.
    """
    for _ in range(2):
        traced.start("client", by="openinference.instrumentation.openai").end()
        traced.start("chain", by="openinference.instrumentation.langchain").end()
    await traced.exporter.flush()

    [said] = [r.message for r in caplog.records if r.name.startswith("hh_exporter")]
    assert "calls may be sent twice" in said
