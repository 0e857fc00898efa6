"""
A relay: takes events from the stream, and delivers them over HTTP.

Around the ordinary queue and worker of an exporter, with the stream where that has its spool. The
rule that keeps it right: it looks at stream and consumer before it takes anything, changes
neither, and takes nothing where that would lose events. However it ends, what it has not
delivered is given back, or taken from it by the server after ack_wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Self

import orjson
from attrs import Factory, define, evolve, field

from hh_exporter._assembly import WorkerMaker, draw
from hh_exporter._clock import Clock, Deadline, SystemClock
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.probing import Prober
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.worker import Worker
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._environment import Settings
from hh_exporter._fleet.advice import compare
from hh_exporter._fleet.api import ApiError
from hh_exporter._fleet.books import RelayStats
from hh_exporter._fleet.feed import Feed
from hh_exporter._fleet.link import Link
from hh_exporter._fleet.outbox import Outbox
from hh_exporter._fleet.plan import NANOSECONDS, PREFETCH, Names
from hh_exporter._fleet.queue import StreamQueue
from hh_exporter._fleet.refill import StreamRefill
from hh_exporter._fleet.streams import State, look
from hh_exporter._life.books import read_books, read_health
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason, Settlement
from hh_exporter._sessions import Sessions
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection, Message
from hh_exporter._transport.refusals import NoConnection
from hh_exporter._transport.trust import find_trust
from hh_exporter._version import __version__
from hh_exporter.events import new_id
from hh_exporter.exceptions import ConfigError

__all__ = ["Relay"]

log = get_log(__name__)

_BATCHES: Final = 4
"""Batches that what is in hand makes, at least."""
_LOOK: Final = 5.0
"""Seconds between two looks at the streams."""
_ANSWER: Final = 5.0
"""Seconds for the answers to one look."""
_LAST_ACKS: Final = 2.0
"""Seconds for the server to confirm what was acknowledged last."""


@define(eq=False, kw_only=True)
class Relay:
    """
    One relay, for one event loop; an async context manager.
    """

    settings: Settings
    """With `jetstream`: where the streams are. All else is about the way to the API."""
    names: Names
    prefetch: int = PREFETCH
    clock: Clock = Factory(SystemClock)
    random: Callable[[], float] = draw
    on_outcome: Callable[[Settlement], None] | None = None
    id: str = Factory(new_id)
    state: State | None = field(default=None, init=False)
    """How the streams were when it looked last."""
    _queue: StreamQueue = field(init=False)
    _settler: Settler = field(init=False)
    _feed: Feed = field(init=False)
    _make_worker: WorkerMaker = field(init=False)
    _worker: Worker | None = field(default=None, init=False)
    _link: Link | None = field(default=None, init=False)
    _linked: asyncio.Task[None] | None = field(default=None, init=False)
    _looked: asyncio.Event = Factory(asyncio.Event)
    _since: float = field(default=0.0, init=False)
    _losing: str = field(default="", init=False)
    """What of the streams loses events, if that was changed since the start."""
    _said: set[str] = Factory(set)
    """Advice that was logged."""

    def __attrs_post_init__(self) -> None:
        stream = self.settings.jetstream
        if stream is None:
            raise ConfigError("a relay needs the servers of its stream: give --servers")
        batch = self.settings.batch
        most = max(1, self.prefetch // _BATCHES)
        settings = evolve(
            self.settings,
            jetstream=None,
            spool=None,
            before_send=None,
            on_outcome=None,
            batch=evolve(batch, max_events=min(batch.max_events, most)),
        )
        if settings.ssl_context is None and settings.needs_trust:  # as it is read without a stream
            settings = evolve(settings, ssl_context=find_trust(os.environ))
        if reason := settings.disabled_reason:
            raise ConfigError(f"a relay can't deliver: {reason}")
        sessions = Sessions()
        dialect = DIALECTS[settings.dialect]()
        queue = self._queue = StreamQueue(settings.queue)
        self._feed = Feed(
            queue=queue,
            sessions=sessions,
            clock=self.clock,
            pull_subject=f"$JS.API.CONSUMER.MSG.NEXT.{self.names.stream}.{self.names.consumer}",
            dead_subject=self.names.dead,
            outbox=Outbox(self.id),
            prefetch=min(self.prefetch, max(1, settings.queue.max_events // 2)),
            max_bytes=settings.queue.max_bytes // 2,
            linger=settings.batch.linger,
        )
        self._settler = Settler(
            queue=queue,
            clock=self.clock,
            on_outcome=self.on_outcome,
            sessions=sessions,
            origin=self._feed,
            spares=self._feed.spares,
        )
        self._feed.lose = self._settler.lose
        queue.overflow.spool = self._feed.take
        self._make_worker = WorkerMaker(
            settings=settings,
            queue=queue,
            settler=self._settler,
            dialect=dialect,
            sessions=sessions,
            make_refill=self._make_refill,
            clock=self.clock,
            random=self.random,
        )
        self._since = self.clock.wall()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """
        Connect, look at the streams, and begin to take events.

        Waits for the cluster as long as it takes.

        Raises:
            ConfigError: The streams would lose events as they are, or are not there.
        """
        assert self.settings.jetstream is not None  # noqa: S101
        self._link = Link(
            connector=Connector(access=self.settings.jetstream, role="relay", clock=self.clock),
            feed=self._feed,
            clock=self.clock,
            random=self.random,
            on_open=self._check,
            watch=self._watch,
            listeners={self.names.relays: self._answer},
        )
        self._linked = asyncio.Task(self._link.run(), name="hh_exporter relay", context=Context())
        looked = asyncio.Task(self._looked.wait())
        try:
            await asyncio.wait((self._linked, looked), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._linked.cancel()
            raise
        finally:
            looked.cancel()
        if self._linked.done():
            await self._linked
        worker = self._worker = self._make_worker(asyncio.get_running_loop(), lambda: None)
        assert isinstance(worker.refill, StreamRefill)  # noqa: S101
        worker.refill.picker = worker.picker
        worker.start()
        await worker.wait_started()

    async def aclose(self, timeout: float | None = None) -> None:
        """
        Take no more, deliver what is in hand for *timeout* seconds, and give back the rest.

        Works twice. If it is cancelled, nothing is given back: the server takes it after ack_wait.

        Args:
            timeout: Seconds; default: `close_timeout`.
        """
        link, worker = self._link, self._worker
        if link is None or self._linked is None:
            return
        seconds = self.settings.close_timeout if timeout is None else timeout
        deadline = self.clock.now() + seconds
        try:
            if not self._linked.done():
                await link.ask_no_more(Deadline(deadline, self.clock.now()))
            self._queue.close()
            if worker is not None:
                await worker.close(deadline)
            self._settler.drain(DropReason.CLOSED)
            self._feed.give_up_letters()
            if not self._linked.done():
                await link.settle(self.clock.now() + _LAST_ACKS)
        finally:
            link.end()
            self._settler.say_rest()
            with suppress(asyncio.CancelledError):
                await asyncio.wait((self._linked,), timeout=_LAST_ACKS)
            self._linked.cancel()

    # Looking in.

    def stats(self) -> RelayStats:
        """
        Read the books.
        """
        health, reason = self.health()
        feed, state = self._feed, self.state
        events, consumer = (None, None) if state is None else (state.events, state.consumer)
        oldest = None if events is None else events.oldest_at
        return RelayStats(
            books=read_books(self._queue, self._worker, None, self.clock, (health, reason)),
            redelivered=feed.redelivered,
            unconfirmed=feed.acks.unconfirmed,
            repeated=feed.acks.repeated,
            dead_letters=feed.outbox.sent,
            letters_waiting=len(feed.outbox),
            in_hand=len(feed.hand),
            backlog=None if consumer is None else consumer.waiting + consumer.in_hand,
            oldest_in_stream=0.0 if oldest is None else max(0.0, self.clock.wall() - oldest),
            health=health,
            health_reason=reason,
        )

    def health(self) -> tuple[str, str]:
        """
        Say the health in one word, and why.
        """
        word, reason = read_health(self._queue, self._worker, None, self.clock, "")
        if self._queue.closed:
            return word, reason
        if self._link is None or (self._worker is None and not self._link.fault):
            return "starting", "it has not looked at the streams yet"
        if fault := self._link.fault:
            return "degraded", f"no connection to the cluster: {fault}"
        if word == "ok":
            if fault := self._feed.outbox.fault:
                return "degraded", f"dead letters can't be stored: {fault}"
            if fault := self._losing or self._feed.pulls.fault:
                return "degraded", fault
        return word, reason

    # For the link.

    async def _check(self, connection: Connection) -> None:
        """
        Look at the streams, before anything is asked for.

        Raises:
            NoConnection: They can't be looked at now.
            ConfigError: They lose events, and nothing was taken from them yet.
        """
        if self._looked.is_set():
            return  # what is in hand can't wait for the answer of a stream without a leader
        try:
            await self._look(connection)
        except ApiError as exc:
            raise NoConnection(exc.problem) from None
        if self._losing:
            raise ConfigError(self._losing)
        self._looked.set()

    async def _watch(self, connection: Connection) -> None:
        while connection.is_open:
            await self.clock.sleep(_LOOK)
            with suppress(ApiError):  # the next look may have more luck
                await self._look(connection)

    async def _look(self, connection: Connection) -> None:
        stream = self.settings.jetstream
        assert stream is not None  # noqa: S101
        deadline = Deadline.after(self.clock, _ANSWER)
        state = self.state = await look(connection, self.names, deadline)
        if state.consumer is not None:
            config = state.consumer.config
            waits = [config.get("ack_wait") or 0, *(config.get("backoff") or ())]
            if ack_wait := min(map(int, waits)) / NANOSECONDS:
                self._feed.hand.ack_wait = ack_wait
        advice = compare(
            state, max_event_bytes=stream.max_event_bytes, relays=1, prefetch=self.prefetch
        )
        self._losing = "; ".join(each.text for each in advice if each.loses_events)
        for each in advice:
            if each.key not in self._said and (self._looked.is_set() or not each.loses_events):
                self._said.add(each.key)
                log.warning("hh_exporter: relay: %s", each.text)

    def _answer(self, _: str, message: Message) -> None:
        """
        Answer who asks for the relays.
        """
        if message.reply and self._link is not None:
            self._link.publish((message.reply, orjson.dumps(self.describe()), "", None))

    def describe(self) -> dict[str, Any]:
        """
        Make what it answers: who it is, and its books.
        """
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "dialect": self.names.dialect,
            "since": self._since,
            "prefetch": self.prefetch,
            **self.stats().to_json(),
        }

    def _make_refill(
        self,
        breaker: Breaker,
        prober: Prober,
        random: Callable[[], float],
        wake: Callable[[], None],
    ) -> StreamRefill:
        return StreamRefill(
            feed=self._feed,
            queue=self._queue,
            breaker=breaker,
            max_events=self._make_worker.settings.batch.max_events,
            wake=wake,
        )
