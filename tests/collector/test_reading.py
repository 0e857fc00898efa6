"""
GET /api: lists, single events, sessions, counts and exports, over real sockets.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from hh_exporter._collector.storage.store import EventRow, Store
from hh_exporter._collector.storage.summary import NARROW
from hh_exporter._version import __version__
from tests.collector_client import (
    MANY,
    ONE,
    V1_MANY,
    V1_ONE,
    exported,
    get,
    model_event,
    post,
    v1_event,
)
from tests.support import EPOCH, FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = int(EPOCH * 1000)
MANY_ROWS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100049)
    INSERT INTO events (time, event_id, session_id, start, type, path, size)
    SELECT 0, 'e', 's', 0, 'model', '/', 2 FROM n
"""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def collector(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(clock=clock) as collector:
        yield collector


async def send(collector: Collector, *events: dict[str, Any]) -> None:
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


async def listed(collector: Collector, **query: Any) -> list[str]:
    answer = await get(collector, "events", **query)
    return [event["event_id"] for event in answer["events"]]


class TestList:
    """
    GET /api/events.
    """

    async def test_an_event_is_shown_in_short(self, collector: Collector) -> None:
        """
        A summary has each key, whatever the event says.
        """
        said: dict[str, Any] = {
            "event_id": "e",
            "session_id": "s",
            "event_name": "chat",
            "source": "dev",
        }
        said |= {"parent_id": "up", "user_properties": {"user_id": "ann"}}
        said |= {"metrics": {"time_to_first_token": 9.5}, "feedback": {"rating": 5, "note": "good"}}
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        await send(collector, model_event(**said, usage=usage, cost=0.25, error="no", end_time=50))

        answer = await get(collector, "events")

        assert answer == {
            "events": [
                {
                    "id": 1,
                    "time": NOW,
                    "event_id": "e",
                    "session_id": "s",
                    "start": 7.5,
                    "name": "chat",
                    "type": "model",
                    "model": "gpt-4o",
                    "provider": "openai",
                    "source": "dev",
                    "tokens_in": 3,
                    "tokens_out": 4,
                    "cost": 0.25,
                    "duration": 42.5,
                    "error": "no",
                    "parent_id": "up",
                    "user": "ann",
                    "time_to_first_token": 9.5,
                    "rating": 5,
                    "note": "good",
                    "path": MANY,
                    "session_name": None,
                    "preview": {"input": "hi", "output": "hello"},
                }
            ],
            "next": None,
        }

    async def test_what_an_event_does_not_say_is_null(self, collector: Collector) -> None:
        """
        Only its ids, its type and its times are always there.
        """
        await post(collector, V1_ONE, {"event_type": "tool", "inputs": {}})

        [event] = (await get(collector, "events"))["events"]

        assert event.keys() == {*NARROW, "session_name", "preview"} - {"size"}
        known = {name: value for name, value in event.items() if value is not None}
        assert known == {
            "preview": {"input": None, "output": None},
            "id": 1,
            "time": NOW,
            "start": NOW,
            "type": "tool",
            "path": V1_ONE,
            "event_id": known["event_id"],
            "session_id": known["session_id"],
        }

    async def test_pages_hold_each_event_once(self, collector: Collector) -> None:
        """
        From the newest on, each page says where the next one begins, and the last that it is.
        """
        await send(collector, *(model_event(event_id=f"e{n}") for n in range(20)))

        found: list[str] = []
        query: dict[str, Any] = {"limit": 5}
        while True:
            answer = await get(collector, "events", **query)
            found += [event["event_id"] for event in answer["events"]]
            if answer["next"] is None:
                break
            query["before"] = answer["next"]

        assert found == [f"e{n}" for n in reversed(range(20))]

    async def test_after_shows_only_what_is_new(self, collector: Collector) -> None:
        """
        The newest come first, and the pages end where the known ones begin.
        """
        await send(collector, *(model_event(event_id=f"e{n}") for n in range(6)))

        first = await get(collector, "events", after=2, limit=3)
        second = await get(collector, "events", after=2, limit=3, before=first["next"])

        assert [event["id"] for event in first["events"]] == [6, 5, 4]
        assert ([event["id"] for event in second["events"]], second["next"]) == ([3], None)

    async def test_a_page_looks_at_so_many_rows(self, tmp_path: Path) -> None:
        """
        Where few events are as asked for, a page may be empty and yet not the last.
        """
        db = tmp_path / "events.db"
        async with Collector(db=db) as collector:
            await send(collector, model_event(model="rare"))
        with closing(sqlite3.connect(db)) as connection, connection:
            connection.execute(MANY_ROWS)

        async with Collector(db=db) as collector:
            first = await get(collector, "events", model="rare")
            second = await get(collector, "events", model="rare", before=first["next"])

        assert (first["events"], first["next"]) == ([], 51)
        assert ([event["id"] for event in second["events"]], second["next"]) == ([1], None)

    async def test_an_empty_collector_has_nothing(self, collector: Collector) -> None:
        """
        An empty list is an answer, too.
        """
        assert await get(collector, "events") == {"events": [], "next": None}


FOUND: list[tuple[dict[str, Any], str]] = [
    ({"since": NOW + 1000}, "cb"),
    ({"until": NOW + 1000}, "a"),
    ({"since": NOW + 1, "until": NOW + 2000}, "b"),
    ({"model": "m"}, "b"),
    ({"model": "M"}, ""),
    ({"provider": "p"}, "c"),
    ({"session": "s"}, "b"),
    ({"session": "s" * 300}, "a"),
    ({"source": "dev"}, "a"),
    ({"event_id": "a"}, "a"),
    ({"event_id": "c" * 300}, "c"),
    ({"type": "model"}, "ba"),
    ({"error": "yes"}, "b"),
    ({"error": "no"}, "ca"),
    ({"error": "no", "type": "model"}, "a"),
    ({"model": "", "text": ""}, "cba"),
    ({"model": "' OR 1 --"}, ""),
]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit: must be a whole number from 1 to 1000"),
    ({"limit": 1001}, "limit: must be a whole number from 1 to 1000"),
    ({"limit": "ten"}, "limit: must be a whole number"),
    ({"before": -1}, "before: must be a whole number"),
    ({"before": "٣"}, "before: must be a whole number"),
    ({"since": "1e3"}, "since: must be a whole number"),
    ({"until": "9" * 30}, "until: must be a whole number"),
    ({"error": "maybe"}, "error: must be yes or no"),
    ({"text": "x" * 2001}, "text: must have at most 2000 characters"),
    ({"colour": "red"}, "there is no such parameter; known are since"),
]


