"""
One attempt, against servers that behave and servers that don't.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp.http_writer import StreamWriter
from attrs import Factory, define, evolve

from hh_exporter import __version__
from hh_exporter._dialects.dialect import Answer
from hh_exporter._transport.http import HttpTransport
from tests.conftest import KEY
from tests.scripted_server import (
    Manner,
    Scripted,
    ScriptedServer,
    created,
    created_cut_short,
    hang,
    hang_after_storing,
    html,
    redirect,
    reset_before_storing,
    status,
    too_many,
    trickle,
    truncated_headers,
)
from tests.support import PATIENCE, FakeClock, settle, until
from tests.test_helper import Wall, named, out_of_threads

PATH = "/events/model/batch"
BODY = b'{"model_events":[{"event_id":"e0"}]}'
TIMEOUT = 10.0


@pytest.fixture
async def transport(server: ScriptedServer, clock: FakeClock) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(base_url=server.url, api_key=KEY, timeout=TIMEOUT, clock=clock)
    async with transport:
        yield transport


@asynccontextmanager
async def impostor(answer: bytes) -> AsyncIterator[str]:
    """
    Run a server that says *answer* to whoever says anything; yield its host and port.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
        await settle()


async def test_a_request_says_who_sends_it(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    A request carries the key, its length, and the name and version of this package.
    """
    await transport.send("POST", PATH, BODY)

    request = await server.next_request()
    expected = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "accept": "application/json",
        "user-agent": f"hh_exporter/{__version__}",
        "hh-client-package": "hh_exporter",
        "hh-client-version": __version__,
        "hh-client-language": "python",
    }
    assert {name: request.headers.get(name) for name in expected} == expected
    assert (request.method, request.path, request.body) == ("POST", PATH, BODY)


async def test_without_a_key_nothing_is_authorized(
    server: ScriptedServer, clock: FakeClock
) -> None:
    """
    A transport without a key sends no Authorization.
    """
    async with HttpTransport(
        base_url=server.url, api_key=None, timeout=TIMEOUT, clock=clock
    ) as transport:
        await transport.send("POST", PATH, BODY)

    request = await server.next_request()
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("scripted", "answer"),
    [
        pytest.param(
            status(200, b'{"success":true}'),
            Answer(status=200, content_type="application/json", body=b'{"success":true}'),
            id="accepted",
        ),
        pytest.param(
            too_many("Fri, 13 Jun 2025 12:00:00 GMT"),
            Answer(
                status=429,
                content_type="application/json",
                retry_after="Fri, 13 Jun 2025 12:00:00 GMT",
            ),
            id="asks for time",
        ),
        pytest.param(
            html(502),
            Answer(status=502, content_type="text/html", body=html(502).body),
            id="page",
        ),
        pytest.param(
            created_cut_short(),
            Answer(
                status=200,
                content_type="application/json",
                body=b'{"event_ids": ["e0"',
                cut_short=True,
                failure="connection failed (the answer is broken)",
            ),
            id="cut in the body",
        ),
        pytest.param(
            evolve(status(413, b"too large"), manner=Manner.CUT_SHORT),
            Answer(
                status=413,
                content_type="application/json",
                body=b"too ",
                cut_short=True,
                failure="connection failed (the answer is broken)",
            ),
            id="refused and cut in the body",
        ),
        pytest.param(
            truncated_headers(),
            Answer(status=None, failure="connection failed (the other side closed it)"),
            id="cut in the headers",
        ),
    ],
)
async def test_an_answer_is_told_as_far_as_it_came(
    transport: HttpTransport, server: ScriptedServer, scripted: Scripted, answer: Answer
) -> None:
    """
    A status that arrived counts, whatever became of the body behind it.
    """
    server.script(scripted)

    assert await transport.send("POST", PATH, BODY) == answer


async def test_a_reset_is_no_answer(transport: HttpTransport, server: ScriptedServer) -> None:
    """
    A connection that is reset yields an answer without a status, after one request.
    """
    server.script(reset_before_storing())

    answer = await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=None, failure="connection failed (connection reset by peer)")
    assert len(server.requests) == 1


async def test_a_refused_connection_is_no_answer(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    Where nobody listens, the answer has no status, and the next attempt connects anew.
    """
    await transport.send("POST", PATH, BODY)
    await server.stop()
    refused = await transport.send("POST", PATH, BODY)
    await server.restart()
    answered = await transport.send("POST", PATH, BODY)

    assert refused == Answer(status=None, failure="connection failed (connection refused)")
    assert answered.status == 200


async def test_an_unknown_host_is_no_answer(clock: FakeClock) -> None:
    """
    Where the host name means nothing, the failure names it.
    """
    async with HttpTransport(
        base_url="http://no.such.host.invalid", api_key=KEY, timeout=TIMEOUT, clock=clock
    ) as transport:
        answer = await transport.send("POST", PATH, BODY)

    failure = "connection failed (the host name no.such.host.invalid can't be resolved)"
    assert answer == Answer(status=None, failure=failure)


async def test_an_attempt_ends_at_its_timeout_while_a_lookup_hangs(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A system's resolver that does not answer holds up no attempt for longer, and no gzip.
    """
    wall = Wall()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: wall())
    async with HttpTransport(
        base_url="http://api.example.test", api_key=KEY, timeout=TIMEOUT, clock=clock
    ) as transport:
        post = asyncio.create_task(transport.send("POST", PATH, BODY))
        await until(wall.is_reached.is_set)

        assert gzip.decompress(await transport.compress(bytes(2**20)) or b"") == bytes(2**20)
        await clock.advance(TIMEOUT)

        assert await post == Answer(status=None, failure="no answer in time")
    wall.opening.set()


async def test_without_a_thread_no_name_is_found(
    clock: FakeClock, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where no thread can be started, the failure says so, and a later attempt tries again.
    """
    url = server.url.replace("127.0.0.1", "localhost")
    transport = HttpTransport(base_url=url, api_key=KEY, timeout=TIMEOUT, clock=clock)
    with out_of_threads(monkeypatch):
        await transport.__aenter__()
        answer = await transport.send("POST", PATH, BODY)

    reason = "no thread can be started to resolve the host name localhost"
    assert answer == Answer(status=None, failure=f"connection failed ({reason})")
    assert (await transport.send("POST", PATH, BODY)).status == 200
    await transport.__aexit__()


@pytest.mark.parametrize(("host", "threads"), [("127.0.0.1", 0), ("localhost", 1)])
async def test_only_a_name_is_worth_a_thread(
    clock: FakeClock, server: ScriptedServer, host: str, threads: int
) -> None:
    """
    The thread for lookups is there before the first of them, and ends with the transport.
    """
    url = server.url.replace("127.0.0.1", host)
    async with HttpTransport(base_url=url, api_key=KEY, timeout=TIMEOUT, clock=clock) as transport:
        started = named("hh_exporter lookups")
        assert len(started) == threads
        assert (await transport.send("POST", PATH, BODY)).status == 200
        assert named("hh_exporter lookups") == started

    for thread in started:
        thread.join(PATIENCE)
    assert named("hh_exporter lookups") == []


@pytest.mark.parametrize(
    ("scheme", "failure"),
    [
        ("http", "connection failed (what answers there speaks no HTTP)"),
        ("https", "TLS failed (wrong version number)"),
    ],
)
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"\x00\xff" * 50_000, id="noise"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 2000 Fine\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", id="endless header"),
    ],
)
async def test_what_is_no_http_is_no_answer(
    clock: FakeClock, scheme: str, failure: str, said: bytes
) -> None:
    """
    Garbage in place of HTTP, or of TLS, yields an answer without a status.
    """
    async with (
        impostor(said) as address,
        HttpTransport(
            base_url=f"{scheme}://{address}", api_key=KEY, timeout=TIMEOUT, clock=clock
        ) as transport,
    ):
        answer = await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=None, failure=failure)


