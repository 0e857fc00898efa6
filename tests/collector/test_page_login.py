"""
The collector's page where a key is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hh_exporter import Exporter
from hh_exporter._collector import Collector
from tests.support import model_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

KEY = "a-key-of-this-test"
ENTER = "\ue007"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with (
        Collector(api_key=KEY) as collector,
        Exporter(KEY, base_url=collector.url) as exporter,
    ):
        exporter.push(model_event(event_name="secret"))
        await exporter.flush()
        yield collector


@pytest.fixture(autouse=True)
async def _quiet(page: Browser) -> AsyncIterator[None]:
    """
    Allow the console to say that a request was refused.
    """
    yield
    assert [text for text in await page.problems() if "401" not in text] == []


async def test_the_key_is_asked_for_once(page: Browser, collector: Collector) -> None:
    """
    Nothing is shown before; a wrong key is said, the right one opens the page for good.
    """
    await page.find("#login")
    assert await page.texts(".row") == []

    await page.press("wrong", ENTER, "lost")
    await page.until("return document.querySelector('.problem').textContent")
    assert await page.run("return document.querySelector('#key').value") == "wrong"
    await page.press(KEY, ENTER)

    await page.gone("#login")
    await page.find(".row")
    await page.reload()
    await page.find(".row")
    assert await page.text(".row b") == "secret"
    assert KEY not in await page.run("return document.cookie + JSON.stringify(localStorage)")


async def test_a_collector_that_starts_again_asks_again(
    page: Browser, collector: Collector
) -> None:
    """
    The cookie ends with the collector that gave it, and the list goes on after the key.
    """
    await page.find("#login")
    await page.press(KEY, ENTER)
    await page.find(".row")
    port = int(collector.url.rpartition(":")[2])
    await collector.aclose()

    async with Collector(api_key=KEY, port=port):
        await page.find("#login")
        await page.press(KEY, ENTER)
        await page.find("#welcome")
        assert "the collector's key" in await page.text("#first-event")
        problems = await page.problems()  # of what was asked while there was no collector
        assert [text for text in problems if "Failed to load resource" not in text] == []
        await page.open("about:blank")