class TestFilters:
    """
    Which events are meant.
    """

    @pytest.fixture
    async def collector(self, clock: FakeClock) -> AsyncIterator[Collector]:
        async with Collector(clock=clock) as collector:
            cancelled = model_event(
                event_id="a", session_id="s" * 300, source="dev", error="cancelled"
            )
            await send(collector, cancelled)
            await clock.advance(1)
            await send(collector, model_event(event_id="b", model="m", error="no", session_id="s"))
            await clock.advance(1)
            events = [v1_event(event_id="c" * 300, event_type="tool", config={"provider": "p"})]
            await post(collector, V1_MANY, {"events": events})
            yield collector

    async def test_only_what_is_asked_for_is_shown(self, collector: Collector) -> None:
        """
        All conditions must hold, and a blank one is none.
        """
        for query, expected in FOUND:
            names = [name[0] for name in await listed(collector, **query)]
            assert (query, "".join(names)) == (query, expected)

    async def test_a_shown_id_finds_its_event(self, collector: Collector) -> None:
        """
        What a summary shows of an id that is too long stands for it.
        """
        for event in (await get(collector, "events"))["events"]:
            ids = {"event_id": event["event_id"], "session": event["session_id"]}
            assert await listed(collector, **ids) == [event["event_id"]]

    async def test_a_bad_query_is_refused(self, collector: Collector) -> None:
        """
        The answer names the parameter and says what it must be.
        """
        for query, problem in REFUSED:
            answer = await get(collector, "events", 400, **query)
            assert answer["errorCode"] == "invalid_request"
            assert answer["message"].startswith(f"query: {problem}")

    async def test_a_parameter_is_given_once(self, collector: Collector) -> None:
        """
        Of two values no one could say which is meant.
        """
        answer = await get(collector, "events?type=model&type=tool", 400)

        assert answer["message"] == "query: type: must be given once"


