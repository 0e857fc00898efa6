"""
Whatever a stream does, in whatever order: the books of an app host balance and tell the truth.

Hypothesis plays the program, the server, the network and the clock, as in test_ledger, of which
this is the counterpart for what that can't play: messages that are acknowledged one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    DropReason,
    Exporter,
    ExporterError,
    Outcome,
    QueueLimits,
    RetryPolicy,
    SessionProperties,
    Settlement,
    Spool,
)
from hh_exporter._records import MAIN, UPDATES
from tests.fake_nats import ACK, FULL, NOBODY, FakeNats, Message, Reply, refusal
from tests.support import FakeClock, assert_balanced, model_event, settle
from tests.test_ledger import LONG, ORDINARY

FEW = settings(ORDINARY, max_examples=15)

REPLIES: Final = {
    "acknowledged": ACK,
    "acknowledged twice": Reply(times=2),
    "acknowledged late": Reply(is_held=True),
    "refused late": Reply(stores=False, says=FULL.says, is_held=True),
    "stored, and not acknowledged": Reply(times=0),
    "lost": Reply(stores=False, times=0),
    "full": FULL,
    "no leader": NOBODY,
    "too large": refusal(400, 10054, "message size exceeds maximum allowed"),
    "an odd error": refusal(500, 10999, "odd"),
    "no acknowledgement": Reply(stores=False, says=b"+OK"),
    "a reset": Reply(stores=False, closes=True),
    "a reset after storing": Reply(closes=True),
    "not permitted": Reply(
        stores=False, times=0, errs=b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"
    ),
    "nonsense": Reply(stores=False, times=0, errs=b"WHAT EVER\r\n"),
}
SAYINGS: Final = (b"PING\r\n", b"+OK\r\n", b"INFO {}\r\n", b"-ERR 'odd'\r\n", b"?\r\n")
MAX_EVENTS: Final = 10

replies = st.sampled_from(sorted(REPLIES))
durations = st.sampled_from([0.004, 0.25, 1.0, 4.0, 15.0, 60.0])


class StreamBooks(RuleBasedStateMachine):
    """
    A program, its exporter, a server with a stream, and the time.
    """

    is_durable: bool | None = None
    """Whether the spool is; None without one."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.server = FakeNats(choose=self.choose)
        self.usual = "acknowledged"
        self.faults: list[str] = []
        self.calls: list[asyncio.Task[None]] = []
        self.pushed: Counter[str] = Counter()
        """How often each event was pushed or put; its updates count as one more event."""
        self.ids: list[str] = []
        self.outcomes: defaultdict[str, list[tuple[Outcome, DropReason | None]]] = defaultdict(list)
        self.too_large: set[str] = set()
        self.is_stopped = False
        self.directory = TemporaryDirectory()

    @initialize(linger=st.sampled_from([0.0, 1.0]), jitter=st.sampled_from([0.25, 1.0]))
    def open(self, linger: float, jitter: float) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(str(context)))
        self.loop.run_until_complete(self.server.open())
        spool = None
        if self.is_durable is not None:
            spool = Spool(Path(self.directory.name) / "spool", durable=self.is_durable)
        self.exporter = Exporter(
            jetstream=self.server.address,
            queue=QueueLimits(max_events=MAX_EVENTS),
            batch=BatchLimits(max_events=3, linger=linger),
            retry=RetryPolicy(max_delay=4.0, max_elapsed=30.0),
            max_in_flight=2,
            on_outcome=self.note,
            spool=spool,
            _clock=self.clock,
            _random=lambda: jitter,
        )

    # What a program does.

    @rule(
        count=st.integers(1, 6),
        session=st.sampled_from([None, "s", "t"]),
        size=st.sampled_from([0, 500, 5_000]),
        waits=st.booleans(),
    )
    def push(self, count: int, session: str | None, size: int, waits: bool) -> None:
        properties = session and SessionProperties(session_id=session, session_name="a name")

        async def act() -> None:
            for _ in range(count):
                event_id = f"event-{len(self.ids)}"
                self.ids.append(event_id)
                event = model_event(event_id=event_id, response={"content": "x" * size})
                if waits:
                    self.call(self.put(event_id, event, properties or None))
                else:
                    self.exporter.push(event, properties or None)
                    self.pushed[event_id] += 1

        self.run(act())

    async def put(self, event_id: str, event: Any, session: SessionProperties | None) -> None:
        with suppress(ExporterError):
            await self.exporter.put(event, session)
            self.pushed[event_id] += 1

    @rule(ago=st.integers(0, 10))
    def update(self, ago: int) -> None:
        if self.ids:
            event_id = self.ids[-1 - ago % len(self.ids)]

            async def act() -> None:
                self.exporter.update(event_id, feedback={"rating": len(self.pushed)})
                self.pushed[f"update:{event_id}"] += 1

            self.run(act())

    @rule(timeout=st.sampled_from([None, 5.0]))
    def create(self, timeout: float | None) -> None:
        event_id = f"event-{len(self.ids)}"
        self.ids.append(event_id)

        async def create() -> None:
            try:
                await self.exporter.create_model_event(model_event(event_id=event_id), timeout)
                self.pushed[event_id] += 1
            except DeliveryError:
                self.pushed[event_id] += 1
            except (ExporterError, asyncio.CancelledError):
                self.pushed[event_id] += bool(self.outcomes[event_id])

        self.begin(create())

    @rule(timeout=st.sampled_from([None, 0.0, 2.0, 20.0]))
    def flush(self, timeout: float | None) -> None:
        self.begin(self.exporter.flush(timeout))

    @rule(timeout=st.sampled_from([0.0, 2.0, 20.0]))
    def close(self, timeout: float) -> None:
        self.begin(self.exporter.aclose(timeout))

    @rule()
    def start(self) -> None:
        self.begin(self.exporter.start())

    @rule(number=st.integers(0, 20), is_worker=st.booleans())
    def cancel(self, number: int, is_worker: bool) -> None:
        """
        Cancel a call of the program, or everything that the exporter runs.
        """

        async def act() -> None:
            if not is_worker and self.calls:
                self.calls[number % len(self.calls)].cancel()
            elif is_worker:
                for task in asyncio.all_tasks():
                    if task is not asyncio.current_task() and task not in self.calls:
                        task.cancel()

        self.run(act())

    @rule(seconds=durations)
    def let_time_pass(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    # What a server does.

    @rule(names=st.lists(replies, min_size=1, max_size=6))
    def answer(self, names: list[str]) -> None:
        self.server.script.extend(REPLIES[name] for name in names)

    @rule(name=replies)
    def change(self, name: str) -> None:
        self.usual = name

    @rule()
    def heal(self) -> None:
        self.server.script.clear()
        self.usual = "acknowledged"
        self.run(self.come_back())

    @rule()
    def go_on(self) -> None:
        self.run(self.act(self.server.release))

    @rule(comes_back=st.booleans())
    def stop(self, comes_back: bool) -> None:
        self.is_stopped = not comes_back
        self.run(self.server.restart() if comes_back else self.server.stop())

    @rule(
        said=st.sampled_from([b"PING\r\n", b"+OK\r\n", b"INFO {}\r\n", b"-ERR 'odd'\r\n", b"?\r\n"])
    )
    def say(self, said: bytes) -> None:
        self.run(self.act(lambda: self.server.say(said)))

    def choose(self, message: Message) -> Reply:
        reply = REPLIES[self.usual]
        if reply is REPLIES["too large"]:
            self.too_large.add(message.record.event_id)
        return reply

    # What must be so.

    def note(self, settlement: Settlement) -> None:
        stored = [(m.record.event_id, m.record.route) for m in self.server.stored.values()]
        for event_id in settlement.event_ids:
            route = UPDATES if settlement.is_update else MAIN
            key = f"update:{event_id}" if settlement.is_update else event_id
            self.outcomes[key].append((settlement.outcome, settlement.reason))
            self.must(settlement.outcome is not Outcome.REJECTED, f"{key} was rejected")
            if settlement.outcome is Outcome.RELAYED:
                self.must((event_id, route) in stored, f"{key} is not in the stream")
            if settlement.reason is DropReason.INTERNAL_ERROR:
                self.must(False, f"{key} met a fault")

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "exporter"):
            return
        stats = assert_balanced(self.exporter)
        counts = Counter(fate[0] for fates in self.outcomes.values() for fate in fates)
        assert counts[Outcome.RELAYED] == stats.relayed, stats
        assert counts[Outcome.DROPPED] == stats.dropped, stats
        assert stats.delivered == stats.rejected == 0, stats
        assert stats.duplicates <= self.server.repeats.total(), stats
        assert min(stats.queued, stats.in_flight, stats.queued_bytes) >= 0, stats
        names = Counter(
            m.record.event_id for m in self.server.stored.values() if not m.record.route
        )
        assert set(names.values()) <= {1}, f"under two names: {names}"
        assert not self.faults, self.faults
        assert not self.server.failures, self.server.failures

    def teardown(self) -> None:
        if hasattr(self, "exporter"):
            try:
                self.run(self.recover())
                self.the_books_balance()
                for key, times in self.pushed.items():
                    assert len(self.outcomes[key]) == times, f"{key}: {self.outcomes[key]}"
                assert sum(map(len, self.outcomes.values())) == self.pushed.total()
            finally:
                self.loop.run_until_complete(self.clean_up())
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
                self.loop.close()
        self.directory.cleanup()

    async def recover(self) -> None:
        """
        Let all become well: what is left then has its outcome.
        """
        self.server.script.clear()
        self.usual = "acknowledged"
        await self.come_back()
        for call in self.calls:
            call.cancel()
        await self.done(asyncio.wait_for(asyncio.gather(*self.calls, return_exceptions=True), None))
        for _ in range(60):
            stats = self.exporter.stats()
            if stats.health == "closed" or not self.exporter._queue.has_open_records:
                await self.done(self.exporter.start())
            if not (stats.queued or stats.in_flight or stats.spooled):
                break
            await self.done(self.exporter.start())
            await self.done(self.exporter.flush())
        stats = self.exporter.stats()
        assert stats.queued == stats.in_flight == stats.spooled == 0, stats
        assert not (await self.done(self.exporter.aclose())).left

    # How it is done.

    def must(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            self.faults.append(otherwise)

    async def come_back(self) -> None:
        if self.is_stopped:
            await self.server.restart()
        self.is_stopped = False
        self.server.release()

    async def act(self, action: Callable[[], object]) -> None:
        action()

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        async def begin() -> None:
            self.call(work)

        self.run(begin())

    def call(self, work: Coroutine[Any, Any, object]) -> None:
        async def finish() -> None:
            with suppress(ExporterError):
                await work

        self.calls.append(asyncio.create_task(finish()))

    def run(self, work: Awaitable[object]) -> None:
        self.loop.run_until_complete(self.and_calm_down(work))

    async def and_calm_down(self, work: Awaitable[object]) -> None:
        await work
        await self.calm_down()
        for call in self.calls:
            if call.done() and not call.cancelled():
                call.result()
        self.calls = [call for call in self.calls if not call.done()]

    async def calm_down(self) -> None:
        before = None
        while (after := self.what_can_be_seen()) != before:
            before = after
            await settle()

    def what_can_be_seen(self) -> object:
        return (
            self.exporter.stats(),
            len(self.server.published),
            len(self.server.heard),
            self.server.connections,
            self.server.open_connections,
            [call.done() for call in self.calls],
        )

    async def done(self, work: Coroutine[Any, Any, Any]) -> Any:
        call = asyncio.create_task(work)
        for _ in range(200):
            await self.calm_down()
            if call.done():
                return call.result()
            if self.is_durable is not None:
                await asyncio.sleep(0.005)  # for the thread of the spool
            await self.clock.advance(5.0)
        raise AssertionError(f"it does not end at a server that is well: {call}")

    async def clean_up(self) -> None:
        for call in self.calls:
            call.cancel()
        await self.exporter.aclose(0)
        await self.server.close()
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


class SpooledStreamBooks(StreamBooks):
    """
    The same with a spool.
    """

    is_durable = False


class DurableStreamBooks(StreamBooks):
    """
    The same with a durable one.
    """

    is_durable = True


MACHINES = [StreamBooks, SpooledStreamBooks, DurableStreamBooks]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_books_balance_whatever_a_stream_does(machine: type[StreamBooks]) -> None:
    """
    Every event has exactly one outcome, and what is relayed is in the stream, once.
    """
    run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_books_balance_for_long_whatever_a_stream_does(machine: type[StreamBooks]) -> None:
    """
    The same holds in longer stories, and in many more of them.
    """
    run_state_machine_as_test(machine, settings=LONG)
