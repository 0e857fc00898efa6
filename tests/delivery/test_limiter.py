"""
How many requests may be in flight is found by trying, whatever the server is like.

The servers here are models on a clock of their own: what a limiter does with them is the same
each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeAlias

import pytest
from attrs import Factory, define

from hh_exporter import BatchLimits, Exporter, QueueLimits
from hh_exporter._delivery.limiter import Limiter
from tests.conftest import MakeExporter
from tests.delivery.test_outage import opened
from tests.scripted_server import (
    ScriptedServer,
    created,
    hang_after_storing,
    status,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    delivered,
    flushed,
    pass_time,
    push_all,
    until,
)

MIB = 2**20
TIMEOUT = 10.0
CEILING = 16
BATCH = 268
"""Events of 3.9 KB in a full body."""

Serve: TypeAlias = Callable[[float], tuple[float, int | None]]
"""Takes when a request begins; returns how long it takes, and the status of its answer."""


def far(seconds: float, *, cv: float = 0.0, seed: int = 0) -> Serve:
    """
    A server that takes anything, with a coefficient of variation.
    """
    random, sigma = Random(seed), math.sqrt(math.log(1 + cv**2))
    mu = math.log(seconds) - sigma**2 / 2
    return lambda _: (random.lognormvariate(mu, sigma), 200)


def step(before: Serve, after: Serve, at: float) -> Serve:
    return lambda now: (before if now < at else after)(now)


@define
class Workers:
    """
    A server that works on so many bodies at once; the others wait.
    """

    free: list[float]
    """When each worker is."""
    work: float
    distance: float

    def __call__(self, now: float) -> tuple[float, int | None]:
        begins = max(now + self.distance / 2, heappop(self.free))
        heappush(self.free, begins + self.work)
        return begins + self.work + self.distance / 2 - now, 200


def workers(count: int, work: float, distance: float) -> Serve:
    return Workers([0.0] * count, work, distance)


@define
class RateLimit:
    """
    A server that refuses what exceeds a number of requests in a second.
    """

    most: int
    times: list[float] = Factory(list)

    def __call__(self, now: float) -> tuple[float, int | None]:
        self.times = [time for time in self.times if time > now - 1.0]
        if len(self.times) >= self.most:
            return 0.03, 429
        self.times.append(now)
        return 0.03, 200


@define
class Load:
    """
    Full batches that come at a rate, and are sent with as many requests at once as may be.
    """

    limiter: Limiter
    serve: Serve
    rate: float
    """Batches a second; inf if there is always one more."""
    now: float = 0.0
    waiting: float = 0.0
    most_waiting: float = 0.0
    refused: int = 0
    done: int = 0
    limits: list[int] = Factory(list)
    """The limit at each answer."""
    size: int = MIB
    _out: list[tuple[float, float, int, int | None]] = Factory(list)

    def run(self, seconds: float) -> Load:
        ends = self.now + seconds
        while self.now < ends:
            self._send()
            is_endless = self.rate == math.inf
            gap = math.inf if is_endless else (1 - self.waiting % 1 + 1e-9) / self.rate
            then = min(self.now + gap, self._out[0][0] if self._out else math.inf, ends)
            self.waiting += 0.0 if is_endless else (then - self.now) * self.rate
            self.now = then
            self.most_waiting = max(self.most_waiting, self.waiting)
            while self._out and self._out[0][0] <= then:
                self._end(*heappop(self._out))
        return self

    def _send(self) -> None:
        if self.rate == math.inf:
            self.waiting = 100.0
        while self.waiting >= 1 and len(self._out) < self.limiter.limit:
            self.waiting -= 1
            seconds, status = self.serve(self.now)
            heappush(self._out, (self.now + seconds, seconds, self.limiter.begin(), status))
        self.limiter.is_needed |= self.waiting >= 1

    def _end(self, _: float, seconds: float, began: int, status: int | None) -> None:
        self.limiter.note(began, status, seconds, self.size)
        self.limits.append(self.limiter.limit)
        if status == 200:
            self.done += 1
        else:
            self.refused += 1
            self.waiting += 1


def load(serve: Serve, events: float = math.inf, *, ceiling: int = CEILING) -> Load:
    return Load(Limiter(ceiling, TIMEOUT), serve, events / BATCH)


class Fixed(Limiter):
    """
    One that has all from the beginning, and learns nothing.
    """

    def __attrs_post_init__(self) -> None:
        self.limit = self.first = self.ceiling

    def note(self, *_: Any, **__: Any) -> None:
        pass


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("seconds", "events"), [(0.1, 10_000), (0.3, 5_000), (0.3, 10_000)])
def test_a_far_server_gets_what_is_offered(
    seconds: float, events: int, cv: float, seed: int
) -> None:
    """
    Never does more wait than three seconds of the load, also where the distance jitters.
    """
    run = load(far(seconds, cv=cv, seed=seed), events).run(20.0)

    assert run.most_waiting < 3 * events / BATCH
    assert run.waiting < 5
    assert run.done >= 0.96 * 20 * events / BATCH


def test_none_is_added_while_all_can_be_taken() -> None:
    run = load(far(0.03), 8_000).run(20.0)

    assert set(run.limits) == {4}
    assert run.limiter.reason == "no more are needed"


def test_a_route_that_grows_longer_starves_nobody() -> None:
    """
    The usual latency of before says nothing any more.
    """
    run = load(step(far(0.005), far(0.3), at=6.0), 5_000).run(20.0)

    assert run.limiter.limit >= 6
    assert run.most_waiting < 10


@pytest.mark.parametrize("at", [n / 50 for n in range(20)])
def test_a_route_that_grows_longer_amid_a_trial_is_no_reason_for_fewer(at: float) -> None:
    """
    What was seen before is of another route, whatever was tried meanwhile.
    """
    run = load(step(far(0.02), far(0.3), at=at)).run(at + 3.0)

    assert max(run.limits) == CEILING
    assert run.limiter.limit >= 0.7 * CEILING, "with fewer it is tried, too"


def test_a_server_that_moves_far_away_is_found_there() -> None:
    """
    It only queued what it got, and had few; now all of them are on the way.
    """
    run = load(step(workers(2, 0.08, 0.03), far(0.5), at=100.0)).run(100.0)
    assert run.limiter.limit <= 5

    run.run(10.0)

    assert run.limiter.limit == CEILING


@pytest.mark.parametrize(("count", "work"), [(2, 0.08), (4, 0.08), (8, 0.27)])
def test_a_server_that_only_queues_them_gets_few(count: int, work: float) -> None:
    """
    It works as fast as with the most, and has little more in hand than its workers.
    """
    run = load(workers(count, work, 0.03)).run(120.0)
    most = Load(Fixed(CEILING, TIMEOUT), workers(count, work, 0.03), math.inf).run(120.0)

    late = run.limits[len(run.limits) // 2 :]
    assert sum(late) / len(late) < 1.6 * count + 2
    assert run.done >= 0.93 * most.done


def test_a_server_that_grows_gets_more_again() -> None:
    run = load(step(workers(2, 0.08, 0.03), workers(16, 0.08, 0.03), at=60.0)).run(60.0)
    before = run.limiter.limit

    run.run(60.0)

    assert before <= 5
    assert run.limiter.limit >= 12


def test_a_refusal_halves() -> None:
    run = load(step(far(0.3), lambda _: (0.3, 503), at=10.0)).run(10.0)
    assert run.limiter.limit == CEILING

    run.run(0.61)

    assert run.limiter.limit == CEILING // 2
    assert run.limiter.reason == "the server refused with HTTP 503"


def test_a_body_on_which_the_server_fails_is_no_refusal() -> None:
    """
    HTTP 503 for one of them, while others are taken, is not about how many there are.
    """
    limiter = Limiter(CEILING, TIMEOUT)
    for number in range(200):
        limiter.is_needed = True
        limiter.note(limiter.begin(), 503 if number % 8 == 3 else 200, 0.1, MIB)
        if number % 8 == 3:  # and again
            limiter.note(limiter.begin(), 503, 0.1, MIB, is_known=True)

    assert limiter.limit == CEILING


def test_a_server_that_is_busy_gets_few() -> None:
    """
    It says so with 503 as well.
    """
    limit = RateLimit(10)

    def serve(now: float) -> tuple[float, int | None]:
        seconds, status = limit(now)
        return seconds, 503 if status == 429 else status

    run = load(serve).run(60.0)

    assert sum(run.limits[-300:]) / 300 < 2


def test_answers_to_what_began_before_say_nothing() -> None:
    """
    All that were in flight at the first refusal are refused, too: that is one of them.
    """
    limiter = Limiter(CEILING, TIMEOUT)
    began = [limiter.begin() for _ in range(4)]

    for one in began:
        limiter.note(one, 429, 0.1, MIB)

    assert limiter.limit == 2


def test_a_rate_limit_is_not_hammered() -> None:
    run = load(RateLimit(10), 2_000).run(60.0)

    assert run.refused == 0
    assert run.waiting < 2


def test_it_comes_back_after_an_outage() -> None:
    """
    Requests that time out leave one; when they are answered again, it doubles.
    """
    silent: Serve = lambda _: (TIMEOUT, None)  # noqa: E731
    run = load(step(silent, far(0.1), at=60.0)).run(60.0)
    assert run.limiter.limit == 1
    assert run.limiter.reason == "no answer in time"

    run.run(20.0)

    assert run.limiter.limit == CEILING


@pytest.mark.parametrize("answer", [503, 500, None])
def test_it_begins_anew_after_an_outage_in_which_a_probe_failed(answer: int | None) -> None:
    """
    A server that fails on a lone request does not refuse because there are too many.
    """
    run = load(step(lambda _: (0.1, 503), far(0.3), at=5.0)).run(5.0)
    assert run.limiter.limit == 1

    run.limiter.note(run.limiter.begin(is_probe=True), answer, 0.1, MIB)
    run.run(3.0)

    assert run.limiter.limit == CEILING


def test_a_probe_that_is_refused_as_too_many_changes_nothing() -> None:
    """
    Nor does one that is taken.
    """
    limiter = Limiter(CEILING, TIMEOUT)
    limiter.note(limiter.begin(), 429, 0.1, MIB)

    for answer in (429, 200):
        limiter.note(limiter.begin(is_probe=True), answer, 0.1, MIB)

    assert limiter.limit == 2


def test_none_is_added_where_answers_are_almost_too_late() -> None:
    """
    With more at once they would not come in time, and be sent again.
    """
    run = load(workers(4, 4.0, 0.03)).run(300.0)

    assert run.refused == 0
    assert max(run.limits) <= 8


def test_a_connection_that_is_refused_says_nothing_of_load() -> None:
    limiter = Limiter(CEILING, TIMEOUT)

    limiter.note(limiter.begin(), None, 0.001, MIB)

    assert limiter.limit == 4


@pytest.mark.parametrize("ceiling", [1, 2, 3, 5, 40])
def test_the_ceiling_holds(ceiling: int) -> None:
    run = load(far(0.3), ceiling=ceiling).run(60.0)

    assert max(run.limits) == ceiling
    assert min(run.limits) >= max(1, ceiling - max(1, ceiling // 4) - ceiling // 8) or ceiling > 4
    assert run.limiter.limit >= 0.7 * ceiling


def test_batches_of_another_size_are_no_comparison() -> None:
    """
    A round of small ones is faster by itself: that is no reason to have more, nor fewer.
    """
    limiter = Limiter(CEILING, TIMEOUT)

    def answer(seconds: float, size: int) -> None:
        for _ in range(2 * limiter.limit):
            limiter.is_needed = True
            limiter.note(limiter.begin(), 200, seconds, size)

    answer(0.3, MIB)
    assert limiter.limit == 8
    answer(3.0, 4 * MIB)

    assert limiter.limit > 8


def test_what_is_not_full_says_nothing() -> None:
    limiter = Limiter(CEILING, TIMEOUT)

    for _ in range(100):
        limiter.is_needed = True
        limiter.note(limiter.begin(), 200, 0.3, 0)

    assert limiter.limit == 4


def test_bodies_of_two_sizes_are_judged_apart() -> None:
    """
    A server that works on two requests at once gets few, though every other one is an update.
    """
    limiter, now = Limiter(CEILING, TIMEOUT), 0.0
    serve, sizes = {MIB: workers(2, 0.08, 0.03), 300: workers(2, 0.01, 0.03)}, (MIB, 300)
    out, limits = list[tuple[float, float, int, int]](), list[int]()
    for number in range(4_000):
        limiter.is_needed = True
        while len(out) < limiter.limit:
            size = sizes[(number + len(out)) % 2]
            seconds, _ = serve[size](now)
            heappush(out, (now + seconds, seconds, size, limiter.begin()))
        now, seconds, size, began = heappop(out)
        limiter.note(began, 200, seconds, size)
        limits.append(limiter.limit)

    assert sum(limits[2_000:]) / 2_000 < 8


def test_bodies_that_are_small_from_now_on_are_judged() -> None:
    """
    Such as updates, after batches of events.
    """
    run = load(workers(2, 0.08, 0.03)).run(60.0)
    assert run.limiter.limit <= 5

    run.serve, run.size = far(0.3), 300
    run.run(30.0)

    assert run.limiter.limit >= 10


# In an exporter.


async def test_more_are_in_flight_while_full_batches_wait(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    And `stats` says how many may be, and why no more.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    assert exporter.stats().in_flight_limit == 4
    assert exporter.stats().in_flight_reason == "no more are needed"

    push_all(exporter, *(f"e{n}" for n in range(200)))
    await delivered(exporter, 200)

    assert exporter.stats().in_flight_limit > 4


async def test_updates_that_wait_count_as_batches_do(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Each has a request of its own.
    """
    exporter = await make_exporter(batch=BatchLimits(linger=0.0))

    for n in range(200):
        exporter.update(f"e{n}", metadata={"n": n})
    await delivered(exporter, 200)

    assert exporter.stats().in_flight_limit > 4


