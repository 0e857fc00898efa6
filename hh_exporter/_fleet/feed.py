"""
The stream at the spool's seam: where the records of a relay wait while they are not in memory.

It owns every message that the consumer has given us, from the moment it arrives until the server
confirms that it is done with, or it is given back. The rule that keeps it right: a message leaves
the stream only by a confirmed acknowledgement, which follows its outcome, and if it died its
letter's; whatever is lost on the way is delivered again, and never lost. Until then the server
is told again and again that we have it. A message that comes once more while we have it is
not taken twice.

It waits for nothing and has no task: `look` says what is to be published, and when to ask
again. Used in the relay's event loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final

import orjson
from attrs import Factory, define, field

from hh_exporter._clock import Clock
from hh_exporter._dialects.messages import read_message
from hh_exporter._fleet.acks import Acks
from hh_exporter._fleet.hand import Hand, InHand, Out, Prefixes
from hh_exporter._fleet.letter import Fate
from hh_exporter._fleet.metadata import Metadata, read_metadata
from hh_exporter._fleet.outbox import Outbox
from hh_exporter._fleet.plan import NANOSECONDS
from hh_exporter._fleet.pulls import Pulls
from hh_exporter._fleet.returns import Returns
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record, Subject
from hh_exporter._sessions import Sessions
from hh_exporter._transport.nats import Message

__all__ = ["Feed"]

_DEAD: Final = frozenset(
    {
        DropReason.RETRIES_EXHAUSTED,
        DropReason.TOO_LARGE,
        DropReason.EVENT_LOST,
        DropReason.INVALID,
    }
)
"""Drops that become dead letters, like everything that is rejected."""

_PULLS: Final = 8
"""Requests under way at most; each is for that part of what may be in hand, at least."""

_UNHEARD: Final = 4
"""So many times what may be in hand waits for confirmation, at most: else nobody hears us."""

_FILL: Final = 0.05
"""Seconds for which what has waited in the stream waits here for its batch to fill, at most."""


@define(eq=False, kw_only=True)
class Feed:
    """
    The messages in hand of one relay, and what the server is told of them.
    """

    queue: RecordQueue
    sessions: Sessions
    clock: Clock
    pull_subject: str
    dead_subject: str
    outbox: Outbox
    prefetch: int
    """Messages in hand at most, but for those that are only to be acknowledged."""
    max_bytes: int
    """Bytes of records in memory beyond which nothing is asked for."""
    linger: float
    """Seconds for which a batch may fill, counted from when its first event was published."""
    lose: Callable[[Sequence[Subject], DropReason], None] = lambda *_: None
    """Called with what was dropped before it became a record in memory."""
    wake: Callable[[], None] = lambda: None
    """Called when there is something to publish."""
    target: float = inf
    """Messages in hand that are wanted; fewer than `prefetch` while sending is blocked."""
    redelivered: int = 0
    """Messages that came with a delivery count above 1: some may have been sent before."""
    hand: Hand = Factory(Hand)
    pulls: Pulls = Factory(Pulls)
    acks: Acks = Factory(Acks)
    max_payload: int = 2**20
    _prefixes: Prefixes | None = field(default=None, init=False)
    _arrived: list[InHand] = Factory(list)
    """Those that the queue does not have yet."""
    _leaving: list[InHand] = Factory(list)
    """Those that the queue has given back, and the server does not know of."""
    returns: Returns = field(init=False)
    _out: list[Out] = Factory(list)

    def __attrs_post_init__(self) -> None:
        self.returns = Returns(self.hand, self.clock)

    # For the queue and the settler.

    def take(self, record: Record) -> Callable[[], object] | None:
        """
        Prepare to give a record back to the stream; see `Overflow.spool`.
        """
        held = self.hand.of(record)
        return None if held is None else partial(self._leaving.append, held)

    def spares(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
        status: int | None,
    ) -> bool:
        """
        Whether records go back to the stream instead; see `Returns`.
        """
        return self.returns.spares(records, outcome, reason, status)

    def settle(
        self,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
        *,
        status: int | None,
        answer: str,
    ) -> None:
        """
        Have messages acknowledged, those of dead records once their letters are stored.
        """
        is_dead = outcome is Outcome.REJECTED or reason in _DEAD
        fate = Fate(outcome=outcome, reason=reason, status=status, answer=answer)
        now = self.clock.now()
        for record in records:
            if (held := self.hand.close(record)) is None:
                continue
            if is_dead:
                self.outbox.add(held, fate, now)
            elif outcome is Outcome.DROPPED:
                self._leaving.append(held)  # nothing else may lose it
            else:
                self.acks.add(held.sequence, held.reply)
        self.wake()

    # For the connection.

    def begin(self, prefixes: Prefixes, max_payload: int) -> None:
        """
        Go on over another connection: what is in hand stays in hand.
        """
        self._prefixes, self.max_payload = prefixes, max_payload
        self.pulls.reset()
        self.acks.repeat_all()
        self.outbox.repeat_all(self.clock.now())
        self.hand.touch_all()

    def end(self) -> None:
        """
        Note that the connection is lost, and with it what was asked for.
        """
        self.admit()
        self._prefixes = None
        self.pulls.reset()
        self._out.clear()

    @property
    def is_connected(self) -> bool:
        return self._prefixes is not None

    @property
    def asks_too_much(self) -> bool:
        """
        Whether more may come than is wanted now: its inbox must go.
        """
        return self.pulls.asked > 0 and self.target <= 0

    def receive(self, number: str, message: Message) -> None:
        """
        Take what arrived in the inbox of pulls.
        """
        now = self.clock.now()
        metadata = read_metadata(message.reply)
        if metadata is None:
            self.pulls.note_status(number, message.headers or {}, now)
            self.wake()
            return
        self.pulls.note_message(now)
        self.redelivered += metadata.delivered > 1
        sequence = metadata.sequence
        held = self.hand.find(sequence)
        known = self.acks.published_at(sequence) if held is None else held.published_at
        if known not in (None, metadata.published_at):
            self._forget()
            held = None
        if held is not None:
            self.hand.come_again(held, message.reply, now)
            if sequence in self.acks:
                self.acks.add(sequence, message.reply)
        elif self.acks.add_again(sequence, message.reply):
            self.wake()
        else:
            self._take_in(metadata, message, now)

    def note_ack(self, token: str, message: Message) -> None:
        """
        Take what came back for an acknowledgement; only an empty message confirms it.
        """
        sequence = int(token)
        if message.headers or message.data:
            self.acks.miss(sequence, self.clock.now())
            self.wake()
            return
        was_unheard = self._is_unheard
        if (held := self.hand.find(sequence)) is not None:
            self.acks.confirm(sequence, held.published_at)
            self.hand.remove(sequence)
        if was_unheard or not self.hand:  # else nobody waits for one of thousands
            self.wake()

    def note_letter(self, token: str, message: Message) -> None:
        """
        Take what came back for a dead letter.
        """
        held = self.outbox.note_answer(int(token), message, self.clock.now())
        if held is not None and self.hand.find(held.sequence) is held:
            self.acks.add(held.sequence, held.reply)
        self.wake()

    def look(self, now: float, *, asks: bool = True) -> tuple[list[Out], float]:
        """
        Say what is to be published now, and when to look again if nothing happens before.
        """
        self.admit()
        self._give_back(now)
        if self._prefixes is None:
            return [], inf
        self._acknowledge_all(self._prefixes, now)
        self._out += [(held.reply, b"+WPI", "", None) for held in self.hand.touch(now)]
        if asks:
            self._ask(self._prefixes, now)
        out, self._out = self._out, []
        looks = (
            self.acks.look_at(),
            self.outbox.look_at(),
            self.pulls.look_at(now),
            self.hand.look_at(),
        )
        return out, min(looks)

    def admit(self) -> None:
        """
        Put what arrived into the queue, and give back what it has no room for, or nobody wants now.
        """
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        self.queue.recover(len(arrived))
        if self.target <= 0:
            self._leaving += arrived
        else:
            admitted = set(self.queue.load([held.record for held in arrived]))
            self._leaving += [held for held in arrived if held.record not in admitted]

    def give_up_letters(self) -> None:
        """
        Give back what still waits for its dead letter to be stored: the relay ends.
        """
        self._leaving += self.outbox.drain()

    # Within.

    def _forget(self) -> None:
        """
        Forget what is known of messages: there is another stream of that name.

        It counts from 1 again, so that an acknowledgement of what is in hand would be one of a
        message that nobody has delivered. What is in memory is delivered all the same.
        """
        self.hand.clear()
        self.acks.clear()
        self._leaving.clear()

    @property
    def _is_unheard(self) -> bool:
        """
        Whether too many acknowledgements wait for confirmation.
        """
        return self.acks.unconfirmed >= _UNHEARD * self.prefetch

    def _take_in(self, metadata: Metadata, message: Message, now: float) -> None:
        age = max(0.0, self.clock.wall() - metadata.published_at)
        due_in = max(_FILL, self.linger - age)
        headers = message.headers or {}
        read = read_message(message.data, headers, now - max(0.0, self.linger - due_in))
        record = read or Record(f"message {metadata.sequence}", message.data, now)
        record.seq = metadata.sequence
        held = InHand(
            sequence=metadata.sequence,
            reply=message.reply,
            published_at=metadata.published_at,
            record=record,
            data=message.data,
            headers=headers,
            touched_at=now,
        )
        is_fitting = len(message.data) <= self.queue.limits.max_bytes
        self.hand.add(held, is_open=read is not None and is_fitting)
        if read is None:
            self._bury(held, DropReason.INVALID, "no message of hh_exporter")
        elif not is_fitting:
            self._bury(held, DropReason.TOO_LARGE, "larger than QueueLimits.max_bytes of the relay")
        else:
            self._share_session(record)
            if not self._arrived:
                self.wake()
            self._arrived.append(held)

    def _share_session(self, record: Record) -> None:
        """
        Have the records of a session announce the same one, or none if that was done.
        """
        session = record.session
        if session is not None:
            with self.queue.lock:
                is_known = self.sessions.is_known(session.session_id)
                record.session = None if is_known else self.sessions.add(session)

    def _bury(self, held: InHand, reason: DropReason, why: str) -> None:
        """
        Make a dead letter of what can't even become a record in memory.
        """
        record = held.record
        subject = Subject.of(record)
        fate = Fate(outcome=Outcome.DROPPED, reason=reason, status=None, answer=why)
        self.outbox.add(held, fate, self.clock.now())
        self.queue.recover(1)
        self.queue.lose((record.seq,), reason, (subject,))
        self.lose((subject,), reason)
        self.wake()

    def _give_back(self, now: float) -> None:
        """
        Tell the server what is not ours any more, so that it goes to another relay.

        Unless it may be another's already, since it has heard nothing for so long.
        """
        self.hand.lapse(now)
        for held in self._leaving:
            self.hand.remove(held.sequence)
            delay = self.returns.delay(held.record)
            if self._prefixes is None or held.has_lapsed:
                continue
            order = b"-NAK"
            if delay:
                order += b" " + orjson.dumps({"delay": int(delay * NANOSECONDS)})
            self._out.append((held.reply, order, "", None))
        self._leaving.clear()

    def _acknowledge_all(self, prefixes: Prefixes, now: float) -> None:
        for sequence, reply in self.acks.pop(now):
            self._out.append((reply, b"+ACK", f"{prefixes.acks}{sequence}", None))
        for sequence, data, headers in self.outbox.pop(now, self.max_payload):
            reply = f"{prefixes.letters}{sequence}"
            self._out.append((self.dead_subject, data, reply, headers))

    def _ask(self, prefixes: Prefixes, now: float) -> None:
        """
        Ask for as much as there is room for, unless that is little.
        """
        most = min(self.prefetch, self.target)
        room = most - self.hand.open - len(self.outbox)
        ledger = self.queue.ledger
        is_full = ledger.queued_bytes + ledger.in_flight_bytes >= self.max_bytes
        if is_full or self._is_unheard or self.queue.closed:
            room = 0
        least = min(max(1, self.prefetch // _PULLS), most)
        pull = self.pulls.ask(int(room), int(least), max(1, self.max_bytes // _PULLS), now)
        if pull is not None:
            self._out.append((self.pull_subject, pull.body, prefixes.pulls + pull.number, None))
