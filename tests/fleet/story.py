"""
A whole fleet in a test: an app host, the stream, relays and the API, and the books of all.

The rule: whatever is done to its parts, each event that the app calls relayed is at the API or
among the dead letters in the end; the books of the app and of each relay balance whenever they
are looked at; and no more events arrive twice than relays counted as redelivered, or the stream
was given twice.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from attrs import Factory, define, field

from hh_exporter import (
    BatchLimits,
    Exporter,
    JetStream,
    Outcome,
    QueueLimits,
    RetryPolicy,
    Settlement,
)
from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.plan import NANOSECONDS, Names
from hh_exporter._fleet.relay import Relay
from tests.fleet.relays import letters, make_relay, prepare
from tests.nats import Client, connected
from tests.programs import Program, started
from tests.scripted_server import ScriptedServer
from tests.support import assert_balanced, push_all

__all__ = ["EAGER", "SMALL", "Fleet", "Solo"]

EAGER = RetryPolicy(base=0.05, max_delay=0.5)
SMALL = BatchLimits(max_events=50, linger=0.02)

_LOOK = 0.05

Books = dict[str, int]


@define(eq=False)
class Solo:
    """
    A relay in a process of its own.
    """

    program: Program
    prefetch: int

    @property
    def pid(self) -> int:
        return self.program.process.pid

    def kill(self) -> None:
        self.program.send(signal.SIGKILL)

    def freeze(self) -> None:
        self.program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.program.send(signal.SIGCONT)

    async def stop(self) -> dict[str, Any]:
        """
        Stop it in order; gives what it said last of itself.
        """
        self.program.send(signal.SIGTERM)
        ended = await self.program.ended()
        assert ended.status == 0, ended
        said: dict[str, Any] = json.loads(ended.stdout)
        return said


@define(eq=False, kw_only=True)
class Fleet:
    """
    One fleet, for the time of a block; its app starts with it.

    Attributes:
        ack_wait: Seconds after which what a relay does not tell of is given to another.
        app: Settings of the app's exporter.
        access: How the test itself may connect, where that needs a user.
        names: Of its streams.
        patience: Seconds for what may take an election or two.
        relayed: How often each event was called relayed; those of others went otherwise.
        lost: Events that ended at the app in another way.
        books: What each relay said of itself last, by its id; those that have ended, too.
        unknown: Duplicates that may have been counted by nobody: by what was killed since it
            told its books.
    """

    cluster: Cluster
    api: ScriptedServer
    ack_wait: float = 30.0
    app: dict[str, Any] = Factory(dict)
    access: dict[str, Any] = Factory(dict)
    names: Names = Factory(Names)
    patience: float = 45.0
    exporter: Exporter = field(init=False)
    client: Client = field(init=False)
    relayed: Counter[str] = field(init=False, factory=Counter)
    lost: Counter[str] = field(init=False, factory=Counter)
    books: dict[str, Books] = field(init=False, factory=dict)
    unknown: int = field(init=False, default=0)
    _inside: list[Relay] = field(init=False, factory=list)
    _told: dict[str, dict[str, Any]] = field(init=False, factory=dict)
    _problems: list[str] = field(init=False, factory=list)
    _pushed: int = field(init=False, default=0)
    _arrivals: Counter[str] = field(init=False, factory=Counter)
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            patient = {"allow_reconnect": True, "max_reconnect_attempts": -1}
            options = {**patient, "reconnect_time_wait": 0.1, **self.access}
            self.client = await stack.enter_async_context(connected(self.cluster, **options))
            await prepare(self.cluster, self.names, **self.access)
            await self.set_consumer(ack_wait=int(self.ack_wait * NANOSECONDS))
            await self.client.client.subscribe("told", cb=self._note_books)
            watching = asyncio.create_task(self._watch())
            stack.push_async_callback(_cancelled, watching)
            settings = {
                "jetstream": JetStream(self.cluster.servers),
                "batch": SMALL,
                "retry": EAGER,
                "queue": QueueLimits(max_events=100_000),
                "request_timeout": 3.0,
                "on_outcome": self._note_outcome,
                **self.app,
            }
            self.exporter = await stack.enter_async_context(Exporter(**settings))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    # Its parts.

    @asynccontextmanager
    async def relay(self, servers: str = "", **given: Any) -> AsyncIterator[Relay]:
        """
        Run a relay in this process, for the time of a block.
        """
        settings: dict[str, Any] = {"batch": SMALL, "retry": EAGER, "request_timeout": 5.0, **given}
        names = settings.pop("names", self.names)
        where = settings.pop("jetstream", servers or self.cluster.servers)
        relay = make_relay(where, self.api, names=names, **settings)
        async with relay:
            self._inside.append(relay)
            yield relay
        self.look()
        self._inside.remove(relay)

    @asynccontextmanager
    async def solo(self, servers: str = "", *, prefetch: int = 200) -> AsyncIterator[Solo]:
        """
        Run `hh-exporter relay`, no longer than a block.
        """
        environ = {
            "HH_API_URL": self.api.url,
            "HH_API_KEY": "hh_key",
            "HH_EXPORTER_JETSTREAM_SERVERS": servers or self.cluster.servers,
            "HH_EXPORTER_BATCH_LINGER": "0.02",
            "HH_EXPORTER_BATCH_MAX_EVENTS": "50",
            "HH_EXPORTER_RETRY_BASE": "0.05",
        }
        options = ("--json", "--every", "1h", "--prefetch", str(prefetch))
        with started("-m", "hh_exporter", "relay", *options, environ=environ) as program:
            pid = program.process.pid
            await self.until(lambda: pid in [told["pid"] for told in self._told.values()])
            yield Solo(program, prefetch)

    async def set_consumer(self, **config: Any) -> None:
        """
        Change the consumer, which keeps all else.
        """
        stream, name = self.names.stream, self.names.consumer
        now = (await self.client.call(f"CONSUMER.INFO.{stream}.{name}"))["config"]
        body = {"stream_name": stream, "config": {**now, **config}, "action": "update"}
        answer = await self.client.call(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", **body)
        assert "error" not in answer, answer

    async def set_stream(self, name: str, **config: Any) -> None:
        now = (await self.client.call(f"STREAM.INFO.{name}"))["config"]
        answer = await self.client.call(f"STREAM.UPDATE.{name}", **{**now, **config})
        assert "error" not in answer, answer

    # What happens.

    def push(self, count: int, **fields: Any) -> list[str]:
        """
        Push so many events; gives their ids.
        """
        ids = [f"e{n}" for n in range(self._pushed, self._pushed + count)]
        self._pushed += count
        push_all(self.exporter, *ids, **fields)
        return ids

    async def published(self) -> None:
        """
        Wait until the app has nothing left.
        """
        await self.until(
            lambda: not ((stats := self.exporter.stats()).queued + stats.in_flight + stats.spooled)
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """
        Wait for *condition*; all books balance meanwhile.
        """
        async with asyncio.timeout(self.patience):
            while not condition():
                self.look()
                await asyncio.sleep(_LOOK)

    async def arrived(self, count: int) -> None:
        """
        Wait until the API has so many events.
        """
        await self.until(lambda: len(self.api.created) >= count)

    async def drained(self) -> None:
        """
        Wait until the app has published all, and nothing is left in the stream.
        """
        await self.published()
        try:
            async with asyncio.timeout(self.patience):
                while await self.client.messages(self.names.stream):
                    self.look()
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise AssertionError(await self.describe()) from None

    async def describe(self) -> str:
        """
        Say where things are, for who finds that they do not end.
        """
        name = f"CONSUMER.INFO.{self.names.stream}.{self.names.consumer}"
        consumer = await self.client.call(name)
        parts = [f"app: {self.exporter.stats()}", f"consumer: {consumer}"]
        parts += [f"relay: {relay.describe()}" for relay in self._inside]
        return "\n".join([*parts, *(f"said: {told}" for told in self._told.values())])

    async def dead_ids(self) -> list[str]:
        """
        List the events that have dead letters.
        """
        found = await letters(self.client, self.names.dead_stream)
        return [letter["event_id"] for letter in found]

    # The books.

    def look(self) -> None:
        """
        See that all books balance, as far as this process has them.
        """
        assert_balanced(self.exporter)
        for relay in self._inside:
            self.note(relay.describe())
        assert not self._problems, self._problems

    def note(self, said: dict[str, Any]) -> None:
        """
        Note what a relay says of itself, which must balance.
        """
        self._told[said["id"]] = said
        books = self.books[said["id"]] = said["books"]
        fates = ("delivered", "rejected", "dropped", "returned", "queued", "in_flight")
        if books["recovered"] != sum(books[fate] for fate in fates):
            self._problems.append(f"books of a relay: {books}")

    @property
    def redelivered(self) -> int:
        return sum(books["redelivered"] for books in self.books.values())

    @property
    def arrivals(self) -> Counter[str]:
        """
        How often the API has each event.
        """
        return self._arrivals + Counter(self.api.created_ids)

    @property
    def twice(self) -> int:
        """
        How many copies the API has too many.
        """
        arrivals = self.arrivals
        return arrivals.total() - len(arrivals)

    async def stored_twice(self) -> int:
        """
        Count what the stream was given that it had: servers that restart forget ids.
        """
        state = (await self.client.call(f"STREAM.INFO.{self.names.stream}"))["state"]
        stored: int = state["last_seq"]
        return stored - len(self.relayed)

    def save_memory(self) -> None:
        """
        Remember of the API's events no more than their ids.
        """
        self._arrivals.update(self.api.created_ids)
        self.api.created.clear()
        self.api.requests.clear()

    async def audit(self, *, dead: int = 0) -> None:
        """
        See that nothing is lost, and nothing arrived twice that nobody counted.

        Args:
            dead: How many dead letters there must be.
        """
        await self.drained()
        self.look()
        assert not self.lost, self.lost
        letters = await self.dead_ids()
        arrived = set(self.arrivals)
        missing = set(self.relayed) - arrived - set(letters)
        assert not missing, f"{len(missing)} lost, as {min(missing)}"
        assert len(self.relayed) == self._pushed
        assert len(letters) == dead
        assert not arrived & set(letters)
        counted = self.redelivered + self.unknown + await self.stored_twice()
        assert self.twice <= counted, (self.twice, counted, self.books)

    # Within.

    def _note_outcome(self, settlement: Settlement) -> None:
        is_relayed = settlement.outcome is Outcome.RELAYED
        (self.relayed if is_relayed else self.lost).update(settlement.event_ids)

    async def _watch(self) -> None:
        """
        Ask all relays for their books, again and again.
        """
        while True:
            await self.client.client.publish(self.names.relays, b"", reply="told")
            await asyncio.sleep(4 * _LOOK)

    async def _note_books(self, message: Any) -> None:
        said = json.loads(message.data)
        if all(relay.id != said["id"] for relay in self._inside):
            self.note(said)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
