"""
Images, sounds, files and vectors on the collector's page: shown or named, never loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import ONE, V1_ONE, model_event, post, v1_event
from tests.conversations import PNG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

VECTOR = [n / 1000 for n in range(1536)]
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA" * 40
WIDE = PNG.rstrip("=") + "A" * 400
"""An image with bytes after its end, as long as images are."""
CALL = {"id": "c1", "function": {"name": "see", "arguments": json.dumps({"shot": WIDE})}}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def show(page: Browser, collector: Collector, path: str, body: dict[str, Any]) -> None:
    status, _ = await post(collector, path, body)
    assert status == 200
    await page.find(".row")
    await page.click('[aria-rowindex="2"]')
    await page.find(".reading")


async def ask(page: Browser, collector: Collector, *content: dict[str, Any]) -> None:
    """
    Show an event whose user says *content*.
    """
    event = model_event(messages=[{"role": "user", "content": list(content)}])
    await show(page, collector, ONE, {"model_event": event})


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


async def test_an_image_is_small_until_it_is_asked_for(page: Browser, collector: Collector) -> None:
    """
    A key or a click enlarges what is in the event; Escape leads back to the event.
    """
    await ask(page, collector, image(f"data:image/png;base64,{PNG}"))
    loaded = "return document.querySelector('.thumbnail img').naturalWidth === 1"
    await page.until(loaded)
    assert await page.barriers() == []

    await page.run("document.querySelector('.thumbnail').focus()")
    await page.press("\ue007")  # Enter
    await page.find(".picture[open] img")
    await page.press("\ue00c")  # Escape

    await page.gone(".picture")
    assert await page.run("return document.activeElement.matches('.thumbnail')")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://outside.test/cat.png", "image: https://outside.test/cat.png"),
        ("data:image/svg+xml;base64,PHN2Zz4=", "image: image/svg+xml, 5 B"),
        ("data:text/html;base64,PHN2Zz4=", "image: text/html, 5 B"),
        ("data:image/png,%3Csvg", "image: image/png, 6 B"),
        ("data:image/png;base64,<svg>", "image: image/png, 3 B"),
        ("data:image/png;base64,AAAA", "image: image/png, 3 B, not readable"),
        ("javascript:document.title=1", "image: javascript:document.title=1"),
        ("data:image/png;base64,AAA=AAAA", "image: image/png, 6 B"),
        ("data:image/png;base64,AAAAA", "image: image/png, 3 B"),
        ("data:", "image: 0 B"),
    ],
)
async def test_what_is_no_safe_image_is_named(
    page: Browser, collector: Collector, url: str, named: str
) -> None:
    """
    An address elsewhere, drawings that can hold scripts, and bytes that are none.
    """
    await ask(page, collector, image(url))

    await page.until("return document.querySelector('.media')?.textContent === arguments[0]", named)
    assert await page.texts(".message img") == []


async def test_sounds_and_files_are_named(page: Browser, collector: Collector) -> None:
    """
    A sound is its transcript; of bytes one sees the format and the size.
    """
    spoken = {"id": "a", "data": SOUND, "transcript": "It is a cat."}
    event = model_event(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_id": "file-1"}},
                ],
            }
        ],
        response={"role": "assistant", "content": None, "audio": spoken},
    )

    await show(page, collector, ONE, {"model_event": event})

    assert await page.texts(".media") == [
        "audio: wav, 960 B",
        "file: a.pdf, file-1",
        "audio: 960 B",
    ]
    assert await page.text(".message:last-child .text") == "It is a cat."


async def test_embeddings_are_a_line_each(page: Browser, collector: Collector) -> None:
    """
    What went in is read first; all numbers come on demand.
    """
    event = v1_event(
        inputs={"model": "embed-3", "input": ["first text", "second\ntext"]},
        outputs={"data": [{"index": n, "embedding": VECTOR} for n in range(2)]},
    )

    await show(page, collector, V1_ONE, event)

    assert await page.texts(".section-title") == ["Inputs", "Outputs"]
    assert "second\ntext" in await page.text(".sections")
    line = "1,536 numbers [0, 0.001, 0.002, …]"
    assert await page.texts(".vector") == [line, line]
    assert await page.barriers() == []

    await page.click(".vector summary")
    await page.find(".vector .json")
    assert (await page.text(".vector .json")).startswith("[\n  0,\n  0.001,")


async def test_base64_in_values_is_folded(page: Browser, collector: Collector) -> None:
    """
    In arguments, results and details: an image is seen, other bytes are named.
    """
    event = model_event(
        messages=[
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"sound": SOUND})},
        ],
        metadata={"shot": f"data:image/png;base64,{WIDE}", "digest": "0f" * 200},
    )

    await show(page, collector, ONE, {"model_event": event})

    assert await page.texts(".result .media") == ["file: base64, 960 B"]
    await page.find(".call .thumbnail")
    assert SOUND not in await page.text(".conversation")
    await page.click("#tab-parameters")
    await page.find(".detail-content .thumbnail")
    assert "0f" * 200 in await page.text(".detail-content")


async def test_a_completion_is_prompt_and_text(page: Browser, collector: Collector) -> None:
    """
    The prompt and what was made of it are read as text, Markdown too.
    """
    event = v1_event(inputs={"prompt": "Once **upon**"}, outputs={"choices": [{"text": " a time"}]})

    await show(page, collector, V1_ONE, event)

    assert await page.texts(".message h3") == ["Prompt", "Assistantresponse"]
    assert await page.text(".message strong") == "upon"


@pytest.mark.parametrize("kind", ["tool", "chain"])
async def test_what_a_step_returns_is_read_by_name(
    page: Browser, collector: Collector, kind: str
) -> None:
    """
    Values within values have their names. Only what tools return is never rendered.
    """
    document = {"title": "Cats", "text": "# Cats\n\n- black\n- white"}
    event = v1_event(
        event_type=kind,
        inputs={"query": "cats"},
        outputs={"results": [{"score": 0.98, "document": document}], "rest": []},
    )

    await show(page, collector, V1_ONE, event)

    names = await page.texts(".values dt")
    assert names == ["query", "results", "score", "document", "title", "text", "rest"]
    if kind == "chain":
        assert await page.texts(".values .markdown li") == ["black", "white"]
    else:
        assert await page.text(".values .text") == document["text"]


async def test_values_of_any_size_come_in_slices(page: Browser, collector: Collector) -> None:
    """
    Thousands of members, and members within members, do not stop the page.
    """
    deep: Any = "end"
    for _ in range(60):
        deep = {"in": deep}
    wide = {f"k{n}": [n, {"a": [1, 2]}] for n in range(5_000)}
    many = [{"n": n, "list": list(range(10))} for n in range(5_000)]
    event = v1_event(event_type="tool", inputs={"deep": deep, "many": many}, outputs=wide)

    await show(page, collector, V1_ONE, event)

    assert "end" in await page.text(".sections")
    assert await page.run("return document.querySelectorAll('.sections *').length") < 20_000
