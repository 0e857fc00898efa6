"""
What a spool takes on disk: not much more than what is in it, and less as that goes.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from hh_exporter import QueueLimits, Spool
from hh_exporter._spool import schema
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.rounds import Rounds
from hh_exporter._spool.work import Settle
from tests.builders import make_letter, make_spooled
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer, refuse_if, unavailable
from tests.spool_processes import IDENTITY
from tests.spools import come_back, letters_in, written
from tests.support import FakeClock, assert_balanced, model_event, until

MIB = 2**20
MUCH = 12 * MIB
SMALL = 200 * 2**10
"""Bytes that a file with next to nothing in it takes."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def text(size: int) -> str:
    """
    Make text that takes as many bytes when it is packed.
    """
    return Random(size).randbytes(size).hex()


def on_disk(directory: Path) -> int:
    """
    Bytes that all files of a spool take.
    """
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


@pytest.mark.parametrize("size", [100, 1_500])
async def test_a_full_spool_takes_little_more_than_it_may(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    size: int,
) -> None:
    """
    However large an event is; and once all is delivered, next to nothing.
    """
    server.default = unavailable()
    exporter = await make_exporter(
        spool=Spool(directory, max_bytes=MUCH), queue=QueueLimits(max_events=100)
    )
    event = model_event(error=text(size))
    while not exporter.stats().dropped:
        for _ in range(500):
            exporter.push(event)
        await written(exporter)
        assert on_disk(directory) <= 1.2 * MUCH
    assert exporter.stats().spooled_bytes > 0.4 * MUCH
    assert assert_balanced(exporter).spooled


async def test_the_disk_comes_back_when_events_leave(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Also where one dead letter stays, at once and for those who take it over.
    """
    server.default = unavailable()
    exporter = await make_exporter(spool=directory, queue=QueueLimits(max_events=100))
    for n in range(1000):
        event_id = "bad" if n == 300 else f"e{n}"
        exporter.push(model_event(event_id=event_id, error=text(10_000)))
    await written(exporter)
    assert on_disk(directory) > 8 * MIB
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    await come_back(exporter, clock)

    assert exporter.stats().dead_letters == 1
    await until(lambda: on_disk(directory) < SMALL)
    await exporter.aclose()
    assert on_disk(directory) < SMALL
    assert len(letters_in(directory)) == 1


def test_what_is_committed_at_once_is_not_all_in_the_log(directory: Path) -> None:
    """
    However much arrives for one commit, it takes little more than itself.
    """
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False, max_bytes=MUCH)
    disk.open()
    rounds = Rounds(disk=disk, max_bytes=MUCH, on_fail=raise_it, on_deleted=never)
    data = Random(1).randbytes(10_000)
    works = [Settle([], [make_letter(data=data)]) for _ in range(1000)]

    assert all(rounds.go(works, 0.0))

    assert 10_000 * 1000 < on_disk(directory) <= 1.2 * 10_000 * 1000
    disk.close()


def test_nobody_waits_for_a_reader(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While somebody reads the log it stays, and is cut once they are done.
    """
    monkeypatch.setattr(schema, "_PATIENCE", 1000 * 3_600_000)
    file = SpoolFile.create(directory, IDENTITY)
    with file.transaction():
        file.add([make_spooled(data=b"." * 2 * MIB)])
    reader = schema.look(file.path)
    assert reader is not None
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchone()
    with file.transaction():
        file.remove(file.ids())

    file.cut_log()
    assert file.slack > MIB
    reader.close()
    file.cut_log()
    assert file.slack <= 0
    file.close()


def test_no_bytes_of_what_was_deleted_stay_in_a_file_that_shrank(directory: Path) -> None:
    """
    What takes the place of a deleted record leaves nothing behind it.
    """
    file = SpoolFile.create(directory, IDENTITY)
    with file.transaction():
        ids = file.add([make_spooled(data=f"{n:06} secret".encode() * 300) for n in range(100)])
    with file.transaction():
        file.remove(id_ for id_ in ids if id_ % 3)
    file.cut_log()

    content = file.path.read_bytes()
    gone = [n for n, id_ in enumerate(ids) if id_ % 3]
    assert not any(f"{n:06} secret".encode() in content for n in gone)
    assert all(file.record(id_) for id_ in ids if not id_ % 3)
    file.close()


def raise_it(exc: Exception) -> None:
    raise exc


def never(count: int) -> None:
    raise AssertionError(count)
