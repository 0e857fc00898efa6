"""
Whatever happens, in whatever order: the books balance and tell the truth.

Hypothesis plays the program, the network, the server and the clock. What the
exporter says became of each event is compared with what the server has. A copy
too many in the store is excused only where the answer to the first one can't
have been read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Literal, TypeVar

import pytest
from attrs import define, frozen
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    DropReason,
    Exporter,
    ExporterError,
    ModelEvent,
    Outcome,
    QueueLimits,
    RetryPolicy,
    Settlement,
)
from tests.conftest import KEY
from tests.scripted_server import (
    Answer,
    Event,
    Request,
    Scripted,
    ScriptedServer,
    created,
    created_broken_body,
    created_cut_short,
    created_html,
    created_listing,
    created_without_body,
    foreign_ids,
    hang,
    hang_after_storing,
    html,
    limit_bytes,
    partly,
    redirect,
    refuse_if,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
    trickle,
    truncated_headers,
    unavailable,
)
from tests.support import FakeClock, assert_balanced, model_event, settle

T = TypeVar("T")

MAX_EVENTS = 6
MAX_BYTES = 4_000
"""About what `MAX_EVENTS` ordinary events have; a few long ones use it up sooner."""

ORDINARY = settings(
    max_examples=400,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
LONG = settings(ORDINARY, max_examples=3_000, stateful_step_count=50, derandomize=False)


def is_bad(event: Event) -> bool:
    return bool(event["metadata"]["bad"])


@frozen
class Reply:
    """
    One thing that a server may do.

    Attributes:
        tells: Whether a client that waits for it learns what was stored.
    """

    scripted: Scripted
    tells: bool = True


REPLIES = {
    "created": Reply(created()),
    "created, without a body": Reply(created_without_body()),
    "created, half of the JSON": Reply(created_broken_body()),
    "created, cut short": Reply(created_cut_short()),
    "created, other ids listed": Reply(created_listing(["somebody-else"])),
    "created, a web page": Reply(created_html(), tells=False),
    "created, under ids of its own": Reply(foreign_ids(), tells=False),
    "created, then reset": Reply(reset_after_storing(), tells=False),
    "created, half of the headers": Reply(truncated_headers(), tells=False),
    "created, then silence": Reply(hang_after_storing()),
    "created, byte by byte": Reply(trickle()),
    "partly": Reply(partly(is_bad, shuffle=True)),
    "partly, without errors": Reply(partly(is_bad, shuffle=True, errors=False)),
    "partly, with 200": Reply(partly(is_bad, status=200)),
    "400 if one is bad": Reply(refuse_if(is_bad)),
    "413 above 1000 bytes": Reply(limit_bytes(1_000)),
    "413": Reply(status(413)),
    "429, Retry-After": Reply(too_many(3)),
    "503": Reply(unavailable()),
    "503, Retry-After": Reply(unavailable(5)),
    "500": Reply(status(500)),
    "401": Reply(status(401)),
    "redirect": Reply(redirect("/elsewhere")),
    "200, a web page": Reply(html(200)),
    "502, a web page": Reply(html(502)),
    "reset": Reply(reset_before_storing()),
    "silence": Reply(hang()),
}
USUAL = ["created", "partly", "400 if one is bad", "413 above 1000 bytes", "503", "silence"]
"""What a server may do for a while."""


@define(eq=False)
class Waiting:
    """
    A call that a program awaits.

    Attributes:
        deadline: By when it must return; inf if it may take as long as it likes.
    """

    name: str
    task: asyncio.Task[None]
    deadline: float


class Books(RuleBasedStateMachine):
    """
    A program, its exporter, a server and the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(str(context)))
        self.faults: list[str] = []
        self.clock = FakeClock()
        self.server = ScriptedServer(default=self.answer_request)
        self.script: deque[Reply] = deque()
        self.usual = REPLIES["created"]
        self.waiting: list[Waiting] = []
        self.turns: int | None = None
        self.is_shaky = False
        self.is_intact = False
        self.names = 0

        self.pushed: Counter[str] = Counter()
        """How often each event was pushed, whether it was accepted or not."""
        self.under_way: set[str] = set()
        """Events of calls to create_model_event, which may be counted already."""
        self.outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
        self.reasons: Counter[DropReason] = Counter()
        self.stored: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        """How often each event may have been stored beyond what we were told."""

    @initialize(
        overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
        on_ambiguous=st.sampled_from(["reject", "resend"]),
        linger=st.sampled_from([0.0, 1.0]),
        jitter=st.sampled_from([0.25, 1.0]),
    )
    def open(
        self,
        overflow: Literal["drop_oldest", "drop_newest"],
        on_ambiguous: Literal["reject", "resend"],
        linger: float,
        jitter: float,
    ) -> None:
        self.run(self.server.__aenter__())
        self.exporter = Exporter(
            KEY,
            base_url=self.server.url,
            queue=QueueLimits(max_events=MAX_EVENTS, max_bytes=MAX_BYTES, overflow=overflow),
            batch=BatchLimits(max_events=4, max_bytes=2_000, linger=linger),
            retry=RetryPolicy(max_delay=4.0, max_elapsed=30.0),
            max_in_flight=2,
            on_outcome=self.note_outcome,
            on_ambiguous=on_ambiguous,
            _clock=self.clock,
            _random=lambda: jitter,
        )

    # What a program does.

    @rule(
        bad=st.lists(st.booleans(), min_size=2, max_size=8),
        size=st.integers(0, 1_000),
        in_loop=st.booleans(),
    )
    def push(self, bad: list[bool], size: int, in_loop: bool) -> None:
        def push_all() -> None:
            for one in bad:
                self.push_one(self.new_event(bad=one, size=size))

        self.do(push_all, in_loop=in_loop)

    @precondition(lambda self: self.pushed)
    @rule(data=st.data())
    def push_an_id_again(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.pushed)))
        self.do(lambda: self.push_one(self.new_event(event_id=event_id)))

    @rule(
        fields=st.sampled_from(
            [
                {"duration": "long"},
                {"model": None},
                {"inputs": {"key": object()}},
                {"cost": float("nan")},
                {"outputs": {"text": "x" * MAX_BYTES}},
            ]
        ),
        waits=st.booleans(),
    )
    def push_what_is_odd(self, fields: dict[str, Any], waits: bool) -> None:
        event = self.new_event(**fields)
        if waits:
            self.begin("put", self.put_one(event))
        else:
            self.do(lambda: self.push_one(event))

    @rule(
        bad=st.lists(st.booleans(), min_size=2, max_size=8),
        size=st.integers(0, 1_000),
    )
    def put(self, bad: list[bool], size: int) -> None:
        for one in bad:
            self.begin("put", self.put_one(self.new_event(bad=one, size=size)))

    @rule(bad=st.booleans(), timeout=st.sampled_from([None, 0.0, 5.0]))
    def create(self, bad: bool, timeout: float | None) -> None:
        if timeout == 0.0:
            self.excuse()  # it may interrupt itself
        seconds = 30.0 if timeout is None else timeout
        self.begin("create", self.create_one(self.new_event(bad=bad), timeout), seconds)

    @rule(timeout=st.sampled_from([None, 0.0, 2.0, 20.0]))
    def flush(self, timeout: float | None) -> None:
        self.begin("flush", self.exporter.flush(timeout), inf if timeout is None else timeout)

    @precondition(lambda self: not self.is_closed)
    @rule(timeout=st.sampled_from([0.0, 2.0, 20.0]), for_good=st.booleans())
    def close(self, timeout: float, for_good: bool) -> None:
        self.excuse()
        self.begin("aclose", self.exporter.aclose(timeout), timeout)
        if not for_good:
            self.start()

    @precondition(lambda self: self.is_closed)
    @rule()
    def close_again(self) -> None:
        # It waits for the first, until that one's deadline.
        self.begin("aclose", self.exporter.aclose(0.0))

    @rule()
    def start(self) -> None:
        self.begin("start", self.exporter.start())

    # What happens to a program.

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_a_call(self, data: st.DataObject) -> None:
        waiting = data.draw(st.sampled_from(self.waiting))
        note(f"cancelled: {waiting.name}")
        self.excuse()
        self.do(waiting.task.cancel)

    @rule(deliveries=st.booleans(), worker=st.booleans())
    def cancel_what_runs(self, deliveries: bool, worker: bool) -> None:
        self.excuse()
        for task in tasks_of_exporters(self.loop):
            if worker if is_worker(task) else deliveries:
                self.do(task.cancel)

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 15.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.run(self.advance(seconds))

    @rule(turns=st.integers(0, 30))
    def do_not_wait_for_the_network(self, turns: int) -> None:
        """
        Have the next step followed by a few turns of the loop only.
        """
        self.turns = turns

    # What a server does.

    @rule(names=st.lists(st.sampled_from(sorted(REPLIES)), min_size=1, max_size=4))
    def answer(self, names: list[str]) -> None:
        self.script.extend(REPLIES[name] for name in names)

    @rule(name=st.sampled_from(USUAL))
    def usually_answer(self, name: str) -> None:
        self.usual = REPLIES[name]

    @rule()
    def go_on(self) -> None:
        self.do(self.server.release)

    @rule(comes_back=st.booleans())
    def stop_the_server(self, comes_back: bool) -> None:
        self.excuse()
        self.run(self.server.restart() if comes_back else self.server.stop())

    # What must be so.

    @invariant()
    def the_books_balance(self) -> None:
        stats = assert_balanced(self.exporter)

        assert min(stats.queued, stats.in_flight, stats.queued_bytes) >= 0, stats
        assert stats.queued + stats.in_flight <= MAX_EVENTS + len(self.under_way), stats
        assert stats.queued_bytes <= MAX_BYTES, stats
        known = self.pushed.total()
        assert known <= stats.pushed <= known + len(self.under_way), (known, stats)
        assert self.counted(Outcome.DELIVERED) == stats.delivered, stats
        assert self.counted(Outcome.REJECTED) == stats.rejected, stats
        assert self.reasons == stats.dropped_by_reason, stats
        assert DropReason.INTERNAL_ERROR not in stats.dropped_by_reason
        assert stats.health != "degraded", stats
        assert not self.faults, self.faults
        self.is_intact = True

    def teardown(self) -> None:
        try:
            if self.is_intact:
                self.run(self.recover())
                self.the_books_balance()
                self.compare_with_the_server()
        finally:
            self.loop.run_until_complete(self.clean_up())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def recover(self) -> None:
        """
        Let all become well: what is left then has its outcome soon.
        """
        self.excuse()
        self.turns = None
        self.script.clear()
        self.usual = REPLIES["created"]
        await self.server.restart()
        await self.until_done(self.exporter.start())
        await self.until_done(self.exporter.flush())
        calls = asyncio.gather(*(w.task for w in self.waiting), return_exceptions=True)
        await self.until_done(calls)
        await self.until_done(self.exporter.start())  # one of the calls may have closed it

        # All room is free again, neither more nor less: the loop does not turn meanwhile.
        await self.until_done(self.exporter.flush())
        for _ in range(MAX_EVENTS + 1):
            self.push_one(self.new_event())
        assert self.exporter.stats().queued == MAX_EVENTS

        result = await self.until_done(self.exporter.aclose())
        assert not result.left
        assert not tasks_of_exporters(self.loop)

    def compare_with_the_server(self) -> None:
        stats = self.exporter.stats()
        assert not stats.queued
        assert not stats.in_flight
        assert Counter({i: len(fates) for i, fates in self.outcomes.items()}) == self.pushed
        assert len(self.server.created) == self.stored.total()
        for event_id in self.pushed:
            delivered = self.outcomes[event_id].count(Outcome.DELIVERED)
            stored = self.stored[event_id]
            excused = self.excused[event_id]
            about = f"{event_id}: {self.outcomes[event_id]}, stored {stored}, excused {excused}"
            assert delivered <= stored, f"said to be delivered, and is not: {about}"
            assert stored <= delivered + excused, f"sent again, or forgotten: {about}"

    async def clean_up(self) -> None:
        ours = [waiting.task for waiting in self.waiting]
        for task in ours:
            task.cancel()
        while left := tasks_of_exporters(self.loop):
            for task in left:
                task.cancel()
            await settle()
        await asyncio.gather(*ours, return_exceptions=True)
        await self.server.__aexit__(None, None, None)
        await settle()

    # How it is done.

    @property
    def is_closed(self) -> bool:
        return self.exporter.stats().health == "closed"

    def new_event(
        self, *, event_id: str | None = None, bad: bool = False, size: int = 0, **fields: Any
    ) -> ModelEvent:
        self.names += event_id is None
        metadata = {"bad": bad, "padding": "x" * size}
        return model_event(event_id=event_id or f"event-{self.names}", metadata=metadata, **fields)

    def push_one(self, event: ModelEvent) -> None:
        self.exporter.push(event)
        self.pushed[id_of(event)] += 1

    async def put_one(self, event: ModelEvent) -> None:
        with suppress(ExporterError):
            await self.exporter.put(event)
            self.pushed[id_of(event)] += 1

    async def create_one(self, event: ModelEvent, timeout: float | None) -> None:
        event_id = id_of(event)
        self.under_way.add(event_id)
        try:
            assert await self.exporter.create_model_event(event, timeout)
            self.pushed[event_id] += 1
        except DeliveryError:
            self.pushed[event_id] += 1
        except (ExporterError, asyncio.CancelledError) as exc:
            # Cancelled or closed, it counts only if it had begun.
            self.pushed[event_id] += bool(self.outcomes[event_id])
            if isinstance(exc, asyncio.CancelledError):
                raise
        finally:
            self.under_way.remove(event_id)

    def answer_request(self, request: Request) -> Answer:
        reply = self.script.popleft() if self.script else self.usual
        answer = reply.scripted
        while not isinstance(answer, Answer):
            answer = answer(request)
        for event in request.events:
            event_id = event["event_id"]
            if self.outcomes[event_id].count(Outcome.DELIVERED) >= self.known(event_id):
                self.faults.append(f"{event_id} is sent again, though it was delivered")
        for stored in answer.stores:
            self.stored[stored.event["event_id"]] += 1
            self.excused[stored.event["event_id"]] += self.is_shaky or not reply.tells
        return answer

    def note_outcome(self, settlement: Settlement) -> None:
        for event_id in settlement.event_ids:
            self.outcomes[event_id].append(settlement.outcome)
            if settlement.reason is not None:
                self.reasons[settlement.reason] += 1

    def counted(self, outcome: Outcome) -> int:
        return sum(fates.count(outcome) for fates in self.outcomes.values())

    def excuse(self) -> None:
        """
        Before an interruption: the answers on their way now may never be read.

        Until the network is calm again the same goes for those that are still to come.
        """
        self.is_shaky = True
        for event_id, stored in self.stored.items():
            if len(self.outcomes[event_id]) < self.known(event_id):
                unknown = stored - self.outcomes[event_id].count(Outcome.DELIVERED)
                self.excused[event_id] = max(self.excused[event_id], unknown)

    def known(self, event_id: str) -> int:
        return self.pushed[event_id] + (event_id in self.under_way)

    def begin(self, name: str, work: Coroutine[Any, Any, object], seconds: float = inf) -> None:
        async def finish() -> None:
            await work

        async def begin() -> None:
            deadline = self.clock.now() + seconds
            self.waiting.append(Waiting(name, asyncio.create_task(finish()), deadline))

        self.run(begin())

    def do(self, action: Callable[[], object], *, in_loop: bool = True) -> None:
        async def act() -> None:
            action()

        if not in_loop:
            action()
        self.run(act() if in_loop else asyncio.sleep(0))

    def run(self, work: Awaitable[object]) -> None:
        self.is_intact = False
        self.loop.run_until_complete(self.run_and_calm_down(work))

    async def run_and_calm_down(self, work: Awaitable[object]) -> None:
        await work
        turns, self.turns = self.turns, None
        if turns is None:
            await self.calm_down()
        else:
            for _ in range(turns):
                await asyncio.sleep(0)
        now = self.clock.now()
        late = [w.name for w in self.waiting if w.deadline <= now and not w.task.done()]
        assert turns is not None or not late, f"past their deadline: {late}"
        for waiting in tuple(self.waiting):
            if waiting.task.done():
                self.waiting.remove(waiting)
                if not waiting.task.cancelled():
                    waiting.task.result()

    async def advance(self, seconds: float) -> None:
        # Deadlines may interrupt what is sent before, and what is sent meanwhile.
        self.excuse()
        await self.clock.advance(seconds)

    async def calm_down(self) -> None:
        """
        Turn the loop until nothing happens any more.
        """
        before = None
        while (after := self.what_can_be_seen()) != before:
            before = after
            await settle()
        self.is_shaky = False

    def what_can_be_seen(self) -> object:
        if not hasattr(self, "exporter"):
            return None
        done = [waiting.task.done() for waiting in self.waiting]
        return (
            self.exporter.stats(),
            len(self.server.requests),
            self.server.open_connections,
            len(tasks_of_exporters(self.loop)),
            done,
        )

    async def until_done(self, work: Awaitable[T]) -> T:
        """
        Await what ends soon on a server that is well.
        """
        call = asyncio.ensure_future(work)
        for _ in range(100):
            self.server.release()
            await self.calm_down()
            if call.done():
                return call.result()
            await self.advance(5.0)
        raise AssertionError(f"it does not end on a server that is well: {call}")


def id_of(event: ModelEvent) -> str:
    assert event.event_id is not None
    return event.event_id


def is_worker(task: asyncio.Task[Any]) -> bool:
    return task.get_name() == "hh_exporter worker"


def tasks_of_exporters(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """
    Find the workers and deliveries that run.
    """
    return [
        task
        for task in asyncio.all_tasks(loop)
        if is_worker(task) or getattr(task.get_coro(), "__qualname__", "") == "Deliverer.deliver"
    ]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # What thousands of exporters log would bury the one story that fails.
    caplog.set_level(logging.CRITICAL, "hh_exporter")


@pytest.mark.timeout(600)  # a story that fails is told again and again, to shorten it
def test_the_books_balance_and_tell_the_truth() -> None:
    """
    Every event has exactly one outcome, and the server has what was delivered.
    """
    run_state_machine_as_test(Books, settings=ORDINARY)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_books_balance_for_long() -> None:
    """
    The same holds in longer stories, and in many more of them.
    """
    run_state_machine_as_test(Books, settings=LONG)
