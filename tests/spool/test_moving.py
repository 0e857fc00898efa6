"""
What dead processes left becomes ours: all of it, once, however many files it is in.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from hh_exporter import Exporter, QueueLimits
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Spot
from hh_exporter._spool import moving, takeover
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.finder import Finder
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import Identity, Letter, Mark, SpooledRecord
from hh_exporter._spool.place import list_files, take_lock
from hh_exporter._spool.shift import Shift
from tests.builders import make_letter, make_spooled
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer
from tests.spool_processes import IDENTITY, Processes, processes
from tests.spools import come_back, contents, letters_in, on_disk, spooled
from tests.support import EPOCH, FakeClock, assert_balanced, until

MIB = 2**20
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


def assert_taken_over(directory: Path, everything: object, records: int) -> None:
    """
    Check that the next process to start finds so many records, and *everything* once.
    """
    disk, found = open_disk(directory)

    assert found == disk.count == records
    assert contents(directory) == everything
    disk.close()


def exporter_source(exporter: Exporter) -> Path:
    """
    Say which file is read where it is.
    """
    assert exporter._life.spooler is not None
    source = exporter._life.spooler.writer.disk.takeover.source
    assert source is not None
    return source.file.path


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


def test_large_files_are_removed_as_they_are_moved(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is moved is not on disk twice for longer than a start needs to read what is small.
    """
    monkeypatch.setattr(takeover, "_MUCH", 30_000)
    for n in range(6):
        leave(directory, make_spooled(f"e{n}", b"." * 20_000))
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    found, _ = disk.open()
    counts = []
    while disk.has_more:
        more, _ = disk.take_over()
        found += more
        counts.append(len(list_files(directory)) - 7 + found)

    assert max(counts) <= 2
    assert (found, disk.count, len(list_files(directory))) == (6, 6, 1)
    disk.close()


def test_no_more_are_open_at_any_moment(directory: Path) -> None:
    """
    A few are at once, whatever there is; each commit changes one.
    """
    leave_many(directory, MANY)
    before = most = descriptors()
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    while disk.has_more:
        disk.take_over()
        most = max(most, descriptors())

    assert most - before <= 16
    assert descriptors() - before <= 5
    disk.close()


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


def test_what_comes_to_a_file_that_was_moved_is_not_removed_with_it(directory: Path) -> None:
    """
    A letter that a command revives there, before it is removed, is taken over, too.
    """
    leave(directory, make_spooled("large", b"." * 5000))
    path = leave(directory, make_spooled("a"), letters=(make_letter("d"),))
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    assert disk.open() == (1, 0)
    assert disk.take_over() == (1, 0)
    file = SpoolFile.adopt(path, None)
    assert file is not None
    assert (file.count, file.letters, file.ids(), file.letter_ids()) == (0, 0, [], [])
    with file.transaction():
        file.add([make_spooled("revived")])
    file.close()

    assert disk.take_over() == (1, 0)
    while disk.has_more:
        disk.take_over()
    assert on_disk(directory) == ["a", "large", "revived"]
    assert len(list_files(directory)) == 1
    disk.close()


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
    [("set_mark", 1), ("set_mark", 6), ("pass_on", 1), ("pass_on", 6), ("sync", 1), ("let_go", 5)],
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
    assert contents(directory) == everything  # whoever looks meanwhile sees each once, too

    assert_taken_over(directory, everything, 36)


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

    assert_taken_over(directory, everything, 36)


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
    assert_taken_over(directory, everything, 6)


def test_a_mark_is_found_though_the_file_that_had_it_was_moved_itself(
    nursery: Processes, directory: Path
) -> None:
    """
    A third process has it then.
    """
    large = leave(directory, make_spooled("large", b"." * 5000))
    small = leave(directory, *(make_spooled(f"e{n}") for n in range(3)))
    pid = nursery.start("take_over", directory, "pass_on", 2)
    assert nursery.read() == "there"
    nursery.kill(pid)
    lock = take_lock(small)
    assert lock is not None
    leave(directory, make_spooled("larger", b"." * 50_000))
    first, found = open_disk(directory)
    assert (found, first.count, large.exists()) == (4, 4, False)
    os.close(lock)

    second, found = open_disk(directory)

    assert (found, second.count) == (1, 1)
    first.close()
    second.close()
    assert on_disk(directory) == ["e0", "e1", "e2", "large", "larger"]


