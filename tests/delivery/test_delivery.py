"""
What follows from each answer: what is settled, what is sent again, and what never is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from math import ceil, log2
from typing import Any

import pytest
from attrs import evolve

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    FlushResult,
    Outcome,
    RetryPolicy,
    Settlement,
)
from hh_exporter._delivery.breaker import SETBACKS_IN_A_ROW
from tests.conftest import MakeExporter, in_both_dialects
from tests.scripted_server import (
    Answer,
    Event,
    Manner,
    Request,
    Scripted,
    ScriptedServer,
    created,
    created_broken_body,
    created_cut_short,
    created_listing,
    created_without_body,
    foreign_ids,
    hang,
    html,
    limit_bytes,
    partly,
    refuse_if,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
    truncated_headers,
    unavailable,
)
from tests.support import (
    EPOCH,
    FakeClock,
    assert_balanced,
    attempts_failed,
    delivered,
    flushed,
    ids_of,
    model_event,
    push_all,
    until,
)

IDS = [f"e{i}" for i in range(8)]
BACKOFF = 0.5
"""The delay after a first attempt, with jitter at its upper bound."""


def is_one_of(*event_ids: str) -> Callable[[Event], bool]:
    return lambda event: event["event_id"] in event_ids


def created_but(**changes: Any) -> Scripted:
    """
    Store all events and answer as `created` does, but for *changes*.
    """

    def answer(request: Request) -> Answer:
        found: Scripted = created()
        while not isinstance(found, Answer):
            found = found(request)
        return evolve(found, **changes)

    return answer


def sent_ids(server: ScriptedServer) -> list[list[str]]:
    """
    List the ids in each request.
    """
    return [[event["event_id"] for event in request.events] for request in server.requests]


# Accepted.


@in_both_dialects
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(created(), id="all ids"),
        pytest.param(created_without_body(), id="no body"),
        pytest.param(created_broken_body(), id="broken json"),
        pytest.param(created_cut_short(), id="cut short"),
        pytest.param(created_listing(IDS[:2]), id="too few ids"),
        pytest.param(created_listing([]), id="no ids"),
        pytest.param(created_listing(["another"]), id="foreign ids"),
        pytest.param(created_but(status=202), id="202"),
        pytest.param(created_but(body=b"[1]"), id="no object"),
        pytest.param(created_but(body=b'{"errors": []}'), id="an empty list of errors"),
    ],
)
async def test_a_2xx_delivers_all(
    exporter: Exporter, server: ScriptedServer, answer: Scripted
) -> None:
    """
    A 2xx without errors delivers the whole batch, whatever its body looks like.
    """
    server.script(answer)
    push_all(exporter, *IDS)

    result = await exporter.flush()

    assert result == FlushResult(delivered=8, rejected=0, dropped=0, left=0)
    assert sent_ids(server) == [IDS]
    assert server.created_ids == IDS


async def test_batches_share_connections(exporter: Exporter, server: ScriptedServer) -> None:
    """
    Batches that follow each other go over one connection.
    """
    for event_id in IDS:
        push_all(exporter, event_id)
        await exporter.flush()

    assert len(server.requests) == 8
    assert server.connections == 1


# Partly created.


@in_both_dialects
@pytest.mark.parametrize("code", [200, 207, 400, 500])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize(
    "bad", [("e3",), ("e0", "e7"), tuple(IDS[:-1])], ids=["one bad", "two bad", "one good"]
)
async def test_a_bad_event_is_rejected_beside_good_ones(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    code: int,
    shuffle: bool,
    bad: tuple[str, ...],
    clock: FakeClock,
) -> None:
    """
    Of a partly created batch the bad events end rejected and the good ones delivered, once.

    A bad event is last sent alone, and never alone twice after it had failed there.
    """
    server.default = partly(is_one_of(*bad), shuffle=shuffle, status=code)
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *IDS)

    result = await flushed(exporter, clock)

    good = [i for i in IDS if i not in bad]
    assert result == FlushResult(delivered=len(good), rejected=len(bad), dropped=0, left=0)
    assert sorted(ids_of(settlements, Outcome.DELIVERED)) == good
    assert sorted(ids_of(settlements, Outcome.REJECTED)) == sorted(bad)
    assert {s.status for s in settlements if s.outcome is Outcome.REJECTED} == {code}
    assert sorted(server.created_ids) == good
    later = [event_id for ids in sent_ids(server)[1:] for event_id in ids]
    assert set(later) == set(bad), "what was created is never sent again"
    assert sorted(ids for ids in sent_ids(server) if len(ids) == 1) == [[i] for i in bad]
    assert not assert_balanced(exporter).retries


@in_both_dialects
async def test_a_lone_bad_event_gets_a_second_chance(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A single event that the server could not create is sent once more after a backoff.
    """
    server.script(partly(is_one_of("e0")))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)

    await clock.advance(BACKOFF - 0.01)
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)
    result = await flush

    assert result == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    assert sent_ids(server) == [["e0"], ["e0"]]


