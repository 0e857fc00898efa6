"""
Machines whose clock is set while an exporter runs, or was not set when it started.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import evolve

from hh_exporter import DropReason, QueueLimits, Spool
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.place import list_files
from tests.builders import make_letter
from tests.conftest import KEY, BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer, created, hang, unavailable
from tests.spools import come_back, letters_in, on_disk, spooled, written
from tests.support import EPOCH, FakeClock, assert_balanced, delivered, push_all, until

DAY = 24 * 60 * 60.0
AGE = 1000.0
UNSET = 3600.0
"""The Unix time of a machine that has run for an hour since it forgot what time it is."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def set_clock(clock: FakeClock, unix: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have it be another time of day, while the monotonic clock goes on.
    """
    offset = unix - clock.now()
    monkeypatch.setattr(clock, "wall", lambda: offset + clock.now())


def pushed_at(directory: Path) -> list[float]:
    """
    List the Unix times at which the events on disk were pushed, in order of arrival.
    """
    times = []
    for path in list_files(directory):
        file = SpoolFile.peek(path)
        assert file is not None
        times += [r.pushed_at for i in file.ids() if (r := file.record(i)) is not None]
        file.close()
    return times


def leave(directory: Path, server: ScriptedServer, times: Iterable[float]) -> None:
    """
    Leave events, and letters, that were pushed at these Unix times.
    """
    identity = Identity(base_url=server.url, dialect="legacy", api_key=KEY)
    file = SpoolFile.create(directory, identity)
    with file.transaction():
        for number, time in enumerate(times):
            file.add([evolve(spooled(f"e{number}"), pushed_at=time)])
            file.bury([make_letter(f"d{number}", pushed_at=time)])
    file.close()


STEPS = [
    pytest.param(UNSET, EPOCH, id="set for the first time"),
    pytest.param(EPOCH - 30 * DAY, EPOCH, id="set forward"),
    pytest.param(EPOCH + 400 * DAY, EPOCH, id="set backward"),
    pytest.param(EPOCH - 120.0, EPOCH, id="set by two minutes"),
]


@pytest.mark.parametrize(("before", "after"), STEPS)
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "memory first"])
async def test_what_was_spooled_before_the_clock_is_set_is_as_old_as_it_is(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: float,
    after: float,
    durable: bool,
) -> None:
    """
    It neither expires at once nor is kept for longer, and its time on disk is right again.
    """
    set_clock(clock, before, monkeypatch)
    server.default = unavailable()
    exporter = build_exporter(
        spool=Spool(directory, durable=durable, max_age=AGE), queue=QueueLimits(max_events=1)
    )
    await exporter.start()
    push_all(exporter, "e0", "e1", "e2")
    await clock.advance(10.0)
    await written(exporter)
    there = on_disk(directory)
    assert len(there) > 1

    set_clock(clock, after, monkeypatch)
    now = clock.wall()
    push_all(exporter, "e3")
    await written(exporter)
    await until(lambda: all(abs(now - time) < 20.0 for time in pushed_at(directory)))
    await clock.advance(0.9 * AGE)
    await written(exporter)
    assert set(there) <= set(on_disk(directory))
    assert not assert_balanced(exporter).dropped

    await clock.advance(2 * AGE)
    await until(lambda: assert_balanced(exporter).dropped)
    assert set(exporter.stats().dropped_by_reason) == {DropReason.EXPIRED}


async def test_the_next_process_finds_the_right_times(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A clock that is set just before the close is followed by that; dead letters, too.
    """
    set_clock(clock, EPOCH - 30 * DAY, monkeypatch)
    server.default = hang()
    first = await make_exporter(spool=Spool(directory, durable=True, max_age=AGE))
    push_all(first, "e0", "e1")
    await written(first)
    set_clock(clock, EPOCH, monkeypatch)
    await first.aclose(0.0)
    assert all(EPOCH <= time < EPOCH + 60.0 for time in pushed_at(directory))

    server.default = created()
    second = await make_exporter(spool=Spool(directory, max_age=AGE))
    await come_back(second, clock)
    assert assert_balanced(second).delivered == 2


async def test_what_seems_to_be_of_the_future_does_not_stay_for_ever(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, directory: Path
) -> None:
    """
    It was pushed when it was found, for all that is known, and so was what seems to be ancient.
    """
    server.default = hang()
    leave(directory, server, [EPOCH + 400 * DAY, UNSET, EPOCH - 2 * AGE])
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE), request_timeout=10 * AGE)
    await until(lambda: exporter.stats().in_flight == 2)
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.EXPIRED: 1}
    await clock.advance(0.9 * AGE)
    await written(exporter)
    assert [letter.event_id for letter in letters_in(directory)] == ["d0", "d1"]

    await clock.advance(2 * AGE)
    await until(lambda: not letters_in(directory))


async def test_a_process_that_begins_before_the_clock_is_set_takes_nothing_for_old(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What it finds is sent, whatever year it seems to be, and is too old once that is known.
    """
    leave(directory, server, [EPOCH - 10.0, EPOCH - 2 * AGE])
    set_clock(clock, UNSET, monkeypatch)
    exporter = await make_exporter(spool=Spool(directory, max_age=AGE))
    await delivered(exporter, 2)
    assert letters_in(directory)
