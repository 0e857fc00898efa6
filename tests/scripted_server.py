"""
A server of model events that fails as servers do, when a test tells it to.

Speaks HTTP/1.1 on asyncio streams, since a server made by a library can't break
the protocol. The rule: every request is recorded and its events are stored
before the first byte of the answer leaves, so what a client makes of an answer
can be compared with what the server really has.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections import Counter, deque
from contextlib import suppress
from enum import Enum, auto
from http.client import responses
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias
from uuid import uuid4

from attrs import define, evolve, field, frozen

from tests.listener import Connection, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

__all__ = [
    "ERROR_TEXT",
    "Answer",
    "Event",
    "Manner",
    "Request",
    "Scripted",
    "ScriptedServer",
    "Stored",
    "created",
    "created_broken_body",
    "created_cut_short",
    "created_html",
    "created_listing",
    "created_without_body",
    "foreign_ids",
    "hang",
    "hang_after_storing",
    "html",
    "limit_bytes",
    "partly",
    "redirect",
    "refuse_if",
    "reset_after_storing",
    "reset_before_storing",
    "status",
    "too_many",
    "trickle",
    "truncated_headers",
    "unavailable",
]

Event: TypeAlias = dict[str, Any]

ERROR_TEXT = "missing model"
"""What the server says of an event that it can't create."""

PATIENCE = 30.0
"""Seconds until a wait for the client fails; a guard against tests that hang."""

_ROUTES: dict[str, Callable[[Any], Any]] = {
    "/events/model": lambda body: [body["model_event"]],
    "/events/model/batch": lambda body: body["model_events"],
    "/events": lambda body: [body["event"]],
    "/events/batch": lambda body: body["events"],
    # A bare event is told from a wrapper by its type, which every such event has.
    "/v1/events": lambda body: [body] if "event_type" in body else None,
    "/v1/events/batch": lambda body: body["events"],
}
"""How to find the events in the body of a POST to each path."""

_UPDATED = re.compile("/events|/v1/events/[^/]+")
"""Where a PUT updates an event."""

_REQUEST_LINE = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_UNFINISHED = re.compile(rb"[A-Z]+( |\Z)")


@frozen(kw_only=True)
class Request:
    """
    One request, fully read.

    Attributes:
        path: The target as sent, query included.
        headers: By lower-case name; repeated ones are joined with a comma.
        body: The bytes as sent, compressed if the client compressed them.
        json: The parsed body.
        events: The events in it; empty at a path that takes none.
        update: What it adds to an event; None unless it is a PUT.
        connection: Which TCP connection brought it; the first is 1.
    """

    method: str
    path: str
    # Payloads and keys stay out of what pytest prints.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    json: Any = field(repr=False)
    events: list[Event] = field(repr=False)
    update: Event | None = field(repr=False)
    connection: int


class Manner(Enum):
    """
    How an answer leaves the server.
    """

    WHOLE = auto()
    """At once."""
    HELD = auto()
    """Once the test releases it."""
    TRICKLED = auto()
    """The headers at once, then one byte of the body for each release."""
    CUT_SHORT = auto()
    """The headers and half of the body; then the connection is closed."""
    CUT_IN_HEADERS = auto()
    """Half of the headers; then the connection is closed."""
    RESET = auto()
    """Not at all: the connection is reset."""


@frozen
class Stored:
    """
    An event in the server's store.

    Attributes:
        event_id: What the server calls it.
        event: The event as it was sent.
    """

    event_id: str
    event: Event = field(repr=False)