@in_both_dialects
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
async def test_what_is_missing_without_an_error_is_retried(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, shuffle: bool
) -> None:
    """
    A partly created batch without errors backs off, then sends only what is missing.
    """
    server.script(partly(is_one_of("e2", "e5"), shuffle=shuffle, errors=False))
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    assert assert_balanced(exporter).delivered == 6

    await clock.advance(BACKOFF)

    assert await flush == FlushResult(delivered=8, rejected=0, dropped=0, left=0)
    assert sent_ids(server) == [IDS, ["e2", "e5"]]
    assert assert_balanced(exporter).retries == 1


async def test_parts_shrink_with_each_partial_success(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Each attempt of a retried batch sends what is missing after all attempts before.
    """
    server.script(
        partly(is_one_of("e1", "e2", "e3"), errors=False),
        partly(is_one_of("e3"), errors=False),
    )
    push_all(exporter, "e0", "e1", "e2", "e3")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)
    await attempts_failed(exporter, 2)
    await clock.advance(2 * BACKOFF)

    assert (await flush).delivered == 4
    assert sent_ids(server) == [["e0", "e1", "e2", "e3"], ["e1", "e2", "e3"], ["e3"]]
    assert not server.duplicates()


# Ambiguous.


AMBIGUOUS = [
    pytest.param(foreign_ids(500), id="500 and foreign ids"),
    pytest.param(foreign_ids(200), id="200, errors and foreign ids"),
    pytest.param(foreign_ids(400), id="400 and foreign ids"),
    pytest.param(status(200, b'{"errors": ["one failed"]}'), id="200, errors and no ids"),
]


@in_both_dialects
@pytest.mark.parametrize("answer", AMBIGUOUS)
async def test_an_ambiguous_answer_is_final(
    make_exporter: MakeExporter, server: ScriptedServer, answer: Scripted
) -> None:
    """
    What may have been created under other ids is rejected, and sent once.
    """
    server.script(answer)
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *IDS[:SETBACKS_IN_A_ROW])

    result = await exporter.flush()

    assert result == FlushResult(delivered=0, rejected=SETBACKS_IN_A_ROW, dropped=0, left=0)
    assert ids_of(settlements, Outcome.REJECTED) == IDS[:SETBACKS_IN_A_ROW]
    assert len(server.requests) == 1
    assert not server.duplicates()


@in_both_dialects
@pytest.mark.parametrize("answer", AMBIGUOUS)
async def test_an_ambiguous_answer_is_retried_on_demand(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, answer: Scripted
) -> None:
    """
    With on_ambiguous="resend" the batch goes out again under the same ids, after a backoff.
    """
    server.script(answer)
    exporter = await make_exporter(on_ambiguous="resend")
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    assert await flush == FlushResult(delivered=8, rejected=0, dropped=0, left=0)
    assert sent_ids(server) == [IDS, IDS]


# Refused for what a batch holds.


def refuse(code: int, bad: Callable[[Event], bool]) -> Scripted:
    refusal = status(code, b'{"message":"no"}')
    return lambda request: refusal if any(map(bad, request.events)) else created()


@in_both_dialects
@pytest.mark.parametrize("code", [400, 422])
@pytest.mark.parametrize("where", [0, 41, 99])
async def test_a_poisoned_batch_is_split_until_the_bad_event_is_alone(
    make_exporter: MakeExporter, server: ScriptedServer, code: int, where: int
) -> None:
    """
    One bad event among a hundred is found in a logarithmic number of requests, no two alike.
    """
    ids = [f"e{i}" for i in range(100)]
    server.default = refuse(code, is_one_of(ids[where]))
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *ids)

    result = await exporter.flush()

    assert result == FlushResult(delivered=99, rejected=1, dropped=0, left=0)
    assert ids_of(settlements, Outcome.REJECTED) == [ids[where]]
    assert sorted(server.created_ids) == sorted(set(ids) - {ids[where]})
    bodies = [request.body for request in server.requests]
    assert len(bodies) <= 1 + 2 * ceil(log2(100))
    assert len(set(bodies)) == len(bodies), "a body that was refused is never sent again"


async def test_every_bad_event_is_found(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Several bad events in one batch are all rejected, and nothing else is.
    """
    bad = ["e1", "e2", "e7"]
    server.default = refuse_if(is_one_of(*bad))
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, *IDS)

    result = await exporter.flush()

    assert result == FlushResult(delivered=5, rejected=3, dropped=0, left=0)
    assert ids_of(settlements, Outcome.REJECTED) == bad
    assert sorted(server.created_ids) == sorted(set(IDS) - set(bad))
    bodies = [request.body for request in server.requests]
    assert len(set(bodies)) == len(bodies)


