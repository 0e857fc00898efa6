"""
A program, a bad network and a bad server, told from a seed.

All choices come from the seed, by their number: the same seed tells the same
story. Time is the test's own, and moves once the network is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from random import Random
from typing import Any, TypeVar

from attrs import define, field, frozen

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    Event,
    Exporter,
    QueueLimits,
    RetryPolicy,
    SessionProperties,
)
from hh_exporter._dialects.vendor import to_session_uuid
from tests.chaos.accounts import Accounts
from tests.chaos.proxy import Certificates, Fault, FaultProxy, Greeting, Kind
from tests.limiters import let_jump
from tests.machine import HEALTHY, KINDS, OUTAGES, REPLIES, AnyEvent
from tests.scripted_server import Answer, Request, ScriptedServer
from tests.support import FakeClock, model_event, settle, until
from tests.updates import say

__all__ = ["MakeExporter", "Phase", "Story", "answer_from", "plan", "spoil"]

T = TypeVar("T")
MakeExporter = Callable[..., Exporter]

REQUEST_TIMEOUT = 5.0
STEP = 1.0
"""Seconds that pass between two looks at the books."""

NETWORKS = (
    *("calm", "slow", "flaky", "flaky", "flaky", "black hole", "half-open", "late"),
    *("gone", "restarting", "server gone", "impostor", "plain text"),
)
"""What may be between the program and the server for a while."""

WEATHERS = (
    *(("well",) * 4),
    *(("flaky",) * 8),
    *(name for name in OUTAGES if name != "400"),
)
"""What the server may do for a while; one that calls good events bad would excuse too much."""

WELL = tuple(name for name in HEALTHY if name != "partly, with 200")
FLAKY = tuple(
    name
    for name in REPLIES
    # The first needs a test that releases it; the second loses what it says where it is cut
    # short; the others refuse good events, which would excuse everything.
    if name not in ("created, byte by byte", "partly, with 200", "400", "413")
)


@frozen(kw_only=True)
class Phase:
    """
    Some time in the life of a program.

    Attributes:
        load: What it does in each second, by the names of methods of `Story`.
    """

    network: str
    server: str
    load: tuple[tuple[str, ...], ...]


CALM = Phase(network="calm", server="well", load=())


def plan(seed: int, *, tls: bool) -> tuple[Phase, ...]:
    """
    Make a story's phases.
    """
    random = Random(f"plan {seed}")
    networks = NETWORKS if tls else NETWORKS[:-2]
    actions = (
        *(("push",) * 20),
        *(("push_bad",) * 5),
        *(("push_of_session", "put") * 2),
        *(("update",) * 6),
        *("create", "flush"),
    )
    return tuple(
        Phase(
            network=random.choice(networks),
            server=random.choice(WEATHERS),
            load=tuple(
                tuple(random.choices(actions, k=random.choice((0, 1, 3, 10))))
                for _ in range(random.choice((3, 6, 10, 20)))
            ),
        )
        for _ in range(random.randint(4, 7))
    )


def spoil(network: str, random: Random) -> Fault:
    """
    Choose what such a network does to one exchange.
    """
    at = random.choice((0, 14, -1, -1, random.randrange(300), random.randrange(5_000)))
    match network:
        case "slow":
            return Fault(
                delay=random.random(),
                answer_delay=random.choice((0.0, random.random(), 2 * REQUEST_TIMEOUT)),
                rate=random.choice((inf, inf, 10_000.0, 400.0)),
            )
        case "flaky":
            return Fault(kind=random.choice((*(Kind.NOTHING,) * len(Kind), *Kind)), at=at)
        case "black hole":
            return Fault(kind=Kind.BLACK_HOLE)
        case "half-open":
            return Fault(kind=Kind.HALF_OPEN, at=random.choice((0, at)))
        case "late":
            return Fault(kind=random.choice((Kind.NOTHING, Kind.LATE)))
    return Fault()


def answer_from(weather: str, random: Random, request: Request) -> Answer:
    """
    Choose how such a server answers one request.
    """
    names = {"well": WELL, "flaky": FLAKY}.get(weather, (weather,))
    scripted = REPLIES[random.choice(names)].scripted
    while not isinstance(scripted, Answer):
        scripted = scripted(request)
    return scripted


@define(eq=False, kw_only=True)
class Story:
    """
    One telling.

    Attributes:
        make: Makes the exporter.
        certificates: What the proxy speaks TLS with; None to speak none.
        settings: What the exporter is given beside what the seed chooses.
        secret: What all payloads say.
        on_step: Called before each second of load.
        join: Waits for others that push; None if the program is alone.
        calls: What the program awaits, and by when it must have returned.
        errors: What its calls raised.
        entering: Events whose put or create has not returned: they are perhaps not admitted yet.
    """

    seed: int
    dialect: str
    make: MakeExporter
    certificates: Certificates | None = None
    settings: dict[str, Any] = field(factory=dict)
    secret: str = "Hello"
    on_step: Callable[[], object] = lambda: None
    join: Callable[[], Awaitable[object]] | None = None
    phases: Sequence[Phase] = field(init=False)
    clock: FakeClock = field(init=False, factory=FakeClock)
    server: ScriptedServer = field(init=False)
    proxy: FaultProxy = field(init=False)
    exporter: Exporter = field(init=False)
    accounts: Accounts = field(init=False, factory=Accounts)
    phase: Phase = field(init=False, default=CALM)
    calls: dict[asyncio.Task[Any], float] = field(init=False, factory=dict)
    errors: list[DeliveryError] = field(init=False, factory=list)
    entering: set[str] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.phases = plan(self.seed, tls=self.certificates is not None)
        self.server = ScriptedServer(default=self._answer)

    async def tell(self) -> None:
        """
        Live through all phases, then let all become well, and audit.
        """
        try:
            async with self.server:
                self.proxy = self._make_proxy()
                await self.proxy.open()
                self.exporter = self._make_exporter()
                try:
                    await self._live()
                finally:
                    await self.proxy.close()
                    await self.exporter.aclose(0.0)
                    for call in self.calls:
                        call.cancel()
                    await asyncio.gather(*self.calls, return_exceptions=True)
            self.accounts.audit(self.proxy.exchanges)
        except AssertionError as error:
            error.add_note(f"{self}")
            raise

    def __str__(self) -> str:
        phases = [f"  {len(p.load)} s of {p.network}, server: {p.server}" for p in self.phases]
        title = f"seed {self.seed}, {self.dialect}{', TLS' if self.certificates else ''}"
        return "\n".join([title, *phases])

    def _make_proxy(self) -> FaultProxy:
        return FaultProxy(
            leads_to=int(self.server.url.rpartition(":")[2]),
            clock=self.clock,
            certificates=self.certificates,
            choose=lambda n: spoil(self.phase.network, self._random("exchange", n)),
            greet=self._greet,
        )

    def _make_exporter(self) -> Exporter:
        random = self._random("settings")
        self.accounts.resends = random.random() < 0.5
        settings = {
            "api_key": "hh_key",
            "base_url": self.proxy.url,
            "dialect": self.dialect,
            "queue": QueueLimits(
                max_events=random.choice((40, 1_000)),
                overflow=random.choice(("drop_oldest", "drop_newest")),
            ),
            "batch": BatchLimits(
                max_events=random.choice((1, 5, 30, 100)),
                linger=random.choice((0.0, 1.0)),
            ),
            "retry": RetryPolicy(max_elapsed=random.choice((20.0, 300.0))),
            "max_in_flight": random.choice((1, 4, 16)),
            "request_timeout": REQUEST_TIMEOUT,
            "compression": random.choice((None, "gzip")),
            "on_ambiguous": "resend" if self.accounts.resends else "reject",
            "on_outcome": self.accounts.note_outcome,
            "_clock": self.clock,
            "_random": self._random("jitter").random,
        }
        exporter = self.make(**settings | self.settings)
        if random.random() < 0.5:
            let_jump(exporter)
        if random.random() < 0.5:
            exporter._queue.packing.start_at(0, block=1_000)
        return exporter

    def _random(self, what: str, number: int = 0) -> Random:
        return Random(f"{self.seed} {what} {number}")

    def _greet(self, number: int) -> Greeting:
        odd = {"impostor": Greeting.IMPOSTOR, "plain text": Greeting.PLAIN}
        return odd.get(self.phase.network, Greeting.PROPER)

    def _answer(self, request: Request) -> Answer:
        random = self._random("request", len(self.server.requests))
        answer = answer_from(self.phase.server, random, request)
        self.accounts.note_answer(request, answer)
        return answer

    # What a program does.

    def push(self, name: str = "good", session: SessionProperties | None = None) -> None:
        self.exporter.push(self._new_event(name), session)

    def push_bad(self) -> None:
        self.push("bad")

    def push_of_session(self) -> None:
        number = self._random("session", len(self.accounts.pushed)).randrange(5)
        session = SessionProperties(session_id=f"session-{number}", metadata={"note": self.secret})
        self.push(session=session)
        if self.dialect == "v1":
            self._note_session(f"session-{number}")

    def _note_session(self, session_id: str) -> None:
        """
        Note a session that became an event, whether or not there was room for it.
        """
        told = to_session_uuid(session_id)
        is_lost = any(event_id == told for event_id, _ in self.accounts.settlements)
        if is_lost or self.exporter._intake.sessions.is_known(session_id):
            self.accounts.note_session(told)

    def update(self) -> None:
        """
        Update one of the latest events, often more than once, or one that somebody else pushed.
        """
        random = self._random("update", len(self.accounts.settlements))
        latest = tuple(self.accounts.pushed)[-random.choice((1, 3, 10, 100)) :]
        event_id = random.choice(
            (f"foreign-{random.randrange(20)}", *(i for i in latest if i not in self.entering))
        )
        for _ in range(random.choice((1, 1, 2, 3))):
            number = self.accounts.note_update(event_id)
            self.exporter.update(event_id, **say(number, padding=self.secret))

    def put(self) -> None:
        event = self._new_event()
        self.entering.add(str(event.event_id))
        self._call(self._put(event))

    def create(self) -> None:
        event = self._new_event()
        self.entering.add(str(event.event_id))
        self._call(self._create(event), 3 * REQUEST_TIMEOUT)

    def flush(self) -> None:
        seconds = self._random("flush", len(self.accounts.pushed)).choice((0.0, 2.0, 20.0))
        self._call(self.exporter.flush(seconds), seconds)

    async def _put(self, event: AnyEvent) -> None:
        try:
            await self.exporter.put(event)
        finally:
            self.entering.discard(str(event.event_id))

    async def _create(self, event: AnyEvent) -> None:
        try:
            await self.exporter.create_model_event(event)
        except DeliveryError as error:
            self.errors.append(error)
        finally:
            self.entering.discard(str(event.event_id))

    def _new_event(self, name: str = "good") -> AnyEvent:
        number = len(self.accounts.pushed)
        random = self._random("kind", number)
        kind = random.choice(KINDS)
        event_id = f"event-{number}"
        if kind == "session":
            event_id = to_session_uuid(event_id)
        self.accounts.note_push(event_id, is_bad=name == "bad")
        padding = "x" * self._random("padding", number).choice((0, 0, 0, 700, 3_000))
        if kind is not None:
            inputs = {"padding": padding, "said": self.secret}
            return Event(event_type=kind, event_id=event_id, event_name=name, inputs=inputs)
        return model_event(
            event_id=event_id,
            event_name=name,
            messages=[{"role": "user", "content": self.secret}],
            inputs={"padding": padding},
        )

    def _call(self, work: Awaitable[object], seconds: float = inf) -> None:
        async def finish() -> None:
            await work

        self.calls[asyncio.create_task(finish())] = self.clock.now() + seconds

    # What happens to it.

    async def _live(self) -> None:
        await self.exporter.start()
        for phase in self.phases:
            await self._begin(phase)
            for actions in phase.load:
                self.on_step()
                if phase.network == "restarting":
                    await self.proxy.restart()
                for action in actions:
                    getattr(self, action)()
                await self._pass(STEP)
        if self.join is not None:
            await self.join()
            self.join = None
        await self._recover()

    async def _begin(self, phase: Phase) -> None:
        self.phase = phase
        await (self.proxy.stop() if phase.network == "gone" else self.proxy.restart())
        if phase.network == "server gone":
            await self.server.stop()
        elif not self.server._listening:
            await self.server.restart()

    async def _recover(self) -> None:
        """
        Let all become well: what is left then has its outcome soon.
        """
        await self._begin(CALM)
        for _ in range(100):
            await self._until_done(self.exporter.flush())
            if not self.exporter._queue.has_open_records:
                break
        await self._until_done(asyncio.gather(*self.calls))
        result = await self._until_done(self.exporter.aclose())
        assert not result.left, result
        stats = self.accounts.look(self.exporter)
        assert not stats.queued + stats.in_flight, stats

    async def _until_done(self, work: Awaitable[T]) -> T:
        """
        Let time pass until *work* ends: as long as outcomes come, however many are open.
        """
        task = asyncio.ensure_future(work)
        outcomes, patience = -1, 200
        while patience:
            await self._calm_down()
            if task.done():
                return task.result()
            await self._pass(STEP)
            stats = self.exporter.stats()
            before, outcomes = outcomes, stats.settled
            patience = patience - 1 if outcomes == before else 200
        task.cancel()
        raise AssertionError(f"it does not end on a server that is well: {task}")

    async def _pass(self, seconds: float) -> None:
        """
        Let time pass, and look at the books and at who should have returned by now.
        """
        await self._calm_down()
        await self.clock.advance(seconds)
        await self._calm_down()
        self.accounts.look(self.exporter, is_alone=self.join is None)
        now = self.clock.now()
        for call, deadline in tuple(self.calls.items()):
            assert call.done() or deadline >= now, f"past its deadline: {call}"
            if call.done():
                del self.calls[call]
                call.result()
        assert not self.proxy.failures, self.proxy.failures

    async def _calm_down(self) -> None:
        """
        Turn the loop until nothing happens any more, on disk either: its thread has real time.
        """
        spooler = self.exporter._life.spooler
        seen: object = None
        while seen != (
            seen := (
                self.exporter.stats(),
                self.proxy.moves,
                self.proxy.open_connections,
                len(self.server.requests),
                self.server.open_connections,
                sum(call.done() for call in self.calls),
            )
        ):
            await settle()
            if spooler is not None:
                spooler.writer.hurry()
                await until(lambda: spooler.writer.room.since is None)
