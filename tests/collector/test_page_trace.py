"""
What the collector's page makes of a trace: sums, lanes, and where one event stands in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter import Exporter
from hh_exporter._cli._trace import agent_trace
from hh_exporter._collector import Collector
from tests.collector_client import V1_MANY, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
BEGIN = 1_796_037_000_000
ENTER, TAB = "\ue007", "\ue004"
SUMS = """
return import("/page/js/trace/branches.js").then(({ growTree, nodesOf }) =>
  Object.fromEntries(nodesOf(growTree(arguments[0])).map(({ event, sum }) => [
    event.id, [sum.events, sum.errors, sum.tokens_in, sum.cost]])))
"""
LANES = """
return import("/page/js/trace/branches.js").then(({ growTree, nodesOf }) =>
  nodesOf(growTree(arguments[0]))
    .map(({ event, part, lane, group }) => [event.event_id, part, lane, group?.lanes ?? null]))
"""
PATH = "return [...document.querySelectorAll('.path li')].map((e) => e.textContent)"
IS_PATH = f"return JSON.stringify((() => {{ {PATH} }})()) === JSON.stringify(arguments[0])"
FOCUS = "return document.activeElement.id"
RAILS = """
return Object.fromEntries([...document.querySelectorAll(".tree-row")].map((row) => [
  row.querySelector(".bar-name").textContent,
  [...row.querySelectorAll(".rail")].map((rail) => rail.dataset.part)]))
"""
ROW_OF = """
return fetch("/api/events?limit=1000").then((answer) => answer.json()).then(({ events }) =>
  events.find(({ name }) => name.trim() === arguments[0])?.id)
