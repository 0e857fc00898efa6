"""
Whose turn it is: updates come back behind what they follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hh_exporter._records import Spot
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.held import Held
from tests.builders import make_spooled
from tests.spool_processes import IDENTITY


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    file = SpoolFile.create(tmp_path / "spool", IDENTITY)
    yield Held(file, inherited=0)
    file.close()


def add(held: Held, *names: str) -> list[int]:
    spots = [Spot() for _ in names]
    with held.transaction():
        held.add([make_spooled(name) for name in names], spots, loaded=False)
    return [spot.id for spot in spots]


def load(held: Held, count: int = 1) -> list[int]:
    held.turn_before = held.turn
    ids = [id_ for id_, _ in zip(held.round(), range(count), strict=False)]
    for id_ in ids:
        held.note(id_, is_loaded=True)
        held.turn = held.turn.after(id_)
    return ids


def test_what_left_memory_again_comes_before_what_is_written_then(held: Held) -> None:
    """
    Though its turn was before: others that wait have theirs first, and each has one.
    """
    first, second, third = add(held, "e1", "e2", "e3")
    assert load(held, 2) == [first, second]
    held.unload(first)
    (later,) = add(held, "update of e1")
    held.unload(second)

    assert list(held.round()) == [third, first, second, later]
    assert load(held, 3) == [third, first, second]
    held.unload(first)
    (last,) = add(held, "another")
    assert load(held, 9) == [later, first, last]


def test_what_does_not_get_to_memory_keeps_its_turn(held: Held) -> None:
    """
    Also where its round has just begun.
    """
    ids = add(held, "e1", "e2", "e3")
    load(held, 2)
    held.unload(ids[0])
    held.unload(ids[1])
    ids += add(held, "update of e1")
    order = [ids[n] for n in (2, 0, 1, 3)]
    for count in range(1, 5):
        assert load(held, count) == order[:count]
        for id_ in reversed(order[:count]):
            held.put_back(id_)
        assert list(held.round()) == order


def test_a_load_that_fails_changes_no_turn(held: Held) -> None:
    """
    What was next is next again.
    """
    ids = add(held, "e1", "e2")

    def load_and_fail() -> None:
        load(held, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), held.transaction():
        load_and_fail()

    assert list(held.round()) == ids
