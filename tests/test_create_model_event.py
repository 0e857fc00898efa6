"""
One event, sent at once and by itself: the caller learns what became of it.
"""

from __future__ import annotations

import asyncio

import pytest

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    DropReason,
    Exporter,
    ExporterError,
    FlushResult,
    ModelEvent,
    Outcome,
    QueueLimits,
    RetryPolicy,
    Settlement,
)
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    created_cut_short,
    created_html,
    created_listing,
    created_without_body,
    foreign_ids,
    hang,
    hang_after_storing,
    limit_bytes,
    partly,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
    trickle,
    unavailable,
)
from tests.support import (
    FakeClock,
    assert_balanced,
    attempts_failed,
    delivered,
    model_event,
    push_all,
    settle,
    until,
)

BACKOFF = 0.5
"""The delay after a first attempt, with jitter at its upper bound."""


def send(
    exporter: Exporter, event_id: str = "e0", timeout: float | None = None
) -> asyncio.Task[str]:
    event = model_event(event_id=event_id)
    return asyncio.create_task(exporter.create_model_event(event, timeout))


async def fail(sending: asyncio.Task[str]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sending
    return caught.value


async def test_one_event_goes_out_at_once(exporter: Exporter, server: ScriptedServer) -> None:
    """
    The event is sent to the route for single events, without a linger, under its own id.
    """
    assert await send(exporter) == "e0"

    [request] = server.requests
    assert request.path == "/events/model"
    assert list(request.json) == ["model_event"]
    assert request.events[0]["event_id"] == "e0"
    stats = assert_balanced(exporter)
    assert (stats.pushed, stats.delivered, stats.requests) == (1, 1, 1)


@pytest.mark.parametrize(
    ("answer", "event_id"),
    [
        pytest.param(created_listing(["theirs"]), "theirs", id="the server's id"),
        pytest.param(created_without_body(), "e0", id="no body"),
        pytest.param(created_listing([]), "e0", id="no id"),
        pytest.param(created_cut_short(), "e0", id="cut short"),
        pytest.param(status(200, b'{"event_id": 7}'), "e0", id="an id that is none"),
    ],
)
async def test_the_servers_id_is_returned(
    exporter: Exporter, server: ScriptedServer, answer: Scripted, event_id: str
) -> None:
    """
    The id that the server gave counts; where it names none the event has the id it was sent under.
    """
    server.script(answer)

    assert await send(exporter) == event_id
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "code", "requests"),
    [
        pytest.param(status(400, b"your prompt"), 400, 1, id="400"),
        pytest.param(status(422, b"your prompt"), 422, 1, id="422"),
        pytest.param(foreign_ids(500), 500, 1, id="ambiguous"),
        pytest.param(partly(lambda _: True), 500, 2, id="failed twice"),
    ],
)
async def test_a_refused_event_is_rejected(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    answer: Scripted,
    code: int,
    requests: int,
) -> None:
    """
    An event that the server refuses raises DeliveryError without a reason, and is rejected.
    """
    server.default = answer
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)

    sending = asyncio.create_task(fail(send(exporter)))
    if requests > 1:
        await attempts_failed(exporter, 1)
        await clock.advance(BACKOFF)
    error = await sending

    assert (error.status, error.reason) == (code, None)
    assert "was rejected" in str(error)
    assert settlements == [
        Settlement(outcome=Outcome.REJECTED, reason=None, event_ids=("e0",), status=code)
    ]
    assert len(server.requests) == requests
    assert assert_balanced(exporter).rejected == 1


async def test_the_servers_words_are_kept_from_the_errors_text(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    What the server answered is in `body`, and in neither str() nor repr() of the error.
    """
    server.script(status(400, b"I dislike your prompt"))

    error = await fail(send(exporter))

    assert error.body == "I dislike your prompt"
    assert "HTTP 400" in str(error)
    assert "prompt" not in f"{error} {error!r} {error.args}"


async def test_an_event_that_failed_once_may_succeed(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    An event that the server could not create is sent once more, after a backoff.
    """
    server.script(partly(lambda _: True))
    sending = send(exporter)
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    assert await sending == "e0"
    assert server.created_ids == ["e0"]


@pytest.mark.parametrize(
    "failure",
    [
        unavailable(),
        status(429),
        reset_before_storing(),
        reset_after_storing(),
    ],
    ids=["503", "429", "reset before storing", "reset after storing"],
)
async def test_a_passing_failure_is_retried(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, failure: Scripted
) -> None:
    """
    What failed in passing is sent again under the same id, after a backoff.
    """
    server.script(failure)
    sending = send(exporter)
    await attempts_failed(exporter, 1)
    assert assert_balanced(exporter).in_flight == 1

    await clock.advance(BACKOFF - 0.01)
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)

    assert await sending == "e0"
    assert set(server.created_ids) == {"e0"}
    assert assert_balanced(exporter).retries == 1


