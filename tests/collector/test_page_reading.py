"""
How the collector's page shows what was said: Markdown, code, links, JSON, media and vectors.

Whatever a text holds, it is text: the page makes each element itself and loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import ONE, V1_ONE, model_event, post, v1_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

ANSWER = ".message:last-child"
MARKDOWN = """\
# Plan for *today*

Some **bold**, ~~gone~~ and `inline` words,
a second line.

1. one
   - nested
     - deep
2. two

- [x] done
- [ ] open

> quoted
> > twice

| name | cost |
| :--- | ---: |
| a    | 1    |

---

```python title="x"
if True:
    print("<b>")
```
"""
OUTLINE = """
const outline = (node) => node.nodeType === 3 ? node.data
  : `${node.localName}(${[...node.childNodes].map(outline).join("")})`;
return [...document.querySelector(arguments[0]).children].map(outline);
"""
"""Elements as `name(content)`."""
MADE = """
return import("/page/js/content/markdown.js").then(({ makeMarkdown }) => {
  const made = makeMarkdown(arguments[0]);
  return made && made.textContent;
});
"""
WIDER = "return document.documentElement.scrollWidth > innerWidth"
BIDI = "\u202e\u2066"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def show(page: Browser, collector: Collector, **event: Any) -> None:
    """
    Store an event, of v1 if it has inputs or outputs, and open it.
    """
    is_v1 = "inputs" in event or "outputs" in event
    path, body = (
        (V1_ONE, v1_event(**event)) if is_v1 else (ONE, {"model_event": model_event(**event)})
    )
    status, _ = await post(collector, path, body)
    assert status == 200
    await page.find(".row")
    await page.click('[aria-rowindex="2"]')
    await page.find(".reading")


async def answer(page: Browser, collector: Collector, text: str) -> None:
    await show(page, collector, response={"role": "assistant", "content": text})


class TestMarkdown:
    """
    What a text means is seen, and what it says exactly is a switch away.
    """

    async def test_it_is_rendered(self, page: Browser, collector: Collector) -> None:
        """
        Headings, emphasis, lists within lists, tasks, quotes, tables, rules and code.
        """
        await answer(page, collector, MARKDOWN)

        assert await page.run(OUTLINE, f"{ANSWER} .markdown") == [
            "h4(Plan for em(today))",
            "p(Some strong(bold), s(gone) and code(inline) words,br()a second line.)",
            "ol(li(oneul(li(nestedul(li(deep)))))li(two))",
            "ul(li(span(☑) done)li(span(☐) open))",
            "blockquote(p(quoted)blockquote(p(twice)))",
            "div(table(thead(tr(th(name)th(cost)))tbody(tr(td(a)td(1)))))",
            "hr()",
            (
                'figure(figcaption(bdi(python title="x")button(Copy))'
                'pre(code(if True:\n    print("<b>"))))'
            ),
        ]
        assert await page.barriers() == []

    async def test_text_is_what_was_sent(self, page: Browser, collector: Collector) -> None:
        """
        The switch is reached by Tab, holds for every event, and is remembered.
        """
        await answer(page, collector, MARKDOWN)
        assert await page.text('.switch [aria-pressed="true"]') == "Rendered"

        await page.run("document.querySelector('[data-way=rendered]').focus()")
        await page.press("\ue004", "\ue007")  # Tab, Enter

        await page.gone(".markdown")
        assert await page.text(f"{ANSWER} .text") == MARKDOWN
        await page.reload()
        assert await page.text(f"{ANSWER} .text") == MARKDOWN
        await page.click("[data-way=rendered]")
        assert await page.text(f"{ANSWER} h4") == "Plan for today"

    async def test_code_is_copied_as_it_is(self, page: Browser, collector: Collector) -> None:
        """
        The button copies the code, not how it looks.
        """
        await answer(page, collector, MARKDOWN)
        await page.run("window.copied = []; navigator.clipboard.writeText = (t) => copied.push(t)")

        await page.click(".code button")

        assert await page.until("return copied[0]") == 'if True:\n    print("<b>")'

    @pytest.mark.parametrize(
        "text", ["two  spaces\n\n\n  and lines", "1 < 2 & 3", "snake_case_name"]
    )
    async def test_plain_text_stays_as_it_is(
        self, page: Browser, collector: Collector, text: str
    ) -> None:
        """
        Nothing of it is lost where there is nothing to render.
        """
        await answer(page, collector, text)

        assert await page.text(f"{ANSWER} .text") == text

    async def test_json_is_laid_out(self, page: Browser, collector: Collector) -> None:
        """
        An answer or a question that is JSON is indented, and as it came as text.
        """
        text = '{"city":"Zürich","big":12345678901234567890}'
        content = [{"role": "user", "content": "[1]"}]
        await show(page, collector, messages=content, response={"content": text})

        laid_out = '{\n  "city": "Zürich",\n  "big": 12345678901234567890\n}\n'
        assert await page.text(f"{ANSWER} .json") == laid_out
        assert await page.text(".message .json") == "[\n  1\n]\n"
        await page.click("[data-way=text]")
        assert await page.text(f"{ANSWER} .text") == text

    async def test_a_phone_scrolls_what_is_wide_in_its_frame(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Tables and code scroll by themselves, by keyboard too; the page stays as wide as it is.
        """
        await page.resize(390, 800)
        row = "| " + " | ".join(f"`{'x' * 20}{n}`" for n in range(9)) + " |"
        table = f"{row}\n{'| --- ' * 9}|\n{row}"
        await answer(page, collector, f"{table}\n\n```\n{'x ' * 300}\n```\n\n{'y' * 900}")

        scroll = (
            "const frame = document.querySelector(arguments[0]);"
            "return frame.scrollWidth > frame.clientWidth && frame.tabIndex === 0"
        )
        assert await page.run(scroll, ".table-frame")
        assert await page.run(scroll, ".code pre")
        assert not await page.run(WIDER)


