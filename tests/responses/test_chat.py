"""
OpenAI Chat Completions, whole and in chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hh_exporter import Exporter
from tests.responses.shapes import Json, record, stream

Form = Callable[[Any], Any]

USAGE: Json = {
    "prompt_tokens": 1000,
    "completion_tokens": 300,
    "total_tokens": 1300,
    "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 200},
}
CALL: Json = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"city":"Ulm"}'},
}


def completion(*choices: Json, **members: Any) -> Json:
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "a-model-2"}
    return {**head, "choices": list(choices), "usage": USAGE, **members}


def choice(message: Json, reason: str = "stop", index: int = 0, **members: Any) -> Json:
    message = {"role": "assistant", **message}
    return {"index": index, "message": message, "finish_reason": reason, **members}


def chunk(delta: Json | None = None, **members: Any) -> Json:
    """
    Make a chunk; without a *delta* the last one, which has the usage alone.
    """
    reason = members.pop("finish_reason", None)
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "a-model-2"}
    return {**head, "choices": choices, **members}


def test_a_completion_is_read(exporter: Exporter, form: Form) -> None:
    """
    Its message is the response; tokens, finish reason and all else have their places.
    """
    whole = completion(
        choice({"content": "Hi", "refusal": None, "annotations": []}, logprobs=None),
        system_fingerprint="fp_1",
        service_tier=None,
    )

    call = record(exporter, form(whole))

    assert call.response == {"role": "assistant", "content": "Hi"}
    assert call.usage == {**USAGE, "cache_read_tokens": 800, "reasoning_tokens": 200}
    assert call.model == "a-model"
    assert call.metadata == {
        "response_id": "chatcmpl-1",
        "response_model": "a-model-2",
        "finish_reason": "stop",
        "created": 7,
        "system_fingerprint": "fp_1",
    }


def test_tool_calls_are_kept(exporter: Exporter, form: Form) -> None:
    """
    They are what the product draws already; the content that is missing is left out.
    """
    whole = completion(choice({"content": None, "tool_calls": [CALL]}, "tool_calls"))

    call = record(exporter, form(whole), model="a-model-2")

    assert call.response == {"role": "assistant", "tool_calls": [CALL]}
    assert call.metadata["finish_reason"] == "tool_calls"
    assert "response_model" not in call.metadata


def test_several_choices_are_kept(exporter: Exporter, form: Form) -> None:
    """
    The first one is the message, and has all of them beside it.
    """
    logprobs = {"content": [{"token": "b", "logprob": -0.1}]}
    whole = completion(
        choice({"content": "a"}), choice({"content": "b"}, "length", 1, logprobs=logprobs)
    )

    call = record(exporter, form(whole))

    assert (call.response["role"], call.response["content"]) == ("assistant", "a")
    first, second = call.response["choices"]
    assert first["message"]["content"] == "a"
    assert (second["message"]["content"], second["finish_reason"]) == ("b", "length")
    assert second["logprobs"]["content"][0]["token"] == "b"
    assert call.metadata["finish_reason"] == ["stop", "length"]


def test_what_is_said_of_the_only_choice_goes_to_metadata(exporter: Exporter) -> None:
    """
    Such as its logprobs, or what a filter of Azure found.
    """
    filtered = {"hate": {"filtered": False}}
    whole = completion(choice({"content": "Hi"}, content_filter_results=filtered))

    call = record(exporter, whole)

    assert call.metadata["content_filter_results"] == filtered


def test_a_text_completion_is_read(exporter: Exporter, form: Form) -> None:
    """
    The older API has a text for a message.
    """
    only = {"index": 0, "text": "Hi", "finish_reason": "length"}

    call = record(exporter, form(completion(only, object="text_completion")))

    assert call.response == {"role": "assistant", "content": "Hi"}
    assert call.metadata["finish_reason"] == "length"


def test_chunks_are_put_together(exporter: Exporter, form: Form) -> None:
    """
    Text, thoughts and the arguments of parallel calls, and the usage of the last chunk.
    """
    chunks = [
        chunk({"role": "assistant", "content": ""}, model=""),
        chunk({"reasoning_content": "Let me "}),
        chunk({"reasoning_content": "see"}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "look_up"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city"'}}]}),
        chunk({"tool_calls": [{"index": 1, **CALL, "id": "call_2"}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ':"Ulm"}'}}]}),
        chunk({}, finish_reason="tool_calls"),
        chunk(usage=USAGE),
    ]

    call = stream(exporter, [form(each) for each in chunks])

    assert call.response == {
        "role": "assistant",
        "reasoning_content": "Let me see",
        "content": "Hello",
        "tool_calls": [CALL, {**CALL, "id": "call_2"}],
    }

    assert (call.usage["total_tokens"], call.usage["cache_read_tokens"]) == (1300, 800)
    assert call.metadata == {
        "response_id": "chatcmpl-1",
        "response_model": "a-model-2",
        "finish_reason": "tool_calls",
    }


def test_calls_with_the_same_number_are_told_apart_by_id(exporter: Exporter) -> None:
    """
    Some servers number all of them 0, or none.
    """
    other = {**CALL, "id": "call_2"}
    numbered = [chunk({"tool_calls": [{"index": 0, **each}]}) for each in (CALL, other)]
    unnumbered = [chunk({"tool_calls": [each]}) for each in (CALL, other)]

    for chunks in (numbered, unnumbered):
        call = stream(exporter, chunks)
        assert call.response["tool_calls"] == [CALL, other]


def test_chunks_of_several_choices_are_told_apart(exporter: Exporter) -> None:
    """
    As they come, by their number.
    """
    chunks = [
        {"choices": [{"index": index, "delta": {"content": text}}]}
        for index, text in ((1, "b1"), (0, "a1"), (1, "b2"))
    ]

    call = stream(exporter, chunks)

    said = [choice["message"]["content"] for choice in call.response["choices"]]
    assert said == ["a1", "b1b2"]


def test_logprobs_of_chunks_are_listed(exporter: Exporter, form: Form) -> None:
    """
    One after the other.
    """
    chunks = [
        {
            "choices": [
                {"index": 0, "delta": {"content": t}, "logprobs": {"content": [{"token": t}]}}
            ]
        }
        for t in ("a", "b")
    ]

    call = stream(exporter, [form(each) for each in chunks])

    assert [one["token"] for one in call.metadata["logprobs"]["content"]] == ["a", "b"]


def test_the_clients_helper_is_read(exporter: Exporter, form: Form) -> None:
    """
    It yields each chunk in an event of its own, and further events about the same text.
    """
    events = [
        {"type": "chunk", "chunk": chunk({"content": "Hi"})},
        {"type": "content.delta", "delta": "Hi", "snapshot": "Hi"},
        {"type": "content.done", "content": "Hi"},
        {"type": "chunk", "chunk": chunk({}, finish_reason="stop")},
    ]

    call = stream(exporter, [form(event) for event in events])

    assert call.response == {"role": "assistant", "content": "Hi"}
    assert call.metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "Hi"},
        {"reasoning_content": "Hm"},
        {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f"}}]},
        {"refusal": "No"},
    ],
    ids=lambda delta: next(iter(delta)),
)
async def test_the_first_token_is_timed(
    exporter: Exporter, form: Form, delta: Json, clock: Any
) -> None:
    """
    Not a chunk before it, which has the role alone.
    """
    with exporter.record(model="a-model") as call:
        chunks = call.stream(
            form(each)
            for each in (chunk({"role": "assistant", "content": ""}), chunk(delta), chunk(delta))
        )
        next(chunks)
        await clock.advance(1.0)
        next(chunks)
        await clock.advance(1.0)
        next(chunks)

    assert call.metrics == {"time_to_first_token": 1000.0}
