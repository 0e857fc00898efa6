"""
A disk that is full, and has room again: what waits for it costs little, and is not forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import BatchLimits, DropReason, Spool
from hh_exporter._records import Spot
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.rounds import Owed, Rounds
from hh_exporter._spool.work import AT_ONCE, Settle
from tests.builders import make_letter
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer, created, hang_after_storing
from tests.spool_processes import IDENTITY
from tests.spools import contents, on_disk, written
from tests.support import FakeClock, assert_balanced, flushed, model_event, push_all, until


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@contextmanager
def full() -> Iterator[None]:
    """
    Have no disk take anything, be it an event or the news that one is gone.
    """

    def fail(file: SpoolFile, what: Sequence[Any]) -> Any:
        if what:
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.MonkeyPatch.context() as patch:
        for method in ("add", "remove", "bury"):
            patch.setattr(SpoolFile, method, fail)
        yield


async def test_a_put_on_a_full_disk_says_so_at_once(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    However much the disk has missed by then, the commit for which the put waits is a short one.
    """
    count = 0
    transaction = Disk.transaction

    def counted(disk: Disk) -> Any:
        nonlocal count
        count += 1
        return transaction(disk)

    monkeypatch.setattr(Disk, "transaction", counted)
    server.default = hang_after_storing()
    exporter = await make_exporter(
        spool=Spool(directory, durable=True), batch=BatchLimits(max_events=1, linger=0.0)
    )
    push_all(exporter, *(f"e{n}" for n in range(100)))
    await written(exporter)
    with full():
        server.default = created()
        server.release()
        await until(lambda: exporter.stats().delivered == 100)
        await written(exporter)
        count = 0
        assert not await exporter.put(model_event(event_id="late"))
        assert count <= 4
        assert assert_balanced(exporter).dropped_by_reason == {DropReason.SPOOL_FULL: 1}
        assert len(on_disk(directory)) == 100

    await until(lambda: not on_disk(directory))
    await exporter.aclose()
    assert exporter.stats().delivered == 100


async def test_what_a_full_disk_could_not_take_is_written_once_there_is_room(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Durable pushes that still wait then are on disk, though nothing else is pushed; no others are.
    """
    exporter = await make_exporter(
        spool=Spool(directory, durable=True), batch=BatchLimits(max_events=2, linger=1000.0)
    )
    await written(exporter)
    with full():
        push_all(exporter, "sent-0", "sent-1", "sent-2")
        await until(lambda: exporter.stats().delivered == 2)
        push_all(exporter, "sent-3")
        await until(lambda: exporter.stats().delivered == 4)
        server.default = hang_after_storing()
        push_all(exporter, "flying-0", "flying-1")
        await until(lambda: exporter.stats().in_flight == 2)
        push_all(exporter, "waiting")
        await written(exporter)
        assert not on_disk(directory)
        await clock.advance(5.0)
        assert exporter.stats().commit_lag >= 5.0
        assert exporter.stats().health == "degraded"

    await until(lambda: on_disk(directory) == ["waiting"])
    await until(lambda: exporter.stats().health == "ok")
    assert exporter.stats().commit_lag >= 5.0  # those in flight
    server.default = created()
    server.release()
    await flushed(exporter, clock)
    await until(lambda: not exporter.stats().commit_lag)
    await until(lambda: not on_disk(directory))
    assert assert_balanced(exporter).delivered == 7


async def test_what_a_full_spool_had_no_room_for_is_written_once_there_is_room(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Durable pushes that no request has are on disk then, and the lag is that of the others.
    """
    server.default = hang_after_storing()
    exporter = await make_exporter(
        spool=Spool(directory, durable=True, max_bytes=1400),
        batch=BatchLimits(max_events=4, linger=0.0),
        max_in_flight=1,
        request_timeout=1000.0,
    )
    push_all(exporter, *(f"e{n}" for n in range(10)))
    await written(exporter)
    assert on_disk(directory) == [f"e{n}" for n in range(5)]
    await clock.advance(5.0)
    assert exporter.stats().commit_lag >= 5.0

    await server.requests_seen(1)
    server.release()
    await until(lambda: exporter.stats().delivered == 4)
    # As many as there is room for: whether the next batch is taken before that, is up to chance.
    ends = (["e4", "e8", "e9"], [f"e{n}" for n in range(4, 9)])
    await until(lambda: on_disk(directory) in ends)
    await server.requests_seen(2)
    server.release()
    await until(lambda: exporter.stats().delivered == 8)
    await server.requests_seen(3)  # with what may have been taken before there was room
    server.release()
    await until(lambda: exporter.stats().delivered == 10)
    await until(lambda: not exporter.stats().commit_lag)


def test_what_can_not_be_written_for_its_own_sake_holds_up_nothing(directory: Path) -> None:
    """
    One such letter is tried again by itself, behind all others that are owed.
    """
    bad = make_letter("\ud800")  # SQLite takes no half of a character
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    rounds = Rounds(
        disk=disk,
        max_bytes=2**20,
        on_fail=lambda _: None,
        on_deleted=lambda _: None,
    )
    letters = [make_letter(f"e{n}") for n in range(9)]
    work = Settle([], [*letters[:4], bad, *letters[4:]])
    assert rounds.go([work], 0.0) == [False]
    rounds.owed.add(work)
    while len(rounds.owed) > 1:
        rounds.go([], 0.0)

    assert contents(directory)[1] == [f"e{n}" for n in range(9)]
    assert (rounds.owed.letters, rounds.owed.size) == (1, bad.size)
    disk.close()


def test_what_is_owed_is_one_list() -> None:
    """
    A commit tries so much of it and no more, and less each time that it fails.
    """
    owed = Owed()
    for _ in range(3 * AT_ONCE):
        spot = Spot()
        spot.file = object()
        owed.add(Settle([spot, Spot()], []))  # the second is not on disk
    sizes = []
    for is_done in (True, False, False, True, True):
        count, [settle] = owed.part()
        assert isinstance(settle, Settle)
        assert len(settle.spots) == count
        sizes.append(count)
        owed.end(count, is_done=is_done)

    assert sizes == [AT_ONCE, AT_ONCE, AT_ONCE // 2, AT_ONCE // 4, AT_ONCE // 2]
    assert len(owed) == 2 * AT_ONCE - AT_ONCE // 4 - AT_ONCE // 2
