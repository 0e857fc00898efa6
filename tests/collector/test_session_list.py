"""
GET /api/sessions: what the events of each session come to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector import Collector
from hh_exporter._collector.storage.store import EventRow, Store
from tests.collector_client import MANY, ONE, V1_ONE, get, model_event, post, v1_event
from tests.support import EPOCH, FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = int(EPOCH * 1000)
KEYS = ("name", "user", "events", "tokens", "cost", "errors", "duration", "last")
STARTED = "00000000-0000-4000-8000-000000000001"
LARGE = b'{"text":"%b"}' % (b"x" * 14 * 2**20)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def collector(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(clock=clock) as collector:
        yield collector


async def send(collector: Collector, *events: dict[str, Any]) -> None:
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


async def start(collector: Collector, session_id: str, **properties: Any) -> None:
    body = {"session": {"session_id": session_id, **properties}}
    assert (await post(collector, "/session/start", body))[0] == 200


async def listed(collector: Collector, **query: Any) -> list[str]:
    answer = await get(collector, "sessions", **query)
    return [session["session_id"] for session in answer["sessions"]]


class TestFigures:
    """
    What is said of a session.
    """

    async def test_the_figures_are_of_all_its_events(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        From the first start to the last end, whatever was asked for.
        """
        await start(collector, STARTED, session_name="support", user_properties={"user_id": "ann"})
        await clock.advance(1)
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        said: dict[str, Any] = {"session_id": STARTED, "usage": usage, "cost": 0.25}
        await send(
            collector,
            model_event(**said, start_time=1000, duration=50, model="a", error="no"),
            model_event(**said, start_time=1020, duration=500, model="b", error="cancelled"),
        )

        answer = await get(collector, "sessions", model="a")

        assert answer == {
            "sessions": [
                {
                    "session_id": STARTED,
                    "name": "support",
                    "user": "ann",
                    "events": 2,
                    "tokens": 14,
                    "cost": 0.5,
                    "errors": 1,
                    "duration": 520,
                    "start": 1000,
                    "last": NOW + 1000,
                }
            ],
            "next": None,
            "searched_from": None,
        }

    async def test_what_no_event_says_is_null(self, collector: Collector) -> None:
        """
        A session of events alone has no name, and no sum of nothing.
        """
        bare = {"event_type": "tool", "session_id": "s", "inputs": {}, "start_time": 5}
        assert (await post(collector, V1_ONE, bare))[0] == 200

        [session] = (await get(collector, "sessions"))["sessions"]

        assert session == {
            "session_id": "s",
            "name": None,
            "user": None,
            "events": 1,
            "tokens": None,
            "cost": None,
            "errors": 0,
            "duration": 0,
            "start": 5,
            "last": NOW,
        }

    async def test_the_user_may_be_known_from_events(self, collector: Collector) -> None:
        """
        Where the session names none.
        """
        await send(
            collector,
            model_event(session_id="s"),
            model_event(session_id="s", user_properties={"email": "ann@example.com"}),
        )

        [session] = (await get(collector, "sessions"))["sessions"]

        assert session["user"] == "ann@example.com"

    async def test_the_sums_of_a_session_do_not_count(self, collector: Collector) -> None:
        """
        An event of type session says them of the others.
        """
        root = v1_event(
            event_type="session",
            event_id="s",
            session_id="s",
            start_time=0,
            duration=9000,
            metadata={"cost": 5, "prompt_tokens": 50},
        )
        assert (await post(collector, V1_ONE, root))[0] == 200
        await send(
            collector,
            model_event(session_id="s", cost=1, start_time=10, duration=5, usage={}),
        )

        [session] = (await get(collector, "sessions"))["sessions"]

        found = {name: session[name] for name in ("events", "cost", "tokens", "duration", "start")}
        assert found == {"events": 2, "cost": 1, "tokens": None, "duration": 5, "start": 0}

    async def test_the_largest_numbers_add_up(self, collector: Collector) -> None:
        """
        No sum of what was sent is too large to be answered, or to go on from.
        """
        usage = {"prompt_tokens": 2**53, "completion_tokens": 2**53}
        for name in ("a", "b"):
            await send(collector, *[model_event(session_id=name, usage=usage, cost=2**53)] * 600)

        first = await get(collector, "sessions", sort="-tokens", limit=1)
        second = await get(collector, "sessions", sort="-tokens", limit=1, before=first["next"])

        found = [*first["sessions"], *second["sessions"]]
        assert [(one["session_id"], one["tokens"], one["cost"]) for one in found] == [
            ("b", 2**63 - 1, 600 * 2**53),
            ("a", 2**63 - 1, 600 * 2**53),
        ]


