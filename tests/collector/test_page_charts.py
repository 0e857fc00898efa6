"""
The charts of the collector's page: what they draw, say and choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import push
from tests.support import PastClock, model_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

INKED = """
const [chart, least] = arguments;
const canvas = document.querySelector(`[data-chart=${chart}] canvas`);
if (!canvas?.width) return false;
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
let inked = 0;
for (let at = 0; at < pixels.length; at += 4) {
  const [red, green, blue, alpha] = pixels.slice(at, at + 4);
  if (alpha > 99 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) inked += 1;
}
return inked >= least;
"""
"""Whether a chart has so many pixels of a colour: axes and grid are grey."""
FIGURE = "return document.querySelector('.chart-figure').textContent === arguments[0]"
LATER = """
const now = performance.now.bind(performance);
const by = arguments[0];
performance.now = () => now() + by;
"""
"""Makes the page believe that so many milliseconds passed."""
IMPORT = "return import(`/page/js/${arguments[0]}.js`).then((found) => "
LABEL = "return document.querySelector(`[data-chart=${arguments[0]}] [role=img]`).ariaLabel"
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"
HOME, END, ENTER, ESCAPE, SHIFT = "\ue011", "\ue010", "\ue007", "\ue00c", "\ue008"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


class TestMarks:
    """
    The marks of the axes.
    """

    @pytest.mark.parametrize(
        "zone",
        ["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"],
    )
    async def test_no_time_is_told_twice(self, page: Browser, zone: str) -> None:
        """
        Whatever the step and the start are, over midnight, a change of clocks and a new year.
        """
        await page.live_in(zone)
        script = f"""{IMPORT} {{
            const {{ TIME_STEPS, timeMarks }} = found;
            const repeated = [];
            const starts = [[2026, 9, 24, 20], [2026, 2, 29, 0], [2025, 11, 31, 9],
                [2026, 3, 4, 11], [2024, 1, 28, 23, 59, 59]].map((date) => Date.UTC(...date));
            for (const step of TIME_STEPS)
            for (const start of starts)
            for (const n of [1, 2, 5, 9]) {{
                const times = Array.from({{ length: n }}, (_, at) => start + at * step);
                const marks = timeMarks(times, step).filter(Boolean);
                if (new Set(marks).size !== marks.length || marks.length < n - 1)
                    repeated.push([step, start, marks]);
            }}
            return repeated;
        }})"""

        assert await page.run(script, "charts/axis") == []

    async def test_a_long_day_has_dates(self, page: Browser) -> None:
        """
        An hour that comes on two days is told with its day; within a day the hour is enough.
        """
        await page.live_in("UTC")
        script = f"{IMPORT} found.timeMarks(arguments[1].map((h) => h * 3600000), 12 * 3600000))"

        assert await page.run(script, "charts/axis", [0, 12]) == ["00:00", "12:00"]
        assert await page.run(script, "charts/axis", [12, 24, 36]) == [
            "Jan 1 12:00",
            "Jan 2 00:00",
            "Jan 2 12:00",
        ]

    async def test_no_value_is_told_twice_or_rounded(self, page: Browser) -> None:
        """
        Each chart writes the multiples of every step apart, and so that they read back.
        """
        script = f"""{IMPORT} import("/page/js/charts/axis.js").then((axis) => {{
            const {{ VALUE_STEPS, WHOLE_STEPS, exact }} = axis;
            const wrong = [];
            for (const chart of found.CHARTS) {{
                const steps = chart.isWhole ? WHOLE_STEPS : VALUE_STEPS;
                for (const step of steps) {{
                    const values = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((at) => at * step);
                    const marks = values.map((value) => chart.mark(Number(value.toPrecision(9))));
                    if (new Set(marks).size !== 9) wrong.push([chart.key, step, marks]);
                }}
            }}
            for (const value of [0.0025, 12.5, 125, 1250, 9990, 0.000001, 0.35])
                if (Number(exact(value).replaceAll(",", "")) !== value) wrong.push(exact(value));
            return wrong;
        }}))"""

        assert await page.run(script, "charts/series") == []

    async def test_powers_of_ten_are_few(self, page: Browser) -> None:
        """
        A logarithmic axis has at most five marks, all apart.
        """
        script = f"""{IMPORT} import("/page/js/charts/series.js").then(({{ CHARTS }}) => {{
            const write = CHARTS.find(({{ isLogarithmic }}) => isLogarithmic).mark;
            const wrong = [];
            for (let from = -1; from < 12; from += 1) for (let to = from + 1; to < 13; to += 1) {{
                const marks = found.powers(10 ** from, 10 ** to).map(write);
                if (marks.length > 5 || new Set(marks).size !== marks.length) wrong.push(marks);
            }}
            return wrong;
        }}))"""

        assert await page.run(script, "charts/axis") == []


class TestCharts:
    """
    All events over time.
    """

    @pytest.fixture
    async def collector(self) -> AsyncIterator[Collector]:
        async with Collector() as collector:
            events = [
                model_event(
                    model=model,
                    duration=800,
                    cost=0.01,
                    usage={"prompt_tokens": 90, "completion_tokens": 10},
                    error=error,
                )
                for model in ("gpt-4o", "claude")
                for error in (None, "timed out")
            ]
            await push(collector, *events)
            yield collector

    async def test_each_chart_is_drawn(self, page: Browser, collector: Collector) -> None:
        """
        All five have ink on their canvas, and a figure for the whole range.
        """
        for chart in ("events", "latency", "tokens", "cost", "errors"):
            await page.until(INKED, chart, 10)

        figures = await page.texts(".chart-figure")
        assert figures == ["4", "p50 800 msp95 800 ms", "in 360out 40", "$0.04", "2"]

    async def test_it_follows_what_arrives(self, page: Browser, collector: Collector) -> None:
        """
        New events are in the figures without a reload.
        """
        await page.until(INKED, "events", 10)

        await push(collector, model_event())

        await page.until(FIGURE, "5")

    async def test_events_are_counted_as_the_other_bars_are(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        A bar is as high as the events in it, which the total above adds up.
        """
        await page.until(INKED, "events", 10)

        assert "Highest: events 4 at " in await page.run(LABEL, "events")

    async def test_models_are_told_apart(self, page: Browser, collector: Collector) -> None:
        """
        By model there is a legend, and a filter leaves its model alone in the charts.
        """
        await page.find("#charts .uplot")
        await page.click("#by-model")

        await page.find(".legend li")
        assert sorted(await page.texts(".legend span")) == ["claude", "gpt-4o"]
        await page.choose('select[data-filter="model"]', "claude")
        await page.until("return document.querySelectorAll('.legend li').length === 1")

    async def test_a_stretch_of_time_is_chosen_by_dragging(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        It becomes a filter of the list, and goes away by a click.
        """
        await page.until(INKED, "events", 10)

        await page.drag("[data-chart=events] .u-over", start=-60, way=40)

        await page.find("#no-match")  # the events are at the other end
        await page.click(".chip")
        await page.find(".row")
        assert "since" not in await page.url()

    async def test_what_cannot_be_counted_is_said(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Where the collector refuses to draw a range, its reason stands beside the charts.
        """
        await page.until(INKED, "events", 10)

        await page.run("location.hash = 'since=5000&until=3000'")

        await page.find("#charts-note")
        assert "until" in await page.text("#charts-note")
        assert await page.texts(".chart-entry b") == ["\u2013"] * 7
        assert all("400" in text for text in await page.problems())


class TestWeeks:
    """
    Charts of a long time.
    """

    @pytest.fixture
    async def collector(self) -> AsyncIterator[Collector]:
        clock = PastClock()
        async with Collector(clock=clock) as collector:
            await push(collector, model_event())
            clock.ago = 0.0
            await push(collector, model_event())
            yield collector

    async def test_half_a_minute_later_they_follow(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        What arrived is in the figures, however little of the range it is.
        """
        await page.until(FIGURE, "2")

        await push(collector, model_event())
        await page.run(LATER, 31_000)

        await page.until(FIGURE, "3")


class TestReading:
    """
    What a chart says to those who use no mouse, or see no colours.
    """

    @pytest.fixture
    async def collector(self) -> AsyncIterator[Collector]:
        async with Collector() as collector:
            usage = {"prompt_tokens": 90, "completion_tokens": 10}
            await push(collector, model_event(model="gpt-4o", duration=800, usage=usage))
            yield collector

    async def test_its_lines_have_names(self, page: Browser) -> None:
        """
        Where there are two, each has its colour, its name and its figure beside the title.
        """
        await page.until(INKED, "latency", 3)

        entries = "[data-chart={}] .chart-entry"
        assert await page.texts(entries.format("latency")) == ["p50 800 ms", "p95 800 ms"]
        assert await page.texts(entries.format("tokens")) == ["in 90", "out 10"]
        swatches = "return document.querySelectorAll('.chart-entry .swatch').length"
        assert await page.run(swatches) == 4
        await page.click("#by-model")
        await page.until(
            "return document.querySelector('[data-chart=latency] .chart-figure').textContent"
            " === 'p95 800 ms'"
        )

    async def test_it_says_its_figures(self, page: Browser) -> None:
        """
        Its text alternative has the sums, the range and where it is highest.
        """
        await page.until(INKED, "latency", 3)

        said = await page.run(LABEL, "latency")
        assert said.startswith("Latency from ")
        assert ": p50 800 ms, p95 800 ms. Highest: p95 800 ms at " in said
        assert (await page.run(LABEL, "errors")).endswith(": 0. No values.")

    async def test_arrow_keys_read_it(self, page: Browser) -> None:
        """
        One stop of the Tab key: left and right go to a bucket, up and down to another chart.
        """
        await page.until(INKED, "events", 10)
        stops = "return document.querySelectorAll('.charts-strip [tabindex=\"0\"]').length"
        assert await page.run(stops) == 1
        await page.run("document.querySelector('.charts-strip [tabindex=\"0\"]').focus()")

        await page.press(HOME)
        await page.until("return document.querySelector('.chart-figure').textContent === '0'")
        await page.press(DOWN)
        await page.until(
            "return /Latency: nothing/.test(document.querySelector('#chart-said').textContent)"
        )
        await page.find(".chart-tip")
        await page.press(ESCAPE)
        await page.gone(".chart-tip")
        await page.until(FIGURE, "1")

    async def test_keys_choose_a_range(self, page: Browser) -> None:
        """
        Shift and arrows mark buckets, and Enter shows what is between.
        """
        await page.until(INKED, "events", 10)
        await page.run("document.querySelector('.charts-strip [tabindex=\"0\"]').focus()")

        await page.press(HOME, RIGHT)
        await page.run(
            "for (let n = 0; n < 3; n += 1) document.activeElement.dispatchEvent(new KeyboardEvent("
            "'keydown', {key: 'ArrowRight', shiftKey: true, bubbles: true}))"
        )
        await page.press(ENTER)

        await page.until(
            "return location.hash.includes('since') && location.hash.includes('until')"
        )
        await page.find("#no-match")
