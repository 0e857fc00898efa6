"""
Outcomes are announced once: to the ledger, to the user, to the log.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from hh_exporter import DropReason, Outcome, QueueLimits, Settlement
from hh_exporter._delivery.settler import Settler
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record
from tests.builders import make_record
from tests.support import FakeClock

SECRET = "what the user typed"


class Lines(logging.Handler):
    """
    Keeps what is logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        """
        What was said, after the name of who speaks.
        """
        said = [record.getMessage() for record in self.records]
        assert all(text.startswith("hh_exporter: ") for text in said)
        return [text.removeprefix("hh_exporter: ") for text in said]


@pytest.fixture
def lines() -> Iterator[Lines]:
    log = logging.getLogger("hh_exporter._delivery.settler")
    handler = Lines()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def _threads_switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def make_settler(
    clock: FakeClock, on_outcome: Callable[[Settlement], None] | None = None
) -> Settler:
    return Settler(queue=RecordQueue(QueueLimits()), clock=clock, on_outcome=on_outcome)


def in_flight(settler: Settler, *ids: str) -> list[Record]:
    for name in ids:
        settler.queue.offer(make_record(name))
    records = settler.queue.pull(len(ids))
    settler.queue.take(records)
    return records


def drop(settler: Settler, count: int = 1, detail: str = "") -> None:
    ids = tuple(str(n) for n in range(count))
    settler.announce(ids, Outcome.DROPPED, DropReason.UNENCODABLE, detail=detail)


def test_an_outcome_reaches_ledger_and_callback(clock: FakeClock) -> None:
    """
    One settlement for each group of records with one fate.
    """
    told: list[Settlement] = []
    settler = make_settler(clock, told.append)
    a, b, c, d = in_flight(settler, "a", "b", "c", "d")

    settler.settle([a, b], Outcome.DELIVERED, status=200)
    settler.settle([c], Outcome.REJECTED, status=400)
    settler.settle([d], Outcome.DROPPED, DropReason.RETRIES_EXHAUSTED)
    settler.settle([], Outcome.DELIVERED)

    assert told == [
        Settlement(outcome=Outcome.DELIVERED, reason=None, event_ids=("a", "b"), status=200),
        Settlement(outcome=Outcome.REJECTED, reason=None, event_ids=("c",), status=400),
        Settlement(
            outcome=Outcome.DROPPED,
            reason=DropReason.RETRIES_EXHAUSTED,
            event_ids=("d",),
            status=None,
        ),
    ]
    ledger = settler.queue.ledger
    assert (ledger.delivered, ledger.rejected, ledger.in_flight) == (2, 1, 0)
    assert ledger.dropped == {DropReason.RETRIES_EXHAUSTED: 1}


def test_draining_announces_what_it_drops(clock: FakeClock) -> None:
    """
    One settlement for all that was queued, none where nothing was.
    """
    told: list[Settlement] = []
    settler = make_settler(clock, told.append)
    settler.drain(DropReason.CLOSED)
    for name in ("a", "b"):
        settler.queue.offer(make_record(name))

    settler.drain(DropReason.CLOSED)

    assert [(s.reason, s.event_ids) for s in told] == [(DropReason.CLOSED, ("a", "b"))]


def test_the_callback_runs_after_the_ledger_and_without_the_lock(clock: FakeClock) -> None:
    """
    It may look at the books, and use the exporter from another thread.
    """
    seen: list[tuple[int, bool]] = []

    def look(_: Settlement) -> None:
        lock = settler.queue.lock
        seen.append((settler.queue.ledger.delivered, lock._is_owned()))  # type: ignore[attr-defined]

    settler = make_settler(clock, look)

    settler.settle(in_flight(settler, "a"), Outcome.DELIVERED)

    assert seen == [(1, False)]


def test_a_failing_callback_is_logged_once(clock: FakeClock, lines: Lines) -> None:
    """
    It changes no outcome, and the log has the type of what it raised alone.
    """

    def fail(_: Settlement) -> None:
        raise ValueError(SECRET)

    settler = make_settler(clock, fail)

    settler.settle(in_flight(settler, "a", "b"), Outcome.DELIVERED)
    settler.settle(in_flight(settler, "c"), Outcome.DELIVERED)

    assert settler.queue.ledger.delivered == 3
    assert lines.texts == ["on_outcome raised ValueError; logged once"]
    assert lines.records[0].levelno == logging.ERROR
    assert lines.records[0].exc_info is None


def test_what_stops_the_program_passes_the_callback(clock: FakeClock) -> None:
    """
    A KeyboardInterrupt in it goes on its way, with the books balanced.
    """

    def stop(_: Settlement) -> None:
        raise KeyboardInterrupt

    settler = make_settler(clock, stop)

    with pytest.raises(KeyboardInterrupt):
        settler.settle(in_flight(settler, "a"), Outcome.DELIVERED)
    assert settler.queue.ledger.delivered == 1


def test_what_is_delivered_is_not_worth_a_line(clock: FakeClock, lines: Lines) -> None:
    """
    Only losses are logged.
    """
    settler = make_settler(clock)

    settler.settle(in_flight(settler, "a"), Outcome.DELIVERED, status=200)
    settler.say_rest()

    assert lines.texts == []


