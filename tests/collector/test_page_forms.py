"""
Events of other APIs and of none, as the page reads them: conversations where they are any.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hh_exporter._collector import Collector
from tests.conversations import IMAGE, PNG
from tests.conversations import read_conversation as read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def test_cohere(page: Browser) -> None:
    """
    The first API has the last message apart; the second has plans beside calls.
    """
    first = await read(
        page,
        inputs={
            "preamble": "Be brief.",
            "message": "And now?",
            "chat_history": [
                {"role": "USER", "message": "Look."},
                {"role": "CHATBOT", "message": "A cat."},
            ],
        },
        outputs={"text": "Still.", "generation_id": "g"},
    )
    second = await read(
        page,
        inputs={"messages": [{"role": "user", "content": "Look."}]},
        outputs={
            "message": {
                "role": "assistant",
                "tool_plan": "Hm.",
                "content": [{"type": "text", "text": "A cat."}],
                "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": "{}"}}],
            }
        },
    )

    assert first == [
        "system: Be brief.",
        "user: Look.",
        "assistant: A cat.",
        "user: And now?",
        "assistant: Still.",
    ]
    assert second == ["user: Look.", 'assistant: thought Hm., A cat., look#c1("{}")']


async def test_opentelemetry(page: Browser) -> None:
    """
    Messages of the semantic conventions, as attributes have them or as text of JSON.
    """
    asked = [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "Look."},
                {"type": "blob", "modality": "image", "mime_type": "image/png", "content": PNG},
                {"type": "uri", "modality": "video", "uri": "https://outside.test/cat.mp4"},
            ],
        },
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": 1}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "cat"}]},
    ]
    answer = {
        "role": "assistant",
        "parts": [{"type": "reasoning", "content": "Hm."}, {"type": "text", "content": "A cat."}],
        "finish_reason": "stop",
    }
    expected = [
        "system: Be brief.",
        f"user: Look., {IMAGE}, video https://outside.test/cat.mp4",
        'assistant: look#c1({"at": 1})',
        "tool: #c1 -> cat",
        "assistant: thought Hm., A cat.",
    ]

    as_attributes = await read(
        page,
        inputs={
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": json.dumps(asked),
        },
        outputs={"gen_ai.output.messages": json.dumps([answer])},
    )
    as_messages = await read(
        page,
        messages=[{"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}, *asked],
        response=answer,
    )

    assert as_attributes == expected
    assert as_messages == expected


async def test_langchain_and_ollama(page: Browser) -> None:
    """
    Messages with a type in place of a role, dumped or not, and images that are bare base64.
    """
    dumped = {
        "lc": 1,
        "type": "constructor",
        "id": ["x", "HumanMessage"],
        "kwargs": {"content": "Hi."},
    }
    call = {"id": "c1", "name": "look", "args": {}}

    messages = await read(
        page,
        messages=[
            dumped,
            {"type": "ai", "content": "", "tool_calls": [call]},
            {"role": "user", "content": "Look.", "images": [PNG]},
        ],
        response={
            "generations": [[{"text": "A cat.", "message": {"type": "ai", "content": "A cat."}}]]
        },
    )

    assert messages == [
        "user: Hi.",
        "assistant: look#c1({})",
        f"user: Look., {IMAGE}",
        "assistant: A cat.",
    ]


async def test_prompts_and_made_images(page: Browser) -> None:
    """
    A prompt is shown as such; what was made of it is the answer.
    """
    text = await read(
        page, inputs={"prompt": ["Once", "Twice"]}, outputs={"choices": [{"text": " upon"}]}
    )
    made = {"created": 1, "data": [{"b64_json": PNG, "revised_prompt": "A black cat."}]}

    assert text == ["prompt: Once", "prompt: Twice", "assistant:  upon"]
    assert await read(page, inputs={"prompt": "A cat."}, outputs=made) == [
        "prompt: A cat.",
        f"assistant: {IMAGE}, A black cat.",
    ]


async def test_a_request_and_a_response_within(page: Browser) -> None:
    """
    The whole body of a request or of a response is one as well.
    """
    chat = [{"role": "user", "content": "Hi."}]
    body = {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}
    expected = ["user: Hi.", "assistant: Hello."]

    assert (
        await read(page, inputs={"request": {"messages": chat}}, outputs={"result": body})
        == expected
    )
    assert (
        await read(page, inputs={"body": json.dumps({"messages": chat})}, outputs=body) == expected
    )
    assert await read(page, request={"messages": chat}, outputs={"body": body}) == expected
    assert await read(page, inputs={"input": "Hi."}, outputs={"content": "Hello."}) == expected


async def test_what_is_no_conversation_stays_what_it_is(page: Browser) -> None:
    """
    Embeddings, searches, and tools that return texts are inputs and outputs.
    """
    vectors = {"data": [{"embedding": [0.1, 0.2]}]}
    found = {"content": [{"type": "text", "text": "A cat."}]}

    assert await read(page, inputs={"input": ["a", "b"]}, outputs=vectors) == []
    assert await read(page, inputs={"input": "a"}, outputs=vectors) == []
    assert await read(page, event_type="tool", inputs={"query": "cat"}, outputs=found) == []
    assert await read(page, event_type="tool", inputs={"at": 1}, outputs={"result": found}) == []
    assert (
        await read(page, event_type="tool", outputs={"data": [{"url": "https://outside.test/"}]})
        == []
    )


async def test_an_answer_that_is_json_is_not_taken_apart(page: Browser) -> None:
    """
    Text that a model wrote is its answer, even if it looks like a message.
    """
    text = '{"role": "user", "content": "x", "more": 1}'

    assert await read(page, messages=[], response=text) == [f"assistant: {text}"]
    assert await read(page, outputs={"response": text}) == [f"assistant: {text}"]


@pytest.mark.parametrize(
    "value", [None, 0, "", [], {}, [None], [[]], {"type": "message"}, "x", [1]]
)
async def test_any_value_is_read(page: Browser, value: object) -> None:
    """
    Wherever a value of another type stands, nothing fails.
    """
    names = [
        *("messages", "contents", "input", "instructions", "prompt", "chat_history", "system"),
        *("choices", "candidates", "output", "generations", "data", "content", "parts"),
    ]
    bodies = [{name: value} for name in names]
    parts = [{"type": kind, kind: value, "source": value} for kind in ("image", "tool_use", "text")]

    events = [
        {"messages": [{"role": "user", "content": [*parts, value]}], "response": parts},
        *({"messages": value, "inputs": body, "outputs": body} for body in bodies),
        *({"messages": [body, value], "response": body, "outputs": value} for body in bodies),
    ]

    script = """
    return import("/page/js/shapes/event.js")
      .then(({ readEvent }) => arguments[0].map(readEvent).length);
    """
    assert await page.run(script, events) == len(events)
