"""
A session on the collector's page: a tree of its events on one time axis.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest
from aiohttp import ClientSession

from hh_exporter import Exporter
from hh_exporter._cli._trace import agent_trace
from hh_exporter._collector import Collector
from tests.collector_client import V1_MANY, V1_ONE, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
LEGACY_MANY = "/events/batch"
BEGIN = 1_796_037_000_000
Dialect: TypeAlias = Literal["legacy", "v1"]
DOWN, UP, LEFT, RIGHT = "\ue015", "\ue013", "\ue012", "\ue014"
HOME, END, ENTER = "\ue011", "\ue010", "\ue007"
FIRST_ROW = '[aria-rowindex="2"]'
TREE = """
return [...document.querySelectorAll('.tree-row')]
  .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top))
  .map((row) => `${"  ".repeat(row.ariaLevel - 1)}${row.querySelector(".bar-name").textContent}`)
"""
"""The names of the rows from top to bottom, each as far in as it stands deep."""
IS_TREE = f"return JSON.stringify((() => {{ {TREE} }})()) === JSON.stringify(arguments[0])"
KINDS = "return [...document.querySelectorAll('.tree-row .kind')].map((e) => e.ariaLabel)"
ACTIVE = "return document.activeElement.querySelector('.bar-name')?.textContent"
BARS = """
return [...document.querySelectorAll('.bar')]
  .map(({ style }) => [parseFloat(style.left.replace("min(", "")), parseFloat(style.width)])
