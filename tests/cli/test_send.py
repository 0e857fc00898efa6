"""
`hh-exporter send`: every line has an outcome, and the status tells the truth.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import gzip
import io
import json
import os
import pty
import signal
import termios
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter import BatchLimits, QueueLimits
from hh_exporter._cli._lines import MAX_LINE_BYTES, Line, LineReader, split
from hh_exporter._cli._report import ErrorConsole, Report
from hh_exporter._cli.send import Sending, Summary
from hh_exporter._environment import read_settings
from tests.command import Finished, call, finish, run, started
from tests.conftest import BuildExporter
from tests.relaying import let_relay
from tests.scripted_server import (
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    refuse_if,
    status,
    unavailable,
)
from tests.support import FakeClock, assert_balanced, settle, until

CANARY = "canary-3f1c"
"""Stands in keys and payloads, and must never be told."""
BOM = b"\xef\xbb\xbf"
NUMBERS = [
    "read",
    "invalid",
    "skipped",
    "pushed",
    "delivered",
    "relayed",
    "rejected",
    "dropped",
    "left",
    "requests",
    "retries",
]


def line(model: str, **fields: Any) -> bytes:
    """
    Write an event as a line without its end.
    """
    return orjson.dumps({"model": model, "inputs": {"text": CANARY}, **fields})


def lines(count: int) -> bytes:
    return b"".join(line(str(n)) + b"\n" for n in range(count))


def models(server: ScriptedServer) -> list[str]:
    return [event["model"] for event in server.created]


class MakeSending(Protocol):
    """
    Makes a run that sends to `server` on the fake clock.
    """

    def __call__(self, report: Report | None = None, **arguments: Any) -> Sending: ...


@pytest.fixture
def make_sending(build_exporter: BuildExporter, clock: FakeClock) -> MakeSending:
    def make(report: Report | None = None, **arguments: Any) -> Sending:
        exporter = build_exporter(**arguments)
        return Sending(exporter=exporter, report=report or Report(), clock=clock)

    return make


@pytest.fixture
def sending(make_sending: MakeSending) -> Sending:
    return make_sending()


async def send(sending: Sending, *names: Path, timeout: float = 60.0) -> Summary:
    """
    Send what is in some files, and check that the numbers add up.
    """
    await sending.run(tuple(map(str, names)), timeout, close_timeout=5.0)
    summary = sending.summary()
    assert summary.read == summary.invalid + summary.skipped + summary.pushed
    settled = summary.delivered + summary.relayed + summary.rejected + summary.dropped
    assert summary.pushed == settled + summary.left
    assert_balanced(sending.exporter)
    return summary


@pytest.fixture(autouse=True)
def _readers_end() -> Iterator[None]:
    """
    Wait for the threads that nobody waits for in a process that ends.
    """
    yield
    for thread in threading.enumerate():
        if "line reader" in thread.name:
            thread.join(20.0)


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[io.FileIO]:
    """
    Make a named pipe at *path*, and write to it as soon as somebody reads it.
    """
    pipe = await asyncio.to_thread(path.open, "wb", buffering=0)
    with pipe:
        yield pipe


async def write(pipe: io.FileIO, data: bytes) -> None:
    """
    Write *data* and wait until it was read.
    """
    pipe.write(data)
    unread = array.array("i", [1])

    def is_read() -> bool:
        fcntl.ioctl(pipe, termios.FIONREAD, unread)
        return unread[0] == 0

    await until(is_read)


class TestReading:
    """
    What is a line, wherever it comes from.
    """

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(lines(2), id="plain"),
            pytest.param(lines(2).rstrip(), id="no end of the last line"),
            pytest.param(lines(2).replace(b"\n", b"\r\n"), id="CRLF"),
            pytest.param(BOM + lines(2), id="BOM"),
            pytest.param(BOM + b"\n" + lines(2), id="BOM on a line of its own"),
            pytest.param(b"\n \t\n" + lines(2).replace(b"\n", b"\n\r\n\n") + b" ", id="blanks"),
            pytest.param(gzip.compress(lines(2)), id="gzip"),
            pytest.param(gzip.compress(BOM + lines(2)), id="BOM in gzip"),
            pytest.param(
                gzip.compress(lines(2)[:9]) + gzip.compress(lines(2)[9:]), id="members of gzip"
            ),
        ],
    )
    async def test_a_line_is_a_line_in_every_form(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path, content: bytes
    ) -> None:
        """
        Line ends, blank lines, a byte order mark and gzip make no difference.
        """
        (tmp_path / "events").write_bytes(content)

        summary = await send(sending, tmp_path / "events")

        assert models(server) == ["0", "1"]
        assert summary.read == 2
        assert sending.is_complete

    async def test_what_repeats_a_session_is_skipped(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        That is no fault, and it is counted.
        """
        said = [{"session_name": "n"}, {"session_name": "n"}, {}]
        exported = [{"session_id": "s", "properties": one, "time": 1} for one in said]
        (tmp_path / "sessions").write_bytes(b"\n".join(map(orjson.dumps, exported)))

        summary = await send(sending, tmp_path / "sessions")

        assert sending.is_complete
        assert (summary.read, summary.skipped, summary.pushed) == (3, 2, 1)
        assert [event["event_name"] for event in server.created] == ["n"]

    async def test_files_are_read_in_order(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        Each of several files has a form of its own, and their events keep their order.
        """
        (tmp_path / "one").write_bytes(BOM + line("a"))
        (tmp_path / "two").write_bytes(gzip.compress(line("b")))
        (tmp_path / "three").write_bytes(BOM + line("c") + b"\n" + line("d"))

        await send(sending, tmp_path / "one", tmp_path / "two", tmp_path / "three")

        assert models(server) == ["a", "b", "c", "d"]

    async def test_nothing_to_send_is_nothing_undone(
        self, sending: Sending, tmp_path: Path
    ) -> None:
        """
        An empty file is a complete run.
        """
        (tmp_path / "empty").touch()

        summary = await send(sending, tmp_path / "empty")

        assert sending.is_complete
        assert not any(attrs.astuple(summary))

    async def test_gzip_is_recognised_however_it_trickles_in(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        A pipe may bring the first byte alone, and the rest piece by piece.
        """
        path = tmp_path / "pipe"
        os.mkfifo(path)
        data = gzip.compress(lines(2))
        sent = asyncio.create_task(send(sending, path))
        async with writing(path) as pipe:
            await write(pipe, data[:1])
            await write(pipe, data[1:20])
            await write(pipe, data[20:])
        await sent

        assert models(server) == ["0", "1"]
        assert sending.is_complete

    async def test_a_line_does_not_wait_for_the_next_one(
        self, sending: Sending, server: ScriptedServer, clock: FakeClock, tmp_path: Path
    ) -> None:
        """
        What a slow pipe has brought leaves when its linger is over.
        """
        path = tmp_path / "pipe"
        os.mkfifo(path)
        sent = asyncio.create_task(send(sending, path))
        async with writing(path) as pipe:
            pipe.write(lines(1) + b'{"model":')
            await until(lambda: sending.exporter.stats().pushed)
            await clock.advance(1.0)
            request = await server.next_request()
            pipe.write(b'"last"}')
        await sent

        assert [event["model"] for event in request.events] == ["0"]
        assert models(server) == ["0", "last"]

    async def test_reading_keeps_pace_with_sending(self, tmp_path: Path) -> None:
        """
        However large a file is, only a few pieces of it are in memory.
        """
        piece = 2**18
        (tmp_path / "large").write_bytes((b"x" * 1023 + b"\n") * (32 * piece // 1024))

        taken = 0
        with LineReader([str(tmp_path / "large")]) as reader:
            for _ in range(200):
                await settle()  # time enough to read it all, if nothing held the thread
            assert reader.bytes_read <= 5 * piece
            async for some in reader:
                taken += sum(len(item.text) + 1 for item in some if isinstance(item, Line))

        assert taken == 32 * piece

    @given(data=st.binary(max_size=60).map(lambda b: b.replace(b"0", b"\n")), cuts=st.data())
    def test_lines_do_not_depend_on_how_they_arrive(self, data: bytes, cuts: st.DataObject) -> None:
        """
        Wherever a stream is cut into reads, its lines are those of the whole.
        """
        ends = sorted(cuts.draw(st.sets(st.integers(1, max(1, len(data))), max_size=8)))
        pieces = [data[a:b] for a, b in pairwise([0, *ends, len(data)]) if a < b]

        found = [text for texts in split(Pieces(pieces)) for text in texts]

        assert found == data.removeprefix(BOM).split(b"\n")


class Pieces(io.BufferedIOBase):
    """
    A stream that gives one piece at each read.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)

    def read1(self, size: int = -1) -> bytes:
        return next(self._pieces, b"")


class TestBadInput:
    """
    What is no event is named, and the rest goes on.
    """

    @pytest.mark.parametrize(
        ("bad", "problem"),
        [
            (b'{"model": "a", "cost": "%s"}' % CANARY.encode(), "cost: must be a number"),
            (b'{"model": 1}', "model: must be a string"),
            (b'{"model": null}', "model: is missing"),
            (b'{"messages": []}', "model: is missing"),
            (b'{"model": "a", "messages": ["x"]}', "messages: must be an array of objects"),
            (b"[]", "must be an object"),
            (b'"%s"' % CANARY.encode(), "must be an object"),
            (b'{"model": NaN}', "model: is missing"),
            (b'{"%s' % CANARY.encode(), "is not JSON: "),
            (b"[" * 5000, "is not JSON: "),
            (b'{"model": "%s\xff}' % CANARY.encode(), "is not JSON: "),
            (b"\x00\x01\x02", "is not JSON: "),
        ],
    )
    async def test_an_invalid_line_is_named_and_not_shown(
        self,
        sending: Sending,
        server: ScriptedServer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        bad: bytes,
        problem: str,
    ) -> None:
        """
        stderr has its file, number, field and problem, never its text; the others are sent.
        """
        path = tmp_path / "events.jsonl"
        path.write_bytes(line("a") + b"\n\n" + bad + b"\n" + line("b"))

        summary = await send(sending, path)

        said = capsys.readouterr().err
        assert said.startswith(f"{path}:3: {problem}")
        assert said.count("\n") == 1
        assert CANARY not in said
        assert (summary.read, summary.invalid) == (3, 1)
        assert models(server) == ["a", "b"]
        assert not sending.is_complete

    @pytest.mark.parametrize(
        ("text", "sent"),
        [
            (rb"cut \ud83d", "cut \ufffd"),
            (b"caf\xe9", "caf\u00e9"),
            (b"a\tb", "a\tb"),
        ],
        ids=["half a pair", "Latin-1", "a control character"],
    )
    async def test_odd_json_is_sent(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path, text: bytes, sent: str
    ) -> None:
        """
        A line that no strict reader takes is an event all the same, of what can be read.
        """
        path = tmp_path / "events.jsonl"
        path.write_bytes(b'\xef\xbb\xbf{"model": "a", "error": "%b", "cost": NaN}\n' % text)

        summary = await send(sending, path)

        assert (summary.invalid, summary.delivered) == (0, 1)
        assert [event["error"] for event in server.created] == [sent]

    async def test_many_invalid_lines_are_counted(
        self, sending: Sending, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        The first twenty are named; one line counts the rest.
        """
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"{}\n" * 1033)

        summary = await send(sending, path)

        said = capsys.readouterr().err.splitlines()
        assert said == [
            *(f"{path}:{n}: model: is missing" for n in range(1, 21)),
            "1,013 more invalid lines",
        ]
        assert summary.invalid == 1033

    async def test_lines_are_numbered_through_a_large_file(
        self, sending: Sending, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        A line's number does not depend on the piece in which it was read.
        """
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"\n" * 1_000_000 + b"{}")

        await send(sending, path)

        assert capsys.readouterr().err == f"{path}:1000001: model: is missing\n"

    async def test_an_endless_line_is_one_invalid_line(
        self,
        sending: Sending,
        server: ScriptedServer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        A line that could be no event is not kept in memory, and the next is read.
        """
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"x" * (MAX_LINE_BYTES + 2**20) + b"\n" + line("next"))

        summary = await send(sending, path)

        assert capsys.readouterr().err == f"{path}:1: is longer than 33,554,432 bytes\n"
        assert (summary.invalid, summary.delivered) == (1, 1)
        assert models(server) == ["next"]

    def test_an_endless_line_is_cut(self) -> None:
        """
        Of a line without an end, no more is kept than shows that it is too long.
        """
        piece = b"x" * 2**20
        (texts,) = split(Pieces([piece] * 64))

        assert MAX_LINE_BYTES < len(texts[0]) <= MAX_LINE_BYTES + len(piece)

    async def test_an_event_that_cannot_be_sent_is_dropped(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        It is pushed and dropped, with its reason in the summary, and spoils nothing.
        """
        large = line("large", response={"text": "x" * 6_000_000})
        (tmp_path / "events").write_bytes(large + b"\n" + line("next"))

        summary = await send(sending, tmp_path / "events")

        assert (summary.pushed, summary.dropped, summary.delivered) == (2, 1, 1)
        assert ("dropped", "1", "too_large") in sending.rows()
        assert models(server) == ["next"]
        assert not sending.is_complete

    async def test_what_was_relayed_is_complete(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        It has a row of its own, which is not there otherwise.
        """
        let_relay(sending.exporter)
        assert "relayed" not in {name for name, _, _ in sending.rows()}
        (tmp_path / "events").write_bytes(lines(3))

        summary = await send(sending, tmp_path / "events")

        assert (summary.relayed, summary.delivered) == (3, 0)
        assert ("relayed", "3", "") in sending.rows()
        assert sending.is_complete

    async def test_an_event_that_is_too_deep_is_cut(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        It arrives, with a mark where it was cut.
        """
        deep = b'{"model":"deep","inputs":{"a":%s}}' % (b"[" * 300 + b"]" * 300)
        (tmp_path / "events").write_bytes(deep)

        summary = await send(sending, tmp_path / "events")

        assert summary.delivered == 1
        assert b"<too deep>" in server.requests[0].body

    @pytest.mark.parametrize(
        ("make", "problem", "count"),
        [
            (lambda path: path.mkdir(), "can't be read: Is a directory", 0),
            (lambda path: None, "can't be read: No such file or directory", 0),
            (
                lambda path: path.write_bytes(gzip.compress(lines(3000))[:-2000]),
                "ends in the middle of its gzip data",
                1,
            ),
            (
                lambda path: path.write_bytes(gzip.compress(lines(2)) + b"garbage"),
                "holds gzip data that are damaged",
                2,
            ),
            (
                lambda path: path.write_bytes(b"\x1f\x8b\x08" + b"\0" * 7 + b"\xff" * 99),
                "holds gzip data that are damaged",
                0,
            ),
        ],
        ids=["directory", "gone", "truncated", "garbage behind", "corrupt"],
    )
    async def test_an_unreadable_file_stops_no_other(
        self,
        sending: Sending,
        server: ScriptedServer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        make: Callable[[Path], object],
        problem: str,
        count: int,
    ) -> None:
        """
        It is named; what could be read of it is sent, and so are the other files.
        """
        bad, good = tmp_path / "bad", tmp_path / "good"
        make(bad)
        good.write_bytes(line("good"))

        summary = await send(sending, good, bad, good)

        assert capsys.readouterr().err == f"{bad}: {problem}\n"
        assert models(server).count("good") == 2
        assert summary.delivered == len(models(server)) >= 2 + count
        assert summary.invalid == 0
        assert not sending.is_complete

    async def test_a_closed_standard_input_is_an_unreadable_file(
        self,
        sending: Sending,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        Without a standard input, whatever has its descriptor is not read.
        """
        monkeypatch.setattr("sys.stdin", None)

        await send(sending, Path("-"))

        assert capsys.readouterr().err == "<stdin>: can't be read: it is closed\n"
        assert not sending.is_complete


class TestWaiting:
    """
    It waits for room, for outcomes, and no longer than it should.
    """

    async def test_it_waits_for_room(
        self, make_sending: MakeSending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        A queue smaller than the input costs no event.
        """
        (tmp_path / "events").write_bytes(lines(50))
        sending = make_sending(
            queue=QueueLimits(max_events=4), batch=BatchLimits(max_events=3, linger=0.0)
        )

        summary = await send(sending, tmp_path / "events")

        assert summary.delivered == 50
        assert models(server) == [str(n) for n in range(50)]
        assert sending.is_complete

    async def test_the_timeout_begins_after_the_last_line(
        self,
        sending: Sending,
        server: ScriptedServer,
        clock: FakeClock,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        What has no outcome by then is left, and it says so.
        """
        (tmp_path / "events").write_bytes(lines(3))
        server.default = hang()
        sent = asyncio.create_task(send(sending, tmp_path / "events", timeout=7.0))
        await server.next_request()
        await clock.advance(6.9)
        assert not sent.done()
        await clock.advance(0.1)
        summary = await sent

        assert (summary.pushed, summary.left, summary.dropped) == (3, 3, 0)
        said = capsys.readouterr().err
        assert said == "stopped when --timeout was over, before all was delivered\n"
        assert not sending.is_complete

    async def test_it_says_why_it_did_not_get_through(
        self,
        sending: Sending,
        server: ScriptedServer,
        clock: FakeClock,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        Where the time was spent on trying again, the last line says so.
        """
        (tmp_path / "events").write_bytes(lines(1))
        server.default = unavailable()
        sent = asyncio.create_task(send(sending, tmp_path / "events", timeout=0.25))
        await until(lambda: sending.exporter.stats().health == "retrying")
        await clock.advance(0.25)
        summary = await sent

        assert summary.left == 1
        assert "all was delivered: the server can't be reached" in capsys.readouterr().err

    @pytest.mark.parametrize("room", [2, 1000], ids=["queue full", "queue not full"])
    async def test_it_stops_where_the_server_refuses_us(
        self,
        make_sending: MakeSending,
        server: ScriptedServer,
        clock: FakeClock,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        room: int,
    ) -> None:
        """
        It says why, sends no more, and counts what was not sent as left.
        """
        (tmp_path / "events").write_bytes(lines(10))
        server.default = status(401)
        sending = make_sending(queue=QueueLimits(max_events=room))
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        if room == 2:
            await until(lambda: sending.exporter.stats().pushed == 2)
            await clock.advance(1.0)
        await until(lambda: sending.exporter.stats().health == "suspended")
        await clock.advance(0.1)
        summary = await sent

        assert summary.pushed == min(room, 10)
        assert (summary.left, summary.dropped) == (summary.pushed, 0)
        assert capsys.readouterr().err == "stopped: HTTP 401: check api_key (HH_API_KEY)\n"
        assert server.created == []
        assert len(server.requests) == 1

    async def test_what_was_delivered_before_a_refusal_stays_so(
        self, make_sending: MakeSending, server: ScriptedServer, clock: FakeClock, tmp_path: Path
    ) -> None:
        """
        A key that is revoked in the middle leaves the rest, and no number is lost.
        """
        (tmp_path / "events").write_bytes(lines(10))
        server.script(created())
        server.default = status(403)
        sending = make_sending(batch=BatchLimits(max_events=4), max_in_flight=1)
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        await until(lambda: sending.exporter.stats().health == "suspended")
        await clock.advance(0.1)
        summary = await sent

        assert (summary.delivered, summary.left) == (4, 6)
        assert not sending.is_complete

    async def test_the_summary_says_what_the_server_rejected(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        Rejected events stand with the server's status, and spoil no other.
        """
        (tmp_path / "events").write_bytes(lines(4))
        server.default = refuse_if(lambda event: event["model"] == "2")
        sending = Sending.of(read_settings({"base_url": server.url}, {}), Report())

        summary = await send(sending, tmp_path / "events")

        assert (summary.delivered, summary.rejected) == (3, 1)
        assert ("rejected", "1", "HTTP 400") in sending.rows()
        assert not sending.is_complete

    async def test_what_was_read_of_the_environment_takes_effect(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        Every setting reaches the exporter, which reads none of them again.
        """
        (tmp_path / "events").write_bytes(lines(3))
        environ = {
            "HH_API_URL": server.url,
            "HH_API_KEY": CANARY,
            "HH_SOURCE": "tests",
            "HH_EXPORTER_DIALECT": "v1",
            "HH_EXPORTER_BATCH_MAX_EVENTS": "2",
            "HH_EXPORTER_COMPRESSION": "gzip",
            "HH_EXPORTER_HIDE_INPUTS": "1",
        }
        sending = Sending.of(read_settings({}, environ), Report())

        await send(sending, tmp_path / "events")

        sent = server.requests[0]
        assert sent.path == "/v1/events/batch"
        assert sent.headers["authorization"] == f"Bearer {CANARY}"
        assert sent.headers["content-encoding"] == "gzip"
        assert sorted(len(request.events) for request in server.requests) == [1, 2]
        assert {event["source"] for event in server.created} == {"tests"}
        assert [event["inputs"] for event in server.created] == [{}] * 3


class TestSignals:
    """
    The first signal asks for an orderly end, the second for one at once.
    """

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_a_signal_stops_the_reading_and_flushes(
        self,
        sending: Sending,
        server: ScriptedServer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        number: signal.Signals,
    ) -> None:
        """
        What was read is delivered; input that was not read to its end is not all.
        """
        path = tmp_path / "pipe"
        os.mkfifo(path)
        sent = asyncio.create_task(send(sending, path))
        async with writing(path) as pipe:
            pipe.write(lines(3))
            await until(lambda: sending.exporter.stats().pushed == 3)
            os.kill(os.getpid(), number)
            summary = await sent

        assert models(server) == ["0", "1", "2"]
        assert (summary.delivered, summary.left) == (3, 0)
        assert capsys.readouterr().err == "stopped by a signal, before all was read\n"
        assert not sending.is_complete

    async def test_after_a_signal_it_waits_for_the_close_timeout(
        self,
        sending: Sending,
        server: ScriptedServer,
        clock: FakeClock,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """
        What has no outcome by then is left.
        """
        (tmp_path / "events").write_bytes(lines(3))
        server.default = hang()
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        await server.next_request()
        os.kill(os.getpid(), signal.SIGINT)
        await settle()
        await clock.advance(4.9)
        assert not sent.done()
        await clock.advance(0.1)
        summary = await sent

        assert (summary.delivered, summary.left) == (0, 3)
        said = capsys.readouterr().err
        assert said == "stopped by a signal, before all was delivered\n"

    async def test_a_signal_while_it_waits_for_outcomes_costs_none(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        A run that was told to end, and had read and delivered everything, is complete.
        """
        (tmp_path / "events").write_bytes(lines(3))
        server.script(hang_after_storing())
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        await server.next_request()
        os.kill(os.getpid(), signal.SIGINT)
        await settle()
        server.release()
        summary = await sent

        assert summary.delivered == 3
        assert sending.is_complete

    async def test_a_second_signal_ends_it_at_once(
        self, sending: Sending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        It waits for nobody, and still counts what is left.
        """
        (tmp_path / "events").write_bytes(lines(3))
        server.default = hang()
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        await server.next_request()
        os.kill(os.getpid(), signal.SIGINT)
        await settle()
        assert not sent.done()
        os.kill(os.getpid(), signal.SIGTERM)
        summary = await sent

        assert summary.left == 3
        assert not sending.is_complete

    async def test_a_signal_while_it_waits_for_room_loses_no_count(
        self, make_sending: MakeSending, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        The event that found no room was not read, as far as the numbers go.
        """
        (tmp_path / "events").write_bytes(lines(9))
        server.default = hang()
        sending = make_sending(queue=QueueLimits(max_events=2), batch=BatchLimits(max_events=2))
        sent = asyncio.create_task(send(sending, tmp_path / "events"))
        await server.next_request()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        summary = await sent

        assert (summary.read, summary.left) == (2, 2)


class TestProcess:
    """
    What scripts rely on: streams, statuses and variables.
    """

    async def test_it_is_a_good_end_of_a_pipeline(self, server: ScriptedServer) -> None:
        """
        Standard input is read, stdout has one line of JSON, and 0 means all delivered.
        """
        finished = await run(
            "send", "--json", "--url", server.url, stdin=gzip.compress(lines(3)), HH_API_KEY=CANARY
        )

        assert finished.status == 0
        assert finished.stdout.count("\n") == 1
        numbers = json.loads(finished.stdout)
        assert list(numbers) == NUMBERS
        assert numbers == {
            **dict.fromkeys(NUMBERS, 0),
            "read": 3,
            "pushed": 3,
            "delivered": 3,
            "requests": 1,
        }
        assert finished.stderr == ""
        assert models(server) == ["0", "1", "2"]
        assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
        assert CANARY not in finished.stdout

    async def test_the_summary_is_plain_where_there_is_no_terminal(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        Without --json it is a table for people, free of escape sequences.
        """
        (tmp_path / "events").write_bytes(lines(3) + b"{}\n")

        finished = await run("send", "--url", server.url, str(tmp_path / "events"))

        assert finished.status == 1
        table = [row.split() for row in finished.stdout.splitlines()]
        hidden = ("relayed", "skipped")
        assert [name for name, _ in table] == [name for name in NUMBERS if name not in hidden]
        assert [number for _, number in table] == ["4", "1", "3", "3", "0", "0", "0", "1", "0"]
        assert finished.stderr == f"{tmp_path / 'events'}:4: model: is missing\n"
        assert "\x1b" not in finished.stdout + finished.stderr

    async def test_options_go_before_the_environment(self, server: ScriptedServer) -> None:
        """
        --url, --dialect and --batch-max-events win, and the batch's other limits stay.
        """
        large = line("3", inputs={"text": "x" * 2000})
        finished = await run(
            *("send", "--url", server.url, "--dialect", "legacy", "--batch-max-events", "2"),
            stdin=lines(3) + large,
            HH_EXPORTER_DIALECT="v1",
            HH_API_URL="http://127.0.0.1:9",
            HH_EXPORTER_BATCH_MAX_EVENTS="7",
            HH_EXPORTER_BATCH_MAX_BYTES="1500",
        )

        assert finished.status == 0
        sent = sorted([e["model"] for e in request.events] for request in server.requests)
        assert sent == [["0", "1"], ["2"], ["3"]]

    async def test_an_empty_pipe_is_not_an_ended_one(self, server: ScriptedServer) -> None:
        """
        Standard input is read to its end, even if whoever made it never waits for it.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with (
            os.fdopen(writing, "wb", buffering=0) as pipe,
            started(
                *("send", "--json", "--url", server.url),
                stdin=reading,
                HH_EXPORTER_BATCH_LINGER="0",
            ) as process,
        ):
            os.close(reading)
            pipe.write(line("0") + b"\n")
            await server.next_request()
            pipe.write(line("1"))
            pipe.close()
            finished = await finish(process)

        assert finished.status == 0
        assert models(server) == ["0", "1"]

    async def test_a_signal_ends_it_with_its_summary(self, server: ScriptedServer) -> None:
        """
        A run that waits for input flushes what it has, prints the summary, and ends with 1.
        """
        with started("send", "--json", "--url", server.url) as process:
            assert process.stdin is not None
            process.stdin.write(lines(150))
            process.stdin.flush()
            await server.next_request()
            process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(process.wait, 60)
            assert process.stdout is not None
            numbers = json.loads(process.stdout.read())

        assert status == 1
        assert numbers["delivered"] == numbers["read"] == len(server.created) > 0
        assert numbers["left"] == 0

    async def test_two_signals_end_it_without_waiting(self, server: ScriptedServer) -> None:
        """
        A server that is silent holds nobody who insists, however long closing may take.
        """
        server.default = hang()
        with started(
            "send", "--json", "--url", server.url, HH_EXPORTER_CLOSE_TIMEOUT="3600"
        ) as process:
            assert process.stdin is not None
            process.stdin.write(lines(3))
            process.stdin.close()
            process.stdin = None
            await server.next_request()
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            finished = await finish(process)

        assert finished.status == 1
        assert json.loads(finished.stdout)["left"] == 3
        assert finished.stderr == "stopped by a signal, before all was delivered\n"

    @pytest.mark.parametrize(
        ("code", "said", "decided"),
        [(401, "stopped: HTTP 401: check api_key (HH_API_KEY)\n", "left"), (400, "", "rejected")],
    )
    async def test_what_the_server_refuses_is_told_once(
        self, server: ScriptedServer, code: int, said: str, decided: str
    ) -> None:
        """
        stderr has the reason where it stopped, and repeats nothing of the summary.
        """
        server.default = status(code)

        finished = await run("send", "--json", "--url", server.url, stdin=lines(3))

        assert finished.status == 1
        assert finished.stderr == said
        assert json.loads(finished.stdout)[decided] == 3

    async def test_what_is_left_in_a_spool_is_counted_as_left(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """
        The next run delivers it, and then all is as it should be.
        """
        server.default = unavailable()
        spool = {"HH_EXPORTER_SPOOL_DIRECTORY": str(tmp_path)}
        command = ("send", "--json", "--url", server.url)
        first = await run(*command, "--timeout", "0.1", stdin=lines(3), **spool)
        server.default = created()
        second = await run(*command, stdin=lines(2), **spool)

        told = json.loads(first.stdout)
        assert (first.status, told["pushed"], told["left"], told["dropped"]) == (1, 3, 3, 0)
        assert "stopped when --timeout was over" in first.stderr
        told = json.loads(second.stdout)
        assert (second.status, told["pushed"], told["delivered"], told["left"]) == (0, 2, 5, 0)

    async def test_nobody_who_listens_to_the_summary_is_no_crash(
        self, server: ScriptedServer
    ) -> None:
        """
        A closed stdout shows no traceback, and everything was delivered before.
        """
        with started("send", "--url", server.url) as process:
            assert process.stdout is not None
            process.stdout.close()
            process.stdout = None
            finished = await finish(process, lines(3))

        assert finished.status == 1
        assert finished.stderr == ""
        assert len(server.created) == 3

    async def test_nobody_who_listens_to_complaints_is_no_reason_to_stop(
        self, server: ScriptedServer
    ) -> None:
        """
        With a closed stderr the valid lines are delivered all the same.
        """
        with started("send", "--json", "--url", server.url) as process:
            assert process.stderr is not None
            process.stderr.close()
            process.stderr = None
            finished = await finish(process, b"{}\n" * 30 + lines(3))

        assert finished.status == 1
        assert json.loads(finished.stdout)["delivered"] == 3
        assert json.loads(finished.stdout)["invalid"] == 30

    async def test_a_terminal_shows_progress_beside_the_summary(
        self, server: ScriptedServer
    ) -> None:
        """
        The bar is on stderr, and is gone at the end; stdout stays clean.
        """
        finished, seen = await send_at_terminal(server, "xterm")

        assert "\x1b" not in finished.stdout
        assert "sending" in seen
        assert "<stdin>:1: model: is missing" in seen
        assert seen.endswith("\x1b[1A\x1b[2K")  # the bar's line is erased

    async def test_a_dumb_terminal_shows_lines_alone(self, server: ScriptedServer) -> None:
        """
        What can't move its cursor has no bar.
        """
        _, seen = await send_at_terminal(server, "dumb")

        assert seen == "<stdin>:1: model: is missing\r\n"

    async def test_colors_by_force_are_no_terminal(self, server: ScriptedServer) -> None:
        """
        FORCE_COLOR, as CI has it, leaves the log of a job without a bar.
        """
        finished = await run("send", "--url", server.url, stdin=b"{}\n" + lines(3), FORCE_COLOR="1")

        assert finished.stderr == "<stdin>:1: model: is missing\n"
        assert len(server.created) == 3

    @pytest.mark.parametrize(
        ("arguments", "environ", "hint"),
        [
            ([], {}, "set HH_API_KEY"),
            (["--url", "https://example.org"], {}, "set HH_API_KEY"),
            (["--url", f"http://user:{CANARY}@localhost"], {}, "base_url must be"),
            ([], {"HH_API_KEY": f"{CANARY} {CANARY}"}, "HH_API_KEY must be"),
            ([], {"HH_API_KEY": "k", "HH_EXPORTER_QUEUE_MAX_BYTES": "0"}, "QUEUE_MAX_BYTES must"),
            ([], {"HH_API_KEY": "k", "HH_EXPORTER_DISABLED": "1"}, "HH_EXPORTER_DISABLED"),
            (["--timeout", "nan"], {}, "--timeout"),
            (["--timeout", "-1"], {}, "--timeout"),
            (["--batch-max-events", "0"], {}, "--batch-max-events"),
            (["--dialect", "v2"], {}, "--dialect"),
            ([], {"HH_API_KEY": "k", "HH_EXPORTER_DIALECT": "v2"}, "HH_EXPORTER_DIALECT must"),
            (["no such file"], {}, "no such file"),
        ],
    )
    def test_what_cannot_work_is_said_at_once(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        environ: dict[str, str],
        hint: str,
    ) -> None:
        """
        A wrong call, setting or file, or a missing key, ends it with 2 before a line is read.
        """
        (tmp_path / "events").write_bytes(b"{}\n")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        finished = call("send", *arguments, str(tmp_path / "events"))

        assert finished.status == 2
        assert finished.stdout == ""
        assert hint in finished.stderr
        assert "model: is missing" not in finished.stderr
        assert CANARY not in finished.stderr

    @pytest.mark.parametrize(
        ("content", "status", "form"),
        [(b"", 0, "--json"), (b"{}\n", 1, "--json"), (b"{}\n", 1, None)],
    )
    def test_the_status_tells_whether_all_is_well(
        self, tmp_path: Path, content: bytes, status: int, form: str | None
    ) -> None:
        """
        An invalid line is enough for status 1; nothing at all is fine.
        """
        (tmp_path / "events").write_bytes(content)
        options = [form] if form else []
        finished = call("send", "--url", "http://127.0.0.1:9", *options, str(tmp_path / "events"))

        assert finished.status == status
        assert finished.stdout.split()[0].startswith('{"read":' if form else "read")

    def test_a_key_in_the_clear_is_worth_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        What the package warns of is on stderr, in one line.
        """
        (tmp_path / "events").touch()
        monkeypatch.setenv("HH_API_KEY", CANARY)
        finished = call("send", "--url", "http://example.org", str(tmp_path / "events"))

        assert finished.status == 0
        assert finished.stderr.startswith("warning: http://example.org is plain http")
        assert finished.stderr.count("\n") == 1
        assert CANARY not in finished.stdout


async def send_at_terminal(server: ScriptedServer, term: str) -> tuple[Finished, str]:
    """
    Send three events and a line that is none; returns what the terminal at stderr shows, too.
    """
    terminal, side = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as shown:
        with (
            os.fdopen(side, "wb", buffering=0) as stderr,
            started("send", "--json", "--url", server.url, stderr=stderr, TERM=term) as process,
        ):
            finished = await finish(process, b"{}\n" + lines(3))
        seen = read_terminal(shown)

    assert json.loads(finished.stdout)["delivered"] == 3
    return finished, seen


def read_terminal(shown: io.FileIO) -> str:
    """
    Read all that a terminal shows whose other side is closed.
    """
    seen = b""
    with suppress(OSError):  # how Linux says so
        while piece := shown.read(65536):
            seen += piece
    return seen.decode()


async def test_a_report_that_nobody_reads_is_dropped() -> None:
    """
    Once stderr is closed by its reader, what is said goes nowhere, without an error.
    """
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        report = Report(ErrorConsole(file=file))
        report.say("one")
        report.say("two")


def make_terminal(screen: io.StringIO) -> Report:
    return Report(ErrorConsole(file=screen, force_terminal=True, color_system=None, width=80))


class TestProgress:
    """
    The bar on a terminal.
    """

    @pytest.mark.parametrize("gzipped", [False, True])
    async def test_the_bar_ends_at_all(
        self,
        make_sending: MakeSending,
        server: ScriptedServer,
        clock: FakeClock,
        tmp_path: Path,
        gzipped: bool,
    ) -> None:
        """
        Its total is what was read, and it is reached when all has an outcome.
        """
        data = lines(30) + b"{}\n"
        (tmp_path / "events").write_bytes(gzip.compress(data) if gzipped else data)
        server.default = hang_after_storing()
        screen = io.StringIO()
        report = make_terminal(screen)
        sent = asyncio.create_task(send(make_sending(report), tmp_path / "events"))
        await server.next_request()
        await clock.advance(0.1)
        assert "1/31" in screen.getvalue()
        assert "31/31" not in screen.getvalue()
        server.release()
        await sent

        assert "31/31" in screen.getvalue()

    async def test_a_pipe_has_no_total_until_it_ends(
        self, make_sending: MakeSending, server: ScriptedServer, clock: FakeClock, tmp_path: Path
    ) -> None:
        """
        As long as nobody knows how much is to come, no number is made up.
        """
        path = tmp_path / "pipe"
        os.mkfifo(path)
        screen = io.StringIO()
        report = make_terminal(screen)
        sending = make_sending(report)
        sent = asyncio.create_task(send(sending, path))
        async with writing(path) as pipe:
            pipe.write(lines(2))
            await until(lambda: sending.exporter.stats().pushed == 2)
            await clock.advance(1.0)
            await server.next_request()
            await until(lambda: sending.exporter.stats().delivered == 2)
            await clock.advance(0.1)
            assert " 2/? " in screen.getvalue()
        await sent

        assert " 2/2 " in screen.getvalue()
