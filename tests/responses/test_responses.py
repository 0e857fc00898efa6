"""
OpenAI Responses, whole and in events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hh_exporter import Exporter
from tests.responses.shapes import Json, record, stream

Form = Callable[[Any], Any]

USAGE: Json = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 80},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}
REASONING: Json = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "A city."}],
    "encrypted_content": None,
}
CALL: Json = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "look_up",
    "arguments": '{"city":"Ulm"}',
    "status": "completed",
}
TOOL: Json = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}


def message(*texts: str, **members: Any) -> Json:
    parts = [{"type": "output_text", "text": text, "annotations": []} | members for text in texts]
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": parts}


def whole(*output: Json, **members: Any) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "metadata": {},
        "model": "a-model-2",
        "output": list(output),
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [TOOL],
        "usage": USAGE,
        **members,
    }


def event(kind: str, **members: Any) -> Json:
    return {"type": f"response.{kind}", **members}


def test_items_become_one_message(exporter: Exporter, form: Form) -> None:
    """
    Thoughts, text and calls of functions, in the form of Chat Completions.
    """
    call = record(exporter, form(whole(REASONING, message("Hel", "lo"), CALL)))

    assert call.response == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "A city.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look_up", "arguments": '{"city":"Ulm"}'},
                "item_id": "fc_1",
            }
        ],
    }
    assert call.usage == {
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "total_tokens": 130,
        "cache_read_tokens": 80,
        "reasoning_tokens": 20,
        "input_tokens_details": {"cached_tokens": 80},
        "output_tokens_details": {"reasoning_tokens": 20},
    }
    assert call.metadata == {
        "response_id": "resp_1",
        "response_model": "a-model-2",
        "finish_reason": "tool_calls",
        "created_at": 7,
        "status": "completed",
        "instructions": "Be brief.",
    }
    assert call.error is None


def test_what_it_repeats_of_the_request_fills_gaps(exporter: Exporter, form: Form) -> None:
    """
    Parameters and tools are those of the event, unless it has its own.
    """
    filled = record(exporter, form(whole(message("Hi"))))
    own = record(
        exporter, form(whole()), tools=[], tool_choice="none", hyperparameters={"top_p": 1}
    )

    assert filled.hyperparameters == {"temperature": 0.5, "text": {"format": {"type": "text"}}}
    assert (filled.tools, filled.tool_choice) == ([TOOL], "auto")
    assert (own.tools, own.tool_choice, own.hyperparameters) == ([], "none", {"top_p": 1})


def test_other_items_are_parts_of_the_content(exporter: Exporter) -> None:
    """
    A search of the API's own stands where it was, with the text as a part.
    """
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    cited = {"type": "url_citation", "url": "https://example.org", "start_index": 0}

    call = record(exporter, whole(search, message("Ulm", annotations=[cited])))

    assert call.response["content"] == [search, {"type": "text", "text": "Ulm"}]
    assert call.response["annotations"] == [cited]


def test_a_refusal_and_hidden_thoughts_are_kept(exporter: Exporter) -> None:
    """
    Neither is text that the model wrote.
    """
    refusal = {"type": "refusal", "refusal": "No."}
    hidden = {**REASONING, "summary": [], "encrypted_content": "gAAA"}

    call = record(exporter, whole(hidden, {"type": "message", "content": [refusal]}))

    assert call.response == {
        "role": "assistant",
        "content": [refusal],
        "reasoning_items": [{"id": "rs_1", "type": "reasoning", "encrypted_content": "gAAA"}],
    }


def test_why_it_ended_is_one_word(exporter: Exporter) -> None:
    """
    Taken from the status, and from what made it incomplete.
    """
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}

    reasons = [
        record(exporter, whole(message("Hi"), **members)).metadata.get("finish_reason")
        for members in ({}, cut, {"status": "in_progress"})
    ]

    assert reasons == ["stop", "length", None]


def test_a_failed_response_is_an_error(exporter: Exporter, form: Form) -> None:
    """
    In the API's words, unless the event has others.
    """
    failed = whole(status="failed", error={"code": "server_error", "message": "try again"})

    assert record(exporter, form(failed)).error == "server_error: try again"
    assert record(exporter, form(failed), error="mine").error == "mine"


def test_the_last_event_has_the_whole(exporter: Exporter, form: Form) -> None:
    """
    It counts, whatever came before.
    """
    events = [
        event("created", response=whole(status="in_progress", usage=None)),
        event("output_item.added", output_index=0, item=message()),
        event("output_text.delta", output_index=0, content_index=0, delta="Hel"),
        event("completed", response=whole(message("Hello"))),
    ]

    call = stream(exporter, [form(each) for each in events])

    assert call.response == {"role": "assistant", "content": "Hello"}
    assert call.metadata["finish_reason"] == "stop"
    assert call.usage["total_tokens"] == 130


def test_a_stream_that_stops_early_has_what_came(exporter: Exporter, form: Form) -> None:
    """
    Items that were done, and the beginnings of others; no tokens are made up.
    """
    events = [
        event("created", response=whole(status="in_progress", usage=None)),
        event("output_item.added", output_index=0, item={**REASONING, "summary": []}),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="A "),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="city."),
        event("output_item.done", output_index=0, item=REASONING),
        event("output_item.added", output_index=1, item=message()),
        event("output_text.delta", output_index=1, content_index=0, delta="Hel"),
        event("output_text.delta", output_index=1, content_index=0, delta="lo"),
        event("output_item.added", output_index=2, item={**CALL, "arguments": ""}),
        event("function_call_arguments.delta", output_index=2, delta='{"ci'),
    ]

    call = stream(exporter, [form(each) for each in events])

    assert call.response["reasoning_content"] == "A city."
    assert call.response["content"] == "Hello"
    assert call.response["tool_calls"][0]["function"]["arguments"] == '{"ci'
    assert call.usage is None
    assert "finish_reason" not in call.metadata


def test_an_error_event_is_the_error(exporter: Exporter, form: Form) -> None:
    """
    The stream ends with it.
    """
    events = [
        event("created", response=whole(status="in_progress", usage=None)),
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"},
    ]

    with exporter.record(model="a-model") as call:
        assert len(list(call.stream(form(each) for each in events))) == 2

    assert call.error == "rate_limit_exceeded: slow down"


async def test_the_first_token_is_timed(exporter: Exporter, form: Form, clock: Any) -> None:
    """
    Not what the API says before it.
    """
    events = [
        event("created", response=whole(usage=None)),
        event("output_item.added", output_index=0, item=message()),
        event("output_text.delta", output_index=0, content_index=0, delta="Hi"),
    ]

    with exporter.record(model="a-model") as call:
        for _ in call.stream(form(each) for each in events):
            await clock.advance(1.0)

    assert call.metrics == {"time_to_first_token": 2000.0}