"""
"""Where each begins and how long it is, in percent of the axis."""
STOPS = "return document.querySelectorAll('.tree-row[tabindex=\"0\"]').length"
ROWS = "return document.querySelectorAll('.tree-row').length"
FRAME = "return new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)))"
BACK = f"""
document.getElementById("tab-session").click();
return new Promise((seen) => requestAnimationFrame(() => seen((() => {{ {TREE} }})())));
"""
"""Goes to the tree, and reads what the first frame has of it."""
TITLE = "return document.querySelector('.detail h2')?.textContent === arguments[0]"
TOO_WIDE = (
    "const e = document.querySelector('.detail-content');"
    "return document.documentElement.scrollWidth > innerWidth || e.scrollWidth > e.clientWidth"
)
GROWN = """
return import("/page/js/trace/branches.js").then(({ growTree, unfold }) =>
  unfold(growTree(arguments[0]), new Set())
    .map(({ node, level }) => `${"  ".repeat(level - 1)}${node.event.event_id}`))
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def step(kind: str, name: str, parent: str, start: int, duration: int, **more: Any) -> Any:
    """
    Make an event of either dialect whose id is its name.
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


USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "cost": 0.25}
TRACE = [
    step("chain", "answer", SESSION, 0, 1000),
    step("model", "plan", "answer", 0, 100, metadata=USAGE),
    step("tool", "search", "answer", 100, 400),
    step("tool", "lookup", "answer", 100, 500, error="timed out"),
    step("model", "rank", "search", 200, 100),
]
SHOWN = ["answer", "  plan", "  search", "    rank", "  lookup"]


async def send(collector: Collector, *events: Any, path: str = V1_MANY) -> None:
    assert (await post(collector, path, {"events": list(events)}))[0] == 200


async def open_tree(page: Browser) -> None:
    """
    Open the session of the newest event.
    """
    await page.find(".row")
    await page.run("location.hash = 'tab=session'")
    await page.click(FIRST_ROW)
    await page.find(".tree-row")


@pytest.mark.parametrize("path", [LEGACY_MANY, V1_MANY], ids=["legacy", "v1"])
async def test_a_session_is_one_tree(page: Browser, collector: Collector, path: str) -> None:
    """
    Each event stands below the one that led to it, with kind, figures and a bar at its time.
    """
    await send(collector, *TRACE, path=path)

    await open_tree(page)

    assert await page.run(TREE) == SHOWN
    kinds = ["Chain", "Model call", "Tool call", "Model call", "Tool call"]
    assert await page.run(KINDS) == kinds
    assert await page.run(BARS) == [[0, 100], [0, 10], [10, 40], [20, 10], [10, 50]]
    assert await page.texts(".bar-time") == ["1.00 s", "100 ms", "400 ms", "100 ms", "500 ms"]
    assert await page.texts(".bar-tokens") == ["15 tokens", "15 tokens", "", "", ""]
    assert await page.texts(".bar-cost") == ["$0.25", "$0.25", "", "", ""]
    assert await page.texts(".tree-row.is-error .bar-name") == ["lookup"]
    assert await page.texts(".tree-row .ended") == ["error"]
    assert await page.texts(".tree-row .failed") == ["1 failed below it"]
    assert await page.texts(".tree-axis span") == ["0", "1.00 s", "Tokens", "Cost", "Latency"]


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_an_agent_is_one_tree(page: Browser, collector: Collector, dialect: Dialect) -> None:
    """
    Whatever the exporter makes of it: three levels, tools side by side, a stream that ended.
    """
    async with Exporter(base_url=collector.url, dialect=dialect) as exporter:
        for event in agent_trace(BEGIN):
            assert exporter.push(event)

    await open_tree(page)

    await page.until(
        IS_TREE,
        [
            "support chat",
            "  agent/answer",
            "    agent/plan",
            "    lookup_order",
            "    agent/address",
            "      geocode",
            "      geocode",
            "      delivery_zone",
            "    agent/reply",
        ],
    )
    assert await page.texts(".tree-row.is-error .bar-name") == ["geocode"]


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_blocks_are_one_tree(page: Browser, collector: Collector, dialect: Dialect) -> None:
    """
    As a program writes them: tools that run side by side within a step, each with a call.
    """

    async def chunks() -> AsyncIterator[str]:
        yield "Hello"

    async with Exporter(base_url=collector.url, dialect=dialect) as exporter:

        async def use(name: str) -> None:
            with exporter.trace(name, event_type="tool"):
                await asyncio.sleep(0)
                with exporter.record(model="gpt-4o", event_name=f"{name}/score"):
                    await asyncio.sleep(0)

        with exporter.session("support chat"), exporter.trace("answer") as step:
            await asyncio.gather(use("search"), use("lookup"))
            with exporter.record(model="gpt-4o", event_name="reply") as call:
                assert [chunk async for chunk in call.stream(chunks())] == ["Hello"]
        assert exporter.update(step.event_id or "", feedback={"rating": 5})

    await open_tree(page)

    tree = ["answer", "  search", "    search/score", "  lookup", "    lookup/score", "  reply"]
    below = ["support chat", *(f"  {name}" for name in tree)]
    await page.until(IS_TREE, tree if dialect == "legacy" else below)


async def test_a_session_event_is_the_root(page: Browser, collector: Collector) -> None:
    """
    What names it as parent, or no parent that is there, stands below it.
    """
    await send(collector, *TRACE, step("session", "support chat", "", 0, 1000, event_id=SESSION))

    await open_tree(page)

    assert await page.run(TREE) == ["support chat", *(f"  {name}" for name in SHOWN)]


async def test_events_find_their_places_as_they_arrive(page: Browser, collector: Collector) -> None:
    """
    In any order, without a reload, and the row that has the focus keeps it.
    """
    await send(collector, TRACE[4])
    await open_tree(page)
    assert await page.run(TREE) == ["rank"]
    await page.run("document.querySelector('.tree-row').focus()")

    await send(collector, *TRACE[1:4])
    await page.until(IS_TREE, ["plan", "search", "  rank", "lookup"])
    await send(collector, TRACE[0])
    await page.until(IS_TREE, SHOWN)

    assert await page.run(ACTIVE) == "rank"
    assert await page.text(".session-summary b") == "5 events"


async def test_what_is_said_later_shows(page: Browser, collector: Collector) -> None:
    """
    An update changes the row that is there.
    """
    await send(collector, *TRACE)
    await open_tree(page)
    await page.find('.status[data-state="live"]')

    said = {"duration": 3000, "metadata": {"cost": 0.5}}
    async with (
        ClientSession(collector.url) as client,
        client.put("/v1/events/answer", json=said) as answer,
    ):
        assert answer.status == 200

    await page.until(
        "const row = document.querySelector('.tree-row');"
        "return row.textContent.includes('$0.50') && row.textContent.includes('3.00 s')"
    )


async def test_the_open_event_follows_its_updates(page: Browser, collector: Collector) -> None:
    """
    Feedback on it shows where it is read, in the tab that is open.
    """
    await send(collector, TRACE[2])
    await page.click(FIRST_ROW)
    await page.click("#tab-parameters")
    await page.find('.status[data-state="live"]')
    assert await page.run("return document.activeElement.id") == "tab-parameters"

    async with (
        ClientSession(collector.url) as client,
        client.put("/v1/events/search", json={"feedback": {"rating": 5}}) as answer,
    ):
        assert answer.status == 200

    await page.until(
        "return [...document.querySelectorAll('.section-title')]"
        ".some((title) => title.textContent === 'Feedback')"
    )
    assert await page.text('[role=tab][aria-selected="true"]') == "Details"
    assert await page.run("return document.activeElement.id") == "tab-parameters"


async def test_it_is_walked_by_keys(page: Browser, collector: Collector) -> None:
    """
    As the ARIA pattern says: one stop of the tab key, arrows within, left and right to fold.
    """
    await send(collector, *TRACE)
    await open_tree(page)
    await page.run("document.querySelector('.tree-row').focus()")

    async def walk(key: str) -> str:
        await page.press(key)
        assert await page.run(STOPS) == 1
        return str(await page.run(ACTIVE))

    assert [await walk(key) for key in (DOWN, DOWN, RIGHT, LEFT, UP)] == [
        "plan",
        "search",
        "rank",
        "search",
        "plan",
    ]
    assert [await walk(key) for key in (LEFT, END, HOME, UP)] == [
        "answer",
        "lookup",
        "answer",
        "answer",
    ]
    await page.press(LEFT)
    await page.until(IS_TREE, ["answer"])
    await page.press(RIGHT, DOWN, DOWN, LEFT)
    await page.until(IS_TREE, ["answer", "  plan", "  search", "  lookup"])
    await page.press("*")
    await page.until(IS_TREE, SHOWN)

    await page.press(ENTER)

    await page.until(TITLE, "search")
    assert await page.run(ACTIVE) == "search"
    assert await page.text('.tree-row[aria-selected="true"] .bar-name') == "search"


async def test_a_click_folds_or_opens(page: Browser, collector: Collector) -> None:
    """
    Its triangle folds a branch, the rest of the row opens the event; the tree stays as it is.
    """
    await send(collector, *TRACE)
    await open_tree(page)

    await page.click('.tree-row[aria-level="2"][aria-expanded] .twisty')
    await page.until(IS_TREE, ["answer", "  plan", "  search", "  lookup"])
    await page.click('.tree-row[aria-level="2"]')
    await page.until(TITLE, "plan")

    assert await page.run(TREE) == ["answer", "  plan", "  search", "  lookup"]
    await page.click("#tab-conversation")
    await page.gone(".tree-row")
    await page.run(FRAME)  # in which what has no style any more is measured
    assert await page.run(BACK) == ["answer", "  plan", "  search", "  lookup"]


async def test_what_a_tool_did_is_read_first(page: Browser, collector: Collector) -> None:
    """
    An event without messages shows what went in and what came out.
    """
    tool = step("tool", "search", SESSION, 0, 1, inputs={"q": "parcel"}, outputs={"hits": [7]})
    await post(collector, V1_ONE, {**tool, "error": "timed out"})

    await page.click(FIRST_ROW)

    await page.find(".detail .sections")
    assert await page.texts(".detail .section-title") == ["Inputs", "Outputs"]
    assert await page.text(".message.is-error .text") == "timed out"
    assert "parcel" in await page.text(".detail .sections")


@pytest.mark.parametrize(
    ("parents", "grown"),
    [
        ({"a": "none", "b": "a"}, ["a", "  b"]),
        ({"a": "a", "b": None}, ["a", "b"]),
        ({"a": "c", "b": "a", "c": "b"}, ["a", "  b", "    c"]),
        ({"a": "b", "b": "c", "c": "b"}, ["b", "  a", "  c"]),
        ({"a": "d", "b": "a", "c": "s", "d": "b"}, ["a", "  b", "    d", "c"]),
        ({"a": "b", "b": "a", "c": "d", "d": "c"}, ["a", "  b", "c", "  d"]),
    ],
    ids=["unknown", "itself", "circle", "circle below", "session", "two circles"],
)
async def test_any_parents_make_a_tree(
    page: Browser, parents: dict[str, str | None], grown: list[str]
) -> None:
    """
    Each event is there once; of a circle the first stands at the top.
    """
    events = [
        {"id": place, "event_id": name, "session_id": "s", "parent_id": parent, "start": place}
        for place, (name, parent) in enumerate(parents.items())
    ]

    assert await page.run(GROWN, events) == grown


async def test_an_event_that_came_twice_keeps_its_branch_together(page: Browser) -> None:
    """
    The later is what others belong to.
    """
    events = [
        {"id": row, "event_id": name, "session_id": "s", "parent_id": parent, "start": 0}
        for row, name, parent in [(1, "a", None), (2, "b", "a"), (3, "a", None), (4, "c", "a")]
    ]

    assert await page.run(GROWN, events) == ["a", "a", "  b", "  c"]


async def test_thousands_of_events_are_one_tree(page: Browser, collector: Collector) -> None:
    """
    Few of them are in the document, each can be reached, and it says what it leaves out.
    """
    deep = [step("chain", f"n{n}", f"n{n - 1}", n, 1) for n in range(1000)]
    wide = [step("tool", f"t{n}", "n999", 1000 + n, 1) for n in range(4100)]
    for at in range(0, 5000, 1000):
        await send(collector, *(deep + wide)[at : at + 1000])
    await send(collector, *(deep + wide)[5000:])
    await open_tree(page)

    await page.until("return document.querySelector('.session-summary b').textContent[0] === '5'")
    assert await page.text(".session-summary b") == "5,000 events+"
    assert await page.text(".session > .nothing") == (
        "The first 5,000 events of it; the list shows all."
    )
    assert await page.run(ROWS) < 100
    await page.run("document.querySelector('.tree-row').focus()")
    await page.press(END)
    assert await page.run(ACTIVE) == "t3999"
    assert await page.run(ROWS) < 100
    await page.press(HOME)
    assert await page.run(ACTIVE) == "n0"
    assert not await page.run(TOO_WIDE)


async def test_a_phone_has_bars_below_names(page: Browser, collector: Collector) -> None:
    """
    At 390 pixels nothing is cut, and rows are tall enough for a finger.
    """
    await page.resize(390, 844)
    await send(collector, *TRACE, step("tool", "long " * 50, "rank", 300, 9))

    await open_tree(page)

    assert not await page.run(TOO_WIDE)
    boxes = await page.run(
        "const row = document.querySelector('.tree-row');"
        "return [row, row.querySelector('.bar-track'), row.querySelector('.tree-name')]"
        ".map((e) => e.getBoundingClientRect())"
    )
    row, track, name = boxes
    assert row["height"] >= 44
    assert name["bottom"] <= track["top"]
    assert track["width"] > 140


async def test_another_session_has_its_own_tree(page: Browser, collector: Collector) -> None:
    """
    Going from one to the other leaves nothing behind.
    """
    other = "caf77ace-3417-4da4-944d-f4a0688f3c24"
    await send(collector, *TRACE)
    await send(collector, step("chain", "other", "none", 0, 1, session_id=other))
    await page.until("return document.querySelectorAll('.row').length === 6")
    await open_tree(page)
    assert await page.run(TREE) == ["other"]

    await page.click('[aria-rowindex="3"]')

    await page.until(IS_TREE, SHOWN)
    await page.click(".session-summary button")
    assert f"filter=session%3A{SESSION}" in await page.url()
