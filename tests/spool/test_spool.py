"""
What memory has no room for, or no time, waits on disk and comes back.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    ExporterError,
    FlushResult,
    Outcome,
    QueueLimits,
    RetryPolicy,
    SessionProperties,
    Settlement,
    Spool,
)
from hh_exporter._spool import room
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import SpooledRecord
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang,
    hang_after_storing,
    refuse_if,
    status,
    unavailable,
)
from tests.spools import come_back, files_in, letters_in, on_disk, written
from tests.support import (
    EPOCH,
    PATIENCE,
    FakeClock,
    assert_balanced,
    flushed,
    model_event,
    pass_time,
    settle,
    until,
)

DAY = 24 * 60 * 60
OTHER_KEY = "hh_other_key"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def names(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def push(exporter: Exporter, event_ids: list[str], **fields: Any) -> None:
    for event_id in event_ids:
        assert exporter.push(model_event(event_id=event_id, **fields))


def received(server: ScriptedServer) -> list[str]:
    return sorted(event["event_id"] for request in server.requests for event in request.events)


# Memory first.


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_what_memory_has_no_room_for_waits_on_disk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    overflow: Any,
) -> None:
    """
    A full queue drops nothing while the spool has room, and all of it is delivered later.
    """
    limits = QueueLimits(max_events=5, overflow=overflow)
    exporter = await make_exporter(queue=limits, spool=directory)

    push(exporter, names(20))

    assert exporter.stats().spooled == 15
    assert not exporter.stats().dropped
    await come_back(exporter, clock)
    assert exporter.stats().delivered == 20
    assert received(server) == sorted(names(20))
    await written(exporter)
    assert not on_disk(directory)


async def test_nothing_is_written_while_all_goes_well(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    A spool that nothing had to go to has no file.
    """
    exporter = await make_exporter(spool=directory)
    push(exporter, names(3))
    await flushed(exporter, clock)
    await exporter.aclose()

    assert not files_in(directory)


async def test_what_is_left_at_close_waits_for_the_next(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Events that a close has no time for are on disk, and whoever starts next delivers them.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(7))
    result = await first.aclose(0.0)

    assert (result.left, result.dropped) == (7, 0)
    assert first.stats().spooled == 7
    assert on_disk(directory) == names(7)
    server.requests.clear()
    server.default = status(200)
    second = await make_exporter(spool=directory)
    await until(lambda: second.stats().recovered == 7)
    await come_back(second, clock)
    assert second.stats().delivered == 7
    assert received(server) == names(7)
    await second.aclose()
    assert not files_in(directory)


async def test_who_starts_again_finds_its_own(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    An exporter that is started after its close counts none of its events twice.
    """
    server.default = unavailable()
    exporter = await make_exporter(spool=directory)
    push(exporter, names(4))
    await exporter.aclose(0.0)
    server.default = status(200)

    await exporter.start()
    await come_back(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.pushed, stats.recovered, stats.delivered) == (4, 0, 4)


async def test_what_somebody_else_took_meanwhile_is_counted_as_gone(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Events of a closed exporter that another one delivered are its own no more.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(4))
    await first.aclose(0.0)
    server.default = status(200)
    second = await make_exporter(spool=directory)
    await until(lambda: second.stats().recovered == 4)
    await come_back(second, clock)

    await first.start()

    await until(lambda: first.stats().dropped == 4)
    assert assert_balanced(first).dropped_by_reason == {DropReason.PURGED: 4}


@pytest.mark.parametrize(
    "other", [{"api_key": OTHER_KEY}, {"dialect": "v1"}, {"base_url": "http://127.0.0.1:9"}]
)
async def test_only_the_same_exporter_takes_a_file(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path, other: dict[str, Any]
) -> None:
    """
    Events go to no other address, in no other dialect and under no other key.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory, dialect="legacy")
    push(first, names(2))
    await first.aclose(0.0)

    second = await make_exporter(spool=directory, **{"dialect": "legacy"} | other)
    await written(second)
    await second.aclose(0.0)

    assert not second.stats().recovered
    assert on_disk(directory) == names(2)


