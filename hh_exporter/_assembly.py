"""
Put the parts of an exporter together.

Once for the process that makes it, and again in each that is forked from there:
no part is shared between two processes. What belongs to one event loop is made with
each worker anew.
"""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from attrs import Factory, define, evolve

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.delivery import Deliverer
from hh_exporter._delivery.limiter import Limiter
from hh_exporter._delivery.origin import Refill
from hh_exporter._delivery.packer import Packer
from hh_exporter._delivery.probing import Prober
from hh_exporter._delivery.recovery import Recovery
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.shipping import Shipper
from hh_exporter._delivery.slots import Slots
from hh_exporter._delivery.worker import LAST_CALL, Worker
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._encoding.codec import Codec
from hh_exporter._encoding.privacy import Privacy
from hh_exporter._environment import Settings
from hh_exporter._intake import Intake
from hh_exporter._life.endings import see_to_the_end
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._outcomes import Settlement
from hh_exporter._queue.copying import CopyingQueue
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from hh_exporter._sessions import Sessions
from hh_exporter._settings.batch import MAX_BODY_BYTES, BatchLimits
from hh_exporter._settings.queue import QueueLimits, portion
from hh_exporter._transport.http import HttpTransport
from hh_exporter._transport.resolver import Addresses
from hh_exporter._transport.transport import Transport

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["WorkerMaker", "assemble", "draw"]

_BATCHES = 4
"""How many batches a queue has room for, at least, if it is not very small."""

_random = Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)

draw = _random.random
"""A number from 0 to 1, for jitter; forked children draw their own."""


def assemble(
    settings: Settings,
    clock: Clock,
    random: Callable[[], float] | None,
    on_outcome: Callable[[Settlement], None] | None,
    copy: Callable[[Record, bytes], None] | None,
    owner: object,
) -> tuple[Intake, Lifetime]:
    """
    Make what takes events in, and what delivers them.

    The second outlives its exporter while its worker runs, so it refers to no function of the
    user's: that may refer to the exporter, which would then never be collected.

    Args:
        settings: The exporter's settings, checked.
        clock: The source of time.
        random: A source of numbers from 0 to 1; None for our own.
        on_outcome: Calls the user's function, if there is one.
        copy: Takes a copy of each record, if there is to be one.
        owner: What stands for the exporter in the scopes of its sessions and steps.
    """
    private = evolve(settings, before_send=None, on_outcome=None, batch=_fit(settings))
    dialect = _make_dialect(settings)
    sessions = Sessions()
    queue = _make_queue(settings.queue, copy)
    spooler = _make_spooler(settings, queue, sessions, clock)
    settler = Settler(
        queue=queue, clock=clock, on_outcome=on_outcome, sessions=sessions, origin=spooler
    )
    if spooler is not None:
        spooler.writer.on_loss = settler.lose
        spooler.writer.on_letters_lost = settler.lose_letters
        settler.on_late_loss = spooler.losses.add
    intake = Intake(
        queue=queue,
        settler=settler,
        codec=_make_codec(settings, dialect, clock),
        sessions=sessions,
        privacy=_make_privacy(settings),
        sample_rate=settings.sample_rate,
        owner=owner,
        disabled=settings.disabled_reason,
        copy=copy,
    )
    make_worker = WorkerMaker(
        settings=private,
        queue=queue,
        settler=settler,
        dialect=dialect,
        sessions=sessions,
        make_refill=None if spooler is None else partial(_make_recovery, private, queue, spooler),
        clock=clock,
        random=random or draw,
    )
    life = Lifetime(
        settings=private,
        queue=queue,
        settler=settler,
        spooler=spooler,
        clock=clock,
        make_worker=make_worker,
    )
    see_to_the_end(life)
    return intake, life


def _fit(settings: Settings) -> BatchLimits:
    """
    Make the limits with which a batch leaves most of a small queue to others.
    """
    most = portion(settings.queue, _BATCHES)
    return evolve(settings.batch, max_events=min(settings.batch.max_events, most))


def _make_dialect(settings: Settings) -> Dialect:
    wire = DIALECTS[settings.dialect]()
    if settings.jetstream is None:
        return wire
    from hh_exporter._dialects.jetstream import JetStreamDialect

    return JetStreamDialect(wire, settings.jetstream.subject)


def _make_queue(limits: QueueLimits, copy: Callable[[Record, bytes], None] | None) -> RecordQueue:
    return RecordQueue(limits) if copy is None else CopyingQueue(limits=limits, copy=copy)


def _make_privacy(settings: Settings) -> Privacy:
    return Privacy(
        before_send=settings.before_send,
        hide_inputs=settings.hide_inputs,
        hide_outputs=settings.hide_outputs,
    )


