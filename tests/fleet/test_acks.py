"""
Acknowledgements are repeated until they are confirmed, and never two at once.
"""

from __future__ import annotations

from hh_exporter._fleet.acks import Acks


def test_one_is_under_way_until_it_is_confirmed() -> None:
    """
    Of two at a time the server answers one, so none follows before its time.
    """
    acks = Acks()
    acks.add(7, "a")

    assert acks.pop(0.0) == [(7, "a")]
    assert acks.pop(4.9) == []
    acks.add(7, "b")
    assert acks.pop(4.9) == []
    assert acks.pop(5.0) == [(7, "b")]
    assert acks.repeated == 1
    acks.confirm(7, 0.0)
    assert acks.pop(99.0) == []
    assert acks.unconfirmed == 0


def test_where_nobody_confirms_it_is_repeated_soon() -> None:
    """
    There was no leader, as in an election.
    """
    acks = Acks()
    acks.add(7, "a")
    acks.pop(0.0)
    acks.miss(7, 1.0)

    assert acks.look_at() == 2.0
    assert acks.pop(2.0) == [(7, "a")]


def test_another_connection_repeats_all() -> None:
    """
    What was asked over the lost one is never answered.
    """
    acks = Acks()
    for sequence in (1, 2):
        acks.add(sequence, f"a{sequence}")
    acks.pop(0.0)
    acks.confirm(1, 0.0)
    acks.repeat_all()

    assert acks.pop(0.1) == [(2, "a2")]
    assert acks.pop(0.2) == []


def test_what_comes_again_is_acknowledged_again() -> None:
    """
    Before it was confirmed and after; of what was never acknowledged it knows nothing.
    """
    acks = Acks()
    acks.add(1, "a")
    acks.pop(0.0)
    assert acks.add_again(1, "b")
    acks.confirm(1, 0.0)
    assert acks.add_again(1, "c")
    assert acks.pop(1.0) == [(1, "c")]
    acks.confirm(1, 0.0)

    assert not acks.add_again(2, "d")
    assert acks.unconfirmed == 0


def test_ten_thousand_are_remembered() -> None:
    """
    Memory stays bounded over millions.
    """
    acks = Acks()
    for sequence in range(10_001):
        acks.add(sequence, "a")
        acks.pop(0.0)
        acks.confirm(sequence, 0.0)

    assert not acks.add_again(0, "b")
    assert acks.add_again(1, "b")


def test_a_late_confirmation_counts() -> None:
    """
    It may come while the repetition is about to be sent.
    """
    acks = Acks()
    acks.add(1, "a")
    acks.pop(0.0)
    acks.repeat_all()
    acks.confirm(1, 0.0)

    assert acks.pop(1.0) == []
    assert acks.unconfirmed == 0