SEARCHED = {
    "50% off": True,
    "50_ off": False,
    "5%off": False,
    "C:\\new": True,
    "C:\new": False,
    'say "hi"': True,
    "two\nlines": True,
    "two lines": False,
    "a\tb": True,
    "snow_man ☃": True,
    "snow-man": False,
    "HELLO wOrLd": True,
    "grüße": True,
    "🎈": True,
    "\0": True,
    "\x1f": False,
    "my-Session": True,
    "my-id": True,
}


class TestText:
    """
    Search in the text of events.
    """

    async def test_text_is_found_as_it_was_written(self, collector: Collector) -> None:
        """
        No character means anything but itself, and ASCII letters match in either case.
        """
        written = '50% off C:\\new say "hi" two\nlines a\tb snow_man ☃ Hello World Grüße grüße 🎈\0'
        event = model_event(event_id="my-id", metadata={"deep": [written]})
        properties = {"session_id": "my-session"}
        body = {"model_events": [event], "single_session": True, "session": properties}
        await post(collector, MANY, body)
        await send(collector, model_event(event_id="other"))

        found = {text: await listed(collector, text=text) for text in SEARCHED}
        assert found == {text: ["my-id"] * is_there for text, is_there in SEARCHED.items()}

    @pytest.mark.parametrize(
        ("text", "is_there"),
        [
            ("Zürich", True),
            ("zürich", True),
            ("🎈", True),
            ('"city": "Z', True),
            ("C:\\new", True),
            ("C:\new", False),
            ("ÄPFEL", True),
            ("äpfel", True),
        ],
    )
    async def test_json_within_a_text_is_found_as_it_reads(
        self, collector: Collector, text: str, is_there: bool
    ) -> None:
        """
        Arguments of tools are such, escaped once or twice; letters match in either case.
        """
        arguments = json.dumps({"city": "Zürich 🎈", "path": "C:\\new", "of": "Äpfel"})
        for content in (arguments, json.dumps({"arguments": arguments})):
            await send(collector, model_event(messages=[{"role": "tool", "content": content}]))

        assert len(await listed(collector, text=text)) == (2 if is_there else 0)

    async def test_ids_that_the_collector_made_are_found(self, collector: Collector) -> None:
        """
        They are in no event's text, but are shown, so that they can be asked for.
        """
        await send(collector, model_event(), model_event())
        newest, _ = (await get(collector, "events"))["events"]

        for name in ("event_id", "session_id"):
            assert await listed(collector, text=newest[name][4:]) == [newest["event_id"]]

    async def test_the_worst_search_takes_no_longer(self, tmp_path: Path) -> None:
        """
        What is almost found everywhere is looked for as fast as anything else.
        """
        async with Store.open(tmp_path / "events.db") as store:
            text = b'{"text":"%b"}' % (b"x" * 30 * 2**20)
            await store.add([EventRow(text, "e", "s", ONE, NOW)])

        async with Collector(db=tmp_path / "events.db") as collector:
            assert await listed(collector, text="x" * 1999 + "y") == []
            assert len(await listed(collector, text="X" * 2000)) == 1

    async def test_a_search_is_done_bit_by_bit(self, tmp_path: Path) -> None:
        """
        One request looks through so many megabytes, and says from where to go on.
        """
        big = [b'{"text":"%d%b"}' % (n, b"x" * 12 * 2**20) for n in range(6)]
        async with Store.open(tmp_path / "events.db") as store:
            for text in big:
                await store.add([EventRow(text, "e", "s", ONE, NOW)])

        async with Collector(db=tmp_path / "events.db") as collector:
            pages = [await get(collector, "events", text="0xx")]
            while pages[-1]["next"] is not None:
                before = pages[-1]["next"]
                pages.append(await get(collector, "events", text="0xx", before=before))

        found = [[event["id"] for event in page["events"]] for page in pages]
        assert found == [[], [1]]


