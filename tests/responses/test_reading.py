"""
What is kept of a stream's chunks: bounded, and whatever they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hh_exporter import Exporter
from hh_exporter._responses.chunks import MAX_CHARACTERS
from tests.responses.shapes import Json, stream


def chat(text: str, **members: Any) -> Json:
    return {"choices": [{"index": 0, "delta": {"content": text}}], **members}


def test_chunks_of_text_are_the_response(exporter: Exporter) -> None:
    """
    As helpers of clients yield them.
    """
    call = stream(exporter, ["Hel", "", "lo"])

    assert call.response == {"role": "assistant", "content": "Hello"}


async def test_empty_text_is_no_token(exporter: Exporter, clock: Any) -> None:
    """
    The first one that says something is timed.
    """
    with exporter.record(model="a-model") as call:
        for _ in call.stream(["", "Hi"]):
            await clock.advance(1.0)

    assert call.metrics == {"time_to_first_token": 1000.0}


@pytest.mark.parametrize("chunk", [object(), b"data", {"event": "on_chain_start"}, 5, None])
def test_chunks_of_no_known_shape_are_passed_on(exporter: Exporter, chunk: Any) -> None:
    """
    The first one is timed, and there is no response.
    """
    call = stream(exporter, [chunk, chunk])

    assert call.response is None
    assert call.metrics == {"time_to_first_token": 0.0}


def test_what_comes_before_a_known_shape_is_passed_over(exporter: Exporter) -> None:
    """
    Such as an event of the framework around the client.
    """
    call = stream(exporter, [{"event": "start"}, chat("Hi")])

    assert call.response == {"role": "assistant", "content": "Hi"}


class Hostile:
    """
    A chunk whose own code is not to be run.
    """

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":  # which pytest asks for
            raise AssertionError(name)
        return Hostile


@pytest.mark.parametrize(
    "odd",
    [
        Hostile(),
        {"choices": [Hostile()]},
        {"choices": [{"index": {}, "delta": Hostile()}]},
        {"choices": [{"delta": {"content": ["a"]}}]},
        {"choices": [{"delta": {"tool_calls": [Hostile(), None, 5, {"index": []}]}}]},
        {"choices": "none"},
        {"choices": [{"delta": {"content": {"a": 1}}}]},
    ],
    ids=["chunk", "choice", "delta", "list", "call", "choices", "content"],
)
def test_an_odd_chunk_costs_itself_alone(exporter: Exporter, odd: Any) -> None:
    """
    It is passed on as all others, and the text beside it is kept.
    """
    chunks = [chat("Hel"), odd, chat("lo")]

    with exporter.record(model="a-model") as call:
        passed = list(call.stream(chunks))

    assert all(one is other for one, other in zip(passed, chunks, strict=True))
    assert call.error is None
    assert call.response["content"] == "Hello"  # type: ignore[index]


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message_start", "message": Hostile()},
        {"type": "content_block_start", "index": [], "content_block": 5},
        {"type": "content_block_delta", "index": 9, "delta": None},
        {"type": "message_delta", "delta": Hostile(), "usage": []},
        {"type": "response.output_text.delta", "output_index": [], "delta": "Hi"},
        {"type": "response.output_text.delta", "output_index": 1, "delta": {"a": 1}},
        {"type": "response.output_item.added", "output_index": {}, "item": None},
        {"type": "response.completed", "response": 5},
        {"type": "response.created", "response": Hostile()},
        {"candidates": [{"index": "a", "content": {"parts": [None, 5, {"text": 5}]}}]},
        {"candidates": {"a": 1}},
        {"usageMetadata": Hostile()},
    ],
    ids=lambda odd: str(odd.get("type", next(iter(odd)))),
)
def test_odd_events_of_each_api_break_nothing(exporter: Exporter, odd: Any) -> None:
    """
    First, or in between.
    """
    events = [
        {"type": "message_start", "message": {"type": "message", "usage": {}}},
        {"type": "response.created", "response": {"object": "response"}},
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
    ]

    stream(exporter, [odd, odd])
    for event in events:
        stream(exporter, [event, odd, event])


def test_what_is_kept_is_bounded(exporter: Exporter) -> None:
    """
    What comes after is passed on, and the event says that it was cut; tokens and reason are kept.
    """
    piece = "x" * 1000
    count = MAX_CHARACTERS // 1000 + 50

    def chunks() -> Iterator[Json]:
        for _ in range(count):
            yield chat(piece)
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
        yield {"choices": [], "usage": {"total_tokens": 9}}

    call = stream(exporter, chunks())

    assert 0.9 * MAX_CHARACTERS < len(call.response["content"]) <= MAX_CHARACTERS
    assert call.metadata["stream_cut"] is True
    assert call.metadata["finish_reason"] == "length"
    assert call.usage == {"total_tokens": 9}


@pytest.mark.parametrize(
    "make",
    [
        lambda n: {"choices": [{"index": n, "delta": {"content": ""}}]},
        lambda n: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": n}]}}]},
        lambda n: {"choices": [{"index": 0, "delta": {f"name {n}": ""}}]},
        lambda n: {"candidates": [{"index": n, "content": {"parts": [{"text": ""}]}}]},
        lambda n: {"candidates": [{"content": {"parts": [{"functionCall": {"name": n}}]}}]},
        lambda n: {"type": "content_block_start", "index": n, "content_block": {}},
        lambda n: {"type": "response.output_item.added", "output_index": n, "item": {}},
    ],
    ids=["choices", "calls", "members", "candidates", "parts", "blocks", "items"],
)
def test_the_number_of_things_is_bounded(exporter: Exporter, make: Any) -> None:
    """
    Not only the characters of their text.
    """
    count = MAX_CHARACTERS // 64 + 100

    call = stream(exporter, (make(number) for number in range(count)))

    assert (call.metadata or {}).get("stream_cut") is True


def test_the_pieces_of_a_long_text_are_in_order(exporter: Exporter) -> None:
    """
    Those that were joined on the way come first.
    """
    pieces = [f"{number} " for number in range(2500)]

    call = stream(exporter, map(chat, pieces))

    assert call.response["content"] == "".join(pieces)


@pytest.mark.parametrize(
    "chunk",
    [
        "canary",
        chat("canary"),
        {"type": "message_start", "message": {"id": "canary"}},
        {"type": "response.created", "response": {"id": "canary"}},
        {"candidates": [{"content": {"parts": [{"text": "canary"}]}}]},
    ],
    ids=["text", "chat", "anthropic", "responses", "gemini"],
)
def test_what_is_kept_shows_in_no_repr(exporter: Exporter, chunk: Any) -> None:
    """
    Neither in that of the stream that is read, nor of what holds the response so far.
    """
    with exporter.record(model="a-model") as call:
        read = call.stream([chunk])
        next(read)
        reading = call._reading

    assert reading is not None
    assert "canary" in str(reading.whole())
    shown = [read, call, reading, reading._assembly, reading._text]
    assert "canary" not in "".join(map(repr, shown))
