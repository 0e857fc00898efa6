"""
The scripted server does to a client what each answer says, and nothing else.

What the store holds is always checked beside what the client was told: the two
differ on purpose.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import frozen

from tests import scripted_server
from tests.scripted_server import (
    ERROR_TEXT,
    Answer,
    Event,
    Manner,
    Request,
    Scripted,
    ScriptedServer,
    created,
    created_broken_body,
    created_cut_short,
    created_html,
    created_listing,
    created_without_body,
    foreign_ids,
    hang,
    hang_after_storing,
    html,
    limit_bytes,
    partly,
    redirect,
    refuse_if,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
    trickle,
    truncated_headers,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

SINGLE = "/events/model"
BATCH = "/events/model/batch"
V1_SINGLE = "/v1/events"
V1_BATCH = "/v1/events/batch"
PATIENCE = 30.0  # seconds; a guard against tests that hang
HTTP_DATE = "Fri, 31 Dec 2027 23:59:59 GMT"


@pytest_asyncio.fixture(autouse=True)
async def debug_mode() -> None:
    asyncio.get_running_loop().set_debug(True)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest_asyncio.fixture
async def client(server: ScriptedServer) -> AsyncIterator[aiohttp.ClientSession]:
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(server.url, timeout=patience) as client:
        yield client


@frozen
class Reply:
    """
    What a client made of one answer.
    """

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def post(client: aiohttp.ClientSession, path: str, body: object) -> Reply:
    async with client.post(path, json=body, allow_redirects=False) as response:
        body = await response.read()
        return Reply(response.status, response.headers, response.content_type, body)


async def post_one(client: aiohttp.ClientSession, event: Event) -> Reply:
    return await post(client, SINGLE, {"model_event": event})


async def post_batch(client: aiohttp.ClientSession, *ids: str) -> Reply:
    return await post(client, BATCH, {"model_events": [model_event(name) for name in ids]})


def model_event(event_id: str) -> Event:
    return {"event_id": event_id, "model": "gpt-4o", "messages": []}


def is_bad(event: Event) -> bool:
    return str(event["event_id"]).startswith("bad")


def raw_request(body: bytes, path: str = BATCH, fields: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    return head.encode() + body


async def send_raw(server: ScriptedServer, raw: bytes) -> bytes:
    """
    Send *raw* and nothing more, and read until the server closes.
    """
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(raw)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def leave_after(server: ScriptedServer, raw: bytes) -> None:
    """
    Send *raw* and go away without waiting for an answer.
    """
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    writer.close()
    await writer.wait_closed()
    await server.disconnected()


async def loop_turn() -> None:
    """
    Let the loop run once all that is ready.
    """
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


# What is stored and answered by default


async def test_batch_is_stored_and_its_ids_are_listed(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The batch route stores what it got, in order, and lists the clients' ids.
    """
    reply = await post_batch(client, "a", "b")

    assert reply.status == 200
    assert reply.content_type == "application/json"
    assert reply.json == {"event_ids": ["a", "b"], "success": True}
    assert server.created == [model_event("a"), model_event("b")]
    assert server.created_ids == ["a", "b"]