def refuse_commit(action: int, operation: str | None, *_: object) -> int:
    is_commit = (action, operation) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")
    return sqlite3.SQLITE_DENY if is_commit else sqlite3.SQLITE_OK


def refuse_rows(action: int, table: str | None, *_: object) -> int:
    is_row = action == sqlite3.SQLITE_INSERT and table != "meta"
    return sqlite3.SQLITE_DENY if is_row else sqlite3.SQLITE_OK


@pytest.mark.parametrize("refuse", [refuse_commit, refuse_rows])
def test_what_is_in_one_file_stays_known_as_the_rest_goes_to_another(
    directory: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., int]
) -> None:
    """
    However soon after the other was chosen the process ends.
    """
    monkeypatch.setattr(moving, "_PART", 1)
    path = leave(directory, *(make_spooled(f"e{n}") for n in range(3)))
    first, second = (Held(SpoolFile.create(directory, IDENTITY), inherited=0) for _ in range(2))
    source = adopt(path)
    moving.move(source, first)
    source.file.let_go()

    source = adopt(path)
    # As a process leaves it that ends before any commit to the other, or before rows are there.
    second.file._db.set_authorizer(refuse)
    with pytest.raises(sqlite3.Error):
        moving.move(source, second)
    second.file._db.set_authorizer(None)
    source.file.let_go()

    assert adopt(path).file.count == 2


def adopt(path: Path) -> Held:
    file = SpoolFile.adopt(path, IDENTITY)
    assert file is not None
    return Held(file, file.last_id)


async def test_what_cannot_be_moved_is_sent_from_where_it_is(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A disk that is full for more costs no event, and is said once; the rest waits for its turn.
    """

    def fail(file: SpoolFile, name: str, mark: Mark | None) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SpoolFile, "set_mark", fail)
    leave_many(directory, 4, Identity(base_url=server.url, dialect="legacy", api_key=KEY))
    exporter = await make_exporter(spool=directory)
    first = assert_balanced(exporter)
    assert (first.recovered, first.dead_letters) == (6, 2)
    await come_back(exporter, clock)
    assert exporter.stats().delivered == 6
    (said,) = [text for text in caplog.messages if "can't be moved" in text]
    assert said == (
        "hh_exporter: events of an earlier process can't be moved to the spool file of this one "
        f"(database or disk is full): they are sent from {exporter_source(exporter)}"
    )

    monkeypatch.undo()
    await until(lambda: exporter.stats().recovered == 12)
    await come_back(exporter, clock)
    assert exporter.stats().dead_letters == 4
    assert sorted(server.created_ids) == sorted(f"e{n}-{i}" for n in range(4) for i in range(3))


def test_a_start_ends_once_however_much_is_moved_after_it(directory: Path) -> None:
    """
    What a start looks for in the directory is not looked for with each part of a move.
    """
    leave_many(directory, 5)
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    shift, ends = Shift(), list[int]()
    finder = Finder(
        disk=disk,
        queue=RecordQueue(QueueLimits()),
        lose=lambda *_: None,
        on_fail=lambda _: None,
        on_counted=lambda: None,
        on_end=lambda: ends.append(disk.count),
    )
    finder.look(shift, disk.open)
    parts = 0
    while disk.has_more:
        finder.look(shift, disk.take_over)
        parts += shift.is_read

    assert ends == [15]
    assert parts > 1
    disk.close()


def test_a_move_never_fills_the_disk(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What has no room beside itself stays where it is, and is read there.
    """
    leave_many(directory, 2)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "_SPARE", 2**40)
        disk, found = open_disk(directory)
        assert (found, disk.takeover.is_stuck) == (6, True)
        with disk.transaction():
            spots = [spot for _, spot in disk.next(100, MIB)]
    assert len(spots) == 6
    disk.put_back(spots)
    disk.sweep()
    while disk.has_more:
        disk.take_over()

    assert len(list_files(directory)) == 1
    assert disk.count == 6
    disk.close()


