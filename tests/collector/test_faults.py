"""
Faults on request, over real sockets, on a clock and with a chance of the tests' own.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import pytest
from aiohttp import ClientConnectionError, ClientOSError, ClientSession

from hh_exporter import BatchLimits, Exporter, RetryPolicy
from hh_exporter._collector import Collector, Faults
from hh_exporter._collector.ingest.faults import MAX_HANGING
from hh_exporter.exceptions import ConfigError
from tests.collector_client import (
    EXPORT,
    MANY,
    ONE,
    V1_MANY,
    exported,
    known_sessions,
    model_event,
    post,
    refusal,
    stored,
    v1_event,
)
from tests.support import FakeClock, until
from tests.support import model_event as pushed_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import SupportsNext

FAULTS = "/api/faults"
EVENTS = [model_event(event_id=event_id) for event_id in "abc"]


def draws(*numbers: float) -> Iterator[float]:
    return iter(numbers)


def source(numbers: SupportsNext[float]) -> Any:
    return lambda: next(numbers)


async def put(collector: Collector, body: object) -> tuple[int, dict[str, Any]]:
    async with (
        ClientSession(collector.url) as client,
        client.put(FAULTS, json=body) as response,
    ):
        return response.status, await response.json()


async def get(collector: Collector) -> dict[str, Any]:
    async with ClientSession(collector.url) as client, client.get(FAULTS) as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
        return found


class TestStatus:
    """
    A status from 400 to 599.
    """

    @pytest.mark.parametrize("status", [400, 418, 503, 599])
    async def test_it_is_answered_and_nothing_is_stored(self, status: int) -> None:
        """
        The answer is JSON, and says that it was asked for.
        """
        async with Collector(faults=Faults(faults={str(status): 1.0})) as collector:
            answer = await post(collector, ONE, {"model_event": model_event()})

            excuse = "a fault that the collector was asked for"
            assert answer == refusal(excuse, status, "injected_fault")
            assert await collector.count() == 0

    async def test_chance_decides_which_request_meets_with_it(self) -> None:
        """
        Of several faults each has its share, and the rest of the requests have none.
        """
        faults = Faults(faults={"503": 0.05, "500": 0.25})
        numbers = draws(0.0, 0.049, 0.05, 0.299, 0.3, 0.999)
        async with Collector(faults=faults, random=source(numbers)) as collector:
            statuses = [
                (await post(collector, ONE, {"model_event": model_event()}))[0] for _ in range(6)
            ]

        assert statuses == [503, 503, 500, 500, 200, 200]

    async def test_reading_is_spared(self) -> None:
        """
        Only the routes that take events meet with faults.
        """
        faults = Faults(faults={"503": 1.0}, rate_limit=1e-9)
        async with Collector(faults=faults) as collector:
            assert await exported(collector) == []
            assert (await get(collector))["faults"] == {"503": 1.0}


class TestPartial:
    """
    A batch that is created in part.
    """

    @pytest.mark.parametrize(
        ("path", "key", "make"),
        [
            (MANY, "model_events", model_event),
            ("/events/batch", "events", v1_event),
            (V1_MANY, "events", v1_event),
            (
                "/v1/sessions/caf77ace-3417-4da4-944d-f4a0688f3c23/events/batch",
                "events",
                v1_event,
            ),
        ],
    )
    async def test_every_second_event_is_refused(self, path: str, key: str, make: Any) -> None:
        """
        The answer is the API's 500 for a part: ids of what is stored, a text for each other.
        """
        events = [make(event_id=event_id) for event_id in "abcde"]
        async with Collector(faults=Faults(faults={"partial": 1.0})) as collector:
            answer = await post(collector, path, {key: events})

            assert answer == (
                500,
                {
                    "event_ids": ["a", "c", "e"],
                    "errors": ["refused by the fault: partial"] * 2,
                    "success": True,
                },
            )
            assert [found.event_id for found in await stored(collector)] == ["a", "c", "e"]

    async def test_one_event_has_no_part(self) -> None:
        """
        A request for a single event is handled as ever.
        """
        async with Collector(faults=Faults(faults={"partial": 1.0})) as collector:
            one, _ = await post(collector, ONE, {"model_event": model_event()})
            batch, _ = await post(collector, MANY, {"model_events": EVENTS[:1]})

            assert (one, batch) == (200, 200)
            assert await collector.count() == 2


class TestReset:
    """
    A connection that is cut.
    """

    async def test_the_connection_is_reset(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        There is no answer, nothing is stored, and the collector sees nothing wrong in it.
        """
        async with Collector(faults=Faults(faults={"reset": 1.0})) as collector:
            with pytest.raises(ClientOSError, match="reset by peer"):
                await post(collector, ONE, {"model_event": model_event()})

            assert await collector.count() == 0
            assert await known_sessions(collector) == []
        assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


