"""
The one place where outcomes are announced: to the ledger, to the user, to the log.

User code is called here, outside the lock and on the thread where the outcome
was decided; what it raises is logged once and changes nothing. A loss is one
warning per episode, never a line per event.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias

from attrs import Factory, define, field

from hh_exporter._clock import Clock
from hh_exporter._delivery.origin import Origin
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason, Outcome, Settlement
from hh_exporter._outside import comes_from_outside
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Loss, Record, Subject
from hh_exporter._sessions import Sessions

__all__ = ["Settler"]

_Spares: TypeAlias = Callable[[Sequence[Record], Outcome, DropReason | None, int | None], bool]

log = get_log(__name__)

_EPISODE_GAP = 60.0
"""Seconds without a loss of one kind that end its episode."""
_MAX_EPISODES = 100

_REMEMBERED = 10_000
"""Events that were lost, of which updates are not sent."""

_ADVICE = {
    DropReason.QUEUE_FULL: "the queue is full: raise QueueLimits, or use put() to wait for room",
    DropReason.TOO_LARGE: "the server takes no body of that size (HTTP 413)",
    DropReason.RETRIES_EXHAUSTED: "the server did not take them within RetryPolicy.max_elapsed",
    DropReason.SPOOL_FULL: "the spool has no room, or can't be written to",
    DropReason.EXPIRED: "they waited in the spool for longer than its max_age",
    DropReason.DAMAGED: "what the spool has of them is damaged: they are dead letters now",
    DropReason.EVENT_LOST: "the events that they are about were rejected or dropped",
    DropReason.CLOSED: "the exporter is closed: push before you close it",
}

_INTENDED = frozenset({DropReason.DISABLED, DropReason.FILTERED, DropReason.SAMPLED})
"""Drops that the user asked for, which are not logged."""


@define(eq=False)
class _Episode:
    """
    Losses of one kind that follow each other closely.
    """

    last: float
    unsaid: int = 0
    """Losses since the last message."""


@define(eq=False, kw_only=True)
class Settler:
    """
    Settle records, and announce their outcomes.
    """

    queue: RecordQueue
    clock: Clock
    on_outcome: Callable[[Settlement], None] | None = field(repr=False)
    sessions: Sessions = Factory(Sessions)
    origin: Origin | None = None
    """Hears of outcomes."""
    spares: _Spares = lambda *_: False
    """
    Called with records in flight, the outcome that they are to have, why, and the HTTP status: says
    whether they go back to where they wait instead, all of them.
    """
    on_late_loss: Callable[[int], None] = lambda _: None
    """Called with how many events were lost after the close, when nobody may read the log."""
    is_silent: bool = False
    """Whether to log nothing."""
    _episodes: dict[tuple[str, str], _Episode] = Factory(dict)
    """By what was lost, an event or an update, and how."""
    _lost: OrderedDict[str, DropReason | None] = Factory(OrderedDict)
    """The latest events that were rejected or dropped, and sessions left out: why, if dropped."""
    _callback_failed: bool = field(default=False, init=False)

    def settle(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None = None,
        *,
        status: int | None = None,
        answer: str = "",
    ) -> None:
        """
        Give records in flight their outcome, and announce it.

        Args:
            records: Those of them that are not in flight any more are left out.
            answer: The server's own words, which go to dead letters alone.
        """
        if records and self.spares(records, outcome, reason, status):
            self.queue.send_back(records)
            return
        if records:
            records = self.queue.settle(records, outcome, reason)
        if records:
            if self.origin is not None:
                self.origin.settle(records, outcome, reason, status=status, answer=answer)
            self.announce_all(records, outcome, reason, status=status)

    def report(self, loss: Loss | None, record: Record) -> bool:
        """
        Announce what the queue dropped as *record* was offered; the ledger knows it.

        Returns:
            Whether that was not *record* itself.
        """
        if loss is None:
            return True
        self.announce_all(loss.records, Outcome.DROPPED, loss.reason)
        return loss.records[-1] is not record

    def refuse(
        self, event_id: str, reason: DropReason, detail: str = "", *, is_update: bool = False
    ) -> None:
        """
        Count and announce an event, or an update of it, that is pushed and dropped at once.
        """
        self.refuse_all((event_id,), reason, detail, is_update=is_update)

    def refuse_all(
        self,
        event_ids: tuple[str, ...],
        reason: DropReason,
        detail: str = "",
        *,
        is_update: bool = False,
    ) -> None:
        self.queue.refuse(reason, len(event_ids))
        self.announce(event_ids, Outcome.DROPPED, reason, detail=detail, is_update=is_update)

    def lose(self, lost: Sequence[Subject], reason: DropReason) -> None:
        """
        Announce what was dropped on disk.
        """
        if lost and reason is DropReason.SPOOL_FULL:
            self._note_at_end(len(lost))
        for is_update in (False, True):
            ids = tuple([each.event_id for each in lost if each.is_update is is_update])
            if ids:
                self.announce(ids, Outcome.DROPPED, reason, is_update=is_update)

    def has_lost(self, event_id: str) -> bool:
        """
        Whether that event was rejected or dropped lately: the server does not have it.
        """
        return event_id in self._lost

    def note_sampled(self, session_id: str) -> None:
        """
        Note a session of which nothing is sent, by `sample_rate`: updates of it are left out, too.
        """
        self._note_lost((session_id,), Outcome.DROPPED, DropReason.SAMPLED)

    def lose_letters(self, count: int, why: str) -> None:
        """
        Log that *count* dead letters are not on disk, or not any more.
        """
        self._note(count, "dead letter", why, {})

    def drain(self, reason: DropReason, *, detail: str = "", counted_to: int = 0) -> None:
        """
        Spool all that is queued, and drop what can't be.

        Args:
            detail: Why, for these events in particular; fit for a log.
            counted_to: The last record that a log message has counted as left already.
        """
        records = self.queue.drain(reason)
        if records:
            self._note_at_end(len(records))
            counted = sum(record.seq <= counted_to for record in records)
            self.announce_all(records, Outcome.DROPPED, reason, detail=detail, counted=counted)

    def _note_at_end(self, lost: int) -> None:
        """
        Have a loss noted on disk too, if the log may be read by nobody any more.
        """
        if self.queue.closed:
            self.on_late_loss(lost)

    def announce_all(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None = None,
        *,
        status: int | None = None,
        detail: str = "",
        counted: int = 0,
    ) -> None:
        """
        Announce an outcome of records, those of events before those of updates; see `announce`.
        """
        updates = tuple([r.event_id for r in records if r.route == UPDATES])
        if updates:
            records = [r for r in records if r.route != UPDATES]
        events = tuple([r.event_id for r in records])
        for ids, is_update in ((events, False), (updates, True)):
            if ids:
                told = min(counted, len(ids))
                counted -= told
                self.announce(
                    ids,
                    outcome,
                    reason,
                    status=status,
                    detail=detail,
                    counted=told,
                    is_update=is_update,
                )

    def announce(
        self,
        event_ids: tuple[str, ...],
        outcome: Outcome,
        reason: DropReason | None = None,
        *,
        status: int | None = None,
        detail: str = "",
        counted: int = 0,
        is_update: bool = False,
    ) -> None:
        """
        Announce an outcome that the ledger knows already.

        Args:
            is_update: Whether it is that of updates of these events.
            detail: What is wrong with these events in particular, fit for a log.
            counted: How many of them a log message has counted already.
        """
        if not is_update:
            self._note_lost(event_ids, outcome, reason)
            if outcome is Outcome.DROPPED and reason is not DropReason.TOO_LARGE:
                self.sessions.reopen(event_ids)
        unsaid = len(event_ids) - counted
        if reason is DropReason.EVENT_LOST:
            is_intended = _INTENDED.issuperset(map(self._lost.get, event_ids))
        else:
            is_intended = reason in _INTENDED
        if unsaid and outcome.is_loss and not is_intended:
            noun = "update" if is_update else "event"
            self._warn(unsaid, noun, outcome, reason, status, detail)
        if self.on_outcome is not None:
            self._call(
                Settlement(
                    outcome=outcome,
                    reason=reason,
                    event_ids=event_ids,
                    status=status,
                    is_update=is_update,
                )
            )

    def say_rest(self) -> None:
        """
        End all episodes, and log the losses that no message has counted yet.
        """
        with self.queue.lock:
            episodes = tuple(self._episodes.items())
            self._episodes.clear()
        for (noun, kind), episode in episodes:
            _say_unsaid(noun, kind, episode)

    def _note_lost(
        self, event_ids: tuple[str, ...], outcome: Outcome, reason: DropReason | None
    ) -> None:
        lost = self._lost
        if outcome.is_loss:
            lost.update(dict.fromkeys(event_ids, reason))
            while len(lost) > _REMEMBERED:
                lost.popitem(last=False)  # one step, unlike next and del
        elif lost:
            for event_id in event_ids:  # it may have been pushed again
                lost.pop(event_id, None)

    def _warn(
        self,
        count: int,
        noun: str,
        outcome: Outcome,
        reason: DropReason | None,
        status: int | None,
        detail: str,
    ) -> None:
        why = detail or (_ADVICE.get(reason, "") if reason else f"HTTP {status}")
        if noun == "update" and status == HTTPStatus.NOT_FOUND and not reason:
            why += ": the server has no event with that id"
        what = f"{outcome} ({reason})" if reason else str(outcome)
        kind = f"{what}: {why}" if why else what
        extra = {"hh_events": count, "hh_outcome": str(outcome), "hh_reason": str(reason or "")}
        self._note(count, noun, kind, extra)

    def _note(self, count: int, noun: str, kind: str, extra: dict[str, object]) -> None:
        """
        Log a loss of one kind, unless its episode goes on.
        """
        if self.is_silent:
            return
        now = self.clock.now()
        with self.queue.lock:
            episode = self._episodes.get((noun, kind))
            if episode is not None and now - episode.last < _EPISODE_GAP:
                episode.last = now
                episode.unsaid += count
                return
            self._episodes[noun, kind] = _Episode(now)
        if episode is not None:
            _say_unsaid(noun, kind, episode)
        if len(self._episodes) > _MAX_EPISODES:
            self.say_rest()
        log.warning("hh_exporter: %d %s %s", count, _in_number(noun, count), kind, extra=extra)

    def _call(self, settlement: Settlement) -> None:
        assert self.on_outcome is not None  # noqa: S101
        try:
            self.on_outcome(settlement)
        except BaseException as exc:  # its own, whatever it is: nothing awaits in there
            if comes_from_outside(exc):
                raise
            if not self._callback_failed:
                self._callback_failed = True
                # Its type alone: the text may quote what the callback knows.
                log.error("hh_exporter: on_outcome raised %s; logged once", type(exc).__name__)  # noqa: TRY400


def _say_unsaid(noun: str, kind: str, episode: _Episode) -> None:
    if count := episode.unsaid:
        log.warning("hh_exporter: %d more %s %s", count, _in_number(noun, count), kind)


def _in_number(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
