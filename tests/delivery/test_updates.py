"""
Updates that wait for their turn.
"""

from __future__ import annotations

from collections.abc import Container

from hh_exporter import BatchLimits
from hh_exporter._delivery.updates import Updates
from hh_exporter._records import UPDATES, Record

LIMITS = BatchLimits(max_events=2, linger=1.0)


def update(event_id: str, seq: int, pushed_at: float = 0.0) -> Record:
    record = Record(event_id, b"{}", pushed_at, None, UPDATES)
    record.seq = seq
    return record


def taken(updates: Updates, now: float, held: Container[str] = ()) -> list[int]:
    """
    Take all that is due; returns the places of it in the order.
    """
    found = []
    while (batch := updates.pop(now, held)) is not None:
        found += [record.seq for record in batch.records]
    return found


def test_the_oldest_is_looked_at_alone() -> None:
    """
    However many wait, it takes no longer to find what is next, or that nothing is.
    """
    asked = []

    class Held:
        def __contains__(self, event_id: object) -> bool:
            asked.append(event_id)
            return False

    updates, held = Updates(LIMITS), Held()
    for seq in range(1, 1000):
        updates.add(update(f"e{seq}", seq))

    assert updates.pop(0.5, held) is None
    assert updates.due_at(held) == 1.0
    assert updates.pop(1.0, held) is not None
    assert asked == ["e1"] * 3


def test_what_comes_back_takes_its_place() -> None:
    """
    By the order of admission: also before what was pulled already.
    """
    updates = Updates(LIMITS)
    for seq in (5, 3, 1, 4, 2):
        updates.add(update(f"e{seq}", seq, pushed_at=float(seq)))

    assert updates.due_at(()) == 2.0
    assert taken(updates, 3.0) == [1, 2]
    assert taken(updates, 6.0) == [3, 4, 5]


def test_what_fits_no_batch_waits_behind_others() -> None:
    """
    The rest of one event's updates leaves as the first of it says.
    """
    updates = Updates(LIMITS)
    for event_id, seq in (("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)):
        updates.add(update(event_id, seq))

    assert taken(updates, 1.0) == [1, 2, 3, 4, 5]


def test_an_earlier_update_of_the_same_event_brings_it_forward() -> None:
    """
    It was on disk, say.
    """
    updates = Updates(LIMITS)
    for event_id, seq in (("a", 2), ("b", 3), ("b", 1)):
        updates.add(update(event_id, seq))

    assert taken(updates, 1.0) == [1, 3, 2]


def test_what_is_held_holds_nothing_else_up() -> None:
    """
    It is sent once its event has an outcome.
    """
    held = {"a"}
    updates = Updates(LIMITS)
    for event_id, seq in (("a", 1), ("b", 2)):
        updates.add(update(event_id, seq))

    assert taken(updates, 1.0, held) == [2]
    assert updates.due_at(held) is None
    held.clear()
    assert taken(updates, 1.0, held) == [1]
    assert updates.count == 0
