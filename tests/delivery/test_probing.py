"""
Who probes, and when waiting is pointless.
"""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from hh_exporter import QueueLimits
from hh_exporter._bell import Bell
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.limiter import Limiter
from hh_exporter._delivery.probing import Prober
from hh_exporter._delivery.shipping import Shipper
from hh_exporter._delivery.waits import Wait, Waits
from hh_exporter._queue.ledger import Ledger
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Batch, Record, Session
from hh_exporter._settings.retry import RetryPolicy
from hh_exporter._transport.http import HttpTransport
from tests.builders import make_record
from tests.support import FakeClock, settle

FULL = 10
"""Records of a full batch."""


@pytest.fixture
def queue() -> RecordQueue:
    queue = RecordQueue(QueueLimits())
    for n in range(100):
        assert queue.offer(make_record(f"e{n}")) is None
    return queue


@pytest.fixture
def prober(queue: RecordQueue) -> Prober:
    return Prober(queue, FULL)


def next_probe(prober: Prober, *, is_lone: bool = False, of: int = FULL) -> tuple[Record, ...]:
    """
    Take a probe from the head of the queue, out of a batch *of* so many.
    """
    batch = prober.trim(Batch(tuple(prober.queue.pull(of))), is_lone=is_lone)
    prober.queue.take(batch.records)
    return batch.records


def names(records: tuple[Record, ...]) -> list[int]:
    return [int(record.event_id[1:]) for record in records]


def in_memory(ledger: Ledger) -> tuple[int, int]:
    return (ledger.queued, ledger.in_flight)


def test_who_stepped_aside_lets_others_probe(queue: RecordQueue, prober: Prober) -> None:
    """
    The next probe is of other records; those aside count as queued, and aren't pulled again.
    """
    first = next_probe(prober)
    assert in_memory(queue.ledger) == (90, 10)
    prober.step_aside(first)

    assert in_memory(queue.ledger) == (100, 0)
    assert names(next_probe(prober)) == list(range(10, 20))


def test_later_probes_are_single_events(queue: RecordQueue, prober: Prober) -> None:
    """
    After two batches the newest event of the next one probes, and all others stay queued.
    """
    for _ in range(2):
        prober.step_aside(next_probe(prober))

    assert names(next_probe(prober)) == [29]
    assert names(tuple(queue.pull(3))) == [20, 21, 22]


def test_a_lone_probe_announces_nothing(queue: RecordQueue, prober: Prober) -> None:
    """
    It goes without what its session has to say: that may be what the server objects to.
    """
    batch = Batch(tuple(queue.pull(2)), Session("session", b""))

    assert prober.trim(batch, is_lone=False) is batch
    assert prober.trim(batch, is_lone=True).session is None


def test_not_all_of_the_queue_steps_aside(queue: RecordQueue, prober: Prober) -> None:
    """
    After eight batches all are back in the queue, the oldest first.
    """
    while len(prober.aside) < 79:
        prober.step_aside(next_probe(prober))
    prober.step_aside(next_probe(prober))

    assert not prober.aside
    assert names(tuple(queue.pull(100))) == list(range(100))


def test_a_reset_lets_all_others_go_first(queue: RecordQueue, prober: Prober) -> None:
    """
    Once the server took something probes are whole batches again; who is aside waits on.
    """
    for _ in range(3):
        prober.step_aside(next_probe(prober))

    prober.reset()

    assert names(next_probe(prober)) == [*range(20, 29), 30]
    prober.give_up()
    assert names(tuple(queue.pull(2))) == [0, 1]


def test_where_only_a_created_event_helps_all_probes_are_single(
    queue: RecordQueue, prober: Prober
) -> None:
    """
    A probe of one record is made of any batch, and takes no other out of the queue.
    """
    assert names(next_probe(prober, is_lone=True)) == [9]
    assert names(tuple(queue.pull(3))) == [0, 1, 2]


# When waiting is pointless.