async def test_a_half_that_fails_in_passing_is_retried_by_itself(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    After a split, a retry repeats the half that failed, not the whole.
    """
    server.script(status(400), unavailable())
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 2)
    await clock.advance(BACKOFF)

    assert (await flush).delivered == 8
    assert sent_ids(server) == [IDS, IDS[:4], IDS[:4], IDS[4:]]


async def test_a_body_that_is_too_large_is_split_and_later_ones_stay_below(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    After a 413 the batch goes out in parts, and later batches fit from the start.
    """
    server.default = limit_bytes(10_000)
    exporter = await make_exporter(max_in_flight=1)
    ids = [f"e{i}" for i in range(50)]
    push_all(exporter, *ids, error="x" * 500)
    await exporter.flush()
    before = len(server.requests)
    push_all(exporter, *(f"late{i}" for i in range(50)), error="x" * 500)

    result = await exporter.flush()

    assert result == FlushResult(delivered=50, rejected=0, dropped=0, left=0)
    assert sorted(server.created_ids[:50]) == sorted(ids)
    assert len(server.requests[0].body) > 10_000
    assert all(len(request.body) <= 10_000 for request in server.requests[before:])
    assert not server.duplicates()


async def test_a_batch_that_was_open_at_a_413_stays_below_too(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Events that wait for company when the server names its limit keep to it as well.
    """
    server.default = limit_bytes(20_000)
    exporter = await make_exporter(batch=BatchLimits(max_events=100))
    push_all(exporter, *(f"full{i}" for i in range(100)), error="x" * 500)
    push_all(exporter, *(f"open{i}" for i in range(50)), error="x" * 500)
    await until(lambda: exporter.stats().delivered >= 100)
    before = len(server.requests)

    await clock.advance(1.0)
    await delivered(exporter, 150)

    assert all(len(request.body) <= 20_000 for request in server.requests[before:])


@in_both_dialects
async def test_an_event_that_is_too_large_is_dropped_alone(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    An event that the server finds too large by itself is dropped as too_large, beside no other.
    """
    server.default = limit_bytes(2_000)
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    push_all(exporter, "e0", "e1")
    push_all(exporter, "large", error="x" * 3_000)
    push_all(exporter, "e2", "e3")

    result = await exporter.flush()

    assert result == FlushResult(delivered=4, rejected=0, dropped=1, left=0)
    assert ids_of(settlements, Outcome.DROPPED) == ["large"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.TOO_LARGE: 1}
    bodies = [request.body for request in server.requests]
    assert len(set(bodies)) == len(bodies)


# Failed in passing.


@in_both_dialects
@pytest.mark.parametrize(
    "failure",
    [
        *(pytest.param(status(code), id=str(code)) for code in (408, 425, 429, 500, 503, 504)),
        pytest.param(html(502), id="page of a proxy"),
        pytest.param(status(500, b'{"event_ids": []}'), id="500 and no ids"),
        pytest.param(status(503, b'{"event_ids": [], "errors": ["busy"]}'), id="503 with errors"),
        pytest.param(evolve(status(500, b"{}"), manner=Manner.CUT_SHORT), id="500 cut short"),
        pytest.param(reset_before_storing(), id="reset before storing"),
        pytest.param(reset_after_storing(), id="reset after storing"),
        pytest.param(truncated_headers(), id="headers cut short"),
    ],
)
async def test_a_passing_failure_is_retried_under_the_same_ids(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, failure: Scripted
) -> None:
    """
    What failed in passing leaves again as it was, after its backoff and not before.
    """
    server.script(failure)
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)

    await clock.advance(BACKOFF - 0.01)
    assert assert_balanced(exporter).in_flight == 8
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)

    assert await flush == FlushResult(delivered=8, rejected=0, dropped=0, left=0)
    first, second = server.requests
    assert first.body == second.body
    assert set(server.created_ids) == set(IDS)
    stats = assert_balanced(exporter)
    assert (stats.requests, stats.retries) == (2, 1)


