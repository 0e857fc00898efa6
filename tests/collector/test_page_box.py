"""
Asking, on the collector's page: the box of the filter, the range, the count, export and delete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from hh_exporter._collector.storage.store import EventRow, Store
from tests.collector_client import V1_ONE, post, push, v1_event
from tests.support import PastClock, model_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.browser import Browser

pytestmark = pytest.mark.browser

BOX = "return document.getElementById('search').value"
COUNT = "return document.getElementById('count').textContent === arguments[0]"
FOCUS = "return document.activeElement.textContent"
OPTIONS = ".completions li .mono"
EXPANDED = "return document.getElementById('search').ariaExpanded === arguments[0]"
NO_PROBLEM = "return document.getElementById('filter-problem').hidden"
TOO_WIDE = "return document.documentElement.scrollWidth > innerWidth"
DOWN, UP, ENTER, ESCAPE, TAB = "\ue015", "\ue013", "\ue007", "\ue00c", "\ue004"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        await push(
            collector,
            model_event(event_name="a", model="gpt-4o", provider="openai", source="prod"),
            model_event(event_name="b", model="claude", provider="anthropic", source="dev"),
            model_event(event_name="c", model="claude", error="timed out", source="prod"),
        )
        yield collector


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


async def open_at(page: Browser, collector: Collector, fragment: str) -> None:
    """
    Open a link anew, as if it had been sent.
    """
    await page.open("about:blank")
    await page.open(f"{collector.url}/#{fragment}")


class TestChoices:
    """
    Finding one event among others.
    """

    @pytest.mark.parametrize(
        ("name", "value", "left", "term"),
        [
            ("model", "claude", ["c", "b"], "model:claude"),
            ("provider", "openai", ["c", "a"], "provider:openai"),
            ("source", "dev", ["b"], "source:dev"),
            ("error", "yes", ["c"], "error"),
            ("error", "no", ["b", "a"], "-error"),
        ],
    )
    async def test_a_choice_leaves_those_that_it_names(
        self, page: Browser, name: str, value: str, left: list[str], term: str
    ) -> None:
        """
        Each list of choices holds what was collected, and edits the text of the box.
        """
        option = f'select[data-filter="{name}"] option[value="{value}"]'
        await page.until("return document.querySelector(arguments[0])", option)
        await page.choose(f'select[data-filter="{name}"]', value)

        await page.until(COUNT, f"{len(left)} event{'s' * (len(left) > 1)}")
        assert await shown(page) == left
        assert await page.run(BOX) == term

    async def test_a_kind_can_be_chosen_once_there_are_two(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Where all events are model calls there is nothing to choose.
        """
        await page.until(
            "return document.querySelector('[data-filter=model] option[value=claude]')"
        )
        await page.gone('select[data-filter="kind"]')
        await post(collector, V1_ONE, v1_event(event_type="tool", event_name="search"))
        await page.reload()

        await page.find('select[data-filter="kind"]')
        await page.choose('select[data-filter="kind"]', "tool")

        await page.until(COUNT, "1 event")
        assert await shown(page) == ["search"]

    async def test_new_events_are_filtered_too(self, page: Browser, collector: Collector) -> None:
        """
        While a filter holds, only what it lets through arrives.
        """
        await open_at(page, collector, "filter=model:claude")
        await page.until(COUNT, "2 events")

        await push(collector, model_event(event_name="d", model="gpt-4o"))
        await push(collector, model_event(event_name="e", model="claude"))

        await page.until(COUNT, "3 events")
        assert await shown(page) == ["e", "c", "b"]

    async def test_text_is_searched_in_the_whole_event(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Words of a message find its event; what nothing has is said, and can be undone.
        """
        messages = [{"role": "user", "content": "Is the Übermut of 100% real?"}]
        await push(collector, model_event(event_name="found", messages=messages))
        await page.until(COUNT, "4 events")

        await page.press("/", "Übermut of 100%")
        await page.until(COUNT, "1 event")
        assert await shown(page) == ["found"]

        await page.press("zzz")
        await page.find("#no-match")
        await page.click("#no-match button")
        await page.until(COUNT, "4 events")

    async def test_a_link_shows_the_same_and_back_undoes(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Filters, event and tab are in the address, and the browser's history holds.
        """
        await page.until(COUNT, "3 events")
        await page.press("e")
        await page.until(COUNT, "1 event")
        await page.click(".row")
        await page.click("#tab-raw")
        await page.find(".json")
        link = await page.url()

        await page.back()
        await page.gone(".detail")
        assert await shown(page) == ["c"]

        await open_at(page, collector, link.partition("#")[2])
        await page.find(".json")
        assert await page.text(".detail h2") == "c"
        assert await shown(page) == ["c"]

    async def test_a_broken_link_harms_nothing(self, page: Browser, collector: Collector) -> None:
        """
        What is no filter is left out; a value that can't be one is said.
        """
        await open_at(
            page, collector, "filter=model:claude&model=x&nonsense=1&event=x&tab=none&range=9y"
        )
        await page.until(COUNT, "2 events")

        await open_at(page, collector, "event=999")
        await page.find(".detail .nothing")
        problems = await page.problems()
        assert all("404" in text for text in problems), problems


class TestBox:
    """
    The text of the filter.
    """

    async def test_keys_and_values_are_completed_by_keyboard(self, page: Browser) -> None:
        """
        What is typed is gone on with: a key, then one of the values that were collected.
        """
        await page.until(COUNT, "3 events")
        await page.press("/", "pro")
        await page.until(EXPANDED, "true")
        assert (await page.texts(OPTIONS))[0] == "provider:"

        await page.press(DOWN, TAB)
        assert await page.run(BOX) == "provider:"
        await page.until("return document.querySelectorAll('.completions li').length === 2")
        await page.press("anth", DOWN)
        active = "return document.activeElement.getAttribute('aria-activedescendant')"
        assert str(await page.run(active)).startswith("completions-")
        await page.press(ENTER)

        assert await page.run(BOX) == "provider:anthropic "
        await page.until(COUNT, "1 event")
        assert await shown(page) == ["b"]

    async def test_a_completion_is_chosen_by_mouse(self, page: Browser) -> None:
        """
        A value is found without its key, and a click takes it.
        """
        await page.until(COUNT, "3 events")
        await page.press("/", "-clau")
        await page.find(".completions li")

        await page.click(".completions li")

        assert await page.run(BOX) == "-model:claude "
        await page.until(COUNT, "1 event")
        assert await shown(page) == ["a"]

    async def test_escape_closes_the_completions_first(self, page: Browser) -> None:
        """
        Once more, and the box is left.
        """
        await page.until(COUNT, "3 events")
        await page.press("/")
        await page.until(EXPANDED, "true")

        await page.press(ESCAPE)
        await page.until(EXPANDED, "false")
        assert await page.run("return document.activeElement.id") == "search"
        await page.press(ESCAPE)
        assert await page.run("return document.activeElement.id") != "search"

    async def test_a_mistake_is_said_beneath_and_changes_nothing(self, page: Browser) -> None:
        """
        The list and the address stay as they were until the text can be understood.
        """
        await page.until(COUNT, "3 events")
        await page.press("/", "error", ENTER)
        await page.until(COUNT, "1 event")

        await page.press(" latency>soon", ENTER)
        message = await page.text("#filter-problem")
        assert "latency" in message
        assert await shown(page) == ["c"]
        assert "soon" not in await page.url()
        assert await page.run("return document.getElementById('search').ariaInvalid") == "true"

        await page.click("#clear-filters")
        await page.until(COUNT, "3 events")
        assert await page.run(NO_PROBLEM)
        assert await page.run(BOX) == ""

    async def test_a_term_that_is_being_typed_is_no_mistake(self, page: Browser) -> None:
        """
        Until there is a value, or the quote is closed, nothing is asked.
        """
        await page.until(COUNT, "3 events")
        await page.press("/", "model:")
        await page.until(EXPANDED, "true")
        await page.press("gpt-4o")

        await page.until(COUNT, "1 event")
        assert await page.run(NO_PROBLEM)

    async def test_choices_keep_what_was_typed(self, page: Browser) -> None:
        """
        They edit their own term alone, and take it out again.
        """
        await page.until(COUNT, "3 events")
        await page.press("/", "timed -model:gpt-4o", ENTER)
        await page.until(COUNT, "1 event")

        await page.choose('select[data-filter="source"]', "prod")
        assert await page.run(BOX) == "timed -model:gpt-4o source:prod"
        await page.choose('select[data-filter="source"]', "")
        assert await page.run(BOX) == "timed -model:gpt-4o"

    async def test_the_language_is_explained(self, page: Browser) -> None:
        """
        The question mark in the box opens what explains it.
        """
        await page.click(".search-help")

        assert "latency>2s" in await page.text("#keys .language")


class TestRange:
    """
    The time that is looked at.
    """

    @pytest.fixture
    async def collector(self) -> AsyncIterator[Collector]:
        clock = PastClock()
        clock.ago = 2 * 3600.0
        async with Collector(clock=clock) as collector:
            await push(collector, model_event(event_name="old", model="claude"))
            clock.ago = 0.0
            await push(collector, model_event(event_name="new", model="gpt-4o"))
            yield collector

    async def test_it_bounds_list_count_and_charts(self, page: Browser) -> None:
        """
        All show the same events; the whole store is named beside the count.
        """
        await page.until(COUNT, "2 events")
        await page.choose('select[data-filter="range"]', "1h")

        await page.until(COUNT, "1 event")
        assert await shown(page) == ["new"]
        figure = "return document.querySelector('[data-chart=events] b').textContent === '1'"
        await page.until(figure)
        await page.until("return document.getElementById('count-of').textContent === ' of 2'")

    async def test_what_is_older_is_offered(self, page: Browser) -> None:
        """
        Where the filter leaves only older events, the page says when, and shows their range.
        """
        await page.until(COUNT, "2 events")
        await page.run("location.hash = 'filter=model:claude&range=1h'")

        assert "1 event matches at other times" in await page.text("#elsewhere")
        assert await page.text("#show-range") == "Show last 24 h"
        await page.click("#show-range")
        await page.find(".row")
        assert await shown(page) == ["old"]
        assert "range=24h" in await page.url()

    async def test_a_stretch_of_time_is_a_chip(self, page: Browser, collector: Collector) -> None:
        """
        A click on it shows all times again.
        """
        await open_at(page, collector, "since=1000&until=2000")
        await page.find("#no-match")

        await page.click(".chip")

        await page.until(COUNT, "2 events")
        assert "since" not in await page.url()

    @pytest.mark.parametrize(
        ("oldest", "newest", "now", "ends"),
        [
            (None, None, 1000, (1000 - 300, 1000)),
            (900, 950, 1000, (700, 1000)),
            (0, 5000, 6000, (0, 6000)),
            (0, 600, 1_000_000, (0, 600)),
        ],
    )
    async def test_all_time_ends_where_events_end(
        self,
        page: Browser,
        oldest: int | None,
        newest: int | None,
        now: int,
        ends: tuple[int, int],
    ) -> None:
        """
        At now while events come, else at the newest, with at least five minutes in sight.
        """
        script = (
            "const times = arguments; return import('/page/js/ask/range.js')"
            ".then(({ stretchOf }) => stretchOf(...times))"
        )
        times = [None if time is None else time * 1000 for time in (oldest, newest, now)]
        found = await page.run(script, *times)

        assert (found["since"] // 1000, found["until"] // 1000) == ends


class TestSearch:
    """
    Text that is too much to be searched at once.
    """

    @pytest.fixture
    async def collector(self, tmp_path: Path) -> AsyncIterator[Collector]:
        text = b'{"text":"%b"}' % (b"x" * 14 * 2**20)
        db = tmp_path / "large.db"
        async with Store.open(db) as store:
            for _ in range(6):
                await store.add([EventRow(text, "e", "s", "/", 1_700_000_000_000)])
        async with Collector(db=db) as collector:
            yield collector

    async def test_how_far_it_was_searched_is_said(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Beside the count, and with the charts, which show what was read.
        """
        await open_at(page, collector, "filter=xx")

        await page.until("return /^ since /.test(document.getElementById('count-of').textContent)")
        assert await page.run(COUNT, "5 events")
        assert (await page.text("#charts-note")).startswith("Searched back to ")


class TestStored:
    """
    What is done with all that is stored.
    """

    async def test_what_the_filter_leaves_is_exported(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        The link has a good file name, and leads to those events alone.
        """
        await open_at(page, collector, "filter=model:claude")
        await page.until(COUNT, "2 events")
        await page.click("#more")

        assert await page.text("#export") == "Export 2 events as JSON Lines"
        link = "const a = document.getElementById('export'); return [a.href, a.download]"
        href, name = await page.run(link)
        assert name.startswith("events-filtered-")
        assert name.endswith(".jsonl")
        async with ClientSession() as client, client.get(href) as response:
            assert len((await response.text()).splitlines()) == 2

    async def test_all_is_deleted_after_a_question(self, page: Browser) -> None:
        """
        It says how much and where; the safe answer has the focus, and keeps all.
        """
        await page.until(COUNT, "3 events")
        await page.click("#more")
        await page.click("#delete-all")

        what = await page.text("#delete-what")
        assert "All 3 events and all sessions" in what
        assert "the collector's temporary file" in what
        assert await page.run(FOCUS) == "Keep them"
        await page.press(ENTER)
        await page.gone("#delete-dialog")
        assert await shown(page) == ["c", "b", "a"]

        await page.click("#more")
        await page.click("#delete-all")
        await page.click("#delete-dialog .danger")
        await page.find("#welcome")

    async def test_escape_closes_the_menu(self, page: Browser) -> None:
        """
        And the button that opened it has the focus.
        """
        await page.click("#more")
        await page.find("#more-menu")

        await page.press(ESCAPE)

        await page.gone("#more-menu")
        assert await page.run("return document.activeElement.id") == "more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_has_it_all(page: Browser, scheme: str) -> None:
    """
    At 390 pixels the completions, a mistake, the menu and the question fit, for everybody.
    """
    await page.prefer(scheme)
    await page.resize(390, 844)
    await page.until(COUNT, "3 events")
    await page.press("/")
    await page.find(".completions")
    assert not await page.run(TOO_WIDE)
    assert await page.barriers() == []

    await page.press("model:" + "x" * 60 + " latency>soon", ENTER)
    await page.find("#filter-problem")
    assert not await page.run(TOO_WIDE)
    assert await page.barriers() == []

    await page.click("#clear-filters")
    await page.click("#more")
    await page.find("#more-menu")
    assert not await page.run(TOO_WIDE)
    assert await page.barriers() == []
    await page.click("#delete-all")
    await page.find("#delete-dialog")
    assert await page.barriers() == []