@frozen(kw_only=True)
class Answer:
    """
    What the server does with one request.

    Attributes:
        headers: In addition to Content-Type and Content-Length. With
            `("Connection", "close")` the server closes after the answer.
        stores: The events that exist from now on, whatever the answer says.
        update: What is true of an event from now on, likewise.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    stores: tuple[Stored, ...] = ()
    update: Event | None = field(default=None, repr=False)
    manner: Manner = Manner.WHOLE

    @property
    def head(self) -> bytes:
        """
        Write the status line and the headers as they go over the wire.
        """
        fields = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            *self.headers,
        ]
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in fields]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")

    @property
    def closes(self) -> bool:
        """
        Tell whether this answer is the last one on its connection.
        """
        return (
            self.manner not in (Manner.WHOLE, Manner.HELD, Manner.TRICKLED)
            or ("Connection", "close") in self.headers
        )


Scripted: TypeAlias = "Answer | Callable[[Request], Scripted]"
"""An answer, or a function that finds one by what is in the request."""


def created() -> Scripted:
    """
    Store all events and list their ids.
    """
    return _create


def created_without_body() -> Scripted:
    """
    Store all events and answer 200 with nothing.
    """
    return lambda request: evolve(_create(request), body=b"")


def created_broken_body() -> Scripted:
    """
    Store all events and answer 200 with half of the JSON, in lawful HTTP.
    """

    def answer(request: Request) -> Answer:
        whole = _create(request)
        return evolve(whole, body=whole.body[: len(whole.body) // 2])

    return answer


def created_cut_short() -> Scripted:
    """
    Store all events and close the connection in the middle of the body of a 200.
    """
    return lambda request: evolve(_create(request), manner=Manner.CUT_SHORT)


def created_listing(ids: Iterable[str]) -> Scripted:
    """
    Store all events and answer 200, but list *ids*, whatever was stored.

    A route for one event has room for the first of them only.
    """
    listed = list(ids)
    return lambda request: evolve(_create(request), body=_listing(request, listed))


def created_html() -> Scripted:
    """
    Store all events and answer 200 with a page; `html(200)` stores nothing.
    """

    def answer(request: Request) -> Answer:
        page = html(200)
        return evolve(_create(request), body=page.body, content_type=page.content_type)

    return answer


def partly(
    bad: Callable[[Event], bool],
    *,
    shuffle: bool = False,
    errors: bool = True,
    status: int = 500,
) -> Scripted:
    """
    Store all events but the bad ones, and list those that were stored.

    A request without a bad event is answered as by `created`. On every route the
    body has the shape that a batch route gives to a partial success.

    Args:
        bad: Tells which events can't be created.
        shuffle: List the ids in another order than the request's: the last first.
        errors: Give `ERROR_TEXT` once for each bad event; else leave the key out.
        status: The status of a partial success.
    """

    def answer(request: Request) -> Answer:
        good = [event for event in request.events if not bad(event)]
        missing = len(request.events) - len(good)
        if not missing:
            return _create(request)
        stores = _under_own_ids(good)
        ids = [stored.event_id for stored in stores]
        if shuffle:
            ids.reverse()
        texts = [ERROR_TEXT] * missing if errors else None
        return Answer(status=status, body=_partial(ids, texts), stores=stores)

    return answer


def foreign_ids(status: int = 500) -> Scripted:
    """
    Store all events under ids of the server's own, and list those with one error.
    """

    def answer(request: Request) -> Answer:
        stores = tuple(Stored(_new_id(), event) for event in request.events)
        ids = [stored.event_id for stored in stores]
        return Answer(status=status, body=_partial(ids, [ERROR_TEXT]), stores=stores)

    return answer


def status(
    code: int,
    body: bytes = b"",
    content_type: str = "application/json",
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """
    Store nothing and answer *code*.
    """
    return Answer(status=code, body=body, content_type=content_type, headers=tuple(headers))


def unavailable(retry_after: float | str | None = None) -> Answer:
    """
    Store nothing and answer 503.

    Args:
        retry_after: Seconds or an HTTP date; None leaves the header out.
    """
    return status(503, headers=() if retry_after is None else _retry_after(retry_after))


def too_many(retry_after: float | str) -> Answer:
    """
    Store nothing and answer 429, with *retry_after* in seconds or as an HTTP date.
    """
    return status(429, headers=_retry_after(retry_after))


def html(code: int) -> Answer:
    """
    Store nothing and answer *code* with a page, as proxies do.
    """
    page = f"<html><body><h1>{code}</h1></body></html>".encode()
    return status(code, page, "text/html; charset=utf-8")


def redirect(location: str, code: int = 307) -> Answer:
    """
    Store nothing and send the client to *location*.
    """
    return status(code, headers=[("Location", location)])


def reset_before_storing() -> Answer:
    """
    Store nothing and reset the connection (RST, not FIN).
    """
    return Answer(manner=Manner.RESET)


def reset_after_storing() -> Scripted:
    """
    Store all events and reset the connection: the client can't know.
    """
    return lambda request: evolve(_create(request), manner=Manner.RESET)


def hang() -> Answer:
    """
    Store nothing and stay silent; once released, answer 503.
    """
    return evolve(unavailable(), manner=Manner.HELD)


def hang_after_storing() -> Scripted:
    """
    Store all events and stay silent; once released, answer 200.
    """
    return lambda request: evolve(_create(request), manner=Manner.HELD)


def trickle() -> Scripted:
    """
    Store all events and send the body of the 200 one byte for each release.
    """
    return lambda request: evolve(_create(request), manner=Manner.TRICKLED)


def truncated_headers() -> Scripted:
    """
    Store all events and close the connection in the middle of the headers of a 200.
    """
    return lambda request: evolve(_create(request), manner=Manner.CUT_IN_HEADERS)


def refuse_if(bad: Callable[[Event], bool]) -> Scripted:
    """
    Refuse a whole request for one bad event with 400; else store it.
    """
    refusal = status(400, _dump({"message": ERROR_TEXT, "errorCode": "invalid_event"}))
    return lambda request: refusal if any(map(bad, request.events)) else _create(request)


def limit_bytes(n: int) -> Scripted:
    """
    Refuse bodies of more than *n* bytes, as sent, with 413; else store them.
    """
    refusal = status(413, _dump({"message": f"a body has at most {n} bytes"}))
    return lambda request: refusal if len(request.body) > n else _create(request)


@define(eq=False, repr=False)
class ScriptedServer(Listener):
    """
    A server on 127.0.0.1 that answers as scripted and remembers everything.

    Use it as an async context manager; leaving it closes every connection and
    raises AssertionError if a client broke the protocol: what is no HTTP/1.1,
    has no Content-Length, or no JSON of the route's shape as its body. Such a
    request is in `failures`, not in `requests`, and takes no answer from the
    script. Other paths are answered 404 and other methods 405, past the script.

    Attributes:
        default: What answers once the script is used up.
        created: Every event stored, in order, duplicates included, each with
            the event_id under which the server has it.
        updated: Every update stored, in order, duplicates included.
        requests: Every lawful request, in order of arrival.
        failures: What clients did wrong. Clear it if that was the point.
    """

    default: Scripted = field(factory=created)
    created: list[Event] = field(init=False, factory=list)
    updated: list[Event] = field(init=False, factory=list)
    requests: list[Request] = field(init=False, factory=list)
    failures: list[str] = field(init=False, factory=list)
    _script: deque[Scripted] = field(init=False, factory=deque)
    _sent_ids: Counter[str] = field(init=False, factory=Counter)
    _awaited: int = field(init=False, default=0)
    _changed: asyncio.Event = field(init=False, factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        if self.failures:
            if error is None:
                self._raise_failures()
            error.add_note("\n".join(self.failures))

    @property
    def created_ids(self) -> list[str]:
        """
        List the ids of the stored events, in order, duplicates included.
        """
        return [event["event_id"] for event in self.created]

    def duplicates(self) -> set[str]:
        """
        Find the event_ids under which clients had an event stored more than once.

        Also where the server gave the copies ids of its own (`foreign_ids`).
        """
        return {event_id for event_id, times in self._sent_ids.items() if times > 1}

    def script(self, *answers: Scripted) -> None:
        """
        Queue *answers* behind those queued before, one for each request.
        """
        self._script.extend(answers)

    def release(self) -> None:
        """
        Let every held answer go, and one more byte of every trickled one.

        Concerns the requests received by now; those that come later are held anew.
        """
        for connection in self._open:
            connection.gate.release()

    async def next_request(self) -> Request:
        """
        Wait for the next request that no call of this method returned before.

        Returns before a client of the same loop can see the answer, and with the
        events stored, if they are. Raises AssertionError if a client breaks the
        protocol meanwhile or stays silent for `PATIENCE` seconds.
        """
        await self._until("another request", lambda: len(self.requests) > self._awaited)
        self._awaited += 1
        return self.requests[self._awaited - 1]

    async def requests_seen(self, n: int) -> None:
        """
        Wait until *n* requests in all have arrived; raises as `next_request` does.
        """
        await self._until(f"{n} requests", lambda: len(self.requests) >= n)

    async def disconnected(self) -> None:
        """
        Wait until no connection is open; raises as `next_request` does.
        """
        await self._until("the connections to close", lambda: not self._conversations)

    async def _serve(self, connection: Connection) -> bool:
        try:
            request = await _read(connection)
        except _BadRequestError as error:
            self._fail(str(error))
            refusal = status(400, headers=[("Connection", "close")])
            return await _send(refusal, connection, last=True)
        connection.gate = asyncio.Semaphore(0)
        self.requests.append(request)
        self._notify()
        answer = self._find_answer(request)
        for stored in answer.stores:
            self.created.append({**stored.event, "event_id": stored.event_id})
            self._sent_ids[stored.event.get("event_id") or stored.event_id] += 1
        if answer.update is not None:
            self.updated.append(answer.update)
        last = request.headers.get("connection", "").lower() == "close"
        return await _send(answer, connection, last=last)

    def _find_answer(self, request: Request) -> Answer:
        is_update = request.method == "PUT" and _UPDATED.fullmatch(request.path)
        if not is_update and request.path not in _ROUTES:
            return status(404)
        if not is_update and request.method != "POST":
            return status(405, headers=[("Allow", "POST")])
        answer = self._script.popleft() if self._script else self.default
        try:
            while not isinstance(answer, Answer):
                answer = answer(request)
        except Exception as error:
            # Not as it is: an EOFError of the script is no client that has gone.
            raise RuntimeError("the script has no answer") from error
        return answer

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        self._notify()

    def _raise_failures(self) -> NoReturn:
        raise AssertionError("\n".join(self.failures))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, what: str, happened: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not happened():
                    if self.failures:
                        self._raise_failures()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"waited {PATIENCE:g} s for {what}; {len(self.requests)} requests arrived"
            ) from None


class _BadRequestError(Exception):
    """
    A client sent what this server does not take; the text says what.
    """


async def _read(connection: Connection) -> Request:
    """
    Read one request.

    Raises _BadRequestError, and EOFError or ConnectionError if the client goes
    away before it has sent everything.
    """
    try:
        head = await connection.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial and not _UNFINISHED.match(error.partial):
            raise _BadRequestError(f"not HTTP/1.1: {error.partial[:80]!r}") from None
        raise
    except asyncio.LimitOverrunError:
        raise _BadRequestError("not HTTP/1.1: headers without an end") from None
    method, path, headers = _parse_head(head.decode("latin-1"))
    where = f"{method} {path}"
    if "transfer-encoding" in headers:
        raise _BadRequestError(f"{where}: Transfer-Encoding {headers['transfer-encoding']}")
    length = headers.get("content-length", "")
    if not re.fullmatch("[0-9]+", length):
        raise _BadRequestError(f"{where}: no Content-Length")
    body = await connection.reader.readexactly(int(length))
    try:
        parsed = _parse_body(body, headers.get("content-encoding"))
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise _BadRequestError(f"{where}: the body is not JSON ({error})") from None
    return Request(
        method=method,
        path=path,
        headers=headers,
        body=body,
        json=parsed,
        events=_events(path, parsed) if method == "POST" else [],
        update=parsed if method == "PUT" else None,
        connection=connection.number,
    )


def _parse_head(head: str) -> tuple[str, str, dict[str, str]]:
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    target = _REQUEST_LINE.fullmatch(line)
    if target is None:
        raise _BadRequestError(f"not HTTP/1.1: {line[:80]!r}")
    headers: dict[str, str] = {}
    for text in fields:
        named = _FIELD.fullmatch(text)
        if named is None:
            raise _BadRequestError(f"{target[1]} {target[2]}: a header that is none")
        name = named[1].lower()
        headers[name] = f"{headers[name]}, {named[2]}" if name in headers else named[2]
    return target[1], target[2], headers


def _parse_body(body: bytes, encoding: str | None) -> Any:
    """
    Parse *body* as strictly as RFC 8259 does; `json` alone takes NaN and surrogates.
    """
    if encoding == "gzip":
        body = gzip.decompress(body)
    return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _events(path: str, parsed: Any) -> list[Event]:
    if path not in _ROUTES:
        return []
    with suppress(KeyError, TypeError):
        events = _ROUTES[path](parsed)
        if isinstance(events, list) and all(isinstance(event, dict) for event in events):
            return events
    raise _BadRequestError(f"{path}: the body has no events")


async def _send(answer: Answer, connection: Connection, *, last: bool) -> bool:
    """
    Answer in the answer's manner; return whether the connection can go on.
    """
    head, body, writer = answer.head, answer.body, connection.writer
    match answer.manner:
        case Manner.WHOLE:
            writer.write(head + body)
        case Manner.HELD:
            await connection.released()
            writer.write(head + body)
        case Manner.TRICKLED:
            writer.write(head)
            for i in range(len(body)):
                await connection.released()
                writer.write(body[i : i + 1])
        case Manner.CUT_SHORT:
            writer.write(head + body[: len(body) // 2])
        case Manner.CUT_IN_HEADERS:
            writer.write(head[: len(head) // 2])
        case Manner.RESET:
            connection.reset()
    await writer.drain()
    return not last and not answer.closes


def _create(request: Request) -> Answer:
    stores = _under_own_ids(request.events)
    ids = [stored.event_id for stored in stores]
    return Answer(body=_listing(request, ids), stores=stores, update=request.update)


def _under_own_ids(events: Iterable[Event]) -> tuple[Stored, ...]:
    return tuple(Stored(event.get("event_id") or _new_id(), event) for event in events)


def _new_id() -> str:
    return str(uuid4())


def _listing(request: Request, ids: list[str]) -> bytes:
    if request.path.endswith("/batch"):
        return _dump({"event_ids": ids, "success": True})
    return _dump({"event_id": ids[0], "success": True} if ids else {"success": True})


def _partial(ids: list[str], errors: list[str] | None) -> bytes:
    # "success" is true, as in the vendor's own example of a partial success.
    texts = {} if errors is None else {"errors": errors}
    return _dump({"event_ids": ids, **texts, "success": True})


def _retry_after(value: float | str) -> list[tuple[str, str]]:
    return [("Retry-After", str(value))]


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()