async def test_single_event_is_stored_and_its_id_is_named(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The single route stores its event and answers with one id.
    """
    reply = await post_one(client, model_event("a"))

    assert (reply.status, reply.json) == (200, {"event_id": "a", "success": True})
    assert server.created == [model_event("a")]


async def test_event_without_id_is_given_one(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The server makes an id for an event that brings none, another one each time.
    """
    first = await post_one(client, {"model": "gpt-4o"})
    second = await post_one(client, {"model": "gpt-4o"})

    assert server.created_ids == [first.json["event_id"], second.json["event_id"]]
    assert len(set(server.created_ids)) == 2
    assert not server.duplicates()


async def test_duplicates_are_kept_and_named(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    An event that comes twice is stored twice, in one request or in several.
    """
    await post_batch(client, "a", "b", "c", "c")
    await post_batch(client, "a")

    assert server.created_ids == ["a", "b", "c", "c", "a"]
    assert server.duplicates() == {"a", "c"}


@pytest.mark.parametrize(
    "answer",
    [
        created(),
        created_without_body(),
        created_listing(["odd", "a"]),
        created_listing([]),
        created_html(),
        partly(is_bad),
        partly(is_bad, shuffle=True, status=207),
        partly(is_bad, errors=False),
        refuse_if(is_bad),
        limit_bytes(1),
        unavailable(),
    ],
)
async def test_v1_routes_behave_as_the_others(
    server: ScriptedServer, client: aiohttp.ClientSession, answer: Scripted
) -> None:
    """
    The same events come to the same end, whichever routes bring them.
    """
    events = [{**model_event(name), "event_type": "model"} for name in ("a", "bad", "b")]
    ends = []
    for one, many in (
        ((SINGLE, {"model_event": events[0]}), (BATCH, {"model_events": events})),
        ((V1_SINGLE, events[0]), (V1_BATCH, {"events": events})),
    ):
        server.created.clear()
        server.script(answer, answer)
        replies = [await post(client, *one), await post(client, *many)]
        ends.append(([(r.status, r.content_type, r.body) for r in replies], [*server.created]))

    assert ends[0] == ends[1]


async def test_v1_batch_may_announce_a_session(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    What stands beside the events is recorded with the request.
    """
    session = {"single_session": True, "session_properties": {"session_name": "s"}}
    body = {"events": [model_event("a")], **session}

    await post(client, V1_BATCH, body)

    assert server.requests[0].json == body
    assert server.requests[0].events == body["events"]


# The script


async def test_script_answers_in_order_and_then_the_default(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Each request takes one answer; when none is left, the default applies.
    """
    server.script(status(503), created())
    server.script(status(401))
    server.default = status(418)

    replies = [await post_batch(client, "a") for _ in range(5)]

    assert [reply.status for reply in replies] == [503, 200, 401, 418, 418]
    assert server.created_ids == ["a"]


async def test_function_decides_by_what_is_in_the_request(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A function may return an answer or what one of the factories made.
    """

    def answer(request: Request) -> Scripted:
        return status(413) if len(request.events) > 1 else created()

    server.default = answer

    assert (await post_batch(client, "a", "b")).status == 413
    assert (await post_batch(client, "a")).status == 200
    assert server.created_ids == ["a"]


async def test_other_paths_and_methods_take_no_answer(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    What the API does not serve is recorded and refused, and the script waits.
    """
    server.script(status(503))

    async with client.put(BATCH, json={"model_events": []}) as response:
        assert response.status == 405
    assert (await post(client, "/elsewhere", {"model_event": {}})).status == 404
    assert (await post_batch(client, "a")).status == 503

    assert [(request.method, request.path) for request in server.requests] == [
        ("PUT", BATCH),
        ("POST", "/elsewhere"),
        ("POST", BATCH),
    ]
    assert server.requests[1].events == []


# Odd answers to what was created


async def test_created_without_body_says_nothing(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    An empty 200 has stored everything.
    """
    server.script(created_without_body())

    reply = await post_batch(client, "a", "b")

    assert (reply.status, reply.body) == (200, b"")
    assert server.created_ids == ["a", "b"]


async def test_created_broken_body_is_whole_for_http(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The broken JSON arrives completely, and the connection serves on.
    """
    server.script(created_broken_body())

    reply = await post_batch(client, "a", "b")
    await post_batch(client, "c")

    assert reply.status == 200
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert b'{"event_ids": ["a", "b"], "success": true}'.startswith(reply.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)
    assert server.created_ids == ["a", "b", "c"]
    assert server.connections == 1


async def test_created_cut_short_ends_in_the_body(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The client sees a 200 whose body never becomes complete.
    """
    server.script(created_cut_short())

    async with client.post(BATCH, json={"model_events": [model_event("a")]}) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()

    assert server.created_ids == ["a"]


@pytest.mark.parametrize(
    ("ids", "listed"), [([], []), (["a"], ["a"]), (["a", "b", "odd"], ["a", "b", "odd"])]
)
async def test_created_listing_lists_what_it_is_told(
    server: ScriptedServer, client: aiohttp.ClientSession, ids: list[str], listed: list[str]
) -> None:
    """
    Everything is stored, whichever ids the answer lists.
    """
    server.script(created_listing(ids))

    reply = await post_batch(client, "a", "b")

    assert (reply.status, reply.json) == (200, {"event_ids": listed, "success": True})
    assert server.created_ids == ["a", "b"]


@pytest.mark.parametrize(
    ("ids", "body"),
    [(["odd", "a"], {"event_id": "odd", "success": True}), ([], {"success": True})],
)
async def test_created_listing_names_one_id_on_the_single_route(
    server: ScriptedServer, client: aiohttp.ClientSession, ids: list[str], body: object
) -> None:
    """
    The single route has room for one id, or for none.
    """
    server.script(created_listing(ids))

    reply = await post_one(client, model_event("a"))

    assert (reply.status, reply.json) == (200, body)
    assert server.created_ids == ["a"]


async def test_created_html_stores(server: ScriptedServer, client: aiohttp.ClientSession) -> None:
    """
    A page with status 200 may hide that everything was stored.
    """
    server.script(created_html())

    reply = await post_batch(client, "a")

    assert (reply.status, reply.content_type) == (200, "text/html")
    assert reply.body.startswith(b"<html>")
    assert server.created_ids == ["a"]


# Partial success


@pytest.mark.parametrize(
    ("answer", "code", "body"),
    [
        (
            partly(is_bad),
            500,
            {"event_ids": ["a", "b", "c"], "errors": [ERROR_TEXT] * 2, "success": True},
        ),
        (
            partly(is_bad, shuffle=True),
            500,
            {"event_ids": ["c", "b", "a"], "errors": [ERROR_TEXT] * 2, "success": True},
        ),
        (partly(is_bad, errors=False), 500, {"event_ids": ["a", "b", "c"], "success": True}),
        (
            partly(is_bad, status=200),
            200,
            {"event_ids": ["a", "b", "c"], "errors": [ERROR_TEXT] * 2, "success": True},
        ),
    ],
    ids=["in-order", "shuffled", "without-errors", "status-200"],
)
async def test_partly_stores_all_but_the_bad_events(
    server: ScriptedServer,
    client: aiohttp.ClientSession,
    answer: Scripted,
    code: int,
    body: object,
) -> None:
    """
    The good events are stored in order and listed, and each bad one has its error.
    """
    server.script(answer)

    reply = await post_batch(client, "a", "bad1", "b", "bad2", "c")

    assert (reply.status, reply.json) == (code, body)
    assert server.created_ids == ["a", "b", "c"]


async def test_partly_lists_nothing_where_all_is_bad(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A single bad event is answered in the batch's shape, with an empty list.
    """
    server.default = partly(is_bad)

    batch = await post_batch(client, "bad")
    single = await post_one(client, model_event("bad"))

    assert batch.status == single.status == 500
    assert batch.json == single.json == {"event_ids": [], "errors": [ERROR_TEXT], "success": True}
    assert server.created == []


async def test_partly_creates_a_request_without_a_bad_event(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    As a default it lets the good half of a split batch through with 200.
    """
    server.default = partly(is_bad)

    reply = await post_batch(client, "a", "b")

    assert (reply.status, reply.json) == (200, {"event_ids": ["a", "b"], "success": True})


@pytest.mark.parametrize("code", [500, 200])
async def test_foreign_ids_match_none_of_the_clients(
    server: ScriptedServer, client: aiohttp.ClientSession, code: int
) -> None:
    """
    All is stored under other ids, and a second time is still a duplicate.
    """
    server.default = foreign_ids(code)

    reply = await post_batch(client, "a", "b")
    await post_batch(client, "b")

    assert reply.status == code
    assert reply.json["errors"] == [ERROR_TEXT]
    assert reply.json["event_ids"] == server.created_ids[:2]
    assert not {"a", "b"} & set(server.created_ids)
    assert len(server.created) == 3
    assert server.duplicates() == {"b"}


# Refusals


@pytest.mark.parametrize(
    ("answer", "code", "headers"),
    [
        (status(401), 401, {}),
        (status(599, headers=[("X-Odd", "1")]), 599, {"X-Odd": "1"}),
        (unavailable(), 503, {}),
        (unavailable(3), 503, {"Retry-After": "3"}),
        (unavailable(HTTP_DATE), 503, {"Retry-After": HTTP_DATE}),
        (too_many(120), 429, {"Retry-After": "120"}),
        (too_many(HTTP_DATE), 429, {"Retry-After": HTTP_DATE}),
        (html(502), 502, {"Content-Type": "text/html; charset=utf-8"}),
        (html(200), 200, {"Content-Type": "text/html; charset=utf-8"}),
        (redirect("http://127.0.0.2/"), 307, {"Location": "http://127.0.0.2/"}),
        (redirect("/elsewhere", 308), 308, {"Location": "/elsewhere"}),
    ],
)
async def test_refusal_stores_nothing(
    server: ScriptedServer,
    client: aiohttp.ClientSession,
    answer: Answer,
    code: int,
    headers: dict[str, str],
) -> None:
    """
    Status and headers arrive as scripted, nothing is stored, the connection serves on.
    """
    server.script(answer)

    reply = await post_batch(client, "a")

    assert reply.status == code
    assert headers.items() <= reply.headers.items()
    assert server.created == []
    assert (await post_batch(client, "b")).status == 200
    assert server.connections == 1


async def test_status_has_the_body_that_it_is_given(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Body and content type are the test's own.
    """
    server.script(status(500, b"\xffno\r\n\r\ntext", "application/octet-stream"))

    reply = await post_batch(client, "a")

    assert reply.body == b"\xffno\r\n\r\ntext"
    assert reply.content_type == "application/octet-stream"


async def test_unavailable_without_a_time_has_no_retry_after(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A 503 tells when to come back only if it was told.
    """
    server.script(unavailable())

    assert "Retry-After" not in (await post_batch(client, "a")).headers


async def test_refuse_if_refuses_the_whole_request(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    One bad event keeps its neighbours out; without it they are stored.
    """
    server.default = refuse_if(is_bad)

    refused = await post_batch(client, "a", "bad")
    accepted = await post_batch(client, "a")

    assert refused.status == 400
    assert refused.json.keys() == {"message", "errorCode"}
    assert accepted.status == 200
    assert server.created_ids == ["a"]


async def test_limit_bytes_counts_the_body_as_sent(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A body of exactly the limit passes, one byte more is refused.
    """
    await post_batch(client, "a")
    size = len(server.requests[0].body)

    server.script(limit_bytes(size), limit_bytes(size - 1))

    assert (await post_batch(client, "b")).status == 200
    assert (await post_batch(client, "c")).status == 413
    assert server.created_ids == ["a", "b"]


# Broken connections


@pytest.mark.parametrize(
    ("answer", "stored"), [(reset_before_storing(), []), (reset_after_storing(), ["a"])]
)
async def test_reset_is_an_rst(
    server: ScriptedServer, client: aiohttp.ClientSession, answer: Scripted, stored: list[str]
) -> None:
    """
    The client gets ECONNRESET and can't know whether its event was stored.
    """
    server.script(answer)

    with pytest.raises(aiohttp.ClientOSError) as caught:
        await post_batch(client, "a")

    assert caught.value.errno == errno.ECONNRESET
    assert server.created_ids == stored


async def test_truncated_headers_are_no_answer(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The client is left with half of the headers of a 200, and the event is stored.
    """
    server.script(truncated_headers(), truncated_headers())

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post_batch(client, "a")
    rest = await send_raw(server, raw_request(b'{"model_events": []}'))

    assert rest.startswith(b"HTTP/1.1 200 OK\r\nContent-")
    assert b"\r\n\r\n" not in rest
    assert server.created_ids == ["a"]


# Answers that wait


@pytest.mark.parametrize(
    ("answer", "stored", "code"), [(hang(), [], 503), (hang_after_storing(), ["a"], 200)]
)
async def test_hanging_request_is_answered_once_released(
    server: ScriptedServer,
    client: aiohttp.ClientSession,
    answer: Scripted,
    stored: list[str],
    code: int,
) -> None:
    """
    The request is known and its events are stored or not long before the answer.
    """
    server.script(answer)
    posting = asyncio.create_task(post_batch(client, "a"))

    request = await server.next_request()
    assert [event["event_id"] for event in request.events] == ["a"]
    assert server.created_ids == stored
    await post_batch(client, "other")  # a whole round trip, and still no answer
    assert not posting.done()
    server.release()

    assert (await posting).status == code


async def test_release_lets_go_only_what_hangs_now(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A later request on a released connection hangs anew.
    """
    server.default = hang()
    server.release()
    first = asyncio.create_task(post_batch(client, "a"))
    await server.next_request()
    server.release()
    server.release()
    await first

    second = asyncio.create_task(post_batch(client, "b"))
    await server.next_request()
    server.script(created())
    await post_batch(client, "other")

    assert not second.done()
    assert server.requests[0].connection == server.requests[1].connection
    server.release()
    assert (await second).status == 503


async def test_every_hanging_request_is_released(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    One release answers the requests of all connections.
    """
    server.default = hang_after_storing()
    async with asyncio.TaskGroup() as posts:
        for name in "abc":
            posts.create_task(post_batch(client, name))
        await server.requests_seen(3)
        assert server.open_connections == 3
        server.release()

    assert sorted(server.created_ids) == ["a", "b", "c"]


async def test_client_that_gives_up_frees_its_connection(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A request that hangs ends when its client goes away, before any release.
    """
    server.script(hang_after_storing())
    posting = asyncio.create_task(post_batch(client, "a"))
    await server.next_request()

    posting.cancel()
    await server.disconnected()
    server.release()

    assert server.open_connections == 0
    assert server.created_ids == ["a"]
    assert (await post_batch(client, "b")).status == 200


async def test_trickle_sends_a_byte_for_each_release(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    The headers come at once; the body is as far as the test let it come.
    """
    server.script(trickle())
    whole = b'{"event_ids": ["a"], "success": true}'

    async with client.post(BATCH, json={"model_events": [model_event("a")]}) as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(whole))
        server.release()
        assert await response.content.readany() == whole[:1]
        server.release()
        server.release()
        assert await response.content.readexactly(2) == whole[1:3]
        await post_batch(client, "other")
        assert response.content.read_nowait() == b""
        for _ in whole[3:]:
            server.release()
        assert await response.read() == whole[3:]

    assert server.created_ids == ["a", "other"]


async def test_trickle_ends_when_its_client_goes_away(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A client that leaves in the middle of the body leaves nothing behind.
    """
    server.script(trickle())

    async with client.post(BATCH, json={"model_events": []}) as response:
        server.release()
        await response.content.readany()
        response.close()
        await server.disconnected()
        server.release()

    assert not server.failures


# What is recorded


async def test_request_is_recorded_as_it_came(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Method, path, headers, bytes, JSON and events are those of the client.
    """
    body = json.dumps({"model_events": [model_event("é\u2028")], "is_single_session": True})

    async with client.post(
        BATCH, data=body.encode(), headers={"Authorization": "Bearer hh_x", "X-Twice": "1"}
    ) as response:
        await response.read()
    request = await server.next_request()

    assert (request.method, request.path, request.connection) == ("POST", BATCH, 1)
    assert request.headers["authorization"] == "Bearer hh_x"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.body == body.encode()
    assert request.json == json.loads(body)
    assert request.events == [model_event("é\u2028")]
    assert server.requests == [request]


async def test_request_shows_neither_key_nor_payload(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    What pytest prints of a request does not fill the screen or tell secrets.
    """
    async with client.post(
        SINGLE, json={"model_event": model_event("a")}, headers={"Authorization": "Bearer hh_x"}
    ) as response:
        await response.read()

    assert repr(server.requests[0]) == f"Request(method='POST', path='{SINGLE}', connection=1)"


async def test_repeated_headers_are_joined(server: ScriptedServer) -> None:
    """
    Headers that come twice are joined in order, as RFC 9110 §5.2 reads them.
    """
    raw = raw_request(b"{}", "/", "X-Twice: 1\r\nx-twice:2 \r\nConnection: close\r\n")

    await send_raw(server, raw)

    assert server.requests[0].headers["x-twice"] == "1, 2"


async def test_gzip_body_is_read(server: ScriptedServer, client: aiohttp.ClientSession) -> None:
    """
    A compressed body is kept as sent and its events are found.
    """
    body = gzip.compress(json.dumps({"model_events": [model_event("a")]}).encode())

    async with client.post(BATCH, data=body, headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 200

    assert server.requests[0].body == body
    assert server.created == [model_event("a")]


async def test_large_body_is_read_completely(server: ScriptedServer) -> None:
    """
    A body far above any socket buffer arrives whole.
    """
    event = {**model_event("a"), "messages": [{"content": "x" * 5_000_000}]}
    body = json.dumps({"model_event": event}).encode()

    await send_raw(server, raw_request(body, SINGLE, "Connection: close\r\n"))

    assert server.created == [event]


async def test_next_request_returns_each_request_once(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Requests are returned in order of arrival, also to those who waited before.
    """
    waiting = [asyncio.create_task(server.next_request()) for _ in range(2)]
    for name in "abc":
        await post_batch(client, name)

    requests = [await waiting[0], await waiting[1], await server.next_request()]

    assert [request.events[0]["event_id"] for request in requests] == ["a", "b", "c"]


async def test_next_request_is_ahead_of_the_answer(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A test that awaits a request runs before the client can see the answer.
    """
    posting = asyncio.create_task(post_batch(client, "a"))

    await server.next_request()

    assert server.created_ids == ["a"]
    assert not posting.done()
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting


async def test_requests_seen_counts_all_requests(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    It counts from the first request on, and leaves them all to next_request.
    """
    waiting = asyncio.create_task(server.requests_seen(2))
    await post_batch(client, "a")
    assert not waiting.done()
    await post_batch(client, "b")
    await waiting
    await server.requests_seen(1)

    assert (await server.next_request()).events == [model_event("a")]


async def test_silent_client_fails_the_test(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A wait that is in vain ends by itself and says for what it waited.
    """
    monkeypatch.setattr(scripted_server, "PATIENCE", 0.0)

    with pytest.raises(AssertionError, match="for another request; 0 requests arrived"):
        await server.next_request()
    with pytest.raises(AssertionError, match="for 3 requests"):
        await server.requests_seen(3)


async def test_connections_are_counted(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Connections that are kept alive count once, closed ones are not open.
    """
    assert (server.connections, server.open_connections) == (0, 0)
    await post_batch(client, "a")
    await post_batch(client, "b")
    assert (server.connections, server.open_connections) == (1, 1)

    async with aiohttp.ClientSession(server.url) as other:
        await post_batch(other, "c")
        assert (server.connections, server.open_connections) == (2, 2)
    await client.close()
    await server.disconnected()

    assert [request.connection for request in server.requests] == [1, 1, 2]
    assert (server.connections, server.open_connections) == (2, 0)


async def test_connection_is_closed_where_one_side_asks_for_it(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Connection: close ends the connection after a whole answer, from either side.
    """
    server.script(status(503, headers=[("Connection", "close")]), created())

    assert (await post_batch(client, "a")).status == 503
    await server.disconnected()
    answer = await send_raw(
        server, raw_request(b'{"model_events": []}', fields="Connection: close\r\n")
    )

    assert answer.endswith(b'\r\n\r\n{"event_ids": [], "success": true}')


# Stopping


async def test_restart_keeps_port_and_store(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A stopped server refuses connections; restarted, it is the same at the same port.
    """
    url = server.url
    server.script(created(), status(429))
    await post_batch(client, "a")

    await server.stop()
    assert server.open_connections == 0
    with pytest.raises(aiohttp.ClientConnectorError):
        await post_batch(client, "b")
    await server.restart()

    assert server.url == url
    assert (await post_batch(client, "c")).status == 429
    assert (await post_batch(client, "d")).status == 200
    assert server.created_ids == ["a", "d"]
    assert server.connections == 2


async def test_stop_resets_what_is_under_way(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A request that hangs when the server stops ends with ECONNRESET.
    """
    server.script(hang_after_storing())
    posting = asyncio.create_task(post_batch(client, "a"))
    await server.next_request()

    await server.stop()

    with pytest.raises(aiohttp.ClientOSError) as caught:
        await posting
    assert caught.value.errno == errno.ECONNRESET
    assert server.created_ids == ["a"]


async def test_stop_works_twice_and_restart_works_while_running(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    Both bring the server to a state, whichever it was in.
    """
    await server.stop()
    await server.stop()
    await server.restart()
    await server.restart()

    assert (await post_batch(client, "a")).status == 200


@pytest.mark.parametrize("turns", range(6))
async def test_connection_that_arrives_during_stop_is_reset(turns: int) -> None:
    """
    However far a new connection has come, a stop ends it and leaks no socket.
    """
    async with ScriptedServer() as server:
        connecting = asyncio.create_task(send_raw(server, b"POST "))
        for _ in range(turns):
            await loop_turn()
        await server.stop()
        assert server.open_connections == 0

        with pytest.raises(ConnectionError):
            await connecting
    gc.collect()  # an open socket warns when it is collected, and warnings are errors


async def test_nothing_is_left_after_exit() -> None:
    """
    No task, thread, socket or connection outlives the server.
    """
    tasks, threads = asyncio.all_tasks(), threading.active_count()

    async with ScriptedServer(default=hang()) as server:
        posting = asyncio.create_task(send_raw(server, raw_request(b'{"model_events": []}')))
        trickling = asyncio.create_task(send_raw(server, raw_request(b'{"model_events": []}')))
        server.script(trickle())
        await server.requests_seen(2)
        idle = asyncio.create_task(send_raw(server, b""))
        served = asyncio.create_task(send_raw(server, raw_request(b"{}", "/elsewhere")))
        await server.requests_seen(3)

    results = await asyncio.gather(posting, trickling, idle, served, return_exceptions=True)
    assert {type(result) for result in results} == {ConnectionResetError}
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads
    assert server.open_connections == 0
    with pytest.raises(ConnectionError):
        await send_raw(server, b"")
    gc.collect()


# Clients that break the protocol


async def break_protocol(raw: bytes) -> None:
    async with ScriptedServer() as server:
        with suppress(ConnectionError):  # what the server left unread resets the connection
            await send_raw(server, raw)


@pytest.mark.parametrize(
    ("raw", "failure"),
    [
        (
            f"POST {BATCH} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
            "Transfer-Encoding chunked",
        ),
        (raw_request(b"{}", fields="Transfer-Encoding: chunked\r\n"), "Transfer-Encoding chunked"),
        (f"POST {BATCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "no Content-Length"),
        (raw_request(b"{}", fields="Content-Length: 3\r\n"), "no Content-Length"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "no Content-Length"),
        (b"POST / HTTP/1.0\r\n\r\n", "not HTTP/1.1: 'POST / HTTP/1.0'"),
        (b"POST /a b HTTP/1.1\r\n\r\n", "not HTTP/1.1"),
        (b"{}\r\n\r\n", "not HTTP/1.1: '{}'"),
        (raw_request(b"{}", fields="X : 1\r\n"), "a header that is none"),
        (raw_request(b"{}", fields="X: 1\r\n folded\r\n"), "a header that is none"),
        (raw_request(b"{}", fields="X: 1\nY: 2\r\n"), "a header that is none"),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * 200_000, "headers without an end"),
        (raw_request(b'{"model_events": ['), "the body is not JSON"),
        (raw_request(b""), "the body is not JSON"),
        (raw_request(b"", "/elsewhere"), "the body is not JSON"),
        (raw_request(b'{"model_events": [{"cost": NaN}]}'), "NaN is no JSON number"),
        (raw_request(b'{"model_events": [{"cost": -Infinity}]}'), "-Infinity is no JSON number"),
        (raw_request(b'{"model_events": [{"error": "\xed\xa0\x80"}]}'), "the body is not JSON"),
        (raw_request(b"{}", fields="Content-Encoding: gzip\r\n"), "the body is not JSON"),
        (
            raw_request(gzip.compress(b"{}")[:-9], fields="Content-Encoding: gzip\r\n"),
            "the body is not JSON",
        ),
        (
            raw_request(gzip.compress(b"{}")[:10] + b"?" * 20, fields="Content-Encoding: gzip\r\n"),
            "the body is not JSON",
        ),
        (raw_request(b'{"model_event": {}}'), "no events"),
        (raw_request(b'{"model_events": {}}'), "no events"),
        (raw_request(b'{"model_events": [[]]}'), "no events"),
        (raw_request(b'{"model_events": []}', SINGLE), "no events"),
        (raw_request(b'{"model_event": null}', SINGLE), "no events"),
        (raw_request(b"[]", SINGLE), "no events"),
        (raw_request(b'{"model_events": []}', V1_BATCH), "no events"),
        (raw_request(b'{"events": {}}', V1_BATCH), "no events"),
        (raw_request(b'{"model_event": {}}', V1_SINGLE), "no events"),
        (raw_request(b'{"events": []}', V1_SINGLE), "no events"),
        (raw_request(b"3", V1_SINGLE), "no events"),
    ],
)
async def test_unlawful_request_fails_the_test(raw: bytes, failure: str) -> None:
    """
    The server raises at exit what it could not take.
    """
    with pytest.raises(AssertionError, match=failure):
        await break_protocol(raw)


async def test_unlawful_request_is_not_recorded(server: ScriptedServer) -> None:
    """
    It takes nothing from the script, and is answered 400 on a closed connection.
    """
    server.script(unavailable())

    answer = await send_raw(server, raw_request(b"{"))

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert len(server.failures) == 1
    assert server.requests == []
    answer = await send_raw(server, raw_request(b"{}", fields="Connection: close\r\n"))
    assert answer.startswith(b"HTTP/1.1 400")
    server.failures.clear()


async def test_chunked_body_of_a_client_is_a_failure(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    A client that streams its body without a length is found out.
    """

    async def stream() -> AsyncIterator[bytes]:
        yield b'{"model_events": []}'

    async def upload() -> None:
        with suppress(aiohttp.ClientConnectionError):
            async with client.post(BATCH, data=stream()) as response:
                assert response.status == 400

    uploading = asyncio.create_task(upload())
    with pytest.raises(AssertionError, match="Transfer-Encoding chunked"):
        await server.next_request()
    await uploading
    server.failures.clear()


async def test_wait_ends_when_a_client_breaks_the_protocol(server: ScriptedServer) -> None:
    """
    A test that waits for a request is not left waiting.
    """
    waiting = asyncio.create_task(server.next_request())
    await send_raw(server, raw_request(b"{"))

    with pytest.raises(AssertionError, match="the body is not JSON"):
        await waiting
    server.failures.clear()


async def test_failures_are_added_to_the_error_of_the_test() -> None:
    """
    A test that failed already keeps its own error and learns of the others.
    """
    error = ValueError("the test's own")

    async def fail() -> None:
        async with ScriptedServer() as server:
            await send_raw(server, raw_request(b"{"))
            raise error

    with pytest.raises(ValueError, match="the test's own"):
        await fail()
    assert "the body is not JSON" in error.__notes__[0]


@pytest.mark.parametrize("error", [KeyError("no such event"), EOFError("no such event")])
async def test_script_that_raises_fails_the_test(
    server: ScriptedServer, client: aiohttp.ClientSession, error: Exception
) -> None:
    """
    The client is disconnected, and the fault is shown with its traceback.
    """

    def answer(_: Request) -> Answer:
        raise error

    server.script(answer)

    with pytest.raises(aiohttp.ClientConnectionError):
        await post_batch(client, "a")
    await server.disconnected()

    assert "in answer" in server.failures[0]
    assert "no such event" in server.failures[0]
    server.failures.clear()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"POS",
        b"POST /events/mo",
        raw_request(b'{"model_events": []}')[:-30],
        raw_request(b'{"model_events": []}')[:-1],
    ],
)
async def test_client_may_vanish_in_the_middle_of_a_request(
    server: ScriptedServer, raw: bytes
) -> None:
    """
    Half a request is neither recorded nor a failure.
    """
    await leave_after(server, raw)

    assert server.requests == []
    assert not server.failures


async def test_garbage_before_the_client_vanished_is_a_failure(server: ScriptedServer) -> None:
    """
    What was sent of an unfinished request must be HTTP nevertheless.
    """
    with pytest.raises(AssertionError, match=r"not HTTP/1\.1: b'garbage'"):
        await leave_after(server, b"garbage")
    server.failures.clear()


@pytest.mark.parametrize("answer", [created(), hang_after_storing(), trickle()])
async def test_request_of_a_client_that_vanished_is_served(
    server: ScriptedServer, answer: Scripted
) -> None:
    """
    Once a request has arrived completely its events are stored, whoever waits.
    """
    server.script(answer)

    await leave_after(server, raw_request(b'{"model_events": [{"event_id": "a"}]}'))

    assert server.created_ids == ["a"]


async def test_answer_can_be_put_together_by_hand(
    server: ScriptedServer, client: aiohttp.ClientSession
) -> None:
    """
    What no factory makes is an Answer of the test's own.
    """
    server.script(Answer(status=202, body=b"later", manner=Manner.HELD))
    posting = asyncio.create_task(post_batch(client, "a"))
    await server.next_request()
    server.release()

    reply = await posting

    assert (reply.status, reply.body) == (202, b"later")
    assert server.created == []
