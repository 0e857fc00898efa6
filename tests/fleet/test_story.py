"""
An app, a stream and relays in a story that hypothesis tells; all books balance at each step.

The stream is a server of tests, so that time is the test's own, and what is in whose hands is
known.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hh_exporter import BatchLimits, Exporter, JetStream, Outcome, Settlement
from hh_exporter._fleet.relay import Relay
from hh_exporter.testing import FakeClock, assert_balanced
from tests.fleet.fake_stream import FakeStream
from tests.fleet.relays import balanced, make_relay
from tests.scripted_server import (
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang,
    limit_bytes,
    partly,
    refuse_if,
    reset_before_storing,
    status,
    too_many,
    unavailable,
)
from tests.support import model_event, settle

SHORT = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=200, stateful_step_count=60, derandomize=False)

MOST = 3
"""Relays at a time."""
PREFETCH = 12
STEP = 1.5
"""Seconds between two turns of the network: the stream is told of what is in hand each three."""
TURNS = 12
"""How often the network gets its turn after each step, and between two seconds."""


def _is_bad(event: dict[str, Any]) -> bool:
    return str(event["event_id"]).startswith("bad")


def _find_no_updates(request: Request) -> Scripted:
    return created() if request.update is None else status(404)


ANSWERS: dict[str, Scripted] = {
    "well": refuse_if(_is_bad),
    "takes all": created(),
    "away": unavailable(),
    "partly": partly(_is_bad),
    "413": limit_bytes(3_000),
    "401": status(401),
    "404 for updates": _find_no_updates,
    "429": too_many(3),
    "reset": reset_before_storing(),
    "silent": hang(),
}


class Fleet(RuleBasedStateMachine):
    """
    The fleet, and what can happen to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.relays: list[Relay] = []
        self.ended: list[Relay] = []
        self.closing: list[asyncio.Task[None]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.pushed: list[str] = []
        self.updates = 0
        self.run(self.set_up())

    @initialize(name=st.sampled_from(tuple(ANSWERS)))
    def begin(self, name: str) -> None:
        """
        Begin with a relay, and something to deliver.
        """
        self.push(10)
        self.push_bad(2)
        self.start_a_relay()
        self.answer(name)
        self.push(10)

    async def set_up(self) -> None:
        self.clock = FakeClock()
        self.api = await self.stack.enter_async_context(ScriptedServer())
        self.stream = await self.stack.enter_async_context(FakeStream(clock=self.clock))
        self.app = Exporter(
            jetstream=JetStream(self.stream.address),
            batch=BatchLimits(max_events=5, linger=0.5),
            on_outcome=self.note_outcome,
            _clock=self.clock,
        )
        await self.app.start()

    def note_outcome(self, settlement: Settlement) -> None:
        for event_id in settlement.event_ids:
            self.outcomes[event_id] = settlement.outcome

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        self.loop.run_until_complete(self.run_and_turn(work))

    async def run_and_turn(self, work: Coroutine[Any, Any, object]) -> None:
        await work
        await self.turn()

    async def turn(self) -> None:
        for _ in range(TURNS):
            await settle()
            self.stream.look()

    async def wait(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            await self.clock.advance(min(STEP, end - self.clock.now()))
            await self.turn()

    # What the app does.

    @rule(count=st.integers(1, 3))
    def push_bad(self, count: int) -> None:
        self.push(count, "bad")

    @rule(count=st.integers(1, 12))
    def push(self, count: int, name: str = "e") -> None:
        async def push() -> None:
            for _ in range(count):
                event_id = f"{name}{len(self.pushed)}"
                self.pushed.append(event_id)
                assert self.app.push(model_event(event_id=event_id))

        self.run(push())

    @precondition(lambda self: self.pushed)
    @rule(back=st.integers(0, 5))
    def update(self, back: int) -> None:
        async def update() -> None:
            self.updates += 1
            event_id = self.pushed[-min(1 + back, len(self.pushed))]
            self.app.update(event_id, feedback={f"n{self.updates}": 1})

        self.run(update())

    # What happens to it.

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0, 12.0, 40.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.run(self.wait(seconds))

    @rule(name=st.sampled_from(("well", "well", *ANSWERS)))
    def answer(self, name: str) -> None:
        async def answer() -> None:
            self.api.default = ANSWERS[name]
            self.api.release()

        self.run(answer())

    @rule(is_full=st.booleans())
    def fill_the_stream(self, is_full: bool) -> None:
        self.stream.is_full = is_full

    @rule(takes=st.booleans())
    def refuse_letters(self, takes: bool) -> None:
        self.stream.takes_letters = takes

    @rule(which=st.sampled_from(("before", "after")), count=st.integers(1, 5))
    def lose_acknowledgements(self, which: str, count: int) -> None:
        self.stream.loses[which] += count

    @rule(is_deaf=st.booleans())
    def hear_nobody(self, is_deaf: bool) -> None:
        """
        As where a relay stands still for longer than ack_wait.
        """
        self.stream.is_deaf = is_deaf

    @rule(role=st.sampled_from(("app", "relay")))
    def reset(self, role: str) -> None:
        async def reset() -> None:
            self.stream.reset(role)

        self.run(reset())

    @precondition(lambda self: len(self.relays) < MOST)
    @rule()
    def start_a_relay(self) -> None:
        async def start() -> None:
            relay = make_relay(
                self.stream.address,
                self.api,
                clock=self.clock,
                prefetch=PREFETCH,
                batch=BatchLimits(linger=0.1),
                request_timeout=5.0,
            )
            self.relays.append(relay)
            starting = asyncio.create_task(relay.start())
            while not starting.done():
                await self.wait(0.25)
            await starting

        self.run(start())

    @precondition(lambda self: self.relays)
    @rule(number=st.integers(0, MOST - 1), seconds=st.sampled_from((0.0, 2.0, 10.0)))
    def end_a_relay(self, number: int, seconds: float) -> None:
        async def end() -> None:
            relay = self.relays.pop(number % len(self.relays))
            self.ended.append(relay)
            self.closing.append(asyncio.create_task(relay.aclose(seconds)))

        self.run(end())

    # What always holds.

    @invariant()
    def the_books_balance(self) -> None:
        assert_balanced(self.app)
        for relay in (*self.relays, *self.ended):
            balanced(relay)

    @invariant()
    def nothing_is_in_the_hands_of_two(self) -> None:
        """
        Unless the stream took it from one of them.
        """
        for one, other in combinations((*self.relays, *self.ended), 2):
            both = one._feed.hand._all.keys() & other._feed.hand._all.keys()
            assert both <= self.stream.taken, both

    @invariant()
    def nothing_is_lost(self) -> None:
        """
        What the app calls relayed is in the stream, at the API, or a dead letter.
        """
        relayed = {i for i, outcome in self.outcomes.items() if outcome is Outcome.RELAYED}
        waiting = {name_of(stored.name) for stored in self.stream.messages.values()}
        missing = (
            relayed - waiting - set(self.api.created_ids) - set(map(name_of, self.stream.dead))
        )
        assert not missing, missing

    def teardown(self) -> None:
        try:
            if not hasattr(self, "app"):
                return
            self.run(self.recover())
        finally:
            try:
                self.loop.run_until_complete(self.close())
            finally:
                self.loop.close()

    async def recover(self) -> None:
        """
        Let all become well: then everything has its end.
        """
        self.stream.is_full = self.stream.is_deaf = False
        self.stream.takes_letters = True
        self.stream.loses.clear()
        self.api.default = created()
        self.api.release()
        relay = make_relay(
            self.stream.address, self.api, clock=self.clock, prefetch=PREFETCH, request_timeout=5.0
        )
        self.relays.append(relay)
        starting = asyncio.create_task(relay.start())
        for turn in range(500):
            await self.wait(3.0 if turn < 100 else 15.0)  # some wait in the stream for an hour
            stats = self.app.stats()
            if not (stats.queued + stats.in_flight or self.stream.messages) and starting.done():
                break
        else:
            raise AssertionError(
                f"it does not end: {self.app.stats()} {[each.describe() for each in self.relays]} "
                f"{len(self.stream.messages)}"
            )
        await starting
        self.the_books_balance()
        self.nothing_is_lost()
        assert set(self.outcomes.values()) <= {Outcome.RELAYED}
        assert set(self.outcomes) == set(self.pushed)
        relays = (*self.relays, *self.ended)
        arrived = Counter(self.api.created_ids)
        twice = arrived.total() - len(arrived)
        assert twice <= sum(each.stats().redelivered for each in relays), twice
        assert not any(stored > 1 for stored in self.stream.stored.values())

    async def close(self) -> None:
        closing = asyncio.gather(
            *(relay.aclose(0.0) for relay in self.relays), *self.closing, self.app.aclose(0.0)
        )
        for _ in range(100):
            if closing.done():
                break
            await self.wait(1.0)
        await closing
        for relay in (*self.relays, *self.ended):
            stats = balanced(relay)
            assert stats.queued + stats.in_flight == 0
        await self.stack.aclose()


def name_of(name: str) -> str:
    return name.partition("/")[0]


@pytest.mark.timeout(300)
def test_nothing_is_lost_whatever_happens() -> None:
    """
    Every event that the app calls relayed has its end, and the books balance on the way.
    """
    run_state_machine_as_test(Fleet, settings=SHORT)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_is_lost_in_long_stories() -> None:
    """
    The same holds in longer stories, and in many more of them.
    """
    run_state_machine_as_test(Fleet, settings=LONG)
