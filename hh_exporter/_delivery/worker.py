"""
The one background task: takes batches when they are due, and delivers them.

It alone touches open batches. It decides without awaiting, then waits for its bell
or for the next moment at which something is due; a batch is taken after the wait,
and never held across one. However it ends, what it took and did not settle is back
in the queue.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from asyncio import CancelledError, TaskGroup
from collections.abc import Awaitable, Callable
from math import inf

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock, let_arrive, turn
from hh_exporter._delivery.batcher import Batcher
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.delivery import Deliverer
from hh_exporter._delivery.origin import Refill
from hh_exporter._delivery.packer import Packer
from hh_exporter._delivery.parts import Delivery
from hh_exporter._delivery.picking import Picker
from hh_exporter._delivery.probing import Prober
from hh_exporter._delivery.shipping import Shipper
from hh_exporter._delivery.slots import Slots
from hh_exporter._delivery.waits import Wait, Waits
from hh_exporter._log import get_log
from hh_exporter._outside import comes_from_outside
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._queue.watches import Watch
from hh_exporter._transport.transport import Transport

__all__ = ["LAST_CALL", "Worker"]

log = get_log(__name__)

LAST_CALL = 2.0
"""Seconds for which a cancelled worker still sends: asyncio.run is ending."""

_FIRST_RESTART = 1.0
_WIDEST_RESTART = 60.0
"""Seconds between two starts of a worker that keeps failing; one that served for longer is new."""


@define(eq=False, kw_only=True)
class Worker:
    """
    The background task of one event loop.
    """

    loop: asyncio.AbstractEventLoop
    queue: RecordQueue
    batcher: Batcher
    picker: Picker = field(init=False)
    prober: Prober
    breaker: Breaker
    shipper: Shipper
    deliverer: Deliverer
    transport: Transport
    packer: Packer
    clock: Clock
    slots: Slots
    last_call: float = LAST_CALL
    refill: Refill | None
    on_over: Callable[[], None]
    """Called when the task has ended and everything it held is back in the queue."""
    on_last_call: Callable[[], Awaitable[None]] = let_arrive
    """Awaited when the task was cancelled, before what is queued then is sent."""
    is_serving: bool = False
    is_over: bool = False
    fault: str = ""
    """The exception by which the worker last failed; empty once it works again."""
    _bell: Bell
    _started: asyncio.Event = Factory(asyncio.Event)
    ended: asyncio.Event = Factory(asyncio.Event)
    _waits: Waits = field(init=False)
    _flush_to: int = 0
    closing: Wait | None = None
    _is_last_call: bool = False
    """Whether it closes because it was cancelled, not because it was asked to."""
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = Waits(self.breaker, self.shipper)
        self.picker = Picker(
            queue=self.queue,
            batcher=self.batcher,
            prober=self.prober,
            under_way=self.slots.records,
        )

    # For the exporter, in the worker's loop unless a method says otherwise.

    def start(self) -> None:
        """
        Begin to serve soon, in an empty context. Any thread.

        Not at once: an eager task factory would run the first step inside
        push, and the worker must not inherit the first request's contextvars.
        """
        self.queue.on_due = self._bell.ring
        self.loop.call_soon_threadsafe(self._spawn, context=contextvars.Context())

    async def wait_started(self) -> None:
        await self._started.wait()

    async def flush(self, watch: Watch, bell: Bell, deadline: float | None) -> None:
        """
        Send what *watch* watches, until its *bell* rings. Any loop.

        It rings when all has its outcome, no more can be had in time, or this worker ends.
        """
        with self._waits.open(bell, inf if deadline is None else deadline) as wait:
            if not self.is_over:
                self._flush_to = watch.last_seq
                self.breaker.probe_now()
                self._bell.ring()
                await bell.wait_beside(self.loop, wait.deadline)

    async def close(self, deadline: float) -> None:
        """
        Send what is there until *deadline*, then end; a second call waits for the first.
        """
        self.begin_close(deadline)
        await self.ended.wait()

    def begin_close(self, deadline: float) -> None:
        if self.closing is None or self._is_last_call:
            latest = inf if self.closing is None else self.closing.deadline.at
            self._is_last_call = False
            self.closing = self._waits.begin(self._bell, min(deadline, latest))
            if deadline > self.clock.now():
                self.breaker.probe_now()
                self.shipper.hurry()
            self._bell.ring()

    def cut_off(self) -> None:
        """
        End a close now, unless the loop itself is ending: then its last call is under way.
        """
        if self._task is None or not self._task.cancelling():
            self._is_last_call = False
            self.closing = self._waits.begin(self._bell, -inf)
            self._bell.ring()

    def ring(self) -> None:
        """
        Look again at what is due. Any thread.
        """
        self._bell.ring()

    def abandon(self) -> None:
        """
        Put all that is in hand back into the queue, for a worker of another loop.

        Any thread, once its loop no longer runs. If that runs again, it ends without sending.
        """
        self._take_back()
        self.closing = self._waits.begin(self._bell, -inf)
        self.is_over = True
        self.shipper.is_retired = True  # what backs off there is no longer that worker's
        self.transport.end_threads()
        self._check_waits()

    # Its life.

    def _spawn(self) -> None:
        life = self._live()
        # A task cancelled before its first step runs none of its code. This one must:
        # asyncio.run cancels it so when the program ends right after its first push.
        life.send(None)
        self._task = asyncio.Task(life, loop=self.loop, name="hh_exporter worker")

    async def _live(self) -> None:
        try:
            await turn()
            await self._serve_through_faults()
        except CancelledError:
            await self.on_last_call()
            self._take_back()
            asked = inf if self.closing is None else self.closing.deadline.at
            self._is_last_call = self.closing is None
            last_call = min(self.clock.now() + self.last_call, asked)
            self.closing = self._waits.begin(self._bell, last_call)
            self.breaker.probe_now()
            await self._serve()
            raise
        finally:
            self._take_back()
            if not self.is_over:  # abandoned: another worker has its place
                self.is_over = True
                self.on_over()
            self._started.set()
            self.ended.set()
            self._check_waits()

    async def _serve_through_faults(self) -> None:
        """
        Serve until closed, again after a fault of our own, slower each time.
        """
        pause = _FIRST_RESTART
        while True:
            began = self.clock.now()
            try:
                await self._serve()
            except Exception as exc:
                if not self.loop.is_running():
                    return  # collected with its loop: what failed is not ours
                while isinstance(exc, ExceptionGroup):
                    exc = exc.exceptions[0]
                self._take_back()
                name = type(exc).__name__
                if comes_from_outside(exc):
                    log.warning("hh_exporter: sending goes on after %s from outside", name)
                    continue
                self.fault = name
                if self.clock.now() - began > _WIDEST_RESTART:
                    pause = _FIRST_RESTART
                # Without its text, which may quote a payload.
                log.error(  # noqa: TRY400
                    "hh_exporter: a worker failed with %s, restarts in %.0f s. Please report:\n%s",
                    self.fault,
                    pause,
                    "".join(traceback.format_tb(exc.__traceback__)),
                )
                if self._is_done():
                    return  # no time is left to start again
                await self._pause_for(pause)
                pause = min(pause * 2, _WIDEST_RESTART)
            else:
                return

    async def _pause_for(self, delay: float) -> None:
        """
        Wait, but not past the end of a close.
        """
        until = self.clock.now() + delay
        while self.clock.now() < until and not self._is_done():
            self._bell.clear()
            await self._bell.wait(min(until, self._waits.look_at(self.closing)))

    async def _serve(self) -> None:
        """
        Send batches until closed and drained, or out of time.

        Owns every delivery that it took: once this returns, none runs.
        """
        async with self.transport:
            self.shipper.is_retired = False
            self._started.set()
            self.is_serving = True
            try:
                async with TaskGroup() as group:
                    while not self._is_done():
                        self._bell.clear()
                        self._end_all()
                        delivery = self._take()
                        if delivery is None:
                            self.slots.give_rest()
                            self._check_waits()
                            await self._bell.wait(self._next_look())
                            continue
                        task = group.create_task(self.deliverer.deliver(delivery))
                        self.slots.in_hand[delivery] = task
                        task.add_done_callback(self._end_all)
                    await let_arrive()
                    if self.shipper.on_wire and not self.breaker.trouble:
                        self.breaker.trouble = self.breaker.failure = "no answer in time"
                    for left in tuple(self.slots.in_hand.values()):
                        if left is not None:
                            left.cancel()
            finally:
                self.is_serving = False
                self.shipper.is_retired = True
                self.shipper.hurry()
                self.packer.end()

    def _take(self) -> Delivery | None:
        """
        Take the next batch, if one is due, a slot is free and sending allowed.

        Under the lock: a signal that ends the program waits until each record has a place.
        """
        now = self.clock.now()
        with self.queue.lock:
            self.slots.need_none()
            if self.breaker.free_at() > now:
                return None
            if self.slots.is_full:
                self.slots.limiter.is_needed |= self.picker.has_full(now)
            if self.slots.is_full or not self.slots.make_room(self.picker.measure()):
                return None
            up_to_seq = self._flush_to if self.closing is None else inf
            batch = self.picker.pick(now, up_to_seq=up_to_seq)
            if batch is None:
                return None
            is_probe = self.breaker.is_blocked
            if is_probe:
                self.breaker.begin_probe()
                batch = self.picker.trim(batch, is_lone=self.breaker.probes_alone)
            delivery = Delivery.of(batch, is_probe=is_probe)
            self.queue.take(batch.records)
            self.slots.add(delivery)
        return delivery

    def _end_all(self, _: object = None) -> None:
        """
        End all deliveries that are over: the last one, and any whose end was interrupted.
        """
        for delivery, task in tuple(self.slots.in_hand.items()):
            if task is not None and task.done():
                self._end(delivery)

    def _end(self, delivery: Delivery) -> None:
        with self.queue.lock:  # as for _take
            left = tuple(delivery.pending)
            if delivery.is_probe:
                self.breaker.end_probe(self.clock.now())
            if delivery.is_probe and self.breaker.is_blocked:
                self.picker.step_aside(left)
            else:
                self.queue.put_back(left)
            if left:
                self.picker.recall_updates()
            delivery.release_all()
            self.slots.remove(delivery)
        if not self.breaker.is_blocked:
            self.prober.reset()
        if delivery.session is not None:
            self.batcher.end(delivery.session)
        self.fault = ""
        self._check_waits()
        self._bell.ring()

    def _next_look(self) -> float | None:
        """
        Say when to look again if the bell does not ring before, and set it to ring.
        """
        events = size = look = inf
        if not self.slots.must_wait:
            free_at = self.breaker.free_at()
            if free_at > self.clock.now():
                look = free_at
            else:
                due_at = self.picker.due_at()
                look = inf if due_at is None else due_at
                if room := self.picker.room:  # else nothing moves before an answer comes
                    events = 1 if due_at is None else room
                    size = self.batcher.room_bytes
        size = min(size, self.packer.tend(is_closing=self.closing is not None))
        if self.queue.wake_at(events, size):
            return -inf
        if self.refill is not None:
            look = min(look, self.refill.look(self.clock.now()))
        look = min(look, self._waits.look_at(self.closing))
        return None if look == inf else look

    def _is_done(self) -> bool:
        """
        Whether a close was asked for, and nothing is left to do or no time is left.
        """
        if self.closing is None:
            return False
        ledger = self.queue.ledger
        return (
            not (ledger.queued or ledger.in_flight)
            or self.closing.deadline.is_over(self.clock.now())
            or self._waits.is_pointless(self.closing, self._idle_until())
        )

    def _idle_until(self) -> float:
        """
        Say until when certainly nothing is sent; -inf if that is not known.
        """
        if not self.slots.must_wait and self.queue.ledger.queued:
            return -inf
        return self.slots.idle_until

    def _check_waits(self) -> None:
        self._waits.ring_pointless(self._idle_until(), all_of_them=self.is_over)

    def _take_back(self) -> None:
        """
        Put all that is in hand back into the queue, the oldest at its head.

        The queue knows what that is; an interrupted delivery may not.
        """
        if self.is_over:
            return  # it is another worker's
        self.queue.recall({r for single in self.slots.singles for r in single.records})
        self.picker.clear()
        self.slots.clear()
        self.breaker.is_probing = False
