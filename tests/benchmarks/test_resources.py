"""
The benchmarks of memory, scale and start-up run end to end, and none counts what is not there.

What they measured is not looked at: it depends on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from attrs import evolve

from benchmarks import memory, scale, startup
from benchmarks._holding import Flood
from benchmarks._process import read_resident, run_in_fresh_process
from benchmarks._sink import Received, Sink, running_sink
from benchmarks._workload import Fields, generate_events
from hh_exporter import QueueLimits

# These run programs for half a minute: where the benchmarks themselves are run.
pytest.importorskip("matplotlib", reason="needs the extra bench")

ROUNDS = 2
FEW = 7
"""Events of a workload."""

LARGE: Fields = {"model": "m", "error": "x" * 2**20}
"""An event that fills a body."""
FLOOD = Flood(fields=LARGE, count=40, limits=QueueLimits(max_events=10))
TRICKLE = Flood(fields=LARGE, count=10, limits=QueueLimits(max_events=10))


class LossySink(Sink):
    """
    A sink that knows of one event less than it acknowledged, once the producers are warm.
    """

    def collect(self) -> Received:
        received = super().collect()
        if received.events == FEW:
            return received
        return evolve(received, events=received.events - 1, distinct=received.distinct - 1)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(FEW)


def test_memory_has_figures_for_each_way_and_flood(events: list[Fields]) -> None:
    """
    The benchmark of memory measures each way to hold events, and each flood, in each round.
    """
    held = asyncio.run(memory.measure(events, count=FEW, collections=1, rounds=1))
    floods = asyncio.run(memory.measure_floods({"large": FLOOD}, rounds=1))
    tables = memory.report(events, held, floods, count=FEW).tables

    assert list(held) == [memory.EXPORTER, memory.BYTES, memory.OBJECTS, memory.DICTS]
    assert all(len(figures) == 1 and figures[0].pause > 0 for figures in held.values())
    assert [row.name for row in tables[0].rows] == [row.name for row in tables[1].rows]
    assert [row.name for row in tables[0].rows] == list(held)
    assert [figure.events for figure in floods["large"]] == [10]
    assert [row.name for row in tables[2].rows] == ["large"]


def test_the_memory_of_events_that_are_not_queued_is_no_figure(
    events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The benchmark of memory ends with an error where the exporter does not keep all events.
    """
    monkeypatch.setenv("HH_EXPORTER_SAMPLE_RATE", "0.5")

    with pytest.raises(RuntimeError, match=r"\d+ of 200 events are queued"):
        asyncio.run(memory.measure(events, count=200, collections=1, rounds=1))


def test_a_flood_that_does_not_fill_the_queue_is_no_figure() -> None:
    """
    The benchmark of memory ends with an error where the budget was not exceeded.
    """
    with pytest.raises(RuntimeError, match="the queue should be full"):
        asyncio.run(memory.measure_floods({"trickle": TRICKLE}, rounds=1))


def test_scale_has_a_piece_for_each_exporter_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of scale measures each exporter in each round, and reports three figures of all.
    """
    pieces = asyncio.run(
        scale.measure(events, sink, few=5, totals=(20,), rounds=ROUNDS, warm_up=FEW)
    )
    tables = scale.report(events, pieces, warm_up=FEW).tables

    assert list(pieces) == [5, 20]
    assert all(len(of_total) == ROUNDS for of_total in pieces.values())
    for table in tables:
        assert [row.name for row in table.rows] == ["5 events", "20 events"]
        assert [row.target == "" for row in table.rows] == [True, False]
        assert table.rows[0].middle == 1.0


def test_scale_has_no_figure_unless_each_event_arrived(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of scale ends with an error where an event is missing at the sink.
    """
    with pytest.raises(RuntimeError, match="5 events should have arrived"):
        asyncio.run(
            scale.measure(events, LossySink(sink.url), few=5, totals=(), rounds=ROUNDS, warm_up=FEW)
        )


def test_scale_has_no_figure_unless_each_event_was_delivered(
    sink: Sink, events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The benchmark of scale ends with the error of the process that found an event undelivered.
    """
    monkeypatch.setenv("HH_EXPORTER_DISABLED", "true")

    with pytest.raises(RuntimeError, match="0 of 7 events were delivered"):
        asyncio.run(scale.measure(events, sink, few=5, totals=(), rounds=ROUNDS, warm_up=FEW))


def test_startup_has_a_cost_for_each_statement_and_round() -> None:
    """
    The benchmark of start-up measures each statement in each round, and weighs what is installed.
    """
    costs = asyncio.run(startup.measure(rounds=1, warm_up=0))
    sizes = startup.measure_sizes()
    time, size = startup.report(costs, sizes).tables

    assert list(costs) == list(startup.STATEMENTS)
    assert all(len(of_one) == 1 and of_one[0].cpu > 0 for of_one in costs.values())
    assert [row.name for row in time.rows] == list(costs)
    assert [row.name for row in size.rows] == [startup.DEPENDENCIES, startup.PACKAGE]
    assert all(sizes.values())


def test_what_the_exporter_stands_on_is_found_to_the_end() -> None:
    """
    The requirements of requirements count too, those of extras do not.
    """
    needs = startup.find_needs(startup.NEEDS)

    assert {*startup.NEEDS, "yarl", "multidict"} <= needs
    assert not {"isal", "hh-exporter", "pytest"} & needs


def test_a_statement_that_fails_has_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The benchmark of start-up ends with an error where an import fails.
    """
    monkeypatch.setattr(startup, "STATEMENTS", {startup.PACKAGE: "raise SystemExit(1)"})

    with pytest.raises(RuntimeError, match="failed"):
        asyncio.run(startup.measure(rounds=1, warm_up=0))


def test_a_fresh_process_has_not_what_this_one_has() -> None:
    """
    Its memory is its own, and what it raises comes back.
    """
    ballast = b"x" * 2**27

    assert run_in_fresh_process(read_resident) < len(ballast) < read_resident()
    with pytest.raises(ZeroDivisionError):
        run_in_fresh_process(divmod, 1, 0)
