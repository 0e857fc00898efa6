"""
What tests send to the collector, and how they read it back.
"""

from __future__ import annotations

import io
from typing import Any

import orjson
from aiohttp import ClientSession
from yarl import URL

from hh_exporter import Exporter, ModelEvent
from hh_exporter._collector import Collector, StoredEvent, StoredSession

__all__ = [
    "EXPORT",
    "MANY",
    "ONE",
    "SESSIONS",
    "V1_MANY",
    "V1_ONE",
    "exported",
    "get",
    "known_sessions",
    "model_event",
    "post",
    "push",
    "refusal",
    "stored",
    "v1_event",
]

ONE = "/events/model"
MANY = "/events/model/batch"
V1_ONE = "/v1/events"
V1_MANY = "/v1/events/batch"
EXPORT = "/api/events.jsonl"
SESSIONS = "/api/sessions.jsonl"


def model_event(**fields: Any) -> dict[str, Any]:
    """
    Make an ordinary event of the legacy dialect.
    """
    return {
        "project": "p",
        "model": "gpt-4o",
        "provider": "openai",
        "messages": [{"role": "user", "content": "hi"}],
        "response": {"content": "hello"},
        "duration": 42.5,
        "usage": {"total_tokens": 20},
        **fields,
    }


def v1_event(**fields: Any) -> dict[str, Any]:
    """
    Make an ordinary event of the v1 dialect.
    """
    return {
        "event_type": "model",
        "inputs": {"chat_history": [{"role": "user", "content": "hi"}]},
        "outputs": {"role": "assistant", "content": "hello"},
        **fields,
    }


async def post(
    collector: Collector, path: str, body: object, **headers: str
) -> tuple[int, dict[str, Any]]:
    """
    Send *body*, as JSON unless it is bytes; return status and JSON answer.
    """
    data = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
    async with (
        ClientSession(collector.url) as client,
        client.post(path, data=data, headers=headers) as response,
    ):
        assert response.content_type == "application/json"
        return response.status, orjson.loads(await response.read())


async def get(collector: Collector, path: str, status: int = 200, /, **query: Any) -> Any:
    """
    Ask the API for *path*, which is quoted already, and read the JSON answer.
    """
    url = URL(f"{collector.url}/api/{path}", encoded=True)
    asked = url.with_query({name: str(value) for name, value in query.items()}) if query else url
    async with ClientSession() as client, client.get(asked) as response:
        assert (response.status, response.content_type) == (status, "application/json")
        return orjson.loads(await response.read())


def refusal(
    message: str, status: int = 400, code: str = "invalid_request"
) -> tuple[int, dict[str, Any]]:
    """
    Make what `post` returns of a request that is refused.
    """
    return status, {"statusCode": status, "message": message, "success": False, "errorCode": code}


async def push(collector: Collector, *events: ModelEvent) -> None:
    """
    Send events as an app does.
    """
    async with Exporter(base_url=collector.url) as exporter:
        for event in events:
            assert exporter.push(event)


async def stored(collector: Collector) -> list[StoredEvent]:
    """
    List the events that the collector has.
    """
    return [event async for event in collector.events()]


async def known_sessions(collector: Collector) -> list[StoredSession]:
    """
    List the sessions that the collector knows.
    """
    return [session async for session in collector.sessions()]


async def exported(collector: Collector, path: str = EXPORT) -> list[bytes]:
    """
    Read the lines of an export, each with its line end.
    """
    async with ClientSession(collector.url) as client, client.get(path) as response:
        assert response.status == 200
        assert response.content_type == "application/x-ndjson"
        return (await response.read()).splitlines(keepends=True)
