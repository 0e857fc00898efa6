"""
What is missing of an event's times.
"""

from __future__ import annotations

import pytest

from hh_exporter._values.times import fill_times

NOW = 1_750_000_000_000.0
TIMES = ("start_time", "end_time", "duration")


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, (NOW, NOW, 0)),
        ({"duration": 5}, (NOW - 5, NOW, 5)),
        ({"start_time": NOW - 5}, (NOW - 5, NOW, 5)),
        ({"start_time": 7, "duration": 5}, (7, 12, 5)),
        ({"end_time": 12, "duration": 5}, (7, 12, 5)),
        ({"start_time": 7, "end_time": 12}, (7, 12, 5)),
        ({"start_time": 12, "end_time": 7}, (12, 7, 0)),
        ({"start_time": 7, "end_time": 12, "duration": 1}, (7, 12, 1)),
        # Absurd, each of them a number.
        ({"start_time": 1e308, "duration": 1e308}, (1e308, NOW, 1e308)),
        ({"start_time": -1e308, "end_time": 1e308}, (-1e308, 1e308, 0)),
        ({"end_time": -1e308, "duration": 1e308}, (-1e308, -1e308, 1e308)),
        ({"duration": NOW + 1}, (NOW, NOW, NOW + 1)),
        ({"duration": NOW}, (0, NOW, NOW)),
        ({"duration": -1e30}, (NOW, NOW, -1e30)),
        ({"end_time": 5, "duration": 30_000}, (5, 5, 30_000)),
    ],
)
def test_times_are_derived_from_times(
    given: dict[str, float], filled: tuple[float, float, float]
) -> None:
    """
    What is given stays, what follows from it is added, and all of it is finite.
    """
    wire = dict(given)

    fill_times(wire, NOW)

    assert tuple(wire[name] for name in TIMES) == filled


@pytest.mark.parametrize("given", [{}, {"start_time": 7}, {"duration": 5}])
def test_without_a_clock_only_the_duration_is_made_up(given: dict[str, float]) -> None:
    """
    Where nobody says what time it is, a missing end stays missing.
    """
    wire = dict(given)

    fill_times(wire, None)

    assert wire == {"duration": 0, **given}
