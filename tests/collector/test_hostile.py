"""
Clients that mean no good, over real sockets: nothing makes the collector read a
file, grow without bound or stop answering.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import resource
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
import pytest

from hh_exporter._collector import Collector
from hh_exporter._collector.ingest.bodies import BODY_TIMEOUT
from tests.collector_client import EXPORT, MANY, ONE, exported, model_event, post, refusal
from tests.support import FakeClock, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ENTRY = {"model_event": model_event()}


@contextmanager
def full_disk() -> Iterator[None]:
    """
    Let no file of this process grow beyond half a megabyte.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
async def collector(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(clock=clock) as collector:
        yield collector


class Client:
    """
    A connection on which anything can be sent.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """
        Read the status and all that follows, until the collector closes.
        """
        head, _, rest = (await self.reader.read()).partition(b"\r\n")
        return int(head.split()[1]), rest

    async def is_cut(self) -> bool:
        """
        Wait until the collector closes, and say whether it answered nothing.
        """
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@asynccontextmanager
async def connected(collector: Collector) -> AsyncIterator[Client]:
    address = urlsplit(collector.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def head(collector: Collector, line: str, *fields: str) -> bytes:
    host = f"Host: {urlsplit(collector.url).netloc}"
    return "\r\n".join([line, host, "Connection: close", *fields, "", ""]).encode("latin-1")


async def answers(collector: Collector) -> bool:
    return (await post(collector, ONE, ENTRY))[0] == 200


class TestBodies:
    """
    Bodies that never end, and too many of them.
    """

    @pytest.mark.parametrize("field", ["Content-Length: 99", "Transfer-Encoding: chunked"])
    async def test_a_body_that_does_not_arrive_is_given_up(
        self, collector: Collector, clock: FakeClock, field: str
    ) -> None:
        """
        However much of it comes in time, after half a minute the answer is 408.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"POST {ONE} HTTP/1.1", field))
            await until(lambda: clock.waits == 1)
            client.send(b'{"mo' if field.endswith("99") else b'4\r\n{"mo\r\n')
            await clock.advance(BODY_TIMEOUT - 1)
            assert await answers(collector)

            await clock.advance(1.0)
            status = int((await client.reader.readline()).split()[1])

        assert status == 408
        assert await answers(collector)
        assert await collector.count() == 2

    async def test_all_bodies_share_a_room(
        self, collector: Collector, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        What has no room beside those that still arrive is 503, to be sent again; later it has.
        """
        monkeypatch.setattr("hh_exporter._collector.ingest.bodies.MAX_ROOM", 100_000)
        body = orjson.dumps(ENTRY).ljust(60_000)
        async with connected(collector) as client:
            client.send(head(collector, f"POST {ONE} HTTP/1.1", "Content-Length: 60000"))
            client.send(body[:-1])
            statuses = set()
            while 503 not in statuses:  # until all that was sent is there
                status, answer = await post(collector, ONE, body)
                statuses.add(status)
            assert answer["errorCode"] == "unavailable"
            assert await answers(collector)

            client.send(body[-1:])
            assert (await client.answer())[0] == 200

        assert (await post(collector, ONE, body))[0] == 200

    async def test_unpacked_bodies_need_room_too(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A small body that unpacks to more than there is room for is refused.
        """
        monkeypatch.setattr("hh_exporter._collector.ingest.bodies.MAX_ROOM", 100_000)
        packed = gzip.compress(orjson.dumps(ENTRY).ljust(100_000))

        status, _ = await post(collector, ONE, packed, **{"Content-Encoding": "gzip"})

        assert status == 503
        assert await answers(collector)

    @pytest.mark.parametrize(
        "fields",
        [
            ["Content-Length: 2", "Transfer-Encoding: chunked"],
            ["Content-Length: 2", "Content-Length: 3"],
            ["Content-Length: -1"],
            ["Content-Length: 99999999999999999999999"],
            ["Transfer-Encoding: x"],
            ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ],
    )
    async def test_a_length_that_can_be_read_in_two_ways_is_refused(
        self, collector: Collector, fields: list[str]
    ) -> None:
        """
        Two servers in a row must not disagree on where a request ends.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"POST {ONE} HTTP/1.1", *fields) + b"{}")
            status, _ = await client.answer()

        assert status in (400, 413)
        assert await answers(collector)

    async def test_a_chunk_that_never_ends_is_refused(self, collector: Collector) -> None:
        """
        A chunked body has the same bound as one with a length.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"POST {ONE} HTTP/1.1", "Transfer-Encoding: chunked"))
            client.send(b"fffffff\r\n")
            for _ in range(33):
                client.send(b" " * 2**20)
            status = int((await client.reader.readline()).split()[1])

        assert status == 413
        assert await answers(collector)


