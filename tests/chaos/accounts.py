"""
What was said of each event, held against what happened to it.

Reads the wire by itself, as the table in docs/responses.md says, and asks the
package nothing. The rule: three things are counted apart, what the program was
told (`Settlement`), what the server has, and which answers got through.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import inf
from typing import Any

from attrs import define, field, frozen

from hh_exporter import DropReason, Exporter, Outcome, Settlement, Stats
from tests.chaos.proxy import Exchange
from tests.scripted_server import Answer, Request
from tests.support import assert_balanced
from tests.updates import numbers_in, update_of

__all__ = ["Accounts", "Letter", "name_of"]

SETBACKS_IN_A_ROW = 5
"""How many events may end badly in a row, by docs/responses.md."""

EXPECTED_LOSSES = {
    DropReason.QUEUE_FULL,
    DropReason.RETRIES_EXHAUSTED,
    DropReason.TOO_LARGE,
    DropReason.SEND_FAILED,
}


@define(eq=False)
class Accounts:
    """
    One exporter's events.

    Attributes:
        doubts_after: An answer that took longer may or may not have been read: where
            time is real, the client's patience can end while it arrives. Seconds.
        resends: Whether an ambiguous answer is no last word (`on_ambiguous="resend"`).
        pushed: Whether the server has a reason of its own to refuse each event.
        settlements: Each event and what was said of it, in order.
        stored: How often the server stored each event.
        updates: The updates of each event, by their numbers in the order of the calls.
        sessions: Which of them are sessions: one that the queue has no room for is pushed
            again with the next of its events.
    """

    doubts_after: float = inf
    resends: bool = False
    pushed: dict[str, bool] = field(init=False, factory=dict)
    settlements: list[tuple[str, Settlement]] = field(init=False, factory=list)
    stored: Counter[str] = field(init=False, factory=Counter)
    updates: defaultdict[str, list[int]] = field(init=False, factory=lambda: defaultdict(list))
    sessions: set[str] = field(init=False, factory=set)
    _numbers: Iterator[int] = field(init=False, factory=lambda: count(1))
    _outages: set[int] = field(init=False, factory=set)
    """Exchanges that may not end what they leave open: so much came to nothing before."""

    def note_push(self, event_id: str, *, is_bad: bool = False) -> None:
        """
        Note an event before it is pushed. Any thread.
        """
        assert event_id not in self.pushed
        self.pushed[event_id] = is_bad

    def note_session(self, event_id: str) -> None:
        """
        Note a session that is an event, before the first of its events is pushed.
        """
        self.sessions.add(event_id)
        self.pushed.setdefault(event_id, False)

    def note_update(self, event_id: str) -> int:
        """
        Note an update of an event before it is pushed; returns its number. Any thread.
        """
        number = next(self._numbers)
        self.updates[event_id].append(number)
        return number

    def note_outcome(self, settlement: Settlement) -> None:
        """
        Note what on_outcome is told. Any thread.
        """
        ids = settlement.event_ids
        names = map(update_of, ids) if settlement.is_update else ids
        self.settlements.extend((name, settlement) for name in names)

    def note_answer(self, request: Request, answer: Answer) -> None:
        """
        Note what the server has from now on.
        """
        self.stored.update(stored.event["event_id"] for stored in answer.stores)
        if answer.update is not None:
            self.stored.update(map(name_of, numbers_in(answer.update)))

    def look(self, exporter: Exporter, *, is_alone: bool = True) -> Stats:
        """
        Check the books against what was announced; threads may be between the two.
        """
        stats = assert_balanced(exporter)
        assert min(stats.queued, stats.in_flight, stats.queued_bytes) >= 0, stats
        assert stats.health != "degraded", stats
        if is_alone:
            said = Counter(settlement.outcome for _, settlement in self.settlements)
            books = tuple(getattr(stats, outcome) for outcome in Outcome)
            assert tuple(said[outcome] for outcome in Outcome) == books, (said, stats)
        return stats

    def audit(self, exchanges: Iterable[Exchange]) -> None:
        """
        Check that each event has one outcome, and that it is the truth.

        Call it once the exporter is closed and the network is silent.
        """
        letters: defaultdict[str, list[Letter]] = defaultdict(list)
        in_vain = 0
        for letter in map(Letter.read, exchanges):
            in_vain = 0 if letter.told else in_vain + max(1, len(letter.ids))
            if letter.refuses_us:  # one such answer is an outage
                in_vain += SETBACKS_IN_A_ROW
            if in_vain > SETBACKS_IN_A_ROW:
                self._outages.add(letter.exchange.number)
            for event_id in letter.ids:
                letters[event_id].append(letter)
        fates: defaultdict[str, list[Settlement]] = defaultdict(list)
        for event_id, settlement in self.settlements:
            fates[event_id].append(settlement)
        found = [
            f"{event_id}: {complaint}\n{self._tell(event_id, fates[event_id], letters[event_id])}"
            for event_id in self.pushed
            for complaint in self._complain(event_id, fates[event_id], letters[event_id])
        ]
        names = self.pushed.keys() | {*map(update_of, self.updates)}
        names |= {name_of(n) for numbers in self.updates.values() for n in numbers}
        found += [f"{i}: never pushed" for i in {*fates, *letters} - names]
        for event_id in self.updates:
            found += [f"{event_id}: {said}" for said in self._doubt(event_id, fates, letters)]
        assert not found, "\n".join([f"{len(found)} complaints, the first are:", *found[:5]])

    def _complain(
        self, event_id: str, fates: Sequence[Settlement], letters: Sequence[Letter]
    ) -> Iterator[str]:
        """
        List what is wrong with the fate of one event.
        """
        if event_id in self.sessions:
            fates = [fate for fate in fates if fate.reason is not DropReason.QUEUE_FULL] or fates[
                :1
            ]
        if len(fates) != 1:
            yield f"{len(fates)} outcomes"
            return
        [fate] = fates
        telling = [letter for letter in letters if event_id in letter.told]
        sure = [letter for letter in telling if not self._is_doubtful(letter.exchange)]
        stored = self.stored[event_id]
        if sure and letters[-1] is not sure[0]:
            yield "sent again, after an answer that told of it"
        telling_less = [n for n in letters[:-1] if n.exchange.number not in self._outages]
        if not self.resends and any(n.is_ambiguous for n in telling_less):
            yield "sent again, after an answer that might have told of it"
        if not len(sure) <= stored <= len(letters):
            yield "the server does not have it as often as the wire says"

        match fate.outcome, fate.reason:
            case Outcome.DELIVERED, _:
                if not telling:
                    yield "said to be delivered, though no answer told of it"
            case _, DropReason.SEND_FAILED:
                # Half an answer may be all there was when the caller's patience ended.
                if any(letter.exchange.body is not None for letter in sure):
                    yield "said to be lost, though an answer told of it"
            case _ if sure:
                yield "said to be lost, though an answer told of it"
            case Outcome.REJECTED, _:
                yield from self._question(event_id, fate, letters)
            case _, DropReason.TOO_LARGE:
                if not any(n.exchange.status == 413 and n.ids == (event_id,) for n in letters):
                    yield "never refused as too large"
            case _, reason if reason not in EXPECTED_LOSSES:
                yield f"dropped as {reason}"

    def _doubt(
        self,
        event_id: str,
        fates: Mapping[str, Sequence[Settlement]],
        letters: Mapping[str, Sequence[Letter]],
    ) -> Iterator[str]:
        """
        List what is wrong with the updates of one event, whose outcomes are told by number alone.
        """
        ended = fates.get(update_of(event_id), ())
        told, sure, refused, too_large = 0, 0, 0, 0
        for number in self.updates[event_id]:
            name = name_of(number)
            own = letters.get(name, ())
            telling = [letter for letter in own if name in letter.told]
            certain = [letter for letter in telling if not self._is_doubtful(letter.exchange)]
            heard = [letter for letter in own if letter.exchange.status is not None]
            if certain and own[-1] is not certain[0]:
                yield f"{name} is sent again, after an answer that told of it"
            if not len(certain) <= self.stored[name] <= len(own):
                yield f"the server does not have {name} as often as the wire says"
            told, sure = told + bool(telling), sure + bool(certain)
            refused += bool(heard and not certain and heard[-1].speaks_against(name))
            too_large += any(n.exchange.status == 413 and n.ids == (name,) for n in own)
            yield from self._order(event_id, number, letters)

        said = Counter((fate.outcome, fate.reason) for fate in ended)
        if len(ended) != len(self.updates[event_id]):
            yield f"{len(ended)} outcomes of {len(self.updates[event_id])} updates"
        if not sure <= said[Outcome.DELIVERED, None] <= told:
            yield f"answers told of {sure} to {told} updates, not of {said}"
        if said[Outcome.REJECTED, None] > refused:
            yield f"{refused} updates were refused, not {said}"
        if said[Outcome.DROPPED, DropReason.TOO_LARGE] > too_large:
            yield f"{too_large} updates were too large, not {said}"
        is_lost = any(fate.outcome is not Outcome.DELIVERED for fate in fates.get(event_id, ()))
        expected = EXPECTED_LOSSES | ({DropReason.EVENT_LOST} if is_lost else set())
        for reason in {fate.reason for fate in ended} - {None} - expected:
            yield f"updates are dropped as {reason}"

    def _order(
        self, event_id: str, number: int, letters: Mapping[str, Sequence[Letter]]
    ) -> Iterator[str]:
        """
        List what an update has overtaken: its event, or an earlier update that came later.
        """
        for letter in letters.get(name_of(number), ()):
            if event_id in self.pushed and not _is_told(event_id, letters, letter):
                yield f"{name_of(number)} overtakes its event"
            for later in self.updates[event_id]:
                name = name_of(later)
                if later > number and name not in letter.ids and _is_told(name, letters, letter):
                    yield f"{name_of(number)} comes behind {name}"

    def _question(
        self, event_id: str, fate: Settlement, letters: Sequence[Letter]
    ) -> Iterator[str]:
        """
        List what is wrong with a rejection.
        """
        heard = [letter for letter in letters if letter.exchange.status is not None]
        objections = [word for letter in heard if (word := letter.speaks_against(event_id))]
        last = heard[-1].speaks_against(event_id) if heard else ""
        if not last or fate.status != heard[-1].exchange.status:
            yield "rejected, which the last answer did not say"
        elif last in ("refused", "failed") and not self.pushed[event_id]:
            yield "rejected, though there is nothing wrong with it"
        elif last == "failed" and (len(objections) < 2 or heard[-1].ids != (event_id,)):
            yield "rejected without a second chance of its own"

    def _is_doubtful(self, exchange: Exchange) -> bool:
        return exchange.ended - exchange.began > self.doubts_after

    def _tell(self, event_id: str, fates: Sequence[Settlement], letters: Sequence[Letter]) -> str:
        """
        Tell the story of one event.
        """
        worth = "bad" if self.pushed[event_id] else "good"
        lines = [f"{worth}, stored {self.stored[event_id]} times", *map(str, letters)]
        return "\n".join(f"    {line}" for line in [*lines, *map(str, fates)])


@frozen(eq=False)
class Letter:
    """
    What an exchange says to a client that reads the table of answers.

    Attributes:
        ids: The events of the request; empty if it was not read whole.
        told: Those that the client knows to be created once it has read the answer.
        said: The answer's JSON, as far as it got through.
    """

    exchange: Exchange
    ids: tuple[str, ...]
    told: frozenset[str]
    said: dict[str, Any]

    @classmethod
    def read(cls, exchange: Exchange) -> Letter:
        ids = tuple(_find_names(exchange.request))
        said = _load(exchange.body)
        told: Iterable[str] = said.get("event_ids") or ()
        if exchange.status is None:
            told = ()
        elif 200 <= exchange.status < 300 and not said.get("errors"):
            told = () if exchange.is_page else ids
        return cls(exchange, ids, frozenset(ids) & set(told), said)

    @property
    def is_ambiguous(self) -> bool:
        """
        Whether it says that something was created, and not what.
        """
        is_failure = self.exchange.status is not None and self.exchange.status >= 300
        return is_failure and bool(self.said.get("event_ids")) and not self.told

    @property
    def refuses_us(self) -> bool:
        """
        Whether it refuses all that we send, and no event.
        """
        status = self.exchange.status
        if status is None or self.is_update or self.said.get("event_ids"):
            return False
        if status < 300:
            return self.exchange.is_page
        return status < 500 and status not in (400, 408, 413, 415, 422, 425, 429)

    @property
    def is_update(self) -> bool:
        return self.exchange.request.startswith(b"PUT ")

    def speaks_against(self, event_id: str) -> str:
        """
        Say why this may be the last word against an event; empty if it may not.
        """
        status, named = self.exchange.status, self.said.get("event_ids")
        is_lone = self.ids == (event_id,)
        if event_id in self.told or status is None:
            return ""
        refusals = (400, 422, 404, 405, 410) if self.is_update else (400, 422)
        if status in refusals and is_lone and self.exchange.body is not None:
            return "refused"
        if self.is_ambiguous:
            return "ambiguous"
        if named is not None and self.said.get("errors"):
            return "failed"
        if self.exchange.is_page and status < 300:
            return "refused with its sender" if is_lone else ""
        if is_lone and 300 <= status < 500 and status not in (401, 408, 413, 425, 429):
            return "refused with its sender"
        return ""

    def __str__(self) -> str:
        one = self.exchange
        return (
            f"{one.number}: {one.began:.2f}-{one.ended:.2f} s, {len(self.ids)} events, "
            f"status {one.status}, {one.passed} of {one.length} bytes, {one.fault}"
        )


def name_of(number: int) -> str:
    """
    Name an update, as `Letter.ids` has it.
    """
    return f"update {number}"


def _is_told(name: str, letters: Mapping[str, Sequence[Letter]], before: Letter) -> bool:
    """
    Whether an answer told of *name* before *before* was sent.
    """
    one = before.exchange
    return any(
        name in n.told and n.exchange.number < one.number and n.exchange.ended <= one.began
        for n in letters.get(name, ())
    )


def _find_names(request: bytes) -> list[str]:
    """
    List the events of a request by their ids, or the updates by their numbers.
    """
    events = _find_events(request)
    if request.startswith(b"PUT "):
        return [name_of(number) for body in events for number in numbers_in(body)]
    return [event["event_id"] for event in events]


def _find_events(request: bytes) -> list[dict[str, Any]]:
    head, _, body = request.partition(b"\r\n\r\n")
    if b"\r\ncontent-length: %d\r\n" % len(body) not in head.lower() + b"\r\n":
        return []
    if b"\r\ncontent-encoding: gzip" in head.lower():
        body = gzip.decompress(body)
    parsed = json.loads(body)
    events = parsed.get("model_events") or parsed.get("events")
    return events or [parsed.get("model_event") or parsed.get("event") or parsed]


def _load(body: bytes | None) -> dict[str, Any]:
    try:
        said = json.loads(body or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
