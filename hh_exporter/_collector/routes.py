"""
What the collector answers, path by path.

An answer calls an event created only once its row is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from aiohttp import web
from attrs import frozen

from hh_exporter._collector.encoding import encode
from hh_exporter._collector.store import Row, Store
from hh_exporter._collector.validation import (
    MODEL_EVENT,
    MODEL_EVENT_BATCH_REQUEST,
    MODEL_EVENT_REQUEST,
    Schema,
)
from hh_exporter.events import new_id

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from hh_exporter._clock import Clock

__all__ = ["Routes"]

_MAX_BODY_BYTES = 32 * 2**20
_ERROR_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


@frozen
class Routes:
    """
    The handlers, around the store that they fill and read.
    """

    store: Store
    clock: Clock

    def application(self) -> web.Application:
        """
        Make an application that serves them.
        """
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors_as_json])
        app.router.add_post("/events/model", self.create_event)
        app.router.add_post("/events/model/batch", self.create_batch)
        app.router.add_get("/api/events.jsonl", self.export, allow_head=False)
        return app

    async def create_event(self, request: web.Request) -> web.Response:
        """
        Store one event, or refuse the request.
        """
        body = await _read(request, MODEL_EVENT_REQUEST)
        row = self._row(body["model_event"], request)
        await self.store.add([row])
        return _json({"event_id": row.event_id, "success": True})

    async def create_batch(self, request: web.Request) -> web.Response:
        """
        Store the good events of a batch, and say what is wrong with the others.

        As the API answers a batch that it creates in part: 500, and success.
        """
        body = await _read(request, MODEL_EVENT_BATCH_REQUEST)
        rows: list[Row] = []
        errors: list[str] = []
        for index, event in enumerate(body["model_events"]):
            problem = MODEL_EVENT.problem(event)
            if problem is None:
                rows.append(self._row(event, request))
            else:
                errors.append(f"model_events[{index}]: {problem}")
        await self.store.add(rows)
        event_ids = [row.event_id for row in rows]
        if errors:
            answer = {"event_ids": event_ids, "errors": errors, "success": True}
            return _json(answer, status=500)
        return _json({"event_ids": event_ids, "success": True})

    async def export(self, request: web.Request) -> web.StreamResponse:
        """
        Send all that is stored, one JSON object a line.
        """
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for rows in self.store.pages():
            await response.write(b"".join(map(_line, rows)))
        await response.write_eof()
        return response

    def _row(self, event: dict[str, Any], request: web.Request) -> Row:
        event_id = event["event_id"] if "event_id" in event else new_id()
        return Row(encode(event), event_id, request.path, int(self.clock.wall() * 1000))


async def _read(request: web.Request, schema: Schema) -> dict[str, Any]:
    try:
        body: dict[str, Any] = orjson.loads(await request.read())
    except orjson.JSONDecodeError as exc:
        _refuse(f"is not JSON: {exc}")
    except (web.RequestPayloadError, ConnectionError):
        _refuse("is cut short, or not in its Content-Encoding")
    if (problem := schema.problem(body)) is not None:
        _refuse(problem)
    return body


def _refuse(problem: str) -> NoReturn:
    raise web.HTTPBadRequest(text=f"body: {problem}") from None


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as exc:
        answer = {"message": exc.text, "errorCode": _ERROR_CODES[exc.status]}
        exc.text = orjson.dumps(answer).decode()
        exc.content_type = "application/json"
        raise


def _json(answer: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json")


def _line(row: Row) -> bytes:
    return orjson.dumps(
        {
            "event": orjson.Fragment(row.event),
            "event_id": row.event_id,
            "path": row.path,
            "time": row.time,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
