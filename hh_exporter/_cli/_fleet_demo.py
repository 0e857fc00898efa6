"""
`hh-exporter demo --fleet`: a fleet on this machine, and what becomes of it when parts of it die.

Three NATS servers, two relays in processes of their own, and a collector in the place of the
API. The API fails for a while; meanwhile a relay is killed and the server that leads the stream.
So what the relay had is delivered by the other one, and nothing that it had sent is sent twice.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress

import click
from attrs import Factory, define, field

from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli._errors import UndoneError
from hh_exporter._cli._report import Report, print_columns
from hh_exporter._cli._stream import connected
from hh_exporter._cli.demo import compare, make_events, make_exporter, started, stay, wire_forms
from hh_exporter._clock import Clock, Deadline, SystemClock
from hh_exporter._collector import Collector
from hh_exporter._exporter import Exporter
from hh_exporter._fleet.books import BALANCED
from hh_exporter._fleet.census import RelayAnswer, ask_relays
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.streams import look, set_up
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.nats import Connection, Lost
from hh_exporter.events import ModelEvent

__all__ = ["fleet_demo"]

_ROUNDS = 6
"""How often the sample is pushed."""
_MAX_BYTES = 200_000_000
_ACK_WAIT = 10.0
"""Seconds after which what the killed relay had goes to the other: a minute would be long here."""
_PATIENCE = 60.0
"""Seconds for all that is to come about."""
_ANSWER = 0.5
"""Seconds in which relays answer."""
_FIRST = 4
"""One part of so many is delivered before anything happens."""
_AT_ONCE = 40
_PAUSE = 0.1
"""Events that are pushed in one go, and seconds until the next: the demo takes its time."""


async def fleet_demo(
    collector: Collector,
    report: Report,
    *,
    keep: bool,
    dialect: str = "legacy",
    show: Callable[[str], object] | None = None,
) -> bool:
    """
    Send the sample to *collector* by a fleet; see `demo`.

    Raises:
        CallError: The collector can't listen, or the servers don't start.
        UndoneError: Something does not come about in time.
    """
    demo = FleetDemo(collector=collector, report=report, dialect=dialect)
    collector.script = lambda: "503" if demo.is_down else None
    async with started(collector):
        events = make_events(_ROUNDS)
        pushed = wire_forms(events, dialect)
        with report.logs():
            is_right = await demo.run(events)
        comparison = compare(pushed, [event async for event in collector.events()])
        if not comparison.is_exact:
            click.echo(f"\nNot all arrived as it was pushed: {comparison}.")
        elif is_right:
            click.echo(
                "\nAll books balance.\n"
                f"All {len(events):,} events arrived as they were pushed, each once."
            )
        if keep:
            await stay(collector.url, show)
    return is_right and comparison.is_exact


@define(eq=False)
class _Relay:
    """
    A relay in a process of its own.
    """

    name: str
    process: asyncio.subprocess.Process
    answer: RelayAnswer | None = None
    """What it said last of itself."""
    is_killed: bool = False

    @property
    def books(self) -> Mapping[str, int]:
        return self.answer.books if self.answer else {}

    @property
    def holds(self) -> bool:
        """
        Whether it has events that it can't deliver.
        """
        return self.books.get("queued", 0) + self.books.get("in_flight", 0) > 0

    @property
    def is_balanced(self) -> bool:
        recovered, *others = (self.books.get(name, 0) for name in BALANCED)
        return self.answer is not None and recovered == sum(others)


@define(eq=False, kw_only=True)
class FleetDemo:
    """
    The demo of a fleet.
    """

    collector: Collector
    report: Report
    dialect: str
    clock: Clock = Factory(SystemClock)
    is_down: bool = field(default=False, init=False)
    """Whether the API fails."""
    _relays: list[_Relay] = Factory(list)
    _names: Names = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = Names(dialect=self.dialect)

    async def run(self, events: list[ModelEvent]) -> bool:
        """
        Publish *events*, and wait until the collector has them.

        Returns:
            Whether all books balance, and nothing is left in the stream.

        Raises:
            CallError: The servers don't start.
            UndoneError: Something does not come about in time.
        """
        async with AsyncExitStack() as stack:
            self.report.say("starting three NATS servers, two relays and a collector")
            cluster = await stack.enter_async_context(Cluster())
            access = JetStream(cluster.servers)
            async with connected(access, "operator", self.clock) as connection:
                plan = Plan(
                    max_bytes=_MAX_BYTES,
                    dead_max_bytes=_MAX_BYTES,
                    ack_wait=_ACK_WAIT,
                    names=self._names,
                )
                await set_up(connection, plan, Deadline.after(self.clock, _PATIENCE))
            stack.push_async_callback(self._end_relays)
            for name in ("relay 1", "relay 2"):
                self._relays.append(await self._start_relay(name, cluster))
            await self._until_told(access, lambda relay: relay.answer, "did not start")
            exporter = make_exporter(jetstream=cluster.servers, dialect=self.dialect)
            first = len(events) // _FIRST
            async with exporter:
                await self._push(exporter, events[:first])
                if not await self._until_empty(access, first):
                    raise UndoneError("the relays did not deliver in time")
                self.report.say(f"{first:,} events have been delivered")
                self.is_down = True
                self.report.say("the API fails from now on: HTTP 503")
                pushing = asyncio.create_task(self._push(exporter, events[first:]))
                try:
                    await self._harm(cluster, access, exporter, len(events))
                    await pushing
                finally:
                    pushing.cancel()
                await exporter.flush(_PATIENCE)
            is_empty = await self._until_empty(access, len(events))
            return self._account(exporter, len(events), is_empty=is_empty)

    async def _push(self, exporter: Exporter, events: Iterable[ModelEvent]) -> None:
        for number, event in enumerate(events):
            if number % _AT_ONCE == 0:
                await self.clock.sleep(_PAUSE)
            exporter.push(event)

    async def _harm(
        self, cluster: Cluster, access: JetStream, exporter: Exporter, count: int
    ) -> None:
        """
        Kill what is to be killed while the API fails, and have it work again.
        """
        await self._until_told(access, lambda relay: relay.holds, "took no events")
        first = self._relays[0]
        first.process.kill()
        await first.process.wait()
        first.is_killed = True
        held = first.books["queued"] + first.books["in_flight"]
        self.report.say(f"relay 1 is killed, with {held:,} events in hand")
        half = exporter.stats().relayed + (count - exporter.stats().relayed) // 2
        leader = await cluster.leader_of(self._names.stream)
        await cluster.kill(leader)
        self.report.say(f"server n{leader}, which led the stream, is killed")
        await self._until(lambda: exporter.stats().relayed > half, "another server leads")
        self.is_down = False
        self.report.say("the API works again")

    async def _start_relay(self, name: str, cluster: Cluster) -> _Relay:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HH_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hh_exporter", "relay", "--servers", cluster.servers),
            *("--dialect", self.dialect),
            env=inherited | {"HH_API_URL": self.collector.url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # what is typed at the terminal is for the demo
        )
        return _Relay(name, process)

    async def _end_relays(self) -> None:
        for relay in self._relays:
            with suppress(ProcessLookupError):
                relay.process.terminate()
        for relay in self._relays:
            await relay.process.wait()

    async def _ask(self, connection: Connection) -> None:
        answers = await ask_relays(connection, self._names.relays, _ANSWER)
        for relay in self._relays:
            for answer in answers:
                if answer.pid == relay.process.pid:
                    relay.answer = answer

    async def _until_told(
        self, access: JetStream, condition: Callable[[_Relay], object], what: str
    ) -> None:
        """
        Ask the relays until what they tell fulfils *condition*; *what* they did not, else.
        """
        give_up = self.clock.now() + _PATIENCE
        async with connected(access, "operator", self.clock) as connection:
            while not all(map(condition, self._relays)):
                if self.clock.now() > give_up:
                    raise UndoneError(f"the relays {what} in time")
                await self._ask(connection)

    async def _until_empty(self, access: JetStream, count: int) -> bool:
        """
        Wait until the stream has no events, and the relays have told of *count*.
        """
        give_up = self.clock.now() + _PATIENCE
        while self.clock.now() < give_up:
            with suppress(Lost, UndoneError):
                async with connected(access, "operator", self.clock) as connection:
                    while self.clock.now() < give_up:
                        await self._ask(connection)
                        deadline = Deadline.after(self.clock, _PATIENCE)
                        events = (await look(connection, self._names, deadline)).events
                        if events and not events.messages and self._delivered == count:
                            return True
        return False

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        give_up = self.clock.now() + _PATIENCE
        while not condition():
            if self.clock.now() > give_up:
                raise UndoneError(f"it took too long until {what}")
            await self.clock.sleep(_PAUSE / 10)

    def _account(self, exporter: Exporter, count: int, *, is_empty: bool) -> bool:
        stats = exporter.stats()
        app = {"pushed": stats.pushed, "relayed": stats.relayed}
        books = {f"{r.name}, killed" if r.is_killed else r.name: r.books for r in self._relays}
        names = ("pushed", "relayed", *BALANCED)
        print_columns(
            ("", *(name.replace("_", " ") for name in names)),
            (
                (who, *(f"{of[name]:,}" if name in of else "" for name in names))
                for who, of in {"app": app, **books}.items()
            ),
        )
        is_balanced = stats.pushed == count == stats.relayed == stats.settled
        if not is_balanced:
            click.echo(f"\nThe books of the app do not balance: {stats}")
        for relay in self._relays:
            if not relay.is_balanced:
                is_balanced = False
                click.echo(f"\nThe books of {relay.name} do not balance: {dict(relay.books)}")
        if not is_empty:
            click.echo(
                "\nNot all was delivered: events are left in the stream, or the relays'"
                " books do not have them."
            )
        return is_balanced and is_empty

    @property
    def _delivered(self) -> int:
        return sum(relay.books.get("delivered", 0) for relay in self._relays)