def test_a_commit_that_fails_leaves_what_was_not_moved_to_be_read_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Though the commit to its own file succeeded: none of its records came to memory.
    """
    leave_many(directory, 2)
    monkeypatch.setattr(moving, "_SPARE", 2**40)
    disk, _ = open_disk(directory)
    assert disk._ours is not None
    ours = disk._ours.file._db

    def read() -> int:
        with disk.transaction():
            disk.add([make_spooled("new")], [Spot()], loaded=True)
            return len(disk.next(100, MIB))

    ours.set_authorizer(refuse_commit)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        read()
    ours.set_authorizer(None)

    assert read() == 6
    disk.close()


def test_a_disk_that_is_full_amid_a_move_loses_nothing(nursery: Processes, directory: Path) -> None:
    """
    What is moved counts once, the rest is read where it is, and all is moved once there is room.
    """
    for n in range(2):
        leave(directory, *(make_spooled(f"e{n}-{i}", b"." * 10_000) for i in range(60)))
    everything = contents(directory)
    nursery.start("take_over_with_room_for", directory, 2**19)
    assert nursery.read() == "120 found, 120 there, stuck"
    assert nursery.read() == "120 read"
    assert nursery.read() == "60 there, done"

    left = on_disk(directory)
    assert len(left) == len(set(left)) == 60
    assert set(left) < set(everything[0])


async def test_what_is_too_old_expires_though_it_was_moved(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Letters of all files are looked at, at the start.
    """
    identity = Identity(base_url=server.url, dialect="legacy", api_key=KEY)
    for n in range(3):
        ages = {f"d{n}": 30 * 24 * 3600.0, f"n{n}": 1.0}
        letters = tuple(make_letter(name, pushed_at=EPOCH - age) for name, age in ages.items())
        leave(directory, letters=letters, identity=identity)
    exporter = await make_exporter(spool=directory)

    await until(lambda: exporter.stats().dead_letters == 3)
    await exporter.aclose()
    assert sorted(letter.event_id for letter in letters_in(directory)) == ["n0", "n1", "n2"]


def test_a_close_amid_a_move_keeps_what_is_not_moved(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The file that was moved in part goes on from there, though nothing is left in ours.
    """
    monkeypatch.setattr(moving, "_PART", 1)
    leave(directory, make_spooled("a"), make_spooled("b", b"." * 5000))
    leave(directory, make_spooled("d"), make_spooled("e"))
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    disk.take_over()  # a part of the second
    with disk.transaction():
        for _, spot in disk.next(10, 2**20):
            disk.remove(spot)
    assert disk.count == 1
    disk.close()
    assert len(list_files(directory)) == 2
    # Who opens it again counts nothing as found, and nothing as gone.
    assert disk.open() == (0, 0)
    disk.close()

    disk, found = open_disk(directory)
    assert (found, on_disk(directory)) == (1, ["e"])
    disk.close()
    assert len(list_files(directory)) == 1


def test_a_file_of_an_early_version_is_moved_to_one_that_shrinks(directory: Path) -> None:
    """
    It would keep what it once needed.
    """
    path = leave(directory, make_spooled("a"), letters=(make_letter("d"),))
    file = SpoolFile.adopt(path, None)
    assert file is not None
    file._db.execute("PRAGMA auto_vacuum = NONE")
    file._db.execute("VACUUM")
    file.close()

    disk, found = open_disk(directory)
    disk.close()

    assert found == 1
    assert contents(directory) == (["a"], ["d"])
    (new,) = list_files(directory)
    assert new != path


def test_a_move_that_ends_with_a_disk_that_fails_is_ended_by_the_next_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file goes only once what was in it is on the disk itself, elsewhere.
    """

    def fail(file: SpoolFile) -> None:
        raise OSError("I/O error")

    leave_many(directory, 3)
    everything = contents(directory)
    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "sync", fail)
        disk, _ = open_disk(directory)
        assert disk.count == 9
        disk.close()
    assert len(list_files(directory)) == 3

    assert_taken_over(directory, everything, 9)
