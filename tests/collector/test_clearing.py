"""
DELETE /api/events: all of it goes, and never a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import MANY, known_sessions, model_event, post, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "hh_key"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        events = [model_event(event_id=f"e{n}", session_id=f"s{n}") for n in range(3)]
        body = {"model_events": events, "session_properties": {"session_name": "n"}}
        assert (await post(collector, MANY, body))[0] == 200
        yield collector


async def delete(
    collector: Collector, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    async with (
        ClientSession(collector.url, headers=headers) as client,
        client.delete(f"/api/events{query}") as response,
    ):
        return response.status, await response.json()


async def test_all_events_and_sessions_go(collector: Collector) -> None:
    """
    It says how many events those were, and the next one has the next id.
    """
    assert await delete(collector) == (200, {"deleted": 3})

    assert await stored(collector) == []
    assert await known_sessions(collector) == []
    assert await delete(collector) == (200, {"deleted": 0})
    await post(collector, MANY, {"model_events": [model_event()]})
    async with ClientSession(collector.url) as client, client.get("/api/events/4") as response:
        assert response.status == 200


@pytest.mark.parametrize("query", ["?model=gpt-4o", "?filter=error", "?text=", "?x"])
async def test_it_takes_no_filter(collector: Collector, query: str) -> None:
    """
    Who wants to delete some is told that all would go, and none does.
    """
    status, answer = await delete(collector, query)

    assert status == 400
    assert answer["message"] == "query: must be empty: all events are deleted, never some"
    assert await collector.count() == 3


async def test_other_websites_cannot(collector: Collector) -> None:
    """
    Whatever their browser says of them.
    """
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        assert (await delete(collector, headers=headers))[0] == 403

    assert await collector.count() == 3


async def test_with_a_key_it_needs_the_key() -> None:
    """
    As all that reads or changes data.
    """
    async with Collector(api_key=KEY) as collector:
        assert (await delete(collector))[0] == 401
        headers = {"Authorization": f"Bearer {KEY}"}
        assert await delete(collector, headers=headers) == (200, {"deleted": 0})