class TestEvent:
    """
    GET /api/events/{id}.
    """

    async def test_an_event_is_shown_as_it_was_sent(self, collector: Collector) -> None:
        """
        Its text is what came, however deep, with the summary beside it.
        """
        deep = orjson.Fragment(b"[" * 900 + b"]" * 900)
        event = orjson.dumps(model_event(metadata={"deep": deep}, event_id="e"))
        await post(collector, ONE, b'{"model_event":' + event + b"}")

        async with ClientSession() as client:
            response = await client.get(f"{collector.url}/api/events/1")
            text = await response.read()

        [summary] = (await get(collector, "events"))["events"]
        assert text == b'{"summary":' + orjson.dumps(summary) + b',"event":' + event + b"}"

    @pytest.mark.parametrize("path", ["events/2", "events/0", "events/" + "9" * 18])
    async def test_an_unknown_one_is_not_found(self, collector: Collector, path: str) -> None:
        """
        One that never was, or is gone, is 404.
        """
        await send(collector, model_event())

        assert (await get(collector, path, 404))["errorCode"] == "not_found"

    @pytest.mark.parametrize("path", ["events/x", "events/-1", "events/1/", "events/" + "9" * 19])
    async def test_what_is_no_number_is_not_found(self, collector: Collector, path: str) -> None:
        """
        There is nothing at other paths.
        """
        assert (await get(collector, path, 404))["errorCode"] == "not_found"


class TestSession:
    """
    GET /api/sessions/{session_id}.
    """

    async def test_a_session_is_shown_with_its_events(self, collector: Collector) -> None:
        """
        Whatever it is called; its events come in order of arrival.
        """
        for session_id in (
            "s",
            "a/b",
            "..;/x",
            "{x}",
            "50%25",
            "?#&",
            "é🎈",
            "\0",
            "a\nb",
            " ",
            "x" * 300,
            "",
        ):
            properties = {"session_id": session_id, "session_name": "n"}
            events = [model_event(event_id=f"e{n}") for n in range(3)]
            body = {"model_events": events, "single_session": True, "session": properties}
            await post(collector, MANY, body)

            answer = await get(collector, f"sessions/{quote(session_id, safe='')}")

            shown = answer.pop("events")
            assert [event["event_id"] for event in shown] == ["e0", "e1", "e2"]
            assert answer == {
                "session_id": session_id,
                "properties": properties,
                "time": NOW,
                "next": None,
            }

    async def test_a_shown_id_finds_its_session(self, collector: Collector) -> None:
        """
        What a summary shows of an id that is too long stands for it.
        """
        await send(collector, model_event(session_id="x" * 300))
        [event] = (await get(collector, "events"))["events"]

        answer = await get(collector, f"sessions/{event['session_id']}")

        assert (answer["session_id"], answer["events"]) == ("x" * 300, [event])

    async def test_a_long_session_comes_in_parts(self, collector: Collector) -> None:
        """
        A part says after which event the next one begins.
        """
        await send(collector, *(model_event(session_id="s") for n in range(5)))

        first = await get(collector, "sessions/s", limit=3)
        second = await get(collector, "sessions/s", limit=3, after=first["next"])

        assert [event["id"] for event in first["events"]] == [1, 2, 3]
        assert ([event["id"] for event in second["events"]], second["next"]) == ([4, 5], None)

    async def test_an_unknown_one_is_not_found(self, collector: Collector) -> None:
        """
        A session that no request named is 404.
        """
        assert (await get(collector, "sessions/none", 404))["errorCode"] == "not_found"


