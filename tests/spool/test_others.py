"""
Files of another key, address or dialect, and damaged ones, are counted, and none stays for good.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hh_exporter import Exporter, Spool
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.place import list_files, make_directory
from tests.builders import make_letter
from tests.conftest import KEY, MakeExporter
from tests.scripted_server import ScriptedServer, status
from tests.spools import come_back, contents, files_in, leave, on_disk, spooled
from tests.support import EPOCH, FakeClock, assert_balanced, until

AGE = 1000.0
OLD_KEY = "hh_old_key"
HAND_OVER = "hh-exporter spool --adopt hands those of another key over, and --drain sends others"
SEND = "hh-exporter spool --drain sends them where they belong"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def leave_aged(directory: Path, url: str, ages: list[float], **other: Any) -> Path:
    """
    Make a file with a record and a letter of each age.
    """
    identity = Identity(**{"base_url": url, "dialect": "legacy", "api_key": OLD_KEY, **other})
    file = SpoolFile.create(directory, identity)
    with file.transaction():
        file.add([evolve(spooled(f"e{age:g}"), pushed_at=EPOCH - age) for age in ages])
        file.bury([make_letter(f"d{age:g}", pushed_at=EPOCH - age) for age in ages])
    file.close()
    return file.path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


async def looked(exporter: Exporter) -> None:
    """
    Wait until the files of others were looked at.
    """
    spooler = exporter._life.spooler
    assert spooler is not None
    await until(lambda: spooler.writer.shift is not None and spooler.writer.shift.is_read)
    await until(lambda: spooler.writer.room.since is None and not spooler.writer.disk.others._paths)


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([{"api_key": OLD_KEY}], "2 events in 1 file of another key"),
        ([{"dialect": "v1"}], "2 events in 1 file of another dialect"),
        ([{"base_url": "http://127.0.0.1:9"}], "2 events in 1 file of another address"),
        (
            [{"api_key": None}, {"base_url": "http://127.0.0.1:9", "dialect": "v1"}],
            "4 events in 2 files of another key or address",
        ),
    ],
)
async def test_what_waits_for_another_is_said_once(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    others: list[dict[str, Any]],
    told: str,
) -> None:
    """
    One warning counts it and says what to do, and the number is in the statistics.
    """
    for n, other in enumerate(others):
        fields = {"base_url": server.url, "api_key": KEY, **other}
        leave(directory / f"{n}.spool", records=["a", "b"], letters=["c"], **fields)
    leave(directory / "ours.spool", server.url, records=["ours"], api_key=KEY)
    advice = HAND_OVER if "key" in told else SEND
    exporter = await make_exporter(spool=Spool(directory, max_age=1e10))
    await until(lambda: exporter.stats().stranded == 2 * len(others))
    await come_back(exporter, clock)
    await clock.advance(3 * 3600.0)
    await looked(exporter)

    assert warnings(caplog) == [f"hh_exporter: the spool in {directory} holds {told}: {advice}"]
    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.delivered, stats.health) == (1, 1, "ok")


async def test_what_a_living_process_holds_is_not_stranded(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Its files are neither counted nor changed, however old their events are, until it is gone.
    """
    path = leave_aged(directory, server.url, [2 * AGE, 0.0])
    holder = SpoolFile.adopt(path, None)
    assert holder is not None
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await looked(exporter)

    assert exporter.stats().stranded == 0
    assert (holder.ids(), holder.letter_ids()) == ([1, 2], [1, 2])
    assert not warnings(caplog)
    holder.close()
    await clock.advance(AGE)
    await until(lambda: exporter.stats().stranded == 1)
    assert contents(directory) == (["e0"], ["d0"])


@pytest.mark.parametrize(
    "other", [{"api_key": OLD_KEY}, {"dialect": "v1"}, {"base_url": "http://127.0.0.1:9"}]
)
async def test_what_is_too_old_is_deleted_whosever_it_is(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    other: dict[str, Any],
) -> None:
    """
    Files of others keep nothing for longer than ours do, and what was deleted is counted.
    """
    mine = {"base_url": server.url, "api_key": KEY}
    path = leave_aged(directory, server.url, [2 * AGE, 3 * AGE, AGE / 2], **{**mine, **other})
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await until(lambda: exporter.stats().stranded == 1)
    await until(lambda: warnings(caplog))  # the disk's thread says so afterwards

    assert contents(directory) == (["e500"], ["d500"])
    assert b"e2000" not in path.read_bytes()
    assert warnings(caplog)[0] == (
        f"hh_exporter: deleted in {directory}, since it is older than max_age: 2 events and 2 dead "
        "letters of another key, address or dialect, 0 files set aside"
    )
    await clock.advance(AGE)
    await until(lambda: not files_in(directory))
    await until(lambda: exporter.stats().stranded == 0)
    assert assert_balanced(exporter).recovered == 0