async def test_backoff_grows_by_the_policy(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Delays grow by `factor` from `base` up to `max_delay`, each with the jitter that was drawn.
    """
    server.default = unavailable()
    draws = iter([1.0, 0.5, 1.0, 1.0])
    exporter = await make_exporter(
        retry=RetryPolicy(base=1.0, factor=3.0, max_delay=8.0), _random=lambda: next(draws)
    )
    push_all(exporter, "e0")
    await clock.advance(1.0)

    for attempt, delay in enumerate([1.0, 1.5, 8.0, 8.0], start=1):
        await attempts_failed(exporter, attempt)
        await clock.advance(delay - 0.01)
        assert assert_balanced(exporter).requests == attempt
        if attempt < 4:
            await clock.advance(0.01)


async def test_a_wait_of_tenacity_replaces_the_policys_own(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A `wait` of the user's decides about the delay, by the number of the attempt.
    """
    server.script(unavailable(), unavailable())
    exporter = await make_exporter(retry=RetryPolicy(wait=lambda state: 7.0 * state.attempt_number))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())

    for attempt in (1, 2):
        await attempts_failed(exporter, attempt)
        await clock.advance(7.0 * attempt - 0.01)
        assert assert_balanced(exporter).requests == attempt
        await clock.advance(0.01)

    assert (await flush).delivered == 1


async def test_a_silent_server_costs_the_request_timeout(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A request without an answer is given up after `request_timeout`, then retried.
    """
    server.script(hang())
    exporter = await make_exporter(request_timeout=3.0)
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await server.next_request()

    await clock.advance(2.99)
    assert assert_balanced(exporter).health == "ok"
    await clock.advance(0.01)
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    assert (await flush).delivered == 1
    assert sent_ids(server) == [["e0"], ["e0"]]


async def test_a_lost_answer_duplicates_under_the_same_id_only(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event whose answer was lost may be stored twice, but both copies bear its id.
    """
    server.script(reset_after_storing())
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    assert (await flush).delivered == 1
    assert server.created_ids == ["e0", "e0"]


async def test_an_id_made_by_push_survives_a_retry(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event without an id gets one at push, and is retried under it.
    """
    server.script(reset_after_storing())
    exporter.push(model_event())
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)
    await flush

    first, second = server.created_ids
    assert first == second


async def test_a_server_that_comes_back_gets_everything(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While nobody listens events are retried, and delivered after the server's restart.
    """
    await server.stop()
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)
    await attempts_failed(exporter, 2)
    await server.restart()
    await clock.advance(2 * BACKOFF)

    assert await flush == FlushResult(delivered=8, rejected=0, dropped=0, left=0)
    assert server.created_ids == IDS


async def test_only_max_elapsed_exhausts_retries(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event is dropped as retries_exhausted once its next attempt would be past max_elapsed.
    """
    server.default = unavailable()
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        retry=RetryPolicy(base=1.0, factor=2.0, max_elapsed=10.0), on_outcome=settlements.append
    )
    push_all(exporter, *IDS)
    flush = asyncio.create_task(exporter.flush())
    for attempt, delay in enumerate([1.0, 2.0, 4.0], start=1):
        await attempts_failed(exporter, attempt)
        assert not settlements
        await clock.advance(delay)

    # The fourth attempt fails after 7 s; the next would begin after 15.
    assert await flush == FlushResult(delivered=0, rejected=0, dropped=8, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.RETRIES_EXHAUSTED: 8}
    assert [s.event_ids for s in settlements] == [tuple(IDS)]
    assert settlements[0].status == 503
    assert len(server.requests) == 4


# Retry-After.


RETRY_AFTER = [
    pytest.param(unavailable(7), id="503, seconds"),
    pytest.param(too_many(7), id="429, seconds"),
    # 1 s of linger has passed when the answer comes.
    pytest.param(too_many(formatdate(EPOCH + 8, usegmt=True)), id="429, date"),
]


@pytest.mark.parametrize("answer", RETRY_AFTER)
async def test_retry_after_holds_all_sending(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, answer: Scripted
) -> None:
    """
    A Retry-After is a floor under the backoff, for the batch it answers and for all others.
    """
    server.script(answer)
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await attempts_failed(exporter, 1)
    push_all(exporter, *(f"full{i}" for i in range(100)))

    await clock.advance(7.0 + BACKOFF - 0.01)
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)
    await server.requests_seen(3)

    assert sorted(map(len, sent_ids(server))) == [1, 1, 100]


async def test_retry_after_holds_a_batch_that_backs_off(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A batch whose own backoff ends while the server wants silence waits with the others.
    """
    caplog.set_level(logging.DEBUG, "hh_exporter")
    server.script(unavailable(), too_many(60))
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "e0", "e1")
    await until(lambda: caplog.text.count("attempt 1: HTTP") == 2)

    await clock.advance(60.0 + BACKOFF - 0.01)
    assert assert_balanced(exporter).requests == 2
    await clock.advance(0.01)

    assert (await exporter.flush()).left == 0
    assert sorted(server.created_ids) == ["e0", "e1"]


async def test_a_held_exporter_says_that_it_retries(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While the server wants silence the health is retrying, to the end of the silence.
    """
    server.script(too_many(60))
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await attempts_failed(exporter, 1)

    await clock.advance(30.0)

    assert exporter.stats().health == "retrying"


async def test_retry_after_is_believed_up_to_its_cap(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A Retry-After beyond retry_after_cap counts as the cap.
    """
    server.script(too_many(10**9))
    exporter = await make_exporter(retry=RetryPolicy(retry_after_cap=20.0))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)

    await clock.advance(20.0 + BACKOFF - 0.01)
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)

    assert (await flush).delivered == 1


