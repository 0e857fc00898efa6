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
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from itertools import chain, cycle
from math import inf
from typing import Any, Literal, TypeAlias, TypeVar

import orjson
import pytest
from attrs import define, evolve
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
    Outcome,
    QueueLimits,
    RetryPolicy,
    SessionProperties,
    Settlement,
    Spool,
)
from hh_exporter import (
    Event as Step,
)
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.parts import Delivery
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._queue.packing import Job
from hh_exporter._records import UPDATES, Record
from tests.conftest import KEY
from tests.limiters import let_jump
from tests.machine import (
    HEALTHY,
    HOSTILE,
    KINDS,
    MARKS,
    OUTAGES,
    REPLIES,
    SESSIONS,
    UPDATE_MARKS,
    WRONG,
    WRONG_UPDATES,
    AnyEvent,
    Reply,
    SetUp,
    announced_by,
    failed_by,
    is_refusal,
    is_session_event,
    releases_needed,
    session_named,
    set_ups,
)
from tests.relaying import let_relay
from tests.scripted_server import Answer, Event, Request, ScriptedServer
from tests.support import FakeClock, assert_balanced, model_event, settle
from tests.updates import Updates, numbers_in, say, update_of

T = TypeVar("T")
Fate: TypeAlias = tuple[Outcome, DropReason | None]

MAX_EVENTS = 8
MAX_BYTES = 5_000
"""About what `MAX_EVENTS` ordinary events have; a few long ones use it up sooner."""
MAX_IN_FLIGHT = 2
BATCH = BatchLimits(max_events=3, max_bytes=2_000)
RETRY = RetryPolicy(max_delay=4.0, max_elapsed=30.0)

REFUSALS_TO_SUSPEND = 5
"""How many good events a server may cost that begins to refuse everything."""
REFUSALS_UNCOUNTED = MAX_IN_FLIGHT * BATCH.max_events
"""And how many more if deliveries were under way by then."""

LONGEST_STEP = 20.0
"""Seconds after which the network gets its turn, while much time passes."""

ORDINARY = settings(
    max_examples=36,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
LONG = settings(ORDINARY, max_examples=1_000, stateful_step_count=50, derandomize=False)


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


marks = st.lists(st.sampled_from(MARKS), min_size=2, max_size=8)
kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)
sizes = st.sampled_from([0, 0, 100, 500, 1_000])
sessions = st.sampled_from([None, None, *SESSIONS])
durations = st.sampled_from([0.004, 0.25, 1.0, 4.0, 15.0, 60.0, 600.0])


