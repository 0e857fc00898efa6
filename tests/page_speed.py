"""
How fast the collector's page is when there is much to show: `python -m tests.page_speed`.

Collectors with 1,500 and with 50,000 events take turns at the same questions, asked by
one Chromium; the page reads its own clock, and what counts is the ratio within a round.
Events are the recorded ones where they are at hand, else made ones of their sizes. Then
events of 2 MB or more are read: what each click on "Show more" costs, and how fast the tab Raw
JSON opens.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks._rounds import compare, interleave
from benchmarks._workload import find_events
from hh_exporter import Exporter, ModelEvent
from hh_exporter._collector import Collector
from hh_exporter._collector.storage.rows import EventRow
from hh_exporter._collector.storage.store import Store
from tests.browser import Browser, find_chromium, started_browser

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW: Final = 1_500
MANY: Final = 50_000
AT_ONCE: Final = 500
ROUNDS: Final = 9
WARM_UP: Final = 2
"""Rounds after which the files of the page and of the databases are in memory."""

OPENS: Final = "opens"
QUESTIONS: Final = {
    "sorts by latency": "sort=-latency",
    "sorts by tokens": "sort=-tokens",
    "sorts by time to first token": "sort=ttft",
    "filters by model": "filter=model:gpt-4*",
    "filters and sorts": "filter=latency>500ms&sort=-cost",
    "lists sessions": "view=sessions",
}
AT_MOST: Final = {OPENS: 1.5}
OTHERWISE_AT_MOST: Final = 3.0

LONG: Final = {
    "words": "word " * 400_000,
    "no line ends": "x" * 2_000_000,
    "lines": "some words in a line\n" * 95_000,
    "right to left": "שלום עולם " * 200_000,
    "no spaces": "漢字" * 800_000,
}
CLICKS: Final = 25
RAW_AT_MOST: Final = 200.0
"""Milliseconds."""

_FROM_START = """
const done = arguments[0];
const look = () => {
  if (document.querySelector(".row")) requestAnimationFrame(() => done(performance.now()));
  else requestAnimationFrame(look);
};
look();
"""
"""Milliseconds from the navigation to the frame after the first row."""
_FROM_QUESTION = """
const [fragment, done] = arguments;
performance.clearResourceTimings();
const start = performance.now();
location.hash = fragment;
const isAnswered = () => performance.getEntriesByType("resource").some(({ name, responseEnd }) =>
  /\\/api\\/(events|sessions)\\?/.test(name) && responseEnd > 0);
const look = () => {
  if (isAnswered() && document.querySelector(".row")) {
    requestAnimationFrame(() => done(performance.now() - start));
  } else {
    requestAnimationFrame(look);
  }
};
requestAnimationFrame(look);
"""
"""Milliseconds from a change of the address to the frame after its first row."""
_CLICKS = """
const text = document.querySelector(".message .text");
const isMore = (button) => button.textContent.startsWith("Show more");
return Array.from({ length: arguments[0] }, () => {
  const start = performance.now();
  [...text.querySelectorAll(".more")].find(isMore).click();
  text.getBoundingClientRect();
  return performance.now() - start;
});
"""
"""Milliseconds of each click, with the layout that it needs."""
_RAW = """
const done = arguments[0];
const start = performance.now();
document.getElementById("tab-raw").click();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""
"""Milliseconds from a click on the tab to the end of the next frame."""


async def fill(path: Path, count: int) -> None:
    """
    Store *count* events, which repeat if there are fewer, half a second apart.
    """
    texts = [orjson.dumps(event) for event in find_events()]
    async with Store.open(path) as store:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            await store.add(
                [
                    EventRow(
                        texts[number % len(texts)],
                        f"event-{number}",
                        f"session-{number // 12}",
                        "/events/model/batch",
                        1_750_000_000_000 + number * 500,
                    )
                    for number in numbers
                ]
            )


async def measure(browser: Browser, url: str) -> dict[str, float]:
    """
    Open the page and ask each question; the milliseconds of each.
    """
    await browser.open("about:blank")
    await browser.open(url)
    figures = {OPENS: float(await browser.run_async(_FROM_START))}
    for name, fragment in QUESTIONS.items():
        figures[name] = float(await browser.run_async(_FROM_QUESTION, fragment))
        await browser.run_async(_FROM_QUESTION, "")
    return figures


def report(few: Sequence[dict[str, float]], many: Sequence[dict[str, float]]) -> bool:
    """
    Print the ratios, and say whether each is within its bound.
    """
    print(f"{'':30} {FEW:>9,} {MANY:>9,}  ratio")
    is_met = True
    for name in (OPENS, *QUESTIONS):
        small, large = [one[name] for one in few], [one[name] for one in many]
        ratio, bound = median(compare(large, small)), AT_MOST.get(name, OTHERWISE_AT_MOST)
        is_met = is_met and ratio <= bound
        verdict = "" if ratio <= bound else f"  beyond {bound}"
        print(f"{name:30} {median(small):6.0f} ms {median(large):6.0f} ms {ratio:6.2f}{verdict}")
    return is_met


async def read_long(browser: Browser) -> bool:
    """
    Measure and print what reading long events costs, and say whether that is in bounds.
    """
    is_met = True
    async with Collector() as collector, Exporter(base_url=collector.url) as exporter:
        for name, text in LONG.items():
            exporter.push(ModelEvent(model="m", messages=[{"role": "user", "content": text}]))
            assert (await exporter.flush()).delivered == 1
            await browser.open("about:blank")
            await browser.open(collector.url)
            await browser.click('[aria-rowindex="2"]')
            await browser.find(".message .text .more")
            clicks = await browser.run(_CLICKS, CLICKS)
            raw = await browser.run_async(_RAW)
            ratio = clicks[-1] / clicks[0]
            is_met = is_met and ratio <= OTHERWISE_AT_MOST and raw <= RAW_AT_MOST
            size = f"{len(text.encode()) / 1e6:.1f} MB, {name}"
            said = f"click {CLICKS} ÷ click 1: {ratio:.2f}, median {median(clicks):.1f} ms"
            print(f"{size:22} {said}; raw JSON {raw:.0f} ms")
    return is_met


async def main() -> bool:
    found = find_chromium()
    if found is None:
        sys.exit("needs Chromium and its driver: apt-get install chromium chromium-driver")
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        browser = stack.enter_context(started_browser(*found))
        variants = {}
        for count in (FEW, MANY):
            path = directory / f"{count}.db"
            await fill(path, count)
            collector = await stack.enter_async_context(Collector(db=path))
            variants[str(count)] = partial(measure, browser, collector.url)
        figures = await interleave(variants, rounds=ROUNDS, warm_up=WARM_UP)
        is_met = report(*figures.values())
        return await read_long(browser) and is_met


if __name__ == "__main__":
    sys.exit(not asyncio.run(main()))
