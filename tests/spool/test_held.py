"""
What of a file is in memory, and what a commit costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hh_exporter._records import Spot
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.held import Held
from hh_exporter._spool.round import Round
from tests.builders import make_spooled
from tests.spool_processes import IDENTITY


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    file = SpoolFile.create(tmp_path / "spool", IDENTITY)
    yield Held(file, inherited=0)
    file.close()


def spots_in(held: Held, count: int, *, loaded: bool) -> list[Spot]:
    spots = [Spot() for _ in range(count)]
    with held.transaction():
        held.add([make_spooled(f"e{n}") for n in range(count)], spots, loaded=loaded)
    return spots


def test_a_transaction_that_fails_undoes_what_it_noted(held: Held) -> None:
    """
    In memory is what was before, as often as it changed, and what was added is nowhere.
    """
    before = spots_in(held, 4, loaded=True)
    held.note(before[3].id, is_loaded=False)
    new = Spot()

    def change_and_fail() -> None:
        held.add([make_spooled("new")], [new], loaded=True)
        held.remove(before[0].id)
        held.note(before[1].id, is_loaded=False)
        held.note(before[1].id, is_loaded=True)
        held.note(before[1].id, is_loaded=False)
        held.note(before[3].id, is_loaded=True)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), held.transaction():
        change_and_fail()

    assert held.loaded == {spot.id for spot in before[:3]}
    assert new.file is None
    assert held.unloaded == 1
    with held.transaction():
        held.remove(before[0].id)
    assert held.loaded == {spot.id for spot in before[1:3]}


def test_what_is_next_is_found_past_all_that_is_in_memory(held: Held) -> None:
    """
    From the last one on, then from the start, and each once.
    """
    spots = spots_in(held, 300, loaded=True)
    ids = [spots[n].id for n in (5, 150, 299)]
    for id_ in ids:
        held.note(id_, is_loaded=False)
    held.turn = Round(ids[1])

    assert list(held.round()) == [ids[2], ids[0], ids[1]]


def test_a_commit_touches_one_file_and_reads_nothing_that_waits(tmp_path: Path) -> None:
    """
    It takes the same statements, however many files and records there are.
    """
    directory = tmp_path / "spool"
    alone = statements_of_a_commit(directory)
    for n in range(3):
        file = SpoolFile.create(directory, IDENTITY)
        with file.transaction():
            file.add([make_spooled(f"e{n}-{i}") for i in range(50)])
        file.close()

    assert statements_of_a_commit(directory) == alone


def statements_of_a_commit(directory: Path) -> list[str]:
    """
    List what SQLite is asked for one more record, where all that is there is in memory.
    """
    disk = Disk(directory=directory, identity=IDENTITY, fsync=False)
    disk.open()
    while disk.has_more:
        disk.take_over()
    with disk.transaction():
        disk.add([make_spooled("own")], [Spot()], loaded=True)
        disk.next(1000, 2**20)
    statements: list[str] = []
    for held in disk._files:
        held.file._db.set_trace_callback(statements.append)
    with disk.transaction():
        disk.add([make_spooled("one")], [Spot()], loaded=True)
    for held in disk._files:
        held.file._db.set_trace_callback(None)
    disk.close()
    return [" ".join(statement.split()[:3]) for statement in statements]
