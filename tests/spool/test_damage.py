"""
What is damaged costs only itself: a row in a file, or a file among others.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hh_exporter import BatchLimits, DropReason, Exporter, Outcome, QueueLimits, Settlement, Spool
from hh_exporter._spool import moving
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.place import list_files
from tests.builders import make_letter
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer, hang
from tests.spools import come_back, contents, damage, leave, letters_in, on_disk, written
from tests.support import EPOCH, FakeClock, assert_balanced, model_event, push_all, until

ROWS = {
    "time is text": "pushed_at = 'x'",
    "time is empty": "pushed_at = NULL",
    "time is negative": "pushed_at = -1.0",
    "time is huge": "pushed_at = 1e300",
    "time is infinite": "pushed_at = 9e999",
    "time is bytes": "pushed_at = x'00'",
    "trial is text": "tried_for = 'x'",
    "trial is infinite": "tried_for = 9e999",
    "order is text": "seq = 'x'",
    "order is negative": "seq = -1",
    "order is a fraction": "seq = 1.5",
    "order is empty": "seq = NULL",
    "id is bytes": "event_id = x'6231'",
    "id is no text": "event_id = CAST(x'ff' AS TEXT)",
    "id is another's": "event_id = 'a'",
    "id is empty": "event_id = NULL",
    "session's id is bytes": "session_id = x'00', session = x'2c'",
    "session is text": "session_id = 's', session = 'abc'",
    "session is no JSON": "session_id = 's', session = x'2c7b'",
    "data is text": "data = 'abc'",
    "data is a number": "data = 12",
    "data is empty": "data = NULL",
    "data has no bytes": "data = x''",
    "data is cut": "data = substr(data, 1, length(data) - 1)",
    "data is a list": "data = CAST('[]' AS BLOB)",
    "data is no text": "data = x'ff'",
    "route is none of ours": "route = 'elsewhere'",
    "route is bytes": "route = x'ff'",
}
"""What of the second record is not as an exporter writes it."""

FILES = {
    "the address is lost": "DELETE FROM meta WHERE name = 'base_url'",
    "the address is bytes": "UPDATE meta SET value = x'00' WHERE name = 'base_url'",
    "a name is another": "UPDATE meta SET name = 'sort' WHERE name = 'salt'",
    "the salt is a number": "UPDATE meta SET value = 12 WHERE name = 'salt'",
    "the salt is longer": "UPDATE meta SET value = zeroblob(17) WHERE name = 'salt'",
    "the seal is text": "UPDATE meta SET value = 'x' WHERE name = 'seal'",
    "there is no seal": "DELETE FROM meta",
    "there is nowhere for a seal": "DROP TABLE meta",
    "there is nowhere for records": "ALTER TABLE records RENAME TO recorks",
    "there is nowhere for letters": "DROP TABLE letters",
    "a column is lost": "ALTER TABLE letters DROP COLUMN answer",
    "the version is lost": "PRAGMA user_version = 0",
    "the version is negative": "PRAGMA user_version = -3",
    "the schema is nonsense": "UPDATE sqlite_master SET sql = 'nonsense' WHERE name = 'records'",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def received(server: ScriptedServer) -> list[str]:
    return sorted(event["event_id"] for request in server.requests for event in request.events)


async def put(exporter: Exporter, event_id: str) -> None:
    assert await exporter.put(model_event(event_id=event_id))


@pytest.mark.parametrize("change", ROWS.values(), ids=ROWS)
async def test_a_damaged_record_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    change: str,
) -> None:
    """
    It is dropped as damaged and kept as a dead letter; its neighbours and new events are sent.
    """
    path = directory / "a.spool"
    leave(path, server.url, api_key=KEY, records=["b0", "b1", "b2"])
    damage(path, f"UPDATE records SET {change} WHERE id = 2")
    told: list[Settlement] = []
    exporter = await make_exporter(spool=Spool(directory, durable=True), on_outcome=told.append)
    await until(lambda: exporter.stats().recovered > 0)
    await put(exporter, "new")
    await come_back(exporter, clock)
    await written(exporter)

    assert received(server) == ["b0", "b2", "new"]
    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.delivered, stats.dropped, stats.dead_letters) == (3, 3, 1, 1)
    assert stats.dropped_by_reason == {DropReason.DAMAGED: 1}
    assert (stats.health, stats.health_reason) == (
        "degraded",
        "damaged, and set aside in the spool: 1 event",
    )
    (letter,) = letters_in(directory)
    assert (letter.outcome, letter.reason, letter.status) == ("dropped", "damaged", None)
    assert letter.answer in change
    assert [s.event_ids for s in told if s.outcome is Outcome.DROPPED] == [(letter.event_id,)]


async def test_damage_that_shows_later_costs_no_other(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    A record that is damaged while the exporter has its file ends as one that was before.
    """
    path = directory / "a.spool"
    leave(path, server.url, api_key=KEY, records=["b0", "b1", "b2"])
    exporter = await make_exporter(spool=directory, batch=BatchLimits(max_events=1))
    await until(lambda: exporter.stats().recovered == 3)
    db = sqlite3.connect(path)
    db.execute("UPDATE records SET pushed_at = 'x', seq = 'y' WHERE event_id = 'b1'")
    db.commit()
    db.close()
    await come_back(exporter, clock)
    await written(exporter)

    assert received(server) == ["b0", "b2"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.DAMAGED: 1}
    assert contents(directory) == ([], ["b1"])