class TestConnections:
    """
    Too many of them.
    """

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hh_exporter._collector.connections.MAX_CONNECTIONS", 4)

    @pytest.mark.parametrize(
        "sent", [b"", b"POST /events/model HTT", b"GET / HTTP/1.1\r\nA: b\r\n"]
    )
    async def test_those_that_ask_nothing_make_room(
        self, collector: Collector, sent: bytes
    ) -> None:
        """
        However many wait, or send their first line for ever, another is served; the oldest goes.
        """
        async with connected(collector) as first:
            first.send(sent)
            for _ in range(20):
                async with connected(collector) as client:
                    client.send(sent)
                    await asyncio.sleep(0)
                    assert await answers(collector)
            async with AsyncExitStack() as stack:
                for _ in range(4):
                    await stack.enter_async_context(connected(collector))
                assert await first.is_cut()
                assert await answers(collector)

    async def test_who_asks_stays(self, collector: Collector) -> None:
        """
        Of those that are open the one that has asked last is cut last.
        """
        request = head(collector, "GET /none HTTP/1.1").replace(b"close", b"keep-alive")
        async with connected(collector) as client, AsyncExitStack() as stack:
            for _ in range(8):
                client.send(request)
                assert b" 404 " in await client.reader.readline()
                await client.reader.readuntil(b"\r\n\r\n")
                for _ in range(3):
                    await stack.enter_async_context(connected(collector))

    async def test_slow_bodies_make_room(self, collector: Collector, clock: FakeClock) -> None:
        """
        Requests whose bodies do not come keep nobody out either.
        """
        async with connected(collector) as first:
            first.send(head(collector, f"POST {ONE} HTTP/1.1", "Content-Length: 9"))
            await until(lambda: clock.waits == 1)
            for number in range(2, 8):
                async with connected(collector) as client:
                    client.send(head(collector, f"POST {ONE} HTTP/1.1", "Content-Length: 9"))
                    await until(lambda: clock.waits >= number)  # noqa: B023
                    assert await answers(collector)

    async def test_a_reader_that_does_not_read_makes_room(self, collector: Collector) -> None:
        """
        An export that nobody takes is cut when others need its place.
        """
        event = model_event(metadata={"text": "x" * 2**20})
        for _ in range(16):
            await post(collector, ONE, {"model_event": event})
        async with connected(collector) as stalled:
            stalled.send(head(collector, f"GET {EXPORT} HTTP/1.1"))
            await stalled.reader.readline()
            for _ in range(8):
                async with connected(collector), connected(collector), connected(collector):
                    assert await answers(collector)


class TestRequests:
    """
    Heads that are no requests, and requests for what is not there.
    """

    @pytest.mark.parametrize(
        ("line", "fields"),
        [
            (f"GET {EXPORT}?text={'x' * 2**20} HTTP/1.1", []),
            (f"GET /{'x' * 2**20} HTTP/1.1", []),
            (f"GET {EXPORT} HTTP/1.1", [f"X: {'x' * 2**20}"]),
            (f"GET {EXPORT} HTTP/1.1", [f"{'x' * 2**20}: x"]),
            (f"GET {EXPORT} HTTP/1.1", [f"X{n}: x" for n in range(100_000)]),
            (f"GET {EXPORT} HTTP/1.1", [f"Cookie: {'a=b; ' * 2**18}"]),
        ],
        ids=["query", "path", "value", "name", "many", "cookie"],
    )
    async def test_a_large_head_is_refused(
        self, collector: Collector, line: str, fields: list[str]
    ) -> None:
        """
        A megabyte where some kilobytes will do is 400, or the end.
        """
        async with connected(collector) as client:
            client.send(head(collector, line, *fields))
            with suppress(ConnectionResetError):
                assert int((await client.reader.readline()).split()[1]) in (400, 431)

        assert await answers(collector)

    async def test_a_head_that_never_ends_is_refused(self, collector: Collector) -> None:
        """
        The collector reads no more than some kilobytes of it.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"GET {EXPORT} HTTP/1.1")[:-2])
            sent = 0
            while not client.reader.at_eof() and not client.writer.is_closing():
                client.send(b"X: y\r\n" * 10_000)
                sent += 60_000
                assert sent < 64 * 2**20
                try:
                    await client.writer.drain()
                    await asyncio.sleep(0)
                except ConnectionError:
                    break

        assert await answers(collector)

    @pytest.mark.parametrize("method", ["PATCH", "DELETE", "OPTIONS", "TRACE", "FOO", "get"])
    @pytest.mark.parametrize("path", [ONE, EXPORT, "/", "*"])
    async def test_odd_methods_are_refused(
        self, collector: Collector, method: str, path: str
    ) -> None:
        """
        What is not described is not served.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"{method} {path} HTTP/1.1"))
            status, _ = await client.answer()

        assert status in (400, 404, 405)
        assert await answers(collector)

    @pytest.mark.parametrize(
        "line",
        [
            "CONNECT 127.0.0.1:22 HTTP/1.1",
            "GET http://127.0.0.1:22/ HTTP/1.1",
            "GET /api/none HTTP/9.9",
            "GET /api/none",
            "\x16\x03\x01\x02\x00\x01\x00",
            "PRI * HTTP/2.0",
            "GET \x00 HTTP/1.1",
            "GET / HTTP/1.1\x00",
        ],
    )
    async def test_what_is_no_request_for_it_is_refused(
        self, collector: Collector, line: str
    ) -> None:
        """
        It is no proxy, and speaks nothing but HTTP/1.
        """
        async with connected(collector) as client:
            client.send(head(collector, line))
            client.writer.write_eof()
            received = await client.reader.read()

        assert not received or int(received.split()[1]) in (400, 404, 405, 421)
        assert await answers(collector)

    @pytest.mark.parametrize(
        "path",
        [
            "/../../../../etc/passwd",
            "/..%2f..%2f..%2fetc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/....//....//etc/passwd",
            "//etc/passwd",
            "/\\..\\..\\etc\\passwd",
            "/etc/passwd%00.js",
            "/api/../../etc/passwd",
            "/api/events.jsonl%00",
            "/api/%2e%2e/events/model",
            "/events/model;/../x",
            "/file:///etc/passwd",
            "/%c0%ae%c0%ae/etc/passwd",
            "/%ff%fe",
            "/%",
            "/?db=/etc/passwd&path=%00",
            "/%0d%0aSet-Cookie:%20a=b",
        ],
    )
    async def test_no_path_leads_to_a_file(self, collector: Collector, path: str) -> None:
        """
        Tricks with dots, slashes, NULs and encodings find nothing, and no header is made of them.
        """
        async with connected(collector) as client:
            client.send(head(collector, f"GET {path} HTTP/1.1"))
            status, answer = await client.answer()

        assert status in (400, 404) or path.startswith("/?")
        assert b"root:" not in answer
        assert b"\r\nset-cookie" not in answer.lower()
        assert await answers(collector)

    async def test_requests_in_a_row_are_answered_in_order(self, collector: Collector) -> None:
        """
        Many requests at once on one connection are no trouble.
        """
        request = head(collector, "GET /none HTTP/1.1").replace(b"close", b"keep-alive")
        async with connected(collector) as client:
            client.send(request * 500)
            for _ in range(500):
                assert b" 404 " in await client.reader.readline()
                fields = await client.reader.readuntil(b"\r\n\r\n")
                length = int(fields.lower().split(b"content-length: ")[1].split()[0])
                await client.reader.readexactly(length)

        assert await answers(collector)


