"""
What an earlier process left is put in order: updates behind what they follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from hh_exporter._records import UPDATES
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Mark, SpooledRecord
from tests.builders import make_spooled
from tests.spool_processes import IDENTITY


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile.create(tmp_path / "spool", IDENTITY)
    yield file
    file.close()


def record(name: str, seq: int) -> SpooledRecord:
    """
    Make a record of that event, or if it has a star an update.
    """
    made = make_spooled(name.rstrip("*"), f"{seq}".encode())
    return evolve(made, seq=seq, route=UPDATES if name.endswith("*") else "")


def write(file: SpoolFile, *records: SpooledRecord) -> None:
    with file.transaction():
        file.add(records)


def read(file: SpoolFile) -> list[int]:
    """
    List the places that its records had, in the order that they have in it.
    """
    found = [file.record(id_) for id_ in file.ids()]
    return [int(one.data) for one in found if one is not None]


def test_updates_that_were_written_first_are_put_behind(file: SpoolFile) -> None:
    """
    All that is known of an event of which anything is late; other records stay where they are.
    """
    write(
        file,
        record("e1*", 7),
        record("e2", 4),
        record("e1", 3),
        record("e2*", 6),
        record("e1*", 5),
        record("e3", 9),
        record("e3", 8),
    )
    count, size = file.count, file.record_size
    file.put_in_order()

    assert read(file) == [4, 6, 9, 8, 3, 5, 7]
    assert (file.count, file.record_size) == (count, size)
    assert file.last_id == file.ids()[-1]


def test_places_of_several_processes_are_not_compared(file: SpoolFile) -> None:
    """
    What was put in order once stays so, in front of what is written then.
    """
    write(file, record("e1", 20), record("e1*", 30))
    file.put_in_order()
    write(file, record("e1*", 2), record("e2*", 9), record("e2", 7), record("e1*", 3))
    file.put_in_order()

    assert read(file) == [20, 30, 2, 3, 7, 9]


def test_what_was_moved_stays_where_it_is(file: SpoolFile) -> None:
    """
    It is in another file, which has it in order.
    """
    write(file, record("e1*", 7), record("e1", 3), record("e1*", 5))
    file.leave_out(Mark(records=1))
    file.put_in_order()

    assert read(file) == [3, 5]
