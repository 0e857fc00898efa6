"""
Sorting the list on the collector's page, in a real browser: by heads, by the menu, by a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import MANY, model_event, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

ENTER, SPACE, TAB, ESCAPE, DOWN = "\ue007", "\ue00d", "\ue004", "\ue00c", "\ue015"
RIGHT, LEFT = "\ue014", "\ue012"
LATENCY = ".list-head .cell-latency .head"
ORDER = """
    const names = [...document.querySelectorAll('.row')]
      .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
      .map((row) => row.querySelector('b').textContent);
    return names.join() === arguments[0]
"""
WAYS = "return [...document.querySelectorAll('[aria-sort]')].map((head) => head.ariaSort).join()"
HASH = "return location.hash === arguments[0]"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        events = [
            model_event(
                event_name=name,
                duration=duration,
                start_time=start,
                cost=cost,
                usage={"prompt_tokens": tokens, "completion_tokens": 1},
                metrics=metrics,
            )
            for name, duration, start, cost, tokens, metrics in (
                ("a", 300, 3_000, 0.2, 7, {"time_to_first_token": 40}),
                ("b", 100, 2_000, 0.3, 9, {"time_to_first_token": 60}),
                ("c", 200, 1_000, 0.1, 8, {}),
            )
        ]
        await post(collector, MANY, {"model_events": events})
        yield collector


async def sort_by(page: Browser, fragment: str) -> None:
    """
    Open the page at a link again.
    """
    url = await page.url()
    await page.open("about:blank")
    await page.open(f"{url.partition('#')[0]}#{fragment}")


async def test_a_head_sorts_down_then_up_then_not_at_all(page: Browser) -> None:
    """
    Each click is in the address, and the head says which way it goes.
    """
    await page.until(ORDER, "c,b,a")

    await page.click(LATENCY)
    await page.until(ORDER, "a,c,b")
    await page.until(HASH, "#sort=-latency")
    assert await page.run(WAYS) == "none,none,none,descending"

    await page.click(LATENCY)
    await page.until(ORDER, "b,c,a")
    await page.until(HASH, "#sort=latency")
    assert await page.run(WAYS) == "none,none,none,ascending"

    await page.click(LATENCY)
    await page.until(ORDER, "c,b,a")
    await page.until(HASH, "")
    assert await page.run(WAYS) == "none,none,none,none"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("-time", "a,b,c"),
        ("time", "c,b,a"),
        ("-tokens", "b,c,a"),
        ("-cost", "b,a,c"),
        ("cost", "c,a,b"),
        ("-ttft", "b,a,c"),
        ("ttft", "a,b,c"),
    ],
)
async def test_a_link_sorts(page: Browser, sort: str, order: str) -> None:
    """
    The collector sorts by what the address says; what is missing comes last, both ways.
    """
    await sort_by(page, f"sort={sort}")

    await page.until(ORDER, order)
    chosen = "return document.querySelector('.sort select').value"
    assert await page.run(chosen) == sort


async def test_a_link_that_sorts_by_nothing_known_sorts_by_arrival(page: Browser) -> None:
    """
    What is no way to sort is left out, as other parts of a broken link are.
    """
    await sort_by(page, "sort=-constructor")

    await page.until(ORDER, "c,b,a")


async def test_the_menu_has_what_is_no_column(page: Browser) -> None:
    """
    While the list is sorted by the time to the first token, that stands where the latency does.
    """
    await page.until(ORDER, "c,b,a")
    await page.press("s")
    await page.choose(".sort select", "-ttft")

    await page.until(ORDER, "b,a,c")
    assert await page.text(LATENCY) == "First token"
    values = await page.texts(".row .cell-latency .value")
    assert sorted(values)[:2] == ["40 ms", "60 ms"]

    await page.click(LATENCY)
    await page.until(ORDER, "a,b,c")
    await page.click(LATENCY)
    await page.until(ORDER, "c,b,a")
    assert await page.text(LATENCY) == "Latency"


async def test_on_a_phone_there_is_the_menu(page: Browser) -> None:
    """
    Without heads, it is how one sorts.
    """
    await page.resize(390, 800)
    await page.gone(".list-head")

    await page.choose(".sort select", "-latency")

    await page.until(ORDER, "a,c,b")


async def test_heads_are_reached_and_pressed_with_keys(page: Browser) -> None:
    """
    They are one stop after the list; arrows lead from one to the next, Enter and space press.
    """
    await page.until(ORDER, "c,b,a")
    await page.run("document.querySelector('.list-grid').focus()")
    text = "return document.activeElement.textContent"

    await page.press(TAB)
    assert await page.run(text) == "Time"
    await page.press(ENTER)
    await page.until(ORDER, "a,b,c")

    await page.press(RIGHT, RIGHT, RIGHT)
    assert await page.run(text) == "Latency"
    await page.press(SPACE)
    await page.until(ORDER, "a,c,b")
    await page.press(RIGHT)
    assert await page.run(text) == "Time"
    await page.press(LEFT, LEFT, SPACE)
    await page.until(ORDER, "b,a,c")
    await page.until(HASH, "#sort=-cost")


async def test_what_arrives_waits_for_a_click(page: Browser, collector: Collector) -> None:
    """
    A sorted list stands still; a button says how many there are, and reads it again.
    """
    await sort_by(page, "sort=-latency")
    await page.until(ORDER, "a,c,b")
    arrived = [
        model_event(event_name=name, duration=duration)
        for name, duration in (("d", 250), ("e", 50))
    ]

    await post(collector, MANY, {"model_events": arrived})

    await page.until("return document.querySelector('.new-events').textContent === '2 new'")
    assert await page.run(ORDER, "a,c,b")
    await page.click(".new-events")
    await page.until(ORDER, "a,d,c,b,e")
    await page.gone(".new-events")


async def test_an_update_is_seen_in_its_place(page: Browser, collector: Collector) -> None:
    """
    What is added to an event of a sorted list shows at once, where the event stands.
    """
    await sort_by(page, "sort=-latency")
    await page.until(ORDER, "a,c,b")
    [event] = [found async for found in collector.events() if found.event["event_name"] == "b"]

    body = {"event_id": event.event_id, "feedback": {"rating": 1}}
    script = """
        return fetch("/events", {
          method: "PUT",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(arguments[0]),
        }).then((answer) => answer.status)
    """
    assert await page.run(script, body) == 200

    await page.find('.row[aria-rowindex="4"] .thumb-down')
    assert await page.run(ORDER, "a,c,b")


async def test_a_sorted_list_goes_on(page: Browser, collector: Collector) -> None:
    """
    It is read page by page, and each event is there once.
    """
    many = [model_event(event_name=f"n{n}", duration=n % 7) for n in range(1_000)]
    await post(collector, MANY, {"model_events": many})
    await post(collector, MANY, {"model_events": many})

    await sort_by(page, "sort=-latency")

    await page.until(
        "const body = document.querySelector('.list-grid');"
        "body.scrollTop = body.scrollHeight;"
        "return document.querySelector('.list-grid').ariaRowCount === '2004'"
    )
    last = await page.until(
        "return document.querySelector('[aria-rowindex=\"2004\"]')?.textContent"
    )
    assert "0 ms" in last


async def test_the_open_event_is_where_keys_go_on_from(page: Browser) -> None:
    """
    Sorting keeps it open, and the next key leads to its neighbour in the new order.
    """
    await page.until(ORDER, "c,b,a")
    await page.click('.row[aria-rowindex="3"]')
    await page.until("return document.querySelector('.detail h2')?.textContent === 'b'")

    await page.click(LATENCY)
    await page.until(ORDER, "a,c,b")
    await page.run("document.querySelector('.list-grid').focus()")
    await page.press("k")

    await page.until("return document.querySelector('.detail h2')?.textContent === 'c'")