async def test_garbage_is_no_error_of_the_collectors(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nobody is alarmed by what strangers send, and nothing of it is logged.
    """
    for garbage in (
        b"\0" * 1000,
        b"secret\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: secret\r\n\r\n",
        head(collector, f"POST {ONE} HTTP/1.1", "Transfer-Encoding: secret") + b"secret",
        head(collector, f"POST {ONE} HTTP/1.1", "Content-Length: 6") + b"secret",
    ):
        async with connected(collector) as client:
            client.send(garbage)
            await client.reader.readline()
    await post(collector, MANY, b"secret")

    assert await exported(collector) == []
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []
    assert "secret" not in caplog.text


async def test_a_failure_of_its_own_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where the database fails the answer is 500, as JSON and without a reason; the log has it.
    """
    async with Collector(db=tmp_path / "events.db") as collector:
        with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
            connection.execute("DROP TABLE events")

        answer = await post(collector, ONE, ENTRY)

    message = "the collector failed: see its log"
    assert answer == refusal(message, 500, "internal_error")
    [entry] = caplog.records
    assert entry.getMessage() == f"hh_exporter: the collector can't answer POST '{ONE}'"
    assert "no such table" in caplog.text


async def test_a_full_disk_is_waited_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    What can't be stored is to be sent again later; the log says so once, until there is room.
    """
    event = model_event(metadata={"text": "x" * 2**20})
    async with Collector(db=tmp_path / "events.db") as collector:
        await post(collector, ONE, ENTRY)
        for _ in range(2):
            with full_disk():
                answers = [await post(collector, ONE, {"model_event": event}) for _ in range(3)]

            assert {status for status, _ in answers} == {503}
            assert answers[0][1]["errorCode"] == "unavailable"
            assert answers[0][1]["message"].startswith("the database can't be written (")
            assert (await post(collector, ONE, ENTRY))[0] == 200

        assert await collector.count() == 3
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "ERROR"]
    assert caplog.messages[0].startswith(
        f"hh_exporter: the collector can't write to {tmp_path / 'events.db'} ("
    )
    assert "Traceback" not in caplog.text


async def test_an_export_that_fails_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What has begun well can't end well: the reader sees that something is missing.
    """
    async with Collector(db=tmp_path / "events.db") as collector:
        event = model_event(metadata={"text": "x" * 2**20})
        for _ in range(16):
            await post(collector, ONE, {"model_event": event})
        async with connected(collector) as client:
            client.send(head(collector, f"GET {EXPORT} HTTP/1.1"))
            await client.reader.readuntil(b'{"event":')  # a table that is gone before has none
            with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
                connection.execute("DROP TABLE events")
            received = await client.reader.read()

    assert not received.endswith(b"0\r\n\r\n")
    assert b"internal_error" not in received
    assert "no such table" in caplog.text
