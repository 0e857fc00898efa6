"""
GET /api/news: what a reader that asks again and again is told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector import Collector
from tests.collector_client import MANY, get, model_event, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def send(collector: Collector, *names: str, **fields: Any) -> None:
    events = [model_event(event_id=name, **fields) for name in names]
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


async def update(collector: Collector, name: str, **said: Any) -> None:
    body = {"event_id": name, **said}
    async with ClientSession(collector.url) as client, client.put("/events", json=body) as response:
        assert response.status == 200


async def ask(collector: Collector, known: dict[str, Any], **query: Any) -> dict[str, Any]:
    """
    Ask for what came after the answer that is *known*.
    """
    after = {"after": known["last"], "updates": known["updates"]}
    return dict(await get(collector, "news", **after, **query))


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event_id"] for event in events]


class TestArrival:
    """
    Events that are new.
    """

    async def test_the_first_answer_is_where_it_begins(self, collector: Collector) -> None:
        """
        It names the database, and shows nothing of what was there before.
        """
        await send(collector, "old")
        await update(collector, "old", metadata={"a": 1})

        assert await get(collector, "news") == {
            "store": (await get(collector, "stats"))["store"],
            "last": 1,
            "updates": 1,
            "events": [],
            "skipped": 0,
            "changed": [],
        }

    async def test_each_event_is_told_once(self, collector: Collector) -> None:
        """
        As it is in the list, oldest first.
        """
        known = await get(collector, "news")
        await send(collector, "a", "b")
        first = await ask(collector, known)
        second = await ask(collector, first)
        await send(collector, "c")
        third = await ask(collector, second)

        assert first["events"] == (await get(collector, "events"))["events"][:0:-1]
        assert [names(one["events"]) for one in (first, second, third)] == [["a", "b"], [], ["c"]]
        assert [one["last"] for one in (first, second, third)] == [2, 2, 3]

    async def test_more_than_a_message_holds_are_counted(self, collector: Collector) -> None:
        """
        The newest are shown.
        """
        known = await get(collector, "news")
        await send(collector, *(f"e{n}" for n in range(203)))

        new = await ask(collector, known)

        assert (len(new["events"]), new["skipped"], new["last"]) == (200, 3, 203)
        assert new["events"][-1]["event_id"] == "e202"

    async def test_only_what_is_asked_for_is_told(self, collector: Collector) -> None:
        """
        It takes the filters of the list, and looks at no event twice.
        """
        known = await get(collector, "news")
        await send(collector, "a", error="no needle")
        await send(collector, "b", error="nothing")

        new = await ask(collector, known, error="yes", text="needle")

        assert (names(new["events"]), new["skipped"], new["last"]) == (["a"], 0, 2)

    async def test_an_event_of_another_database_is_none(self, collector: Collector) -> None:
        """
        Beyond the end there is nothing to go on from.
        """
        await send(collector, "a")

        new = await get(collector, "news", after=900)

        assert (new["last"], new["events"], new["skipped"]) == (1, [], 0)


class TestReader:
    """
    One that asks from time to time, whatever happens in between.
    """

    @given(st.lists(st.none() | st.integers(0, 9), max_size=15))
    def test_it_knows_all_in_the_end(self, happening: list[int | None]) -> None:
        """
        Each event is told once, and each is known as it is; None is a question.
        """

        async def check() -> None:
            ratings: dict[str, int] = {}
            told: list[str] = []
            seen: dict[str, int] = {}
            async with Collector() as collector:
                known = await get(collector, "news")
                for step, what in enumerate([*happening, None]):
                    if what is None:
                        known = await ask(collector, known)
                        told += names(known["events"])
                        both = known["events"] + known["changed"]
                        seen |= {event["event_id"]: event["rating"] for event in both}
                    elif (name := f"e{what}") in ratings:
                        await update(collector, name, feedback={"rating": step})
                        ratings[name] = step
                    else:
                        await send(collector, name, feedback={"rating": step})
                        ratings[name] = step
            assert told == [*ratings]
            assert seen == ratings

        asyncio.run(check())


class TestUpdates:
    """
    Events that changed.
    """

    async def test_what_is_added_to_an_event_is_told_once(self, collector: Collector) -> None:
        """
        The event is shown as it is now, however often it was updated.
        """
        await send(collector, "a", "b", "c")
        known = await get(collector, "news")
        for rating in (1, 5):
            await update(collector, "b", feedback={"rating": rating})
        await update(collector, "a", feedback={"rating": 3})

        new = await ask(collector, known)
        later = await ask(collector, new)

        assert [(event["event_id"], event["rating"]) for event in new["changed"]] == [
            ("a", 3),
            ("b", 5),
        ]
        assert (new["updates"], new["events"]) == (3, [])
        assert (later["updates"], later["changed"]) == (3, [])

    async def test_only_what_is_asked_for_is_told(self, collector: Collector) -> None:
        """
        As it is after the update.
        """
        await send(collector, "a", "b")
        known = await get(collector, "news")
        await update(collector, "a", metadata={"found": "needle"})
        await update(collector, "b", metadata={"found": "nothing"})

        assert names((await ask(collector, known, text="needle"))["changed"]) == ["a"]

    async def test_more_than_are_remembered_are_not_told_in_part(
        self, collector: Collector
    ) -> None:
        """
        A reader must read again what it shows; from then on it is told as before.
        """
        await send(collector, "a", "b")
        known = await get(collector, "news")
        for rating in range(200):
            await update(collector, "b", feedback={"rating": rating})
        all_of_them = await ask(collector, known)
        await update(collector, "a", metadata={})

        lost = await ask(collector, known)
        await update(collector, "a", metadata={})
        later = await ask(collector, lost)

        assert names(all_of_them["changed"]) == ["b"]
        assert (lost["changed"], lost["updates"]) == (None, 201)
        assert names(later["changed"]) == ["a"]

    async def test_a_collector_that_was_restarted_knows_of_no_updates(self, tmp_path: Path) -> None:
        """
        It counts from nothing again; a reader that counted further must read all again.
        """
        async with Collector(db=tmp_path / "events.db") as collector:
            await send(collector, "a", "b")
            for _ in range(3):
                await update(collector, "a", metadata={})
            known = await get(collector, "news")
        async with Collector(db=tmp_path / "events.db") as collector:
            await update(collector, "b", metadata={})

            new = await ask(collector, known)

        assert (new["store"], new["updates"]) == (known["store"], 1)
        assert new["changed"] is None


class TestQuery:
    """
    What is asked.
    """

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({"after": "x"}, "after: must be a whole number"),
            ({"updates": "-1"}, "updates: must be a whole number"),
            ({"limit": 1}, "there is no such parameter"),
        ],
    )
    async def test_a_bad_query_is_refused(
        self, collector: Collector, query: dict[str, Any], problem: str
    ) -> None:
        """
        The answer says what is allowed.
        """
        answer = await get(collector, "news", 400, **query)

        assert answer["message"].startswith(f"query: {problem}")
