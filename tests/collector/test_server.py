"""
The collector over real sockets, and its database on a real disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import ClientError, ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector
from hh_exporter._collector.storage.store import EventRow, Store
from hh_exporter.exceptions import ExporterError
from tests.collector_client import (
    EXPORT,
    MANY,
    ONE,
    SESSIONS,
    V1_MANY,
    V1_ONE,
    exported,
    known_sessions,
    model_event,
    post,
    refusal,
    stored,
    v1_event,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


CUT = b"POST /events/model HTTP/1.1\r\nHost: %s\r\nContent-Length: 99\r\n\r\n{"


def store_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "hh-collector" in thread.name]


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


class TestEvents:
    """
    POST /events/model.
    """

    async def test_an_event_is_stored_as_it_was_sent(self, collector: Collector) -> None:
        """
        A valid event is answered with its id, and comes back unchanged.
        """
        event = model_event(event_id="e1", error=None, unknown={"key": [1, None]})

        answer = await post(collector, ONE, {"model_event": event})

        assert answer == (200, {"event_id": "e1", "success": True})
        [found] = await stored(collector)
        assert (found.event, found.event_id, found.path) == (event, "e1", ONE)

    async def test_an_event_without_an_id_gets_one(self, collector: Collector) -> None:
        """
        The collector makes an id, and keeps it beside the event.
        """
        _, answer = await post(collector, ONE, {"model_event": model_event()})

        [found] = await stored(collector)
        assert found.event_id == answer["event_id"] != ""
        assert "event_id" not in found.event

    async def test_a_repeated_id_is_stored_again(self, collector: Collector) -> None:
        """
        Two events with one id are two rows, so that a duplicate can be seen.
        """
        for _ in range(2):
            await post(collector, ONE, {"model_event": model_event(event_id="e1")})

        assert [found.event_id for found in await stored(collector)] == ["e1", "e1"]

    async def test_the_time_of_arrival_is_the_clocks(self) -> None:
        """
        An event is stamped with the wall time in whole milliseconds.
        """

        class StoppedClock(SystemClock):
            wall = staticmethod(lambda: 1_750_000_000.25)

        async with Collector(clock=StoppedClock()) as collector:
            await post(collector, ONE, {"model_event": model_event()})

            assert [found.time for found in await stored(collector)] == [1_750_000_000_250]

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            (rb"cut \ud83d", "cut \ufffd"),
            (b"caf\xe9", "caf\u00e9"),
            (b"two\nlines", "two\nlines"),
        ],
        ids=["half a pair", "Latin-1", "a control character"],
    )
    async def test_odd_json_is_taken(self, collector: Collector, text: bytes, kept: str) -> None:
        """
        What no strict reader takes, and clients write all the same, spoils no event beside it.
        """
        one = orjson.dumps(model_event(error="TEXT"))
        body = b'\xef\xbb\xbf{"model_events": [%b, %b]}' % (one, one.replace(b"TEXT", text))

        status, _ = await post(collector, MANY, body)

        assert status == 200
        assert [found.event["error"] for found in await stored(collector)] == ["TEXT", kept]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"", "is not JSON"),
            (b'{"model_event":', "is not JSON"),
            (rb'"\ud800"', "body: must be an object"),
            ([], "body: must be an object"),
            ({}, "body: model_event: is required"),
            ({"model_event": []}, "body: model_event: must be an object"),
            (
                {"model_event": model_event(cost="free", tool_choice={})},
                "body: model_event: cost: must be a number; tool_choice: must be a string",
            ),
        ],
    )
    async def test_a_bad_body_is_refused(
        self, collector: Collector, body: object, problem: str
    ) -> None:
        """
        A body that is no valid request is answered 400 and a reason; nothing is stored.
        """
        status, answer = await post(collector, ONE, body)

        assert status == 400
        assert answer["errorCode"] == "invalid_request"
        assert problem in answer["message"]
        assert await collector.count() == 0


class TestBatches:
    """
    POST /events/model/batch.
    """

    async def test_a_batch_is_stored_in_order(self, collector: Collector) -> None:
        """
        The answer lists the ids in the order of the events, and so does the store.
        """
        events = [model_event(event_id=f"e{n}") for n in range(20)]

        answer = await post(collector, MANY, {"model_events": events})

        assert answer == (200, {"event_ids": [f"e{n}" for n in range(20)], "success": True})
        assert [found.event for found in await stored(collector)] == events
        assert {found.path for found in await stored(collector)} == {MANY}

    async def test_a_bad_event_harms_only_itself(self, collector: Collector) -> None:
        """
        The good events of a batch are stored; the answer is the API's 500 for a part.
        """
        events = [model_event(event_id="a"), 7, model_event(model=None), model_event(event_id="b")]

        answer = await post(collector, MANY, {"model_events": events})

        assert answer == (
            500,
            {
                "event_ids": ["a", "b"],
                "errors": [
                    "model_events[1]: must be an object",
                    "model_events[2]: model: must be a string",
                ],
                "success": True,
            },
        )
        assert [found.event_id for found in await stored(collector)] == ["a", "b"]

    async def test_an_empty_batch_is_accepted(self, collector: Collector) -> None:
        """
        A batch of no events creates none, without an error.
        """
        answer = await post(collector, MANY, {"model_events": []})

        assert answer == (200, {"event_ids": [], "success": True})

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"model_event": model_event()}, "body: model_events: is required"),
            ({"model_events": model_event()}, "body: model_events: must be an array"),
            (
                {"model_events": [model_event()], "is_single_session": "yes"},
                "body: is_single_session: must be true or false",
            ),
            (
                {"model_events": [model_event()], "session_properties": {"source": 1}},
                "body: session_properties: source: must be a string",
            ),
        ],
    )
    async def test_a_bad_wrapper_is_refused_as_a_whole(
        self, collector: Collector, body: object, problem: str
    ) -> None:
        """
        Where the fault is not in an event, no event is stored.
        """
        answer = await post(collector, MANY, body)

        assert answer == refusal(problem)
        assert await collector.count() == 0


class TestV1:
    """
    POST /v1/events and POST /v1/events/batch.
    """

    async def test_an_event_is_stored_as_it_was_sent(self, collector: Collector) -> None:
        """
        A valid event is answered with its id, and comes back unchanged.
        """
        event = v1_event(event_id="e1", error=None, metadata={"key": [1, None, "\0"]})

        answer = await post(collector, V1_ONE, event)

        assert answer == (200, {"event_id": "e1", "success": True})
        [found] = await stored(collector)
        assert (found.event, found.event_id, found.path) == (event, "e1", V1_ONE)

    async def test_a_batch_is_stored_in_order(self, collector: Collector) -> None:
        """
        The answer lists the ids in the order of the events, those that it made, too.
        """
        events = [v1_event(event_id="a"), v1_event(), v1_event(event_id="c")]

        status, answer = await post(collector, V1_MANY, {"events": events})

        found = await stored(collector)
        assert (status, answer["success"]) == (200, True)
        assert answer["event_ids"] == [one.event_id for one in found]
        assert answer["event_ids"][::2] == ["a", "c"]
        assert [one.event for one in found] == events
        assert {one.path for one in found} == {V1_MANY}

    async def test_an_empty_batch_is_accepted(self, collector: Collector) -> None:
        """
        A batch of no events creates none, and no session.
        """
        answer = await post(collector, V1_MANY, {"events": [], "single_session": True})

        assert answer == (200, {"event_ids": [], "success": True})
        assert await exported(collector, SESSIONS) == []

    @pytest.mark.parametrize(
        ("path", "body", "problem"),
        [
            (V1_ONE, b"", "is not JSON: "),
            (V1_ONE, [], "must be an object"),
            (V1_ONE, {}, "event_type: is required; inputs: is required"),
            (V1_ONE, v1_event(project="p"), "must have no unknown fields"),
            (
                V1_ONE,
                v1_event(event_type="x"),
                "event_type: must be one of model, tool, chain, session",
            ),
            (V1_ONE, {"event": v1_event()}, "event_type: is required; inputs: is required; must"),
            (V1_MANY, [v1_event()], "must be an object"),
            (V1_MANY, {}, "events: is required"),
            (V1_MANY, {"events": {}}, "events: must be an array"),
            (
                V1_MANY,
                {"events": [v1_event(), v1_event(error=1), {}]},
                "events: [1]: error: must be a string or null",
            ),
            (
                V1_MANY,
                {"events": [v1_event()], "is_single_session": True},
                "must have no unknown fields",
            ),
            (
                V1_MANY,
                {"events": [v1_event()], "session_properties": {"session_name": 1}},
                "session_properties: session_name: must be a string",
            ),
        ],
    )
    async def test_a_bad_body_is_refused_as_a_whole(
        self, collector: Collector, path: str, body: object, problem: str
    ) -> None:
        """
        One fault anywhere is answered 400 and a reason; nothing is stored.
        """
        status, answer = await post(collector, path, body)

        assert (status, answer["errorCode"]) == (400, "invalid_request")
        assert answer["message"].startswith(f"body: {problem}")
        assert await collector.count() == 0

    async def test_each_dialect_has_its_own_routes(self, collector: Collector) -> None:
        """
        What the other dialect's routes accept is refused.
        """
        assert (await post(collector, V1_MANY, {"model_events": [model_event()]}))[0] == 400
        assert (await post(collector, V1_ONE, {"model_event": model_event()}))[0] == 400
        assert (await post(collector, MANY, {"events": [v1_event()]}))[0] == 400
        assert (await post(collector, ONE, v1_event()))[0] == 400


class TestFidelity:
    """
    What orjson can read is stored, and comes back equal.
    """

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**63), 2**64 - 1)
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=12,
            ),
            max_size=6,
        )
    )
    def test_any_json_comes_back_equal(self, values: list[Any]) -> None:
        """
        Strings with NUL, 64-bit integers and the like survive in events and in ids.
        """
        events = [model_event(event_id=str(value), metadata={"value": value}) for value in values]

        async def send() -> None:
            async with Collector() as collector:
                status, _ = await post(collector, MANY, {"model_events": events})

                found = await stored(collector)
                assert status == 200
                assert [one.event for one in found] == events
                assert [one.event_id for one in found] == [str(value) for value in values]

        asyncio.run(send())

    @pytest.mark.parametrize("levels", [200, 250, 254, 400, 402, 1020])
    @pytest.mark.parametrize(("left", "right"), [(b"[[", b"]]"), (b'{"k":[0,', b"]}")])
    async def test_deep_events_come_back_equal(
        self, collector: Collector, levels: int, left: bytes, right: bytes
    ) -> None:
        """
        An event nested deeper than orjson writes is stored all the same.
        """
        deep = left * (levels // 2) + b"1" + right * (levels // 2)
        event = orjson.dumps(model_event(metadata={"deep": orjson.Fragment(deep)}))

        status, _ = await post(collector, ONE, b'{"model_event":' + event + b"}")

        assert status == 200
        [line] = await exported(collector)
        assert line.startswith(b'{"event":' + event + b',"event_id":')
        assert len(await stored(collector)) == 1

    async def test_a_deep_v1_event_comes_back_equal(self, collector: Collector) -> None:
        """
        An event that is the whole body is nested as deep as orjson reads.
        """
        deep = orjson.Fragment(b"[" * 1020 + b"]" * 1020)
        event = orjson.dumps(v1_event(metadata={"deep": deep}))

        status, _ = await post(collector, V1_ONE, event)

        assert status == 200
        [line] = await exported(collector)
        assert line.startswith(b'{"event":' + event + b',"event_id":')
        assert len(await stored(collector)) == 1

    async def test_what_is_too_deep_to_read_is_refused(self, collector: Collector) -> None:
        """
        Nesting beyond what orjson reads is a bad request, not a crash.
        """
        status, _ = await post(collector, ONE, b"[" * 100_000 + b"]" * 100_000)

        assert status == 400

    @pytest.mark.parametrize(("excess", "expected"), [(-1, 200), (1, 413)])
    async def test_a_body_may_have_five_megabytes(
        self, collector: Collector, excess: int, expected: int
    ) -> None:
        """
        A larger body is answered 413, as JSON, and the collector goes on.
        """
        body = orjson.dumps({"model_events": [model_event()]})

        status, answer = await post(collector, MANY, body.ljust(5_000_000 + excess))
        again, _ = await post(collector, MANY, body)

        assert (status, again) == (expected, 200)
        assert answer.get("errorCode") == (None if expected == 200 else "body_too_large")


class TestExport:
    """
    GET /api/events.jsonl.
    """

    async def test_each_line_is_one_event(self, collector: Collector) -> None:
        """
        A line holds the event, its id and session, its route and the time of its arrival.
        """
        events = [model_event(event_id=f"e{n}", event_name="\n\0 ") for n in range(3)]
        await post(collector, MANY, {"model_events": events})

        lines = await exported(collector)

        assert all(line.endswith(b"\n") for line in lines)
        assert [orjson.loads(line) for line in lines] == [
            {
                "event": found.event,
                "event_id": found.event_id,
                "session_id": found.session_id,
                "path": MANY,
                "time": found.time,
            }
            for found in await stored(collector)
        ]

    async def test_nothing_stored_is_no_line(self, collector: Collector) -> None:
        """
        The export of an empty collector is empty.
        """
        assert await exported(collector) == []
        assert await exported(collector, SESSIONS) == []

    async def test_many_pages_come_in_order(self, collector: Collector) -> None:
        """
        What is too much for one page is read page by page, nothing twice or left out.
        """
        events = [
            model_event(event_id=str(n), metadata={"text": "x" * 2**14 * (n % 7)})
            for n in range(40)
        ]
        await post(collector, MANY, {"model_events": events})

        async with (
            ClientSession(collector.url, read_bufsize=2**24) as client,
            client.get(EXPORT) as response,
        ):
            lines = [orjson.loads(line)["event"] async for line in response.content]

        assert lines == events
        assert [found.event for found in await stored(collector)] == events

    async def test_reading_ends_while_events_arrive(self, collector: Collector) -> None:
        """
        Only the events that were there when reading began are read.
        """
        for _ in range(2):
            await post(collector, ONE, {"model_event": model_event()})

        seen = 0
        async for _ in collector.events():
            seen += 1
            await post(collector, ONE, {"model_event": model_event()})

        assert seen == 2
        assert await collector.count() == 4


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/events/model/", 404, "not_found"),
        ("POST", "/v1/sessions/s/events", 404, "not_found"),
        ("GET", ONE, 405, "method_not_allowed"),
        ("PUT", MANY, 405, "method_not_allowed"),
        ("GET", V1_ONE, 405, "method_not_allowed"),
        ("POST", EXPORT, 405, "method_not_allowed"),
        ("POST", SESSIONS, 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_served_is_answered_as_json(
    collector: Collector, method: str, path: str, status: int, code: str
) -> None:
    """
    Other paths are 404, other methods 405, with message and errorCode.
    """
    async with (
        ClientSession(collector.url) as client,
        client.request(method, path) as response,
    ):
        answer = await response.json()

    assert response.status == status
    assert answer["errorCode"] == code
    assert str(status) in answer["message"]
    assert ("Allow" in response.headers) == (status == 405)


async def test_a_client_that_goes_away_leaves_no_trace(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A request cut short stores nothing and logs no error.
    """
    address = urlsplit(collector.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(CUT % address.netloc.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    await post(collector, ONE, {"model_event": model_event()})

    assert await collector.count() == 1
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


class TestLifetime:
    """
    start() and aclose().
    """

    async def test_it_can_be_started_again(self) -> None:
        """
        start() and aclose() work twice; without a file, a new start begins empty.
        """
        collector = Collector()
        for _ in range(2):
            await collector.start()
            await collector.start()
            assert await collector.count() == 0
            await post(collector, ONE, {"model_event": model_event()})
            await collector.aclose()
            await collector.aclose()

    async def test_it_says_when_it_is_not_running(self) -> None:
        """
        url, count(), events() and sessions() need a running collector, and say so.
        """
        collector = Collector()

        with pytest.raises(ExporterError, match=r"await start\(\)"):
            collector.url  # noqa: B018
        with pytest.raises(ExporterError, match=r"await start\(\)"):
            await collector.count()
        with pytest.raises(ExporterError, match=r"await start\(\)"):
            await stored(collector)
        with pytest.raises(ExporterError, match=r"await start\(\)"):
            await known_sessions(collector)

    async def test_nothing_is_left_after_aclose(self) -> None:
        """
        Threads and tasks are as before, although a client still holds a connection.
        """
        tasks = asyncio.all_tasks()
        collector = Collector()
        await collector.start()
        async with ClientSession(collector.url) as client:
            async with client.get(EXPORT) as response:
                await response.read()

            await collector.aclose()

            assert asyncio.all_tasks() == tasks
        assert store_threads() == []

    async def test_a_stalled_request_does_not_hold_aclose(self) -> None:
        """
        A body that never arrives is given up.
        """
        async with Collector() as collector, asyncio.timeout(5):
            address = urlsplit(collector.url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(CUT % address.netloc.encode())
            await post(collector, ONE, {"model_event": model_event()})

            await collector.aclose()

            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    async def test_a_taken_port_is_an_error(self, collector: Collector) -> None:
        """
        The error names host and port and what to do; the database is let go.
        """
        port = urlsplit(collector.url).port or 0

        with pytest.raises(ExporterError, match=rf"127.0.0.1, port {port} .*choose another"):
            await Collector(port=port).start()

        assert len(store_threads()) == 1

    async def test_ipv6_is_served(self) -> None:
        """
        The url of an IPv6 address has it in brackets.
        """
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 here")

        async with Collector(host="::1") as collector:
            assert collector.url.startswith("http://[::1]:")
            assert (await post(collector, ONE, {"model_event": model_event()}))[0] == 200

    async def test_a_cancelled_start_holds_nothing(self, tmp_path: Path) -> None:
        """
        A start() that is cancelled while the database opens lets go of it.
        """
        collector = Collector(db=tmp_path / "events.db")
        start = asyncio.create_task(collector.start())
        await asyncio.sleep(0)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert store_threads() == []

        await collector.start()
        assert await collector.count() == 0
        await collector.aclose()


class TestDatabase:
    """
    The file given as db.
    """

    async def test_a_file_is_added_to(self, tmp_path: Path) -> None:
        """
        Events outlive the collector that took them, and are readable as SQLite text.
        """
        db = tmp_path / "events.db"
        for n in range(2):
            async with Collector(db=str(db)) as collector:
                event = model_event(event_id=f"e{n}", session_id="s")
                await post(collector, ONE, {"model_event": event})
                assert await collector.count() == n + 1
                assert [one.session_id for one in await known_sessions(collector)] == ["s"]

        with contextlib.closing(sqlite3.connect(db)) as connection:
            found = connection.execute("SELECT event_id, event FROM texts ORDER BY id").fetchall()
        assert [(one, json.loads(text)["event_id"]) for one, text in found] == [
            ("e0", "e0"),
            ("e1", "e1"),
        ]
        assert files(tmp_path) == [db]

    async def test_an_answered_event_is_committed(self, tmp_path: Path) -> None:
        """
        Another connection sees an event as soon as it is answered.
        """
        db = tmp_path / "events.db"
        async with Collector(db=db) as collector:
            await post(collector, ONE, {"model_event": model_event()})

            with contextlib.closing(sqlite3.connect(db)) as connection:
                assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)

    @pytest.mark.parametrize("kind", ["text", "sqlite", "sqlite in WAL mode", "same version"])
    async def test_a_foreign_file_is_left_alone(self, tmp_path: Path, kind: str) -> None:
        """
        A file of another program is refused, and not one byte of it is changed.
        """
        db = tmp_path / "notes.db"
        db.write_bytes(b"not a database\n" * 100 if kind == "text" else b"")
        if kind != "text":
            with contextlib.closing(sqlite3.connect(db)) as connection:
                if kind == "sqlite in WAL mode":
                    connection.execute("PRAGMA journal_mode = WAL")
                if kind == "same version":
                    connection.execute("PRAGMA user_version = 3")
                connection.execute("CREATE TABLE notes (text)")
        before = db.read_bytes()

        with pytest.raises(ExporterError, match=r"notes\.db .*name (another|a new) file"):
            await Collector(db=db).start()

        assert db.read_bytes() == before
        assert files(tmp_path) == [db]

    @pytest.mark.parametrize("version", [1, 2, 7])
    async def test_a_file_of_another_version_is_left_alone(
        self, tmp_path: Path, version: int
    ) -> None:
        """
        A collector does not guess what another version wrote.
        """
        db = tmp_path / "events.db"
        async with Collector(db=db):
            pass
        with contextlib.closing(sqlite3.connect(db)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")

        with pytest.raises(ExporterError, match="another version"):
            await Collector(db=db).start()

    async def test_a_place_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        """
        The error names the file and what to do.
        """
        with pytest.raises(ExporterError, match=r"none/events\.db .*can be written"):
            await Collector(db=tmp_path / "none" / "events.db").start()

    async def test_a_cancelled_add_is_all_or_nothing(self) -> None:
        """
        Wherever a transaction is cancelled, all its rows are stored or none.
        """
        rows = [EventRow(b"{}", "e", "s", ONE, 0)] * 500
        async with Store.open(None) as store:
            for steps in range(20):
                before = await store.count()
                add = asyncio.create_task(store.add(rows))
                for _ in range(steps):
                    await asyncio.sleep(0)
                add.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await add

                assert await store.count() - before in (0, 500)

    async def test_closing_loses_nothing_that_was_answered(self, tmp_path: Path) -> None:
        """
        Each id answered while the collector closes is in the file.
        """
        db = tmp_path / "events.db"
        collector = Collector(db=db)
        await collector.start()
        answered: set[str] = set()
        enough = asyncio.Event()

        async def send() -> None:
            async with ClientSession(collector.url) as client:
                with contextlib.suppress(ClientError):
                    while True:
                        body = {"model_events": [model_event()] * 20}
                        async with client.post(MANY, json=body) as response:
                            answered.update((await response.json())["event_ids"])
                        if len(answered) >= 200:
                            enough.set()

        async with asyncio.TaskGroup() as senders:
            for _ in range(4):
                senders.create_task(send())
            await enough.wait()
            await collector.aclose()

        async with Collector(db=db) as collector:
            assert answered <= {found.event_id for found in await stored(collector)}