class TestHang:
    """
    A request that gets no answer.
    """

    async def test_it_ends_with_the_collector(self, clock: FakeClock) -> None:
        """
        While it hangs nothing is stored and others are answered; aclose() cuts it.
        """
        numbers = draws(0.0, 0.9)
        async with Collector(
            faults=Faults(faults={"hang": 0.5}), random=source(numbers), clock=clock
        ) as collector:
            hanging = asyncio.create_task(post(collector, ONE, {"model_event": model_event()}))
            await until(lambda: clock.waits == 1)
            assert (await post(collector, ONE, {"model_event": model_event()}))[0] == 200
            assert await collector.count() == 1
            assert not hanging.done()
        with pytest.raises(ClientConnectionError):
            await hanging

    async def test_it_does_not_hang_for_ever(self, clock: FakeClock) -> None:
        """
        After ten minutes the connection is cut.
        """
        async with Collector(faults=Faults(faults={"hang": 1.0}), clock=clock) as collector:
            hanging = asyncio.create_task(post(collector, ONE, {"model_event": model_event()}))
            await until(lambda: clock.waits == 1)
            await clock.advance(599.0)
            assert not hanging.done()

            await clock.advance(1.0)

            with pytest.raises(ClientConnectionError):
                await hanging

    async def test_no_more_than_so_many_hang(self, clock: FakeClock) -> None:
        """
        One too many ends the first of them, and no other.
        """
        async with Collector(faults=Faults(faults={"hang": 1.0}), clock=clock) as collector:
            hanging = []
            for number in range(MAX_HANGING + 1):
                hanging.append(asyncio.create_task(post(collector, ONE, {})))
                await until(lambda number=number: clock.waits == number + 1)  # type: ignore[misc]

            with pytest.raises(ClientConnectionError):
                await hanging[0]
            assert not any(task.done() for task in hanging[1:])
        await asyncio.gather(*hanging, return_exceptions=True)


class TestRateLimit:
    """
    Requests per second.
    """

    async def test_beyond_it_the_answer_is_429(self, clock: FakeClock) -> None:
        """
        A second's worth may come at once; then Retry-After says when there is room.
        """
        async with (
            Collector(faults=Faults(rate_limit=2.0), clock=clock) as collector,
            ClientSession(collector.url) as client,
        ):

            async def send() -> tuple[int, str | None]:
                body = {"model_event": model_event()}
                async with client.post(ONE, json=body) as response:
                    await response.read()
                    return response.status, response.headers.get("Retry-After")

            assert [await send() for _ in range(3)] == [(200, None), (200, None), (429, "1")]
            await clock.advance(0.5)
            assert [await send() for _ in range(2)] == [(200, None), (429, "1")]
            await clock.advance(100.0)
            assert [await send() for _ in range(3)] == [(200, None), (200, None), (429, "1")]
            assert await collector.count() == 5

    async def test_a_slow_rate_is_waited_for_in_whole_seconds(self, clock: FakeClock) -> None:
        """
        With less than one request a second, one is allowed at first.
        """
        async with (
            Collector(faults=Faults(rate_limit=0.15), clock=clock) as collector,
            ClientSession(collector.url) as client,
        ):
            for expected in (None, "7"):
                body = {"model_event": model_event()}
                async with client.post(ONE, json=body) as response:
                    assert response.headers.get("Retry-After") == expected


async def test_latency_is_waited_before_each_answer(clock: FakeClock) -> None:
    """
    The clock decides when a request is handled.
    """
    async with Collector(faults=Faults(latency=0.03), clock=clock) as collector:
        sending = asyncio.create_task(post(collector, ONE, {"model_event": model_event()}))
        await until(lambda: clock.delays == [0.03])
        await clock.advance(0.029)
        assert await collector.count() == 0
        assert not sending.done()

        await clock.advance(0.001)

        assert (await sending)[0] == 200


