"""
The server answers in four dialects, and says the same in each.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator
from http.client import IncompleteRead
from typing import Any

import aiohttp
import pytest

from tests.genai.server import Answer, Call, Failure, ModelServer

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}
CALLS = (Call("c1", "get_weather", {"city": "Paris"}), Call("c2", "get_weather", {"city": "Rome"}))

in_each_api = pytest.mark.parametrize("api", PATHS)


@pytest.fixture
async def session(models: ModelServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(models.url) as session:
        yield session


async def streamed(session: aiohttp.ClientSession, api: str) -> AsyncIterator[dict[str, Any]]:
    """
    Read the events of a streamed answer.
    """
    path = PATHS[api].replace(":generate", ":streamGenerate")
    asked = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    async with session.post(path, json=asked) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def texts(body: object) -> list[str]:
    """
    List all strings in *body*, at any depth.
    """
    if isinstance(body, dict):
        return [text for value in body.values() for text in texts(value)]
    if isinstance(body, list):
        return [text for value in body for text in texts(value)]
    return [body] if isinstance(body, str) else []


@in_each_api
async def test_an_answer_has_all_that_was_said(
    api: str, models: ModelServer, session: aiohttp.ClientSession
) -> None:
    """
    Text, thoughts and calls, and an id of its own.
    """
    answers = []
    for _ in range(2):
        models.answer(Answer(reasoning="It is in France.", calls=CALLS))
        async with session.post(PATHS[api], json={"model": "m"}) as response:
            answers.append(await response.json())
    said = texts(answers[0])

    assert said.count("The capital is Paris.") == 1
    assert said.count("It is in France.") == (api != "chat")  # which shows no thoughts
    assert {"c1", "c2"} <= {*said}
    assert "Paris" in str(answers[0])
    ids = [answer.get("id") or answer["responseId"] for answer in answers]
    assert ids[0] != ids[1]
    assert [asked.api for asked in models.asked] == [api, api]


@in_each_api
async def test_a_stream_says_the_same_word_by_word(
    api: str, models: ModelServer, session: aiohttp.ClientSession
) -> None:
    """
    With the same counts of tokens at its end.
    """
    models.answer(Answer(), Answer())
    async with session.post(PATHS[api], json={"model": "m"}) as response:
        whole = await response.json()
    pieces = [piece async for piece in streamed(session, api)]

    words = [text for piece in pieces for text in texts(piece) if text in {"The ", "capital "}]
    assert words == ["The ", "capital "]
    usage = whole.get("usage") or whole["usageMetadata"]
    counts = [value for value in usage.values() if isinstance(value, int)]
    assert [count for count in counts if str(count) not in str(pieces)] == []


@in_each_api
async def test_a_stream_may_break(
    api: str, models: ModelServer, session: aiohttp.ClientSession
) -> None:
    """
    After as many words as the test says.
    """
    models.answer(Answer(dies_after=1))
    pieces = streamed(session, api)
    while "The " not in texts(await anext(pieces)):
        pass

    with pytest.raises(aiohttp.ClientPayloadError):
        await anext(pieces)


@in_each_api
async def test_an_error_has_its_message(
    api: str, models: ModelServer, session: aiohttp.ClientSession
) -> None:
    """
    And the next request gets an answer.
    """
    models.answer(Failure(429, "too many"))
    statuses = []
    for _ in range(2):
        async with session.post(PATHS[api], json={"model": "m"}) as response:
            statuses.append(response.status)
            assert ("too many" in texts(await response.json())) == (response.status == 429)

    assert statuses == [429, 200]


def test_it_ends_while_it_is_silent() -> None:
    """
    A client that waits for more is cut off.
    """
    with ModelServer() as models:
        models.answer(Answer(stops_after=1))
        request = urllib.request.Request(
            f"{models.openai_url}/chat/completions", data=b'{"model": "m", "stream": true}'
        )
        response = urllib.request.urlopen(request)
        assert response.readline().startswith(b"data: ")
    with response, pytest.raises((IncompleteRead, ConnectionError)):
        response.read()
