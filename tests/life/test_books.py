"""
What stats() says beside what became of events: of requests, room and the breaker.
"""

from __future__ import annotations

from math import inf

from hh_exporter import Exporter, QueueLimits
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer, hang, reset_before_storing, status, unavailable
from tests.support import (
    FakeClock,
    attempts_failed,
    flushed,
    model_event,
    pass_time,
    push_all,
    until,
)


async def test_requests_are_counted_by_how_they_ended(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Each attempt counts under its status, and under None where no answer came.
    """
    server.script(unavailable(), reset_before_storing(), unavailable())
    push_all(exporter, "a")
    await flushed(exporter, clock)

    assert exporter.stats().requests_by_status == {503: 2, None: 1, 200: 1}


async def test_a_request_under_way_has_no_end_yet(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What is begun and not answered is a request of no status.
    """
    server.script(hang())
    push_all(exporter, "a")
    await clock.advance(1.0)
    await until(lambda: server.requests)

    stats = exporter.stats()
    assert stats.requests == 1
    assert stats.requests_by_status == {}
    assert stats.request_durations[inf] == 0


async def test_requests_are_timed(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A request takes from its beginning to the end of its answer, or of our patience.
    """
    exporter = await make_exporter(request_timeout=2.5)
    server.script(hang())
    push_all(exporter, "a")
    await clock.advance(1.0)
    await until(lambda: server.requests)
    await clock.advance(2.5)
    await attempts_failed(exporter, 1)
    await flushed(exporter, clock)

    stats = exporter.stats()
    assert stats.request_seconds == 2.5
    assert stats.request_durations[0.005] == 1  # the second, in no time
    assert stats.request_durations[1.0] == 1
    assert stats.request_durations[2.5] == 2  # a bound is within
    assert stats.request_durations[inf] == 2


async def test_the_books_say_how_much_room_there_is(build_exporter: BuildExporter) -> None:
    """
    The limits stand beside what they limit.
    """
    stats = build_exporter(queue=QueueLimits(max_events=7, max_bytes=70_000)).stats()

    assert (stats.capacity, stats.capacity_bytes) == (7, 70_000)


async def test_bytes_move_with_their_events(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    What a delivery takes is no longer counted as queued, but in flight.
    """
    server.script(hang())
    exporter.push(model_event())
    queued = exporter.stats()
    await clock.advance(1.0)
    await until(lambda: server.requests)
    taken = exporter.stats()

    assert (queued.in_flight_bytes, taken.queued_bytes) == (0, 0)
    assert queued.queued_bytes == taken.in_flight_bytes > 0


async def test_the_books_say_what_the_breaker_does(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It opens after failures in a row, is half open while a probe is out, and closes again.
    """
    server.script(*[unavailable()] * 5, hang())
    push_all(exporter, "a")
    seen = [exporter.stats().breaker]
    while exporter.stats().breaker == "closed":
        await pass_time(exporter, server, clock, 0.5)
    seen.append(exporter.stats().breaker)
    await clock.advance(1.0)
    await until(lambda: len(server.requests) == 6)
    seen.append(exporter.stats().breaker)
    await clock.advance(10.0)  # no answer to the probe
    seen.append(exporter.stats().breaker)
    await pass_time(exporter, server, clock, 2.0)

    assert [*seen, exporter.stats().breaker] == ["closed", "open", "half_open", "open", "closed"]


async def test_a_suspension_is_the_breakers_too(exporter: Exporter, server: ScriptedServer) -> None:
    """
    While the server refuses the exporter, the breaker says so.
    """
    server.script(status(401))
    push_all(exporter, "a")
    await exporter.flush(0.0)
    await until(lambda: exporter.stats().health == "suspended")

    assert exporter.stats().breaker == "suspended"


async def test_health_is_not_ok_while_what_failed_is_tried_again(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Not between two attempts, and not during the next one, which may take long.
    """
    exporter = await make_exporter(request_timeout=2.5)
    server.default = hang()
    push_all(exporter, "a")
    await clock.advance(1.0)
    await server.next_request()
    assert exporter.stats().health == "ok"
    await clock.advance(2.5)
    await attempts_failed(exporter, 1)
    await clock.advance(1.0)
    await server.next_request()

    stats = exporter.stats()
    assert (stats.in_flight, stats.health) == (1, "retrying")
    assert stats.health_reason == "the server created nothing the last time: no answer in time"


async def test_health_is_not_ok_while_a_refused_batch_is_sent_in_parts(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Until one of its events is created, or nothing is left.
    """
    server.script(status(400), hang())
    exporter = await make_exporter()
    push_all(exporter, "a", "b")
    await clock.advance(1.0)
    await server.next_request()
    await server.next_request()
    stats = exporter.stats()
    assert (stats.health, stats.rejected) == ("retrying", 0)
    assert stats.health_reason == "the server created nothing the last time: HTTP 400"

    server.default = status(400)
    server.release()
    await flushed(exporter, clock)
    stats = exporter.stats()
    assert (stats.health, stats.rejected) == ("ok", 2)
