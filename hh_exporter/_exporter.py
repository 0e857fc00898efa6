"""
The public class, in front of all the parts.

push makes a record and queues it, on the caller's thread; nothing else happens per event.
All that waits happens in the worker's loop, whichever loop asks for it.
"""

from __future__ import annotations

import os
from asyncio import _get_running_loop
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import ClassVar, Literal, Unpack

from hh_exporter._clock import Clock, SystemClock
from hh_exporter._door import raises_anew
from hh_exporter._environment import read_settings
from hh_exporter._life.blocking import BlockingMethods
from hh_exporter._life.methods import LifeMethods
from hh_exporter._log import get_log
from hh_exporter._outcomes import Settlement
from hh_exporter._outside import let_through
from hh_exporter._recording.blocks import Blocks
from hh_exporter._recording.fields import UpdateFields, build
from hh_exporter._recording.methods import RecordingMethods
from hh_exporter._records import Record
from hh_exporter._settings.batch import BatchLimits
from hh_exporter._settings.hooks import BeforeSend
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._settings.queue import QueueLimits
from hh_exporter._settings.retry import RetryPolicy
from hh_exporter._settings.spool import Spool
from hh_exporter._transport.access import check_access
from hh_exporter._unique import Unique
from hh_exporter.events import AnyEvent, EventUpdate, SessionProperties
from hh_exporter.exceptions import DeliveryError, EncodeError

__all__ = ["Exporter", "ThreadedExporter"]

log = get_log(__name__)


