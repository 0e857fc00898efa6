"""
What dead processes left becomes ours: all of it, once, however many files it is in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, Letter, SpooledRecord
from hh_exporter._spool.place import list_files
from tests.builders import make_letter, make_spooled
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer
from tests.spool_processes import IDENTITY, Processes, processes
from tests.spools import come_back, contents, letters_in, spooled
from tests.support import FakeClock, assert_balanced

MANY = 40
"""Files that a few descriptors each would make too many."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Processes]:
    with processes() as some:
        yield some


def leave(
    directory: Path,
    *records: SpooledRecord,
    letters: tuple[Letter, ...] = (),
    identity: Identity = IDENTITY,
) -> Path:
    """
    Leave a file as a process does that is gone.
    """
    file = SpoolFile.create(directory, identity)
    with file.transaction():
        file.add(records)
        file.bury(letters)
    file.close(remove_empty=False)
    return file.path


def leave_many(directory: Path, count: int, identity: Identity = IDENTITY) -> None:
    for n in range(count):
        names = [f"e{n}-{i}" for i in range(3)]
        letter = make_letter(f"d{n}", pushed_at=time.time() - 60.0)
        leave(directory, *map(spooled, names), letters=(letter,), identity=identity)


def open_disk(directory: Path) -> tuple[Disk, int]:
    """
    Take over all that is there; returns how many records that were, too.
    """
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    found, gone = disk.open()
    while disk.has_more:
        more_found, more_gone = disk.take_over()
        found, gone = found + more_found, gone + more_gone
    assert not gone
    return disk, found


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_however_many_files_there_are_few_are_open(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    All that is in them is counted and delivered, and one file is left, with the dead letters.
    """
    leave_many(directory, MANY, Identity(base_url=server.url, dialect="legacy", api_key=KEY))
    before = descriptors()
    exporter = await make_exporter(spool=directory)

    assert descriptors() - before < 2 * MANY
    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.dead_letters) == (3 * MANY, MANY)
    await come_back(exporter, clock)
    assert sorted(server.created_ids) == sorted(f"e{n}-{i}" for n in range(MANY) for i in range(3))
    await exporter.aclose()
    assert len(list_files(directory)) == 1
    assert sorted(x.event_id for x in letters_in(directory)) == sorted(f"d{n}" for n in range(MANY))


def test_what_is_moved_is_what_it_was(directory: Path) -> None:
    """
    Its ages, its session, and for how long it was tried; the order of another means nothing.
    """
    given = SpooledRecord(
        event_id="é\0",
        data=b'{"\xff\x00"}',
        pushed_at=1.25,
        tried_for=0.5,
        seq=7,
        session_id="s",
        session=b",\x00",
    )
    letter = evolve(make_letter("d", reason="too_large", status=None), died_at=3.5)
    leave(directory, make_spooled(data=b"." * 5000))
    leave(directory, given, letters=(letter,))
    disk, found = open_disk(directory)
    disk.close()

    (path,) = list_files(directory)
    file = SpoolFile.adopt(path, IDENTITY)
    assert file is not None
    (_, id_), (letter_id,) = file.ids(), file.letter_ids()
    assert (found, file.record(id_)) == (2, evolve(given, id=id_, seq=0))
    assert file.letter(letter_id) == evolve(letter, id=letter_id)
    file.close()


def test_what_is_not_to_be_taken_stays(directory: Path) -> None:
    """
    A file that a process holds, one of another identity, and one of a newer version.
    """
    held = SpoolFile.create(directory, IDENTITY)
    other = leave(directory, make_spooled("other"), identity=evolve(IDENTITY, dialect="v1"))
    newer = leave(directory, make_spooled("newer"))
    leave(directory, make_spooled("ours"))
    file = SpoolFile.adopt(newer, None)
    assert file is not None
    file._db.execute("PRAGMA user_version = 99")
    file.close()

    disk, found = open_disk(directory)

    assert (found, disk.count) == (1, 1)
    assert {held.path, other, newer} < set(list_files(directory))
    disk.close()
    held.close()


@pytest.mark.parametrize(
    ("step", "times"),
    [("set_mark", 1), ("set_mark", 6), ("pass_on", 1), ("pass_on", 6), ("sync", 1), ("sync", 2)],
)
def test_a_process_that_is_killed_amid_a_move_leaves_each_event_once(
    nursery: Processes, directory: Path, step: str, times: int
) -> None:
    """
    Wherever it ends, the next one neither misses an event nor finds one twice.
    """
    leave_many(directory, 12)
    everything = contents(directory)
    pid = nursery.start("take_over", directory, step, times)
    assert nursery.read() == "there"
    nursery.kill(pid)

    disk, found = open_disk(directory)

    assert found == disk.count == 36
    assert contents(directory) == everything
    disk.close()


def test_processes_that_are_killed_one_after_the_other_lose_nothing(
    nursery: Processes, directory: Path
) -> None:
    """
    Each goes on where the one before it ended, though the file that it wrote to is moved, too.
    """
    leave_many(directory, 12)
    everything = contents(directory)
    for times in range(1, 60, 7):
        pid = nursery.start("take_over", directory, "pass_on", times)
        nursery.read()
        nursery.kill(pid)

    disk, found = open_disk(directory)

    assert found == disk.count == 36
    assert contents(directory) == everything
    disk.close()


def test_two_that_take_over_what_one_had_begun_to_move_have_each_event_once(
    nursery: Processes, directory: Path
) -> None:
    """
    Who gets a file that is moved in part finds how far in the file of another that lives.
    """
    leave_many(directory, 2)
    everything = contents(directory)
    pid = nursery.start("take_over", directory, "pass_on", 2)
    assert nursery.read() == "there"
    nursery.kill(pid)
    first = Disk(directory=directory, identity=IDENTITY, fsync=False)
    first.open()  # one file each
    second, found = open_disk(directory)

    assert first.count + second.count == 6
    assert found == second.count < 6
    first.close()
    second.close()
    disk, found = open_disk(directory)
    assert found == 6
    assert contents(directory) == everything
    disk.close()
