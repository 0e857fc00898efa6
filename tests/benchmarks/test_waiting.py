"""
The benchmarks of outages and of exporters at rest run end to end, and count what is there.

What they measured is not looked at: it depends on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from benchmarks import idle, outage
from benchmarks._resting import count_wakes
from benchmarks._sink import Sink, running_sink
from benchmarks._waiting import keep
from benchmarks._workload import Fields, generate_events

# These run programs for some seconds: where the benchmarks themselves are run.
pytest.importorskip("matplotlib", reason="needs the extra bench")

FEW = 7
"""Events of a workload."""
SMALL = 2**20
SHORT = 0.2
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(FEW)


def test_outage_has_figures_for_memory_and_disk(
    events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The benchmark of outages fills memory and a spool in each round, and reports all figures.
    """
    monkeypatch.setenv("HH_EXPORTER_QUEUE_MAX_EVENTS", "500")
    measured = asyncio.run(
        outage.measure(events, rate=20_000, spool=SMALL, count=FEW, rounds=2, outage_rounds=1)
    )
    tables = outage.report(events, measured, spool=SMALL, count=FEW).tables

    [in_memory], [on_disk] = measured.outlasted[outage.MEMORY], measured.outlasted[outage.DISK]
    assert in_memory.events == 500
    assert 0 < on_disk.json < 10 * SMALL
    assert on_disk.limit == SMALL
    assert all(kept.files > 0 and kept.bare > 0 for kept in measured.kept)
    assert [len(row.figures) for table in tables for row in table.rows] == [1, 1, 1, 2, 2]


def test_what_is_not_on_disk_has_no_figure(
    events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Keeping events ends with an error where some of them are not in the spool.
    """
    monkeypatch.setenv("HH_EXPORTER_DISABLED", "true")
    lines = [b'{"model":"m"}']

    with pytest.raises(RuntimeError, match="0 of 3 events are on disk"):
        keep(lines, NOWHERE, 3)


def test_idle_has_a_count_for_each_way_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of rest counts for each way in each round, and reports all.
    """
    wakes = asyncio.run(idle.measure(events, sink, settle=SHORT, seconds=SHORT, rounds=2))
    [table] = idle.report(events, wakes, seconds=SHORT).tables

    assert list(wakes) == list(idle.WAYS)
    assert all(len(figures) == 2 for figures in wakes.values())
    assert [row.name for row in table.rows] == list(idle.WAYS)
    assert table.rows[0].middle == 0


def test_a_program_that_wakes_is_noticed(sink: Sink, events: list[Fields]) -> None:
    """
    A loop that looks up now and then shows in the count; a program that fails has none.
    """
    assert count_wakes(ticking, sink.url, events[0], settle=SHORT, seconds=0.5) > 10
    with pytest.raises(RuntimeError, match="failing failed"):
        count_wakes(failing, sink.url, events[0], settle=SHORT, seconds=SHORT)


@asynccontextmanager
async def ticking(_url: str, _event: Fields) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def tick() -> None:
        loop.call_later(0.005, tick)

    tick()
    yield


@asynccontextmanager
async def failing(_url: str, _event: Fields) -> AsyncIterator[None]:
    raise ZeroDivisionError
    yield
