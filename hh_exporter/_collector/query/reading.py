"""
GET /api: what is stored, for the page and for programs.

Nothing here changes anything, and no answer is larger than one event or a thousand
summaries, except for exports, which are sent while they are read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import orjson
from aiohttp import web
from attrs import asdict, frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.query.charts import MAX_BUCKETS, Buckets, facets, series, stats, totals
from hh_exporter._collector.query.news import tell
from hh_exporter._collector.query.parameters import (
    FILTERS,
    at_least,
    read_filter,
    read_query,
    refuse,
)
from hh_exporter._collector.query.sessions import NEWEST_FIRST, SESSION_KEYS, grouped
from hh_exporter._collector.query.sorting import EVENT_KEYS, ranked, read_mark, read_order
from hh_exporter._collector.query.stream import Stream
from hh_exporter._collector.storage.lists import one_event, one_session, page
from hh_exporter._collector.storage.reader import TooMuchError
from hh_exporter._version import __version__

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable

    from hh_exporter._clock import Clock
    from hh_exporter._collector.query.sorting import Ranked
    from hh_exporter._collector.storage.lists import Page
    from hh_exporter._collector.storage.rows import EventRow, SessionRow
    from hh_exporter._collector.storage.store import Store

    P = ParamSpec("P")
    T = TypeVar("T")
    RowT = TypeVar("RowT", EventRow, SessionRow)

__all__ = ["Reading"]

_MAX_EVENTS = 1000
_DEFAULT_EVENTS = 100
_DEFAULT_BUCKETS = 100
_LIMIT = {"limit": at_least(1, _MAX_EVENTS)}
_AFTER = {"after": at_least(0)}
_BEFORE = {"sort": read_order(EVENT_KEYS), "before": at_least(0)}
_SORTED = {"sort": read_order(EVENT_KEYS), "before": read_mark}
_SESSIONS_SORTED = {"sort": read_order(SESSION_KEYS), "before": read_mark}


@frozen
class Reading:
    """
    The handlers, around the store that they read.
    """

    store: Store
    clock: Clock

    def add_to(self, app: web.Application) -> None:
        """
        Serve them in *app*, until it shuts down.
        """
        for path, handler in {
            "/api/events": self.list_events,
            "/api/events/{id:[0-9]{1,18}}": self.show_event,
            "/api/sessions": self.list_sessions,
            "/api/sessions/{session_id:(?s:.*)}": self.show_session,
            "/api/totals": self.show_totals,
            "/api/news": self.show_news,
            "/api/filter": self.check_filter,
            "/api/facets": self.count_facets,
            "/api/series": self.count_series,
            "/api/stats": self.show_stats,
            "/api/events.jsonl": self.export_events,
            "/api/sessions.jsonl": self.export_sessions,
        }.items():
            app.router.add_get(path, handler, allow_head=False)
        Stream(self.store, self.clock).add_to(app)

    async def list_events(self, request: web.Request) -> web.Response:
        """
        Show those that are asked for in short, newest first or as *sort* says.
        """
        known = FILTERS | _LIMIT | _AFTER
        known |= _SORTED if request.query.get("sort") else _BEFORE
        values = read_query(request.query, known)
        wanted = read_filter(values)
        order = values.pop("sort", None)
        limit = values.pop("limit", _DEFAULT_EVENTS)
        found: Page | Ranked
        if order is None:
            found = await self._ask(page, wanted, limit, **values)
        else:
            found = await self._ask(ranked, wanted, order, limit, **values)
        return json_answer(asdict(found, recurse=False))

    async def show_event(self, request: web.Request) -> web.Response:
        """
        Show one event as it is now, and in short.
        """
        read_query(request.query, {})
        found = await self._ask(one_event, int(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound(text="there is no such event, or no more")
        return json_answer({"summary": found.summary, "event": orjson.Fragment(found.event)})

    async def list_sessions(self, request: web.Request) -> web.Response:
        """
        Show the sessions of the events that are asked for, with the figures of each.
        """
        values = read_query(request.query, FILTERS | _LIMIT | _SESSIONS_SORTED)
        wanted = read_filter(values)
        order = values.pop("sort", NEWEST_FIRST)
        limit = values.pop("limit", _DEFAULT_EVENTS)
        found = await self._ask(grouped, wanted, order, limit, **values)
        return json_answer(asdict(found, recurse=False))

    async def show_session(self, request: web.Request) -> web.Response:
        """
        Show a session with its events in short, oldest first.
        """
        values = read_query(request.query, _LIMIT | _AFTER)
        limit = values.pop("limit", _MAX_EVENTS)
        session_id = request.match_info["session_id"]
        found = await self._ask(one_session, session_id, limit, **values)
        if found is None:
            raise web.HTTPNotFound(text="there is no such session, or no more")
        answer = {
            "session_id": found.session_id,
            "properties": orjson.Fragment(found.properties),
            "time": found.time,
            **asdict(found.page, recurse=False),
        }
        return json_answer(answer)

    async def check_filter(self, request: web.Request) -> web.Response:
        """
        Say what is wrong with the text of a filter, for those who are typing it.
        """
        values = read_query(request.query, {"filter": str})
        try:
            FILTERS["filter"](values.get("filter", ""))
        except ValueError as exc:
            return json_answer({"problem": str(exc)})
        return json_answer({"problem": None})

    async def count_facets(self, request: web.Request) -> web.Response:
        """
        Count the values that one can filter by.
        """
        read_query(request.query, {})
        return json_answer(await self._ask(facets))

    async def count_series(self, request: web.Request) -> web.Response:
        """
        Count events, tokens, cost and time over time.
        """
        values = read_query(request.query, FILTERS | {"step": at_least(1), "by": _one_of("model")})
        wanted = read_filter(values)
        now = int(self.clock.wall() * 1000)
        until = now + 1 if wanted.until is None else wanted.until
        since = wanted.since
        if since is None:
            oldest = (await self._ask(stats))["oldest"]
            since = min(until - 1, until if oldest is None else oldest)
        if since >= until:
            refuse("until: must be after since")
        step = values.get("step", -(-(until - since) // _DEFAULT_BUCKETS))
        buckets = Buckets(since, until, step)
        if len(buckets.times) > MAX_BUCKETS:
            refuse(f"step: must make at most {MAX_BUCKETS} steps of the time")
        counted = await self._ask(series, wanted, buckets, by_model="by" in values)
        return json_answer({**asdict(buckets), "times": list(buckets.times), **counted})

    async def show_totals(self, request: web.Request) -> web.Response:
        """
        Sum up the events that are asked for.
        """
        wanted = read_filter(read_query(request.query, FILTERS))
        return json_answer(await self._ask(totals, wanted))

    async def show_news(self, request: web.Request) -> web.Response:
        """
        Show what has happened since what the query says that it knows.
        """
        values = read_query(request.query, FILTERS | _AFTER | {"updates": at_least(0)})
        wanted = read_filter(values)
        try:
            new = await tell(self.store, wanted, values.get("after"), values.get("updates"))
        except TooMuchError as exc:
            refuse(str(exc))
        return json_answer(asdict(new, recurse=False))

    async def show_stats(self, request: web.Request) -> web.Response:
        """
        Say how much is stored, where, and how much would be.
        """
        read_query(request.query, {})
        known = await self._ask(stats)
        file = None if self.store.path is None else str(self.store.path)
        return json_answer(
            {**known, "file": file, **asdict(self.store.retention), "version": __version__}
        )

    async def export_events(self, request: web.Request) -> web.StreamResponse:
        """
        Send the stored events that are asked for, one JSON object a line.
        """
        wanted = read_filter(read_query(request.query, FILTERS))
        return await _send_lines(request, self.store.events(wanted), _event_line)

    async def export_sessions(self, request: web.Request) -> web.StreamResponse:
        """
        Send all known sessions, one JSON object a line.
        """
        read_query(request.query, {})
        return await _send_lines(request, self.store.sessions(), _session_line)

    async def _ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            return await self.store.reader.ask(question, *args, **kwargs)
        except TooMuchError as exc:
            refuse(str(exc))


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


async def _send_lines(
    request: web.Request, pages: AsyncIterator[list[RowT]], line: Callable[[RowT], bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    with suppress(ConnectionError):  # it went away
        async for rows in pages:
            await response.write(b"".join(map(line, rows)))
        await response.write_eof()
    return response


def _event_line(row: EventRow) -> bytes:
    return orjson.dumps(
        {
            "event": orjson.Fragment(row.event),
            "event_id": row.event_id,
            "session_id": row.session_id,
            "path": row.path,
            "time": row.time,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _session_line(row: SessionRow) -> bytes:
    return orjson.dumps(
        {
            "session_id": row.session_id,
            "properties": orjson.Fragment(row.properties),
            "time": row.time,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