async def test_two_exporters_share_a_directory(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Each has files of its own, and none takes what the other holds.
    """
    limits = QueueLimits(max_events=2)
    first = await make_exporter(queue=limits, spool=directory)
    push(first, names(10, "a"))
    await written(first)
    second = await make_exporter(queue=limits, spool=directory)
    push(second, names(10, "b"))

    await come_back(first, clock)
    await come_back(second, clock)

    assert first.stats().delivered == second.stats().delivered == 10
    assert not first.stats().recovered
    assert not second.stats().recovered
    assert received(server) == names(10, "a") + names(10, "b")


async def test_a_clock_that_is_set_back_holds_nothing_up(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What comes back from disk lingers no longer because it seems to be of the future.
    """
    exporter = await make_exporter(queue=QueueLimits(max_events=2), spool=directory)
    push(exporter, names(3))
    await written(exporter)

    monkeypatch.setattr(clock, "wall", lambda: EPOCH - 3600.0 + clock.now())

    await come_back(exporter, clock)
    assert received(server) == names(3)
    assert clock.now() < 60.0


async def test_a_flush_waits_for_what_is_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What was pushed before has its outcome when a flush without a limit returns.
    """
    exporter = await make_exporter(queue=QueueLimits(max_events=2), spool=directory)
    push(exporter, names(9))
    flush = asyncio.create_task(exporter.flush())
    while not flush.done():
        await written(exporter)
        await clock.advance(0.5)

    assert flush.result() == FlushResult(9, 0, 0, 0)


async def test_a_session_is_announced_from_disk(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What there is to say of a session survives with the first of its events.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory, dialect="legacy")
    session = SessionProperties(session_name="chat", user_properties={"plan": "free"})
    first.push(model_event(event_id="e0"), session)
    await first.aclose(0.0)
    server.default = status(200)
    server.requests.clear()
    second = await make_exporter(spool=directory, dialect="legacy")
    await until(lambda: second.stats().recovered == 1)
    await come_back(second, clock)

    [request] = server.requests
    assert request.json["session_properties"]["user_properties"] == {"plan": "free"}
    assert request.json["session_properties"]["session_id"] == session.session_id


# Durable.


async def test_put_returns_once_the_event_is_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What a durable put acknowledged is in the file, and leaves it with its outcome.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True))

    assert await exporter.put(model_event(event_id="e0"))

    assert on_disk(directory) == ["e0"]
    assert exporter.stats().queued == 1
    assert not exporter.stats().spooled
    await flushed(exporter, clock)
    await written(exporter)
    assert not on_disk(directory)
    await exporter.aclose()
    assert not files_in(directory)


async def test_a_durable_push_is_on_disk_soon(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    push does not wait, and stats say when all of it is on disk.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    push(exporter, names(5))
    await written(exporter)

    assert on_disk(directory) == names(5)
    assert exporter.stats().queued == 5
    assert exporter.stats().spooled_bytes >= exporter.stats().queued_bytes


async def test_an_event_that_can_not_be_on_disk_is_not_acknowledged(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Where the spool is full a durable put returns False, and the event is dropped and counted.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True, max_bytes=1000))

    taken = [await exporter.put(model_event(event_id=f"e{n}")) for n in range(10)]

    assert taken == sorted(taken, reverse=True)
    assert 0 < sum(taken) < 10
    assert on_disk(directory) == names(sum(taken))
    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.SPOOL_FULL: 10 - sum(taken)}


async def test_a_cancelled_put_leaves_nothing_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    It is not counted, not sent and not kept.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    put = asyncio.create_task(exporter.put(model_event(event_id="e0")))
    await asyncio.sleep(0)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    await written(exporter)

    assert not on_disk(directory)
    assert not exporter.stats().pushed


# Dead letters.


async def test_what_the_server_refuses_is_kept_for_a_person(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    A rejected event is a dead letter, with its bytes and the server's own words.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    exporter = await make_exporter(spool=directory)
    push(exporter, ["good", "bad"])
    await flushed(exporter, clock)
    await written(exporter)

    [letter] = letters_in(directory)
    assert (letter.event_id, letter.outcome, letter.status) == ("bad", Outcome.REJECTED, 400)
    assert b'"bad"' in letter.data
    assert letter.answer
    assert exporter.stats().dead_letters == 1
    await exporter.aclose()
    assert len(letters_in(directory)) == 1


async def test_what_outlived_its_retries_is_kept_for_a_person(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    It is dropped, counted, and not lost.
    """
    server.default = unavailable()
    retry = RetryPolicy(max_elapsed=1.0)
    exporter = await make_exporter(spool=directory, retry=retry)
    push(exporter, names(2))
    await flushed(exporter, clock)
    await written(exporter)

    assert [letter.reason for letter in letters_in(directory)] == ["retries_exhausted"] * 2


# Limits.


async def test_what_is_too_old_is_dropped_as_expired(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    An event that waited on disk for longer than `max_age` is not sent any more.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(3))
    await first.aclose(0.0)
    server.requests.clear()
    server.default = status(200)
    await clock.advance(8 * DAY)
    settlements: list[Settlement] = []
    second = await make_exporter(spool=directory, on_outcome=settlements.append)
    await until(lambda: second.stats().recovered == 3)
    await come_back(second, clock)

    assert not server.requests
    assert second.stats().dropped_by_reason == {DropReason.EXPIRED: 3}
    await until(lambda: settlements)
    assert [s.event_ids for s in settlements] == [("e0", "e1", "e2")]


async def test_a_full_spool_leaves_it_to_the_queue(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    What neither memory nor disk has room for is dropped by the overflow policy.
    """
    limits = QueueLimits(max_events=2)
    exporter = await make_exporter(queue=limits, spool=Spool(directory, max_bytes=1000))
    push(exporter, names(30))

    stats = assert_balanced(exporter)
    assert stats.spooled
    assert stats.dropped_by_reason == {DropReason.QUEUE_FULL: 28 - stats.spooled}


async def test_a_directory_that_can_not_be_used_costs_no_event_that_fits_memory(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is said once, health says so, and what was counted as on disk is counted as lost.
    """
    (tmp_path / "file").write_text("in the way")
    exporter = await make_exporter(queue=QueueLimits(max_events=3), spool=tmp_path / "file")
    push(exporter, names(5))
    await until(lambda: exporter.stats().dropped == 2)

    assert exporter.stats().dropped_by_reason == {DropReason.SPOOL_FULL: 2}
    assert exporter.stats().health == "degraded"
    assert len([r for r in caplog.records if r.name == "hh_exporter._spool.fault"]) == 1
    await flushed(exporter, clock)
    assert exporter.stats().delivered == 3


async def test_one_event_that_can_not_be_written_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where a commit fails, each of its events has one of its own.
    """
    add = SpoolFile.add

    def refuse_one(file: SpoolFile, records: Sequence[SpooledRecord]) -> range:
        ids = add(file, records)
        if any(record.event_id == "e3" for record in records):
            raise sqlite3.OperationalError("disk I/O error")
        return ids

    monkeypatch.setattr(SpoolFile, "add", refuse_one)
    exporter = await make_exporter(queue=QueueLimits(max_events=1), spool=directory)
    push(exporter, names(6))
    await written(exporter)
    await until(lambda: exporter.stats().dropped == 1)

    assert on_disk(directory) == ["e0", "e1", "e2", "e4"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SPOOL_FULL: 1}
    await come_back(exporter, clock)
    assert received(server) == ["e0", "e1", "e2", "e4", "e5"]


# When the disk, or its thread, fails.


async def test_a_failed_commit_costs_no_other_of_a_durable_spool(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A record that leaves memory while its first commit fails has a second one.
    """
    add = SpoolFile.add
    failures = 1
    has_failed = threading.Event()

    def fail_first(file: SpoolFile, records: Sequence[SpooledRecord]) -> range:
        nonlocal failures
        if failures:
            failures -= 1
            if not failures:
                push(exporter, ["e1"])
                has_failed.set()
            raise sqlite3.OperationalError("disk I/O error")
        return add(file, records)

    exporter = await make_exporter(
        queue=QueueLimits(max_events=1), spool=Spool(directory, durable=True)
    )
    await written(exporter)
    monkeypatch.setattr(SpoolFile, "add", fail_first)
    push(exporter, ["e0"])
    assert has_failed.wait(PATIENCE)  # the loop does not turn: it is still in the queue

    await come_back(exporter, clock)
    assert exporter.stats().delivered == 2


async def test_a_record_that_leaves_memory_amid_a_commit_that_fails_is_told_as_lost(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where it seemed to be on disk by then, its loss is counted, and costs no other.
    """
    add = Disk.add
    has_failed = threading.Event()

    def fail(disk: Disk, records: Sequence[SpooledRecord], *rest: Any, loaded: bool) -> None:
        add(disk, records, *rest, loaded=loaded)
        if records[0].event_id == "e0":
            if not has_failed.is_set():
                push(exporter, ["e1"])
                has_failed.set()
            raise sqlite3.OperationalError("disk I/O error")

    exporter = await make_exporter(
        queue=QueueLimits(max_events=1), spool=Spool(directory, durable=True)
    )
    await written(exporter)
    monkeypatch.setattr(Disk, "add", fail)
    push(exporter, ["e0"])
    assert has_failed.wait(PATIENCE)  # the loop does not turn: it is still in the queue

    await come_back(exporter, clock)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SPOOL_FULL: 1}
    assert received(server) == ["e1"]


async def test_what_is_on_disk_holds_no_memory_while_that_is_noted(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The bytes of a written record go as it leaves the queue, however busy the disk's thread is.
    """
    add, sweep = SpoolFile.add, Disk.sweep
    is_written, is_busy, may_go_on = (threading.Event() for _ in range(3))

    def add_slowly(file: SpoolFile, records: Sequence[SpooledRecord]) -> range:
        is_busy.set()
        may_go_on.wait(PATIENCE)
        return add(file, records)

    def sweep_after_commit(disk: Disk, *, touches: bool) -> None:
        is_written.set()
        sweep(disk, touches=touches)

    exporter = await make_exporter(
        queue=QueueLimits(max_events=2), spool=Spool(directory, durable=True)
    )
    await written(exporter)
    monkeypatch.setattr(Disk, "sweep", sweep_after_commit)
    push(exporter, ["e0"])
    assert is_written.wait(PATIENCE)  # the loop does not turn: it is still in the queue
    data = exporter._queue.ledger.waiting[0].data
    monkeypatch.setattr(SpoolFile, "add", add_slowly)
    push(exporter, ["e1"])
    assert is_busy.wait(PATIENCE)
    push(exporter, ["e2"])

    try:
        await until(lambda: sys.getrefcount(data) == 2)  # for us, and for the question
    finally:
        may_go_on.set()
    await come_back(exporter, clock)
    assert exporter.stats().delivered == 3


async def test_a_fault_of_ours_holds_nobody_up(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Whatever a commit fails of, put and aclose return, and the books balance.
    """

    def fail(file: SpoolFile, records: Sequence[SpooledRecord]) -> range:
        raise AssertionError

    monkeypatch.setattr(SpoolFile, "add", fail)
    exporter = await make_exporter(spool=Spool(directory, durable=True))

    assert not await exporter.put(model_event(event_id="e0"))
    assert not await exporter.put(model_event(event_id="e1"))
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.SPOOL_FULL: 2}
    await exporter.aclose(0.0)


async def test_what_could_not_be_removed_is_removed_later(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A delivered event whose row the disk would not give up leaves it with the next commit.
    """
    remove = SpoolFile.remove
    failures = 1

    def fail_first(file: SpoolFile, ids: Any) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return remove(file, ids)

    monkeypatch.setattr(SpoolFile, "remove", fail_first)
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    assert await exporter.put(model_event(event_id="e0"))
    await flushed(exporter, clock)
    await until(lambda: not failures)
    await exporter.aclose()

    assert not files_in(directory)


async def test_what_was_never_removed_is_another_record_for_the_next(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What the disk kept of delivered events counts as recovered, not as spooled all the time.
    """

    def fail(file: SpoolFile, ids: Any) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    exporter = await make_exporter(spool=Spool(directory, durable=True))
    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "remove", fail)
        assert await exporter.put(model_event(event_id="e0"))
        await flushed(exporter, clock)
        await exporter.aclose()
    await exporter.start()
    await come_back(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.delivered, stats.spooled) == (1, 2, 0)


async def test_letters_that_can_not_be_forgotten_cost_no_record(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A full disk at start keeps nothing from being counted and sent.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(3))
    await first.aclose(0.0)
    server.default = status(200)

    def fail(file: SpoolFile, ids: Any) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SpoolFile, "discard", fail)
    second = await make_exporter(spool=directory)
    assert second.stats().recovered == 3
    await come_back(second, clock)
    assert second.stats().delivered == 3


# Flush, close and start.


async def test_a_flush_before_the_files_are_read_ends(
    make_exporter: MakeExporter,
    build_exporter: BuildExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
) -> None:
    """
    What is found on disk while it waits was pushed before, and is waited for.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(7))
    await first.aclose(0.0)
    server.default = hang()
    second = build_exporter(spool=directory)

    with second._queue.lock:  # the thread waits for it with what it found
        push(second, ["new"])
        flush = asyncio.create_task(second.flush())
        await asyncio.sleep(0)
    await until(lambda: second.stats().recovered)
    server.default = status(200)
    server.release()
    while not flush.done():
        assert_balanced(second)
        await written(second)
        await clock.advance(0.5)

    assert flush.result() == FlushResult(8, 0, 0, 0)


async def test_a_flush_does_not_count_what_came_later(
    make_exporter: MakeExporter, server: ScriptedServer, tmp_path: Path
) -> None:
    """
    An event that is pushed during a flush and lost on disk does not end it.
    """
    (tmp_path / "file").write_text("in the way")
    server.default = hang()
    exporter = await make_exporter(
        queue=QueueLimits(max_events=1), batch=BatchLimits(linger=0.0), spool=tmp_path / "file"
    )
    push(exporter, ["e0"])
    await until(lambda: server.requests)
    flush = asyncio.create_task(exporter.flush())
    await settle()
    push(exporter, ["late"])
    await until(lambda: exporter.stats().dropped)
    await settle()

    assert not flush.done()
    flush.cancel()


async def test_a_flush_does_not_count_a_put_that_came_later(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    An event of a put that is on disk before it is admitted is none of an earlier flush.

    It leaves memory meanwhile, comes back and arrives: the flush still waits for its own.
    """
    server.script(hang(), hang_after_storing())  # let go, the first is to be sent again
    exporter = await make_exporter(
        queue=QueueLimits(max_events=4),
        batch=BatchLimits(max_events=1, linger=0.0),
        max_in_flight=2,
        spool=Spool(directory, durable=True),
    )
    push(exporter, ["first", "second"])
    await server.requests_seen(2)
    flush = asyncio.create_task(exporter.flush())
    await settle()
    assert await exporter.put(model_event(event_id="late"))
    push(exporter, names(2))
    assert exporter.stats().spooled == 1
    await written(exporter)
    server.release()
    await until(lambda: "late" in server.created_ids)
    await until(lambda: exporter.stats().delivered == 4)
    await settle()

    assert not flush.done()
    flush.cancel()


async def test_a_flush_ends_though_a_later_put_comes_back_with_its_events(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What it waits for comes back from disk, and arrives in one batch with what came later.
    """
    server.script(hang_after_storing())
    exporter = await make_exporter(
        queue=QueueLimits(max_events=5),
        batch=BatchLimits(max_events=2, linger=0.0),
        max_in_flight=1,
        spool=Spool(directory, durable=True),
    )
    push(exporter, ["first"])
    await server.requests_seen(1)
    push(exporter, ["second"])
    flush = asyncio.create_task(exporter.flush())
    await settle()
    assert await exporter.put(model_event(event_id="late"))
    push(exporter, names(4))
    assert exporter.stats().spooled == 2
    server.release()
    await come_back(exporter, clock)
    await settle()

    assert {"second", "late"} in [
        {event["event_id"] for event in request.events} for request in server.requests
    ]
    assert flush.done()
    assert flush.result() == FlushResult(2, 0, 0, 0)


async def test_a_close_keeps_more_than_may_wait_to_be_written(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What is left in memory goes to disk however much it is.
    """
    monkeypatch.setattr(room, "MAX_WAITING", 1000)
    server.default = unavailable()
    exporter = await make_exporter(spool=directory)
    push(exporter, names(20))
    result = await exporter.aclose(0.0)

    assert (result.left, result.dropped) == (20, 0)
    assert on_disk(directory) == sorted(names(20))


async def test_a_put_that_meets_a_close_leaves_nothing_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    It raises, and its event is not sent by whoever starts next.
    """
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    put = asyncio.create_task(exporter.put(model_event(event_id="e0")))
    await asyncio.sleep(0)
    await exporter.aclose()

    with pytest.raises(ExporterError):
        await put
    assert not on_disk(directory)
    assert not exporter.stats().pushed


async def test_what_was_pushed_before_the_start_is_durable_too(
    build_exporter: BuildExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    A durable spool has all that waits in memory once it is open.
    """
    exporter = build_exporter(spool=Spool(directory, durable=True))
    await asyncio.to_thread(push, exporter, names(3))
    await exporter.start()
    await written(exporter)

    assert on_disk(directory) == names(3)


# The way back.


async def test_what_is_on_disk_probes_where_nothing_else_can(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    With nothing in memory, a server that failed is tried with what is on disk.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(9))
    await first.aclose(0.0)
    server.default = refuse_if(lambda _: True)
    second = await make_exporter(spool=directory, batch=BatchLimits(max_events=5))
    await until(lambda: second.stats().recovered == 9)
    for _ in range(20):
        await clock.advance(0.5)
        await settle()
        if second.stats().health == "suspended":
            break
        await written(second)
    server.default = status(200)

    await come_back(second, clock)
    assert second.stats().delivered


@pytest.mark.parametrize("durable", [False, True])
async def test_who_has_probed_in_vain_makes_room_for_what_is_on_disk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    durable: bool,
) -> None:
    """
    Events that a firewall fails fill memory, and hold up no good one on disk.
    """

    def judge(request: Request) -> Scripted:
        is_bad = any(event["event_id"].startswith("bad") for event in request.events)
        return unavailable() if is_bad else created()

    server.default = judge
    exporter = await make_exporter(
        queue=QueueLimits(max_events=4, overflow="drop_newest"),
        batch=BatchLimits(max_events=2, linger=0.0),
        spool=Spool(directory, durable=durable),
    )
    push(exporter, names(6, "bad"))
    push(exporter, ["good"])

    for _ in range(600):
        await pass_time(exporter, server, clock, 1.0)
        await written(exporter)
        if server.created_ids:
            break

    assert server.created_ids == ["good"]


async def test_nothing_is_loaded_twice(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Two who ask at once, the workers of two loops, get each record once.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(4))
    await first.aclose(0.0)
    server.default = status(200)
    server.requests.clear()
    second = await make_exporter(spool=directory)
    assert second._life.spooler is not None
    with second._queue.lock:  # the thread waits for it between two of its steps
        second._life.spooler.load(10, 1_000_000)
        second._life.spooler.load(10, 1_000_000)
    await come_back(second, clock)
    await written(second)

    assert second.stats().spooled == 0
    assert received(server) == names(4)


async def test_no_more_is_loaded_than_a_batch_has_bytes(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Large events come back few at a time, whatever their number.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(10), error="x" * 1000)
    await first.aclose(0.0)
    server.default = hang()
    second = await make_exporter(spool=directory, batch=BatchLimits(max_bytes=3000, linger=0.0))
    await until(lambda: second.stats().recovered == 10)
    await written(second)
    await until(lambda: second.stats().in_flight)

    assert second.stats().spooled >= 7


async def test_a_far_server_gets_them_as_fast_as_new_ones(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Once it took the first, the others don't wait for one answer each, but few wait in memory.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, names(20))
    await first.aclose(0.0)
    server.requests.clear()
    server.script(created())
    server.default = hang()
    second = await make_exporter(spool=directory, batch=BatchLimits(max_events=1, linger=0.0))
    await until(lambda: second.stats().recovered == 20)
    await until(lambda: second.stats().delivered == 1)

    for _ in range(20):
        await clock.advance(1.0)
        await written(second)

    assert second.stats().in_flight == 4
    assert 1 <= second.stats().queued <= 3


async def test_an_event_that_memory_has_no_room_for_any_more_holds_up_no_other(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Where the limits were lowered meanwhile, what can never fit is dropped as `too_large`.
    """
    server.default = unavailable()
    first = await make_exporter(spool=directory)
    push(first, ["large"], error="x" * 10_000)
    push(first, ["small"])
    await first.aclose(0.0)
    server.default = status(200)
    server.requests.clear()
    second = await make_exporter(queue=QueueLimits(max_bytes=5_000), spool=directory)
    await come_back(second, clock)

    assert received(server) == ["small"]
    assert second.stats().dropped_by_reason == {DropReason.TOO_LARGE: 1}


async def test_a_busy_memory_does_not_keep_the_disk_waiting(
    build_exporter: BuildExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    Events come back from disk beside those that are pushed, as long as half the queue is free.
    """
    server.default = unavailable()
    first = build_exporter(spool=directory)
    await first.start()
    push(first, names(7))
    await first.aclose(0.0)
    server.default = hang()
    second = build_exporter(spool=directory, max_in_flight=1)
    push(second, names(250, "new"))
    await second.start()
    assert second.stats().recovered == 7

    await until(lambda: second.stats().spooled == 0)

    assert assert_balanced(second).queued + second.stats().in_flight == 257


@contextmanager
def no_more_threads() -> Iterator[None]:
    """
    Have none start: no thread can have a stack so large, as at a limit of memory or threads.
    """
    before = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_thread_that_cannot_start_is_started_later(
    tmp_path: Path, make_exporter: MakeExporter, clock: FakeClock, durable: bool
) -> None:
    """
    Until then all is as without a spool: push raises nothing, events are sent, health tells.
    """
    exporter = await make_exporter(spool=Spool(tmp_path / "spool", durable=durable))
    await exporter.aclose()
    with no_more_threads():
        await exporter.start()
        exporter.push(model_event())
        assert (await flushed(exporter, clock)).delivered == 1
        assert exporter.stats().health == "degraded"
        assert "thread" in exporter.stats().health_reason
        assert await exporter.put(model_event()) is not durable
        assert_balanced(exporter)

    await clock.advance(10.0)
    assert await exporter.put(model_event())
    await until(lambda: exporter._life.spooler is not None and exporter._life.spooler.writer.shift)
    await flushed(exporter, clock)
    assert exporter.stats().delivered == (2 if durable else 3)