@pytest.mark.parametrize(("timeout", "seconds"), [(2.0, 2.0), (None, 9.0)])
async def test_a_silent_server_costs_the_timeout(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    timeout: float | None,
    seconds: float,
) -> None:
    """
    Without an answer it raises at its timeout, three times request_timeout by default.
    """
    server.default = hang()
    exporter = await make_exporter(request_timeout=3.0)
    sending = send(exporter, timeout=timeout)
    await server.next_request()

    await clock.advance(seconds - 0.01)
    assert not sending.done()
    await clock.advance(0.01)

    error = await fail(sending)
    assert (error.status, error.body, error.reason) == (None, "", DropReason.SEND_FAILED)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SEND_FAILED: 1}


@pytest.mark.parametrize(
    ("answer", "retried"),
    [pytest.param(unavailable(), 1, id="backoff"), pytest.param(too_many(60), 0, id="Retry-After")],
)
async def test_it_gives_up_where_no_attempt_comes_in_time(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, answer: Scripted, retried: int
) -> None:
    """
    It raises as soon as the next attempt would be past its timeout, without sitting it out.
    """
    server.default = answer
    sending = send(exporter, timeout=1.0)
    for attempt in range(retried):
        await attempts_failed(exporter, attempt + 1)
        await clock.advance(BACKOFF)
    await until(sending.done)

    error = await fail(sending)

    assert error.reason is DropReason.SEND_FAILED
    assert clock.now() == retried * BACKOFF
    assert len(server.requests) == retried + 1


@pytest.mark.parametrize(
    ("refusal", "setting"),
    [
        pytest.param(status(401), "HH_API_KEY", id="401"),
        pytest.param(status(404), "HH_API_URL", id="404"),
        pytest.param(created_html(), "HH_API_URL", id="page"),
    ],
)
async def test_a_suspending_answer_fails_at_once(
    exporter: Exporter, server: ScriptedServer, refusal: Scripted, setting: str
) -> None:
    """
    A server that refuses the exporter fails the call, and the error names the setting to check.
    """
    server.script(refusal)

    error = await fail(send(exporter))

    assert setting in str(error)
    assert error.reason is DropReason.SEND_FAILED
    assert len(server.requests) == 1
    assert assert_balanced(exporter).health == "suspended"


async def test_it_serves_as_a_probe(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It is sent while the exporter is suspended too, and if it is taken all others follow.
    """
    server.script(status(401))
    exporter = await make_exporter()
    push_all(exporter, "queued")
    assert (await exporter.flush()).left == 1

    assert await send(exporter) == "e0"

    await delivered(exporter, 2)
    assert server.created_ids == ["e0", "queued"]
    assert clock.now() == 0.0


async def test_the_servers_limit_drops_it(exporter: Exporter, server: ScriptedServer) -> None:
    """
    An event that is too large for the server raises, and is sent once.
    """
    server.default = limit_bytes(10)

    error = await fail(send(exporter))

    assert (error.status, error.reason) == (413, DropReason.SEND_FAILED)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        pytest.param(model_event(cost="secret"), DropReason.INVALID, "cost: must be", id="invalid"),
        pytest.param("secret", DropReason.INVALID, "not a str", id="no event"),
        pytest.param(
            model_event(error="x" * 5_000_000), DropReason.TOO_LARGE, "exceed", id="too large"
        ),
    ],
)
async def test_an_event_that_can_not_be_sent_raises(
    exporter: Exporter, server: ScriptedServer, event: ModelEvent, reason: DropReason, words: str
) -> None:
    """
    An event that has no wire form raises with its reason and what is wrong, never the value.
    """
    with pytest.raises(DeliveryError, match=words) as caught:
        await exporter.create_model_event(event)

    assert caught.value.reason is reason
    assert "secret" not in str(caught.value)
    assert assert_balanced(exporter).dropped_by_reason == {reason: 1}
    assert not server.requests


async def test_a_disabled_exporter_sends_nothing(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    Where the exporter is disabled it raises, and the event is counted.
    """
    exporter = build_exporter(disabled=True)

    error = await fail(send(exporter))

    assert error.reason is DropReason.DISABLED
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.DISABLED: 1}
    assert not server.connections


