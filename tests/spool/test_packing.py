"""
What waits on disk is packed: it takes half, and comes back as it was.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._workload import generate_events
from hh_exporter import BatchLimits, DropReason, QueueLimits, Spool
from hh_exporter._packing import pack
from hh_exporter._records import Record, Spot
from hh_exporter._spool import packer
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.forms import packed, unpacked
from hh_exporter._spool.kept import Match, SpooledRecord
from hh_exporter._spool.packer import Packer
from hh_exporter._spool.place import list_files
from hh_exporter._spool.work import Settle, Store
from tests.builders import make_letter, make_spooled
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer, created, refuse_if, unavailable
from tests.spool_processes import IDENTITY
from tests.spools import (
    come_back,
    contents,
    damage,
    leave,
    letters_in,
    written,
)
from tests.support import FakeClock, assert_balanced, flushed, model_event, push_all, until

TEXT = "What is the capital of France? " * 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def forms_in(directory: Path, table: str = "records") -> list[bool]:
    """
    Say of each row of all files whether it is packed, in order of arrival.
    """
    found = []
    for path in list_files(directory):
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute(f"SELECT data FROM {table} ORDER BY id").fetchall()
        found += [not data.startswith(b"{") for (data,) in rows]
    return found


def pack_all(path: Path) -> None:
    """
    Pack the rows of a file that nobody holds, better than an exporter would.
    """
    with closing(sqlite3.connect(path)) as db:
        for table in ("records", "letters"):
            for id_, data in db.execute(f"SELECT id, data FROM {table}").fetchall():
                packed = zlib.compress(data, 9)
                db.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (packed, id_))
        db.commit()


# The two forms.


@given(value=st.dictionaries(st.text(), st.text()))
def test_what_is_packed_is_read_as_it_was(value: dict[str, str]) -> None:
    """
    Either form is never larger than the JSON, and both are read alike.
    """
    data = orjson.dumps(value)

    assert len(packed(data)) <= len(data)
    assert packed(packed(data)) == packed(data)
    assert unpacked(packed(data)) == unpacked(data) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"xyz", b"text", pack(TEXT.encode())[:-3]],
    ids=["nothing", "x", "xyz", "text", "cut"],  # isal packs in more than one way
)
def test_what_is_damaged_is_read_as_it_is(data: bytes) -> None:
    """
    It is no JSON, which shows where an event is expected.
    """
    assert unpacked(data) == data


def test_a_file_takes_half_of_the_json(directory: Path) -> None:
    """
    Of events like those of chats, whether they are written one by one or many at once.
    """
    events = [orjson.dumps(fields) for fields in generate_events()]
    for size in (1, 100):
        file = SpoolFile.create(directory, IDENTITY)
        for start in range(0, len(events), size):
            with file.transaction():
                part = events[start : start + size]
                file.add([make_spooled("0" * 36, data).packed() for data in part])
        file.cut_log()

        assert file.path.stat().st_size <= 0.55 * sum(map(len, events))
        assert [record_of(file, id_).data for id_ in file.ids()] == events
        file.close()


def record_of(file: SpoolFile, id_: int) -> SpooledRecord:
    record = file.record(id_)
    assert record is not None
    return record


# When they are packed.


def store(size: int, *, is_loaded: bool) -> Store:
    data = orjson.dumps({"text": "." * size})
    return Store(Record("e", data, 0.0), make_spooled("e", data), is_loaded=is_loaded)


def are_packed(works: Iterable[Store]) -> list[bool]:
    return [work.written.data != work.record.data for work in works]


def test_what_is_in_memory_too_is_packed_once_there_is_a_backlog() -> None:
    """
    What is on disk alone, and dead letters, always.
    """
    size = packer._BACKLOG // 2 - 100
    works = [store(size, is_loaded=loaded) for loaded in (True, False, True, True)]
    letters = Settle([], [make_letter(data=orjson.dumps([TEXT]))])
    late = store(100, is_loaded=True)

    with Packer().packed([*works, letters], 0):
        assert are_packed(works) == [False, True, True, True]
        assert letters.size > sum(letter.size for letter in letters.written)
    with Packer().packed([late], packer._BACKLOG):
        assert are_packed([late]) == [True]


def test_a_close_packs_a_part_at_most() -> None:
    """
    The rest is written sooner as it is.
    """
    works = [store(packer._IN_A_HURRY // 2, is_loaded=False) for _ in range(4)]
    rounds = Packer()
    rounds.begin(hurries=True)
    with rounds.packed(works[:1], 0):
        assert are_packed(works) == [True, False, False, False]
    with rounds.packed(works[1:], 0):
        assert are_packed(works) == [False, True, False, False]
    rounds.begin(hurries=False)
    with rounds.packed(works, 0):
        assert are_packed(works) == [True] * 4


def test_what_is_packed_is_not_in_memory_for_longer_than_its_commit() -> None:
    """
    What waits to be written counts as it is.
    """
    one = store(10_000, is_loaded=False)
    other = Settle([], [make_letter(data=orjson.dumps([TEXT]))])
    with pytest.raises(ZeroDivisionError), Packer().packed([one, other], 0):
        raise ZeroDivisionError

    assert one.written is one.row
    assert other.written is other.letters


async def test_events_in_the_spool_are_packed_and_arrive_as_they_were(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    An outage goes to disk packed; `spooled_bytes` says what it takes there.
    """
    server.default = unavailable()
    exporter = await make_exporter(spool=directory, queue=QueueLimits(max_events=1))
    for n in range(20):
        exporter.push(model_event(event_id=f"e{n}", error=f"{n} {TEXT}"))
    await written(exporter)
    spooled_count = exporter.stats().spooled

    assert spooled_count > 10
    assert forms_in(directory) == [True] * spooled_count
    assert exporter.stats().spooled_bytes < spooled_count * len(TEXT) / 2
    server.default = created()
    await come_back(exporter, clock)
    told = {event["event_id"]: event["error"] for r in server.requests for event in r.events}
    assert told == {f"e{n}": f"{n} {TEXT}" for n in range(20)}


