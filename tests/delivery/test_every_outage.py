"""
However a server words its failure, an outage costs five events at most, and health shows it.
"""

from __future__ import annotations

import asyncio
from itertools import product
from pathlib import Path
from random import Random

import pytest

from hh_exporter import BatchLimits, DeliveryError, DropReason, Exporter, Spool
from tests.conftest import MakeExporter, in_both_dialects
from tests.scripted_server import Answer, ScriptedServer, created, hang_after_storing, status
from tests.support import (
    STEP,
    FakeClock,
    assert_balanced,
    model_event,
    pass_time,
    push_all,
    quiet,
    settle,
    until,
)

MOST_LOST = 5
LONG = 600.0

STATUSES = (200, 302, 400, 404, 413, 422, 429, 500, 503)
PAGE = b"\r\n<!doctype html><html><body>Sorry</body></html>"
FORMS = {
    "nothing": (b"", "application/json"),
    "a message": (b'{"statusCode":0,"message":"no","success":false}', "application/json"),
    "a page": (PAGE, "text/html"),
    "a page called text": (PAGE, "text/plain"),
    "a page called JSON": (PAGE, "application/json"),
    "a page of no type": (PAGE, ""),
    "no ids and errors": (b'{"event_ids":[],"errors":["database is down"]}', "application/json"),
    "errors alone": (b'{"errors":["database is down"]}', "application/json"),
    "foreign ids and errors": (b'{"event_ids":["z"],"errors":["no"]}', "application/json"),
    "odd JSON": (b'\xef\xbb\xbf{"event_ids":[],"errors":["cut \\ud83d"]}', "text/plain"),
}
ACCEPTANCES = {(200, "nothing"), (200, "a message")}
"""What says that all is well."""

OUTAGES = {
    f"{code}, {form}": status(code, *FORMS[form])
    for code, form in product(STATUSES, FORMS)
    if (code, form) not in ACCEPTANCES
}
LONG_OUTAGES = (
    *("200, errors alone", "200, a page of no type", "400, a message", "400, no ids and errors"),
    *("413, a page", "500, no ids and errors", "500, foreign ids and errors", "500, nothing"),
)

each_outage = pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
each_long_outage = pytest.mark.parametrize(
    "outage", [OUTAGES[name] for name in LONG_OUTAGES], ids=LONG_OUTAGES
)


def lost(exporter: Exporter) -> int:
    stats = assert_balanced(exporter)
    return stats.rejected + stats.dropped


async def healed(exporter: Exporter, server: ScriptedServer, clock: FakeClock) -> None:
    """
    Let the server be well, and all that is left be delivered.
    """
    server.default = created()
    flush = asyncio.create_task(exporter.flush())
    while not flush.done():
        await pass_time(exporter, server, clock, STEP)
    assert flush.result().left == 0
    assert exporter.stats().health == "ok"
    assert not server.duplicates()


@in_both_dialects
@each_outage
async def test_four_seconds_cost_five_events(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, outage: Answer
) -> None:
    """
    Whatever status, body and type: all other events are kept, and arrive afterwards, once.
    """
    pushed = [f"e{n}" for n in range(60)]
    server.default = outage
    push_all(exporter, *pushed)
    await pass_time(exporter, server, clock, 4.0)

    stats = exporter.stats()
    assert stats.delivered == 0
    assert stats.health in ("retrying", "suspended")
    assert stats.requests <= 40
    assert lost(exporter) <= MOST_LOST

    await healed(exporter, server, clock)
    assert len(server.created_ids) == len(pushed) - lost(exporter)
    assert lost(exporter) <= MOST_LOST


@in_both_dialects
@pytest.mark.parametrize("has_spool", [False, True], ids=["memory", "spool"])
@each_long_outage
async def test_ten_minutes_cost_five_events(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    tmp_path: Path,
    outage: Answer,
    has_spool: bool,
) -> None:
    """
    With events pushed all the while: five are lost, whatever is in memory or on disk.
    """
    exporter = await make_exporter(spool=Spool(tmp_path, durable=True) if has_spool else None)
    server.default = outage
    pushed = 0
    while clock.now() < LONG:
        push_all(exporter, *(f"e{n}" for n in range(pushed, pushed + 5)))
        pushed += 5
        await pass_time(exporter, server, clock, 4 * STEP)
        if clock.now() > 60.0:
            assert exporter.stats().health in ("retrying", "suspended")

    assert lost(exporter) <= MOST_LOST
    assert exporter.stats().requests <= 80
    await healed(exporter, server, clock)
    assert lost(exporter) <= MOST_LOST
    assert len(server.created_ids) == pushed - lost(exporter)


@pytest.mark.parametrize("seed", range(5))
async def test_an_outage_of_many_words_is_one(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, seed: int
) -> None:
    """
    A server that fails in another way each time lifts nothing by that.
    """
    choose = Random(seed).choice
    answers = list(OUTAGES.values())
    server.default = lambda _: choose(answers)
    exporter = await make_exporter(batch=BatchLimits(max_events=7, linger=1.0))
    pushed = 0
    was_blocked = False
    while clock.now() < 200.0:
        push_all(exporter, *(f"e{n}" for n in range(pushed, pushed + 10)))
        pushed += 10
        await pass_time(exporter, server, clock, 4 * STEP)
        is_blocked = exporter.stats().breaker != "closed"
        assert is_blocked or not was_blocked
        was_blocked = is_blocked

    assert was_blocked
    assert lost(exporter) <= MOST_LOST
    await healed(exporter, server, clock)


@each_long_outage
async def test_an_outage_that_begins_amid_traffic_costs_five_events(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, outage: Answer
) -> None:
    """
    What was created before shows nothing; nor does what left before, and is answered later.
    """
    server.script(created(), created(), hang_after_storing())
    server.default = outage
    exporter = await make_exporter(batch=BatchLimits(max_events=10), max_in_flight=4)
    push_all(exporter, *(f"e{n}" for n in range(200)))
    await server.requests_seen(4)
    await until(lambda: exporter.stats().delivered == 20)
    await settle()
    server.release()
    await quiet(exporter, server)
    await pass_time(exporter, server, clock, 4.0)

    assert exporter.stats().delivered == 30
    assert lost(exporter) <= MOST_LOST
    await healed(exporter, server, clock)
    assert len(server.created_ids) == 200 - lost(exporter)


@each_long_outage
async def test_single_events_show_an_outage_too(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, outage: Answer
) -> None:
    """
    Five calls of create_model_event in vain, and what is queued is kept; the next is not rejected.
    """
    server.default = outage
    errors: list[DeliveryError] = []
    for _ in range(6):
        sending = asyncio.create_task(exporter.create_model_event(model_event(), timeout=30.0))
        while not sending.done():
            await pass_time(exporter, server, clock, STEP)
        error = sending.exception()
        assert isinstance(error, DeliveryError)
        errors.append(error)
    push_all(exporter, *(f"e{n}" for n in range(20)))
    before = lost(exporter)
    await pass_time(exporter, server, clock, 10.0)

    assert exporter.stats().health in ("retrying", "suspended")
    assert errors[-1].reason is DropReason.SEND_FAILED
    assert lost(exporter) == before
    await healed(exporter, server, clock)
    assert len(server.created_ids) == 20
