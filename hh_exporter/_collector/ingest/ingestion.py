"""
The routes that accept events and sessions, legacy and v1.

An answer calls something created only once its row is committed. What a fault
refuses is not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web
from attrs import frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.ingest.calls import Call, Calls, is_uuid, uuid_in_path
from hh_exporter._collector.ingest.validation import (
    EVENT,
    EVENT_BATCH_REQUEST,
    EVENT_REQUEST,
    MODEL_EVENT,
    MODEL_EVENT_BATCH_REQUEST,
    MODEL_EVENT_REQUEST,
    SESSION_START_REQUEST,
    SESSION_TRACES,
    V1_EVENT,
    V1_EVENT_BATCH,
    V1_SESSION,
    V1_SESSION_EVENT_BATCH,
    Schema,
)
from hh_exporter._collector.storage.encoding import encode
from hh_exporter._collector.storage.sessions import Session, described_by, shared_session
from hh_exporter._collector.storage.store import EventRow, SessionRow, Store
from hh_exporter.events import new_id

if TYPE_CHECKING:
    from hh_exporter._clock import Clock

__all__ = ["Ingestion"]

Json: TypeAlias = dict[str, Any]

_NOWHERE = {"org_id": "local", "workspace_id": "local", "project_id": "local"}
"""Of a session's answer: what an official client insists on, and this machine has not."""


@frozen
class Ingestion:
    """
    The handlers, around the store that they fill.
    """

    store: Store
    clock: Clock
    calls: Calls

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve them.
        """
        for path, schema, handle in (
            ("/events/model", MODEL_EVENT_REQUEST, self.create_model_event),
            ("/events/model/batch", MODEL_EVENT_BATCH_REQUEST, self.create_model_event_batch),
            ("/events", EVENT_REQUEST, self.create_wrapped_event),
            ("/events/batch", EVENT_BATCH_REQUEST, self.create_wrapped_event_batch),
            ("/session/start", SESSION_START_REQUEST, self.start_session),
            ("/v1/events", V1_EVENT, self.create_event),
            ("/v1/events/batch", V1_EVENT_BATCH, self.create_event_batch),
            ("/v1/sessions", V1_SESSION, self.create_session),
            (
                "/v1/sessions/{session_id}/events/batch",
                V1_SESSION_EVENT_BATCH,
                self.create_session_event_batch,
            ),
            ("/session/{session_id}/traces", SESSION_TRACES, self.add_traces),
        ):
            app.router.add_post(path, self.calls.taking(schema, handle))

    async def create_model_event(self, call: Call[Json]) -> web.Response:
        """
        Store one legacy event, or refuse the request.
        """
        return await self._create_one(call, call.body["model_event"])

    async def create_model_event_batch(self, call: Call[Json]) -> web.Response:
        """
        Store the good events of a legacy batch, and say what is wrong with the others.
        """
        return await self._create_good(call, "model_events", MODEL_EVENT)

    async def create_wrapped_event(self, call: Call[Json]) -> web.Response:
        """
        Store one event, or refuse the request.
        """
        return await self._create_one(call, call.body["event"])

    async def create_wrapped_event_batch(self, call: Call[Json]) -> web.Response:
        """
        Store the good events of a batch, and say what is wrong with the others.
        """
        return await self._create_good(call, "events", EVENT)

    async def create_event(self, call: Call[Json]) -> web.Response:
        """
        Store one v1 event, or refuse the request.
        """
        return await self._create_one(call, call.body)

    async def create_event_batch(self, call: Call[Json]) -> web.Response:
        """
        Store a v1 batch, or refuse it as a whole.
        """
        session = shared_session(call.body, call.body["events"])
        return await self._create_many(call, call.body["events"], session, is_told=True)

    async def create_session_event_batch(self, call: Call[Json]) -> web.Response:
        """
        Store a v1 batch in the session that the path names, or refuse it as a whole.

        The answer names no event.
        """
        session_id = uuid_in_path(call.request, "session_id")
        answer = await self._create_many(call, call.body["events"], Session(session_id, {}))
        return answer if answer.status != web.HTTPOk.status_code else json_answer({"success": True})

    async def add_traces(self, call: Call[Json]) -> web.Response:
        """
        Store events in the session that the path names, as the deprecated route does.
        """
        session_id = uuid_in_path(call.request, "session_id")
        events = call.body.get("events", call.body.get("logs"))
        if events is None or {"events", "logs"} <= call.body.keys():
            raise web.HTTPBadRequest(text="body: must have either events or logs")
        answer = await self._create_many(call, events, Session(session_id, {}))
        return answer if answer.status != web.HTTPOk.status_code else json_answer({"success": True})

    async def start_session(self, call: Call[Json]) -> web.Response:
        """
        Note a session of the legacy dialect; an id that is no UUID is replaced, as the API does.
        """
        return await self._note_session(call.body["session"])

    async def create_session(self, call: Call[Json]) -> web.Response:
        """
        Note a session of the v1 dialect; an id that is no UUID is replaced, as the API does.
        """
        return await self._note_session(call.body)

    async def _create_one(self, call: Call[Json], event: Json) -> web.Response:
        [event_id] = await self._create(call, [event])
        return json_answer({"event_id": event_id, "success": True})

    async def _create_good(self, call: Call[Json], key: str, schema: Schema) -> web.Response:
        events: list[Json] = []
        errors: list[str] = []
        for index, event in enumerate(call.body[key]):
            problem = schema.problem(event)
            if problem is None:
                events.append(event)
            else:
                errors.append(f"{key}[{index}]: {problem}")
        session = shared_session(call.body, events)
        # Of the legacy routes one alone is described to say which session it was.
        return await self._create_many(call, events, session, errors, is_told=key == "events")

    async def _create_many(
        self,
        call: Call[Json],
        events: list[Json],
        session: Session | None,
        errors: list[str] | None = None,
        *,
        is_told: bool = False,
    ) -> web.Response:
        """
        Store *events*, and answer as the API does a batch that it creates in part, if it is one.
        """
        errors = errors or []
        if call.is_partial:
            errors += ["refused by the fault: partial"] * (len(events) // 2)
            events = events[::2]
        event_ids = await self._create(call, events, session)
        answer = {"event_ids": event_ids, "success": True}
        if errors:
            return json_answer({**answer, "errors": errors}, status=500)
        if session is not None and is_told:
            answer["session_id"] = session.session_id
        return json_answer(answer)

    async def _create(
        self, call: Call[Json], events: list[Json], session: Session | None = None
    ) -> list[str]:
        time = int(self.clock.wall() * 1000)
        path = call.route
        described = [described_by(event) for event in events]
        rows = [
            EventRow(
                event=encode(event),
                event_id=event.get("event_id", told.session_id if told else new_id()),
                session_id=event.get("session_id", session.session_id if session else new_id()),
                path=path,
                time=time,
            )
            for event, told in zip(events, described, strict=True)
        ]
        await self.store.add(
            rows,
            *(
                SessionRow(encode(one.properties), one.session_id, time)
                for one in (*described, session)
                if one is not None
            ),
        )
        return [row.event_id for row in rows]

    async def _note_session(self, said: Json) -> web.Response:
        session_id = said.get("session_id", "")
        session = Session(session_id if is_uuid(session_id) else new_id(), said)
        time = int(self.clock.wall() * 1000)
        row = SessionRow(encode(session.properties), session.session_id, time)
        await self.store.add([], row)
        ids = {"session_id": session.session_id, "event_id": session.session_id}
        return json_answer({**session.properties, "event_type": "session", **ids, **_NOWHERE})
