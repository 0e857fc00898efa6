"""
What LiteLLM tells of a call becomes one event, and the caller's key stays where it is.

LiteLLM runs in processes of their own: it keeps threads and connections for good.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.command import Finished
from tests.integrations.test_recipes import block
from tests.programs import run_program
from tests.scripted_server import ScriptedServer

pytestmark = pytest.mark.skipif(find_spec("litellm") is None, reason="needs the extra apps")

KEY = "hk_0123456789abcdef"
"""The caller's key; of no form by which LiteLLM itself would know it."""

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}

PRICES = (2.50e-6, 10.00e-6)
"""USD for a token of input and of output of gpt-4o."""

PROGRAM = """
    import litellm
    from hh_exporter.integrations.litellm import ExporterLogger

    CALL = {{"model": "openai/gpt-4o", "messages": [{{"role": "user", "content": "Hi"}}]}}

    async def main():
        async with exporter, ExporterLogger(exporter):
            {body}
        assert not litellm.logging_callback_manager.get_all_callbacks()

    asyncio.run(main())
"""


async def answer(request: web.Request) -> web.StreamResponse:
    """
    Answer as OpenAI does, but repeat the key to who says "fail".
    """
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    asked = await request.json()
    head = {"id": "c1", "created": 1, "model": "gpt-4o"}
    if asked["messages"][0]["content"] == "fail":
        error = {"message": f"not with {KEY}", "type": "invalid_request_error"}
        return web.json_response({"error": error}, status=400)
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "Hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return web.json_response(whole)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta, reason in (({"content": "Hel"}, None), ({"content": "lo"}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        await response.write(b"data: %b\n\n" % json.dumps(chunk).encode())
    chunk = {**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
    await response.write(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode())
    return response


@pytest.fixture
async def provider() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    provider = TestServer(app)
    async with provider:
        yield provider


async def run(
    source: str, server: ScriptedServer, provider: TestServer, **environ: str
) -> Finished:
    return await run_program(
        source,
        server.url,
        OPENAI_API_KEY=KEY,
        OPENAI_BASE_URL=str(provider.make_url("/v1")),
        LITELLM_LOCAL_MODEL_COST_MAP="True",  # else it asks the network for prices
        **environ,
    )


async def event_of(body: str, server: ScriptedServer, provider: TestServer) -> dict[str, Any]:
    """
    Run a program that makes one call; returns its one event.
    """
    done = await run(PROGRAM.format(body=body), server, provider)
    assert (done.status, done.stderr) == (0, "")
    [event] = server.created
    assert KEY.encode() not in b"".join(request.body for request in server.requests)
    return event


async def test_the_recipe_delivers_its_call(server: ScriptedServer, provider: TestServer) -> None:
    """
    Question, answer, usage, cost and session are there.
    """
    done = await run(block("litellm", "python"), server, provider)

    assert (done.status, done.stdout, done.stderr) == (0, "Hello\n", "")
    [event] = server.created
    assert (event["model"], event["provider"]) == ("gpt-4o", "openai")
    assert event["messages"] == [{"role": "user", "content": "Hi"}]
    assert event["response"]["content"] == "Hello"
    assert event["usage"].items() >= USAGE.items()
    assert event["cost"] == pytest.approx(100 * PRICES[0] + 20 * PRICES[1])
    assert event["duration"] == pytest.approx(event["end_time"] - event["start_time"])
    assert event["session_id"] == "5f0c5a0e-7d8b-4b51-9d0a-0c3f6c6a1f11"


async def test_a_stream_is_one_event(server: ScriptedServer, provider: TestServer) -> None:
    """
    It has the whole answer, even if the program ends right after it.
    """
    body = "async for _ in await litellm.acompletion(**CALL, stream=True): pass"

    event = await event_of(body, server, provider)

    assert event["response"]["content"] == "Hello"
    assert event["usage"].items() >= USAGE.items()
    assert event["cost"] == pytest.approx(100 * PRICES[0] + 20 * PRICES[1])


@pytest.mark.parametrize("options", ["", ", stream=True"])
async def test_a_call_without_a_loop_is_told_too(
    server: ScriptedServer, provider: TestServer, options: str
) -> None:
    """
    What LiteLLM tells from a thread of its own is taken there.
    """
    body = f"""
            await asyncio.to_thread(lambda: list(litellm.completion(**CALL{options})))
            while not exporter.stats().pushed:
                await asyncio.sleep(0.01)
    """

    event = await event_of(body.strip(), server, provider)

    assert event["response"]["content"] == "Hello"
    assert event["metadata"]["call_type"] == "completion"


@pytest.mark.parametrize("how", ["await litellm.acompletion", "litellm.completion"])
async def test_a_failure_says_why_and_not_with_which_key(
    server: ScriptedServer, provider: TestServer, how: str
) -> None:
    """
    The error of a call that failed is the provider's, but for the key that it repeats.
    """
    body = f"""
            try:
                {how}(**CALL | {{"messages": [{{"role": "user", "content": "fail"}}]}})
            except litellm.BadRequestError:
                pass
    """

    event = await event_of(body.strip(), server, provider)

    assert event["error"].endswith("not with [key]")
    assert event["response"] == {}
    assert "cost" not in event


async def test_nothing_that_lies_beside_a_call_leaves(
    server: ScriptedServer, provider: TestServer
) -> None:
    """
    Parameters that say how to ask are sent; keys, headers and metadata of the call are not.
    """
    body = """await litellm.acompletion(
                **CALL, temperature=0.5, response_format={"type": "json_object"},
                extra_headers={"X-Mine": "beside"}, metadata={"mine": "beside"},
            )"""

    event = await event_of(body, server, provider)

    assert event["hyperparameters"] == {"temperature": 0.5}
    assert event["response_format"] == {"type": "json_object"}
    assert "beside" not in json.dumps(event)


async def test_parameters_that_repeat_inputs_are_inputs(
    server: ScriptedServer, provider: TestServer
) -> None:
    """
    What to ask and who asks is among the inputs, and credentials of tools are nowhere.
    """
    body = """await litellm.acompletion(
                **CALL, seed=1, stop=["Ann"], user="ann", safety_identifier="ann",
                prediction={"type": "content", "content": "Ann"},
                tools=[{"type": "mcp", "server_label": "s", "headers": {"X-Mine": "beside"}}],
            )"""

    event = await event_of(body, server, provider)

    assert event["hyperparameters"] == {"seed": 1}
    assert event["inputs"]["stop"] == ["Ann"]
    assert event["inputs"]["user"] == event["inputs"]["safety_identifier"] == "ann"
    assert event["inputs"]["prediction"] == {"type": "content", "content": "Ann"}
    assert event["tools"] == [{"type": "mcp", "server_label": "s"}]
    assert "beside" not in json.dumps(event)


async def test_hidden_inputs_are_hidden(server: ScriptedServer, provider: TestServer) -> None:
    """
    Wherever LiteLLM has them.
    """
    body = """await litellm.acompletion(
                **CALL, seed=1, stop=["Ann"], user="ann", safety_identifier="ann",
                prediction={"type": "content", "content": "Ann"},
                functions=[{"name": "find_ann", "parameters": {"type": "object"}}],
            )"""

    done = await run(PROGRAM.format(body=body), server, provider, HH_EXPORTER_HIDE_INPUTS="true")

    assert (done.status, done.stderr) == (0, "")
    [event] = server.created
    assert event["hyperparameters"] == {"seed": 1}
    assert "ann" not in json.dumps(event).lower()


async def test_each_of_two_exporters_is_told(server: ScriptedServer, provider: TestServer) -> None:
    """
    LiteLLM does not take their loggers for one.
    """
    body = """
            other = Exporter()
            async with other, ExporterLogger(other):
                await litellm.acompletion(**CALL)
    """

    done = await run(PROGRAM.format(body=body.strip()), server, provider)

    assert (done.status, done.stderr) == (0, "")
    assert len(server.created) == 2


async def test_a_logger_that_hangs_holds_up_no_shutdown(server: ScriptedServer) -> None:
    """
    Another logger of the app keeps LiteLLM busy: the block ends in close_timeout, with all events.
    """
    body = """
            from litellm.integrations.custom_logger import CustomLogger

            class Hung(CustomLogger):
                async def async_log_success_event(self, *args, **kwargs):
                    await asyncio.sleep(3600)

            hung = Hung()
            litellm.callbacks.append(hung)
            for _ in range(2):
                await litellm.acompletion(**CALL, mock_response="Hello")
        lists = litellm.logging_callback_manager
        lists.remove_callback_from_all_lists(hung)
        lists.remove_callback_from_list_by_object(litellm.input_callback, hung, require_self=False)
    """
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HH_EXPORTER_CLOSE_TIMEOUT": "0.5"}

    done = await run_program(PROGRAM.format(body=body.strip()), server.url, **environ)

    assert done.status == 0, done.stderr
    assert "LiteLLM has not reported all calls within 0.5 s" in done.stderr
    assert len(server.created) == 2