async def test_a_closed_exporter_raises_and_counts_nothing(exporter: Exporter) -> None:
    """
    After aclose it raises ExporterError, and the event is in no book.
    """
    await exporter.aclose()

    with pytest.raises(ExporterError, match="start") as caught:
        await exporter.create_model_event(model_event())

    assert not isinstance(caught.value, DeliveryError)
    assert assert_balanced(exporter).pushed == 0


async def test_a_cancelled_call_counts_as_failed(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    A call that is cancelled while it waits for the answer drops its event as send_failed.
    """
    server.script(hang_after_storing())
    sending = send(exporter)
    await server.next_request()
    assert assert_balanced(exporter).in_flight == 1

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SEND_FAILED: 1}


async def test_it_goes_past_the_queue(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    Neither a full queue nor busy slots keep it waiting.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        batch=BatchLimits(max_events=1), queue=QueueLimits(max_events=2), max_in_flight=1
    )
    push_all(exporter, "out", "queued")
    await server.requests_seen(1)

    assert await send(exporter) == "e0"
    assert assert_balanced(exporter).queued == 1


async def test_a_close_waits_for_it(exporter: Exporter, server: ScriptedServer) -> None:
    """
    aclose counts a call that is under way, and leaves it the time that it has itself.
    """
    server.script(hang_after_storing())
    sending = send(exporter)
    await server.next_request()
    close = asyncio.create_task(exporter.aclose())
    server.release()

    assert await close == FlushResult(delivered=1, rejected=0, dropped=0, left=0)
    assert await sending == "e0"


async def test_a_close_cuts_it_off_at_its_deadline(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A call that is still under way at the deadline of aclose raises, and nothing is left.
    """
    server.default = hang()
    sending = send(exporter)
    await server.next_request()
    close = asyncio.create_task(exporter.aclose(1.0))
    await clock.advance(1.0)

    assert await close == FlushResult(delivered=0, rejected=0, dropped=1, left=0)
    assert (await fail(sending)).reason is DropReason.SEND_FAILED


async def test_a_close_cuts_it_off_in_a_silence_too(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A call that keeps to a Retry-After beyond the deadline of aclose raises, and nothing is left.
    """
    server.default = too_many(60)
    sending = send(exporter, timeout=100.0)
    await attempts_failed(exporter, 1)
    await clock.advance(BACKOFF)

    result = await exporter.aclose(1.0)

    assert result == FlushResult(delivered=0, rejected=0, dropped=1, left=0)
    assert (await fail(sending)).reason is DropReason.SEND_FAILED


async def test_its_time_runs_before_the_first_start_too(
    build_exporter: BuildExporter, server: ScriptedServer
) -> None:
    """
    A timeout that is over before the worker first serves raises, and the event is counted.
    """
    exporter = build_exporter()

    error = await fail(send(exporter, timeout=0.0))

    assert error.reason is DropReason.SEND_FAILED
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SEND_FAILED: 1}
    assert not server.requests


async def test_it_needs_no_start(build_exporter: BuildExporter, server: ScriptedServer) -> None:
    """
    Where nothing was started before, the call starts the exporter.
    """
    assert await send(build_exporter()) == "e0"


async def test_it_asks_a_server_that_refused_us(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    While the exporter is suspended the event goes out all the same, and may end that.
    """
    server.script(status(401))
    push_all(exporter, "queued")
    await clock.advance(1.0)
    await until(lambda: exporter.stats().health == "suspended")

    assert await send(exporter) == "e0"
    await delivered(exporter, 2)


async def test_a_flush_does_not_wait_for_one_that_backs_off_too_long(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    It returns at once where the next attempt comes after its deadline.
    """
    server.script(created(), unavailable())
    exporter = await make_exporter(retry=RetryPolicy(wait=lambda _: 30.0))
    await send(exporter, "one that is over")
    sending = send(exporter, timeout=100.0)
    await attempts_failed(exporter, 2)

    result = await exporter.flush(10.0)

    assert result == FlushResult(delivered=0, rejected=0, dropped=0, left=1)
    await exporter.aclose(0.0)
    assert "could not be delivered" in str(await fail(sending))


async def test_a_status_that_arrived_counts_at_the_deadline_too(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Where a 200 came and its body did not, the event is delivered, as at a request's timeout.
    """
    server.script(trickle())
    exporter = await make_exporter(request_timeout=10.0)
    sending = send(exporter, timeout=5.0)
    await server.next_request()
    await settle()
    await clock.advance(5.0)

    assert await sending == "e0"
