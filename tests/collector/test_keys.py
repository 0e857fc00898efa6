"""
What each key of the filter language finds, asked over HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hh_exporter._collector import Collector
from hh_exporter._collector.query.charts import Buckets, series
from hh_exporter._collector.query.keys import KEYS, ROOTS, read_asked
from hh_exporter._collector.query.language import QueryError, read_terms
from hh_exporter._collector.storage.filters import Filter
from hh_exporter._collector.storage.lists import page
from hh_exporter._collector.storage.matching import add_functions
from hh_exporter._collector.storage.rows import EventRow, insert
from hh_exporter._collector.storage.schema import claim, connect
from tests.collector_client import MANY, V1_MANY, exported, get, model_event, post, v1_event

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

CHAT = "7d9f3c1e-0000-4000-8000-0000000000ab"
LONG_ID = "L" * 300
EVENTS = [
    model_event(
        event_id="A",
        session_id=CHAT,
        event_name="Retrieve",
        event_type="tool",
        model="GPT-4o",
        source="Dev",
        user_properties={"user_id": "Ann", "plan": "pro"},
        parent_id=CHAT,
        duration=2000,
        metrics={"time_to_first_token": 400, "score": -0.5},
        cost=0.02,
        hyperparameters={"temperature": 0},
        tools=[{"type": "function", "function": {"name": "look_up"}}],
        usage={"prompt_tokens": 900, "completion_tokens": 100},
        feedback={"rating": 2, "note": "Wrong parcel number"},
        metadata={"tenant": "a", "retries": 3, "tags": ["x", "y"], "a b": {"c.d": 1}},
    ),
    model_event(
        event_id="B",
        session_id=CHAT,
        event_name="retrieval *",
        error="Timeout after 5 s",
        model="grüße",
        duration=999.5,
        cost=0.01,
        usage={"prompt_tokens": 7},
        feedback={"rating": "bad"},
        metadata={"tenant": "b", "cached": True},
        messages=[{"role": "user", "content": "Where is my parcel, 100% sure?"}],
    ),
    v1_event(
        event_id=LONG_ID,
        session_id="S" * 300,
        event_name="n" * 300,
        error="cancelled",
        user_properties={"id": 7},
        config={"temperature": 0.2},
    ),
]
SESSION = {"session_id": CHAT, "session_name": "Support chat", "user_properties": {"id": "Bob"}}

FOUND: dict[str, str] = {
    "model:gpt-4o": "A",
    "model=gpt*": "A",
    "model:*4*": "A",
    "model:gpt": "",
    "model:GRÜSSE": "B",
    "model:*": "AB",
    "-model:*": "L",
    "-model:gpt-4o": "BL",
    'model:"*"': "",
    "MODEL:gpt-4o": "A",
    "provider:OpenAI": "AB",
    "source:dev": "A",
    "kind:tool": "A",
    "kind:model": "BL",
    "name:retriev*": "AB",
    'name:"retrieval *"': "B",
    "name:retrieval%": "",
    f"name:{'n' * 300}": "L",
    "user:ann": "A",
    "user:bob": "B",
    "user:7": "L",
    "-user:bob": "AL",
    'session:"support chat"': "AB",
    "session:support*": "AB",
    f"session:{CHAT.upper()}": "AB",
    f"-session:{CHAT}": "L",
    f"session:{'S' * 300}": "L",
    "id:a": "A",
    f"id:{LONG_ID}": "L",
    "id:L*": "L",
    f"parent:{CHAT}": "A",
    "-parent:*": "BL",
    "error": "B",
    "-error": "AL",
    '"error" id:B': "B",
    "error:timeout": "B",
    "error:timeout*5": "B",
    "error:cancelled": "L",
    "error:*": "BL",
    "latency>1s": "A",
    "latency>=2s": "A",
    "latency:2000": "A",
    "latency=2s": "A",
    "latency<1000ms": "B",
    "latency<1m": "AB",
    "latency<=0.0006h": "AB",
    "-latency>1s": "BL",
    "-latency:*": "L",
    "ttft<.5s": "A",
    "ttft:400": "A",
    "metrics.time_to_first_token<500": "A",
    "cost>0.01": "A",
    "cost>=$0.01": "AB",
    "cost:1e-2": "B",
    "tokens>=1k": "A",
    "tokens:7": "B",
    "tokens_in<900": "B",
    "tokens_out:100": "A",
    "-tokens:*": "L",
    "rating<3": "A",
    "feedback.rating<3": "A",
    "feedback.rating:2": "A",
    "feedback.rating:bad": "B",
    "feedback.rating:*": "AB",
    "note:PARCEL": "A",
    'note:"wrong parcel"': "A",
    "feedback.note:*parcel*": "A",
    "metadata.tenant=a": "A",
    "metadata.tenant:*": "AB",
    "-metadata.tenant:a": "BL",
    "metadata.retries>2": "A",
    "metadata.retries>3": "",
    "metadata.tags=y": "A",
    "metadata.cached=true": "B",
    'metadata."a b"."c.d":1': "A",
    'metadata."a b".c.d>=1': "A",
    "METRICS.score<-0.1": "A",
    "user_properties.plan:PRO": "A",
    "config.temperature<1": "L",
    "inputs.chat_history.role:user": "L",
    "inputs.chat_history.0.content:hi": "L",
    "outputs.content:*LL*": "L",
    "messages.content:*parcel*": "B",
    "messages.0.role:user": "AB",
    "response.content=hello": "AB",
    "usage.prompt_tokens<10": "B",
    "hyperparameters.temperature:*": "A",
    "tools.function.name:look*": "A",
    "feedback:*": "AB",
    "-metadata:*": "L",
    "parcel": "AB",
    "parcel wrong": "A",
    "parcel -wrong": "B",
    '"my parcel"': "B",
    "100%": "B",
    "100_": "",
    "Parc*": "AB",
    "nosuch": "",
    "-nosuch": "ABL",
    "": "ABL",
    "parcel metadata.tenant:b error latency<1s model:gr* -kind:tool": "B",
}


async def send(collector: Collector) -> None:
    status, answer = await post(collector, MANY, {"model_events": EVENTS[:2]})
    assert status == 200, answer
    status, answer = await post(collector, V1_MANY, {"events": EVENTS[2:]})
    assert status == 200, answer


async def ask(collector: Collector, **query: str) -> tuple[int, Any]:
    async with (
        ClientSession(collector.url) as client,
        client.get("/api/events", params=query) as response,
    ):
        return response.status, orjson.loads(await response.read())


async def test_each_key_finds_what_it_says(tmp_path: Path) -> None:
    """
    Upper and lower case are the same, and what is missing is like no value.
    """
    async with Collector(db=tmp_path / "events.db") as collector:
        assert (await post(collector, "/session/start", {"session": SESSION}))[0] == 200
        await send(collector)

        found = {}
        for text in FOUND:
            status, answer = await ask(collector, filter=text)
            assert status == 200, answer
            found[text] = "".join(event["event_id"][0] for event in reversed(answer["events"]))
        lines = await exported(collector, "/api/events.jsonl?filter=metadata.tenant:b")

    assert found == FOUND
    assert [orjson.loads(line)["event_id"] for line in lines] == ["B"]
    keys = {term.key[0].lower() for text in FOUND for term in read_terms(text) if term.key}
    assert keys == {*KEYS, *ROOTS}


async def test_a_filter_is_joined_with_the_other_parameters() -> None:
    """
    Both must hold, and text is searched for each.
    """
    async with Collector() as collector:
        await send(collector)

        _, answer = await ask(collector, filter="parcel error", text="100%", model="grüße")
        _, nothing = await ask(collector, filter="parcel", text="nosuch")

    assert [event["event_id"] for event in answer["events"]] == ["B"]
    assert nothing["events"] == []


LISTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("events", {}, "events", "B"),
    ("events", {"sort": "-latency"}, "events", "B"),
    ("sessions", {}, "sessions", CHAT),
    ("news", {"after": 0}, "events", "B"),
]


async def test_each_route_with_filters_takes_one() -> None:
    """
    Lists, sums, charts, what is new, exports and streams are of the same events.
    """
    text = 'user:bob session:"support chat" error latency<1s parcel metadata.tenant:b -kind:tool'
    async with Collector() as collector:
        await post(collector, "/session/start", {"session": SESSION})
        await send(collector)

        for route, more, rows, expected in LISTS:
            answer = await get(collector, route, filter=text, **more)
            ids = [row.get("event_id", row["session_id"]) for row in answer[rows]]
            assert ids == [expected], route
        totals = await get(collector, "totals", filter=text)
        charted = await get(collector, "series", filter=text, by="model")
        lines = await exported(collector, f"/api/events.jsonl?filter={quote(text)}")
        async with (
            ClientSession(collector.url) as client,
            client.get("/api/stream", params={"filter": text, "after": "0"}) as stream,
        ):
            while (line := await stream.content.readline()) != b"event: events\n":
                assert line
            await stream.content.readline()
            new = orjson.loads((await stream.content.readline()).removeprefix(b"data: "))

    assert totals["events"] == 1
    assert sum(charted["groups"][0]["count"]) == 1
    assert [orjson.loads(line)["event_id"] for line in lines] == ["B"]
    assert ([event["event_id"] for event in new["events"]], new["skipped"]) == (["B"], 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x foo:1", "character 3: there is no key foo; known are model, provider, "),
        ("foo.bar:1", "character 1: there is no key foo.bar; "),
        ("model.x:1", "character 1: there is no key model.x; "),
        ("error: none", "character 1: a value is missing; key:* finds any, and -key:* finds none"),
        ('-model:""', "character 1: a value is missing"),
        ("metadata.a:", "character 1: a value is missing"),
        ("metadata:a", "character 1: metadata has values in it: name one, such as metadata.size"),
        ("metadata>1", "character 1: metadata has values in it"),
        ("metadata.a>x", "character 1: > needs a number, such as 2, 0.5 or 1k"),
        ("metadata.a>2s", "character 1: > needs a number, such as 2, 0.5 or 1k"),
        ("metadata.a>1e999", "character 1: > needs a number"),
        (f"metadata{'.a' * 16}:1", "character 1: a path must have at most 16 parts"),
        ("model>a", "character 1: model is a text: it takes : or ="),
        ("id<=a", "character 1: id is a text: it takes : or ="),
        ("latency>fast", "character 1: latency must be a time, such as 2s, 500ms or 1m; "),
        ("latency:2*", "character 1: latency must be a time"),
        ('latency:"*"', "character 1: latency must be a time"),
        ("cost:€1", "character 1: cost must be an amount in USD, such as 0.01 or $0.01"),
        ("tokens>1s", "character 1: tokens must be a number, such as 2, 0.5 or 1k, or * for any"),
        ("feedback.rating<x", "character 1: feedback.rating must be a number"),
        ('a ""', "character 3: there is no text between the quotes"),
        ("x " * 17, "character 33: must have at most 16 terms"),
        ("x" * 2001, "must have at most 2000 characters"),
    ],
)
async def test_a_filter_that_is_none_is_refused(text: str, problem: str) -> None:
    """
    The message names the parameter, and says where it is wrong and what is allowed.
    """
    async with Collector() as collector:
        status, answer = await ask(collector, filter=text)

    assert status == 400
    assert answer["message"].startswith(f"query: filter: {problem}")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    db = connect(tmp_path_factory.mktemp("keys") / "events.db")
    claim(db, "events.db")
    add_functions(db)
    rows = [EventRow(orjson.dumps(event), "e", "s", MANY, 1) for event in EVENTS]
    insert(db, 1, rows)
    yield db
    db.close()


KEY = st.sampled_from([*KEYS, *ROOTS, "", "-", *(f"{root}.a.0" for root in ROOTS)])
OPERATOR = st.sampled_from([":", "=", ">", ">=", "<", "<="])
VALUE = st.sampled_from(["*", "2s", "$1", "1k", "-.5", "9" * 400, "1e308", '"\0"']) | st.text()
TERM = st.builds("".join, st.tuples(KEY, OPERATOR, VALUE))


@pytest.mark.parametrize(
    ("text", "problem"), [("", False), ("model:gpt-4o -error", False), ("latency>soon", True)]
)
async def test_a_filter_can_be_checked_while_it_is_typed(text: str, problem: bool) -> None:
    """
    The answer says the same as that of a route that refuses it.
    """
    async with Collector() as collector:
        checked = await get(collector, "filter", filter=text)
        status, answer = await ask(collector, filter=text)

    assert (checked["problem"] is not None) == problem == (status == 400)
    if problem:
        assert answer["message"] == f"query: filter: {checked['problem']}"


@given(st.builds(" ".join, st.lists(TERM, max_size=20)) | st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_filter_or_is_refused(db: sqlite3.Connection, text: str) -> None:
    """
    Nothing else is raised, and SQLite can ask whatever it says.
    """
    try:
        wanted = Filter(filter=read_asked(text))
    except QueryError:
        return
    assert len(page(db, wanted, 10).events) <= len(EVENTS)
    series(db, wanted, Buckets(0, 10, 1), by_model=True)


@pytest.mark.parametrize("term", ["-metadata.a.b:x*y", "-session:x*y", "tokens<1", "-a"])
def test_as_many_terms_as_are_allowed_can_be_asked(db: sqlite3.Connection, term: str) -> None:
    """
    No bound of SQLite is below ours.
    """
    page(db, Filter(filter=read_asked(f"{term} " * 16)), 10)


def test_a_term_costs_one_parameter_whatever_is_in_it(db: sqlite3.Connection) -> None:
    """
    No character is SQL.
    """
    sql = read_asked("""model:"') OR 1 --" id:%_ "'" cost>1""").columns

    assert "'" not in sql.condition.replace("'cancelled'", "")
    assert "%" not in sql.condition
    assert sql.condition.count("?") == len(sql.parameters)
