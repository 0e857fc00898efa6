"""
What the collector answers, path by path.

An answer calls an event created only once its row is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from attrs import frozen

from hh_exporter._collector.bodies import MAX_BODY_BYTES, read_body
from hh_exporter._collector.encoding import encode
from hh_exporter._collector.reading import Reading
from hh_exporter._collector.sessions import Session, shared_session
from hh_exporter._collector.store import EventRow, SessionRow, Store
from hh_exporter._collector.validation import (
    MODEL_EVENT,
    MODEL_EVENT_BATCH_REQUEST,
    MODEL_EVENT_REQUEST,
    V1_EVENT,
    V1_EVENT_BATCH,
)
from hh_exporter.events import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Handler

    from hh_exporter._clock import Clock

__all__ = ["Routes"]

_ERROR_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_encoding",
    503: "unavailable",
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
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
        app.router.add_post("/events/model", self.create_model_event)
        app.router.add_post("/events/model/batch", self.create_model_event_batch)
        app.router.add_post("/v1/events", self.create_event)
        app.router.add_post("/v1/events/batch", self.create_event_batch)
        Reading(self.store, self.clock).add_to(app)
        return app

    async def create_model_event(self, request: web.Request) -> web.Response:
        """
        Store one legacy event, or refuse the request.
        """
        body = await read_body(request, MODEL_EVENT_REQUEST)
        [event_id] = await self._create(request, [body["model_event"]])
        return _json({"event_id": event_id, "success": True})

    async def create_model_event_batch(self, request: web.Request) -> web.Response:
        """
        Store the good events of a legacy batch, and say what is wrong with the others.

        As the API answers a batch that it creates in part: 500, and success.
        """
        body = await read_body(request, MODEL_EVENT_BATCH_REQUEST)
        events: list[dict[str, Any]] = []
        errors: list[str] = []
        for index, event in enumerate(body["model_events"]):
            problem = MODEL_EVENT.problem(event)
            if problem is None:
                events.append(event)
            else:
                errors.append(f"model_events[{index}]: {problem}")
        event_ids = await self._create(request, events, shared_session(body, events))
        if errors:
            answer = {"event_ids": event_ids, "errors": errors, "success": True}
            return _json(answer, status=500)
        return _json({"event_ids": event_ids, "success": True})

    async def create_event(self, request: web.Request) -> web.Response:
        """
        Store one v1 event, or refuse the request.
        """
        body = await read_body(request, V1_EVENT)
        [event_id] = await self._create(request, [body])
        return _json({"event_id": event_id, "success": True})

    async def create_event_batch(self, request: web.Request) -> web.Response:
        """
        Store a v1 batch, or refuse it as a whole.
        """
        body = await read_body(request, V1_EVENT_BATCH)
        session = shared_session(body, body["events"])
        event_ids = await self._create(request, body["events"], session)
        answer = {"event_ids": event_ids, "success": True}
        return _json(answer if session is None else {**answer, "session_id": session.session_id})

    async def _create(
        self, request: web.Request, events: Iterable[dict[str, Any]], session: Session | None = None
    ) -> list[str]:
        time = int(self.clock.wall() * 1000)
        rows = [
            EventRow(
                event=encode(event),
                event_id=event.get("event_id", new_id()),
                session_id=event.get("session_id", session.session_id if session else new_id()),
                path=request.path,
                time=time,
            )
            for event in events
        ]
        described = None
        if session is not None:
            described = SessionRow(encode(session.properties), session.session_id, time)
        await self.store.add(rows, described)
        return [row.event_id for row in rows]


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