@pytest.mark.parametrize(
    "scripted", [pytest.param(hang(), id="silence"), pytest.param(trickle(), id="half an answer")]
)
async def test_an_attempt_ends_at_its_timeout(
    transport: HttpTransport, server: ScriptedServer, clock: FakeClock, scripted: Scripted
) -> None:
    """
    An attempt waits for the end of the answer for `timeout` seconds, not less and not more.
    """
    server.script(scripted)
    post = asyncio.create_task(transport.send("POST", PATH, BODY))
    await server.next_request()

    await clock.advance(TIMEOUT - 0.1)
    assert not post.done()
    await clock.advance(0.1)

    assert await post in (
        Answer(status=None, failure="no answer in time"),
        Answer(status=200, content_type="application/json", cut_short=True),
    )


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    transport: HttpTransport, server: ScriptedServer, code: int
) -> None:
    """
    The key follows a redirect nowhere: the target is never even connected to.
    """
    async with ScriptedServer() as elsewhere:
        server.script(redirect(f"{elsewhere.url}{PATH}", code))

        answer = await transport.send("POST", PATH, BODY)

        assert answer.status == code
        assert elsewhere.connections == 0
    assert len(server.requests) == 1


async def test_the_rest_of_a_huge_answer_is_not_read(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    Of an answer far beyond the body's length the status and the beginning are told, and its
    connection is closed.
    """
    page = b'{"event_ids":["' + b"x" * 2**25 + b'"]}'
    server.script(status(500, page))

    answer = await transport.send("POST", PATH, BODY)
    await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=500, content_type="application/json", body=page[:4096])
    assert server.connections == 2


async def test_an_answer_longer_than_our_bodies_is_read(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    An answer in which a server echoes several times what it refused is read to its end.
    """
    body = b'{"model_events":[%b]}' % b",".join([b'{"event_id":"e"}'] * 50_000)
    server.script(status(500, b"x" * 4 * len(body)))

    answer = await transport.send("POST", PATH, body)

    assert (len(answer.body), answer.cut_short) == (4 * len(body), False)


async def test_a_large_body_arrives_whole(transport: HttpTransport, server: ScriptedServer) -> None:
    """
    A body of several MiB goes out with its Content-Length, and no warning.
    """
    body = json.dumps({"model_events": [{"event_id": "e0", "error": "x" * 2**22}]}).encode()

    answer = await transport.send("POST", PATH, body)

    request = await server.next_request()
    assert answer.status == 200
    assert request.body == body
    assert request.headers["content-length"] == str(len(body))


async def test_a_large_body_lets_the_loop_turn(
    transport: HttpTransport, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A body of 1 MiB is written in pieces of 256 KiB at most, each in a turn of its own.
    """
    turns, writes, write = 0, list[tuple[int, int]](), StreamWriter.write

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def note(self: StreamWriter, chunk: memoryview, *args: Any, **kwargs: Any) -> None:
        writes.append((turns, len(chunk)))
        await write(self, chunk, *args, **kwargs)

    monkeypatch.setattr(StreamWriter, "write", note)
    counting = asyncio.create_task(count())
    answer = await transport.send("POST", PATH, BODY.ljust(2**20))
    counting.cancel()

    assert answer.status == 200
    assert len((await server.next_request()).body) == 2**20
    assert [size for _, size in writes] == [2**18] * 4
    assert len({turn for turn, _ in writes}) == 4


@pytest.mark.parametrize("size", [10, 2**22], ids=["small", "large"])
async def test_a_compressed_body_goes_out_as_it_is(
    transport: HttpTransport, server: ScriptedServer, size: int
) -> None:
    """
    Compressed bytes are announced and sent untouched; the next request, plain, says nothing.
    """
    noise = Random(1).randbytes(size).hex()
    body = gzip.compress(
        json.dumps({"model_events": [{"event_id": "e0", "error": noise}]}).encode()
    )

    await transport.send("POST", PATH, body, encoding="gzip")
    await transport.send("POST", PATH, BODY)

    compressed, plain = server.requests
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["content-length"] == str(len(body))
    assert compressed.body == body
    assert "content-encoding" not in plain.headers


async def test_attempts_share_a_connection_but_no_cookies(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    The next attempt goes over the connection of the last, and brings no cookie along.
    """
    server.script(status(200, headers=[("Set-Cookie", "session=1; Path=/")]))

    for _ in range(3):
        await transport.send("POST", PATH, BODY)

    assert server.connections == 1
    assert not [request for request in server.requests if "cookie" in request.headers]


async def test_a_stale_connection_costs_one_attempt(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    What is sent over a connection that the server drops is not sent again behind our back.
    """
    server.script(created(), reset_before_storing())
    await transport.send("POST", PATH, BODY)

    answer = await transport.send("POST", PATH, BODY)

    assert answer.status is None
    assert len(server.requests) == 2


async def test_a_cancelled_attempt_closes_its_connection(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    A cancelled attempt raises CancelledError and leaves no connection behind.
    """
    server.script(hang_after_storing())
    post = asyncio.create_task(transport.send("POST", PATH, BODY))
    await server.next_request()

    post.cancel()

    with pytest.raises(asyncio.CancelledError):
        await post
    await server.disconnected()


@pytest.mark.parametrize(
    ("field", "media_type"),
    [
        (b"application/json; charset*", "application/json"),
        (b"application/json; a*\xc2\xb2=x", "application/json"),
        (b'Text/HTML ;charset="', "text/html"),
        (b"\xff", "\udcff"),
        (b";", ""),
        (None, ""),
    ],
)
async def test_a_type_is_told_whatever_follows_it(
    clock: FakeClock, field: bytes | None, media_type: str
) -> None:
    """
    The media type is what comes before the first semicolon; nothing in it costs the answer.
    """
    typed = b"" if field is None else b"Content-Type: %b\r\n" % field
    async with (
        impostor(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n{}" % typed) as address,
        HttpTransport(
            base_url=f"http://{address}", api_key=KEY, timeout=TIMEOUT, clock=clock
        ) as transport,
    ):
        answer = await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=200, content_type=media_type, body=b"{}")


@define(eq=False)
class Chatterbox:
    """
    A server that answers 503, and says what it is told to whether or not it was asked.
    """

    writers: list[asyncio.StreamWriter] = Factory(list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(BODY))
                writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("is_old", [True, False], ids=["long ago", "just now"])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="200"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", id="half a 200"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", id="half a header"),
        pytest.param(b"HTTP/1.1 408 Late\r\nConnection: close\r\n\r\n", id="408"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="100"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"\0" * 100, id="noise"),
    ],
)
async def test_what_is_said_unasked_answers_nothing(
    clock: FakeClock, said: bytes, is_old: bool
) -> None:
    """
    Bytes that arrive on an idle connection cost that connection, and are no answer.
    """
    server = Chatterbox()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        async with HttpTransport(
            base_url=f"http://{host}:{port}", api_key=KEY, timeout=TIMEOUT, clock=clock
        ) as transport:
            await transport.send("POST", PATH, BODY)
            await transport.send("POST", PATH, BODY)
            assert len(server.writers) == 1
            server.writers[0].write(said)
            if is_old:
                await settle()

            answer = await transport.send("POST", PATH, BODY)

        assert answer == Answer(status=503)
        assert len(server.writers) == 2
        await settle()