class TestLinks:
    """
    One sees where a link leads, and only who clicks goes there.
    """

    async def test_a_link_shows_its_address(self, page: Browser, collector: Collector) -> None:
        """
        Unless its label is the address; names in other letters are shown as they are asked for.
        """
        await answer(
            page,
            collector,
            "[docs](https://outside.test/a?b=c#d) https://outside.test/bare "
            "[https://bank.test/](https://outside.test/) <mailto:ann@outside.test> "
            "[ann](mailto:ann@outside.test) "
            "[é](https://é.test/ö)",
        )

        links = await page.run(
            "return [...document.querySelectorAll('a.link')].map((a) => ["
            "a.textContent, a.getAttribute('href'), a.nextElementSibling?.matches('.link-address')"
            " ? a.nextElementSibling.textContent : '', a.rel, a.target, a.referrerPolicy])"
        )
        assert [link[:3] for link in links] == [
            ["docs", "https://outside.test/a?b=c#d", "(https://outside.test/a?b=c#d)"],
            ["https://outside.test/bare", "https://outside.test/bare", ""],
            ["https://bank.test/", "https://outside.test/", "(https://outside.test/)"],
            ["mailto:ann@outside.test", "mailto:ann@outside.test", ""],
            ["ann", "mailto:ann@outside.test", "(mailto:ann@outside.test)"],
            ["é", "https://xn--9ca.test/%C3%B6", "(https://xn--9ca.test/%C3%B6)"],
        ]
        assert {tuple(link[3:]) for link in links} == {
            ("noopener noreferrer", "_blank", "no-referrer")
        }

    @pytest.mark.parametrize(
        "address",
        [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java&#115;cript:alert(1)",
            "\x01javascript:alert(1)",
            "vbscript:x",
            "data:text/html,x",
            "file:///etc/passwd",
            "blob:https://outside.test/x",
            "//outside.test/x",
            "/api/events.jsonl",
            "#event=1",
            "https://bank.test@outside.test/",
            "ftp://outside.test/",
        ],
    )
    async def test_other_addresses_are_no_links(
        self, page: Browser, collector: Collector, address: str
    ) -> None:
        """
        Only plain addresses of the web and of mail are; of others one reads what they are.
        """
        await answer(page, collector, f"**x** [label](<{address}>) <{address}>")

        await page.find(f"{ANSWER} .markdown")
        assert await page.texts("a[href]") == []
        said = await page.text(f"{ANSWER} .markdown")
        assert "label" in said
        assert address.rpartition(":")[2].strip("/")[-5:] in said

    async def test_what_an_answer_cites_is_listed(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Titles with their addresses, and the words that were quoted.
        """
        cited = [
            {"url": "https://outside.test/", "title": "Cats", "cited_text": "a cat"},
            {"url": "javascript:alert(1)", "title": "Dogs"},
        ]
        content = [{"type": "text", "text": "It is a cat.", "citations": cited}]
        await show(page, collector, response={"role": "assistant", "content": content})

        await page.click(".sources summary")

        assert await page.texts(".sources li") == [
            "Cats (https://outside.test/)a cat",
            "Dogs (javascript:alert(1))",
        ]
        assert await page.texts(".sources a[href]") == ["Cats"]


class TestSafety:
    """
    Markdown that tries to be more than text.
    """

    async def test_markup_is_text(self, page: Browser, collector: Collector) -> None:
        """
        Elements, comments and entities are shown as they were written, and nothing runs.
        """
        attack = (
            "<script>document.title=1</script>\n\n<img src=//outside.test onerror=document.title=1>"
            "\n\n- <!-- hidden -->\n\n| a |\n|---|\n| <svg onload=document.title=1> |\n\n"
            "![x](https://outside.test/x.png) ![x](data:image/svg+xml;base64,PHN2Zz4=)\n\n"
            '```html onclick="x"\n</code><script>\n```\n\n[ref]: https://outside.test/hidden'
        )
        await answer(page, collector, attack)

        text = await page.text(f"{ANSWER} .markdown")
        for said in ("<script>", "onerror=", "<!-- hidden -->", "<svg onload", "</code>", "[ref]:"):
            assert said in text
        assert await page.texts(f"{ANSWER} :is(script, img, svg)") == []
        assert "image: x, https://outside.test/x.png" in await page.texts(".media")
        assert await page.run("return document.title") == "Events · hh-exporter"

    async def test_directions_end_with_their_text(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Marks that turn the direction turn neither an address nor what comes after.
        """
        await answer(
            page, collector, f"**x** [{BIDI}moc](https://outside.test/{BIDI}) `a{BIDI}b` z"
        )

        isolated = "return getComputedStyle(document.querySelector(arguments[0])).unicodeBidi"
        for selector in ("a.link", ".link-address", ".markdown p > code"):
            assert await page.run(isolated, selector) == "isolate"
        assert await page.text(".link-address") == "(https://outside.test/%E2%80%AE%E2%81%A6)"

    @pytest.mark.parametrize(
        "text",
        [
            "**x**\n\n" + "> " * 20_000 + "deepest",
            "**x**\n\n" + "- " * 60 + "deepest",
            "|a" * 12_000 + "|\n" + "|-" * 12_000 + "|\n",
            "| a |\n|---|\n" + "| x |\n" * 8_000,
            "```\n" * 10_000,
            "**x** " * 40_000,
        ],
        ids=["quotes", "lists", "columns", "rows", "code", "length"],
    )
    async def test_what_is_too_much_is_text(
        self, page: Browser, collector: Collector, text: str
    ) -> None:
        """
        Nothing of it is lost: it is shown as it came, in slices.
        """
        assert await page.run(MADE, text) is None
        await answer(page, collector, text)

        assert (await page.text(f"{ANSWER} .text")).startswith(text[:100])

    @pytest.mark.parametrize(
        "unit", ["*", "_a ", "[", "![", "`", "```\n", "> - a\n", "&#x", "<", "a|"]
    )
    async def test_no_text_keeps_the_page_waiting(self, page: Browser, unit: str) -> None:
        """
        The longest text that is rendered is read and made, whatever it is made of.
        """
        text = "# x\n\n" + (unit * 50_000)[:49_000]

        made = await page.run(MADE, text)

        assert made is None or made.startswith("x")