@pytest.mark.parametrize("new", ["-5", "0", str(2**63 - 1), str(2**60)])
async def test_an_id_that_can_not_be_costs_nothing(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    new: str,
) -> None:
    """
    Whatever the numbers of rows are, all are delivered, and more can be added to their file.
    """
    path = directory / "a.spool"
    leave(path, server.url, api_key=KEY, records=["b0", "b1", "b2"], letters=["d0", "d1"])
    damage(
        path,
        f"UPDATE records SET id = {new} WHERE event_id = 'b1'",
        f"UPDATE letters SET id = {new} WHERE event_id = 'd0'",
        "UPDATE sqlite_sequence SET seq = 'x'",
    )
    file = SpoolFile.adopt(path, None)
    assert file is not None
    with file.transaction():
        file.bury([make_letter("d2")])
    file.close()
    exporter = await make_exporter(spool=Spool(directory, durable=True, max_age=1e10))
    await until(lambda: exporter.stats().recovered == 3)
    await put(exporter, "new")
    await come_back(exporter, clock)
    await written(exporter)

    assert received(server) == ["b0", "b1", "b2", "new"]
    assert contents(directory) == ([], ["d0", "d1", "d2"])
    assert exporter.stats().health == "ok"


async def test_a_damaged_letter_stays_readable(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    Whatever is in the columns of dead letters, each is counted, listed and expires one day.
    """
    path = directory / "a.spool"
    leave(path, server.url, api_key=KEY, letters=["d0", "d1", "d2"])
    damage(
        path,
        "UPDATE letters SET pushed_at = 'x', died_at = -1.0, outcome = x'ff', reason = NULL, "
        "status = 'x', answer = 1, data = 'text' WHERE id = 2",
        "UPDATE letters SET answer = NULL, data = NULL, status = 1e9 WHERE id = 3",
    )
    (broken,) = [x for x in letters_in(directory) if x.event_id == "d1"]
    exporter = await make_exporter(spool=Spool(directory, max_age=1e10))
    await until(lambda: exporter.stats().dead_letters == 3)

    assert (broken.outcome, broken.reason, broken.status) == ("\N{REPLACEMENT CHARACTER}", "", None)
    assert (broken.answer, broken.data) == ("1", b"text")
    assert broken.pushed_at == pytest.approx(path.stat().st_mtime, abs=60.0)
    await exporter.aclose()
    file = SpoolFile.adopt(path, None)
    assert file is not None
    with file.transaction():
        assert file.expire(broken.pushed_at + 3600.0, 10) == ([], 3)
    file.close()


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
async def test_a_damaged_file_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    """
    It is kept for a person under another name; other files and new events are sent.
    """
    leave(directory / "a.spool", server.url, records=["lost"], api_key=KEY)
    leave(directory / "b.spool", server.url, records=["b"], api_key=KEY)
    damage(directory / "a.spool", change)
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    await until(lambda: exporter.stats().recovered == 1)
    await put(exporter, "new")
    await come_back(exporter, clock)

    assert received(server) == ["b", "new"]
    aside = directory / "a.spool.corrupt"
    assert b"lost" in aside.read_bytes()
    assert not (directory / "a.spool").exists()
    stats = assert_balanced(exporter)
    assert (stats.health, stats.health_reason) == (
        "degraded",
        "damaged, and set aside in the spool: 1 file",
    )
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings == [f"hh_exporter: a corrupt spool file was renamed to {aside}"]


async def test_a_file_that_can_not_be_set_aside_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    If its new name is taken by a directory, it stays where it is, and that is said.
    """
    leave(directory / "a.spool", server.url, records=["lost"], api_key=KEY)
    leave(directory / "b.spool", server.url, records=["b"], api_key=KEY)
    damage(directory / "a.spool", "DELETE FROM meta")
    (directory / "a.spool.corrupt").mkdir()
    exporter = await make_exporter(spool=directory)
    await until(lambda: exporter.stats().recovered == 1)
    await come_back(exporter, clock)

    assert received(server) == ["b"]
    assert (directory / "a.spool").exists()
    assert f"hh_exporter: the spool file {directory / 'a.spool'} can't be opened" in caplog.text


async def test_a_damaged_file_of_a_living_process_is_left_to_it(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    Who holds a file may be about to write what seems to be missing.
    """
    path = directory / "a.spool"
    leave(path, server.url, api_key=KEY, records=["b0"])
    identity = Identity(base_url=server.url, dialect="legacy", api_key=KEY)
    holder = SpoolFile.adopt(path, identity)
    assert holder is not None
    with holder.transaction():
        holder._db.execute("DELETE FROM meta")
    exporter = await make_exporter(spool=directory)
    await until(
        lambda: (
            exporter._life.spooler is not None and exporter._life.spooler.writer.shift is not None
        )
    )
    await exporter.aclose()
    holder.close()

    assert path.exists()
    assert exporter.stats().recovered == 0


def test_times_of_damaged_rows_are_those_of_their_file(directory: Path) -> None:
    """
    What was pushed at a time that can't be read is taken to be as old as its file at most.
    """
    path = directory / "a.spool"
    leave(path, "https://api.example", records=["b0"])
    damage(path, "UPDATE records SET pushed_at = NULL")
    os.utime(path, (EPOCH, EPOCH))
    file = SpoolFile.adopt(path, None)
    assert file is not None
    file.close()

    assert [(x.pushed_at, x.died_at) for x in letters_in(directory)] == [(EPOCH, EPOCH)]


@pytest.mark.parametrize(
    "odd",
    [
        "('moved to', x'00')",
        "('moved to', 'a/b')",
        "('moved to', '')",
        "('moved from b.spool', 5)",
        "('moved from b.spool', x'ff')",
        "('moved from b.spool', '-1 2')",
        "('moved from ../b.spool', '9 9')",
        "('moved from ', '9 9')",
        "(x'00', x'00')",
    ],
)
async def test_a_damaged_mark_loses_nothing(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path, odd: str
) -> None:
    """
    What is said of moves from file to file is ignored if it makes no sense.
    """
    for name in "ab":
        path = directory / f"{name}.spool"
        leave(path, server.url, records=[f"{name}0", f"{name}1"], api_key=KEY)
        damage(path, f"INSERT INTO meta VALUES {odd}")
    exporter = await make_exporter(spool=directory)
    await until(lambda: exporter.stats().recovered == 4)
    await come_back(exporter, clock)
    await exporter.aclose()

    assert received(server) == ["a0", "a1", "b0", "b1"]
    assert not list_files(directory)


def spoil(path: Path) -> None:
    """
    Overwrite where the records of a file begin, as a bad disk does, and have its holder read anew.
    """
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
        db.execute("INSERT OR REPLACE INTO meta VALUES ('spoiled', '')")
        db.commit()


async def test_damage_to_the_file_in_use_costs_what_only_it_has(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is set aside, what is in memory is written to a new file, and everything goes on.
    """
    server.default = hang()
    exporter = await make_exporter(
        spool=Spool(directory, durable=True), queue=QueueLimits(max_events=2)
    )
    push_all(exporter, "e0", "e1", "e2", "e3")
    await written(exporter)
    (path,) = list_files(directory)
    in_memory = exporter.stats().queued + exporter.stats().in_flight
    spoil(path)

    push_all(exporter, "new")
    await until(lambda: exporter.stats().dropped)
    await written(exporter)

    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason == {DropReason.PURGED: 4 - in_memory}
    assert path.with_name(f"{path.name}.corrupt").exists()
    assert f"a corrupt spool file was renamed to {path}.corrupt" in caplog.text
    push_all(exporter, "newer")
    await until(lambda: {"new", "newer"} <= set(on_disk(directory)))
    reason = "damaged, and set aside in the spool: 1 file"
    await until(lambda: exporter.stats().health_reason == reason)


async def test_damage_to_a_file_that_is_taken_over_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    If it goes bad before its contents could be moved, it is set aside, and all else is sent.
    """
    monkeypatch.setattr(moving, "_SPARE", 2**40)  # a disk that has no room for a move
    names = [f"a{n}" for n in range(9)]
    leave(directory / "a.spool", server.url, records=names, api_key=KEY)
    leave(directory / "b.spool", server.url, records=["b0", "b1"], api_key=KEY)
    exporter = await make_exporter(spool=directory, batch=BatchLimits(max_events=1))
    await until(lambda: exporter.stats().recovered == 11)
    spoil(directory / "b.spool")
    await come_back(exporter, clock)

    assert received(server) == names
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.PURGED: 2}
    assert (directory / "b.spool.corrupt").exists()
    assert exporter.stats().health == "degraded"
