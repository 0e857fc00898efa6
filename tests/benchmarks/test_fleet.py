"""
The benchmark of fleets runs end to end, and has no figure where an event is missing.

What it measured is not looked at: it depends on the machine.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import fleet
from benchmarks._draining import ALONE, RELAYS
from benchmarks._fleet import running_collector, running_fleet
from benchmarks._publishing import HTTP, STREAM, WITHOUT
from benchmarks._workload import Fields, generate_events
from hh_exporter import Exporter, ModelEvent

# These run programs for half a minute: where the benchmarks themselves are run.
pytest.importorskip("matplotlib", reason="needs the extra bench")

FEW = 20
"""Events."""


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(7)


def test_fleet_has_figures_for_each_client_and_number_of_relays(events: list[Fields]) -> None:
    """
    Each is measured in each round, and each event is delivered by one relay.
    """
    measured = asyncio.run(
        fleet.measure(events, burst=FEW, seconds=0.1, waiting=FEW, drained=FEW, rounds=2, warm_up=0)
    )
    tables = fleet.report(events, measured, burst=FEW, seconds=0.1, waiting=FEW, warm_up=0).tables

    assert set(measured.bursts) == set(measured.waiting) == {HTTP, STREAM}
    assert set(measured.paced) == {WITHOUT, HTTP, STREAM}
    assert set(measured.drained) == set(RELAYS)
    assert all(burst.stored == 0 for burst in measured.bursts[HTTP])
    assert all(burst.stored > 1_000 for burst in measured.bursts[STREAM])
    assert [sum(each.shares) for each in measured.drained[ALONE]] == [FEW, FEW]
    assert [table.title for table in tables][-1] == "Relays"
    assert all(len(row.figures) == 2 for table in tables for row in table.rows)


async def test_what_is_not_in_the_stream_is_no_figure() -> None:
    """
    Nor is what is there beside it.
    """
    async with running_fleet() as servers:
        async with Exporter(jetstream=servers.servers) as exporter:
            exporter.push(ModelEvent(model="m"))
            await exporter.flush()
        with pytest.raises(RuntimeError, match="2 events should be in the stream: 1 are"):
            await servers.empty(2)
        assert await servers.empty(1) > 0
        assert await servers.count() == (0, 0)


async def test_the_collector_counts_what_it_was_sent() -> None:
    """
    It is a process of its own, which ends with the block.
    """
    with running_collector() as collected:
        async with Exporter(base_url=collected.url) as exporter:
            for _ in range(3):
                exporter.push(ModelEvent(model="m"))
            await exporter.flush()
        assert await asyncio.to_thread(collected.count) == 3
    with pytest.raises(OSError, match="refused"):
        collected.count()
