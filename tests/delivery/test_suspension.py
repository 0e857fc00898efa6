"""
A server that refuses the exporter as a whole: nothing is lost, and it is asked now and then.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from hh_exporter import BatchLimits, DropReason, Exporter, FlushResult
from tests.conftest import MakeExporter, in_both_dialects
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    created_html,
    hang,
    html,
    redirect,
    refuse_if,
    reset_before_storing,
    status,
    too_many,
)
from tests.support import FakeClock, assert_balanced, delivered, push_all, until

KEY_SETTING = "HH_API_KEY"
URL_SETTING = "HH_API_URL"

REFUSALS = [
    pytest.param(status(401), [KEY_SETTING], id="401"),
    pytest.param(status(403), [KEY_SETTING], id="403"),
    pytest.param(status(404), [KEY_SETTING, URL_SETTING], id="404"),
    pytest.param(status(405), [URL_SETTING], id="405"),
    pytest.param(status(410), [URL_SETTING], id="410"),
    pytest.param(status(407), [KEY_SETTING, URL_SETTING], id="407"),
    pytest.param(status(418), [KEY_SETTING, URL_SETTING], id="418"),
    pytest.param(status(451), [KEY_SETTING, URL_SETTING], id="451"),
    *(
        pytest.param(redirect("http://127.0.0.1:1/", code), [URL_SETTING], id=str(code))
        for code in (301, 302, 307, 308)
    ),
    pytest.param(status(401, b'{"event_ids": [], "errors": ["no"]}'), [KEY_SETTING], id="401+ids"),
    pytest.param(html(200), [URL_SETTING], id="page"),
]

FIRST_PROBE = 1.0
"""Seconds to the first probe, with jitter at its upper bound."""


async def suspended(exporter: Exporter, requests: int = 1) -> None:
    """
    Wait until the answers to *requests* have suspended *exporter* and no probe is out.
    """

    def is_so() -> bool:
        stats = exporter.stats()
        return (stats.health, stats.requests, stats.in_flight) == ("suspended", requests, 0)

    await until(is_so)


@in_both_dialects
@pytest.mark.parametrize(("refusal", "settings"), REFUSALS)
async def test_a_refusal_keeps_all_events_until_the_server_takes_them(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    refusal: Scripted,
    settings: list[str],
) -> None:
    """
    A server that refuses us loses no event; one error names the setting to check.
    """
    server.default = refusal
    push_all(exporter, "e0", "e1")
    await clock.advance(1.0)
    await suspended(exporter)
    stats = assert_balanced(exporter)
    assert stats.queued == 2

    await clock.advance(FIRST_PROBE)
    await suspended(exporter, requests=2)

    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1
    named = {setting for setting in (KEY_SETTING, URL_SETTING) if setting in errors[0]}
    assert named == set(settings)
    assert all(setting in stats.health_reason for setting in settings)

    server.default = created()
    assert await exporter.flush() == FlushResult(delivered=2, rejected=0, dropped=0, left=0)
    assert server.created_ids == ["e0", "e1"]
    assert assert_balanced(exporter).health == "ok"


async def test_probes_go_out_one_at_a_time_at_widening_intervals(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Intervals between probes double from a second to half a minute, and all other batches wait.
    """
    server.default = status(401)
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "e0")
    await suspended(exporter)
    push_all(exporter, *(f"e{i}" for i in range(1, 10)))

    for probes, interval in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0], start=1):
        await clock.advance(interval - 0.01)
        assert assert_balanced(exporter).requests == probes
        await clock.advance(0.01)
        await suspended(exporter, requests=probes + 1)

    assert [len(request.events) for request in server.requests] == [1] * 9
    assert assert_balanced(exporter).queued == 10