class TestChoice:
    """
    Which sessions are listed.
    """

    async def test_one_event_is_enough(self, collector: Collector) -> None:
        """
        By columns or by text.
        """
        await send(
            collector,
            model_event(session_id="a", model="m"),
            model_event(session_id="a", metadata={"about": "a parcel"}),
            model_event(session_id="b", model="m"),
        )

        assert await listed(collector) == ["b", "a"]
        assert await listed(collector, model="m") == ["b", "a"]
        assert await listed(collector, text="PARCEL") == ["a"]
        assert await listed(collector, text="none") == []

    async def test_a_session_without_events_is_listed(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        From its start on, by its own time, unless events are asked for.
        """
        await start(collector, STARTED, session_name="begun")
        await clock.advance(1)
        await send(collector, model_event(session_id="s"))

        first, second = (await get(collector, "sessions"))["sessions"]

        assert first["session_id"] == "s"
        assert second == {
            "session_id": STARTED,
            "name": "begun",
            "user": None,
            "events": 0,
            "tokens": None,
            "cost": None,
            "errors": 0,
            "duration": None,
            "start": NOW,
            "last": NOW,
        }
        assert await listed(collector, until=NOW + 1) == [STARTED]
        assert await listed(collector, since=NOW + 1) == ["s"]
        assert await listed(collector, error="no") == ["s"]

    async def test_a_search_of_too_much_text_is_of_the_newest(self, tmp_path: Path) -> None:
        """
        The answer says since when.
        """
        async with Store.open(tmp_path / "events.db") as store:
            for n in range(6):
                await store.add([EventRow(LARGE, "e", f"s{n}", ONE, n)])

        async with Collector(db=tmp_path / "events.db") as collector:
            answer = await get(collector, "sessions", text="xx", sort="last")

        assert [session["session_id"] for session in answer["sessions"]] == [
            f"s{n}" for n in range(1, 6)
        ]
        assert answer["searched_from"] == 1


class TestOrder:
    """
    What comes first.
    """

    @pytest.mark.parametrize(
        ("key", "less", "more"),
        [
            ("events", [{}], [{}, {}]),
            ("tokens", [{"usage": {"prompt_tokens": 9}}], [{"usage": {"completion_tokens": 10}}]),
            ("cost", [{"cost": 0.2}, {"cost": 0.2}], [{"cost": 0.5}]),
            ("errors", [{"error": "cancelled"}], [{"error": "no"}]),
            ("duration", [{"duration": 9}], [{"duration": 10}]),
            ("last", [{}], [{}]),
        ],
    )
    async def test_each_figure_sorts_both_ways(
        self,
        collector: Collector,
        clock: FakeClock,
        key: str,
        less: list[dict[str, Any]],
        more: list[dict[str, Any]],
    ) -> None:
        """
        The smallest is first, or with a minus the largest.
        """
        for name, events in (("less", less), ("more", more)):
            await send(collector, *(model_event(session_id=name, **said) for said in events))
            await clock.advance(1)

        assert await listed(collector, sort=key) == ["less", "more"]
        assert await listed(collector, sort=f"-{key}") == ["more", "less"]

    @pytest.mark.parametrize("key", ["name", "user"])
    async def test_texts_sort_in_upper_or_lower_case(self, collector: Collector, key: str) -> None:
        """
        And what has none comes last both ways.
        """
        ids = [f"{STARTED[:-1]}{n}" for n in range(4)]
        for session_id, text in zip(ids, ("beta", "Alpha", None, "Gamma"), strict=True):
            said = {"session_name": text} if key == "name" else {"user_properties": {"id": text}}
            await start(collector, session_id, **(said if text else {}))

        assert await listed(collector, sort=key) == [ids[n] for n in (1, 0, 3, 2)]
        assert await listed(collector, sort=f"-{key}") == [ids[n] for n in (3, 0, 1, 2)]

    @given(
        st.lists(st.none() | st.integers(-1, 1) | st.floats(-1e3, 1e3), min_size=1, max_size=9),
        st.sampled_from([f"{sign}{key}" for sign in ("", "-") for key in KEYS]),
    )
    def test_pages_are_the_sorted_whole(self, costs: list[float | None], sort: str) -> None:
        """
        Each session is on one page, whatever it is sorted by, also while new ones begin.
        """

        async def check() -> None:
            async with Collector(clock=FakeClock()) as collector:
                await send(
                    collector,
                    *(
                        model_event(session_id=f"s{n}", **({} if cost is None else {"cost": cost}))
                        for n, cost in enumerate(costs)
                    ),
                )
                whole = await listed(collector, sort=sort)
                found: list[str] = []
                query: dict[str, Any] = {"sort": sort, "limit": 2}
                while True:
                    answer = await get(collector, "sessions", **query)
                    found += [session["session_id"] for session in answer["sessions"]]
                    if answer["next"] is None:
                        break
                    query["before"] = answer["next"]
                    await send(collector, model_event(session_id=f"new{len(found)}", cost=0.5))
            assert [name for name in found if name.startswith("s")] == whole
            assert len(set(found)) == len(found)
            assert sorted(whole) == [f"s{n}" for n in range(len(costs))]

        asyncio.run(check())


class TestQuery:
    """
    What is asked.
    """

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({"sort": "latency"}, f"sort: must be one of {', '.join(KEYS)}, with - before it"),
            ({"before": "7"}, "before: must be what next was"),
            ({"limit": 1001}, "limit: must be a whole number from 1 to 1000"),
            ({"after": 1}, "there is no such parameter"),
        ],
    )
    async def test_a_bad_query_is_refused(
        self, collector: Collector, query: dict[str, Any], problem: str
    ) -> None:
        """
        The answer says what is allowed.
        """
        answer = await get(collector, "sessions", 400, **query)

        assert answer["message"].startswith(f"query: {problem}")
