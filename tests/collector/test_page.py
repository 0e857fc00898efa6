"""
The collector's page in a real browser: what arrives is seen, found and followed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import MANY, post, push
from tests.collector_client import model_event as wire_event
from tests.support import PATIENCE, model_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
NAMES = ".row .cell-name b"
HELD = """
const [key, times] = arguments;
const grid = document.querySelector(".list-grid");
for (let n = 0; n < times; n += 1)
  grid.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
"""
"""A key that is pressed so many times at once."""
LIVE = '.status[data-state="live"]'
ROWS = "return document.querySelectorAll('.row').length"
COUNT = "return document.getElementById('count').textContent === arguments[0]"
FIRST = (
    "const name = document.querySelector('[aria-rowindex=\"2\"] b');"
    "return name?.textContent === arguments[0]"
)
FOCUS_ID = "return document.activeElement.id"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def push_names(collector: Collector, *names: str, **fields: Any) -> None:
    await push(collector, *(model_event(event_name=name, **fields) for name in names))


async def shown(page: Browser) -> list[str]:
    """
    List the names of the rows from top to bottom.
    """
    script = (
        "return [...document.querySelectorAll('.row')]"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        ".map((row) => row.querySelector('b').textContent)"
    )
    return list(await page.run(script))


class TestArrival:
    """
    From the first event on.
    """

    async def test_an_event_appears_without_a_reload(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        A page that waits for the first event shows it, with all its figures.
        """
        await page.find("#welcome")
        event = model_event(
            model="gpt-4o",
            provider="openai",
            event_name="chat/answer",
            usage={"prompt_tokens": 1204, "completion_tokens": 312},
            cost=0.0031,
            duration=1240,
        )

        await push(collector, event)

        await page.find(".row")
        assert await page.text(NAMES) == "chat/answer"
        cells = await page.texts(".row .cell")
        assert cells[3:7] == ["gpt-4o", "1,204→312", "$0.0031", "1.24 s"]
        await page.gone("#welcome")

    async def test_the_lines_that_it_shows_make_the_first_event_appear(self, page: Browser) -> None:
        """
        They are a program, with the address of this collector in it.
        """
        program = await page.text("#first-event")

        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0

        await page.find(".row")
        assert await page.text(NAMES) == "hello"

    async def test_what_was_there_is_listed_with_the_newest_first(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Events from before the page was opened stand below those that arrive then.
        """
        await push_names(collector, "a", "b")
        await page.reload()
        await page.find(".row")

        await push_names(collector, "c")

        await page.until(FIRST, "c")
        assert await shown(page) == ["c", "b", "a"]

    async def test_only_what_can_be_seen_is_in_the_document(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Of thousands of events there are some dozens of rows, also at the far end.
        """
        for batch in range(12):
            events = [wire_event(event_name=f"e{batch}-{n}") for n in range(1000)]
            await post(collector, MANY, {"model_events": events})

        scroll = (
            "const body = document.querySelector('.list-grid');"
            "body.scrollTop = body.scrollHeight;"
            "return document.getElementById('count').textContent === '12,000 events'"
        )
        await page.until(scroll)

        assert 10 < await page.run(ROWS) < 80
        await page.click(".new-events")
        await page.until(FIRST, "e11-999")

    async def test_what_one_reads_stays_in_its_place(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        While new events arrive above, the rows that are seen do not move.
        """
        events = [wire_event(event_name=f"e{n}") for n in range(150)]
        await post(collector, MANY, {"model_events": events})
        await page.until(COUNT, "150 events")
        row = await page.until(
            "document.querySelector('.list-grid').scrollTop = 2000;"
            "return document.querySelector('[aria-rowindex=\"70\"]')?.id"
        )
        top = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
        before = await page.run(top, row)

        await push_names(collector, "new", "newer")
        await page.until(COUNT, "152 events")

        await page.until("return document.querySelector('[aria-rowindex=\"72\"]')?.id")
        assert await page.run(top, row) == before

    async def test_a_tab_that_nobody_sees_rests(self, page: Browser, collector: Collector) -> None:
        """
        What arrives while another tab is looked at is there on return.
        """
        await push_names(collector, "a")
        await page.find(".row")
        turn = (
            "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        await page.run(turn, True)
        await push_names(collector, "b")
        assert await shown(page) == ["a"]

        await page.run(turn, False)

        await page.until(FIRST, "b")
        assert await shown(page) == ["b", "a"]

    async def test_a_paused_list_stands_still(self, page: Browser, collector: Collector) -> None:
        """
        What arrives meanwhile is counted, and shown when it goes on.
        """
        await push_names(collector, "a")
        await page.find(".row")
        await page.press("p")
        await push_names(collector, "b", "c")

        await page.until(
            "return document.getElementById('status-text').textContent === 'Paused, 2 new'"
        )
        assert await shown(page) == ["a"]
        await page.click("#pause")

        await page.until(FIRST, "c")
        assert await shown(page) == ["c", "b", "a"]


class TestRestart:
    """
    A collector that goes away and comes back.
    """

    @pytest.fixture
    def db(self, tmp_path: Path) -> Path:
        return tmp_path / "events.db"

    @pytest.fixture
    async def collector(self, db: Path) -> AsyncIterator[Collector]:
        async with Collector(db=db) as collector:
            yield collector

    @pytest.fixture(autouse=True)
    async def _quiet(self, page: Browser) -> AsyncIterator[None]:
        """
        Allow the console to say that nobody answered.
        """
        yield
        problems = await page.problems()
        assert [text for text in problems if "Failed to load resource" not in text] == []

    async def test_what_came_while_it_was_away_is_shown(
        self, page: Browser, collector: Collector, db: Path
    ) -> None:
        """
        With the same database the list goes on where it was, and misses nothing.
        """
        await push_names(collector, "a")
        await page.find(".row")
        port = int(collector.url.rpartition(":")[2])
        await collector.aclose()
        await page.find('.status[data-state="broken"]')
        async with Collector(db=db) as elsewhere:
            await push_names(elsewhere, "b")

        async with Collector(db=db, port=port) as again:
            await page.find(LIVE)
            await push_names(again, "c")
            await page.until(FIRST, "c")

            assert await shown(page) == ["c", "b", "a"]
            await page.open("about:blank")

    async def test_another_database_begins_anew(
        self, page: Browser, collector: Collector, tmp_path: Path
    ) -> None:
        """
        Nothing of the old one is left in the list, nor is its event open.
        """
        await push_names(collector, "a", "b")
        await page.find(".row")
        await page.click(".row")
        await page.find(".detail .facts")
        port = int(collector.url.rpartition(":")[2])
        await collector.aclose()

        async with Collector(db=tmp_path / "other.db", port=port) as again:
            await page.find("#welcome")
            assert not await page.run("return location.hash")
            await push_names(again, "c")
            await page.find(".row")

            assert await shown(page) == ["c"]
            await page.open("about:blank")

    async def test_an_event_that_could_not_be_read_is_read_later(
        self, page: Browser, collector: Collector, db: Path
    ) -> None:
        """
        What is open when the collector comes back needs no reload.
        """
        await push_names(collector, "a", "b")
        await page.until(COUNT, "2 events")
        port = int(collector.url.rpartition(":")[2])
        await collector.aclose()
        await page.find('.status[data-state="broken"]')
        await page.click(".row")
        await page.find(".detail .nothing")

        async with Collector(db=db, port=port):
            await page.find(".detail .facts")
            assert await page.text(".detail h2") == "b"
            await page.open("about:blank")


class TestKeyboard:
    """
    Without a mouse.
    """

    async def test_a_key_can_be_held_down(self, page: Browser, collector: Collector) -> None:
        """
        The address follows as fast as a browser lets it, and has the last event in the end.
        """
        await push_names(collector, *map(str, range(190)))
        await page.until(COUNT, "190 events")
        await page.click(".row")
        await page.find(".detail .facts")

        await page.run(HELD, "j", 189)
        await page.run(HELD, "k", 188)

        await page.until("return location.hash === arguments[0]", "#event=189")
        assert await page.text(".detail h2") == "188"

    async def test_back_from_an_event_leads_to_the_list(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        The keyboard is there, too, and not lost with the panel.
        """
        await push_names(collector, "a")
        await page.click(".row")
        await page.find(".detail .facts")
        await page.run("document.getElementById('detail-content').focus()")

        await page.back()

        await page.gone(".detail")
        await page.until("return document.activeElement.getAttribute('role') === 'grid'")

    async def test_a_time_that_is_none_is_left_out(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        An address that was cut or mistyped shows what it still says.
        """
        await push_names(collector, "a")
        await page.open("about:blank")
        await page.open(f"{collector.url}/#since=abc&until=-5")

        await page.find(LIVE)
        await page.until(COUNT, "1 event")

    async def test_events_are_walked_opened_and_closed(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        j and k move, Enter opens, the open event follows, Esc closes.
        """
        await push_names(collector, "a", "b", "c")
        await page.until(COUNT, "3 events")

        await page.press("j", "j", "\ue007")
        assert await page.text(".detail h2") == "b"
        await page.press("j")
        await page.until("return document.querySelector('.detail h2')?.textContent === 'a'")
        await page.press("k", "k")
        await page.until("return document.querySelector('.detail h2')?.textContent === 'c'")

        await page.press("\ue00c")
        await page.gone(".detail")
        focused = "return document.activeElement.getAttribute('role')"
        assert await page.run(focused) == "grid"

    async def test_keys_are_letters_where_one_types(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        In the search field nothing is opened or paused, and Esc leaves it.
        """
        await push_names(collector, "a")
        await page.until(COUNT, "1 event")

        await page.press("/", "pj?")
        assert await page.run(FOCUS_ID) == "search"
        assert await page.run("return document.activeElement.value") == "pj?"
        await page.find(LIVE)
        await page.press("\ue00c")
        assert await page.run(FOCUS_ID) != "search"

    async def test_arrows_scroll_the_event_that_has_the_focus(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        In a long conversation they move its text, and open no other event.
        """
        messages = [{"role": "user", "content": f"question {n}"} for n in range(50)]
        for name in "abc":
            await push_names(collector, name, messages=messages)
        await page.until(COUNT, "3 events")
        await page.press("j", "\ue007")
        await page.find(".message")

        await page.run("document.getElementById('detail-content').focus()")
        await page.press("\ue015", "\ue00f")

        await page.until("return document.getElementById('detail-content').scrollTop > 0")
        assert await page.text(".detail h2") == "c"

    async def test_escape_leaves_a_choice(self, page: Browser, collector: Collector) -> None:
        """
        After a filter was chosen the keys are at hand again.
        """
        await push_names(collector, "a")
        await page.find(".row")
        await page.run("document.querySelector('[data-filter=error]').focus()")

        await page.press("\ue00c", "?")

        await page.find("#keys")

    async def test_the_list_is_two_stops(self, page: Browser, collector: Collector) -> None:
        """
        Tab leads to the list, from there to its heads, and then out of it.
        """
        await push_names(collector, *map(str, range(50)))
        await page.until(COUNT, "50 events")
        await page.run("document.querySelector('.list-grid').focus()")

        await page.press("\ue004", "\ue004")

        inside = "return document.querySelector('.list-grid').contains(document.activeElement)"
        assert not await page.run(inside)

    async def test_help_lists_the_keys(self, page: Browser, collector: Collector) -> None:
        """
        ? opens the list of keys, and Esc closes it.
        """
        await push_names(collector, "a")
        await page.find(".row")

        await page.press("?")
        await page.find("#keys")
        await page.press("\ue00c")
        await page.gone("#keys")

    async def test_help_starts_at_its_top(self, page: Browser, collector: Collector) -> None:
        """
        Where it is longer than the window, its first lines are seen first; End leads to its last.
        """
        await page.resize(390, 500)
        await page.open(f"{collector.url}/")
        await page.find("#status[data-state=live]")

        await page.press("?")

        await page.find("#keys")
        scroll = "return document.querySelector('#keys').scrollTop"
        assert await page.run(scroll) == 0
        await page.press("\ue010")
        await page.until(scroll)