"""
TOO_WIDE = (
    "const e = document.querySelector('.detail-content');"
    "return document.documentElement.scrollWidth > innerWidth || e.scrollWidth > e.clientWidth"
)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def row(row_id: int, kind: str, parent: str | None, **more: Any) -> dict[str, Any]:
    """
    Make a summary as lists have it; its event's id is "e" and that of the row.
    """
    return {
        "id": row_id,
        "event_id": f"e{row_id}",
        "session_id": "s",
        "parent_id": parent,
        "type": kind,
        "start": row_id,
        "duration": None,
        "error": None,
        "tokens_in": None,
        "tokens_out": None,
        "cost": None,
        **more,
    }


def step(name: str, parent: str, start: int, duration: int, kind: str = "tool", **more: Any) -> Any:
    """
    Make an event whose id is its name.
    """
    return {
        "event_type": kind,
        "event_name": name,
        "event_id": name,
        "parent_id": parent,
        "session_id": SESSION,
        "inputs": {},
        "start_time": BEGIN + start,
        "duration": duration,
        **more,
    }


FAN = [
    step("answer", SESSION, 0, 1000, "chain"),
    step("plan", "answer", 0, 100, "model", metadata={"prompt_tokens": 12, "cost": 0.25}),
    step("search", "answer", 100, 400),
    step("rank", "search", 200, 100, "model", metadata={"prompt_tokens": 30}),
    step("lookup", "answer", 100, 500, error="timed out"),
    step("reply", "answer", 600, 300, "model"),
]


async def send(collector: Collector, *events: Any) -> None:
    assert (await post(collector, V1_MANY, {"events": list(events)}))[0] == 200


async def open_event(page: Browser, name: str, tab: str = "") -> None:
    """
    Open the event that has this name, by its address.
    """
    row_id = await page.until(ROW_OF, name)
    await page.run("location.hash = arguments[0]", f"event={row_id}{tab and f'&tab={tab}'}")


@pytest.mark.parametrize(
    ("rows", "sums"),
    [
        (
            [
                row(1, "chain", None),
                row(2, "model", "e1", tokens_in=5, cost=0.5),
                row(3, "tool", "e1"),
            ],
            {"1": [3, 0, 5, 0.5], "2": [1, 0, 5, 0.5], "3": [1, 0, None, None]},
        ),
        (
            [row(1, "chain", None, tokens_in=30), row(2, "model", "e1", tokens_in=30)],
            {"1": [2, 0, 30, None], "2": [1, 0, 30, None]},
        ),
        (
            [row(1, "chain", None, tokens_in=50), row(2, "model", "e1", tokens_in=30)],
            {"1": [2, 0, 50, None], "2": [1, 0, 30, None]},
        ),
        (
            [row(1, "model", None, tokens_in=30), row(2, "model", "e1", tokens_in=30)],
            {"1": [2, 0, 30, None], "2": [1, 0, 30, None]},
        ),
        (
            [
                row(1, "model", None, tokens_in=30),
                row(2, "tool", "e1"),
                row(3, "model", "e2", tokens_in=7),
            ],
            {"1": [3, 0, 37, None], "2": [2, 0, 7, None], "3": [1, 0, 7, None]},
        ),
        (
            [
                row(1, "session", None, event_id="s", tokens_in=99, cost=9),
                row(2, "model", "s", tokens_in=1, error="failed"),
                row(3, "model", "s", tokens_in=2, error="cancelled"),
            ],
            {"1": [3, 1, 3, None], "2": [1, 1, 1, None], "3": [1, 0, 2, None]},
        ),
        (
            [
                row(1, "model", "c", event_id="m", tokens_in=5, error="failed"),
                row(2, "model", "c", event_id="m", tokens_in=5, error="failed"),
                row(3, "chain", None, event_id="c"),
            ],
            {"1": [1, 0, None, None], "2": [1, 1, 5, None], "3": [3, 1, 5, None]},
        ),
    ],
    ids=[
        "summed",
        "repeated",
        "the larger",
        "twice seen",
        "within a call",
        "session",
        "sent twice",
    ],
)
async def test_nothing_counts_twice(
    page: Browser, rows: list[dict[str, Any]], sums: dict[str, list[Any]]
) -> None:
    """
    A branch has the sum of what is below it, or what its event says of the whole.
    """
    assert await page.run(SUMS, rows) == sums


async def test_what_overlaps_has_lanes(page: Browser) -> None:
    """
    A group ends where nothing of it runs any more; one that ended frees its lane.
    """
    times = [(0, 10), (2, 30), (12, 5), (29, 20), (49, 5), (60, 1), (60, None), (60.5, 9)]
    rows = [
        row(at, "tool", None, start=start, duration=length)
        for at, (start, length) in enumerate(times)
    ]

    assert await page.run(LANES, rows) == [
        ["e0", "first", 0, 2],
        ["e1", "middle", 1, 2],
        ["e2", "middle", 0, 2],
        ["e3", "last", 0, 2],
        ["e4", None, 0, None],
        ["e5", None, 0, None],
        ["e6", None, 0, None],
        ["e7", None, 0, None],
    ]


async def test_parallel_branches_are_joined(page: Browser, collector: Collector) -> None:
    """
    A rail goes from the first to the last of them, past what is below the first.
    """
    await send(collector, *FAN)

    await open_event(page, "reply", "session")

    await page.find(".rail")
    assert await page.run(RAILS) == {
        "answer": [],
        "plan": [],
        "search": ["first"],
        "rank": ["through"],
        "lookup": ["last"],
        "reply": [],
    }
    assert "beside 1 other" in await page.text('.tree-row[aria-posinset="2"][aria-level="2"]')


async def test_a_folded_branch_shows_what_is_in_it(page: Browser, collector: Collector) -> None:
    """
    Its sums stay, and its bar has the events below it in their lanes.
    """
    await send(collector, *FAN)
    await open_event(page, "answer", "session")
    await page.find(".tree-row")

    await page.click(".twisty")

    await page.until("return document.querySelectorAll('.tree-row').length === 1")
    tops = "return [...document.querySelectorAll('.bar-part')].map(({ style }) => style.top)"
    assert await page.run(tops) == ["0%", "0%", "50%", "0%"]
    assert await page.texts(".bar-tokens") == ["42 tokens"]
    assert await page.texts(".bar-cost") == ["$0.25"]
    assert await page.texts(".failed") == ["1 failed below it"]


async def test_an_event_shows_where_it_stands(page: Browser, collector: Collector) -> None:
    """
    The way to it is there in any tab, and each step of it opens that event.
    """
    async with Exporter(base_url=collector.url) as exporter:
        for event in agent_trace(BEGIN):
            assert exporter.push(event)

    await open_event(page, "delivery_zone")

    way = ["support chat", "agent/answer", "agent/address", "delivery_zone"]
    await page.until(IS_PATH, way)
    assert await page.text(".path .among") == "3 of 3"
    await page.run("document.querySelector('.path li:nth-child(3) button').focus()")
    await page.press(ENTER)
    await page.until(IS_PATH, way[:3])
    assert (await page.run(FOCUS)).startswith("path-")
    assert await page.text(".detail h2") == "agent/address"
    assert await page.text(".path .among") == "3 of 4"
    await page.click(".path li button")
    assert await page.text(".path p") == "The root of 8 events"


async def test_a_session_without_words_leads_to_its_tree(
    page: Browser, collector: Collector
) -> None:
    """
    What has no messages, inputs or outputs says so, and its session is a click away.
    """
    async with Exporter(base_url=collector.url) as exporter:
        for event in agent_trace(BEGIN):
            assert exporter.push(event)

    await open_event(page, "support chat")

    nothing = "No messages, inputs or outputs in this event."
    assert await page.text(".detail-content .nothing") == nothing
    assert await page.texts(".detail-content .switch") == []
    await page.click(".detail-content button")
    await page.find(".tree-row")


async def test_siblings_are_a_key_away(page: Browser, collector: Collector) -> None:
    """
    The brackets go from one to the next, and stay where there is none.
    """
    await send(collector, *FAN)
    await open_event(page, "plan")
    await page.until(IS_PATH, ["answer", "plan"])

    await page.press("[")
    await page.press("]")
    await page.until(IS_PATH, ["answer", "search"])
    await page.click("#sibling-after")
    await page.until(IS_PATH, ["answer", "lookup"])
    assert await page.run(FOCUS) == "sibling-after"
    await page.press("[")
    await page.until(IS_PATH, ["answer", "search"])

    assert await page.text(".detail h2") == "search"


async def test_a_long_way_is_shortened(page: Browser, collector: Collector) -> None:
    """
    Its ends are there, the rest is in the tree; and a phone cuts nothing.
    """
    await page.resize(390, 844)
    deep = [step(f"step {n} " * 5, f"n{n - 1}", n, 9, event_id=f"n{n}") for n in range(30)]
    await send(collector, *deep)

    await open_event(page, ("step 29 " * 5).strip())

    await page.find(".path button")
    shown = [text[:7].strip() for text in await page.run(PATH)]
    assert shown == ["step 0", "…", "step 27", "step 28", "step 29"]
    assert not await page.run(TOO_WIDE)
    await page.click('.path [aria-label^="26 more"]')
    await page.find(".tree-row")


async def test_a_new_event_of_the_session_has_a_place(page: Browser, collector: Collector) -> None:
    """
    Also one that came after the session was read.
    """
    await send(collector, FAN[0], FAN[1])
    await open_event(page, "plan")
    await page.until(IS_PATH, ["answer", "plan"])

    await send(collector, FAN[2])
    await open_event(page, "search")

    await page.until(IS_PATH, ["answer", "search"])
    assert await page.text(".path .among") == "2 of 2"
