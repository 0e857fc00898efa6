"""
Which fields are filled from a response, when, and which stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest

from hh_exporter import Exporter, ModelEvent
from hh_exporter._responses.filling import fill
from tests.conftest import MakeExporter, in_both_dialects
from tests.responses.shapes import ClientObject, Json, as_objects, record, sent_by
from tests.responses.test_chat import completion
from tests.responses.test_responses import whole
from tests.scripted_server import ScriptedServer

COMPLETION = completion(
    {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
)


@attrs.define
class Slotted:
    """
    An object without a dict of its own.
    """

    usage: Any


class Hostile:
    """
    An object whose own code is not to be run.
    """

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":  # which pytest asks for
            raise AssertionError(name)
        return Hostile


async def sent(server: ScriptedServer, exporter: Exporter, event: ModelEvent) -> Json:
    """
    Push *event* and return what arrives.
    """
    assert exporter.push(event)
    await exporter.flush()
    [arrived] = (await server.next_request()).events
    return dict(arrived)


@pytest.mark.parametrize(
    "response",
    [
        None,
        "Hi",
        5,
        ["Hi"],
        {},
        {"role": "assistant", "content": "Hi"},
        {"choices": []},
        {"choices": [{"label": "a"}]},
        {"choices": ["a", "b"]},
        {"choices": {"a": 1}},
        {"output": "Hi"},
        {"output": [{"type": "message"}]},
        {"candidates": ["Ann", "Bob"]},
        {"candidates": []},
        {"stop_reason": "end_turn", "content": []},
        {"type": "message", "stop_reason": None, "content": "Hi"},
    ],
    ids=str,
)
def test_what_is_not_recognised_stays(response: Any) -> None:
    """
    It is the same object, and nothing is made of it.
    """
    event = ModelEvent(model="a-model", response=response)

    fill(event)

    assert event.response is response
    assert (event.usage, event.metadata, event.error) == (None, None, None)


@pytest.mark.parametrize(
    "make",
    [lambda: ClientObject(id="x"), lambda: Slotted(1), Hostile, object, lambda: iter("ab")],
    ids=["model", "slotted", "hostile", "object", "iterator"],
)
def test_an_unknown_object_stays(make: Callable[[], Any]) -> None:
    """
    Whatever it is; none of its own code runs.
    """
    response = make()
    event = ModelEvent(model="a-model", response=response)

    fill(event)

    assert event.response is response
    assert (event.usage, event.metadata) == (None, None)


@pytest.mark.parametrize("form", [dict, as_objects])
def test_usage_is_taken_from_any_response(form: Any) -> None:
    """
    As it is, of a kind that is not known; the response stays.
    """
    response = form({"vectors": [[0.5]], "usage": {"total_tokens": 3}})

    event = ModelEvent(model="a-model", response=response)

    fill(event)

    assert event.response is response
    assert event.usage is not None
    assert event.usage["total_tokens"] == 3


def test_what_is_set_stays(exporter: Exporter) -> None:
    """
    But for the response, of which nothing is lost.
    """
    call = record(
        exporter, COMPLETION, usage={"total_tokens": 1}, metadata={"response_id": "mine", "a": 1}
    )

    assert call.response == {"role": "assistant", "content": "Hi"}
    assert call.usage == {"total_tokens": 1}
    assert call.metadata["response_id"] == "mine"
    assert call.metadata["a"] == 1
    assert call.metadata["finish_reason"] == "stop"


def test_what_was_given_is_not_changed(exporter: Exporter) -> None:
    """
    Neither the client's object nor the metadata of the program.
    """
    metadata: Json = {"a": 1}
    response = as_objects(COMPLETION)
    before = response.model_dump()

    record(exporter, response, metadata=metadata)

    assert metadata == {"a": 1}
    assert response.model_dump() == before


def test_a_failed_block_is_read_as_well(exporter: Exporter) -> None:
    """
    An exception after the answer keeps it.
    """
    with suppress(ValueError), exporter.record(model="a-model") as call:
        call.response = COMPLETION
        raise ValueError("no JSON")

    sent = sent_by(exporter)
    assert sent.response == {"role": "assistant", "content": "Hi"}
    assert sent.error == "ValueError: no JSON"


@pytest.mark.parametrize("form", [dict, as_objects])
def test_what_a_decorated_function_returns_is_read(exporter: Exporter, form: Any) -> None:
    """
    Its caller has the client's response, the event the message.
    """
    response = form(COMPLETION)

    @exporter.record(model="a-model")
    def ask() -> Any:
        return response

    assert ask() is response
    assert sent_by(exporter).response == {"role": "assistant", "content": "Hi"}
    assert sent_by(exporter).usage["total_tokens"] == 1300


@pytest.mark.parametrize("form", [dict, as_objects])
def test_a_block_has_its_response_back(exporter: Exporter, form: Any) -> None:
    """
    It is the client's, for those who go on with it; what was read beside it is there to see.
    """
    response = form(COMPLETION)

    with exporter.record(model="a-model") as call:
        call.response = response

    assert call.response is response
    assert sent_by(exporter).response == {"role": "assistant", "content": "Hi"}
    assert call.usage == sent_by(exporter).usage


async def test_a_block_that_goes_on_after_a_close_has_its_response(exporter: Exporter) -> None:
    """
    An exporter that closes sends what was read, and takes nothing from the block.
    """
    with exporter.record(model="a-model") as call:
        call.response = COMPLETION
        await exporter.aclose()
        assert call.response is COMPLETION

    assert sent_by(exporter).response == {"role": "assistant", "content": "Hi"}


def test_a_final_message_counts_more_than_chunks(exporter: Exporter) -> None:
    """
    The block may set what the client's helper has put together.
    """
    chunks = [{"choices": [{"index": 0, "delta": {"content": "H"}}], "service_tier": "flex"}]

    with exporter.record(model="a-model") as call:
        list(call.stream(chunks))
        call.response = COMPLETION

    sent = sent_by(exporter)
    assert sent.response == {"role": "assistant", "content": "Hi"}
    assert sent.metadata["finish_reason"] == "stop"


def test_usage_of_a_stream_is_taken_beside_an_own_response(exporter: Exporter) -> None:
    """
    A program that joins the text itself has the tokens all the same.
    """
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {"choices": [], "usage": {"total_tokens": 3}},
    ]

    with exporter.record(model="a-model") as call:
        list(call.stream(chunks))
        call.response = {"content": "mine"}

    assert call.response == {"content": "mine"}
    assert call.usage == {"total_tokens": 3}


# Events that are pushed without a block.


@in_both_dialects
async def test_a_pushed_object_is_read(
    server: ScriptedServer, make_exporter: MakeExporter, dialect: str
) -> None:
    """
    What arrives is what a block would have sent; the event stays as it was.
    """
    response = as_objects(COMPLETION)
    event = ModelEvent(model="a-model", response=response)

    arrived = await sent(server, await make_exporter(), event)

    assert event.response is response
    assert (event.usage, event.metadata) == (None, None)
    if dialect == "legacy":
        assert arrived["response"] == {"role": "assistant", "content": "Hi"}
        assert arrived["usage"]["cache_read_tokens"] == 800
    else:
        assert arrived["outputs"] == {"role": "assistant", "content": "Hi"}
        assert arrived["metadata"]["cache_read_tokens"] == 800
    assert arrived["metadata"]["finish_reason"] == "stop"


async def test_pushed_data_is_sent_as_it_is(
    server: ScriptedServer, make_exporter: MakeExporter
) -> None:
    """
    A dict is not looked into: push costs what encoding costs.
    """
    event = ModelEvent(model="a-model", response=COMPLETION, inputs={"odd": {1}})

    arrived = await sent(server, await make_exporter(), event)

    assert arrived["response"] == COMPLETION
    assert arrived["usage"] == {}


async def test_hooks_see_what_is_sent(server: ScriptedServer, make_exporter: MakeExporter) -> None:
    """
    `before_send` gets the message, and may change it.
    """

    def before_send(event: Any) -> Any:
        assert event.response == {"role": "assistant", "content": "Hi"}
        return event.map_text(lambda text: text.replace("Hi", "[text]"))

    exporter = await make_exporter(before_send=before_send)

    arrived = await sent(
        server, exporter, ModelEvent(model="a-model", response=as_objects(COMPLETION))
    )

    assert arrived["response"]["content"] == "[text]"
    assert arrived["usage"]["total_tokens"] == 1300


@pytest.mark.parametrize("hidden", ["hide_inputs", "hide_outputs"])
async def test_what_is_hidden_is_not_filled_in(
    server: ScriptedServer, make_exporter: MakeExporter, hidden: str
) -> None:
    """
    What a response repeats of inputs, and what it says, are left out; its tokens are counted.
    """
    response = as_objects(whole({"type": "message", "content": []}))
    exporter = await make_exporter(**{hidden: True})

    arrived = await sent(server, exporter, ModelEvent(model="a-model", response=response))

    assert "metadata" not in arrived
    assert "Be brief." not in str(arrived)
    assert arrived["usage"]["total_tokens"] == 130
    assert ("tools" in arrived) == (hidden == "hide_outputs")
    assert bool(arrived["response"]) == (hidden == "hide_inputs")
