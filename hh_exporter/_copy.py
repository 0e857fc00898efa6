"""
A copy of each event for a second server, such as a collector on the developer's machine.

A small exporter beside the real one, with a queue, a worker and a life of its own in the same
event loops. It has no key and no spool. Whatever happens to it is not counted, costs the real
exporter no event, and holds up no caller for longer than a second. It logs one line at most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, evolve, field
from tenacity import wait_fixed

from hh_exporter._assembly import WorkerMaker, draw
from hh_exporter._clock import Clock
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.settler import Settler
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._environment import Settings
from hh_exporter._life.endings import see_to_the_end
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._log import get_log
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Record, Session
from hh_exporter._sessions import Sessions
from hh_exporter._settings.batch import BatchLimits
from hh_exporter._settings.queue import QueueLimits
from hh_exporter._settings.retry import RetryPolicy

__all__ = ["Copy"]

log = get_log(__name__)

_BUDGET = QueueLimits(max_events=5_000, max_bytes=16 * 2**20, overflow="drop_oldest")
_BATCH = BatchLimits(linger=0.2)

_PATIENCE = 1.0
"""Seconds that a flush, a close or the end of the process waits for copies, at most."""

_REQUEST_TIMEOUT = 2.0
_RETRY = RetryPolicy(wait=wait_fixed(2 * _PATIENCE))
"""Later than anybody waits: one failed attempt ends a flush or a close."""

_PROBE = 5.0
"""Seconds; a collector that is started later shows the last events soon."""


@define(eq=False, kw_only=True)
class Copy:
    """
    The copies of one exporter's events.
    """

    base_url: str
    life: Lifetime = field(init=False)
    _sessions: Sessions = field(factory=lambda: Sessions(is_silent=True), init=False)
    """Which of them this server has; the other one may know more of them, or fewer."""
    _has_said: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls, settings: Settings, clock: Clock, random: Callable[[], float] | None = None
    ) -> Copy | None:
        """
        Make what copies the events of an exporter; None unless *settings* ask for it.
        """
        if settings.copies_to is None:
            return None
        copy = cls(base_url=settings.copies_to)
        own = evolve(
            settings,
            base_url=copy.base_url,
            api_key=None,  # it is for base_url alone
            also=None,
            jetstream=None,
            queue=_BUDGET,
            batch=_BATCH,
            retry=_RETRY,
            max_in_flight=1,
            request_timeout=_REQUEST_TIMEOUT,
            close_timeout=_PATIENCE,
            compression=None,
            on_ambiguous="reject",
            spool=None,
            # Those of the user's functions that copies need were called before; see `assemble`.
            before_send=None,
            on_outcome=None,
        )
        queue = RecordQueue(own.queue)
        sessions = copy._sessions
        settler = Settler(
            queue=queue, clock=clock, on_outcome=None, sessions=sessions, is_silent=True
        )
        copy.life = Lifetime(
            settings=own,
            queue=queue,
            settler=settler,
            spooler=None,
            clock=clock,
            make_worker=WorkerMaker(
                settings=own,
                queue=queue,
                settler=settler,
                dialect=DIALECTS[own.dialect](),
                sessions=sessions,
                make_refill=None,
                clock=clock,
                random=random or draw,
                make_breaker=partial(Breaker, first_probe=_PROBE, widest_probe=_PROBE),
                last_call=_PATIENCE,
                on_failure=copy._say,
            ),
        )
        copy.life.on_ended.add(copy._note_end)
        see_to_the_end(copy.life)
        return copy

    def take(self, record: Record, data: bytes) -> None:
        """
        Queue a copy of *record*, whose bytes are *data*; the oldest is dropped if there is no room.

        Any thread. Never waits.
        """
        session = None if record.session is None else self._find_session(record.session)
        # Not by evolve, which takes as long as an ordinary push.
        copy = Record(record.event_id, data, record.pushed_at, session, record.route)
        queue = self.life.queue
        if copy.route == UPDATES:
            queue.offer_update(copy)
        else:
            queue.offer(copy)
        if not self.life.keeper.is_running:
            self.life.keeper.see_to_worker()

    def _find_session(self, session: Session) -> Session | None:
        """
        Find the session of a record, if this server does not have its properties yet.
        """
        if self._sessions.is_known(session.session_id):
            return None
        with self.life.queue.lock:
            return self._sessions.add(Session(session.session_id, session.data))

    def _note_end(self) -> None:
        """
        Log that a worker ended before it had an answer.
        """
        self._say(self.life.failure)

    def _say(self, failure: str) -> None:
        """
        Log *failure*, if there is any, once.
        """
        if failure and not self._has_said:
            self._has_said = True
            log.warning(
                "hh_exporter: %s gets no copies: %s; nothing else is affected; logged once",
                self.base_url,
                failure.partition(": check ")[0],  # which is about base_url
            )
