"""
What was searched for is marked in the open event, wherever in it it stands.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import ONE, post
from tests.collector_client import model_event as wire_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

LABEL = ".find-label"
MARKED = """
const highlight = globalThis.CSS.highlights.get(arguments[0]);
return [...highlight ?? []].map((mark) => {
  const range = document.createRange();
  range.setStart(mark.startContainer, mark.startOffset);
  range.setEnd(mark.endContainer, mark.endOffset);
  return range.toString();
});
"""
IN_SIGHT = """
const [mark] = CSS.highlights.get("search-current") ?? [];
if (mark === undefined) return false;
const range = document.createRange();
range.setStart(mark.startContainer, mark.startOffset);
range.setEnd(mark.endContainer, mark.endOffset);
const box = range.getBoundingClientRect();
const frame = document.getElementById("detail-content").getBoundingClientRect();
const bar = document.querySelector(".find").getBoundingClientRect();
return box.height > 0 && box.top >= bar.bottom && box.bottom <= frame.bottom;
"""
MATCHES = """
const [words, text] = arguments;
return import("/page/js/event/pattern.js")
  .then(({patternOf}) => [...text.matchAll(patternOf(words))].map(([found]) => found));
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def search(page: Browser, collector: Collector, words: str, tab: str = "") -> None:
    """
    Open a link to the first event, found with these words.
    """
    await page.open("about:blank")
    await page.open(f"{collector.url}/#filter={words}&event=1&tab={tab}")
    await page.find(".find")


async def send(collector: Collector, *texts: str, **fields: Any) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    body = {"model_event": wire_event(messages=messages, **fields)}
    assert (await post(collector, ONE, body))[0] == 200


async def says(page: Browser, text: str) -> None:
    """
    Wait until it is what the bar says.
    """
    script = "return document.querySelector(arguments[0])?.textContent === arguments[1]"
    await page.until(script, LABEL, text)


async def test_matches_are_marked_and_gone_to(page: Browser, collector: Collector) -> None:
    """
    Upper or lower case, in all messages; n and N go round, and what is gone to is in sight.
    """
    await send(collector, "A needle, a Needle.", "hay\n" * 2_000, "NEEDLE")
    await search(page, collector, "needle")

    await says(page, "1 of 3 matches")
    assert await page.run(MARKED, "search") == ["needle", "Needle", "NEEDLE"]
    assert await page.run(MARKED, "search-current") == ["needle"]
    for key, label, current in [
        ("n", "2 of 3 matches", "Needle"),
        ("n", "3 of 3 matches", "NEEDLE"),
        ("n", "1 of 3 matches", "needle"),
        ("N", "3 of 3 matches", "NEEDLE"),
    ]:
        await page.press(key)
        await says(page, label)
        assert await page.run(MARKED, "search-current") == [current]
        await page.until(IN_SIGHT)
    await page.click('.find [aria-label="Next match (n)"]')
    await says(page, "1 of 3 matches")


async def test_the_slice_of_the_first_match_is_opened(page: Browser, collector: Collector) -> None:
    """
    In a text of megabytes, all matches are counted, and only what leads to one is shown.
    """
    text = "word " * 200_000 + "needle" + " word" * 200_000 + " needle"
    await send(collector, text)
    length = "return document.querySelector('.message .text').textContent.length"
    await search(page, collector, "needle")

    await says(page, "1 of 2 matches")
    await page.until(IN_SIGHT)
    assert 1_000_000 < await page.run(length) < 1_020_000
    await page.press("n")
    await says(page, "2 of 2 matches")
    await page.until(IN_SIGHT)
    await page.gone(".text .rest")


async def test_a_match_may_lie_across_slices(page: Browser, collector: Collector) -> None:
    """
    In a text that is cut in it, shown or not, and in JSON across what is folded.
    """
    await send(collector, "x" * 5_997 + "needle" + "x" * 5_997 + "needle" + "x" * 90_000)
    await search(page, collector, "needle")
    await says(page, "1 of 2 matches")
    await page.press("n")

    await says(page, "2 of 2 matches")
    await page.until(IN_SIGHT)
    assert await page.run(MARKED, "search") == ["needle", "needle"]
    assert len(await page.texts(".slice")) >= 3


async def test_a_match_in_raw_json_is_shown(page: Browser, collector: Collector) -> None:
    """
    Far down in a list, and within a string that is folded.
    """
    metadata = {"list": list(range(50_000)), "long": "x" * 500_000 + "needle" + "x" * 9_000}
    await send(collector, "hi", metadata=metadata)
    await search(page, collector, "needle", "raw")

    await says(page, "1 of 1 match")
    await page.until(IN_SIGHT)
    assert await page.run(MARKED, "search-current") == ["needle"]


