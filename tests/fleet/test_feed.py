"""
What the server is told of each message, from the moment it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import define

from hh_exporter import DropReason, Outcome, QueueLimits
from hh_exporter._fleet.feed import Feed
from hh_exporter._fleet.hand import Prefixes
from hh_exporter._fleet.outbox import Outbox
from hh_exporter._fleet.queue import StreamQueue
from hh_exporter._records import UPDATES, Record
from hh_exporter._sessions import Sessions
from hh_exporter.testing import FakeClock

DELAY = b'{"delay":5000000000}'


@define
class Arrived:
    """
    A message as it arrives.
    """

    reply: str = ""
    data: bytes = b""
    headers: Mapping[str, str] | None = None
    subject: str = ""


CONFIRMED = Arrived()


class Bench:
    """
    A feed, and what it says.
    """

    def __init__(self, clock: FakeClock, **given: int) -> None:
        self.clock = clock
        self.published: dict[int, int] = {}
        limits = QueueLimits(max_events=given.pop("max_events", 100))
        self.queue = StreamQueue(limits)
        self.feed = Feed(
            queue=self.queue,
            sessions=Sessions(),
            clock=clock,
            pull_subject="pull",
            dead_subject="dead",
            outbox=Outbox("a-relay"),
            prefetch=given.pop("prefetch", 10),
            max_bytes=1_000_000,
            linger=1.0,
        )
        self.queue.overflow.spool = self.feed.take
        self.connect()

    def connect(self) -> None:
        self.feed.begin(Prefixes("p.", "a.", "l."), 2**20)

    def arrive(
        self,
        sequence: int,
        *,
        delivered: int = 1,
        route: str = "",
        age: float = 0,
    ) -> None:
        now = int((self.clock.wall() - age) * 1e9)
        published = self.published.setdefault(sequence, now)
        headers = {"Nats-Msg-Id": f"e{sequence}/1"} | ({"Hh-Route": route} if route else {})
        reply = f"$JS.ACK.S.c.{delivered}.{sequence}.1.{published}.0"
        self.feed.receive("0", Arrived(reply, b'{"n":1}', headers))

    def said(self, *, pulls: bool = False) -> list[tuple[int | str, bytes]]:
        """
        List what is published now: of which message, and what.
        """
        out, _ = self.feed.look(self.clock.now())
        return [
            (int(subject.split(".")[5]) if subject.startswith("$JS.ACK") else subject, data)
            for subject, data, _, _ in out
            if pulls or subject != "pull"
        ]

    def take(self) -> list[Record]:
        records = self.queue.pull(100)
        self.queue.take(records)
        return records

    def settle(self, records: list[Record], outcome: Outcome = Outcome.DELIVERED) -> None:
        self.queue.settle(records, outcome)
        self.feed.settle(records, outcome, None, status=200, answer="")


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock)


def test_what_arrives_is_queued_in_the_order_of_the_stream(bench: Bench) -> None:
    """
    What was given back comes again in front of what is newer.
    """
    for sequence in (3, 1, 2):
        bench.arrive(sequence)
    bench.said()

    assert [record.event_id for record in bench.queue.pull(10)] == ["e1", "e2", "e3"]
    assert bench.queue.ledger.recovered == 3


def test_what_there_is_no_room_for_is_given_back(clock: FakeClock) -> None:
    """
    It is counted as taken and returned.
    """
    bench = Bench(clock, max_events=2)
    for sequence in (1, 2, 3):
        bench.arrive(sequence)

    assert bench.said() == [(3, b"-NAK")]
    ledger = bench.queue.ledger
    assert (ledger.recovered, ledger.queued, ledger.spooled) == (3, 2, 1)


async def test_the_server_hears_that_it_is_in_hand(bench: Bench, clock: FakeClock) -> None:
    """
    Three times within ack_wait, also once it is delivered and only the confirmation is missing.
    """
    bench.arrive(1)
    assert bench.said() == []
    await clock.advance(19.9)
    assert bench.said() == []
    await clock.advance(0.1)
    assert bench.said() == [(1, b"+WPI")]
    bench.settle(bench.take())
    assert bench.said() == [(1, b"+ACK")]
    await clock.advance(20.0)
    assert (1, b"+WPI") in bench.said()
    bench.feed.note_ack("1", CONFIRMED)
    await clock.advance(60.0)
    assert bench.said() == []
    assert len(bench.feed.hand) == 0


async def test_only_an_empty_answer_confirms(bench: Bench, clock: FakeClock) -> None:
    """
    "No responders" is an empty message, too, with a status.
    """
    bench.arrive(1)
    bench.said()
    bench.settle(bench.take())
    assert bench.said() == [(1, b"+ACK")]
    bench.feed.note_ack("1", Arrived(headers={"Status": "503"}))
    assert bench.feed.acks.unconfirmed == 1
    await clock.advance(1.0)

    assert bench.said() == [(1, b"+ACK")]


def test_what_comes_again_in_hand_is_not_taken_twice(bench: Bench) -> None:
    """
    It is acknowledged where it was delivered last.
    """
    bench.arrive(1)
    bench.said()
    bench.arrive(1, delivered=2)
    bench.said()
    assert (bench.queue.ledger.recovered, bench.feed.redelivered) == (1, 1)
    bench.settle(bench.take())
    out, _ = bench.feed.look(bench.clock.now())

    (subject,) = [subject for subject, data, _, _ in out if data == b"+ACK"]
    assert subject.startswith("$JS.ACK.S.c.2.1.")


def test_what_comes_again_when_it_is_done_is_acknowledged_again(bench: Bench) -> None:
    """
    It is not sent again.
    """
    bench.arrive(1)
    bench.said()
    bench.settle(bench.take())
    bench.said()
    bench.feed.note_ack("1", CONFIRMED)
    bench.arrive(1, delivered=2)

    assert bench.said() == [(1, b"+ACK")]
    assert bench.queue.ledger.recovered == 1


async def test_another_connection_goes_on_with_what_is_in_hand(
    bench: Bench, clock: FakeClock
) -> None:
    """
    The server hears at once that it is in hand, and of what was not confirmed.
    """
    bench.arrive(1)
    bench.said()
    bench.settle(bench.take())
    bench.arrive(2)
    bench.said()
    bench.feed.end()
    assert bench.said() == []
    bench.connect()

    assert sorted(bench.said(), key=str) == [(1, b"+ACK"), (1, b"+WPI"), (2, b"+WPI")]


async def test_what_may_be_another_relays_is_not_given_back(bench: Bench, clock: FakeClock) -> None:
    """
    After ack_wait without a word, to give it back would take it from who has it.
    """
    bench.arrive(1)
    bench.said()
    bench.feed.end()
    await clock.advance(60.0)
    bench.queue.drain(DropReason.CLOSED)
    bench.connect()

    assert bench.said() == []
    assert len(bench.feed.hand) == 0


async def test_what_has_lapsed_is_not_claimed(bench: Bench, clock: FakeClock) -> None:
    """
    As after a process stood still: another relay may have it, until it comes here again.
    """
    bench.arrive(1)
    bench.said()
    await clock.advance(60.0)
    assert bench.said() == []
    (held,) = bench.feed.hand.lapse(clock.now())
    assert held.sequence == 1
    bench.arrive(1, delivered=2)
    assert bench.feed.hand.lapse(clock.now()) == []
    await clock.advance(20.0)

    assert bench.said() == [(1, b"+WPI")]
    assert bench.queue.ledger.recovered == 1


def test_an_early_update_is_spared_and_an_old_one_is_not(bench: Bench) -> None:
    """
    Its event may be in another relay; after some minutes it is nowhere.
    """
    bench.arrive(1, route=UPDATES)
    bench.arrive(2, route=UPDATES, age=299.0)
    bench.arrive(3, route=UPDATES, age=301.0)
    bench.arrive(4)
    bench.said()
    young, middle, old, event = bench.take()

    def spares(record: Record, status: int = 404) -> bool:
        return bench.feed.spares([record], Outcome.REJECTED, None, status)

    assert spares(young)
    assert spares(middle)
    assert not spares(young, status=400)
    assert not spares(old)
    assert not spares(event)
    bench.queue.send_back([young])
    assert bench.said() == [(1, b"-NAK " + DELAY)]


def test_our_own_faults_cost_no_event(bench: Bench) -> None:
    """
    What a bug of ours would drop goes back to the stream, for later.
    """
    bench.arrive(1)
    bench.said()
    (record,) = bench.take()

    assert bench.feed.spares([record], Outcome.DROPPED, DropReason.INTERNAL_ERROR, None)


@pytest.mark.parametrize("answer", [b"+ACK", b"{}", b"[1]", b'{"seq":1}', b'{"error":"no"}'])
def test_an_event_is_not_acknowledged_if_no_stream_has_its_letter(
    bench: Bench, answer: bytes
) -> None:
    """
    Anything may answer to a subject; what is no acknowledgement of a stream is none.
    """
    bench.arrive(1)
    bench.said()
    bench.settle(bench.take(), Outcome.REJECTED)
    bench.said()
    bench.feed.note_letter("1", Arrived(data=answer))

    assert bench.said() == []
    assert bench.feed.outbox.fault == "what answers is no stream"


async def test_an_event_is_acknowledged_after_its_letter(bench: Bench, clock: FakeClock) -> None:
    """
    A letter that is refused is published again under the same id; the event stays in hand.
    """
    bench.arrive(1)
    bench.said()
    bench.settle(bench.take(), Outcome.REJECTED)
    assert bench.said() == [("dead", b'{"n":1}')]
    error = b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}'
    bench.feed.note_letter("1", Arrived(data=error))
    assert bench.feed.outbox.fault == "maximum bytes exceeded (10077)"
    await clock.advance(2.0)
    assert bench.said() == [("dead", b'{"n":1}')]
    bench.feed.note_letter("1", Arrived(data=b'{"stream":"HH_DEAD","seq":1}'))

    assert bench.said() == [(1, b"+ACK")]
    assert not bench.feed.outbox.fault


async def test_it_asks_for_as_much_as_may_be_in_hand(bench: Bench, clock: FakeClock) -> None:
    """
    Letters that nobody takes count, too: memory is bounded.
    """

    def asked() -> list[bytes]:
        return [data for subject, data in bench.said(pulls=True) if subject == "pull"]

    assert b'"batch":10' in asked()[0]
    for sequence in range(10):
        bench.arrive(sequence)
    assert asked() == []
    bench.settle(bench.take()[:4], Outcome.REJECTED)
    assert asked() == []
    for token in "0123":
        bench.feed.note_letter(token, Arrived(data=b'{"stream":"HH_DEAD","seq":1}'))
    assert b'"batch":4' in asked()[0]


def test_nothing_is_asked_for_while_none_is_wanted(bench: Bench) -> None:
    """
    What was asked for before must end with its inbox.
    """
    bench.said()
    bench.feed.target = 0
    assert bench.feed.asks_too_much
    bench.feed.pulls.reset()

    assert bench.said(pulls=True) == []
    bench.feed.target = 1
    assert bench.said(pulls=True)[0][0] == "pull"


async def test_a_stream_that_is_made_again_counts_from_1(bench: Bench, clock: FakeClock) -> None:
    """
    Its messages are not those that were acknowledged, nor those in hand, of the one before.
    """
    for sequence in (1, 2):
        bench.arrive(sequence)
    bench.said()
    first, second = bench.take()
    bench.settle([first])
    bench.said()
    bench.feed.note_ack("1", CONFIRMED)
    bench.published.clear()
    await clock.advance(1.0)
    bench.arrive(1)
    bench.settle([second])

    assert bench.said() == []
    assert [record.event_id for record in bench.take()] == ["e1"]
    assert bench.queue.ledger.recovered == 3


def test_what_comes_while_nothing_is_wanted_goes_back_at_once(bench: Bench) -> None:
    """
    All sending is blocked here: another relay may deliver it.
    """
    bench.feed.target = 0
    bench.arrive(1)

    assert bench.said() == [(1, b"-NAK")]
    ledger = bench.queue.ledger
    assert (ledger.recovered, ledger.spooled, ledger.queued) == (1, 1, 0)