@raises_anew
class Exporter(RecordingMethods, LifeMethods, Unique):
    """
    Deliver model events, and the traces around them, to the HoneyHive API in the background.

    Use it as an async context manager, or await `start` and `aclose`; in a loop that
    has no network, such as a Temporal workflow's, its coroutines raise `ExporterError`.
    An argument that is not given is read from the environment, else it has the default
    below. The first exporter loads what sends in about 0.2 s; another takes under 1 ms.

    Args:
        api_key: The key; `HH_API_KEY` in the environment. A server on this
            machine needs none; without a key for any other server the exporter
            is disabled and logs a warning.
        base_url: Address of the API; default "https://api.dp1.us.honeyhive.ai".
        dialect: "legacy" (default): /events/model[/batch]; "v1": /v1/events[/batch].
        project: The project of events that name none.
        source: The source of events that name none, such as "production".
        queue: The budget for events in memory.
        batch: When a batch is full, and how long it waits to fill.
        retry: How long to keep trying.
        max_in_flight: The most requests that may be in flight at once, from 1 on; default 16.
        request_timeout: Seconds for one request; default 10.
        close_timeout: Seconds that `aclose` takes at most; default 5.
        compression: "gzip", or None (default): it is not documented that the
            server accepts it. If the server refuses it, it is turned off.
        ssl_context: For private certificate authorities.
        before_send: Called with a copy, as plain data, of each event, session and update;
            it returns what to send instead, or None to send nothing. If it raises, the
            event is dropped.
        hide_inputs: Never send messages, templates, tools and inputs.
        hide_outputs: Never send responses and outputs. Either setting also leaves
            out metadata and extra keys, which may repeat them.
        sample_rate: Which share of the events to send, 0 to 1. The events of a
            session are sent together or not at all.
        on_outcome: Called for each group of events with the same outcome, on the
            thread that decided it. What it raises is logged once.
        on_ambiguous: What to do if the server created part of a batch under ids
            that are not ours: "reject" (default) never sends twice, "resend"
            never loses.
        spool: A directory, or a Spool: where events wait on disk if memory has no
            room for them, or if they are left at close.
        jetstream: Addresses of NATS servers, or a JetStream: a stream that takes the events, for
            relays to deliver. It replaces `base_url`, and no key is needed. Needs the extra
            `jetstream`.
        also: Address of a server that gets a copy of each event, even if `disabled`, and
            never the key; such as a local collector. Best effort: copies are not counted,
            and a flush or a close waits for them for a second at most.
        disabled: Drop every event immediately, for tests and development.

    Raises:
        ConfigError: A setting has a value that is not allowed, or needs an extra that is
            not installed.
    """

    in_thread: ClassVar[type[ThreadedExporter]]
    """Make one for a program without asyncio; see `ThreadedExporter`."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        dialect: Literal["legacy", "v1"] | None = None,
        project: str | None = None,
        source: str | None = None,
        queue: QueueLimits | None = None,
        batch: BatchLimits | None = None,
        retry: RetryPolicy | None = None,
        max_in_flight: int | None = None,
        request_timeout: float | None = None,
        close_timeout: float | None = None,
        compression: Literal["gzip"] | None = None,
        ssl_context: SSLContext | None = None,
        before_send: BeforeSend | None = None,
        hide_inputs: bool | None = None,
        hide_outputs: bool | None = None,
        sample_rate: float | None = None,
        on_outcome: Callable[[Settlement], None] | None = None,
        on_ambiguous: Literal["reject", "resend"] | None = None,
        spool: str | os.PathLike[str] | Spool | None = None,
        jetstream: str | Sequence[str] | JetStream | None = None,
        also: str | None = None,
        disabled: bool | None = None,
        _clock: Clock | None = None,
        _random: Callable[[], float] | None = None,
    ) -> None:
        arguments = {name: v for name, v in locals().items() if name[0] != "_" and name != "self"}
        del api_key, base_url, jetstream  # error reporters keep the locals of this frame
        self._settings = settings = read_settings(arguments, os.environ)
        arguments.clear()
        if settings.jetstream is not None and not settings.disabled_reason:
            check_access(settings.jetstream)
        self._clock, self._random = _clock or SystemClock(), _random
        self._disabled = settings.disabled_reason
        self._blocks = Blocks(self._clock)
        self._build()
        settings.warn()

    def _build(self) -> None:
        # Not at the top: an import loads what is behind this door with the first exporter.
        from hh_exporter._assembly import assemble
        from hh_exporter._copy import Copy
        from hh_exporter._life.callbacks import weakly
        from hh_exporter._life.forks import in_child

        settings = self._settings
        on_outcome = None
        if settings.on_outcome is not None:
            on_outcome = weakly(self, lambda exporter: exporter._settings.on_outcome)
        copy = Copy.of(settings, self._clock, self._random)
        take, owner = None if copy is None else copy.take, self._blocks.owner
        self._intake, life = assemble(settings, self._clock, self._random, on_outcome, take, owner)
        self._life, self._queue, self._settler = life, life.queue, life.settler
        self._keeper = life.keeper
        life.copy = None if copy is None else copy.life
        life.open_blocks = self._blocks.open = set()  # what was open is a parent's
        in_child(self, Exporter._build_again)
        if isinstance(self, BlockingMethods):
            life.live_in_thread()

    def _build_again(self) -> None:
        """
        Start from zero in a forked child: everything else is its parent's.
        """
        closed = self._queue.closed
        self._build()
        self._queue.closed = closed

    def push(self, event: AnyEvent, session: SessionProperties | None = None) -> bool:
        """
        Take *event* as it is now and deliver it in the background.

        Never waits and never raises because of data. Any thread, at any time.

        Args:
            event: The event.
            session: The session that it belongs to, unless the event names one
                itself; its properties are sent once.

        Returns:
            True if it was accepted; False if it was dropped, which is counted
            with its reason.
        """
        record: Record | None = None
        try:
            record = self._intake.encode(event, session)
            if record.session is not None:
                self._intake.announce(record)
            loss = self._queue.offer(record)
            worker = self._keeper.worker
            loop = _get_running_loop()
            if (
                worker is None
                or worker.is_over
                or (loop is not worker.loop and (loop is not None or worker.loop.is_closed()))
            ):
                self._keeper.see_to_worker()
            return loss is None or self._settler.report(loss, record)
        except EncodeError:
            return False
        except Exception as exc:  # where not even a clock may be read, as in a sandbox
            let_through(exc)
            log.error_once("hh_exporter: push failed with %s; logged once", type(exc).__name__)
            return record is not None and record.seq > 0

    def update(self, event_id: str, **fields: Unpack[UpdateFields]) -> bool:
        """
        Add to an event or a session after the fact, in the background; see `EventUpdate`.

        As `push` it never waits. It is sent once its event has its outcome, and dropped as
        `event_lost` if that was rejected or dropped. Updates of one event that wait are sent
        as one.

        Args:
            event_id: The event, pushed here or elsewhere, or the session.
            **fields: Fields of the EventUpdate; a wrong name is a TypeError.

        Returns:
            True if it was accepted; False if it was dropped, which is counted with its reason.
        """
        update = build(EventUpdate, "update", {"event_id": event_id, **fields})
        record: Record | None = None
        try:
            record = self._intake.encode_update(update)
            loss = self._queue.offer_update(record)
            self._keeper.see_to_worker()
            return self._settler.report(loss, record)
        except EncodeError:
            return False
        except Exception as exc:  # as for `push`
            let_through(exc)
            log.error_once("hh_exporter: update failed with %s; logged once", type(exc).__name__)
            return record is not None and record.seq > 0

    async def put(self, event: AnyEvent, session: SessionProperties | None = None) -> bool:
        """
        Take *event* as it is now, once there is room for it.

        Waiting callers get room in the order in which they came, ahead of `push`.
        A cancelled `put` is not counted and not sent.

        Returns:
            True if it was accepted, and with a durable spool is on disk; False
            if it was dropped, for what it holds or by the settings.

        Raises:
            ExporterError: The exporter is closed.
        """
        self._life.check_loop()
        self._queue.check_open()
        from hh_exporter._life.entering import enter

        try:
            record = self._intake.encode(event, session)
        except EncodeError:
            return False
        if record.session is not None:
            with self._intake.opening(record) as opening:
                if opening is not None:
                    await enter(self._life, opening)
        return await enter(self._life, record)

    async def create_model_event(
        self,
        event: AnyEvent,
        timeout: float | None = None,
        *,
        session: SessionProperties | None = None,
    ) -> str:
        """
        Send *event* now and by itself, bypassing the queue (POST /events/model, /v1/events).

        `before_send` applies to it, `sample_rate` does not.

        Args:
            event: The event.
            timeout: Seconds for all attempts; default 3 times `request_timeout`.
            session: As for `push`; its properties are sent by the queue.

        Returns:
            The server's id of the event.

        Raises:
            DeliveryError: The server rejected it, or it could not be sent.
            ExporterError: The exporter is closed.
        """
        self._life.check_loop()
        self._queue.check_open()
        from hh_exporter._life.single import deliver_one

        seconds = 3 * self._settings.request_timeout if timeout is None else timeout
        deadline = self._clock.now() + seconds
        try:
            record = self._intake.encode(event, session, sample=False)
        except EncodeError as exc:
            raise DeliveryError(f"the event was not sent: {exc}", reason=exc.reason) from None
        self._intake.announce(record)
        record.session = None  # a request for one event has no room for its properties
        return await deliver_one(self._life, record, deadline)

    def __del__(self) -> None:
        if (life := self.__dict__.get("_life")) is not None:  # else not even made
            life.forget(self._settings.on_outcome)

    def __repr__(self) -> str:
        health = self._life.health()[0] if hasattr(self, "_life") else "not made"
        address = self._settings.address if hasattr(self, "_settings") else ""
        return f"<{type(self).__name__} {address} {health}>"


class ThreadedExporter(BlockingMethods, Exporter):
    """
    An exporter for programs without asyncio; `Exporter.in_thread(…)` makes it.

    Its event loop runs in a daemon thread, which starts with the first push, and anew in a
    forked child. Use it as a context manager, or as it is: the program's end closes it.
    """


Exporter.in_thread = ThreadedExporter