def _make_codec(settings: Settings, dialect: Dialect, clock: Clock) -> Codec:
    limits = [
        (MAX_BODY_BYTES - DIALECTS[settings.dialect]().overhead, ""),  # a relay's body, too
        (settings.queue.max_bytes, "queue.max_bytes"),
    ]
    if (stream := settings.jetstream) is not None:
        limits.append((stream.max_event_bytes, "jetstream.max_event_bytes"))
    max_bytes, limit = min(limits)
    return Codec(
        dialect=dialect,
        clock=clock,
        project=settings.project,
        source=settings.source,
        max_bytes=max_bytes,
        limit=limit,
    )


def _make_spooler(
    settings: Settings, queue: RecordQueue, sessions: Sessions, clock: Clock
) -> Spooler | None:
    if settings.spool is None or settings.disabled_reason:
        return None
    from hh_exporter._spool.kept import Identity
    from hh_exporter._spool.spooler import Spooler

    identity = Identity(
        base_url=settings.place, dialect=settings.dialect, api_key=settings.sealing_key
    )
    return Spooler(
        settings=settings.spool, identity=identity, queue=queue, sessions=sessions, clock=clock
    )


def _make_recovery(
    settings: Settings,
    queue: RecordQueue,
    spooler: Spooler,
    breaker: Breaker,
    prober: Prober,
    random: Callable[[], float],
    wake: Callable[[], None],
) -> Recovery:
    return Recovery(
        spooler=spooler,
        queue=queue,
        breaker=breaker,
        prober=prober,
        random=random,
        max_events=settings.batch.max_events,
        max_bytes=settings.batch.max_bytes,
        wake=wake,
    )


@define(eq=False, kw_only=True)
class WorkerMaker:
    """
    Make a worker of parts of its own, and of those that outlive each worker.
    """

    settings: Settings
    queue: RecordQueue
    settler: Settler
    dialect: Dialect
    sessions: Sessions
    make_refill: Callable[[Breaker, Prober, Callable[[], float], Callable[[], None]], Refill] | None
    """
    Called with the worker's breaker and prober, `random`, and what wakes the worker, where records
    wait elsewhere than in memory.
    """
    clock: Clock
    random: Callable[[], float]
    make_breaker: Callable[[Callable[[], float]], Breaker] = Breaker
    """Called with `random`."""
    make_limiter: Callable[[int, float], Limiter] = Limiter
    """Called with the most requests in flight, and the seconds after which one is given up."""
    last_call: float = LAST_CALL
    """Seconds for which a worker that is cancelled still sends."""
    on_failure: Callable[[str], None] = lambda _: None
    """Called after each answer while the server takes nothing, with what it was."""
    _addresses: Addresses = Factory(Addresses)

    def __call__(self, loop: AbstractEventLoop, on_over: Callable[[], None]) -> Worker:
        """
        Make a worker for *loop* that calls *on_over* once it is over.
        """
        settings = self.settings
        batcher = Batcher(settings.batch, self.dialect.overhead, self.sessions)
        breaker = self.make_breaker(self.random)
        bell = Bell(self.clock, loop)

        def on_answer() -> None:
            bell.ring()
            if failure := breaker.reason or breaker.failure:
                self.on_failure(failure)

        transport = self._make_transport()
        limiter = self.make_limiter(settings.max_in_flight, settings.request_timeout)
        slots = Slots(queue=self.queue, limiter=limiter)
        shipper = Shipper(
            queue=self.queue,
            transport=transport,
            breaker=breaker,
            limiter=limiter,
            policy=settings.retry,
            clock=self.clock,
            random=self.random,
            on_ambiguous=settings.on_ambiguous,
            compresses=settings.compression == "gzip",
            on_answer=on_answer,
            is_silent=self.settler.is_silent,
        )
        deliverer = Deliverer(
            queue=self.queue,
            settler=self.settler,
            dialect=self.dialect,
            sessions=self.sessions,
            shipper=shipper,
            clock=self.clock,
            limit_bytes=batcher.limit_bytes,
            slots=slots,
        )
        prober = Prober(self.queue, settings.batch.max_events)
        return Worker(
            loop=loop,
            queue=self.queue,
            batcher=batcher,
            prober=prober,
            breaker=breaker,
            shipper=shipper,
            deliverer=deliverer,
            transport=transport,
            packer=Packer(self.queue, bell.ring),
            clock=self.clock,
            slots=slots,
            last_call=self.last_call,
            refill=self.make_refill and self.make_refill(breaker, prober, self.random, bell.ring),
            on_over=on_over,
            bell=bell,
        )

    def _make_transport(self) -> Transport:
        settings = self.settings
        if settings.jetstream is not None:  # nats-py is loaded where one is wanted
            from hh_exporter._transport.jetstream import JetStreamTransport

            return JetStreamTransport(
                access=settings.jetstream,
                timeout=settings.request_timeout,
                clock=self.clock,
                addresses=self._addresses,
            )
        return HttpTransport(
            base_url=settings.base_url,
            api_key=settings.api_key,
            timeout=settings.request_timeout,
            clock=self.clock,
            ssl_context=settings.ssl_context,
            addresses=self._addresses,
        )