async def test_retry_after_does_not_eat_max_elapsed(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Time in which the server wanted silence does not count as time of trying.
    """
    server.script(too_many(100), too_many(100))
    exporter = await make_exporter(retry=RetryPolicy(max_elapsed=3.0))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(100.0 + BACKOFF)
    await attempts_failed(exporter, 2)
    await clock.advance(100.0 + 2 * BACKOFF)

    assert await flush == FlushResult(delivered=1, rejected=0, dropped=0, left=0)


@pytest.mark.parametrize("value", ["soon", "-5", "", "Fri, 13 Jun 1980 12:00:00 GMT"])
async def test_a_retry_after_that_says_nothing_holds_nothing(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, value: str
) -> None:
    """
    A Retry-After that is unreadable or in the past leaves the backoff as it is.
    """
    server.script(unavailable(value))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush())
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    assert (await flush).delivered == 1


# Faults of our own.


async def test_a_fault_of_our_own_drops_the_batch_and_nothing_else(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A delivery that fails of a bug settles its events as internal_error, and the worker goes on.
    """
    server.script(unavailable())
    settlements: list[Settlement] = []
    words = "what was being looked at"

    def broken_jitter() -> float:
        raise LookupError(words)

    exporter = await make_exporter(on_outcome=settlements.append, _random=broken_jitter)
    push_all(exporter, *IDS)
    broken = await exporter.flush()
    push_all(exporter, "next")
    whole = await exporter.flush()

    assert broken == FlushResult(delivered=0, rejected=0, dropped=8, left=0)
    assert whole == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.INTERNAL_ERROR: 8}
    [error] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "LookupError" in error
    assert "broken_jitter" in error, "the traceback is there"
    assert words not in caplog.text


# Compressed.


def encodings(server: ScriptedServer) -> list[str | None]:
    return [request.headers.get("content-encoding") for request in server.requests]


def unless_gzip(refusal: Scripted) -> Scripted:
    """
    Answer *refusal* to whatever is compressed; else store it.
    """
    return lambda request: refusal if "content-encoding" in request.headers else created()


def no_gzip_said(caplog: pytest.LogCaptureFixture) -> int:
    return sum("takes no gzip" in record.getMessage() for record in caplog.records)


@in_both_dialects
@pytest.mark.parametrize("size", [10, 30_000], ids=["small", "large"])
async def test_bodies_are_compressed_on_demand(
    make_exporter: MakeExporter, server: ScriptedServer, size: int
) -> None:
    """
    With compression="gzip" each body says so and is smaller; a single event's too.
    """
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, *IDS, error="x" * size)

    assert (await exporter.flush()).delivered == 8
    assert await exporter.create_model_event(model_event(event_id="now")) == "now"

    assert encodings(server) == ["gzip", "gzip"]
    assert server.created_ids == [*IDS, "now"]
    assert len(server.requests[0].body) < 8 * (size + 100)
    assert assert_balanced(exporter).retries == 0