class Scene:
    """
    A worker's waits at 100.0, with a breaker that was never troubled.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.breaker = Breaker(lambda: 1.0)
        nothing: dict[str, Any] = {"api_key": None, "timeout": 1.0, "clock": self.clock}
        self.shipper = Shipper(
            queue=RecordQueue(QueueLimits()),
            transport=HttpTransport(base_url="http://127.0.0.1", **nothing),
            breaker=self.breaker,
            limiter=Limiter(1, 1.0),
            policy=RetryPolicy(),
            clock=self.clock,
            random=lambda: 1.0,
            on_ambiguous="reject",
            compresses=False,
            on_answer=lambda: None,
        )
        self.waits = Waits(self.breaker, self.shipper)

    def begin(self, deadline: float) -> Wait:
        return self.waits.begin(Bell(self.clock), deadline)

    def fail_probe(self) -> None:
        self.breaker.begin_probe()
        self.breaker.note_suspension(100.0, "HTTP 401")
        self.breaker.end_probe(100.0)  # the next in two seconds


@pytest.fixture
async def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(("idle_until", "expected"), [(104.9, False), (105.1, True), (-inf, False)])
async def test_backoffs_past_the_deadline_make_it_pointless(
    scene: Scene, idle_until: float, expected: bool
) -> None:
    """
    Nothing can be had from batches that all go on too late; nothing is known of busy ones.
    """
    assert scene.waits.is_pointless(scene.begin(105.0), idle_until) is expected


@pytest.mark.parametrize(("until", "expected"), [(104.9, False), (105.1, True)])
@pytest.mark.parametrize("is_suspended", [False, True])
async def test_a_silence_past_the_deadline_makes_it_pointless(
    scene: Scene, until: float, expected: bool, is_suspended: bool
) -> None:
    """
    Neither batches nor the probe of its own can leave in time.
    """
    if is_suspended:
        scene.breaker.note_suspension(100.0, "HTTP 401")
    scene.breaker.hold(until)
    wait = scene.begin(105.0)
    scene.breaker.probe_now()

    assert scene.waits.is_pointless(wait, -inf) is expected


async def test_its_own_probe_is_worth_waiting_for(scene: Scene) -> None:
    """
    A wait that begins while sending is blocked lasts until the answer to a probe after that.
    """
    scene.breaker.note_suspension(100.0, "HTTP 401")
    short, long, endless = scene.begin(101.9), scene.begin(102.1), scene.begin(inf)
    scene.breaker.probe_now()
    assert not any(scene.waits.is_pointless(wait, -inf) for wait in (short, long, endless))

    scene.breaker.begin_probe()
    assert not any(scene.waits.is_pointless(wait, -inf) for wait in (short, long, endless))
    scene.breaker.end_probe(100.0)
    scene.fail_probe()

    # 4 seconds by now.
    assert scene.waits.is_pointless(short, -inf)
    assert scene.waits.is_pointless(endless, -inf)
    assert not scene.waits.is_pointless(scene.begin(102.1), -inf)


async def test_an_open_breaker_keeps_an_endless_wait(scene: Scene) -> None:
    """
    A server that fails will come back one day; one that refuses us needs a person.
    """
    for _ in range(5):
        scene.breaker.note_failure(100.0, "HTTP 503")
    wait = scene.begin(inf)
    scene.breaker.note_failure(100.0, "HTTP 503")
    assert not scene.waits.is_pointless(wait, 10.0**9)

    scene.breaker.note_suspension(100.0, "HTTP 401")
    assert scene.waits.is_pointless(wait, -inf)


async def test_what_is_on_the_wire_may_be_taken(scene: Scene) -> None:
    """
    While any answer is to come, nobody can say that nothing will.
    """
    wait = scene.begin(105.0)
    scene.breaker.hold(1000.0)
    scene.shipper.on_wire = 1
    assert not scene.waits.is_pointless(wait, inf)

    scene.shipper.on_wire = 0
    assert scene.waits.is_pointless(wait, inf)


async def test_only_who_waits_in_vain_is_woken(scene: Scene) -> None:
    """
    Each has its own deadline, and nobody is rung after its wait is over.
    """
    early, late, over = (Bell(scene.clock) for _ in range(3))
    scene.breaker.hold(105.0)
    with scene.waits.open(over, 100.0):
        pass
    with scene.waits.open(early, 104.0), scene.waits.open(late, 106.0):
        scene.waits.ring_pointless(-inf, all_of_them=False)
        await settle()
        assert [bell._event.is_set() for bell in (early, late, over)] == [True, False, False]

        scene.waits.ring_pointless(-inf, all_of_them=True)
        await settle()
        assert [bell._event.is_set() for bell in (early, late, over)] == [True, True, False]
