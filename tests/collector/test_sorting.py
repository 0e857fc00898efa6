"""
GET /api/events?sort=…: lists in other orders than that of arrival.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hh_exporter._collector import Collector
from hh_exporter._collector.query.sorting import Mark, read_mark
from hh_exporter._collector.storage.store import EventRow, Store
from tests.collector_client import MANY, ONE, get, model_event, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEYS = ("time", "latency", "tokens", "cost", "ttft")
NUMBERS = st.none() | st.integers(-2, 2) | st.integers(-(2**53), 2**53) | st.floats(-1e3, 1e3)
LARGE = b'{"text":"%b"}' % (b"x" * 14 * 2**20)
LIMIT = 3


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def send(collector: Collector, *events: dict[str, Any]) -> None:
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


async def ids(collector: Collector, **query: Any) -> list[int]:
    answer = await get(collector, "events", **query)
    return [event["id"] for event in answer["events"]]


async def pages(collector: Collector, **query: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """
    Read one page after the other until there is no more.
    """
    while True:
        answer = await get(collector, "events", **query)
        yield answer["events"]
        if answer["next"] is None:
            return
        query["before"] = answer["next"]


def costing(value: float | None) -> dict[str, Any]:
    return model_event() if value is None else model_event(cost=value)


def in_order(events: list[tuple[int, float | None]], *, descending: bool) -> list[int]:
    """
    Sort pairs of id and value as a list should be, and return the ids.
    """

    def place(event: tuple[int, float | None]) -> tuple[bool, float, int]:
        row_id, value = event
        if value is None:
            return True, 0, -row_id
        return False, -value if descending else value, -row_id

    return [row_id for row_id, _ in sorted(events, key=place)]


class TestOrder:
    """
    What comes first.
    """

    @pytest.mark.parametrize(
        ("key", "less", "more"),
        [
            ("time", {"start_time": 5}, {"start_time": 5.5}),
            ("latency", {"duration": 9}, {"duration": 10}),
            ("tokens", {"usage": {"prompt_tokens": 5}}, {"usage": {"completion_tokens": 6}}),
            ("cost", {"cost": 0.001}, {"cost": 0.002}),
            (
                "ttft",
                {"metrics": {"time_to_first_token": 80}},
                {"metrics": {"time_to_first_token": 81}},
            ),
        ],
    )
    async def test_each_key_sorts_both_ways(
        self, collector: Collector, key: str, less: dict[str, Any], more: dict[str, Any]
    ) -> None:
        """
        The smallest is first, or with a minus the largest.
        """
        await send(collector, model_event(**more), model_event(**less))

        assert await ids(collector, sort=key) == [2, 1]
        assert await ids(collector, sort=f"-{key}") == [1, 2]

    async def test_tokens_are_those_of_both_directions(self, collector: Collector) -> None:
        """
        They are added up, and one direction counts if the other is not known.
        """
        both = {"prompt_tokens": 3, "completion_tokens": 3}
        await send(
            collector,
            model_event(usage=both),
            model_event(usage={"prompt_tokens": 5}),
            model_event(usage={"completion_tokens": 7}),
            model_event(usage={}),
        )

        assert await ids(collector, sort="-tokens") == [3, 1, 2, 4]

    @pytest.mark.parametrize("sort", ["cost", "-cost"])
    async def test_missing_values_come_last(self, collector: Collector, sort: str) -> None:
        """
        Both ways, the newest first, as it is with equal ones.
        """
        await send(collector, *map(costing, (None, 1, None, 1)))

        assert await ids(collector, sort=sort) == [4, 2, 3, 1]

    async def test_a_sorted_list_is_filtered(self, collector: Collector) -> None:
        """
        By columns, by text, and by what is known already.
        """
        await send(
            collector,
            *(model_event(model=model, cost=cost) for model in ("a", "b") for cost in (1, 2)),
        )

        assert await ids(collector, sort="-cost", model="a") == [2, 1]
        assert await ids(collector, sort="-cost", text='"MODEL":"b"') == [4, 3]
        assert await ids(collector, sort="-cost", after=2, limit=1) == [4]


class TestPages:
    """
    How a sorted list goes on.
    """

    @given(st.lists(NUMBERS, max_size=12), st.booleans())
    @example([2**53, 2**53 - 1, -(2**53), None, 0.5, 0, -0.0, None, 1e-9, 2**53], True)
    def test_pages_are_the_sorted_whole(self, values: list[float | None], descending: bool) -> None:
        """
        Each event is on one page, whatever its value.
        """

        async def check() -> None:
            async with Collector() as collector:
                if values:
                    await send(collector, *map(costing, values))
                sort = "-cost" if descending else "cost"
                found = [page async for page in pages(collector, sort=sort, limit=LIMIT)]
            expected = in_order([*enumerate(values, 1)], descending=descending)
            assert [event["id"] for page in found for event in page] == expected
            assert all(len(page) == LIMIT for page in found[:-1])
            assert [event["cost"] for page in found for event in page] == [
                values[row_id - 1] for row_id in expected
            ]

        asyncio.run(check())

    @given(
        st.lists(NUMBERS, min_size=LIMIT + 1, max_size=12),
        st.lists(st.lists(NUMBERS, min_size=1, max_size=2), min_size=1, max_size=3),
        st.booleans(),
    )
    def test_pages_hold_while_events_come_and_go(
        self, values: list[float | None], later: list[list[float | None]], descending: bool
    ) -> None:
        """
        No event is on two pages, and none of those that were there and stay is on none.
        """
        arriving = iter(later)

        async def check() -> None:
            async with Collector(max_events=len(values)) as collector:
                await send(collector, *map(costing, values))
                found: list[int] = []
                sort = "-cost" if descending else "cost"
                async for page in pages(collector, sort=sort, limit=LIMIT):
                    found += [event["id"] for event in page]
                    if some := next(arriving, None):
                        await send(collector, *map(costing, some))
                stayed = set(await ids(collector, limit=1000))
            everything = [*values, *chain.from_iterable(later)]
            expected = in_order([*enumerate(everything, 1)], descending=descending)
            assert found == [row_id for row_id in expected if row_id in found]
            assert stayed & set(range(1, len(values) + 1)) <= set(found)

        asyncio.run(check())

    async def test_a_mark_of_an_event_that_is_gone_goes_on(self, collector: Collector) -> None:
        """
        It is a place, and needs no event to be there.
        """
        await send(collector, *map(costing, (1, 2, 4, None, None)))

        assert await ids(collector, sort="cost", before="[3,99]") == [3, 5, 4]
        assert await ids(collector, sort="cost", before="[null,5]") == [4]


class TestSearch:
    """
    Sorted lists of what is found in texts.
    """

    async def test_a_list_of_too_much_text_is_of_the_newest(self, tmp_path: Path) -> None:
        """
        It says since when, which is null if all was looked at.
        """
        async with Store.open(tmp_path / "events.db") as store:
            for n in range(6):
                await store.add([EventRow(LARGE, "e", "s", ONE, n)])

        async with Collector(db=tmp_path / "events.db") as collector:
            some = await get(collector, "events", sort="time", text="xx", limit=4)
            rest = await get(
                collector, "events", sort="time", text="xx", limit=4, before=some["next"]
            )
            all_of_less = await get(collector, "events", sort="time", text="xx", until=3)

        found = [[event["id"] for event in answer["events"]] for answer in (some, rest)]
        assert found == [[2, 3, 4, 5], [6]]
        assert [some["searched_from"], rest["searched_from"]] == [1, 1]
        assert all_of_less["searched_from"] is None
        assert len(all_of_less["events"]) == 3


class TestQuery:
    """
    What is asked.
    """

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({"sort": "colour"}, f"sort: must be one of {', '.join(KEYS)}, with - before it"),
            ({"sort": "--cost"}, "sort: must be one of"),
            *(
                ({"sort": "cost", "before": mark}, "before: must be what next was")
                for mark in (
                    *("1", "[1]", "[1,2,3]", "{}", "[1,null]", "[true,1]", "[1,true]", "[[],1]"),
                    *("x", "[1,1e3]", "[9223372036854775808,1]", "[1,-9223372036854775809]"),
                )
            ),
            ({"before": "[1,2]"}, "before: must be a whole number"),
        ],
    )
    async def test_a_bad_query_is_refused(
        self, collector: Collector, query: dict[str, Any], problem: str
    ) -> None:
        """
        The answer says what is allowed.
        """
        answer = await get(collector, "events", 400, **query)

        assert answer["message"].startswith(f"query: {problem}")

    async def test_a_blank_order_is_none(self, collector: Collector) -> None:
        """
        The list is of the newest arrivals, with their row ids as marks.
        """
        await send(collector, *map(costing, (1, 3, 2)))

        answer = await get(collector, "events", sort="", limit=2)

        assert [event["id"] for event in answer["events"]] == [3, 2]
        assert answer["next"] == 2

    def test_a_mark_is_json(self) -> None:
        """
        So is any text, of which a mark may be one.
        """
        for value in ("a,]\\", None, 0.1, 2**53):
            assert read_mark(str(Mark(value, 7))) == Mark(value, 7)
            assert orjson.loads(str(Mark(value, 7))) == [value, 7]