async def test_a_retry_sends_the_same_compressed_bytes(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A body is compressed once, however often it is sent.
    """
    server.script(unavailable(), reset_before_storing())
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, *IDS)

    assert (await flushed(exporter, clock)).delivered == 8
    assert encodings(server) == ["gzip"] * 3
    assert len({request.body for request in server.requests}) == 1


async def test_what_is_missing_is_compressed_anew(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    After a partial success the rest goes out compressed too, without what was created.
    """
    server.script(partly(is_one_of("e2", "e5"), errors=False))
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, *IDS)

    assert (await flushed(exporter, clock)).delivered == 8
    assert sent_ids(server) == [IDS, ["e2", "e5"]]
    assert encodings(server) == ["gzip", "gzip"]


@in_both_dialects
@pytest.mark.parametrize("code", [415, 400])
async def test_a_server_without_gzip_is_found_out(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    A refused compressed body goes out once more as it is; later ones are never compressed.
    """
    server.default = unless_gzip(status(code))
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, *IDS[:4])
    assert (await exporter.flush()).delivered == 4
    push_all(exporter, *IDS[4:])
    assert (await exporter.flush()).delivered == 4
    await exporter.create_model_event(model_event(event_id="now"))

    assert encodings(server) == ["gzip", None, None, None]
    assert sent_ids(server) == [IDS[:4], IDS[:4], IDS[4:], ["now"]]
    assert no_gzip_said(caplog) == 1
    stats = assert_balanced(exporter)
    assert (stats.requests, stats.retries, stats.health) == (4, 1, "ok")


async def test_one_event_finds_out_too(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    create_model_event succeeds with a server that takes no gzip, and remembers it.
    """
    server.default = unless_gzip(status(415))
    exporter = await make_exporter(compression="gzip")

    assert await exporter.create_model_event(model_event(event_id="e0")) == "e0"
    push_all(exporter, "e1")
    await exporter.flush()

    assert encodings(server) == ["gzip", None, None]
    assert no_gzip_said(caplog) == 1


async def test_batches_that_find_out_together_say_it_once(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Several compressed bodies under way are refused each, and all arrive.
    """
    server.default = unless_gzip(status(415))
    exporter = await make_exporter(compression="gzip", batch=BatchLimits(max_events=1))
    push_all(exporter, *IDS)

    assert (await exporter.flush()).delivered == 8
    assert encodings(server).count("gzip") <= 4
    assert no_gzip_said(caplog) == 1
    assert not server.duplicates()


async def test_a_body_refused_either_way_is_split(
    make_exporter: MakeExporter, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A 400 that does not mind the gzip is about an event: that is found, and gzip stays on.
    """
    server.default = refuse(400, is_one_of("e3"))
    settlements: list[Settlement] = []
    exporter = await make_exporter(compression="gzip", on_outcome=settlements.append)
    push_all(exporter, *IDS)
    await exporter.flush()
    push_all(exporter, "later")

    assert (await exporter.flush()).delivered == 1
    assert ids_of(settlements, Outcome.REJECTED) == ["e3"]
    assert encodings(server)[:2] == ["gzip", None]
    assert encodings(server)[-1] == "gzip"
    assert not no_gzip_said(caplog)


async def test_a_server_known_to_take_gzip_refuses_events(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Once a compressed body was taken only the 400 of a lone event may be for the gzip.
    """
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, "first")
    await exporter.flush()
    server.default = refuse(400, is_one_of("e0"))
    push_all(exporter, *IDS)

    assert (await exporter.flush()).rejected == 1
    assert encodings(server).count(None) == 1
    assert sent_ids(server)[encodings(server).index(None)] == ["e0"]
    assert len({request.body for request in server.requests}) == len(server.requests)


@pytest.mark.parametrize(
    ("answer", "rejected"),
    [
        pytest.param(partly(is_one_of("e3"), status=400), 0, id="400, partly created"),
        pytest.param(partly(is_one_of("e3"), status=415), 0, id="415, partly created"),
        pytest.param(foreign_ids(400), SETBACKS_IN_A_ROW, id="400 and foreign ids"),
    ],
)
async def test_a_compressed_body_of_which_something_was_created_is_never_sent_whole_again(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    answer: Scripted,
    rejected: int,
) -> None:
    """
    A status that may be about the gzip is not, where events were created under it.
    """
    server.script(answer)
    exporter = await make_exporter(compression="gzip")
    push_all(exporter, *IDS[:SETBACKS_IN_A_ROW])

    result = await flushed(exporter, clock)

    assert (result.delivered, result.rejected) == (SETBACKS_IN_A_ROW - rejected, rejected)
    assert not server.duplicates()
