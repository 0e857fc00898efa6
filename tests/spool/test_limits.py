"""
What a spool has no room or no time for is said, and never held against what is new.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    QueueLimits,
    Settlement,
    Spool,
)
from hh_exporter._records import Spot
from hh_exporter._spool import room, spooler, work
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, Letter
from hh_exporter._spool.work import Settle
from tests.builders import make_letter, make_spooled
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer, created, hang, refuse_if, unavailable
from tests.spool_processes import IDENTITY
from tests.spools import come_back, letters_in, on_disk, spooled, stall, written
from tests.support import EPOCH, PATIENCE, FakeClock, assert_balanced, flushed, push_all, until

AGE = 100.0
"""Seconds for which a spool of these tests keeps anything."""

EVENTS_MISSED = (
    "hh_exporter: the spool is full (max_bytes), or its disk is too slow: "
    "{} events so far in memory only"
)
LETTER_FORGOTTEN = (
    "hh_exporter: {} deleted, the oldest first: the spool is full (max_bytes) and needs room"
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """
    Finds the lines of the log that tell of something.
    """

    def find(part: str) -> list[str]:
        return [text for text in caplog.messages if part in text]

    return find


def leave(directory: Path, server: ScriptedServer, count: int, age: float) -> None:
    """
    Leave as many records, and as many letters, of that age.
    """
    identity = Identity(base_url=server.url, dialect="legacy", api_key=KEY)
    file = SpoolFile.create(directory, identity)
    with file.transaction():
        file.add([evolve(spooled(f"e{n}"), pushed_at=EPOCH - age) for n in range(count)])
        file.bury([make_letter(f"d{n}", pushed_at=EPOCH - age) for n in range(count)])
    file.close()


async def bury(exporter: Exporter, clock: FakeClock, event_ids: Iterable[str]) -> None:
    """
    Have the server refuse events, one after the other, and take others between them.
    """
    for event_id in event_ids:
        push_all(exporter, f"bad-{event_id}", f"good-{event_id}")
        await flushed(exporter, clock)
        await written(exporter)


def letter_ids(directory: Path) -> list[str]:
    return [letter.event_id for letter in letters_in(directory)]


@pytest.fixture
def refusing(server: ScriptedServer) -> ScriptedServer:
    """
    A server that refuses what is called bad.
    """
    server.default = refuse_if(lambda event: event["event_id"].startswith("bad"))
    return server


# Age.


async def test_letters_expire_while_the_exporter_runs(
    make_exporter: MakeExporter, refusing: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    A program that runs for long keeps no dead letter for longer than one that starts often.
    """
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await bury(exporter, clock, ["e0"])
    assert exporter.stats().dead_letters == 1

    await clock.advance(3 * AGE)

    await until(lambda: not exporter.stats().dead_letters)
    assert not letters_in(directory)