class TestFacets:
    """
    GET /api/facets.
    """

    async def test_values_are_counted(self, collector: Collector) -> None:
        """
        The most frequent come first; events without a value count for none.
        """
        models = ["b", "a", "c", "a", "b", "a"]
        user = {"user_properties": {"user_id": "ann"}}
        await send(collector, *(model_event(model=model, **user) for model in models))
        await post(collector, V1_ONE, v1_event(source="dev", event_name="call"))
        session = {"session_id": str(uuid4()), "session_name": "support chat"}
        await post(collector, "/session/start", {"session": session})

        assert await get(collector, "facets") == {
            "types": [{"value": "model", "count": 7}],
            "models": [
                {"value": "a", "count": 3},
                {"value": "b", "count": 2},
                {"value": "c", "count": 1},
            ],
            "providers": [{"value": "openai", "count": 6}],
            "sources": [{"value": "dev", "count": 1}],
            "names": [{"value": "call", "count": 1}],
            "users": [{"value": "ann", "count": 6}],
            "sessions": [{"value": "support chat", "count": 1}],
        }

    async def test_there_are_at_most_a_hundred_of_each(self, collector: Collector) -> None:
        """
        What is rarer can still be asked for, but is not offered.
        """
        await send(collector, *(model_event(model=f"m{n}") for n in range(150)))

        assert len((await get(collector, "facets"))["models"]) == 100


def percentile(values: list[int], percent: int) -> float | None:
    """
    Find the least of *values* that so many percent of them are not above.
    """
    enough = (
        n for n in sorted(values) if sum(m <= n for m in values) * 100 >= percent * len(values)
    )
    return next(enough, None)


