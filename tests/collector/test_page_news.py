"""
How the collector's page learns what is new, in a real browser: in any window, and at rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import MANY, V1_MANY, model_event, post, v1_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

LIVE = '.status[data-state="live"]'
FIRST = (
    "const name = document.querySelector('[aria-rowindex=\"2\"] b');"
    "return name?.textContent === arguments[0]"
)
TURN = (
    "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
    "document.dispatchEvent(new Event('visibilitychange'))"
)
MORE = 9
"""Windows beside the first: a browser has six connections to a server."""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def send(collector: Collector, *names: str) -> None:
    events = [model_event(event_name=name) for name in names]
    await post(collector, MANY, {"model_events": events})


async def test_ten_windows_in_sight_are_live(page: Browser, collector: Collector) -> None:
    """
    Each shows what was there, what arrives, and an event that is opened in it.
    """
    await send(collector, "a")
    await page.find(".row")

    async with page.windows(collector.url, MORE) as windows:
        for window in windows:
            await page.look_at(window)
            await page.find(LIVE)
            assert not await page.run("return document.hidden")
        await send(collector, "b")
        for window in windows:
            await page.look_at(window)
            await page.until(FIRST, "b")
            await page.click(".row")
            await page.find(".detail .facts")


async def test_nothing_is_asked_where_nobody_looks(page: Browser, collector: Collector) -> None:
    """
    A hidden page rests; when it is seen again it knows at once what came meanwhile.
    """
    await send(collector, "a")
    await page.find(".row")
    asked = "return performance.getEntriesByType('resource').filter(({name}) => %s).length"
    news = asked % "name.includes('/api/news')"
    before = await page.run(news)
    await page.until(f"{news} > arguments[0] + 1", before)

    await page.run(TURN, True)
    hidden = await page.run(news)
    await send(collector, "b", "c")
    # Its own clock is waited for, as long as three questions would take.
    await page.until(
        "return performance.now() > arguments[0]", await page.run("return performance.now() + 1500")
    )
    assert await page.run(news) == hidden
    await page.run(TURN, False)

    await page.until(FIRST, "c")


async def test_many_that_came_at_once_are_all_there(page: Browser, collector: Collector) -> None:
    """
    What one answer has no room for is read when it is calm again.
    """
    await send(collector, "a")
    await page.find(".row")
    await page.run(TURN, True)
    for batch in range(3):
        await send(collector, *(f"e{batch}-{n}" for n in range(500)))

    await page.run(TURN, False)

    await page.until("return document.querySelector('.list-grid').ariaRowCount === '1502'")
    await page.until(FIRST, "e2-499")


async def test_a_range_that_moves_on_leaves_rows_behind(
    page: Browser, collector: Collector
) -> None:
    """
    They go from the end of the list once they are older than the range.
    """
    await send(collector, "a", "b")
    script = """
        return (async () => {
          const { Feed } = await import("/page/js/lists/feed.js");
          const feed = new Feed();
          let since = 0;
          const sizes = [];
          const told = new Promise((done) =>
            feed.addEventListener("change", () => {
              if (feed.isLoading || sizes.at(-1) === feed.rows.size) return;
              sizes.push(feed.rows.size);
              since = feed.rows.oldest ? feed.rows.oldest.time + 1_000_000 : since;
              if (!feed.rows.size) done();
            }),
          );
          feed.open(() => ({ since }), "");
          await told;
          return sizes;
        })()
    """

    assert await page.run(script) == [2, 0]


async def test_a_collector_that_hangs_is_not_live(page: Browser, collector: Collector) -> None:
    """
    A question without an answer is given up, and asked again until there is one.
    """
    await send(collector, "a")
    await page.find(".row")
    hang = """
        const [real, patience] = [window.fetch, AbortSignal.timeout];
        AbortSignal.timeout = () => patience.call(AbortSignal, 50);
        window.fetch = (address, { signal }) => new Promise((_, fail) =>
          signal?.addEventListener("abort", () => fail(signal.reason)));
        window.thaw = () => { window.fetch = real; };
    """
    await page.run(hang)
    await page.find('.status[data-state="broken"]')

    await page.run("window.thaw()")
    await page.find(LIVE)
    await send(collector, "b")

    await page.until(FIRST, "b")


async def test_the_list_ends_where_its_range_does(page: Browser, collector: Collector) -> None:
    """
    While the page is open, events leave a range that is counted back from now; so does the count.
    """
    await page.open("about:blank")
    await page.open(f"{collector.url}/#range=5m")
    await send(collector, "a", "b")
    await page.until("return document.querySelectorAll('.row').length === 2")

    await page.run("const now = Date.now; Date.now = () => now() + 600_000;")

    await page.find("#no-match")
    await page.until("return !document.getElementById('count').textContent.includes('2 events')")


async def test_an_answer_that_breaks_off_is_asked_for_again(
    page: Browser, collector: Collector
) -> None:
    """
    A connection may end after the answer's head: that is no end of the news.
    """
    await send(collector, "a")
    await page.find(".row")
    cut = """
        const real = window.fetch;
        window.fetch = async () => new Response(new ReadableStream({
          start: (stream) => stream.error(new TypeError("network error")),
        }));
        window.mend = () => { window.fetch = real; };
    """
    await page.run(cut)
    await page.find('.status[data-state="broken"]')

    await page.run("window.mend()")
    await page.find(LIVE)
    await send(collector, "b")

    await page.until(FIRST, "b")


async def test_updates_that_nobody_remembers_are_read_again(
    page: Browser, collector: Collector
) -> None:
    """
    A window that was hidden meanwhile shows the events as they are.
    """
    events = [v1_event(event_id=name) for name in "ab"]
    await post(collector, V1_MANY, {"events": events})
    await page.until("return document.querySelectorAll('.row').length === 2")
    await page.find(LIVE)
    await page.run(TURN, True)
    for name in ["a", *"b" * 200]:
        body = {"event_id": name, "outputs": {"content": "said later"}}
        async with (
            ClientSession(collector.url) as client,
            client.put("/events", json=body) as response,
        ):
            assert response.status == 200
    await page.run(TURN, False)

    await page.until(
        "return [...document.querySelectorAll('.row')]"
        ".filter(({ textContent }) => textContent.includes('said later')).length === 2"
    )
