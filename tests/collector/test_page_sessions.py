"""
The sessions on the collector's page: a table that is sorted by the collector, and leads to trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import V1_MANY, V1_ONE, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

BEGIN = 1_796_037_000_000
ENTER, ESCAPE, END = "\ue007", "\ue00c", "\ue010"
CELLS = """
return [...document.querySelectorAll('.sessions .row')]
  .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
  .map((row) => [...row.children].slice(0, 7).map((cell) => cell.textContent))
"""
NAMES = """
return [...document.querySelectorAll('.sessions .row')]
  .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
  .map((row) => row.querySelector('b').textContent)
"""
ARE_NAMES = f"return JSON.stringify((() => {{ {NAMES} }})()) === JSON.stringify(arguments[0])"
SORTED = """
return Object.fromEntries([...document.querySelectorAll('.sessions [aria-sort]')]
  .map((head) => [head.textContent, head.ariaSort]).filter(([, sort]) => sort !== "none"))
"""
ACTIVE = "return document.querySelector('.sessions .row.is-active b')?.textContent"
IS_OPEN = """
return document.querySelector('.detail h2')?.textContent === arguments[0]
  && document.querySelector('.sessions .row.is-open b')?.textContent === arguments[1]
"""
COUNT = "return document.querySelector('.sessions .list-grid').getAttribute('aria-rowcount')"
TOO_WIDE = """
const body = document.querySelector('.sessions .list-grid');
return document.documentElement.scrollWidth > innerWidth || body.scrollWidth > body.clientWidth
"""
NONE = "\N{EN DASH}"
CHATS = ("order", "parcel", "refund")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def session_id(number: int) -> str:
    return f"caf77ace-3417-4da4-944d-{number:012}"


def step(number: int, name: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    """
    Make an event of the session with that number.
    """
    return {
        "event_type": "model",
        "event_name": name,
        "event_id": f"{name}-{number}",
        "session_id": session_id(number),
        "parent_id": parent or session_id(number),
        "inputs": {},
        "start_time": BEGIN + number,
        "duration": 1000 * (number + 1),
        **more,
    }


async def chat(collector: Collector, number: int, *more: Any) -> None:
    """
    Send a session with a call within a chain, whose figures grow with its number.
    """
    said = {
        "session_id": session_id(number),
        "session_name": CHATS[number],
        "user_properties": {"user_id": f"user {9 - number}"},
    }
    assert (await post(collector, "/v1/sessions", said))[0] == 200
    usage = {"prompt_tokens": 10**number, "completion_tokens": 1, "cost": 0.25 * (3 - number)}
    events = [
        step(number, "call", f"answer-{number}", metadata=usage),
        step(number, "answer", event_type="chain"),
        *more,
    ]
    assert (await post(collector, V1_MANY, {"events": events}))[0] == 200


@pytest.fixture
async def table(page: Browser, collector: Collector) -> Browser:
    """
    The page with three sessions as a table, of which the second has an error.
    """
    await chat(collector, 0)
    await chat(collector, 1, step(1, "lookup", event_type="tool", error="no such parcel"))
    await chat(collector, 2)
    await page.find(".row")
    await page.click("#view-sessions")
    await page.until("return document.querySelectorAll('.sessions .row').length === 3")
    return page


async def test_each_session_is_a_row(table: Browser) -> None:
    """
    With what all its events come to, the one that was active last first.
    """
    assert await table.run(CELLS) == [
        ["refund", "user 7", "2 events", "101 tokens", "$0.25", NONE, "3.00 s"],
        ["parcel", "user 8", "3 events", "11 tokens", "$0.50", "1 error", "2.00 s"],
        ["order", "user 9", "2 events", "2 tokens", "$0.75", NONE, "1.00 s"],
    ]
    assert await table.run(SORTED) == {"Last": "descending"}
    assert "view=sessions" in await table.url()
    assert await table.barriers() == []


async def test_the_menu_is_marked_once_an_order_was_chosen(table: Browser) -> None:
    """
    The order in which the sessions come by themselves is no choice, as in the list of events.
    """
    marked = ".sessions .sort.is-set"
    assert await table.texts(marked) == []

    await table.choose(".sessions .sort select", "-errors")

    await table.find(marked)
    await table.choose(".sessions .sort select", "-last")
    await table.until(f"return document.querySelector('{marked}') === null")


async def test_heads_sort(table: Browser) -> None:
    """
    From the highest, then from the lowest; the address holds it, and each head can be reached.
    """
    await table.click(".sessions .cell-cost .head")
    await table.until(ARE_NAMES, ["order", "parcel", "refund"])
    assert await table.run(SORTED) == {"Cost": "descending"}
    assert "sort=-cost" in await table.url()

    await table.press(ENTER)
    await table.until(ARE_NAMES, ["refund", "parcel", "order"])
    assert await table.run(SORTED) == {"Cost": "ascending"}

    await table.press("s")
    assert await table.run("return document.activeElement.ariaLabel") == "Sort"
    await table.choose(".sessions .sort select", "-errors")
    await table.until("return document.querySelector('.sessions b')?.textContent === 'parcel'")
    await table.reload()
    await table.until("return document.querySelector('.sessions b')?.textContent === 'parcel'")
    assert await table.run(SORTED) == {"Errors": "descending"}


async def test_a_session_opens_its_tree(table: Browser) -> None:
    """
    With the event it begins with; the address holds it, and the way back leads to the table.
    """
    await table.click('.sessions [aria-rowindex="3"]')

    await table.until(IS_OPEN, "answer", "parcel")
    await table.find(".tree-row")
    assert await table.text(".session-summary b") == "3 events"
    await table.reload()
    await table.until(IS_OPEN, "answer", "parcel")
    await table.find(".tree-row")
    await table.press(ESCAPE)
    await table.gone(".detail")
    assert await table.run(NAMES) == ["refund", "parcel", "order"]


async def test_it_is_walked_by_keys(table: Browser) -> None:
    """
    v shows it, j and k go on, Enter opens, and then each step opens the next.
    """
    await table.press("v")
    await table.find("#list .row")
    await table.press("v")
    await table.find(".sessions .row")

    await table.press("j", "j")
    await table.until(f"return (() => {{ {ACTIVE} }})() === 'parcel'")
    await table.press(ENTER)
    await table.until(IS_OPEN, "answer", "parcel")
    await table.press("j")
    await table.until(IS_OPEN, "answer", "order")
    assert await table.text(".session-summary b") == "2 events"
    await table.press(ESCAPE)
    await table.gone(".detail")

    assert await table.run("return document.activeElement.ariaLabel") == "Sessions"


async def test_it_follows_what_arrives(table: Browser, collector: Collector) -> None:
    """
    A session that goes on comes first, with the figures that it has now; so does an update.
    """
    more = step(0, "more", metadata={"prompt_tokens": 40, "cost": 1}, error="failed")
    assert (await post(collector, V1_ONE, more))[0] == 200

    await table.until(ARE_NAMES, ["order", "refund", "parcel"])
    first = (await table.run(CELLS))[0]
    assert first == ["order", "user 9", "3 events", "42 tokens", "$1.75", "1 error", "1.00 s"]
    async with (
        ClientSession(collector.url) as client,
        client.put("/v1/events/more-0", json={"metadata": {"cost": 3}}) as answer,
    ):
        assert answer.status == 200
    await table.until(
        "return document.querySelector('.sessions .cell-cost:not(.cell-right)')"
        " && document.querySelector('.sessions').textContent.includes('$3.75')"
    )


async def test_filters_hold_for_it(table: Browser) -> None:
    """
    Sessions are those that have such an event, with the figures of all their events.
    """
    await table.click("#search")
    await table.press("no such parcel", ENTER)
    await table.until(ARE_NAMES, ["parcel"])
    assert (await table.run(CELLS))[0][2] == "3 events"


async def test_another_database_has_other_sessions(table: Browser, collector: Collector) -> None:
    """
    Once all events are deleted, the page says what to do, and then shows what comes.
    """
    async with ClientSession(collector.url) as client, client.delete("/api/events") as answer:
        assert answer.status == 200
    await table.find(".empty")
    await table.gone(".sessions .row")

    await chat(collector, 2)

    await table.until(ARE_NAMES, ["refund"])


async def test_thousands_are_reached(page: Browser, collector: Collector) -> None:
    """
    Few of them are in the document, and the end is where the reader goes on to.
    """
    for at in range(0, 2500, 500):
        events = [step(number, "call") for number in range(at, at + 500)]
        assert (await post(collector, V1_MANY, {"events": events}))[0] == 200
    await page.find(".row")
    await page.click("#view-sessions")
    await page.find(".sessions .row")

    await page.until(
        "const body = document.querySelector('.sessions .list-grid');"
        "body.scrollTop = body.scrollHeight;"
        f"return (() => {{ {COUNT} }})() === '2501'"
    )

    await page.until(
        "return [...document.querySelectorAll('.sessions .row')]"
        ".some((row) => row.ariaRowIndex === '2501')"
    )
    assert await page.run("return document.querySelectorAll('.sessions .row').length") < 80


async def test_a_phone_has_all_of_it(table: Browser) -> None:
    """
    At 390 pixels the figures have their units, and nothing is cut.
    """
    await table.resize(390, 844)

    assert not await table.run(TOO_WIDE)
    await table.find(".sessions .row .cell-tokens .unit")
    await table.find(".sessions .row .cell-cost")
    await table.choose(".sessions .sort select", "name")
    await table.until(ARE_NAMES, ["order", "parcel", "refund"])
    await table.prefer("dark")
    assert await table.barriers() == []


async def test_a_session_without_events_says_so(page: Browser, collector: Collector) -> None:
    """
    It was started, and has no tree yet.
    """
    await chat(collector, 0)
    said = {"session_id": session_id(1), "session_name": "later"}
    assert (await post(collector, "/v1/sessions", said))[0] == 200
    await page.find(".row")
    await page.click("#view-sessions")
    await page.until("return document.querySelectorAll('.sessions .row').length === 2")

    await page.press("j")
    await page.press(ENTER)

    await page.until(
        "return document.querySelector('.toast').textContent.includes('no events yet')"
    )