class TestSeries:
    """
    GET /api/series.
    """

    async def test_each_bucket_counts_its_own(self, collector: Collector, clock: FakeClock) -> None:
        """
        Sums and exact percentiles are those of the events that arrived in it.
        """
        rng = random.Random(7)
        buckets = [[rng.randrange(100) for _ in range(size)] for size in (1, 40, 0, 7)]
        for durations in buckets:
            usage = {"prompt_tokens": 3, "completion_tokens": 4}
            await send(
                collector,
                *(
                    model_event(duration=n, usage=usage, cost=0.5, error=("cancelled", "no")[n % 2])
                    for n in durations
                ),
            )
            await clock.advance(1)

        answer = await get(collector, "series", since=NOW, until=NOW + 4000, step=1000)

        [group] = answer.pop("groups")
        assert answer == {
            "since": NOW,
            "until": NOW + 4000,
            "step": 1000,
            "times": [NOW, NOW + 1000, NOW + 2000, NOW + 3000],
            "searched_from": None,
        }
        assert group == {
            "name": None,
            "count": [1, 40, 0, 7],
            "errors": [sum(n % 2 for n in durations) for durations in buckets],
            "tokens_in": [3, 120, 0, 21],
            "tokens_out": [4, 160, 0, 28],
            "cost": [0.5, 20, 0, 3.5],
            "p50": [percentile(durations, 50) for durations in buckets],
            "p95": [percentile(durations, 95) for durations in buckets],
        }

    async def test_models_have_groups(self, collector: Collector) -> None:
        """
        The eight most frequent ones have their own, and all others one together.
        """
        often = [f"m{n}" for n in range(8)]
        for model in [*often, *often, "rare", "other"]:
            await send(collector, model_event(model=model, duration=len(model)))
        await post(collector, V1_ONE, v1_event())

        answer = await get(collector, "series", by="model", since=NOW, until=NOW + 1, step=1)

        counted = {group["name"]: (group["count"], group["p95"]) for group in answer["groups"]}
        assert counted == {**dict.fromkeys(often, ([2], [2])), "other": ([3], [5])}

    async def test_there_is_no_group_of_nothing(self, collector: Collector) -> None:
        """
        Without events there is one empty group, or by model none.
        """
        query = {"since": NOW, "until": NOW + 2, "step": 1}

        [group] = (await get(collector, "series", **query))["groups"]

        assert (group["count"], group["p50"]) == ([0, 0], [None, None])
        assert (await get(collector, "series", by="model", **query))["groups"] == []

    @pytest.mark.parametrize(
        ("query", "expected"), [({"model": "m"}, 1), ({"text": "needle"}, 2), ({"error": "yes"}, 0)]
    )
    async def test_filters_apply(
        self, collector: Collector, query: dict[str, Any], expected: int
    ) -> None:
        """
        Only what is asked for is counted.
        """
        needle = {"metadata": {"hay": "needle"}}
        await send(
            collector, model_event(model="m", **needle), model_event(**needle), model_event()
        )

        [group] = (await get(collector, "series", **query))["groups"]

        assert sum(group["count"]) == expected

    async def test_without_times_it_is_all_there_is(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        From the first event until now, in a hundred steps.
        """
        await send(collector, model_event())
        await clock.advance(99.999)
        await send(collector, model_event())

        answer = await get(collector, "series")

        assert (answer["since"], answer["step"], len(answer["times"])) == (NOW, 1000, 100)
        assert answer["groups"][0]["count"] == [1, *[0] * 98, 1]

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({"since": 5, "until": 5}, "until: must be after since"),
            ({"since": 0, "until": 1001, "step": 1}, "step: must make at most 1000 steps"),
            ({"step": 0}, "step: must be a whole number"),
            ({"by": "colour"}, "by: must be one of model"),
            ({"limit": 1}, "there is no such parameter"),
        ],
    )
    async def test_a_bad_query_is_refused(
        self, collector: Collector, query: dict[str, Any], problem: str
    ) -> None:
        """
        So is one whose answer would be too large.
        """
        answer = await get(collector, "series", 400, **query)

        assert answer["message"].startswith(f"query: {problem}")

    async def test_the_largest_numbers_add_up(self, collector: Collector) -> None:
        """
        No sum of what was sent is too large to be answered.
        """
        usage = {"prompt_tokens": 2**53, "completion_tokens": 2**64 - 1}
        await send(collector, *[model_event(usage=usage, cost=2**53)] * 1100)

        [group] = (await get(collector, "series", step=1000))["groups"]

        assert group["tokens_in"] == [2**63 - 1]
        assert group["tokens_out"] == [0]
        assert group["cost"] == [1100 * 2**53]


class TestStats:
    """
    GET /api/stats.
    """

    async def test_they_say_how_much_there_is(self, clock: FakeClock, tmp_path: Path) -> None:
        """
        Count, times and size are those of the events that are kept.
        """
        async with Collector(
            clock=clock, max_events=2, max_age=60, max_bytes=10_000_000
        ) as collector:
            for _ in range(3):
                await send(collector, model_event())
                await clock.advance(1)

            stats = await get(collector, "stats")

        assert stats.pop("bytes") > 0
        assert stats.pop("store")
        assert stats == {
            "events": 2,
            "oldest": NOW + 1000,
            "newest": NOW + 2000,
            "file": None,
            "max_events": 2,
            "max_age": 60,
            "max_bytes": 10_000_000,
            "version": __version__,
        }

    async def test_a_database_is_known_by_its_id(self, tmp_path: Path) -> None:
        """
        It stays over a restart, and another database has another.
        """
        ids = []
        for db in (tmp_path / "a.db", tmp_path / "a.db", tmp_path / "b.db", None):
            async with Collector(db=db) as collector:
                stats = await get(collector, "stats")
                assert (stats["events"], stats["oldest"], stats["newest"]) == (0, None, None)
                assert stats["file"] == (db and str(db))
                ids.append(stats["store"])

        assert ids[0] == ids[1]
        assert len({*ids}) == 3


class TestExport:
    """
    GET /api/events.jsonl with filters.
    """

    async def test_only_what_is_asked_for_is_exported(self, collector: Collector) -> None:
        """
        It takes the filters of the list, over many megabytes as well.
        """
        filler = {"metadata": {"filler": "x" * 2**16}}
        events = [
            model_event(event_id=f"event-{n}", model=f"m{n % 10}", **filler) for n in range(100)
        ]
        for part in (events[:50], events[50:]):  # no request may have more than 5 MB
            await send(collector, *part)

        lines = await exported(collector, "/api/events.jsonl?model=m3&text=event-43")

        assert [orjson.loads(line)["event_id"] for line in lines] == ["event-43"]

    @pytest.mark.parametrize("path", ["events.jsonl?limit=5", "sessions.jsonl?model=m"])
    async def test_other_parameters_are_refused(self, collector: Collector, path: str) -> None:
        """
        What an export would not heed, it does not take.
        """
        assert "no such parameter" in (await get(collector, path, 400))["message"]
