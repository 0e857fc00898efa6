"""
What one bad event, or one bad server, must not do to the events beside it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    FlushResult,
    Outcome,
    RetryPolicy,
    Settlement,
)
from tests.conftest import KEY, MakeExporter, in_both_dialects
from tests.scripted_server import (
    Event,
    Scripted,
    ScriptedServer,
    created,
    created_html,
    html,
    redirect,
    status,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    ids_of,
    pass_time,
    push_all,
    quiet,
    until,
)

IDS = [f"e{n}" for n in range(1000)]
MIXED = IDS[:400]


def unless(bad: Collection[str], refusal: Scripted) -> Scripted:
    """
    Answer *refusal* to whatever holds one of *bad*; else store it.
    """

    def is_bad(event: Event) -> bool:
        return event["event_id"] in bad

    return lambda request: refusal if any(map(is_bad, request.events)) else created()


def count_errors(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno == logging.ERROR for record in caplog.records)


async def ended(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, within: float
) -> FlushResult:
    """
    Let time pass until all that was pushed has its outcome, *within* seconds at most.
    """
    deadline = clock.now() + within
    flush = asyncio.create_task(exporter.flush(within))
    while not flush.done():
        assert clock.now() <= deadline
        await pass_time(exporter, server, clock, 2.0)
    return flush.result()


# Every body refused for what it holds.


@in_both_dialects
@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_that_refuses_everything_costs_five_events(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    Of a thousand queued events five are rejected, in tens of requests; all others are kept.

    They arrive once the server behaves, and the log says once what to check.
    """
    server.default = status(code)
    exporter = await make_exporter()
    push_all(exporter, *IDS)

    result = await exporter.flush()

    assert result == FlushResult(delivered=0, rejected=5, dropped=0, left=995)
    assert len(server.requests) <= 40
    assert exporter.stats().health == "suspended"
    assert "HH_EXPORTER_DIALECT" in exporter.stats().health_reason

    await pass_time(exporter, server, clock, 300.0)
    assert len(server.requests) <= 60
    assert assert_balanced(exporter).queued == 995
    assert count_errors(caplog) == 1

    server.default = created()
    assert (await exporter.flush()).delivered == 995
    assert len(set(server.created_ids)) == 995
    assert caplog.text.count("resumed") == 1


