"""
What a list shows of an event's contents, whatever shape they have.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector.storage.preview import Preview, preview
from tests.collector_client import model_event

PARIS = "Paris."
CALL = {"id": "c1", "type": "function", "function": {"name": "route", "arguments": "{}"}}
ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "The capital\n of France?"},
]

SHAPES: dict[str, dict[str, Any]] = {
    "legacy": {"messages": ASKED, "response": {"role": "assistant", "content": PARIS}},
    "v1": {"inputs": {"chat_history": ASKED}, "outputs": {"role": "assistant", "content": PARIS}},
    "chat completions": {
        "inputs": {"messages": ASKED},
        "outputs": {"choices": [{"index": 0, "message": {"role": "assistant", "content": PARIS}}]},
    },
    "OpenAI Responses": {
        "inputs": {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": ASKED[-1]["content"]}]},
                {"type": "function_call", "name": "find", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "found"},
            ]
        },
        "outputs": {
            "output": [
                {"type": "reasoning", "summary": [], "text": "hm"},
                {"type": "message", "content": [{"type": "output_text", "text": PARIS}]},
            ]
        },
    },
    "Anthropic": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": ASKED[-1]["content"]}]},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "find", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "found"}]},
        ],
        "response": {
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": PARIS}]
        },
    },
    "Gemini": {
        "inputs": {"contents": [{"role": "user", "parts": [{"text": ASKED[-1]["content"]}]}]},
        "outputs": {
            "candidates": [
                {"content": {"parts": [{"text": "hm", "thought": True}, {"text": PARIS}]}}
            ]
        },
    },
    "texts": {"inputs": {"prompt": ASKED[-1]["content"]}, "outputs": {"text": PARIS}},
}


@pytest.mark.parametrize("event", SHAPES.values(), ids=SHAPES)
def test_question_and_answer_are_found_in_each_shape(event: dict[str, Any]) -> None:
    """
    The last text of the user and the text of the answer, each in one line.
    """
    assert preview(event) == Preview("The capital of France?", PARIS)


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"content": [{"type": "tool_use", "name": "route", "input": {}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "route"}}]}}]},
        {"output": [{"type": "function_call", "name": "route", "arguments": "{}"}]},
    ],
    ids=["OpenAI", "Anthropic", "Gemini", "OpenAI Responses"],
)
def test_an_answer_without_text_shows_the_tools_that_it_calls(answer: dict[str, Any]) -> None:
    """
    They are what it says.
    """
    assert preview({"response": answer}).output == "route(…)"


def test_a_tool_shows_its_inputs_and_outputs() -> None:
    """
    Of what is no conversation the simple values are listed, with their names.
    """
    event = {
        "event_type": "tool",
        "inputs": {"order": "FL-1", "fast": True, "lines": [1], "count": 2},
        "outputs": {"state": "sent"},
    }

    assert preview(event) == Preview("order: FL-1 count: 2", "state: sent")


def test_long_texts_are_cut() -> None:
    """
    A line has at most 200 characters, and says if there is more.
    """
    shown = preview(model_event(messages=[{"role": "user", "content": "é " * 900}])).input

    assert shown is not None
    assert len(shown) == 200
    assert shown.endswith("é…")


def test_an_event_of_nothing_shows_nothing() -> None:
    """
    There may be neither question nor answer.
    """
    assert preview({"inputs": {"messages": []}, "outputs": None}) == Preview(None, None)


NAMES = st.sampled_from(
    [
        *("messages", "input", "inputs", "outputs", "response", "content", "parts", "text"),
        *("role", "choices", "message", "tool_calls", "function", "name", "type"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(["user", "tool_call", "x"])
STRANGE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner)
)


@given(st.dictionaries(NAMES, STRANGE))
def test_no_shape_is_too_strange(event: dict[str, Any]) -> None:
    """
    Whatever is where text could be, the answer is a line or nothing.
    """
    shown = preview(event)

    for line in (shown.input, shown.output):
        assert line is None or (type(line) is str and 0 < len(line) <= 200)
