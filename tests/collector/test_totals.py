"""
GET /api/totals, and what it and GET /api/series say of searches that are too large.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from hh_exporter._collector.storage.store import EventRow, Store
from tests.collector_client import MANY, ONE, V1_ONE, get, model_event, post, v1_event
from tests.support import EPOCH, FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = int(EPOCH * 1000)
LARGE = b'{"text":"%b"}' % (b"x" * 14 * 2**20)
NOTHING = {
    "events": 0,
    "errors": 0,
    "tokens_in": 0,
    "tokens_out": 0,
    "cost": 0,
    "p50": None,
    "p95": None,
    "oldest": None,
    "newest": None,
    "searched_from": None,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def collector(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(clock=clock) as collector:
        yield collector


async def send(collector: Collector, *events: dict[str, Any]) -> None:
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[Collector]:
    """
    Have a collector of more text than is searched for one answer.
    """
    async with Store.open(tmp_path / "events.db") as store:
        for n in range(6):
            await store.add([EventRow(LARGE, "e", "s", ONE, NOW + n)])
    async with Collector(db=tmp_path / "events.db") as collector:
        yield collector


class TestTotals:
    """
    GET /api/totals.
    """

    async def test_all_is_summed_up(self, collector: Collector, clock: FakeClock) -> None:
        """
        Errors are those that failed, and the ends are times of arrival.
        """
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        await send(collector, model_event(usage=usage, cost=0.25, duration=30, error="no"))
        await clock.advance(2)
        await send(collector, model_event(usage=usage, cost=0.5, duration=10, error="cancelled"))

        assert await get(collector, "totals") == {
            "events": 2,
            "errors": 1,
            "tokens_in": 6,
            "tokens_out": 8,
            "cost": 0.75,
            "p50": 10,
            "p95": 30,
            "oldest": NOW,
            "newest": NOW + 2000,
            "searched_from": None,
        }

    async def test_nothing_is_summed_up(self, collector: Collector) -> None:
        """
        What nothing is like has no ends.
        """
        assert await get(collector, "totals") == NOTHING
        await send(collector, model_event())
        assert await get(collector, "totals", model="none") == NOTHING
        assert await get(collector, "totals", text="no such text") == NOTHING

    async def test_percentiles_are_of_nearest_rank(self, collector: Collector) -> None:
        """
        Each is the duration of an event, also if it is a fraction.
        """
        durations = [n * 1.5 for n in range(41)]
        await send(collector, *(model_event(duration=duration) for duration in durations[::-1]))

        answer = await get(collector, "totals")

        assert answer["p50"] == durations[ceil(0.5 * 41) - 1]
        assert answer["p95"] == durations[ceil(0.95 * 41) - 1]

    @pytest.mark.parametrize(
        ("query", "events"),
        [
            ({"model": "a"}, 2),
            ({"error": "yes"}, 1),
            ({"text": "PARCEL"}, 1),
            ({"text": "parcel", "model": "b"}, 0),
            ({"since": NOW + 1}, 0),
        ],
    )
    async def test_only_what_is_asked_for_counts(
        self, collector: Collector, query: dict[str, Any], events: int
    ) -> None:
        """
        The same filters as of the list.
        """
        await send(
            collector,
            model_event(model="a", metadata={"about": "the parcel"}),
            model_event(model="a", error="no"),
            model_event(model="b"),
        )

        assert (await get(collector, "totals", **query))["events"] == events

    async def test_sums_of_others_do_not_count_twice(self, collector: Collector) -> None:
        """
        A session and a chain are events, but what they used is what the calls in them used.
        """
        used = {"cost": 1, "prompt_tokens": 3}
        await send(collector, model_event(cost=1, duration=5, usage={"prompt_tokens": 3}))
        for kind, duration in (("session", 50), ("chain", 7)):
            outer = v1_event(event_type=kind, metadata=used, duration=duration)
            assert (await post(collector, V1_ONE, outer))[0] == 200
        await send(collector, model_event(event_type="tool", cost=0.5, duration=6, usage={}))

        answer = await get(collector, "totals")

        assert (answer["events"], answer["cost"], answer["tokens_in"]) == (4, 1.5, 3)
        assert answer["p95"] == 7

    async def test_the_largest_numbers_add_up(self, collector: Collector) -> None:
        """
        No sum of what was sent is too large to be answered.
        """
        usage = {"prompt_tokens": 2**53}
        await send(collector, *[model_event(usage=usage, cost=2**53, duration=2**53)] * 1100)

        answer = await get(collector, "totals")

        assert (answer["tokens_in"], answer["cost"]) == (2**63 - 1, 1100 * 2**53)
        assert answer["p50"] == 2**53

    async def test_an_unknown_parameter_is_refused(self, collector: Collector) -> None:
        """
        Only filters are known.
        """
        answer = await get(collector, "totals", 400, limit=1)

        assert "no such parameter" in answer["message"]


class TestSearch:
    """
    Texts that are too large to be searched for one answer.
    """

    async def test_what_was_read_is_summed_up(self, large: Collector) -> None:
        """
        The newest, and the answer says since when; a shorter range is read whole.
        """
        some = await get(large, "totals", text="xx")
        every = await get(large, "totals", text="xx", since=NOW + 2)
        counted = await get(large, "totals")

        assert (some["events"], some["searched_from"], some["oldest"]) == (5, NOW + 1, NOW + 1)
        assert (every["events"], every["searched_from"]) == (4, None)
        assert (counted["events"], counted["searched_from"]) == (6, None)

    async def test_what_was_read_is_charted(self, large: Collector) -> None:
        """
        In the buckets of the whole range, so that the rest is seen to be missing.
        """
        query = {"since": NOW, "until": NOW + 6, "step": 1, "text": "xx"}
        some = await get(large, "series", **query)
        every = await get(large, "series", **query | {"until": NOW + 3})

        assert some["searched_from"] == NOW + 1
        assert [group["count"] for group in some["groups"]] == [[0, 1, 1, 1, 1, 1]]
        assert every["searched_from"] is None
        assert [group["count"] for group in every["groups"]] == [[1, 1, 1]]

    async def test_a_range_without_events_is_searched_at_once(self, large: Collector) -> None:
        """
        Nothing is missing from nothing.
        """
        assert await get(large, "totals", text="xx", since=NOW + 50) == NOTHING


class TestFailingModel:
    """
    GET /api/series?by=model, of more models than have groups.
    """

    async def test_the_model_that_fails_most_is_named(self, collector: Collector) -> None:
        """
        However few events it has; the most frequent are named beside it.
        """
        frequent = [f"m{n}" for n in range(9) for _ in range(2)]
        await send(
            collector,
            *(model_event(model=model) for model in frequent),
            model_event(model="rare", error="no"),
            model_event(model="rarer", error="cancelled"),
        )

        groups = (await get(collector, "series", by="model", step=1000))["groups"]

        assert [group["name"] for group in groups] == [
            *(f"m{n}" for n in range(7)),
            "rare",
            "other",
        ]
        assert [group["errors"] for group in groups] == [*([0],) * 7, [1], [0]]

    async def test_a_frequent_model_that_fails_is_named_once(self, collector: Collector) -> None:
        """
        And no other has to go for it.
        """
        await send(
            collector,
            *(model_event(model=f"m{n}") for n in range(8)),
            model_event(model="m3", error="no"),
        )

        groups = (await get(collector, "series", by="model", step=1000))["groups"]

        assert sorted(group["name"] for group in groups) == [f"m{n}" for n in range(8)]
