"""
The collector's page over recorded conversations and the trace of an agent, as one uses it.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from hh_exporter import Exporter
from hh_exporter._cli._trace import agent_trace
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector
from tests.collector_client import MANY, get, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

DATA = Path(__file__).parents[3] / "shared/data/model_events.jsonl.gz"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not DATA.exists(), reason="the recorded events are not on this machine"),
]

AT_ONCE = 250
EVERY = 60
"""One event in so many is opened in each tab."""
TABS = ("conversation", "session", "parameters", "raw")
COUNT = "return document.getElementById('count').textContent.startsWith(arguments[0])"
FIRST = "return document.querySelector('[aria-rowindex=\"2\"]')?.dataset.id === arguments[0]"
OPENED = """
const [id, tab] = arguments;
return document.querySelector(`#tab-${tab}[aria-selected="true"]`)
  && location.hash.includes(`event=${id}`)
  && document.querySelector("#detail-content")?.textContent.trim().length > 20;
"""
ANSWERED = """
const shown = [...document.querySelectorAll(".message")].at(-1)?.textContent ?? "";
return arguments[0].every((word) => shown.includes(word));
"""
FILTERS = (
    "error",
    "model:gpt-4*",
    "latency>5s -error",
    "tokens>=1k provider:openai",
    "cost>0.001 name:mt-bench*",
    "tools.function.name:*",
    '"the capital of"',
)
ORDERS = ("time", "-latency", "tokens", "-cost")


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    with gzip.open(DATA) as lines:
        return [orjson.loads(line) for line in lines]


@pytest.fixture
async def collector(recorded: list[dict[str, Any]]) -> AsyncIterator[Collector]:
    """
    A collector of all recorded events and of one agent's session, which comes last.
    """
    async with Collector() as collector:
        for at in range(0, len(recorded), AT_ONCE):
            body = {"model_events": recorded[at : at + AT_ONCE]}
            assert (await post(collector, MANY, body))[0] == 200
        async with Exporter(base_url=collector.url, dialect="v1") as exporter:
            for step in agent_trace(SystemClock().wall() * 1000):
                assert exporter.push(step)
        yield collector


async def test_each_question_is_answered_on_the_page(
    collector: Collector, page: Browser, recorded: list[dict[str, Any]]
) -> None:
    """
    The page shows the count and the first row that the API names, for each filter and order.
    """
    await page.until(COUNT, f"{len(recorded) + 9:,} events")
    for text in FILTERS:
        for order in ORDERS:
            await page.run(
                "location.hash = new URLSearchParams(arguments[0])",
                {
                    "filter": text,
                    "sort": order,
                },
            )
            found = await get(collector, "events", filter=text, sort=order, limit=1)
            total = (await get(collector, "totals", filter=text))["events"]
            assert total, text

            await page.until(FIRST, str(found["events"][0]["id"]))
            await page.until(COUNT, f"{total:,} event")


async def test_each_tab_of_recorded_events_can_be_read(
    collector: Collector, page: Browser, recorded: list[dict[str, Any]]
) -> None:
    """
    Whatever a conversation holds, each way to look at it shows something, and nothing fails.
    """
    await page.find(".row")
    for row_id in range(1, len(recorded), EVERY):
        for tab in TABS:
            await page.run(
                "location.hash = `event=${arguments[0]}&tab=${arguments[1]}`", row_id, tab
            )
            await page.until(OPENED, str(row_id), tab)


async def test_the_words_of_an_answer_are_on_the_page(
    page: Browser, recorded: list[dict[str, Any]]
) -> None:
    """
    Rendered as Markdown, an answer has each of its words.
    """
    await page.find(".row")
    for place in range(0, 600, EVERY):
        answer = recorded[place]["response"].get("content") or ""
        words = re.findall(r"\w{4,}", answer[:5_000])
        if words:
            await page.run("location.hash = `event=${arguments[0]}`", place + 1)
            await page.until(ANSWERED, words)


async def test_the_agent_is_a_tree_among_them(collector: Collector, page: Browser) -> None:
    """
    Its session is the latest, and a click shows its nine events with their sums.
    """
    await page.run("location.hash = 'view=sessions'")
    await page.find(".sessions .row")
    await page.click('.sessions [aria-rowindex="2"]')

    await page.find('.tree-row[aria-level="4"]')
    assert len(await page.texts(".tree-row")) == 9
    assert "1,154 tokens" in await page.text(".session-summary")