class Books(RuleBasedStateMachine):
    """
    A program, its exporter, a server and the time.

    What a story does next never hangs on what happened before, which is a matter
    of timing too: the same choices tell the same story.
    """

    spool: Spool | None = None
    is_packed = False
    """Whether all that waits is packed, from the first event on."""
    arrival = Outcome.DELIVERED
    """The outcome of what the server has."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.clock = FakeClock()
        self.server = ScriptedServer(default=self.answer_request)
        self.script: deque[Reply] = deque()
        self.usual = REPLIES["created"]
        self.is_stopped = False
        self.is_disk_full = False
        self.is_well = False
        self.waiting: list[Waiting] = []
        self.turns: int | None = None
        self.is_shaky = False
        self.is_calm = False
        self.is_intact = False
        self.ids: list[str] = []
        self.updates = Updates()

        self.attempted: Counter[str] = Counter()
        """How often each event was, or is being, pushed; its updates count together, as one."""
        self.pushed: Counter[str] = Counter()
        """How often each event was pushed, whether it was accepted or not."""
        self.first_pushed: dict[str, float] = {}
        self.is_pushing = False
        self.singles: set[str] = set()
        """Events of calls to create_model_event."""
        self.under_way: set[str] = set()
        """Those of them that have not returned; they may be counted already."""
        self.guilty: set[str] = set()
        """Events that the server may refuse for their own sake."""
        self.foreseen: Counter[tuple[str, DropReason]] = Counter()
        self.wires: defaultdict[str, list[Event]] = defaultdict(list)
        """What the server may see of each event."""
        self.outcomes: defaultdict[str, list[Fate]] = defaultdict(list)
        self.reasons: Counter[DropReason] = Counter()

        self.stored: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        """How often each event may have been stored beyond what we were told."""
        self.refused: Counter[str] = Counter()
        """How many answers gave a reason to reject each event."""
        self.failed: set[str] = set()
        self.too_large: Counter[str] = Counter()
        self.casualties = 0
        """How many good events were rejected since the server last answered otherwise."""
        self.max_casualties = REFUSALS_TO_SUSPEND
        self.doubted: Counter[str] = Counter()
        """How many answers to bodies with each event refused us, and not the body."""
        self.sessions: set[str] = set()
        """The ids of sessions that are events: how often they are made shows in the books alone."""
        self.to_announce: dict[str, str] = {}
        """The session with which each event was pushed, if it is to be announced."""
        self.mentioned: set[str] = set()
        """Sessions that some body announced."""
        self.announcing: dict[str, str | None] = {}
        """The session that the last body with each event announced."""
        self.announced: set[str] = set()
        """Sessions of which the server said that it has them."""
        self.probed: set[str] = set()
        """Events that went out by themselves as a probe: without what their session has to say."""
        self.unanswered: dict[int, tuple[bool, int]] = {}
        """Whether each connection has a request of one call, and how many releases answer it."""
        self.jobs: list[Job] = []
        """What was packed or unpacked, and perhaps not committed."""

    @initialize(
        set_up=set_ups,
        overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
        on_ambiguous=st.sampled_from(["reject", "resend"]),
        linger=st.sampled_from([0.0, 1.0]),
        jitter=st.sampled_from([0.25, 1.0]),
        jumps=st.booleans(),
    )
    def open(
        self,
        set_up: SetUp,
        overflow: Literal["drop_oldest", "drop_newest"],
        on_ambiguous: Literal["reject", "resend"],
        linger: float,
        jitter: float,
        jumps: bool,
    ) -> None:
        # Not before: hypothesis may give up a machine that has not begun, without a teardown.
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(str(context)))
        self.set_up = set_up
        self.run(self.server.__aenter__())
        self.exporter = Exporter(
            KEY,
            base_url=self.server.url,
            queue=QueueLimits(max_events=MAX_EVENTS, max_bytes=MAX_BYTES, overflow=overflow),
            batch=evolve(BATCH, linger=linger),
            retry=RETRY,
            max_in_flight=MAX_IN_FLIGHT,
            on_outcome=self.note_outcome,
            on_ambiguous=on_ambiguous,
            spool=self.spool,
            **set_up.settings,
            _clock=self.clock,
            _random=lambda: jitter,
        )
        if jumps:
            let_jump(self.exporter)
        if self.arrival is Outcome.RELAYED:
            let_relay(self.exporter)
        self.exporter._queue.packing.start_at(0 if self.is_packed else 2 * MAX_BYTES, block=600)

    # What a program does.

    @rule(
        marks=marks,
        kinds=kinds,
        size=sizes,
        session=sessions,
        session_id=st.sampled_from([None, None, "session-own"]),
        in_loop=st.booleans(),
    )
    def push(
        self,
        marks: list[str],
        kinds: list[str | None],
        size: int,
        session: str | None,
        session_id: str | None,
        in_loop: bool,
    ) -> None:
        def push_all() -> None:
            for mark, kind in zip(marks, cycle(kinds), strict=False):
                event = self.new_event(mark, kind, size=size, session_id=session_id)
                self.push_one(event, session)

        self.do(push_all, in_loop=in_loop)

    @rule(number=st.integers(1, 100))
    def push_an_id_again(self, number: int) -> None:
        event_id = self.ids[number % len(self.ids)] if self.ids else None
        self.do(lambda: self.push_one(self.new_event(event_id=event_id)))

    @rule(
        ago=st.sampled_from([None, 0, 0, 1, 2, 3, 5, 10, 20, 40]),
        marks=st.lists(st.sampled_from(UPDATE_MARKS), min_size=1, max_size=4),
        size=sizes,
        in_loop=st.booleans(),
    )
    def update(self, ago: int | None, marks: list[str], size: int, in_loop: bool) -> None:
        """
        Update the event that was named *ago* events ago, whatever became of it, or a foreign one.
        """
        is_foreign = ago is None or not self.ids
        event_id = "foreign" if is_foreign else self.ids[-1 - (ago or 0) % len(self.ids)]

        def update_all() -> None:
            for mark in marks:
                self.update_one(event_id, mark, size)

        self.do(update_all, in_loop=in_loop)

    @rule(
        name=st.sampled_from(sorted(WRONG) + sorted(HOSTILE)),
        session=sessions,
        waits=st.booleans(),
    )
    def push_what_is_odd(self, name: str, session: str | None, waits: bool) -> None:
        fields = WRONG.get(name) or {"feedback": {"odd": HOSTILE[name]}}
        event = self.new_event(**fields)
        if waits:
            self.begin("put", self.put_one(event, session))
        else:
            self.do(lambda: self.push_one(event, session))

    @rule(marks=marks, kinds=kinds, size=sizes, session=sessions)
    def put(
        self, marks: list[str], kinds: list[str | None], size: int, session: str | None
    ) -> None:
        for mark, kind in zip(marks, cycle(kinds), strict=False):
            self.begin("put", self.put_one(self.new_event(mark, kind, size=size), session))

    @rule(
        mark=st.sampled_from(MARKS),
        kind=st.sampled_from(KINDS),
        timeout=st.sampled_from([None, 0.0, 5.0]),
    )
    def create(self, mark: str, kind: str | None, timeout: float | None) -> None:
        if timeout == 0.0:
            self.excuse()  # it may interrupt itself
        seconds = 30.0 if timeout is None else timeout
        self.begin("create", self.create_one(self.new_event(mark, kind), timeout), seconds)

    @rule(timeout=st.sampled_from([None, 0.0, 2.0, 20.0]))
    def flush(self, timeout: float | None) -> None:
        self.begin("flush", self.exporter.flush(timeout), inf if timeout is None else timeout)

    @rule(timeout=st.sampled_from([0.0, 2.0, 20.0]), for_good=st.sampled_from([False, False, True]))
    def close(self, timeout: float, for_good: bool) -> None:
        self.interrupt()
        # A second call waits for the first, until that one's deadline.
        self.begin("aclose", self.exporter.aclose(timeout), inf if self.is_closed else timeout)
        if not for_good:
            self.start()

    @rule()
    def start(self) -> None:
        self.begin("start", self.exporter.start())

    # What happens to a program.

    @rule(number=st.integers(0, 20))
    def cancel_a_call(self, number: int) -> None:
        if self.waiting:
            waiting = self.waiting[number % len(self.waiting)]
            note(f"cancelled: {waiting.name}")
            self.excuse()
            self.do(waiting.task.cancel)

    @rule(deliveries=st.booleans(), worker=st.booleans())
    def cancel_what_runs(self, deliveries: bool, worker: bool) -> None:
        self.interrupt()
        for task in tasks_of_exporters(self.loop):
            if worker if is_worker(task) else deliveries:
                self.do(task.cancel)

    @rule(seconds=durations)
    def let_time_pass(self, seconds: float) -> None:
        self.run(self.advance(seconds))

    @precondition(lambda self: self.is_packed)
    @rule(number=st.integers(0, 20), is_new=st.booleans())
    def pack(self, number: int, is_new: bool) -> None:
        """
        Pack or unpack something, as the worker's thread does, and commit it soon, late or again.
        """
        queue = self.exporter._queue
        if is_new and (job := queue.packing.next()) is not None:
            job.run()
            self.jobs.append(job)
        if self.jobs and not is_new:
            job = self.jobs[number % len(self.jobs)]
            queue.overflow.alone(queue.packing.commit, job)

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

    @rule(
        name=st.sampled_from((*OUTAGES, "down")),
        marks=marks,
        kinds=kinds,
        session=sessions,
        seconds=durations,
        heals=st.booleans(),
    )
    def break_down(
        self,
        name: str,
        marks: list[str],
        kinds: list[str | None],
        session: str | None,
        seconds: float,
        heals: bool,
    ) -> None:
        """
        Have an outage, while the program goes on for some time.
        """
        self.script.clear()
        if self.is_calm and not self.exporter.stats().in_flight:
            self.casualties, self.max_casualties = 0, REFUSALS_TO_SUSPEND
        if name == "down":
            self.stop_the_server(comes_back=False)
        else:
            self.usual = REPLIES[name]
        self.push(marks, kinds, 0, session, None, in_loop=True)
        self.let_time_pass(seconds)
        if heals:
            self.heal("created")

    @rule(name=st.sampled_from(HEALTHY))
    def heal(self, name: str) -> None:
        """
        End an outage of whatever kind.
        """
        self.script.clear()
        self.usual = REPLIES[name]
        if self.is_stopped:
            self.stop_the_server(comes_back=True)
        self.do(self.release)

    @rule()
    def go_on(self) -> None:
        self.do(self.release)

    @rule(comes_back=st.booleans())
    def stop_the_server(self, comes_back: bool) -> None:
        self.interrupt()
        self.is_stopped = not comes_back
        self.run(self.server.restart() if comes_back else self.server.stop())

    # What must be so.

    @invariant()
    def the_books_balance(self) -> None:
        stats = assert_balanced(self.exporter)

        assert min(stats.queued, stats.in_flight, stats.queued_bytes) >= 0, stats
        assert (stats.in_flight == 0) == (stats.in_flight_bytes == 0), stats
        ended = sum(stats.requests_by_status.values())
        assert ended == stats.request_durations[inf] <= stats.requests, stats
        assert stats.queued + stats.in_flight <= MAX_EVENTS + len(self.under_way), stats
        known = self.pushed.total()
        most = known + len(self.under_way) + sum(self.attempted[i] for i in self.sessions)
        assert known <= stats.pushed <= most, (known, stats)
        assert self.counted(Outcome.DELIVERED) == stats.delivered, stats
        assert self.counted(Outcome.RELAYED) == stats.relayed, stats
        assert self.counted(Outcome.REJECTED) == stats.rejected, stats
        assert self.reasons == stats.dropped_by_reason, stats
        assert stats.health != "degraded" or self.is_disk_full, stats
        self.weigh_what_is_in_memory()
        if self.is_calm:
            assert len(self.unanswered_batches()) <= MAX_IN_FLIGHT
        assert not self.faults, self.faults
        self.is_intact = True

    def weigh_what_is_in_memory(self) -> None:
        """
        Compare the counters with the records themselves, wherever they are.
        """
        queue, worker = self.exporter._queue, self.exporter._life.worker
        ledger = queue.ledger
        queued, singles, flying, bodies = list(ledger.waiting), [], [], list[int]()
        assert ledger.waiting_bytes == size_of(queued)
        if worker is not None:
            queued += (*records_in(worker.batcher), *worker.prober.aside)
            queued += chain(*worker.picker._updates._waiting.values())
            singles = records_of(worker.slots.singles)
            flying = records_of(worker.slots.in_hand) + singles
            assert len(worker.slots.in_hand) <= MAX_IN_FLIGHT
            bodies = [one.body_size for one in (*worker.slots.in_hand, *worker.slots.singles)]
        sessions = {record.session for record in (*queued, *flying)} - {None}
        announcements = sum(len(session.data) for session in sessions if session is not None)

        assert (ledger.queued, ledger.queued_bytes) == (len(queued), size_of(queued))
        assert (ledger.in_flight, ledger.in_flight_bytes) == (len(flying), size_of(flying))
        assert ledger.session_bytes == announcements
        packed = [record for record in ledger.waiting if record.block is not None]
        assert (ledger.packed, ledger.packed_bytes) == (len(packed), size_of(packed))
        beside = 2 * size_of(singles) + max(bodies, default=0)
        if self.is_packed:  # what is sent next is unpacked in any case where nothing is in flight
            beside += 2 * BATCH.max_bytes
        assert queue._budget.bodies >= sum(bodies)
        assert queue._budget.bytes <= MAX_BYTES + beside

    def unanswered_batches(self) -> list[int]:
        """
        List the connections where somebody waits for the answer to a batch, or to updates.
        """
        connections = {connection.number for connection in self.server._open}
        return [
            connection
            for connection, (is_single, releases) in self.unanswered.items()
            if connection in connections and releases > 0 and not is_single
        ]

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
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
        self.interrupt()
        self.turns = None
        self.script.clear()
        self.usual = REPLIES["created"]
        await self.server.restart()
        await self.until_done(self.exporter.start())
        await self.until_only_poison_is_left()
        self.is_well = True
        await self.until_all_is_settled()
        calls = asyncio.gather(*(w.task for w in self.waiting), return_exceptions=True)
        await self.until_done(calls)
        await self.until_done(self.exporter.start())  # one of the calls may have closed it

        # All room is free again, neither more nor less: the loop does not turn meanwhile.
        await self.until_all_is_settled()
        assert not self.exporter._queue._budget.bytes
        for _ in range(MAX_EVENTS + (self.spool is None)):
            event = self.new_event()
            while self.set_up.leaves_out(event):
                event = self.new_event()
            self.push_one(event)
        assert self.exporter.stats().queued == MAX_EVENTS

        result = await self.until_done(self.exporter.aclose())
        assert not result.left
        assert not tasks_of_exporters(self.loop)

    def compare_with_the_server(self) -> None:
        stats = self.exporter.stats()
        assert not stats.queued
        assert not stats.in_flight
        ended = Counter({i: len(fates) for i, fates in self.outcomes.items() if fates})
        told = Counter({i: ended.pop(i) for i in self.sessions & ended.keys()})
        assert ended == +self.pushed
        assert ended.total() + told.total() == stats.pushed
        updated = sum(len(numbers_in(body)) for body in self.server.updated)
        assert len(self.server.created) + updated == self.stored.total()
        self.updates.check()
        followed = self.exporter._queue.followed
        assert not followed._counts, followed
        assert not followed.away, followed
        assert not followed.unsure, followed
        for event_id in self.pushed:
            delivered = self.times(event_id, self.arrival)
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
        self,
        mark: str = "good",
        kind: str | None = None,
        *,
        event_id: str | None = None,
        size: int = 0,
        **fields: Any,
    ) -> AnyEvent:
        if event_id is None:
            event_id = f"event-{len(self.ids) + 1}"
            event_id = to_session_uuid(event_id) if kind == "session" else event_id
            self.ids.append(event_id)
        if mark in ("bad", "poison"):
            self.guilty.add(event_id)
        fields |= {"event_id": event_id, "event_name": mark, "metadata": {"padding": "x" * size}}
        return model_event(**fields) if kind is None else Step(event_type=kind, **fields)

    def foresee(
        self,
        event: AnyEvent,
        session: SessionProperties | None = None,
        *,
        sample: bool = True,
    ) -> DropReason | None:
        """
        Before *event* is pushed: note what may become of it.

        Returns:
            Why it will be dropped at once; None if it will not.
        """
        event_id = id_of(event)
        if is_session_event(event):
            session = None  # it belongs to itself
        self.attempted[event_id] += 1
        self.first_pushed.setdefault(event_id, self.clock.now())
        reason = self.set_up.foresee(event, session, sample=sample)
        if reason is None:
            wire = self.set_up.foresee_wire(event, session, self.clock.wall())
            self.wires[event_id].append(wire)
            self.to_announce.pop(event_id, None)
            if session is not None and self.set_up.announces(event, session):
                self.foresee_session(event_id, wire["session_id"], session)
        else:
            self.foreseen[event_id, reason] += 1
            if session is not None:
                self.foresee_later_session(event, session)
        return reason

    def foresee_later_session(self, event: AnyEvent, session: SessionProperties) -> None:
        """
        Before *event* is pushed and dropped: its session may be announced later, as it is now.
        """
        if session.session_name != "failing" and self.set_up.announces(event, session):
            said = self.set_up.foresee_session(session, self.clock.wall())
            if said is not None:
                self.wires[said["event_id"]].append(said)

    def foresee_session(self, event_id: str, session_id: str, session: SessionProperties) -> None:
        """
        Before the event with *event_id* is pushed: note how the server is told of its session.
        """
        said = self.set_up.foresee_session(session, self.clock.wall())
        if said is None:
            self.to_announce[event_id] = session_id
            return
        self.sessions.add(session_id)
        self.attempted[session_id] += 1
        self.wires[session_id].append(said)
        self.first_pushed.setdefault(session_id, self.clock.now())
        if session.session_name == "refused":
            self.guilty.add(session_id)

    def push_one(self, event: AnyEvent, session_name: str | None = None) -> None:
        event_id = id_of(event)
        session = session_named(session_name) if session_name else None
        reason = DropReason.CLOSED if self.is_closed else self.foresee(event, session)
        self.attempted[event_id] += self.is_closed
        before = len(self.outcomes[event_id])
        self.is_pushing = True
        is_accepted = self.exporter.push(event, session)
        self.is_pushing = False
        self.pushed[event_id] += 1
        fates = self.outcomes[event_id][before:]
        if reason is not None:
            assert not is_accepted
            assert fates == [(Outcome.DROPPED, reason)], (event_id, fates, reason)
        elif not is_accepted:
            assert fates[-1:] == [(Outcome.DROPPED, DropReason.QUEUE_FULL)], (event_id, fates)

    def update_one(self, event_id: str, mark: str, size: int) -> None:
        reason = DropReason.CLOSED if self.is_closed else self.set_up.foresee_update(mark)
        key = update_of(event_id)
        fields = say(len(self.updates.made) + 1, mark, "x" * size)
        said = self.set_up.foresee_body(fields, mark)
        fields |= WRONG_UPDATES.get(mark, {})
        self.updates.note(event_id, said, due=self.pushed[event_id])
        if mark in ("bad", "poison"):
            self.guilty.add(key)
        self.attempted[key] += 1
        self.first_pushed.setdefault(key, self.clock.now())
        if reason is not None:
            self.foreseen[key, reason] += 1
        self.is_pushing = True
        is_accepted = self.exporter.update(event_id, **fields)
        self.is_pushing = False
        self.pushed[key] += 1
        fates = self.outcomes[key][-1:]
        if not is_accepted:
            assert fates == [(Outcome.DROPPED, reason or DropReason.QUEUE_FULL)], (key, fates)
        assert not is_accepted or reason is None, (key, reason)

    async def put_one(self, event: AnyEvent, session_name: str | None = None) -> None:
        session = session_named(session_name) if session_name else None
        with suppress(ExporterError):
            reason = None if self.is_closed else self.foresee(event, session)
            is_accepted = await self.exporter.put(event, session)
            self.pushed[id_of(event)] += 1
            if not is_accepted and reason is None:
                reason = DropReason.SPOOL_FULL
                fates = self.outcomes[id_of(event)]
                self.must((Outcome.DROPPED, reason) in fates, f"{event}: {fates}")
            self.must(is_accepted == (reason is None), f"{event}: {reason}")

    async def create_one(self, event: AnyEvent, timeout: float | None) -> None:
        event_id = id_of(event)
        self.singles.add(event_id)
        self.under_way.add(event_id)
        reason = None if self.is_closed else self.foresee(event, sample=False)
        try:
            assert await self.exporter.create_model_event(event, timeout)
            self.pushed[event_id] += 1
            self.must(reason is None, f"{event_id}: {reason}")
        except DeliveryError as exc:
            self.pushed[event_id] += 1
            self.must(reason in (None, exc.reason), f"{event_id}: {exc.reason}, not {reason}")
        except (ExporterError, asyncio.CancelledError) as exc:
            # Cancelled or closed, it counts only if it had begun.
            self.pushed[event_id] += bool(self.outcomes[event_id])
            if isinstance(exc, asyncio.CancelledError):
                raise
        finally:
            self.under_way.remove(event_id)

    def answer_request(self, request: Request) -> Answer:
        self.look_at(request)
        answer = self.set_up.object_to(request, is_well=self.is_well)
        tells = True
        is_about_gzip = answer is not None and "content-encoding" in request.headers
        if answer is None:
            reply = self.script.popleft() if self.script else self.usual
            scripted, tells = reply.scripted, reply.tells
            while not isinstance(scripted, Answer):
                scripted = scripted(request)
            answer = scripted
        is_doubtful = self.is_shaky or not tells
        for stored in answer.stores:
            self.stored[stored.event["event_id"]] += 1
            self.excused[stored.event["event_id"]] += is_doubtful
        if answer.update is not None:
            self.updates.take(answer.update, is_sure=not is_doubtful)
            [(key, count)] = Counter(keys_of(request)).items()
            self.stored[key] += count
            self.excused[key] += count * is_doubtful
        if not (is_about_gzip and self.set_up.gzip == answer.status):
            self.note_refusal(request, answer)
        is_single = request.method == "POST" and not request.path.endswith("/batch")
        self.unanswered[request.connection] = (is_single, releases_needed(answer))
        return answer

    def look_at(self, request: Request) -> None:
        """
        Check that *request* is what may be sent now.
        """
        worker = self.exporter._life.worker
        probes = 0 if worker is None else sum(one.is_probe for one in worker.slots.in_hand)
        self.must(probes <= 1, f"{probes} probes")
        session = announced_by(request)
        session_id = session.get("session_id")
        flags = request.json.keys() & {"is_single_session", "single_session"}
        self.must(len(flags) == bool(session), "a flag without a session, or the other way round")
        if request.update is not None:
            self.look_at_update(request.update)
        for event in request.events:
            event_id = event["event_id"]
            delivered = self.times(event_id, self.arrival)
            self.must(delivered < self.known(event_id), f"{event_id} is sent again")
            plain = {name: value for name, value in event.items() if name != "feedback"}
            self.must(
                plain in self.wires[event_id],
                f"not as it was pushed: {event}",
            )
            if session:
                self.must(event.get("session_id") == session_id, f"{session_id} with {event}")
            self.announcing[event_id] = session_id
            if probes and len(request.events) == 1:
                self.probed.add(event_id)
        if session_id is not None:
            [name] = [one for one in SESSIONS if session_id == to_session_uuid(f"session-{one}")]
            foreseen = self.set_up.foresee_announcement(session_named(name))
            self.must(session == foreseen, f"announced as {session}")
            self.mentioned.add(session_id)
            is_old = session_id in self.announced and not self.is_shaky
            self.must(not is_old, f"{session_id} is announced again")

    def look_at_update(self, body: Event) -> None:
        """
        Check that *body* may be sent now.
        """
        event_id, numbers = body["event_id"], numbers_in(body)
        key = update_of(event_id)
        open_ones = self.known(key) - len(self.outcomes[key])
        self.must(len(numbers) <= open_ones, f"{key} is sent again")
        for complaint in self.updates.complain(body, lambda i: len(self.outcomes[i])):
            self.must(False, complaint)
        is_there = self.times(event_id, self.arrival) > 0
        was_pushed = any(self.updates.made[number].due for number in numbers)
        self.must(is_there or not was_pushed, f"{event_id} was lost, and is updated")

    def note_refusal(self, request: Request, answer: Answer) -> None:
        """
        Note which events *answer* gives a reason not to send again.
        """
        ids = keys_of(request)
        failed = failed_by(answer, ids)
        self.failed.update(failed)
        self.refused.update(failed)
        if not is_refusal(answer):
            self.forget_casualties()
        # A 400 counts where all sending is blocked before its body is divided.
        if is_refusal(answer) and (answer.status != 400 or len(ids) > 1):
            self.doubted.update(ids)
        if len(ids) == 1 and not announced_by(request):  # else it may be the session's fault
            is_fatal = answer.status == 400 or self.doubted[ids[0]] > 1 or ids[0] in self.singles
            is_fatal |= answer.status == 404 and request.update is not None
            self.refused[ids[0]] += is_refusal(answer) and is_fatal
            self.too_large[ids[0]] += answer.status == 413

    def note_outcome(self, settlement: Settlement) -> None:
        ids = settlement.event_ids
        for event_id in map(update_of, ids) if settlement.is_update else ids:
            self.outcomes[event_id].append((settlement.outcome, settlement.reason))
            if settlement.reason is not None:
                self.reasons[settlement.reason] += 1
            is_explained = self.explain(event_id, settlement.outcome, settlement.reason)
            self.must(is_explained, f"{event_id}: {settlement}")
            times = len(self.outcomes[event_id])
            self.must(times <= self.attempted[event_id], f"{event_id} has too many outcomes")

    def explain(self, event_id: str, outcome: Outcome, reason: DropReason | None) -> bool:
        """
        Whether an outcome that was just announced follows from what happened before.
        """
        times = self.times(event_id, outcome, reason)
        match outcome, reason:
            case ((Outcome.DELIVERED | Outcome.RELAYED), _):
                if session_id := self.announcing.get(event_id):
                    self.announced.add(session_id)
                due = {self.to_announce[event_id]} if event_id in self.to_announce else set()
                is_told = due <= self.mentioned or event_id in self.probed
                return outcome is self.arrival and times <= self.stored[event_id] and is_told
            case Outcome.REJECTED, _:
                self.casualties += event_id not in self.guilty | self.failed | self.singles
                return times <= self.refused[event_id] and self.casualties <= self.max_casualties
            case _, DropReason.QUEUE_FULL:
                return self.is_pushing
            case _, DropReason.CLOSED:
                return self.is_closed
            case _, DropReason.EVENT_LOST:
                return self.is_lost(event_id)
            case _, DropReason.SPOOL_FULL:
                return self.spool is not None
            case _, DropReason.SEND_FAILED:
                return event_id in self.singles
            case _, DropReason.RETRIES_EXHAUSTED:
                age = self.clock.now() - self.first_pushed[event_id]
                return age > RETRY.max_elapsed - RETRY.max_delay
            case _, DropReason.TOO_LARGE:
                return times <= self.foreseen[event_id, reason] + self.too_large[event_id]
            case _, DropReason():
                return times <= self.foreseen[event_id, reason]
        return False

    def is_lost(self, key: str) -> bool:
        """
        Whether the event of these updates was rejected or dropped.
        """
        fates = self.outcomes[key.removeprefix(update_of(""))]
        return any(outcome is not self.arrival for outcome, _ in fates)

    def times(self, event_id: str, outcome: Outcome, reason: DropReason | None = None) -> int:
        return self.outcomes[event_id].count((outcome, reason))

    def counted(self, outcome: Outcome) -> int:
        return sum(fate[0] is outcome for fates in self.outcomes.values() for fate in fates)

    def must(self, is_so: bool, otherwise: str) -> None:
        """
        Fail the story at its next step: what is raised in a callback goes elsewhere.
        """
        if not is_so:
            self.faults.append(otherwise)

    def interrupt(self) -> None:
        """
        Before what ends connections or the worker, who then has no memory of refusals.
        """
        self.excuse()
        self.forget_casualties()

    def forget_casualties(self) -> None:
        self.casualties, self.max_casualties = 0, REFUSALS_TO_SUSPEND + REFUSALS_UNCOUNTED

    def release(self) -> None:
        self.server.release()
        self.unanswered = {c: (single, n - 1) for c, (single, n) in self.unanswered.items()}

    def excuse(self) -> None:
        """
        Before an interruption: the answers on their way now may never be read.

        Until the network is calm again the same goes for those that are still to come.
        """
        self.is_shaky = True
        flying = self.exporter._queue.ledger.flying
        for record in [record for record in flying if record.route == UPDATES]:
            self.updates.doubt(numbers_in(orjson.loads(record.data)))
        for event_id, stored in self.stored.items():
            if len(self.outcomes[event_id]) < self.known(event_id):
                unknown = stored - self.times(event_id, self.arrival)
                self.excused[event_id] = max(self.excused[event_id], unknown)

    def known(self, event_id: str) -> int:
        if event_id in self.sessions:
            return self.attempted[event_id]
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
        self.is_calm = False
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
        while seconds > 0:
            # Deadlines may interrupt what is sent before, and what is sent meanwhile.
            self.excuse()
            step = min(seconds, LONGEST_STEP)
            await self.clock.advance(step)
            if seconds > step:
                await self.calm_down()
            seconds -= step

    async def calm_down(self) -> None:
        """
        Turn the loop until nothing happens any more.
        """
        before = None
        while (after := self.what_can_be_seen()) != before:
            before = after
            await settle()
        self.is_shaky = False
        self.is_calm = True

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

    async def until_only_poison_is_left(self) -> None:
        """
        Wait until the firewall holds up no event but those that it dislikes.
        """

        def others() -> set[str]:
            open_ids = {i for i, times in self.pushed.items() if times > len(self.outcomes[i])}
            return open_ids - self.guilty - set(map(update_of, self.guilty))

        for _ in range(200):
            if not others():
                return
            await self.until_done(self.exporter.start())  # a cancelled worker ends some time later
            await self.advance(5.0)
            await self.calm_down()
        raise AssertionError(f"a poisoned event holds up others: {others()}")

    async def until_all_is_settled(self) -> None:
        """
        Flush until nothing is left: a flush gives up on a server that refuses its first probe.
        """
        for _ in range(3):
            await self.until_done(self.exporter.flush())
        assert not self.exporter._queue.has_open_records

    async def until_done(self, work: Awaitable[T]) -> T:
        """
        Await what ends soon on a server that is well.
        """
        call = asyncio.ensure_future(work)
        for _ in range(100):
            self.release()
            await self.calm_down()
            if call.done():
                return call.result()
            await self.advance(5.0)
        raise AssertionError(f"it does not end on a server that is well: {call}")


class PackedBooks(Books):
    """
    The same while all that waits is packed.
    """

    is_packed = True


class RelayedBooks(Books):
    """
    The same where what the server has is for a relay to deliver.
    """

    arrival = Outcome.RELAYED


def id_of(event: AnyEvent) -> str:
    assert event.event_id is not None
    return event.event_id


def keys_of(request: Request) -> list[str]:
    """
    List what *request* has: events by their ids, and updates by that of their event.
    """
    if request.update is not None:
        return [update_of(request.update["event_id"])] * len(numbers_in(request.update))
    return [event["event_id"] for event in request.events]


def records_of(deliveries: Iterable[Delivery]) -> list[Record]:
    return [record for delivery in deliveries for record in delivery.pending]


def records_in(batcher: Batcher) -> list[Record]:
    drafts = (*batcher._full, *batcher._open.values())
    held = [record for draft in drafts for record in draft.records.values()]
    return [*held, *chain(*batcher._announcing.values())]


def size_of(records: Iterable[Record]) -> int:
    return sum(record.size for record in records)


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
@pytest.mark.parametrize("machine", [Books, PackedBooks, RelayedBooks])
def test_the_books_balance_and_tell_the_truth(machine: type[Books]) -> None:
    """
    Every event has exactly one outcome, and the server has what was delivered.
    """
    run_state_machine_as_test(machine, settings=ORDINARY)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", [Books, PackedBooks, RelayedBooks])
def test_the_books_balance_for_long(machine: type[Books]) -> None:
    """
    The same holds in longer stories, and in many more of them.
    """
    run_state_machine_as_test(machine, settings=LONG)
