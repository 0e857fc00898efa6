"""
What the collector's page shows of an event and of a session.

Whatever an event holds is text: the last class tries to be more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import MANY, ONE, V1_MANY, V1_ONE, post, push, v1_event
from tests.collector_client import model_event as wire_event
from tests.support import model_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
ATTACK = '<img src="//outside.test/x" onerror="document.title=1"><script>document.title=1</script>'
TOO_WIDE = "return document.documentElement.scrollWidth > innerWidth"
BACKGROUND = "return getComputedStyle(document.querySelector('.top')).backgroundColor"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def open_first(page: Browser, tab: str = "conversation") -> None:
    """
    Open the newest event in one of its tabs.
    """
    await page.find(".row")
    await page.run("location.hash = `tab=${arguments[0]}`", tab)
    await page.click('[aria-rowindex="2"]')
    await page.find(f'#tab-{tab}[aria-selected="true"]')


class TestEvent:
    """
    One event, opened.
    """

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            (
                ONE,
                {
                    "model_event": wire_event(
                        messages=[{"role": "user", "content": "hi"}],
                        response={"role": "assistant", "content": "hello"},
                    )
                },
            ),
            (
                V1_ONE,
                v1_event(
                    inputs={"messages": [{"role": "user", "content": "hi"}]},
                    outputs={"response": {"content": "hello"}},
                ),
            ),
            (
                V1_ONE,
                v1_event(
                    inputs={"chat_history": [{"role": "user", "content": "hi"}]},
                    outputs={"role": "assistant", "content": "hello"},
                ),
            ),
        ],
        ids=["legacy", "v1 as legacy stores it", "v1 as documented"],
    )
    async def test_it_is_a_conversation(
        self, page: Browser, collector: Collector, path: str, body: dict[str, Any]
    ) -> None:
        """
        Question and answer are found wherever the dialect keeps them.
        """
        assert (await post(collector, path, body))[0] == 200

        await open_first(page)

        await page.find(".message")
        assert await page.texts(".message > h3") == ["User", "Assistantresponse"]
        assert await page.texts(".message .text") == ["hi", "hello"]

    async def test_tools_images_and_errors_have_their_form(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Arguments are laid out, an image is named and not loaded, an error stands out.
        """
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Zürich","big":1e999}'},
        }
        image = {"type": "image_url", "image_url": {"url": "http://outside.test/cat.png"}}
        event = wire_event(
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "21 °C"},
            ],
            response={},
            error="RateLimitError: 429",
        )
        await post(collector, ONE, {"model_event": event})

        await open_first(page)

        await page.find(".call")
        assert await page.text(".call code") == "weather"
        assert await page.text(".call .json") == '{\n  "city": "Zürich",\n  "big": 1e999\n}\n'
        assert await page.text(".result .text") == "21 °C"
        assert await page.text(".media") == "image: http://outside.test/cat.png"
        assert await page.text(".message.is-error .text") == "RateLimitError: 429"

    async def test_a_call_that_was_cancelled_is_no_error(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        The list and the conversation say so, and neither marks it as one.
        """
        await post(collector, ONE, {"model_event": wire_event(error="cancelled")})

        await open_first(page)

        await page.find(".message")
        assert "The call was cancelled." in await page.texts(".message .text")
        assert await page.texts(".row .stopped") == ["stopped by the reader hello"]
        assert await page.texts(".is-error") == []

    async def test_its_details_are_listed(self, page: Browser, collector: Collector) -> None:
        """
        Parameters, usage and metadata have sections of their own.
        """
        event = model_event(
            hyperparameters={"temperature": 0.2},
            usage={"prompt_tokens": 7},
            metadata={"region": "eu"},
        )
        await push(collector, event)

        await open_first(page, "parameters")

        await page.find(".sections")
        titles = await page.texts(".section-title")
        assert titles == ["Parameters", "Usage", "Metadata", "Event"]
        values = await page.texts(".table dd")
        assert values[:3] == ["0.2", "7", "eu"]

    async def test_raw_json_is_what_was_sent(self, page: Browser, collector: Collector) -> None:
        """
        Every number keeps its digits, on the page and when it is copied.
        """
        event = wire_event(metadata={"big": 12345678901234567890, "deep": [{}, [], [1.50, None]]})
        await post(collector, ONE, {"model_event": event})
        await open_first(page, "raw")
        await page.run(
            "window.copied = [];"
            "navigator.clipboard.writeText = async (text) => { copied.push(text); }"
        )

        assert json.loads(await page.text(".json")) == event
        assert "12345678901234567890" in await page.text(".json")
        await page.click(".raw-bar button")
        assert await page.until("return copied[0]") == (await page.text(".json")).rstrip("\n")

    async def test_a_large_event_is_shown_in_slices(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Of megabytes a part is laid out, and more on demand; the end can be reached.
        """
        text = "word " * 600_000 + "end"
        messages = [{"role": "user", "content": text}]
        await post(collector, ONE, {"model_event": wire_event(messages=messages)})
        await open_first(page)
        length = "return document.querySelector('.message .text').textContent.length"

        await page.find(".message .more")
        first = await page.run(length)
        await page.click(".message .more")
        second = await page.run(length)

        assert first < 10_000 < second < 100_000
        await page.click("#tab-raw")
        await page.find(".json .more")
        assert len(await page.text(".json")) < 10_000

    async def test_a_wide_object_is_shown_in_slices(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        Of thousands of named values a part is laid out, and more on demand.
        """
        metadata = {f"key {n}": n for n in range(50_000)}
        await post(collector, ONE, {"model_event": wire_event(metadata=metadata)})

        await open_first(page, "parameters")

        await page.find(".sections .more")
        assert await page.run("return document.querySelectorAll('.sections *').length") < 2_000

    async def test_a_span_is_a_conversation_and_what_is_added_shows(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        A traced function has its kind, and what an update says of it comes without a reload.
        """
        attributes = {
            "honeyhive_event_type": "chain",
            "honeyhive_event_name": "answer",
            "honeyhive_inputs.chat_history.0.role": "user",
            "honeyhive_inputs.chat_history.0.content": "hi",
            "honeyhive_outputs.role": "assistant",
            "honeyhive_outputs.content": "hello",
        }
        pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
        span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "f", "attributes": pairs}
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        assert (await post(collector, "/opentelemetry/v1/traces", body))[0] == 200
        await open_first(page)

        assert await page.texts(".row .cell-name b") == ["answer"]
        await page.find(".row .kind-chain")
        assert await page.texts(".message .text") == ["hi", "hello"]
        [event_id] = [found.event_id async for found in collector.events()]
        said = {"event_id": event_id, "config": {"model": "gpt-4o"}}
        async with ClientSession(collector.url) as client, client.put("/events", json=said) as put:
            assert put.status == 200
        await page.until(
            "return document.querySelector('.row .cell-model').textContent === 'gpt-4o'"
        )

    async def test_a_session_is_a_timeline(self, page: Browser, collector: Collector) -> None:
        """
        Its events are bars at their times, one of which opens its event; it can be filtered by.
        """
        events = [
            model_event(
                event_name=name,
                session_id=SESSION,
                start_time=start,
                end_time=end,
                duration=end - start,
            )
            for name, start, end in [("first", 1_000, 2_000), ("second", 2_000, 5_000)]
        ]
        await push(collector, *events)
        await open_first(page, "session")

        await page.find(".tree-row")
        assert await page.texts(".bar-name") == ["first", "second"]
        places = "return [...document.querySelectorAll('.bar')].map((bar) => bar.style.width)"
        assert await page.run(places) == ["25%", "75%"]
        await page.click(".tree-row")
        await page.until("return document.querySelector('.detail h2').textContent === 'first'")
        await page.click(".session-summary button")
        assert f"filter=session%3A{SESSION}" in await page.url()


class TestScreens:
    """
    Small ones, and dark ones.
    """

    async def test_a_phone_shows_list_or_event(self, page: Browser, collector: Collector) -> None:
        """
        At 390 pixels nothing is wider than the screen, and the event covers the list.
        """
        await page.resize(390, 844)
        await push(collector, model_event(event_name="a very long name " * 20, model="m" * 300))
        await page.find(".row")
        assert not await page.run(TOO_WIDE)

        await page.click(".row")
        await page.find(".detail .facts")

        box = "const b = document.querySelector('.detail').getBoundingClientRect();"
        assert await page.run(f"{box} return [b.left, b.top, b.width]") == [0, 0, 390]
        assert not await page.run(TOO_WIDE)
        await page.click(".detail .close")
        await page.gone(".detail")

    async def test_it_is_dark_where_the_system_is(
        self, page: Browser, collector: Collector
    ) -> None:
        """
        The reader's own choice comes first, and is remembered.
        """
        light = await page.run(BACKGROUND)
        await page.prefer("dark")
        dark = await page.run(BACKGROUND)
        assert dark != light

        await page.click("#theme")
        assert await page.run(BACKGROUND) == light
        await page.reload()

        assert await page.run(BACKGROUND) == light


class TestSafety:
    """
    Events are hostile.
    """

    async def test_markup_stays_text_everywhere(self, page: Browser, collector: Collector) -> None:
        """
        In no field of either dialect does an element or a request come of it.
        """
        parts = [
            {"type": "text", "text": ATTACK},
            {"type": "image_url", "image_url": {"url": f"http://outside.test/{ATTACK}"}},
            {"type": "tool_use", "id": ATTACK, "name": ATTACK, "input": {ATTACK: ATTACK}},
            {"type": "tool_result", "tool_use_id": ATTACK, "content": ATTACK},
            {"type": "thinking", "thinking": ATTACK},
            {ATTACK: ATTACK},
        ]
        call = {"id": ATTACK, "function": {"name": ATTACK, "arguments": ATTACK}}
        message = {"role": ATTACK, "name": ATTACK, "content": parts, "tool_calls": [call]}
        names = ("model", "provider", "event_name", "source", "error", "session_id")
        plain = dict.fromkeys(names, ATTACK)
        open_fields = {"metadata": {ATTACK: ATTACK}, "user_properties": {ATTACK: [ATTACK]}}
        legacy = wire_event(
            messages=[message],
            response={**message, "refusal": ATTACK},
            hyperparameters={ATTACK: ATTACK},
            tools=[{ATTACK: ATTACK}],
            event_id=ATTACK,
            parent_id=ATTACK,
            **plain,
            **open_fields,
        )
        v1 = v1_event(
            inputs={"chat_history": [message], ATTACK: ATTACK},
            outputs={"role": ATTACK, "content": ATTACK},
            config={"model": ATTACK, "provider": ATTACK},
            event_name=ATTACK,
            session_id=ATTACK,
            **open_fields,
        )
        session = {"is_single_session": True, "session_properties": {"session_name": ATTACK}}
        await post(collector, MANY, {"model_events": [legacy], **session})
        await post(collector, V1_MANY, {"events": [v1]})
        await page.reload()
        await page.find(".row")
        await page.click("#by-model")
        await page.find(".legend li")

        for row in ("2", "3"):
            await page.click(f'[aria-rowindex="{row}"]')
            for tab in ("conversation", "session", "parameters", "raw"):
                await page.click(f"#tab-{tab}")
                await page.find(".tree-row" if tab == "session" else ".detail-content > *")
                assert ATTACK[:20] in await page.text(".detail")
        quoted = ATTACK.replace('"', '\\"')
        script = "location.hash = new URLSearchParams({filter: arguments[0]})"
        await page.run(script, f'model:"{quoted}"')
        await page.until("return document.getElementById('count').textContent")

        assert await page.run("return document.title") == "Events · hh-exporter"
        intruders = "return document.querySelectorAll('img, iframe, object, body script').length"
        assert await page.run(intruders) == 0

    async def test_any_json_is_shown(self, page: Browser, collector: Collector) -> None:
        """
        Values of the wrong type in any field break nothing.
        """
        odd: list[Any] = [None, 0, -1.5, True, "", "text", [], [None, [1]], {}, {"a": {"b": None}}]
        for value in odd:
            body = v1_event(
                inputs={"messages": value, "chat_history": [value], "usage": value},
                outputs={"role": value, "content": [value], "tool_calls": value},
                metadata={"value": value},
                config={"hyperparameters": value},
            )
            assert (await post(collector, V1_ONE, orjson.dumps(body)))[0] == 200
        await page.until("return document.querySelectorAll('.row').length === 10")

        for row in range(2, 12):
            await page.click(f'[aria-rowindex="{row}"]')
            await page.until(
                "return document.querySelector('.row.is-open')?.ariaRowIndex === arguments[0]",
                str(row),
            )
            for tab in ("parameters", "conversation"):
                await page.click(f"#tab-{tab}")
                await page.find(".detail-content > *")
