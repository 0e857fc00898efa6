"""
Events of each API, as the page reads them: who said what, called what, and got what back.
"""

from __future__ import annotations

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


async def test_openai_chat(page: Browser) -> None:
    """
    Content as parts, calls, results, a refusal, reasoning, and an answer that was spoken.
    """
    sound = {"id": "a", "data": "UklGRg==", "transcript": "Spoken."}

    messages = await read(
        page,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look."},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://outside.test/cat.png"}},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}},
                ],
            },
            {
                "role": "assistant",
                "reasoning_content": "Hm.",
                "content": None,
                "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        response={
            "choices": [
                {"message": {"role": "assistant", "content": "A cat.", "refusal": "No."}},
                {"message": {"role": "assistant", "content": None, "audio": sound}},
            ]
        },
    )

    assert messages == [
        "developer: Be brief.",
        (
            f"user: Look., {IMAGE}, image https://outside.test/cat.png, "
            "audio wav 4 B, file a.pdf file-1"
        ),
        'assistant: thought Hm., look#c1("{}")',
        "tool: #c1 -> a cat",
        "assistant: A cat., refusal No.",
        "assistant: Spoken., audio 4 B",
    ]


async def test_openai_responses(page: Browser) -> None:
    """
    Items between messages: those of the assistant that follow each other are one turn.
    """
    citation = {"type": "url_citation", "url": "https://outside.test/", "title": "Cats"}

    messages = await read(
        page,
        inputs={
            "instructions": "Be brief.",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Look."},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                        {"type": "input_file", "file_id": "file-1"},
                    ],
                },
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
            ],
        },
        outputs={
            "object": "response",
            "output": [
                {"type": "reasoning", "summary": [], "encrypted_content": "…"},
                {"type": "web_search_call", "id": "w1", "action": {"query": "cats"}},
                {"type": "image_generation_call", "result": PNG, "output_format": "png"},
                {
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [
                        {"type": "output_text", "text": "A cat.", "annotations": [citation]},
                        {"type": "refusal", "refusal": "No."},
                    ],
                },
            ],
        },
    )

    assert messages == [
        "system: Be brief.",
        f"user: Look., {IMAGE}, file file-1",
        'assistant: thought Hm., look#c1("{}")',
        "tool: #c1 -> a cat",
        (
            f'assistant: thought hidden, web_search#w1({{"query": "cats"}}), {IMAGE}, '
            "A cat., sources ['Cats'], refusal No."
        ),
    ]


async def test_anthropic(page: Browser) -> None:
    """
    Blocks: the system's, tools and what they returned, images within, thoughts, citations.
    """
    source = {"type": "base64", "media_type": "image/png", "data": PNG}

    messages = await read(
        page,
        inputs={
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": source},
                        {
                            "type": "document",
                            "title": "notes",
                            "source": {"type": "text", "media_type": "text/plain", "data": "Cats."},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "…"},
                        {"type": "redacted_thinking", "data": "…"},
                        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t1",
                            "is_error": True,
                            "content": [
                                {"type": "text", "text": "blurred"},
                                {"type": "image", "source": source},
                            ],
                        }
                    ],
                },
            ],
        },
        outputs={
            "type": "message",
            "role": "assistant",
            "content": [
                {
                    "type": "server_tool_use",
                    "id": "s1",
                    "name": "web_search",
                    "input": {"query": "cats"},
                },
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "s1",
                    "content": [
                        {
                            "type": "web_search_result",
                            "title": "Cats",
                            "url": "https://outside.test/",
                            "encrypted_content": "…",
                        }
                    ],
                },
                {
                    "type": "text",
                    "text": "A cat.",
                    "citations": [{"cited_text": "Cats.", "document_title": "notes"}],
                },
            ],
            "stop_reason": "end_turn",
        },
    )

    assert messages == [
        "system: Be brief.",
        f"user: {IMAGE}, document notes text/plain, Cats.",
        'assistant: thought Hm., thought hidden, look#t1({"at": 1})',
        f"tool: !#t1 -> blurred + {IMAGE}",
        (
            'assistant: web_search#s1({"query": "cats"}), #s1 -> sources [\'Cats\'], '
            "A cat., sources ['notes']"
        ),
    ]


async def test_gemini(page: Browser) -> None:
    """
    Contents and parts, in the names of the API or of its client for Python.
    """
    messages = await read(
        page,
        inputs={
            "config": {"system_instruction": {"parts": [{"text": "Be brief."}]}},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "Look."},
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                        {"file_data": {"mime_type": "video/mp4", "file_uri": "gs://films/cat.mp4"}},
                    ],
                },
                {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"at": 1}}}]},
                {
                    "role": "user",
                    "parts": [{"function_response": {"name": "look", "response": {"saw": "cat"}}}],
                },
            ],
        },
        outputs={
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "Hm.", "thought": True},
                            {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
                            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
                            {"text": "A cat."},
                        ],
                    }
                }
            ]
        },
    )

    assert messages == [
        "system: Be brief.",
        f"user: Look., {IMAGE}, video video/mp4 gs://films/cat.mp4",
        'assistant: look#({"at": 1})',
        'tool: look# -> data {"saw": "cat"}',
        "assistant: thought Hm., python 1 + 1, code execution# -> 2, A cat.",
    ]
    assert await read(
        page, inputs={"contents": "Look."}, outputs={"candidates": [{"content": {"parts": []}}]}
    ) == ["user: Look.", "assistant: "]


async def test_bedrock_converse(page: Browser) -> None:
    """
    Blocks that are named by their only member.
    """
    messages = await read(
        page,
        inputs={
            "system": [{"text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"text": "Look."},
                        {"image": {"format": "png", "source": {"bytes": PNG}}},
                        {
                            "document": {
                                "format": "pdf",
                                "name": "a",
                                "source": {"bytes": "JVBERg=="},
                            }
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": 1}}}
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "toolResult": {
                                "toolUseId": "t1",
                                "status": "error",
                                "content": [{"json": {"saw": None}}],
                            }
                        }
                    ],
                },
            ],
        },
        outputs={
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
                        {"reasoningContent": {"redactedContent": "…"}},
                        {"text": "A cat."},
                    ],
                }
            },
            "stopReason": "end_turn",
        },
    )

    assert messages == [
        "system: Be brief.",
        f"user: Look., {IMAGE}, document a pdf 4 B",
        'assistant: look#t1({"at": 1})',
        'tool: !#t1 -> data {"saw": null}',
        "assistant: thought Hm., thought hidden, A cat.",
    ]


async def test_roles_that_objects_have_as_members(page: Browser) -> None:
    """
    A role is a text, also if each object of JavaScript has a member of this name.
    """
    messages = await read(
        page,
        messages=[
            {"role": "constructor", "content": "a"},
            {"role": "__proto__", "content": "b"},
            {"role": "toString", "content": "c"},
        ],
        response={"role": "assistant", "content": "d"},
    )

    assert messages == ["constructor: a", "__proto__: b", "toString: c", "assistant: d"]


async def test_a_turn_of_very_many_parts(page: Browser) -> None:
    """
    An answer may have more parts than a call of a function takes arguments.
    """
    said = {"type": "message", "role": "assistant"}
    script = """
        const [said, done] = arguments;
        import("/page/js/shapes/event.js").then(({ readEvent }) => {
          const many = { ...said, content: new Array(500000).fill("a") };
          const { answer } = readEvent({ outputs: { output: [{ ...said, content: "b" }, many] } });
          done(answer.map(({ parts }) => parts.length));
        }).catch((error) => done(String(error)));
    """

    assert await page.run_async(script, said) == [500001]