@pytest.mark.parametrize(
    ("outcome", "reason", "status", "detail", "words"),
    [
        (Outcome.REJECTED, None, 400, "", ["2 events rejected", "HTTP 400"]),
        (Outcome.DROPPED, DropReason.QUEUE_FULL, None, "", ["dropped (queue_full)", "put()"]),
        (Outcome.DROPPED, DropReason.TOO_LARGE, 413, "", ["dropped (too_large)", "HTTP 413"]),
        (Outcome.DROPPED, DropReason.INVALID, None, "cost: wrong", ["dropped (invalid)", "cost"]),
        (
            Outcome.DROPPED,
            DropReason.CLOSED,
            None,
            "",
            ["dropped (closed)", "push before you close it"],
        ),
    ],
    ids=["rejected", "queue_full", "too_large", "invalid", "closed"],
)
def test_a_loss_is_a_warning_that_says_what_to_do(
    clock: FakeClock,
    lines: Lines,
    outcome: Outcome,
    reason: DropReason | None,
    status: int | None,
    detail: str,
    words: list[str],
) -> None:
    """
    It has count, outcome, reason and advice, and never an id of an event.
    """
    make_settler(clock).announce((SECRET, SECRET), outcome, reason, status=status, detail=detail)

    (text,) = lines.texts
    assert all(word in text for word in words)
    assert SECRET not in text
    (record,) = lines.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["hh_events"] == 2
    assert record.__dict__["hh_outcome"] == str(outcome)
    assert record.__dict__["hh_reason"] == str(reason or "")


async def test_an_episode_is_one_warning(clock: FakeClock, lines: Lines) -> None:
    """
    It lasts as long as losses follow within a minute; what came after the first
    line is told when it is over.
    """
    settler = make_settler(clock)
    for count in (1, 2, 3):
        drop(settler, count)
        await clock.advance(59.0)
    assert len(lines.texts) == 1

    await clock.advance(1.0)
    drop(settler, 4)

    assert [text.split(" dropped")[0] for text in lines.texts] == [
        "1 event",
        "5 more events",
        "4 events",
    ]


def test_losses_of_different_kinds_are_different_episodes(clock: FakeClock, lines: Lines) -> None:
    """
    Another reason, status or detail is worth a line of its own.
    """
    settler = make_settler(clock)

    for _ in range(2):
        drop(settler, detail="cost: wrong")
        drop(settler, detail="model: wrong")
        settler.announce(("a",), Outcome.REJECTED, status=400)
        settler.announce(("a",), Outcome.REJECTED, status=422)
        settler.announce(("a",), Outcome.DROPPED, DropReason.CLOSED)

    assert len(lines.texts) == 5


def test_updates_are_counted_apart_from_events(clock: FakeClock, lines: Lines) -> None:
    """
    A loss of one is not told as more of the others.
    """
    settler = make_settler(clock)
    for is_update in (False, True, True, False, True):
        settler.refuse("e", DropReason.CLOSED, is_update=is_update)
    settler.say_rest()

    assert [text.split(" dropped")[0] for text in lines.texts] == [
        "1 event",
        "1 update",
        "1 more event",
        "2 more updates",
    ]


def test_the_rest_is_said_at_the_end(clock: FakeClock, lines: Lines) -> None:
    """
    What no line has told yet is told once, and the next loss begins anew.
    """
    settler = make_settler(clock)
    drop(settler)
    settler.say_rest()
    assert len(lines.texts) == 1

    drop(settler)
    drop(settler, 2)
    settler.say_rest()
    settler.say_rest()
    assert [text.split(" dropped")[0] for text in lines.texts[1:]] == ["1 event", "2 more events"]
    drop(settler)
    assert len(lines.texts) == 4


def test_no_loss_is_untold_however_many_kinds_there_are(clock: FakeClock, lines: Lines) -> None:
    """
    The lines add up to all that was lost, also past the number of open episodes.
    """
    settler = make_settler(clock)

    for n in range(300):
        drop(settler, detail=f"kind {n}")
        drop(settler, detail=f"kind {n}")
    settler.say_rest()

    assert sum(int(text.split()[0]) for text in lines.texts) == 600


def lose_in_threads(settler: Settler, *, times: int) -> None:
    """
    Have each of eight threads lose an event so many times.
    """
    together = threading.Barrier(8)

    def lose() -> None:
        together.wait()
        for _ in range(times):
            drop(settler)

    threads = [threading.Thread(target=lose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settler.say_rest()


@pytest.mark.usefixtures("_threads_switch_often")
def test_many_threads_make_one_warning(clock: FakeClock, lines: Lines) -> None:
    """
    However many lose events at once, an episode begins once.
    """
    lose_in_threads(make_settler(clock), times=200)

    assert [text.split(" dropped")[0] for text in lines.texts] == ["1 event", "1599 more events"]


@pytest.mark.usefixtures("_threads_switch_often")
def test_many_threads_and_episodes_lose_no_count(lines: Lines) -> None:
    """
    Where episodes begin and end among threads, the lines still add up.
    """

    class Leaping(FakeClock):
        readings = itertools.count()

        def now(self) -> float:
            return next(self.readings) // 5 * 100.0

    for _ in range(5):
        lose_in_threads(make_settler(Leaping()), times=2000)

    assert sum(int(text.split()[0]) for text in lines.texts) == 5 * 8 * 2000
