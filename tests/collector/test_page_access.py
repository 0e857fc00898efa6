"""
That nobody is kept from the collector's page: contrast, names, roles and order, by axe-core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from tests.collector_client import MANY, V1_MANY, model_event, post, v1_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
CALL = {"id": "c1", "function": {"name": "route", "arguments": '{"to": "depot", "kilos": 4.5}'}}
WORDS = """
# Parcel

- one
- **two**, `x = 1`

> quoted

| place | kilos |
| --- | --- |
| depot | 4.5 |

```py
x = 1
```
"""
EVENTS: list[dict[str, Any]] = [
    model_event(
        event_name="chat",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where is it? https://example.com/"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"place": "depot"}'},
        ],
        response={"role": "assistant", "content": WORDS},
        usage={"prompt_tokens": 30, "completion_tokens": 12},
        cost=0.02,
        feedback={"rating": 1, "note": "too long"},
    ),
    model_event(event_name="failed", response={}, error="503: try later"),
    model_event(event_name="stopped", response={"content": "It is"}, error="cancelled"),
]
STEPS = [
    v1_event(event_type="session", event_id=SESSION, event_name="support chat"),
    v1_event(event_type="chain", event_id="chain", event_name="answer", parent_id=SESSION),
    v1_event(event_type="tool", event_name="find", parent_id="chain", error="not found"),
    v1_event(event_type="tool", event_name="again", parent_id="chain", inputs={"order": 7}),
]
VIEWS = {
    "the list": "",
    "a conversation": "event=1",
    "a match": "filter=e&event=1",
    "an error": "event=2",
    "a session": "event=7&tab=session",
    "details": "event=1&tab=parameters",
    "raw JSON": "event=1&tab=raw",
    "charts by model": "by=model",
}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_every_view_is_for_everybody(
    collector: Collector, page: Browser, width: int, scheme: str
) -> None:
    """
    WCAG 2.1 AA, contrast with it, holds for each view, in both themes, on a phone too.
    """
    assert (await post(collector, MANY, {"model_events": EVENTS}))[0] == 200
    body = {"events": [{"session_id": SESSION, **step} for step in STEPS]}
    assert (await post(collector, V1_MANY, body))[0] == 200
    await page.resize(width, 800)
    await page.prefer(scheme)

    found = {}
    for view, address in VIEWS.items():
        await page.open("about:blank")
        await page.open(f"{collector.url}/#{address}")
        await page.until("return document.querySelectorAll('.row').length > 6")
        if "event=" in address:
            await page.find(".detail-content > *")
        found[view] = await page.barriers()

    assert {view: barriers for view, barriers in found.items() if barriers} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_an_empty_page_and_the_help_are_for_everybody(page: Browser, scheme: str) -> None:
    """
    So is what a newcomer sees first.
    """
    await page.prefer(scheme)
    await page.find(".empty")
    welcome = await page.barriers()
    await page.press("?")
    await page.find("dialog[open]")

    assert (welcome, await page.barriers()) == ([], [])