@pytest.mark.parametrize("kind", ["updates", "sessions"])
async def test_small_bodies_need_little_room(
    make_exporter: MakeExporter, server: ScriptedServer, kind: str
) -> None:
    """
    However much waits: what counts is the size of the next one.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(
        batch=BatchLimits(max_bytes=40_000, linger=0.0), queue=QueueLimits(max_bytes=100_000)
    )

    for n in range(100):
        if kind == "updates":
            exporter.update(f"e{n}", metadata={"text": "x" * 500})
        else:
            with exporter.session(f"session {n}"):
                push_all(exporter, f"e{n}")

    await server.requests_seen(4)


async def test_a_refusal_leaves_fewer(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    server.script(status(429))
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "e0")

    await until(lambda: exporter.stats().in_flight_limit == 2)

    assert exporter.stats().in_flight_reason == "the server refused with HTTP 429"


async def test_an_outage_leaves_no_limit_behind(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    server.default = unavailable()
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, *(f"e{n}" for n in range(4)))
    await until(lambda: exporter.stats().in_flight_limit < 4)
    await opened(exporter, server, clock)
    await pass_time(exporter, server, clock, 60.0)

    server.default = created()

    assert (await flushed(exporter, clock)).left == 0
    assert exporter.stats().in_flight_limit == 4


async def test_bodies_take_their_room_in_memory(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    With little of it there is one at a time, and memory is exceeded by that one at most.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), queue=QueueLimits(max_bytes=20_000)
    )
    await _fill(exporter)
    await server.requests_seen(1)

    stats = assert_balanced(exporter)
    held = stats.queued_bytes + stats.in_flight_bytes + stats.body_bytes
    assert len(server.requests) == 1
    assert stats.body_bytes > 2_000
    assert held <= 20_000 + stats.body_bytes
    worker = exporter._life.worker
    assert worker is not None
    assert worker._next_look() is None, "it waits for an answer, and looks for nothing meanwhile"


async def _fill(exporter: Exporter) -> None:
    for number in range(20):
        push_all(exporter, f"e{number}", error="x" * 4_000)