async def test_what_was_set_aside_expires_too(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A damaged file goes, with its log, when all that can be in it is too old.
    """
    make_directory(directory)
    for name, age in {"old": 2 * AGE, "new": 0.0}.items():
        for end in ("", "-wal"):
            path = directory / f"{name}.spool.corrupt{end}"
            path.write_text("prompt")
            path.chmod(0o600)
            os.utime(path, (EPOCH - age, EPOCH - age))
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await looked(exporter)
    await until(lambda: warnings(caplog))

    assert sorted(path.name for path in files_in(directory)) == [
        "new.spool.corrupt",
        "new.spool.corrupt-wal",
    ]
    (told,) = warnings(caplog)
    assert told == (
        f"hh_exporter: deleted in {directory}, since it is older than max_age: 0 events and 0 dead "
        "letters of another key, address or dialect, 1 file set aside"
    )


async def test_any_key_takes_over_what_another_key_left(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is sent with the new key; what was made for another address or dialect stays.
    """
    leave(directory / "key.spool", server.url, records=["a", "b"], api_key=OLD_KEY)
    leave(directory / "address.spool", "http://127.0.0.1:9", records=["c"], api_key=KEY)
    leave(directory / "dialect.spool", server.url, records=["d"], api_key=OLD_KEY, dialect="v1")
    exporter = await make_exporter(spool=Spool(directory, adopt="any_key"))
    await until(lambda: exporter.stats().recovered == 2)
    await come_back(exporter, clock)
    await until(lambda: exporter.stats().stranded == 2)

    assert exporter.stats().delivered == 2
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    await until(lambda: on_disk(directory) == ["c", "d"])
    (told,) = warnings(caplog)
    assert "2 events in 2 files of another address or dialect" in told


async def test_what_was_taken_over_is_of_the_new_key(
    make_exporter: MakeExporter, server: ScriptedServer, directory: Path
) -> None:
    """
    If it can't be sent at once, the next process with the new key sends it.
    """
    server.default = status(503)
    leave(directory / "key.spool", server.url, records=["a"], letters=["d"], api_key=OLD_KEY)
    exporter = await make_exporter(spool=Spool(directory, adopt="any_key", max_age=1e10))
    await until(lambda: exporter.stats().recovered == 1)
    await exporter.aclose(0.0)

    assert contents(directory) == (["a"], ["d"])
    (path,) = list_files(directory)
    old = Identity(base_url=server.url, dialect="legacy", api_key=OLD_KEY)
    assert SpoolFile.adopt(path, old) is None
    file = SpoolFile.adopt(path, evolve(old, api_key=KEY))
    assert file is not None
    file.close()


def test_a_file_that_could_not_be_handed_over_is_still_of_its_key(directory: Path) -> None:
    """
    A crash or a fault while it is sealed anew leaves the seal that it had, whole.
    """
    old = Identity(base_url="https://api.example", dialect="legacy", api_key=OLD_KEY)
    path = directory / "a.spool"
    leave(path, old.base_url, records=["a"], api_key=OLD_KEY)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TRIGGER fault BEFORE INSERT ON meta WHEN new.name = 'seal' "
            "BEGIN SELECT raise(ABORT, 'fault'); END"
        )
        db.commit()
    with pytest.raises(sqlite3.IntegrityError, match="fault"):
        SpoolFile.adopt(path, evolve(old, api_key=KEY), any_key=True)

    file = SpoolFile.adopt(path, old)
    assert file is not None
    assert file.count == 1
    file.close()


async def test_what_was_pushed_while_no_clock_was_set_is_not_too_old(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    Of another key, too, it is as old as the first look at it, and expires after that.
    """
    leave_aged(directory, server.url, [EPOCH - 60.0])
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await until(lambda: exporter.stats().stranded == 1)
    assert len(on_disk(directory)) == 1

    await clock.advance(AGE)
    await clock.advance(AGE)
    await until(lambda: exporter.stats().stranded == 0)
    assert not files_in(directory)