async def test_refused_events_do_not_turn_the_worker_round_and_round(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While suspended for refused events, what trickles in costs no more than the probes.
    """
    server.default = status(400)
    exporter = await make_exporter(batch=BatchLimits(max_events=10))
    for event_id in IDS[:300]:
        push_all(exporter, event_id)
        await pass_time(exporter, server, clock, 1.0)

    stats = assert_balanced(exporter)
    assert (stats.rejected, stats.queued) == (5, 295)
    assert stats.requests <= 5 + 300 / 30 + 10


def every(n: int) -> set[str]:
    return set(MIXED[::n])


def at_random(part: float) -> set[str]:
    return set(random.Random(4711).sample(MIXED, int(part * len(MIXED))))


MIXES = [
    pytest.param(every(100), id="1 %"),
    pytest.param(every(10), id="10 %"),
    pytest.param(every(2), id="50 %"),
    pytest.param(at_random(0.1), id="10 % at random"),
    pytest.param(at_random(0.5), id="50 % at random"),
    pytest.param({i for n, i in enumerate(MIXED) if n % 30 < 3}, id="runs of three"),
    pytest.param(set(MIXED[:4]), id="the first four"),
]


@pytest.mark.parametrize("bad", MIXES)
async def test_bad_events_among_good_ones_are_found(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    bad: set[str],
) -> None:
    """
    However the bad events are spread, they alone are rejected, and nothing is suspended.
    """
    server.default = unless(bad, status(400))
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *MIXED)

    result = await exporter.flush()

    assert result == FlushResult(len(MIXED) - len(bad), len(bad), 0, 0)
    assert set(ids_of(settlements, Outcome.REJECTED)) == bad
    assert sorted(server.created_ids) == sorted(set(MIXED) - bad)
    assert not count_errors(caplog)


async def test_a_whole_batch_of_bad_events_waits_for_a_good_one(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Batches that were on their way beside it may have left before an outage: that they are
    created shows nothing. One that leaves later does, and then they alone are rejected.
    """
    bad = set(MIXED[200:300])
    server.default = unless(bad, status(400))
    settlements: list[Settlement] = []
    exporter = await make_exporter(batch=BatchLimits(max_events=100), on_outcome=settlements.append)
    push_all(exporter, *MIXED)
    assert await exporter.flush() == FlushResult(delivered=300, rejected=5, dropped=0, left=95)

    push_all(exporter, "good")
    result = await ended(exporter, server, clock, within=20.0)

    assert result == FlushResult(delivered=1, rejected=95, dropped=0, left=0)
    assert set(ids_of(settlements, Outcome.REJECTED)) == bad
    assert exporter.stats().health == "ok"


async def test_half_bad_events_end_a_suspension_soon(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Where only a created event ends it, probes are single events: one good one is found quickly.
    """
    bad = set(IDS[:5]) | every(2)
    server.default = unless(bad, status(400))
    exporter = await make_exporter(max_in_flight=1, batch=BatchLimits(max_events=5, linger=60.0))
    push_all(exporter, *IDS[:5])
    await until(lambda: exporter.stats().health == "suspended")
    push_all(exporter, *IDS[5:100])

    result = await ended(exporter, server, clock, within=20.0)

    assert result == FlushResult(delivered=48, rejected=47, dropped=0, left=0)


# Every body that holds one event fails.


PATIENT = RetryPolicy(max_elapsed=60.0)


@in_both_dialects
@pytest.mark.parametrize("failure", [status(500), html(502)], ids=["500", "502"])
@pytest.mark.parametrize("where", [0, 255])
async def test_a_poisoned_batch_is_split_while_others_pass(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    failure: Scripted,
    where: int,
) -> None:
    """
    The server fails whenever it sees one event: all others arrive, and that one is given up.
    """
    server.default = unless({IDS[where]}, failure)
    settlements: list[Settlement] = []
    exporter = await make_exporter(retry=PATIENT, on_outcome=settlements.append)
    push_all(exporter, *IDS[:300])

    await ended(exporter, server, clock, within=60.0)
    assert assert_balanced(exporter).delivered == 299
    # Others pass, now and then.
    for n in range(300, 500):
        if exporter.stats().dropped:
            break
        push_all(exporter, IDS[n])
        await pass_time(exporter, server, clock, 4.0)

    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.RETRIES_EXHAUSTED: 1}
    assert ids_of(settlements, Outcome.DROPPED) == [IDS[where]]
    assert stats.requests - stats.delivered <= 100
    assert not server.duplicates()


@pytest.mark.parametrize("slots", [1, 4])
async def test_the_mates_of_a_poisoned_event_arrive_on_a_quiet_day(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    slots: int,
) -> None:
    """
    With nothing else pushed, probes of other events show that it is one event that fails.
    """
    server.default = unless({"e33"}, status(500))
    exporter = await make_exporter(retry=PATIENT, max_in_flight=slots)
    push_all(exporter, *IDS[:100])

    await pass_time(exporter, server, clock, 120.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.dropped) == (99, 0)
    assert stats.queued + stats.in_flight == 1
    assert stats.requests <= 60


async def test_a_poisoned_event_alone_is_kept(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While nothing shows that others are taken, an event that fails looks like an outage: it stays.
    """
    server.default = unless({"e0"}, status(500))
    exporter = await make_exporter(retry=PATIENT)
    push_all(exporter, "e0")

    await pass_time(exporter, server, clock, 300.0)

    stats = assert_balanced(exporter)
    assert (stats.queued, stats.dropped, stats.health) == (1, 0, "retrying")
    assert stats.requests <= 20


@pytest.mark.parametrize("slots", [1, 4])
async def test_several_poisoned_batches_let_others_pass(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    slots: int,
) -> None:
    """
    Though each slot holds a batch that fails, those behind them pass soon, and the good in them.
    """
    bad = {"e0", "e10", "e20", "e30"}
    server.default = unless(bad, status(500))
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        batch=BatchLimits(max_events=10),
        retry=PATIENT,
        max_in_flight=slots,
        on_outcome=settlements.append,
    )
    push_all(exporter, *IDS[:100])

    await pass_time(exporter, server, clock, 60.0)
    assert {f"e{n}" for n in range(40, 100)} <= set(server.created_ids)
    await pass_time(exporter, server, clock, 420.0)

    stats = assert_balanced(exporter)
    assert stats.delivered == 96
    assert set(ids_of(settlements, Outcome.DROPPED)) <= bad
    assert stats.requests <= 200


# Refused as if it were us.


@in_both_dialects
@pytest.mark.parametrize("code", [403, 404, 418])
async def test_a_firewall_that_dislikes_one_event_costs_that_one(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    An event for which everything around it is refused ends rejected; after a few episodes.
    """
    server.default = unless({"e123"}, status(code))
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *IDS[:300])

    await pass_time(exporter, server, clock, 60.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected, stats.queued, stats.health) == (299, 1, 0, "ok")
    assert [s for s in settlements if s.outcome is Outcome.REJECTED] == [
        Settlement(outcome=Outcome.REJECTED, reason=None, event_ids=("e123",), status=code)
    ]
    assert count_errors(caplog) <= 3
    assert stats.requests <= 40
    assert not server.duplicates()


async def test_a_firewall_is_found_out_in_slow_traffic(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    With an event every few seconds the one that is refused ends rejected, and holds up no other.
    """
    server.default = unless({"e3"}, status(403))
    exporter = await make_exporter()
    for event_id in IDS[:20]:
        push_all(exporter, event_id)
        await pass_time(exporter, server, clock, 6.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected, stats.health) == (19, 1, "ok")
    assert count_errors(caplog) <= 3


@in_both_dialects
@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_key_rejects_nothing(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    A key that is refused from one moment on costs no event, and is said once.
    """
    exporter = await make_exporter()
    push_all(exporter, *IDS[:100])
    await exporter.flush()
    server.default = status(code)

    for n in range(100, 500, 10):
        push_all(exporter, *IDS[n : n + 10])
        await pass_time(exporter, server, clock, 4.0)
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.rejected, stats.dropped) == (400, 0, 0)
    assert stats.requests <= 15
    assert count_errors(caplog) == 1

    server.default = created()
    assert (await exporter.flush()).delivered == 400
    assert sorted(server.created_ids) == sorted(IDS[:500])


async def test_a_key_that_works_every_other_time_rejects_nothing(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    401 is never about an event, though others are taken in between.
    """
    for n in range(40):
        server.script(status(401) if n % 2 == 0 else created())
    exporter = await make_exporter(batch=BatchLimits(max_events=10))
    push_all(exporter, *IDS[:100])

    result = await ended(exporter, server, clock, within=300.0)

    assert result == FlushResult(delivered=100, rejected=0, dropped=0, left=0)


PROXIES: list[Callable[[ScriptedServer], Scripted]] = [
    lambda server: redirect(f"{server.url}/elsewhere"),
    lambda server: redirect(f"{server.url}/elsewhere", 303),
    lambda _: html(200),
    lambda _: html(403),
    lambda _: created_html(),
]


@pytest.mark.parametrize("answer", PROXIES, ids=["307", "303", "page", "403 page", "stored"])
async def test_the_key_follows_nobody(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    answer: Callable[[ScriptedServer], Scripted],
) -> None:
    """
    Where something else answers in the server's place the events wait, and the key goes nowhere.
    """
    server.default = answer(server)
    push_all(exporter, *IDS[:10])
    await pass_time(exporter, server, clock, 20.0)

    assert {request.path for request in server.requests} == {"/events/model/batch"}
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    stats = assert_balanced(exporter)
    assert (stats.queued, stats.health) == (10, "suspended")
    server.default = created()
    assert (await exporter.flush()).delivered == 10


async def test_an_open_breaker_can_become_a_suspension(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A server that comes back from an outage and refuses the key is an episode of its own.
    """
    server.default = unavailable()
    push_all(exporter, "e0")
    await pass_time(exporter, server, clock, 20.0)
    assert exporter.stats().health == "retrying"

    server.default = status(401)
    await pass_time(exporter, server, clock, 60.0)
    await quiet(exporter, server)

    assert exporter.stats().health == "suspended"
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


async def test_refused_batches_are_split_one_after_the_other(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Where nothing is taken each waits for its turn, and has it once the one before is over.
    """
    server.default = status(400)
    exporter = await make_exporter(batch=BatchLimits(max_events=2))
    push_all(exporter, *IDS[:4])

    assert await exporter.flush() == FlushResult(delivered=0, rejected=4, dropped=0, left=0)


async def test_an_outage_casts_no_doubt_on_the_events_in_it(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    The first answer that refuses us suspends, whatever failed before and was taken since.
    """
    server.default = unavailable()
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "old")
    await pass_time(exporter, server, clock, 60.0)
    server.default = unless(["old"], status(403))
    push_all(exporter, "new")
    await pass_time(exporter, server, clock, 60.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected, stats.queued) == (1, 0, 1)
    assert stats.health == "suspended"


async def test_a_lone_event_is_doubted_from_its_first_refusal(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Though nothing was taken before: one other that is, and the next refusal is its own.
    """
    server.default = unless(["bad"], status(403))
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "bad")
    await until(lambda: exporter.stats().health == "suspended")
    push_all(exporter, "good")
    await pass_time(exporter, server, clock, 60.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected) == (1, 1)
    assert count_errors(caplog) == 1


async def test_an_event_is_not_doubted_while_none_is_taken(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An answer about another event ends no suspension, and does not show that events are taken.
    """
    server.default = lambda request: status(
        413 if request.events[0]["event_id"] == "large" else 403
    )
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "e0")
    await until(lambda: exporter.stats().health == "suspended")
    push_all(exporter, "large")
    await pass_time(exporter, server, clock, 60.0)

    stats = assert_balanced(exporter)
    assert (stats.rejected, stats.dropped, stats.queued) == (0, 0, 2)
    assert stats.health == "suspended"


async def test_a_server_that_begins_to_refuse_everything_costs_five_events_too(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    What it took before says nothing of what it takes now.
    """
    exporter = await make_exporter()
    push_all(exporter, "before")
    await exporter.flush()
    server.default = status(400)
    push_all(exporter, *IDS[:400])

    assert await exporter.flush() == FlushResult(delivered=0, rejected=5, dropped=0, left=395)
    assert len(server.requests) <= 30, "one batch is split at a time"


async def test_the_time_of_trying_adds_up_across_outages(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event that fails beside others that are taken has max_elapsed in all, not each time.
    """
    server.default = unless(["bad"], unavailable())
    retry = RetryPolicy(wait=lambda _: 4.0, max_elapsed=18.0)
    exporter = await make_exporter(batch=BatchLimits(max_events=1), retry=retry)
    push_all(exporter, "bad")
    await pass_time(exporter, server, clock, 60.0)
    assert assert_balanced(exporter).queued == 1, "nothing else shows that the server takes any"
    push_all(exporter, "good")
    await pass_time(exporter, server, clock, 60.0)

    stats = assert_balanced(exporter)
    assert stats.delivered == 1
    assert stats.dropped_by_reason == {DropReason.RETRIES_EXHAUSTED: 1}


async def test_an_event_that_is_too_large_by_itself_shrinks_no_later_batch(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A 413 that turns out to be for one event says nothing of how large bodies may be.
    """
    server.default = unless(["e3"], status(413))
    exporter = await make_exporter(batch=BatchLimits(max_events=100))
    push_all(exporter, *IDS[:8])
    await exporter.flush()
    before = len(server.requests)
    push_all(exporter, *IDS[100:400])
    await exporter.flush()

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.TOO_LARGE: 1}
    assert [len(request.events) for request in server.requests[before:]] == [100] * 3


async def test_a_run_of_bad_events_holds_up_no_good_ones(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Though the first five of them suspend, the newest event probes, and proves it was them.
    """
    server.default = unless(IDS[:12], status(400))
    exporter = await make_exporter()
    push_all(exporter, *IDS[:12])
    for event_id in IDS[100:140]:
        await pass_time(exporter, server, clock, 0.5)
        push_all(exporter, event_id)
    await pass_time(exporter, server, clock, 5.0)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected, stats.health) == (40, 12, "ok")


async def test_a_text_that_is_refused_now_and_then_holds_up_no_other(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Every eleventh event is refused like a key, the first among them; the others arrive.
    """
    bad = IDS[:400:11]
    server.default = unless(bad, status(403))
    exporter = await make_exporter()
    for event_id in IDS[:400]:
        push_all(exporter, event_id)
        await clock.advance(0.1)
    await pass_time(exporter, server, clock, 300.0)

    stats = assert_balanced(exporter)
    assert stats.delivered == 400 - len(bad)
    assert stats.rejected + stats.queued == len(bad)