async def test_half_of_a_probes_interval_is_jitter(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    The earliest moment of a probe is half of its interval.
    """
    server.default = status(401)
    exporter = await make_exporter(_random=lambda: 0.0)
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await suspended(exporter)

    await clock.advance(FIRST_PROBE / 2 - 0.01)
    assert assert_balanced(exporter).requests == 1
    await clock.advance(0.01)
    await suspended(exporter, requests=2)


async def test_no_batch_leaves_while_a_probe_is_out(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A probe that gets no answer keeps all others waiting, however long it takes.
    """
    server.script(status(401), hang())
    exporter = await make_exporter(batch=BatchLimits(max_events=1), request_timeout=1000.0)
    push_all(exporter, "e0")
    await suspended(exporter)
    push_all(exporter, "e1", "e2")
    await clock.advance(FIRST_PROBE)
    await server.requests_seen(2)

    await clock.advance(999.0)

    assert assert_balanced(exporter).requests == 2


async def test_the_first_taken_probe_releases_all(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Once a probe is taken the rest follows at once, without a flush, and the log says so.
    """
    server.script(status(403))
    exporter = await make_exporter(batch=BatchLimits(max_events=1))
    push_all(exporter, "e0")
    await suspended(exporter)
    push_all(exporter, *(f"e{i}" for i in range(1, 10)))

    await clock.advance(FIRST_PROBE)
    await delivered(exporter, 10)

    assert sorted(server.created_ids) == [f"e{i}" for i in range(10)]
    assert caplog.text.count("resumed") == 1


@pytest.mark.parametrize(
    "answer", [pytest.param(status(400), id="400"), pytest.param(status(413), id="413")]
)
async def test_an_answer_about_an_event_shows_nothing(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, answer: Scripted
) -> None:
    """
    What a server says of a probe's event neither ends that nor the suspension.
    """
    server.script(status(401), answer)
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=1)
    push_all(exporter, "e0", "e1")
    await suspended(exporter)

    await clock.advance(FIRST_PROBE)
    await suspended(exporter, requests=2)
    assert assert_balanced(exporter).queued == 2

    await clock.advance(2 * FIRST_PROBE)
    await delivered(exporter, 2)
    assert assert_balanced(exporter).health == "ok"


async def test_a_probe_that_fails_in_passing_changes_nothing(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A probe without an answer is not retried by itself; the next one comes after its interval.
    """
    server.script(status(401), reset_before_storing())
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await suspended(exporter)
    await clock.advance(FIRST_PROBE)
    await suspended(exporter, requests=2)

    await clock.advance(2 * FIRST_PROBE - 0.01)
    assert assert_balanced(exporter).requests == 2
    await clock.advance(0.01)
    await delivered(exporter, 1)


async def test_a_probe_keeps_to_a_retry_after(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A probe is held by a Retry-After like everything else.
    """
    server.script(status(401), too_many(60))
    push_all(exporter, "e0")
    await clock.advance(1.0)
    await suspended(exporter)
    await clock.advance(FIRST_PROBE)
    await suspended(exporter, requests=2)

    await clock.advance(59.9)

    assert assert_balanced(exporter).requests == 2


async def test_the_second_episode_is_logged_too(
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Each suspension is one error, and begins with short intervals again.
    """
    for episode in (1, 2):
        server.script(status(401), status(401), status(401))
        push_all(exporter, f"e{episode}")
        await clock.advance(1.0)
        await suspended(exporter, requests=4 * episode - 3)
        await clock.advance(FIRST_PROBE)
        await suspended(exporter, requests=4 * episode - 2)
        await clock.advance(2 * FIRST_PROBE)
        await suspended(exporter, requests=4 * episode - 1)
        await clock.advance(4 * FIRST_PROBE)
        await until(lambda: assert_balanced(exporter).health == "ok")

    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 2


async def test_batches_that_are_refused_together_are_one_episode(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Batches in flight when the first refusal comes all return to the queue, with one error.
    """
    server.default = status(401)
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=4)
    push_all(exporter, "e0", "e1", "e2", "e3")
    await suspended(exporter, requests=4)
    server.default = created()

    assert (await exporter.flush()).delivered == 4
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    assert not server.duplicates()


async def test_a_batch_that_backs_off_returns_to_the_queue(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A suspension ends the backoff of other batches: they wait in the queue, and try no more.
    """
    server.script(status(503), status(401))
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=2)
    push_all(exporter, "e0")
    await until(lambda: exporter.stats().health == "retrying")
    push_all(exporter, "e1")

    await suspended(exporter, requests=2)

    assert assert_balanced(exporter).queued == 2


async def test_a_split_batch_returns_whole_but_for_what_is_settled(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A refusal in the middle of a split gives back exactly what has no outcome.
    """
    server.script(refuse_if(lambda event: event["event_id"] == "e3"), created())
    server.default = status(401)
    push_all(exporter, "e0", "e1", "e2", "e3")
    await clock.advance(1.0)
    await suspended(exporter, requests=3)
    assert assert_balanced(exporter).delivered == 2
    server.default = created()

    result = await exporter.flush()

    assert result == FlushResult(delivered=2, rejected=0, dropped=0, left=0)
    assert server.created_ids == ["e0", "e1", "e2", "e3"]


async def test_a_page_may_have_stored_events(exporter: Exporter, server: ScriptedServer) -> None:
    """
    A page is no word of our server, even where events were stored: they are kept and sent again.
    """
    server.script(created_html())
    push_all(exporter, "e0")

    assert (await exporter.flush()).left == 1
    assert (await exporter.flush()).delivered == 1
    assert server.created_ids == ["e0", "e0"]


# Those who wait.


async def test_a_flush_without_limit_ends_with_its_probe(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    flush() probes at once and returns when the probe is refused; what is left, it says.
    """
    server.default = status(401)
    push_all(exporter, "e0", "e1")

    first = await exporter.flush()
    second = await exporter.flush()

    assert first == second == FlushResult(delivered=0, rejected=0, dropped=0, left=2)
    assert len(server.requests) == 2


async def test_a_flush_returns_early_where_no_probe_comes_in_time(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    flush(timeout) returns after its probe when the next one would be past its deadline.
    """
    server.default = status(401)
    push_all(exporter, "e0")

    result = await exporter.flush(FIRST_PROBE - 0.1)

    assert result == FlushResult(delivered=0, rejected=0, dropped=0, left=1)
    assert clock.now() == 0.0


async def test_a_flush_waits_for_the_probes_that_come_in_time(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    flush(timeout) stays while another probe can be had before its deadline.
    """
    server.script(status(401), status(401))
    push_all(exporter, "e0")
    flush = asyncio.create_task(exporter.flush(10.0))
    await suspended(exporter, requests=1)
    await clock.advance(2 * FIRST_PROBE)
    await suspended(exporter, requests=2)
    assert not flush.done()
    await clock.advance(4 * FIRST_PROBE)

    assert await flush == FlushResult(delivered=1, rejected=0, dropped=0, left=0)


async def test_a_close_returns_early_and_drops_the_rest(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    aclose makes one probe; where the next would be too late the rest is dropped as closed.
    """
    server.default = status(401)
    push_all(exporter, "e0", "e1")
    await exporter.flush()

    result = await exporter.aclose(FIRST_PROBE)

    assert result == FlushResult(delivered=0, rejected=0, dropped=2, left=0)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 2}
    assert len(server.requests) == 2
    assert clock.now() == 0.0


async def test_a_close_delivers_once_its_probe_is_taken(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    aclose delivers everything if the server takes events again.
    """
    server.script(status(401))
    exporter = await make_exporter(batch=BatchLimits(max_events=1), max_in_flight=1)
    push_all(exporter, "e0", "e1", "e2")
    await suspended(exporter)

    result = await exporter.aclose()

    assert result == FlushResult(delivered=3, rejected=0, dropped=0, left=0)
