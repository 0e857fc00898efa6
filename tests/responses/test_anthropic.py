"""
Anthropic Messages, whole and in events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hh_exporter import Exporter
from tests.responses.shapes import Json, record, stream

Form = Callable[[Any], Any]

USAGE: Json = {
    "input_tokens": 100,
    "cache_read_input_tokens": 800,
    "cache_creation_input_tokens": 50,
    "output_tokens": 30,
    "service_tier": "standard",
}
THINKING: Json = {"type": "thinking", "thinking": "A city.", "signature": "c2ln"}
TOOL_USE: Json = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"city": None}}


def whole(*content: Json, **members: Any) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "a-model-2",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **members,
    }


def start(index: int, **block: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **members: Any) -> Json:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": f"{kind}_delta", **members},
    }


EVENTS: list[Json] = [
    {
        "type": "message_start",
        "message": whole(stop_reason=None, usage=USAGE | {"output_tokens": 2}),
    },
    start(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking", thinking="A "),
    delta(0, "thinking", thinking="city."),
    delta(0, "signature", signature="c2ln"),
    {"type": "content_block_stop", "index": 0},
    start(1, type="text", text=""),
    delta(1, "text", text="Hel"),
    delta(1, "text", text="lo"),
    {"type": "ping"},
    start(2, type="tool_use", id="toolu_1", name="look_up", input={}),
    delta(2, "input_json", partial_json=""),
    delta(2, "input_json", partial_json='{"city"'),
    delta(2, "input_json", partial_json=": null}"),
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 30},
    },
    {"type": "message_stop"},
]


def test_blocks_become_one_message(exporter: Exporter, form: Form) -> None:
    """
    In the form of Chat Completions; what signs the thoughts is kept beside them.
    """
    text = {"type": "text", "text": "Hello", "citations": None}

    call = record(exporter, form(whole(THINKING, text, TOOL_USE, stop_reason="tool_use")))

    assert call.response == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "A city.",
        "thinking_blocks": [{"type": "thinking", "signature": "c2ln"}],
        "tool_calls": [
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "look_up", "arguments": '{"city":null}'},
            }
        ],
    }
    assert call.metadata == {
        "response_id": "msg_1",
        "response_model": "a-model-2",
        "finish_reason": "tool_calls",
    }


def test_tokens_of_the_cache_are_inside_the_prompts(exporter: Exporter, form: Form) -> None:
    """
    Unlike in the API's own count, as all other APIs have it.
    """
    call = record(exporter, form(whole({"type": "text", "text": "Hi"})))

    assert call.usage == {
        "prompt_tokens": 950,
        "completion_tokens": 30,
        "total_tokens": 980,
        "cache_read_tokens": 800,
        "cache_write_tokens": 50,
        "service_tier": "standard",
    }


def test_blocks_of_other_kinds_are_parts_of_the_content(exporter: Exporter) -> None:
    """
    In their place; a text with citations is one of these.
    """
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"q": "Ulm"}}
    cited = {"type": "text", "text": "In 890.", "citations": [{"type": "page_location"}]}
    hidden = {"type": "redacted_thinking", "data": "ZGF0YQ"}

    call = record(exporter, whole(hidden, search, {"type": "text", "text": "Yes."}, cited))

    assert call.response["content"] == [search, {"type": "text", "text": "Yes."}, cited]
    assert call.response["thinking_blocks"] == [hidden]


@pytest.mark.parametrize(
    ("reason", "word"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("refusal", "refusal"), (None, None)],
)
def test_why_it_ended_is_one_word(exporter: Exporter, reason: str | None, word: str | None) -> None:
    """
    That of OpenAI, if it has one.
    """
    call = record(exporter, whole(stop_reason=reason))

    assert call.metadata.get("finish_reason") == word


def test_the_sequence_that_stopped_it_is_kept(exporter: Exporter) -> None:
    """
    Beside the reason.
    """
    call = record(exporter, whole(stop_reason="stop_sequence", stop_sequence="END"))

    assert call.metadata["finish_reason"] == "stop"
    assert call.metadata["stop_sequence"] == "END"


def test_events_are_put_together(exporter: Exporter, form: Form) -> None:
    """
    They give what the whole message gives.
    """
    text = {"type": "text", "text": "Hello"}
    expected = record(exporter, whole(THINKING, text, TOOL_USE, stop_reason="tool_use"))

    call = stream(exporter, [form(event) for event in EVENTS])

    assert call.response == expected.response
    assert call.usage == expected.usage
    assert call.metadata == expected.metadata


def test_a_stream_that_stops_early_has_what_came(exporter: Exporter, form: Form) -> None:
    """
    With the tokens of the prompt alone: those of the answer are counted at its end.
    """
    call = stream(exporter, [form(event) for event in EVENTS[:13]])

    assert call.response["content"] == "Hello"
    assert call.response["tool_calls"][0]["function"]["arguments"] == '{"city"'
    assert call.usage["prompt_tokens"] == 950
    assert call.usage.keys().isdisjoint({"completion_tokens", "total_tokens"})
    assert "finish_reason" not in call.metadata


def test_the_clients_helper_is_read_once(exporter: Exporter) -> None:
    """
    It yields events of its own about the same text, and fills in the first message later.
    """
    first: Json = {"type": "message_start", "message": whole(stop_reason=None)}
    events: list[Json] = [
        first,
        start(0, type="text", text=""),
        delta(0, "text", text="Hi"),
        {"type": "text", "text": "Hi", "snapshot": "Hi"},
        {"type": "content_block_stop", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
        {"type": "message_stop", "message": whole({"type": "text", "text": "Hi"})},
    ]

    with exporter.record(model="a-model") as call:
        for event in call.stream(events):
            if event["type"] == "content_block_delta":
                first["message"]["content"].append({"type": "text", "text": "Hi"})

    assert call.response == {"role": "assistant", "content": "Hi"}


def test_citations_of_events_are_kept(exporter: Exporter) -> None:
    """
    With the text that they are about.
    """
    page = {"type": "page_location", "cited_text": "890"}
    events = [
        EVENTS[0],
        start(0, type="text", text="", citations=[]),
        delta(0, "text", text="In 890."),
        delta(0, "citations", citation=page),
    ]

    call = stream(exporter, events)

    assert call.response["content"] == [{"type": "text", "text": "In 890.", "citations": [page]}]


def test_an_error_event_is_the_error(exporter: Exporter) -> None:
    """
    The stream ends with it.
    """
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    with exporter.record(model="a-model") as call:
        assert len(list(call.stream([*EVENTS[:9], error]))) == 10

    assert call.error == "overloaded_error: Overloaded"
    assert call.response["content"] == "Hello"  # type: ignore[index]


async def test_the_first_token_is_timed(exporter: Exporter, form: Form, clock: Any) -> None:
    """
    A thought is one.
    """
    with exporter.record(model="a-model") as call:
        for _ in call.stream(form(event) for event in EVENTS):
            await clock.advance(1.0)

    assert call.metrics == {"time_to_first_token": 2000.0}
