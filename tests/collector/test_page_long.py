"""
Long text and large JSON on the collector's page: shown in slices, whole, and found in.

How long a layout takes is not measured here. It stays bounded because each slice is a
block that the browser lays out only when it comes near.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import ONE, post
from tests.collector_client import model_event as wire_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

WORDS = "word " * 400_000
TEXTS = {
    "words": WORDS,
    "one word": "x" * 2_000_000,
    "lines": "a line of some words\n" * 20_000,
    "CRLF": "a line\r\n\r\nanother\r\n" * 10_000,
    "tabs": "a\tb\t\tc\n" * 20_000,
    "long lines": ("y" * 20_000 + "\n\n") * 5 + "end",
    "right to left": ("שלום עולם " * 2_000 + "\nltr\n") * 5,
    "families": "👩‍👩‍👧‍👦" * 20_000,
    "flags": "🇩🇪🇫🇷" * 20_000,
    "marks": ("e" + "\u0301" * 3) * 20_000,
    "one endless mark": "e" + "\u0301" * 50_000,
    "astral": "a" + "\U0001d4b3" * 50_000,
}
BLOCKS = """
return [...document.querySelectorAll(".slice")].map((slice) => {
  const {contentVisibility, display} = getComputedStyle(slice);
  return [contentVisibility, display, slice.textContent.length];
});
"""
SHOW = """
const bar = [...document.querySelectorAll(arguments[0])].find((bar) => bar.checkVisibility());
const button = [...(bar?.children ?? [])].find((one) => one.textContent.startsWith(arguments[1]));
button?.click();
return Boolean(button);
"""
SELECTED = """
getSelection().selectAllChildren(document.querySelector(arguments[0]));
return getSelection().toString();
"""
CLUSTERS = """
const clusters = new Intl.Segmenter("en", {granularity: "grapheme"});
const slices = [...document.querySelectorAll(".slice")].map((slice) => slice.textContent);
const count = (text) => [...clusters.segment(text)].length;
return [count(slices.join("")), slices.map(count).reduce((a, b) => a + b)];
"""
CALL = (
    "const [module, name, ...rest] = arguments;"
    "return import(`/page/js/${module}.js`).then((found) => found[name](...rest))"
)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def send(collector: Collector, **fields: Any) -> None:
    status, _ = await post(collector, ONE, {"model_event": wire_event(**fields)})
    assert status == 200


async def send_text(collector: Collector, text: str) -> None:
    await send(collector, messages=[{"role": "user", "content": text}])


async def open_first(page: Browser, tab: str = "conversation") -> None:
    await page.find(".row")
    await page.click('[aria-rowindex="2"]')
    await page.click(f"#tab-{tab}")
    await page.find(f'#tab-{tab}[aria-selected="true"]')


class TestText:
    """
    A text of megabytes, in a message.
    """

    async def test_each_click_adds_blocks_that_are_laid_out_by_themselves(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        However often one asks for more, no block is longer than the first.
        """
        await send_text(collector, TEXTS["one word"])
        await open_first(page)

        for _ in range(25):
            assert await page.run(SHOW, ".text .rest", "Show more")

        blocks = await page.run(BLOCKS)
        assert len(blocks) == 1 + 25 * 10
        assert {(visibility, length) for visibility, _, length in blocks} == {("auto", 6_000)}

    @pytest.mark.parametrize("name", TEXTS)
    async def test_the_slices_are_the_text(
        self, page: Browser, collector: Collector, name: str
    ) -> None:
        """
        All of it can be shown, and what is selected over all slices has no line end too many.
        """
        text = TEXTS[name]
        await send_text(collector, text)
        await open_first(page)
        await page.find(".text .rest")

        assert await page.run(SHOW, ".text .rest", "Show all")

        await page.gone(".text .rest")
        assert await page.text(".message .text") == text
        selected = await page.run(SELECTED, ".message .text")
        assert selected.rstrip() == text.rstrip()
        blocks = await page.run(BLOCKS)
        assert {visibility for visibility, _, _ in blocks} == {"auto"}
        assert max(length for _, _, length in blocks) <= 6_000
        assert len(blocks) <= 3 * len(text) / 6_000 + 1

    @pytest.mark.parametrize("name", ["families", "flags", "marks", "astral"])
    async def test_no_character_that_is_seen_is_cut(
        self, page: Browser, collector: Collector, name: str
    ) -> None:
        """
        Neither a pair of surrogates, nor a letter and its accents, nor a flag.
        """
        await send_text(collector, TEXTS[name])
        await open_first(page)
        await page.find(".text .rest")
        assert await page.run(SHOW, ".text .rest", "Show all")

        whole, cut = await page.run(CLUSTERS)

        assert whole == cut

    async def test_a_line_that_is_cut_keeps_its_direction(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        A line from right to left goes on so, even where a slice of it begins with Latin letters.
        """
        await send_text(collector, "שלום " + "latin " * 4_000 + "\n" + "latin " * 4_000)
        await open_first(page)
        await page.find(".text .rest")
        assert await page.run(SHOW, ".text .rest", "Show all")

        script = (
            "return [...document.querySelectorAll('.slice')]"
            ".map((slice) => getComputedStyle(slice).direction)"
        )
        directions = await page.run(script)

        assert directions == ["rtl"] * 5 + ["ltr"] * 4

    async def test_the_whole_text_can_be_copied(self, page: Browser, collector: Collector) -> None:
        """
        Without showing it first.
        """
        await send_text(collector, TEXTS["CRLF"])
        await open_first(page)
        await page.run(
            "window.copied = [];"
            "navigator.clipboard.writeText = async (text) => { copied.push(text); }"
        )

        assert await page.run(SHOW, ".text .rest", "Copy")

        assert await page.until("return copied[0]") == TEXTS["CRLF"]

    async def test_what_is_read_stays_where_it_is_when_more_is_known(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        A rating of the event, given while somebody reads far down in it, moves nothing.
        """
        await send_text(collector, WORDS)
        await open_first(page)
        await page.find(".text .rest")
        assert await page.run(SHOW, ".text .rest", "Show more")
        place = (
            "const content = document.getElementById('detail-content');"
            "return [content.scrollTop, document.querySelectorAll('.slice').length]"
        )
        await page.run("document.getElementById('detail-content').scrollTop = 5_000")
        before = await page.run(place)
        [found] = [found async for found in collector.events()]
        rated = {"event_id": found.event_id, "feedback": {"rating": 5}}

        async with ClientSession(collector.url) as client, client.put("/events", json=rated) as put:
            assert put.status == 200

        await page.find('.feedback [aria-pressed="true"]')
        assert before == [5_000, 11]
        assert await page.run(place) == before

    async def test_the_keyboard_stays_where_it_was(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Enter can be pressed again and again, and after all of it the keys scroll the event.
        """
        await send_text(collector, "word " * 20_000)
        await open_first(page)
        await page.find(".text .more")
        await page.run("document.querySelector('.text .more').focus()")

        await page.press("\ue007")
        await page.until("return document.querySelectorAll('.slice').length > 5")
        assert await page.run("return document.activeElement.matches('.text .more')")
        await page.press("\ue007")

        await page.gone(".text .rest")
        assert await page.run("return document.activeElement.id") == "detail-content"


class TestJson:
    """
    JSON of megabytes, in the tab Raw JSON and in a message.
    """

    async def test_a_list_of_numbers_comes_in_slices_and_whole(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        It is shown and coloured a part at a time, with each number as it was sent.
        """
        numbers = [n + 0.1 for n in range(20_000)]
        await send(collector, metadata={"numbers": numbers, "big": 12345678901234567890})
        await open_first(page, "raw")
        await page.find(".json .rest")
        assert len(await page.run(BLOCKS)) == 2

        assert await page.run(SHOW, ".json .rest", "Show more")
        assert len(await page.run(BLOCKS)) == 42
        assert await page.run(SHOW, ".json .rest", "Show all")

        await page.gone(".json .rest")
        shown = await page.text(".json")
        [event] = [found.event async for found in collector.events()]
        assert json.loads(shown)["metadata"] == event["metadata"]
        assert "12345678901234567890" in shown
        assert {visibility for visibility, _, _ in await page.run(BLOCKS)} == {"auto"}
        numbered = "return document.querySelectorAll('.json-number').length"
        assert await page.run(numbered) < 10_000
        await page.run("const c = document.getElementById('detail-content'); c.scrollTop = 1e9")
        await page.until("return document.querySelector('.slice:last-of-type .json-number')")
        assert await page.run(SELECTED, ".json") in (shown, shown.rstrip("\n"))

    async def test_a_string_of_megabytes_is_folded(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        What follows it is in sight, and the rest of it can be asked for.
        """
        await send(collector, metadata={"long": 'a "b" \\ ' * 300_000, "next": 1})
        await open_first(page, "raw")

        await page.find(".json-string .rest")
        assert len(await page.text(".json")) < 10_000
        assert '"next"' in await page.text(".json")
        assert await page.run(SHOW, ".json-string .rest", "Show all")

        await page.gone(".json .rest")
        [event] = [found.event async for found in collector.events()]
        assert json.loads(await page.text(".json"))["metadata"] == event["metadata"]

    async def test_the_deepest_nest_is_shown(self, page: Browser, collector: Collector) -> None:
        """
        A hundred thousand levels, as a text among the arguments of a tool, break no stack.
        """
        nest = "[" * 100_000 + "1" + "]" * 100_000
        function = {"name": "dig", "arguments": nest}
        calls = [{"id": "1", "type": "function", "function": function}]
        await send(collector, response={"role": "assistant", "content": "", "tool_calls": calls})
        await open_first(page)

        await page.find(".call .json .rest")
        assert await page.run(SHOW, ".call .rest", "Show all")

        await page.gone(".call .rest")
        assert (await page.text(".call .json")).split() == [*"[" * 100_000, "1", *"]" * 100_000]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('{"a": {"event": 1}, "event": [1, {"x": "]"}], "z": 1}', '[1, {"x": "]"}]'),
            ('{"event":12345678901234567890}', "12345678901234567890"),
            ('{"b": "event", "event" : "a\\"}"}', '"a\\"}"'),
            ('{"events": 1}', None),
            ("{}", None),
        ],
    )
    async def test_a_member_is_found_by_its_name(
        self, page: Browser, text: str, found: str | None
    ) -> None:
        """
        At the top only, exactly as it was sent.
        """
        assert await page.run(CALL, "content/tokens", "memberText", text, "event") == found

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (
                '{"a":[],"b":{},"c":[1,2.50]}',
                '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    2.50\n  ]\n}',
            ),
            (' [ "a\\"b" , 1e999 ] ', '[\n  "a\\"b",\n  1e999\n]'),
            ("null", "null"),
            ('"a: b"', '"a: b"'),
        ],
    )
    async def test_json_is_indented_as_it_is_shown(
        self, page: Browser, text: str, shown: str
    ) -> None:
        """
        What is copied is what is seen.
        """
        assert await page.run(CALL, "content/tokens", "indented", text) == shown
        script = (
            "return import('/page/js/content/json.js')"
            ".then(({makeJsonText}) => makeJsonText(arguments[0]).textContent)"
        )
        assert await page.run(script, text) == f"{shown}\n"