class TestApi:
    """
    GET and PUT /api/faults.
    """

    async def test_they_can_be_changed_while_it_runs(self) -> None:
        """
        What is put replaces all that was, and is what is told.
        """
        told = {"latency": 0.0, "rate_limit": None, "faults": {"503": 1.0}}
        async with Collector(faults=Faults(faults={"503": 1.0})) as collector:
            assert await get(collector) == told

            new = {"latency": 0.001, "rate_limit": 5, "faults": {"400": 1, "hang": 0.0}}
            assert await put(collector, new) == (200, new)
            assert await get(collector) == new
            assert (await post(collector, ONE, {"model_event": model_event()}))[0] == 400

            assert await put(collector, {}) == (200, {**told, "faults": {}})
            assert (await post(collector, ONE, {"model_event": model_event()}))[0] == 200

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ([], "must be an object"),
            ({"fault": {}}, "must have no unknown fields"),
            ({"latency": "1s"}, "latency: must be a number"),
            ({"latency": -1}, "latency must be from 0 to 60 seconds"),
            ({"latency": 61}, "latency must be from 0 to 60 seconds"),
            ({"rate_limit": 0}, "rate_limit must be requests per second"),
            ({"rate_limit": 5e-324}, "rate_limit must be requests per second"),
            ({"rate_limit": True}, "rate_limit: must be a number or null"),
            ({"faults": {"200": 0.1}}, "a fault must be a status from 400 to 599, partial, reset"),
            ({"faults": {"5e2": 0.1}}, "a fault must be a status"),
            ({"faults": {"\u0665\u0660\u0660": 0.1}}, "a fault must be a status"),
            ({"faults": {"x" * 9999: 0.1}}, "a fault must be a status"),
            ({"faults": {"503": "5%"}}, "the share of 503 must be from 0 to 1"),
            ({"faults": {"503": True}}, "the share of 503 must be from 0 to 1"),
            ({"faults": {"503": 1.1}}, "the share of 503 must be from 0 to 1"),
            ({"faults": {"503": 0.6, "hang": 0.6}}, "the shares of all faults must be no more"),
        ],
    )
    async def test_what_cannot_be_set_changes_nothing(self, body: object, problem: str) -> None:
        """
        A bad body is 400 and a reason, and the faults stay as they were.
        """
        async with Collector(faults=Faults(latency=0.001)) as collector:
            status, answer = await put(collector, body)

            assert (status, answer["errorCode"]) == (400, "invalid_request")
            assert answer["message"].startswith(f"body: {problem}")
            assert len(answer["message"]) < 200
            assert (await get(collector))["latency"] == 0.001

    async def test_a_large_body_is_refused(self) -> None:
        """
        Nobody needs more than some kilobytes to say what is to fail.
        """
        async with Collector() as collector:
            status, _ = await put(collector, {"faults": {str(n): 0.0 for n in range(20_000)}})

        assert status == 413


def test_shares_that_make_a_whole_may_be_rounded() -> None:
    """
    Ten tenths are all requests, whatever floats make of it; more is refused.
    """
    Faults(faults={str(status): 0.1 for status in range(500, 510)})
    with pytest.raises(ConfigError, match="no more than 1"):
        Faults(faults={str(status): 0.1 for status in range(500, 511)})


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_an_exporter_delivers_each_event_once(dialect: Literal["legacy", "v1"]) -> None:
    """
    Through all faults that store nothing or say what they stored, no event is lost or doubled.
    """
    faults = Faults(faults={"503": 0.1, "429": 0.1, "partial": 0.4, "reset": 0.1})
    async with (
        Collector(faults=faults, random=Random(1).random) as collector,
        Exporter(
            base_url=collector.url,
            dialect=dialect,
            batch=BatchLimits(max_events=10, linger=0.01),
            max_in_flight=1,  # the same story each time
            retry=RetryPolicy(base=0.001, max_delay=0.002),
        ) as exporter,
    ):
        for number in range(200):
            exporter.push(pushed_event(event_id=f"e{number}"))
        assert (await exporter.aclose()).delivered == 200

        ids = [found.event_id for found in await stored(collector)]
        assert sorted(ids) == sorted(f"e{number}" for number in range(200))
        assert exporter.stats().retries > 0
        assert len(await exported(collector, EXPORT)) == 200