async def test_a_folded_match_is_unfolded(page: Browser, collector: Collector) -> None:
    """
    In one of hundreds of messages of the past, which are not even made before.
    """
    await send(collector, *["hay"] * 150, "needle", *["hay"] * 100)
    await search(page, collector, "needle")

    await says(page, "1 of 1 match")
    await page.until(IN_SIGHT)
    assert await page.run("return document.querySelector('.past').open")


async def test_a_match_elsewhere_is_told(page: Browser, collector: Collector) -> None:
    """
    What only another tab shows is offered there, also by key.
    """
    await send(collector, "hi", metadata={"tenant": "needle"})
    await search(page, collector, "needle")

    await says(page, "No match here")
    await page.find(".find button")
    await page.press("n")

    await page.find('#tab-raw[aria-selected="true"]')
    await says(page, "1 of 1 match")
    await page.until(IN_SIGHT)


async def test_json_within_json_is_found_as_it_reads(page: Browser, collector: Collector) -> None:
    """
    The arguments of a tool, in the conversation and in the JSON that was sent.
    """
    function = {"name": "find", "arguments": json.dumps({"city": "Zürich"})}
    calls = [{"id": "1", "type": "function", "function": function}]
    response = {"role": "assistant", "content": "", "tool_calls": calls}
    await send(collector, "hi", response=response)
    await search(page, collector, "ZÜRICH")

    await says(page, "1 of 1 match")
    assert await page.run(MARKED, "search") == ["Z\\u00fcrich"]
    await page.click("#tab-raw")

    await page.find(".json")
    await says(page, "1 of 1 match")
    assert await page.run(MARKED, "search") == ["Z\\\\u00fcrich"]


async def test_too_many_matches_are_not_all_marked(page: Browser, collector: Collector) -> None:
    """
    One letter in megabytes: a thousand marks, and the bar says that there are more.
    """
    await send(collector, "word " * 400_000)
    await search(page, collector, "w")

    await says(page, "1 of 1,000+ matches")
    assert len(await page.run(MARKED, "search")) == 1_000
    await page.press("N")
    await says(page, "1,000 of 1,000+ matches")
    await page.until(IN_SIGHT)


async def test_marks_follow_the_search(page: Browser, collector: Collector) -> None:
    """
    Other words are marked at once, and without a search there is no mark and no bar.
    """
    await send(collector, "one two two")
    await search(page, collector, "one")
    await says(page, "1 of 1 match")

    await page.run("location.hash = 'filter=two&event=1'")
    await says(page, "1 of 2 matches")
    await page.run("location.hash = 'event=1'")

    await page.gone(".find")
    assert await page.run(MARKED, "search") == []
    assert await page.text(".message .text") == "one two two"


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        (["a.b"], "a.b axb A.B", ["a.b", "A.B"]),
        (["be", "better"], "better be", ["better", "be"]),
        (["two words"], "two\nwords two  words", ["two\nwords"]),
        (['say "hi"'], r'say "hi" say \\\"hi\\\"', ['say "hi"', r"say \\\"hi\\\""]),
        ([r"C:\new"], r"C:\new C:\\new C:new", [r"C:\new", r"C:\\new"]),
        (["Ü"], r"ü Ü \u00fc \\u00DC u00fc", ["ü", "Ü", r"\u00fc", r"\\u00DC"]),
        (["😀"], r"😀 \ud83d\ude00", ["😀", r"\ud83d\ude00"]),
        (["/"], r"/ \/", ["/", r"\/"]),
        (["[(*+?"], "[(*+?", ["[(*+?"]),
    ],
)  # fmt: skip
async def test_words_are_found_as_they_read(
    page: Browser, words: list[str], text: str, found: list[str]
) -> None:
    """
    In plain text, and as JSON escapes it, once or twice; no character means anything else.
    """
    assert await page.run(MATCHES, words, text) == found


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ('\\"' * 40 + "x", ("\\" * 9 + '"') * 20_000),
        ("\\" * 60, ("\\" * 50 + " ") * 2_000),
        (" " * 60 + "x", " " * 100_000),
        ("a" * 60 + "b", "a" * 100_000),
        ("ü\\" * 40, "\\" * 100_000),
    ],
    ids=["quotes", "backslashes", "spaces", "letters", "escapes"],
)
async def test_what_almost_matches_is_passed_quickly(page: Browser, word: str, text: str) -> None:
    """
    No word has more than one way to match a text, so none hangs the page.
    """
    assert await page.run(MATCHES, [word], text) == []
