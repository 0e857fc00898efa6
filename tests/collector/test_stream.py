"""
GET /api/stream: what readers are told of new events, and when.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from math import isclose
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout
from attrs import define

from hh_exporter._collector import Collector
from tests.collector_client import MANY, model_event, post
from tests.support import FakeClock, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PAUSE = 0.2
HEARTBEAT = 15.0


@define
class Message:
    """
    One message, or what a reader is told beside messages.
    """

    event: str = ""
    id: int | None = None
    data: Any = None
    comment: str = ""

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.data["events"]]


class Listener:
    """
    A reader of the stream, at its own pace.
    """

    def __init__(self, collector: Collector, headers: dict[str, str], **query: Any) -> None:
        self.client = ClientSession(
            collector.url, timeout=ClientTimeout(None), read_bufsize=2**22, headers=headers
        )
        self.query = query
        self.response: ClientResponse

    async def __aenter__(self) -> Self:
        self.response = await self.client.get("/api/stream", params=self.query)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.response.close()
        await self.client.close()

    async def next(self) -> Message:
        """
        Wait for what it is told next.
        """
        message = Message()
        while line := (await self.response.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    message.id = int(value)
                case "data":
                    message.data = orjson.loads(value)
                case "event":
                    message.event = value
                case "":
                    message.comment = value
        return message


def listen(collector: Collector, last_event_id: str | None = None, **query: Any) -> Listener:
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    return Listener(collector, headers, **query)


async def send(collector: Collector, *names: str, **fields: Any) -> None:
    events = [model_event(event_id=name, **fields) for name in names]
    assert (await post(collector, MANY, {"model_events": events}))[0] == 200


async def update(collector: Collector, name: str, metadata: dict[str, Any]) -> None:
    body = {"event_id": name, "metadata": metadata}
    async with ClientSession(collector.url) as client, client.put("/events", json=body) as response:
        assert response.status == 200


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def collector(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(clock=clock) as collector:
        yield collector


async def waiting(clock: FakeClock, seconds: float) -> None:
    """
    Wait until a stream begins to wait for that long.
    """
    await until(lambda: any(isclose(when - clock.now(), seconds) for when, *_ in clock._timers))


async def pause_over(clock: FakeClock) -> None:
    await waiting(clock, PAUSE)
    await clock.advance(PAUSE)


class TestNews:
    """
    What arrives while one listens.
    """

    async def test_it_begins_with_where_it_is(self, collector: Collector, clock: FakeClock) -> None:
        """
        The greeting names the database and its last event, and nothing older follows.
        """
        await send(collector, "old")
        async with ClientSession(collector.url) as client, client.get("/api/stats") as response:
            store = (await response.json())["store"]

        async with listen(collector) as listener:
            assert listener.response.content_type == "text/event-stream"
            assert await listener.next() == Message("hello", 1, {"store": store, "last": 1})

            await send(collector, "new")
            await pause_over(clock)

            assert (await listener.next()).ids == ["new"]

    async def test_new_events_come_as_in_the_list(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        A message has summaries, oldest first, and the id of the last as its own.
        """
        async with listen(collector) as listener:
            await listener.next()
            await send(collector, "a", "b", cost=0.5)
            await pause_over(clock)

            message = await listener.next()

            assert (message.event, message.id, message.ids) == ("events", 2, ["a", "b"])
            assert message.data["skipped"] == 0
        async with ClientSession(collector.url) as client, client.get("/api/events") as response:
            assert message.data["events"] == (await response.json())["events"][::-1]

    async def test_what_arrives_in_a_pause_comes_together(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        After each message there is a pause, so that a reader is not told of each batch.
        """
        async with listen(collector) as listener:
            await listener.next()
            await waiting(clock, PAUSE)
            for name in ("a", "b", "c"):
                await send(collector, name)
            await clock.advance(PAUSE)

            assert (await listener.next()).ids == ["a", "b", "c"]

    async def test_only_what_is_asked_for_is_told(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        A stream takes the filters of the list.
        """
        async with listen(collector, error="yes", text="needle") as listener:
            await listener.next()
            await waiting(clock, PAUSE)
            await send(collector, "a", error="no needle")
            await send(collector, "b", error="nothing")
            await send(collector, "c")
            await clock.advance(PAUSE)

            message = await listener.next()

            assert (message.ids, message.id) == (["a"], 3)

    async def test_what_is_added_to_an_event_is_told(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        The event comes again as it is now, of what is asked for, and the place stays.
        """
        await send(collector, "a", "b", error="yes")
        async with listen(collector, error="yes", text="needle") as listener:
            await listener.next()
            await waiting(clock, PAUSE)
            for name in ("b", "a", "a"):
                await update(collector, name, {"found": "needle"} if name == "a" else {})
            await clock.advance(PAUSE)

            message = await listener.next()

            assert (message.event, message.ids, message.id) == ("updates", ["a"], 2)

    async def test_updates_that_are_too_many_are_not_told_in_part(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        The message names no events: it may be any.
        """
        await send(collector, "a")
        async with listen(collector) as listener:
            await listener.next()
            await waiting(clock, PAUSE)
            for _ in range(201):
                await update(collector, "a", {})
            await clock.advance(PAUSE)

            message = await listener.next()

            assert (message.event, message.data) == ("updates", {"events": None})

    async def test_another_hello_tells_that_it_was_cleared(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        It names the new database, whose ids go on; what comes after that is told as before.
        """
        await send(collector, "a", "b")
        async with listen(collector) as listener:
            first = await listener.next()
            await waiting(clock, PAUSE)
            async with ClientSession(collector.url) as client:
                async with client.delete("/api/events") as response:
                    assert await response.json() == {"deleted": 2}
                await send(collector, "c")
                await clock.advance(PAUSE)
                second = await listener.next()
                async with client.get("/api/stats") as response:
                    stats = await response.json()

            assert second.event == "hello"
            assert second.data == {"store": stats["store"], "last": 3}
            assert second.data["store"] != first.data["store"]
            assert (await listener.next()).ids == ["c"]

    async def test_in_silence_it_says_that_it_is_there(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        A comment every 15 seconds, and from where to go on: past what was not asked for.
        """
        async with listen(collector, error="yes") as listener:
            assert (await listener.next()).id == 0
            await waiting(clock, PAUSE)
            await send(collector, "a")
            await clock.advance(PAUSE)
            await pause_over(clock)
            await waiting(clock, HEARTBEAT)
            await clock.advance(HEARTBEAT)

            assert await listener.next() == Message(id=1, comment="still here")


class TestReplay:
    """
    What a reader missed.
    """

    async def test_a_reader_goes_on_where_it_was(self, collector: Collector) -> None:
        """
        It is told at once of what came after the event that it names.
        """
        await send(collector, "a", "b", "c")

        async with listen(collector, last_event_id="1") as listener:
            hello, message = await listener.next(), await listener.next()

        assert (hello.id, hello.data["last"]) == (1, 3)
        assert message.ids == ["b", "c"]

    @pytest.mark.parametrize(
        ("header", "after", "expected"),
        [(None, 2, ["c"]), ("1", 2, ["b", "c"]), ("", 2, ["c"]), (None, 0, ["a", "b", "c"])],
    )
    async def test_the_header_is_newer_than_the_address(
        self, collector: Collector, header: str | None, after: int, expected: list[str]
    ) -> None:
        """
        A browser that comes back asks for the old address, and names its last event beside it.
        """
        await send(collector, "a", "b", "c")

        async with listen(collector, header, after=after) as listener:
            await listener.next()
            assert (await listener.next()).ids == expected

    async def test_an_event_of_another_database_is_none(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        Who is ahead of this database is told from its end on.
        """
        await send(collector, "a")
        async with listen(collector, last_event_id="99") as listener:
            assert (await listener.next()).id == 1
            await send(collector, "b")
            await pause_over(clock)

            assert (await listener.next()).ids == ["b"]

    async def test_who_is_far_behind_is_told_how_far(self, collector: Collector) -> None:
        """
        A message has the newest 200, and says how many there were before.
        """
        await send(collector, *(f"e{n}" for n in range(500)))

        async with listen(collector, after=100) as listener:
            await listener.next()
            message = await listener.next()

        assert message.ids == [f"e{n}" for n in range(300, 500)]
        assert (message.data["skipped"], message.id) == (200, 500)

    async def test_only_what_was_asked_for_is_skipped(self, collector: Collector) -> None:
        """
        What a filter leaves out is not missed.
        """
        await send(collector, *(f"a{n}" for n in range(250)), error="no")
        await send(collector, *(f"b{n}" for n in range(250)))

        async with listen(collector, after=0, error="yes") as listener:
            await listener.next()
            message = await listener.next()

        assert (len(message.ids), message.data["skipped"]) == (200, 50)

    async def test_a_restart_is_no_gap(self, tmp_path: Path) -> None:
        """
        A database that was kept goes on with its numbers and its name.
        """
        db = tmp_path / "events.db"
        async with Collector(db=db) as collector, listen(collector) as listener:
            before = await listener.next()
            await send(collector, "a")
            last = (await listener.next()).id
        async with Collector(db=db) as collector:
            await send(collector, "b")
            async with listen(collector, str(last)) as listener:
                after, message = await listener.next(), await listener.next()

        assert after.data["store"] == before.data["store"]
        assert message.ids == ["b"]


class TestLimits:
    """
    What a stream may cost.
    """

    @pytest.mark.parametrize(
        ("header", "query"), [("x", {}), ("-1", {}), (None, {"after": "x"}), (None, {"limit": 5})]
    )
    async def test_a_bad_query_is_refused(
        self, collector: Collector, header: str | None, query: dict[str, Any]
    ) -> None:
        """
        It is answered 400, as JSON.
        """
        async with listen(collector, header, **query) as listener:
            assert listener.response.status == 400
            assert (await listener.response.json())["errorCode"] == "invalid_request"

    async def test_there_are_at_most_32(self, collector: Collector) -> None:
        """
        One more is refused, until one of them ends.
        """
        async with AsyncExitStack() as stack:
            *_, one = [await stack.enter_async_context(listen(collector)) for _ in range(32)]
            async with listen(collector) as refused:
                assert refused.response.status == 503
                assert (await refused.response.json())["errorCode"] == "unavailable"

            one.response.close()

            async with asyncio.timeout(10):
                while True:
                    async with listen(collector) as listener:
                        if listener.response.status == 200:
                            break

    async def test_who_does_not_read_is_let_go(
        self, collector: Collector, clock: FakeClock
    ) -> None:
        """
        A reader that takes nothing for half a minute is cut off.
        """
        address = urlsplit(collector.url)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=2**10)
        writer.write(f"GET /api/stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        await reader.readuntil(b"event: hello")
        large = "🎈" * 200
        for _ in range(12):
            names = [f"{large}{n}" for n in range(200)]
            await send(collector, *names, event_name=large, provider=large, error=large * 2)
            await clock.advance(PAUSE)

        await clock.advance(60)

        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                while await reader.read(2**20):
                    pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_streams_end_with_the_collector() -> None:
    """
    They are ended, not cut: the reader sees the end of an answer that is whole.
    """
    async with Collector() as collector, listen(collector) as listener:
        await listener.next()

        await collector.aclose()

        assert await listener.response.content.read() == b""


async def test_a_reader_that_goes_away_leaves_no_trace(
    collector: Collector, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The next word to it ends its stream, without an error.
    """
    tasks = asyncio.all_tasks()
    async with listen(collector) as listener:
        await listener.next()
    await waiting(clock, PAUSE)
    await send(collector, "a")
    await clock.advance(HEARTBEAT)

    await until(lambda: asyncio.all_tasks() == tasks)
    assert caplog.records == []