async def test_a_durable_event_is_packed_once_others_wait(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    In good times it is gone at once, so packing it would only cost time.
    """
    monkeypatch.setattr(packer, "_BACKLOG", 2000)
    server.default = unavailable()
    exporter = await make_exporter(spool=Spool(directory, durable=True))
    for n in range(5):
        assert await exporter.put(model_event(event_id=f"e{n}", error=TEXT))
    forms = forms_in(directory)

    assert forms == [False, False, True, True, True]
    server.default = created()
    await come_back(exporter, clock)
    assert assert_balanced(exporter).delivered == 5


async def test_a_dead_letter_is_packed_and_shown_as_it_was(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    What a person sees of it is the event.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    exporter = await make_exporter(spool=directory)
    exporter.push(model_event(event_id="bad", error=TEXT))
    await flushed(exporter, clock)
    await written(exporter)

    assert forms_in(directory, "letters") == [True]
    (letter,) = letters_in(directory)
    assert orjson.loads(letter.data)["error"] == TEXT


# Where rows are not only read.


async def test_packed_rows_are_moved_as_they_are(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    A file that is taken over costs no packing, and its letters stay packed when they are revived.
    """
    server.default = unavailable()
    for name in "ab":
        path = directory / f"{name}.spool"
        leave(path, server.url, records=[f"{name}0"], letters=[f"{name}1"], api_key=KEY)
        pack_all(path)
    before = rows_in(directory)
    exporter = await make_exporter(spool=directory)
    await until(lambda: exporter.stats().recovered == 2)
    await exporter.aclose(0.0)

    assert len(list_files(directory)) == 1
    assert rows_in(directory) == before
    (path,) = list_files(directory)
    file = SpoolFile.adopt(path, None)
    assert file is not None
    with file.transaction():
        file.revive(file.letter_ids())
    file.close()
    assert rows_in(directory) == before
    assert contents(directory) == (["a0", "a1", "b0", "b1"], [])


def rows_in(directory: Path) -> set[tuple[str, bytes]]:
    found: set[tuple[str, bytes]] = set()
    for path in list_files(directory):
        with closing(sqlite3.connect(path)) as db:
            found.update(db.execute("SELECT event_id, data FROM records"))
            found.update(db.execute("SELECT event_id, data FROM letters"))
    return found


async def test_a_full_spool_with_packed_records_has_room_for_their_letters(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    An event that dies takes no more than it did while it waited.
    """
    server.default = unavailable()
    exporter = await make_exporter(
        spool=Spool(directory, max_bytes=20_000),
        queue=QueueLimits(max_events=1),
        batch=BatchLimits(max_events=1),
        max_in_flight=1,
    )
    names = count()
    while not exporter.stats().dropped:
        name = f"e{next(names)}"
        exporter.push(model_event(event_id=name, error=Random(name).randbytes(600).hex()))
        await written(exporter)
    on_disk = contents(directory)[0]
    bad = set(on_disk[::2])
    server.default = refuse_if(lambda event: event["event_id"] in bad)
    await come_back(exporter, clock)
    await written(exporter)

    assert len(bad) > 5
    assert contents(directory) == ([], sorted(bad))
    assert exporter.stats().spooled_bytes < 20_000


def test_a_spot_says_what_its_record_takes(directory: Path) -> None:
    """
    A record that is read is JSON, and as much room is free once it is delivered as it took.
    """
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    spot, data = Spot(), orjson.dumps([TEXT])
    with disk.transaction():
        disk.add([make_spooled(data=data).packed()], [spot], loaded=False)
    with disk.transaction():
        ((record, again),) = disk.next(1, 2**20)

    assert record.data == data
    assert spot.size == again.size == disk.size < len(data) / 2
    disk.close()


def test_what_was_purged_is_in_no_form_in_the_file(directory: Path) -> None:
    """
    A packed event is found by its user, and not a byte of its packed form stays.
    """
    file = SpoolFile.create(directory, IDENTITY)
    rows = [
        make_spooled(
            f"e{n}",
            orjson.dumps({"user_properties": {"id": user}, "text": Random(n).randbytes(500).hex()}),
        ).packed()
        for n, user in enumerate(["ann", "bob"] * 10)
    ]
    letters = [evolve(make_letter(row.event_id), data=row.data) for row in rows]
    with file.transaction():
        file.add(rows)
        file.bury(letters)
    with file.transaction():
        assert file.purge(Match(user="ann")) == (10, 10)
    file.close()

    content = file.path.read_bytes()
    parts = [[part for part in pieces(row.data) if part in content] for row in rows]
    assert not any(parts[::2])
    assert all(parts[1::2])


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 16] for at in range(0, len(data) - 16, 16)]


# Damage.

CHANGES = {
    "cut": "substr(data, 1, length(data) - 1)",
    "another byte": "CAST(substr(data, 1, 20) || x'00' || substr(data, 22) AS BLOB)",
    "no bytes": "x''",
    "a number": "12",
    "text": "'x'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_damaged_pack_costs_no_other(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    change: str,
) -> None:
    """
    The event in it is dropped as damaged, and kept as a dead letter; its neighbours are sent.
    """
    path = directory / "a.spool"
    leave(path, server.url, records=["b0", "b1", "b2"], api_key=KEY)
    pack_all(path)
    damage(path, f"UPDATE records SET data = {change} WHERE id = 2")
    exporter = await make_exporter(spool=directory)
    await until(lambda: exporter.stats().recovered > 0)
    await come_back(exporter, clock)
    await written(exporter)

    assert sorted(server.created_ids) == ["b0", "b2"]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.DAMAGED: 1}
    (letter,) = letters_in(directory)
    assert (letter.event_id, letter.answer) == ("b1", "data")


# Files of earlier versions.


@pytest.mark.parametrize("version", [1, 2])
async def test_a_file_of_an_earlier_version_goes_on_packed(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    version: int,
) -> None:
    """
    What is in it stays as it is, can be looked at, and is sent; what is added is packed.
    """
    path = directory / "a.spool"
    leave(path, server.url, records=["old"], api_key=KEY)
    with closing(sqlite3.connect(path)) as db:
        for table in ("records", "letters") if version == 1 else ():
            db.execute(f"ALTER TABLE {table} DROP COLUMN route")
        db.execute(f"PRAGMA user_version = {version}")
    assert contents(directory) == (["old"], [])
    server.default = unavailable()
    exporter = await make_exporter(spool=directory, queue=QueueLimits(max_events=1))
    await until(lambda: exporter.stats().recovered == 1)
    push_all(exporter, "new-0", "new-1", "new-2", "new-3")
    await written(exporter)

    forms = forms_in(directory)
    assert forms[0] is False
    assert any(forms)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    server.default = created()
    await come_back(exporter, clock)
    assert sorted(server.created_ids) == ["new-0", "new-1", "new-2", "new-3", "old"]
