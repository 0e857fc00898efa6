"""
How fast the collector's page is when there is much to show: `python -m tests.page_speed`.

Collectors with 1,500 and with 50,000 events take turns at the same questions, asked by
one Chromium; the page reads its own clock, and what counts is the ratio within a round.
Events are the recorded ones where they are at hand, else made ones of their sizes.
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
from hh_exporter._collector import Collector
from hh_exporter._collector.rows import EventRow
from hh_exporter._collector.store import Store
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
        return report(*figures.values())


if __name__ == "__main__":
    sys.exit(not asyncio.run(main()))
