"""
Gemini, whole and in chunks, in the names of its REST API and of its clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hh_exporter import Exporter
from tests.responses.shapes import Json, record, stream

Form = Callable[[Any], Any]

USAGE: Json = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 50,
    "cachedContentTokenCount": 30,
    "totalTokenCount": 170,
}
RATINGS: list[Json] = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}]
CALL: Json = {"functionCall": {"name": "look_up", "args": {"city": "Ulm"}}}


def whole(*parts: Json, **candidate: Any) -> Json:
    content = {"role": "model", "parts": list(parts)}
    return {
        "candidates": [{"content": content, "index": 0, **candidate}],
        "usageMetadata": USAGE,
        "modelVersion": "a-model-2",
        "responseId": "r1",
    }


def test_parts_become_one_message(exporter: Exporter, form: Form) -> None:
    """
    In the form of Chat Completions; a call of a function is why it ended.
    """
    thought = {"text": "A city.", "thought": True}

    call = record(
        exporter,
        form(whole(thought, {"text": "Hel"}, {"text": "lo"}, CALL, finishReason="STOP")),
    )

    assert call.response == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "A city.",
        "tool_calls": [
            {
                "type": "function",
                "function": {"name": "look_up", "arguments": '{"city":"Ulm"}'},
            }
        ],
    }
    assert call.metadata == {
        "response_id": "r1",
        "response_model": "a-model-2",
        "finish_reason": "tool_calls",
    }


def test_thoughts_are_inside_the_completions_tokens(exporter: Exporter, form: Form) -> None:
    """
    And what tools used inside the prompt's, so that both are the total.
    """
    response = whole({"text": "Hi"})
    used = response | {
        "usageMetadata": USAGE | {"toolUsePromptTokenCount": 5, "totalTokenCount": 175}
    }

    call, other = record(exporter, form(response)), record(exporter, form(used))

    assert call.usage == {
        "prompt_tokens": 100,
        "completion_tokens": 70,
        "total_tokens": 170,
        "cache_read_tokens": 30,
        "reasoning_tokens": 50,
    }
    assert (other.usage["prompt_tokens"], other.usage["total_tokens"]) == (105, 175)


def test_the_clients_names_are_known(exporter: Exporter) -> None:
    """
    As `model_dump` gives them, with what the client adds, which is left out.
    """
    response = {
        "sdk_http_response": {"headers": {"x-request": "1"}},
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "Hi", "inline_data": None}]},
                "finish_reason": "MAX_TOKENS",
                "safety_ratings": RATINGS,
            }
        ],
        "usage_metadata": {"prompt_token_count": 3, "total_token_count": 3},
        "automatic_function_calling_history": [{"role": "user"}],
    }

    call = record(exporter, response)

    assert call.response == {"role": "assistant", "content": "Hi"}
    assert call.usage == {"prompt_tokens": 3, "total_tokens": 3}
    assert call.metadata == {"finish_reason": "length", "safety_ratings": RATINGS}


def test_parts_of_other_kinds_are_kept(exporter: Exporter) -> None:
    """
    An image stands where it was; what signs a thought is kept beside the content.
    """
    image = {"inlineData": {"mimeType": "image/png", "data": "aWE="}}
    signed = {"text": "See:", "thoughtSignature": "c2ln"}

    call = record(exporter, whole(signed, image))

    assert call.response["content"] == [
        {"type": "text", "text": "See:"},
        {"inline_data": image["inlineData"]},
    ]
    assert call.response["thought_signatures"] == ["c2ln"]


def test_several_candidates_are_kept(exporter: Exporter, form: Form) -> None:
    """
    The first one is the message, and has all of them beside it.
    """
    both = whole({"text": "a"}, finishReason="STOP")
    both["candidates"] += whole({"text": "b"}, finishReason="SAFETY", index=1)["candidates"]

    call = record(exporter, form(both))

    assert call.response["content"] == "a"
    assert [c["message"]["content"] for c in call.response["choices"]] == ["a", "b"]
    assert call.metadata["finish_reason"] == ["stop", "SAFETY"]


def test_a_refused_prompt_has_no_answer(exporter: Exporter, form: Form) -> None:
    """
    Why it was refused is the reason.
    """
    refused = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 3},
    }

    call = record(exporter, form(refused))

    assert call.response == {"role": "assistant", "content": ""}
    assert call.metadata["finish_reason"] == "SAFETY"
    assert call.usage == {"prompt_tokens": 3}


def test_chunks_are_put_together(exporter: Exporter, form: Form) -> None:
    """
    Their parts in a row, and the counts of the last one.
    """
    parts: list[Json] = [
        {"text": "A ", "thought": True},
        {"text": "city.", "thought": True},
        {"text": "Hel"},
        {"text": "lo"},
        CALL,
    ]
    chunks = [whole(part) | {"usageMetadata": {"promptTokenCount": 100}} for part in parts]
    chunks.append(whole({"text": ""}, finishReason="STOP", safetyRatings=RATINGS))

    call = stream(exporter, [form(chunk) for chunk in chunks])

    assert call.response["reasoning_content"] == "A city."
    assert call.response["content"] == "Hello"
    [made] = call.response["tool_calls"]
    assert made["function"] == {"name": "look_up", "arguments": '{"city":"Ulm"}'}
    assert call.usage["total_tokens"] == 170
    assert call.metadata["finish_reason"] == "tool_calls"
    assert call.metadata["safety_ratings"] == RATINGS


async def test_the_first_token_is_timed(exporter: Exporter, form: Form, clock: Any) -> None:
    """
    Not a chunk without text before it.
    """
    chunks = [whole(), whole({"text": ""}), whole({"text": "Hi"}), whole({"text": "!"})]

    with exporter.record(model="a-model") as call:
        for _ in call.stream(form(chunk) for chunk in chunks):
            await clock.advance(1.0)

    assert call.metrics == {"time_to_first_token": 2000.0}