async def test_records_expire_while_the_exporter_runs(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What nobody has asked the disk for is dropped once, when its time is over; memory keeps its own.
    """
    server.default = hang()
    told: list[Settlement] = []
    exporter = await make_exporter(
        spool=Spool(directory, max_age=AGE),
        queue=QueueLimits(max_events=2),
        batch=BatchLimits(linger=0.0),
        request_timeout=100 * AGE,
        on_outcome=told.append,
    )
    push_all(exporter, "e0", "e1")
    await until(lambda: exporter.stats().in_flight == 2)
    push_all(exporter, "e2", "e3")
    await written(exporter)
    for _ in range(4):
        await clock.advance(AGE)
        await written(exporter)

    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.EXPIRED: 2}
    assert (stats.in_flight, stats.spooled) == (2, 0)
    assert [i for settlement in told for i in settlement.event_ids] == ["e2", "e3"]


async def test_a_durable_record_in_memory_does_not_expire(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What is on its way is no less welcome for being on disk, too.
    """
    server.default = hang()
    exporter = await make_exporter(
        spool=Spool(directory, durable=True, max_age=AGE), request_timeout=100 * AGE
    )
    push_all(exporter, "e0", "e1")
    await clock.advance(3 * AGE)
    await written(exporter)

    assert on_disk(directory) == ["e0", "e1"]
    assert not assert_balanced(exporter).dropped
    server.default = created()
    server.release()
    await flushed(exporter, clock)
    assert exporter.stats().delivered == 2


async def test_all_that_others_left_for_too_long_expires(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    However much it is, it is forgotten at the start, a part at a time, and counted once.
    """
    monkeypatch.setattr(work, "AT_ONCE", 2)
    leave(directory, server, count=5, age=AGE + 1.0)
    told: list[Settlement] = []
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE), on_outcome=told.append)
    await until(lambda: exporter.stats().dropped == 5)
    await until(lambda: not exporter.stats().dead_letters)

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.EXPIRED: 5}
    await exporter.aclose()
    assert [i for s in told for i in s.event_ids] == ["e0", "e1", "e2", "e3", "e4"]


# Room.


async def test_the_oldest_letters_make_room_for_new_ones(
    make_exporter: MakeExporter,
    refusing: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    lines: Any,
) -> None:
    """
    A full spool keeps what died last, and says how much it forgot: at first, and in all.
    """
    exporter = await make_exporter(spool=Spool(directory, max_bytes=1200))
    await bury(exporter, clock, [f"{n}" for n in range(8)])

    kept = letter_ids(directory)
    assert 1 < len(kept) < 7
    assert kept == [f"bad-{n}" for n in range(8)][-len(kept) :]
    assert exporter.stats().spooled_bytes <= 1200
    assert exporter.stats().dead_letters == len(kept)
    assert lines("deleted, the oldest") == [LETTER_FORGOTTEN.format("1 dead letter")]
    await exporter.aclose()
    rest = f"{8 - len(kept) - 1} more dead letters"
    assert lines("deleted, the oldest")[1:] == [LETTER_FORGOTTEN.format(rest)]


async def test_letters_make_room_for_what_waits(
    make_exporter: MakeExporter, refusing: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    An event that can still be delivered is worth more than one that died.
    """
    exporter = await make_exporter(
        spool=Spool(directory, max_bytes=1500), queue=QueueLimits(max_events=1)
    )
    push_all(exporter, "bad-0")
    await flushed(exporter, clock)
    await written(exporter)
    assert letter_ids(directory) == ["bad-0"]
    waiting = 0
    while exporter.stats().dead_letters:
        push_all(exporter, f"good-{waiting}")
        waiting += 1
        await written(exporter)
    assert exporter.stats().spooled_bytes <= 1500

    stats = assert_balanced(exporter)
    assert not stats.dropped
    assert len(on_disk(directory)) == stats.spooled > 1


async def test_what_was_taken_over_makes_no_room_by_itself(
    make_exporter: MakeExporter, refusing: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Letters of others that are more than `max_bytes` yield to what is new, and only as far.
    """
    leave(directory, refusing, count=50, age=0.0)
    exporter = await make_exporter(spool=Spool(directory, max_bytes=500))
    assert exporter.stats().dead_letters == 50
    await flushed(exporter, clock)
    await written(exporter)
    assert exporter.stats().dead_letters == 50

    await bury(exporter, clock, ["new"])

    kept = letter_ids(directory)
    assert kept[-1] == "bad-new"
    assert kept[:-1] == [f"d{n}" for n in range(50)][-len(kept) + 1 :]
    assert len(kept) > 10


async def test_a_letter_that_has_no_room_at_all_is_said(
    make_exporter: MakeExporter,
    refusing: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    lines: Any,
) -> None:
    """
    It is lost, and no other for its sake.
    """
    exporter = await make_exporter(spool=Spool(directory, max_bytes=1))
    await bury(exporter, clock, ["e0", "e1"])
    await exporter.aclose()

    why = "lost: the spool has no room for them, or is closed"
    assert lines("dead letter") == [
        f"hh_exporter: 1 dead letter {why}",
        f"hh_exporter: 1 more dead letter {why}",
    ]


async def test_a_letter_has_the_room_of_the_event_that_it_was(
    make_exporter: MakeExporter, refusing: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What dies while the spool is full of others needs no more room than it leaves.
    """
    exporter = await make_exporter(
        spool=Spool(directory, durable=True, max_bytes=2500),
        batch=BatchLimits(max_events=1, linger=60.0),
        max_in_flight=1,
    )
    refusing.script(hang())
    # No more than fit: those that wait in memory for room would take it from the letter.
    push_all(exporter, "bad-0", *(f"good-{n}" for n in range(8)))
    await refusing.requests_seen(1)
    await written(exporter)
    assert exporter.stats().spooled_bytes > 2500 - 250
    assert len(on_disk(directory)) == 9

    refusing.release()
    await flushed(exporter, clock)
    await written(exporter)

    assert letter_ids(directory) == ["bad-0"]


def test_a_letter_takes_the_room_that_it_will_have(directory: Path) -> None:
    """
    The server's words count before it is written as they do afterwards.
    """
    letters = [make_letter(answer="é" * 100), make_letter(answer="")]
    file = SpoolFile.create(directory, IDENTITY)
    with file.transaction():
        file.bury(letters)
    size = file.size
    file.close()

    assert Settle([], letters).size == size


async def test_a_push_that_the_disk_is_too_slow_for_is_said(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A durable spool says once that events are in memory alone, and once that it keeps up again;
    then it has them, too.
    """
    monkeypatch.setattr(room, "MAX_WAITING", 1000)
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    slow = stall(monkeypatch, "add")
    push_all(exporter, "e0")
    await asyncio.to_thread(slow.is_reached.wait, PATIENCE)
    push_all(exporter, *[f"e{n}" for n in range(1, 20)])
    assert not lines("so far in memory only")
    slow.is_over.set()
    await until(lambda: lines("room again"))
    await until(lambda: len(on_disk(directory)) == 20)

    [missed] = {n for n in range(20) if EVENTS_MISSED.format(n) in lines(": the spool ")}
    assert missed > 10
    assert lines(": the spool ")[1:] == [
        f"hh_exporter: the spool has room again: {missed} events in all were in memory only"
    ]


@pytest.mark.parametrize("has_loop", [True, False], ids=["aclose", "no event loop"])
async def test_a_close_that_gives_up_the_disk_is_said(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
    has_loop: bool,
) -> None:
    """
    Once, however often it is closed; what the disk has after all is there for the next.
    """
    monkeypatch.setattr(spooler, "_LAST_COMMIT", 2.0 if has_loop else 0.01)
    server.default = unavailable()
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    slow = stall(monkeypatch, "add")
    push_all(exporter, "e0")
    for _ in range(2):
        if has_loop:
            close = asyncio.create_task(exporter.aclose(0.0))
            while not close.done():
                await clock.advance(0.5)
        else:
            exporter._life.save_all()
    [said] = lines("still writing")
    assert said == (
        f"hh_exporter: the spool in {directory} is still writing: its disk is slow, and what is "
        "not on it when the process ends is lost"
    )
    slow.is_over.set()
    await exporter.aclose()

    assert on_disk(directory) == ["e0"]


async def test_a_push_that_a_full_spool_has_no_room_for_is_said(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    lines: Any,
) -> None:
    """
    Nothing need be written for that; once events are delivered there is room again.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True, max_bytes=1000))
    push_all(exporter, *[f"e{n}" for n in range(9)])
    await until(lambda: lines("so far in memory only"))
    await written(exporter)
    kept = len(on_disk(directory))
    assert 0 < kept < 9
    await flushed(exporter, clock)
    await until(lambda: lines("room again"))

    assert exporter.stats().delivered == 9
    [_, again] = lines(": the spool ")
    assert f" {9 - kept} events in all" in again


# A disk that fails.


def fail_to_bury(monkeypatch: pytest.MonkeyPatch) -> None:
    bury = SpoolFile.bury

    def fail(file: SpoolFile, letters: Iterable[Letter]) -> None:
        if letters:
            raise sqlite3.OperationalError("database or disk is full")
        bury(file, letters)

    monkeypatch.setattr(SpoolFile, "bury", fail)


async def test_a_letter_that_could_not_be_written_is_written_later(
    make_exporter: MakeExporter,
    refusing: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It waits in memory, where its bytes count, until the disk takes it.
    """
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    with monkeypatch.context() as patch:
        fail_to_bury(patch)
        await bury(exporter, clock, ["e0"])
        assert not letters_in(directory)
        assert exporter.stats().health == "degraded"
        assert exporter._life.spooler is not None
        assert exporter._life.spooler.writer.room.owed > 0

    await until(lambda: exporter.stats().dead_letters == 1)
    assert letter_ids(directory) == ["bad-e0"]
    assert exporter.stats().health == "ok"
    assert exporter._life.spooler.writer.room.owed == 0


async def test_a_letter_that_is_never_written_is_said(
    make_exporter: MakeExporter,
    refusing: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What the disk did not take until the close is one warning, with a count.
    """
    fail_to_bury(monkeypatch)
    exporter = await make_exporter(spool=directory)
    await bury(exporter, clock, ["e0", "e1"])
    assert len(lines("can't be written to")) == 1
    await exporter.aclose()

    assert lines("dead letter") == [
        "hh_exporter: 2 dead letters lost: the spool could not be written to before it closed"
    ]
    assert exporter._life.spooler is not None
    assert exporter._life.spooler.writer.room.owed == 0


# A disk that takes longer than a close.


async def past_the_grace(call: Coroutine[Any, Any, object], clock: FakeClock) -> None:
    """
    Let a call return that waits for a disk in vain.
    """
    task = asyncio.create_task(call)
    while not task.done():
        await clock.advance(1.0)
    await task


async def test_a_start_after_a_close_that_gave_up_opens_the_spool(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What is pushed while the disk is still busy with the close waits for it, and nothing is lost.
    """
    server.default = unavailable()
    exporter = await make_exporter(spool=directory, queue=QueueLimits(max_events=3))
    push_all(exporter, "a0", "a1", "a2")
    slow = stall(monkeypatch, "add")
    await past_the_grace(exporter.aclose(0.0), clock)
    await asyncio.to_thread(slow.is_reached.wait, PATIENCE)
    server.default = created()

    await past_the_grace(exporter.start(), clock)
    push_all(exporter, "b0", "b1", "b2", "b3", "b4")
    assert not exporter.stats().dropped
    slow.is_over.set()
    await come_back(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.pushed, stats.recovered, stats.delivered) == (8, 0, 8)


async def test_each_close_that_gave_up_keeps_what_it_left(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    However often it was closed and started meanwhile, the disk has all of it in the end.
    """
    server.default = unavailable()
    exporter = await make_exporter(spool=directory)
    slow = stall(monkeypatch, "add")
    for event_id in ("a", "b", "c"):
        push_all(exporter, event_id)
        await past_the_grace(exporter.aclose(0.0), clock)
        await past_the_grace(exporter.start(), clock)
    push_all(exporter, "d")
    slow.is_over.set()
    await exporter.aclose(0.0)

    assert on_disk(directory) == ["a", "b", "c", "d"]
    assert assert_balanced(exporter).spooled == 4


async def test_what_is_read_for_a_closed_exporter_is_left_for_its_next_start(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Records that a slow disk finds after the close, and after the start, are delivered once.
    """
    leave(directory, server, count=4, age=0.0)
    slow = stall(monkeypatch, "record")
    exporter = await make_exporter(spool=directory)
    await asyncio.to_thread(slow.is_reached.wait, PATIENCE)
    await past_the_grace(exporter.aclose(0.0), clock)
    await past_the_grace(exporter.start(), clock)
    slow.is_over.set()
    await come_back(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.delivered) == (4, 4)
    assert sorted(server.created_ids) == ["e0", "e1", "e2", "e3"]


def test_a_record_of_a_file_that_was_let_go_of_stays_there(directory: Path) -> None:
    """
    Whose outcome comes too late finds nothing to forget, and nothing fails of it.
    """
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    spot = Spot()
    with disk.transaction():
        disk.add([make_spooled()], [spot], loaded=True)
    disk.close()
    assert disk.open() == (1, 0)
    with disk.transaction():
        disk.remove(spot)
        disk.unload(spot)

    assert disk.count == 1
    disk.close()
