"""
The list on the collector's page, in a real browser: what each row says, at every width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import MANY, V1_ONE, model_event, post, v1_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "3f8b1c9e-8f7c-4b7e-9a53-6d1c7a3e0f21"
QUESTION = "Where is my parcel?"
ANSWER = "In Lisbon since Monday."
CONVERSATION = {
    "messages": [{"role": "user", "content": QUESTION}],
    "response": {"role": "assistant", "content": ANSWER},
}
WIDTHS = ((1280, 800), (1000, 700), (700, 700), (390, 800))


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def send(collector: Collector, **fields: object) -> None:
    await post(collector, MANY, {"model_events": [model_event(**fields)]})


class TestRow:
    """
    What one sees of an event without opening it.
    """

    async def test_it_begins_with_the_question_and_the_answer(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        The last user text and the answer stand in the row.
        """
        await send(collector, **CONVERSATION)

        await page.find(".row")
        assert await page.text(".row .input") == QUESTION
        assert await page.text(".row .output") == ANSWER

    @pytest.mark.parametrize("size", WIDTHS, ids=str)
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    async def test_the_preview_is_seen_at_every_width(
        self, page: Browser, collector: Collector, size: tuple[int, int], scheme: str
    ) -> None:
        """
        Where it has no column it has a line of its own, and nothing is wider than the list.
        """
        await page.prefer(scheme)
        await page.resize(*size)
        await send(collector, event_name="n" * 150, error="broken " * 60, **CONVERSATION)
        await send(collector, event_name="n" * 150, model="m" * 150, **CONVERSATION)
        await page.until("return document.querySelectorAll('.row').length === 2")

        fits = """
            const list = document.querySelector('.list-grid');
            const inside = ([outer, inner]) =>
              inner.left >= outer.left - 1 && inner.right <= outer.right + 1
              && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
            const boxes = [...document.querySelectorAll('.row')].flatMap((row) =>
              [...row.children].filter((cell) => cell.checkVisibility())
                .map((cell) => [row.getBoundingClientRect(), cell.getBoundingClientRect()]));
            return list.scrollWidth <= list.clientWidth && boxes.length >= 10
              && boxes.every(inside)
        """
        await page.until(fits)
        for part in (".input", ".output", ".error"):
            width = f"return document.querySelector('.row {part}').getBoundingClientRect().width"
            assert await page.run(width) > 100, part

    async def test_its_time_is_the_start_and_the_arrival_is_in_the_tooltip(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        When a call began matters; when it arrived can be asked.
        """
        await send(collector, start_time=1_700_000_000_000, duration=10)

        await page.find(".row")
        expected = (
            "return (await import('/page/js/common/format.js')).shortTime(1_700_000_000_000)"
            " === document.querySelector('.row .cell-time').textContent"
        )
        assert await page.run(f"return (async () => {{{expected}}})()")
        title = await page.run("return document.querySelector('.row .cell-time').title")
        started, arrived = title.splitlines()
        assert started.startswith("started ")
        assert "2023" in started
        assert arrived.startswith("arrived ")
        assert "2023" not in arrived

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("model", "Model call"),
            ("tool", "Tool call"),
            ("chain", "Chain"),
            ("session", "Session"),
        ],
    )
    async def test_its_kind_is_a_drawing_with_a_name(
        self, page: Browser, collector: Collector, kind: str, name: str
    ) -> None:
        """
        So that a column of them can be scanned, also by those who hear it.
        """
        fields: dict[str, object] = {} if kind == "model" else {"inputs": {}, "outputs": {}}
        await post(collector, V1_ONE, v1_event(event_type=kind, **fields))

        await page.find(f".row svg.kind-{kind}")
        label = "return document.querySelector('.row svg.kind').getAttribute('aria-label')"
        assert await page.run(label) == name
        assert await page.texts(".row .type") == []

    async def test_a_kind_that_is_not_known_is_named(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        It has a drawing, too, and its name beside it.
        """
        await send(collector)
        await page.find(".row")
        script = """
            return (async () => {
              const { fillRow, makeRow } = await import("/page/js/lists/columns.js");
              const [summary] = (await (await fetch("/api/events")).json()).events;
              const row = makeRow();
              fillRow(row, { ...summary, type: "toString" }, "");
              return [row.querySelector(".type").textContent, row.querySelectorAll("svg").length];
            })()
        """
        assert await page.run(script) == ["toString", 1]

    async def test_its_session_has_a_name(self, page: Browser, collector: Collector) -> None:
        """
        The name stands in place of the id, which is in the tooltip.
        """
        await post(
            collector,
            "/session/start",
            {"session": {"session_id": SESSION, "session_name": "support chat", "project": "p"}},
        )
        await send(collector, session_id=SESSION)

        await page.find(".row")
        assert await page.text(".row .cell-session") == "support chat"
        title = await page.run("return document.querySelector('.row .cell-session').title")
        assert SESSION in title

    async def test_a_session_without_a_name_has_the_head_of_its_id(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        It tells sessions apart as well as it can.
        """
        await send(collector, session_id=SESSION)

        await page.find(".row")
        assert await page.text(".row .cell-session") == SESSION[:8]

    async def test_stopped_by_the_reader_is_no_error(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        It is said in other words and another colour, beside what was answered until then.
        """
        await send(collector, error="cancelled", **CONVERSATION)
        await send(collector, error="TimeoutError: 30 s", **CONVERSATION)

        await page.until("return document.querySelectorAll('.row').length === 2")
        assert await page.texts(".row .stopped") == [f"stopped by the reader {ANSWER}"]
        assert await page.texts(".row.is-error .error") == ["TimeoutError: 30 s"]
        colour = "return getComputedStyle(document.querySelector(arguments[0])).color"
        assert await page.run(colour, ".stopped") != await page.run(colour, ".error")

    @pytest.mark.parametrize(("rating", "thumb"), [(5, "up"), (1, "down")])
    async def test_a_rating_is_a_thumb(
        self, page: Browser, collector: Collector, rating: int, thumb: str
    ) -> None:
        """
        It stands beside the name, with a mark where there is a note to read.
        """
        await send(collector, feedback={"rating": rating, "note": "too long"})
        await send(collector)

        await page.find(f".row .thumb-{thumb}")
        labels = (
            "return [...document.querySelectorAll('.row .thumb, .row .note')]"
            ".map((icon) => icon.getAttribute('aria-label'))"
        )
        assert await page.run(labels) == [f"rated {rating}", "has a note"]


class TestEnd:
    """
    What stands below the last row, where events are missing.
    """

    async def test_it_is_said_that_there_are_more_than_the_list_holds(self, page: Browser) -> None:
        """
        Whether older ones were not read, or went when newer ones arrived.
        """
        script = """
            return (async () => {
              const { Feed } = await import("/page/js/lists/feed.js");
              const { MOST_ROWS } = await import("/page/js/lists/rows.js");
              const feed = new Feed();
              const ids = Array.from({ length: MOST_ROWS }, (_, n) => ({ id: MOST_ROWS - n }));
              feed.rows.addOlder(ids);
              const notes = [feed.note];
              feed.isComplete = true;
              notes.push(feed.note);
              feed.rows.addNewer([{ id: MOST_ROWS + 1 }]);
              return [...notes, feed.note, MOST_ROWS];
            })()
        """
        unread, whole, cut, most = await page.run(script)

        assert f"first {most:,}" in unread
        assert whole == ""
        assert cut == unread

    async def test_it_is_said_how_far_a_sorted_search_went(self, page: Browser) -> None:
        """
        With the time of arrival before which nothing was searched.
        """
        script = """
            return (async () => {
              const { Feed } = await import("/page/js/lists/feed.js");
              const feed = new Feed();
              feed.rows.addOlder([{ id: 1 }]);
              feed.isComplete = true;
              feed.searchedFrom = Date.UTC(2023, 10, 14, 12);
              return feed.note;
            })()
        """
        assert "14 Nov 2023" in await page.run(script)

    async def test_it_is_seen_at_the_end(self, page: Browser, collector: Collector) -> None:
        """
        Below the last row, as a row of its own for those who hear it.
        """
        await send(collector)
        await page.find(".row")
        script = """
            return (async () => {
              const { List } = await import("/page/js/lists/list.js");
              const { Rows } = await import("/page/js/lists/rows.js");
              const section = document.getElementById("list");
              const { events } = await (await fetch("/api/events")).json();
              const rows = new Rows();
              rows.addOlder(events);
              section.replaceChildren();
              new List(section, rows).note = "There is more.";
            })()
        """
        await page.run(script)

        below = """
            const row = document.querySelector('[aria-rowindex="2"]')?.getBoundingClientRect();
            const note = document.querySelector(".list-note").getBoundingClientRect();
            return row && note.height > 0 && note.top >= row.bottom
        """
        await page.until(below)
        assert await page.text('.list-note[role="row"]') == "There is more."
