"""
The client of OpenAI, as it is installed: what it returns and streams is read.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hh_exporter import Exporter
from tests.conftest import BuildExporter
from tests.responses.shapes import Hook, sent_by

openai = pytest.importorskip("openai", reason="needs the extra apps")

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
}
FUNCTION = {"name": "look_up", "arguments": '{"city":"Ulm"}'}
CALL = {"id": "call_1", "type": "function", "function": FUNCTION}
OUTPUT = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-4o-2024-08-06",
    "output": [OUTPUT],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 0},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    },
}


def chunks() -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {"tool_calls": [{"index": 0, **CALL, "function": {**FUNCTION, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": FUNCTION["arguments"]}}]},
    ]
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    made = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return [*made, {**head, "choices": [end]}, {**head, "choices": [], "usage": USAGE}]


async def complete(request: web.Request) -> web.StreamResponse:
    if (await request.json()).get("stream"):
        return await send_events(request, [("", chunk) for chunk in chunks()])
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return web.json_response({**head, "choices": [choice], "usage": USAGE})


async def respond(request: web.Request) -> web.StreamResponse:
    if not (await request.json()).get("stream"):
        return web.json_response(RESPONSE)
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    item = {"output_index": 0, "item": {**OUTPUT, "content": []}}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", **item},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "lo", "logprobs": []},
        {"type": "response.completed", "response": RESPONSE},
    ]
    numbered = [(e["type"], {**e, "sequence_number": n}) for n, e in enumerate(events)]
    return await send_events(request, numbered)


async def send_events(
    request: web.Request, events: list[tuple[str, dict[str, Any]]]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for name, event in events:
        if name:
            await response.write(f"event: {name}\n".encode())
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/v1/responses", respond)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=0) as client:
            yield client


@pytest.fixture
def exporter(build_exporter: BuildExporter) -> Exporter:
    return build_exporter(before_send=Hook())


async def test_a_completion_is_read(exporter: Exporter, client: Any) -> None:
    """
    Tool calls, tokens and the finish reason are where the product draws them.
    """
    with exporter.record(model="gpt-4o") as call:
        call.response = await client.chat.completions.create(**ASK)

    sent = sent_by(exporter)
    assert sent.response == {"role": "assistant", "tool_calls": [CALL]}
    assert (sent.usage["total_tokens"], sent.usage["cache_read_tokens"]) == (120, 60)
    assert sent.metadata == {"response_id": "c1", "finish_reason": "tool_calls", "created": 1}


async def test_a_streamed_completion_is_read(exporter: Exporter, client: Any) -> None:
    """
    All of it, to its usage.
    """
    with exporter.record(model="gpt-4o") as call:
        async with await client.chat.completions.create(**ASK, stream=True) as stream:
            async for _ in call.stream(stream):
                pass

    assert call.response == {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}
    assert call.usage is not None
    assert call.usage["total_tokens"] == 120
    assert call.metadata == {"response_id": "c1", "finish_reason": "tool_calls", "created": 1}
    assert call.metrics is not None
    assert call.metrics["time_to_first_token"] >= 0


async def test_a_stream_that_is_left_is_closed_by_its_client(
    exporter: Exporter, client: Any
) -> None:
    """
    The client's context manager closes the connection; what came is the response.
    """
    with exporter.record(model="gpt-4o") as call:
        async with await client.chat.completions.create(**ASK, stream=True) as stream:
            async for chunk in call.stream(stream):
                if chunk.choices[0].delta.content:
                    break
    assert stream.response.is_closed

    assert call.response == {"role": "assistant", "content": "Hel"}
    assert call.metadata == {"response_id": "c1", "created": 1, "stream": "stopped"}
    assert (call.usage, call.error) == (None, None)


async def test_closing_the_stream_closes_the_connection(exporter: Exporter, client: Any) -> None:
    """
    As closing the client's own does.
    """
    with exporter.record(model="gpt-4o") as call:
        stream = await client.chat.completions.create(**ASK, stream=True)
        passed_on = call.stream(stream)
        await anext(passed_on)
        await passed_on.aclose()

    assert stream.response.is_closed


async def test_the_helper_for_streams_is_read(exporter: Exporter, client: Any) -> None:
    """
    Its further events about the same chunks count once.
    """
    with exporter.record(model="gpt-4o") as call:
        async with client.chat.completions.stream(**ASK) as stream:
            async for _ in call.stream(stream):
                pass

    assert call.response == {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}


async def test_responses_are_read(exporter: Exporter, client: Any) -> None:
    """
    Whole, streamed, and by the helper for streams, they give the same.
    """
    asked = {"model": "gpt-4o", "input": "Hi"}
    with exporter.record(model="gpt-4o") as whole:
        whole.response = await client.responses.create(**asked)
    sent = sent_by(exporter)
    with exporter.record(model="gpt-4o") as streamed:
        async for _ in streamed.stream(await client.responses.create(**asked, stream=True)):
            pass
    with exporter.record(model="gpt-4o") as helped:
        async with client.responses.stream(**asked) as stream:
            async for _ in helped.stream(stream):
                pass

    assert sent.response == {"role": "assistant", "content": "Hello"}
    assert (sent.usage["prompt_tokens"], sent.usage["reasoning_tokens"]) == (100, 5)
    assert sent.metadata["response_model"] == "gpt-4o-2024-08-06"
    for call in (streamed, helped):
        assert (call.response, call.usage) == (sent.response, sent.usage)
        assert call.metadata == sent.metadata