SAID = b'{"event_ids":["e0"],"errors":["no"]}'
CODINGS = {
    "gzip": ("gzip", gzip.compress(SAID), SAID),
    "x-gzip": ("X-GZIP", gzip.compress(SAID), SAID),
    "deflate": ("deflate", zlib.compress(SAID), SAID),
    "deflate without a wrapper": ("deflate", zlib.compress(SAID, wbits=-15), SAID),
    "claimed gzip": ("gzip", SAID, SAID),
    "claimed deflate": ("deflate", SAID, SAID),
    "one that is not asked for": ("br", b"\x0b\x12\x80", b"\x0b\x12\x80"),
    "one that nobody knows": ("aes128gcm", SAID, SAID),
    "none": ("identity", SAID, SAID),
}


@pytest.mark.parametrize("case", CODINGS.values(), ids=CODINGS)
async def test_an_answer_counts_in_whatever_coding_it_comes(
    transport: HttpTransport, server: ScriptedServer, case: tuple[str, bytes, bytes]
) -> None:
    """
    It is read where that is possible; its status arrives in any case.
    """
    coding, sent, read = case
    server.script(status(500, sent, headers=[("Content-Encoding", coding)]))
    answer = await transport.send("POST", PATH, BODY)

    assert (answer.status, answer.body, answer.cut_short) == (500, read, False)
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


async def test_a_coded_answer_grows_no_larger_than_others(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    However small it is as it is sent.
    """
    server.script(
        status(500, gzip.compress(bytes(5_000_000)), headers=[("Content-Encoding", "gzip")])
    )
    answer = await transport.send("POST", PATH, BODY)

    assert answer.status == 500
    assert len(answer.body) <= 2**20 + 4 * len(BODY)


async def test_an_answer_may_have_a_long_head(
    transport: HttpTransport, server: ScriptedServer
) -> None:
    """
    As a gateway's with its policies and cookies.
    """
    server.script(status(503, headers=[("Content-Security-Policy", "x" * 20_000)]))
    answer = await transport.send("POST", PATH, BODY)

    assert (answer.status, answer.failure) == (503, "")
