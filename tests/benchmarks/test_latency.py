"""
The benchmarks of loop lag and shutdown run end to end, and refuse figures that prove nothing.

What they measured is not looked at: a test of times fails by chance.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import chain
from typing import Any

import pytest
from attrs import evolve

from benchmarks import loop_lag, shutdown
from benchmarks._holds import Holds
from benchmarks._hostile import HOSTILE
from benchmarks._load import running_load
from benchmarks._sink import Received, Sink, running_sink
from benchmarks._workload import Fields, generate_events

# These run programs for half a minute: where the benchmarks themselves are run.
pytest.importorskip("matplotlib", reason="needs the extra bench")

FEW = 7
"""Events of a workload."""
ROUNDS = 2
QUEUED = 501
"""Two batches of 500, six default ones."""
SHORT = 0.05

Measure = Callable[[list[Fields], Sink], Coroutine[Any, Any, object]]

measure_lag = partial(loop_lag.measure, rounds=1, seconds=SHORT, warm_up=SHORT)
measure_drain = partial(shutdown.measure_drain, queued=QUEUED, rounds=1, warm_up=0)
measure_stuck = partial(shutdown.measure_stuck, count=FEW, rounds=1, timeout=SHORT)


class LossySink(Sink):
    """
    A sink that knows of one event less than it acknowledged.
    """

    def collect(self) -> Received:
        received = super().collect()
        lost = min(1, received.events)
        return evolve(received, events=received.events - lost, distinct=received.distinct - lost)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink
        sink.collect()  # it still runs


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(FEW)


# Loop lag.


def test_loop_lag_has_figures_for_each_variant_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of loop lag sees beats, answers and what holds the loop, warm-up left out.
    """
    felt = asyncio.run(measure_lag(events, sink, rounds=ROUNDS))
    # In so short a time a busy machine may have none for a beat.
    beaten = {name: [with_a_beat(one) for one in ones] for name, ones in felt.items()}
    tables = loop_lag.report(events, beaten).tables

    requests = int(SHORT * loop_lag.REQUESTS)
    pushed = [loop_lag.WITH, loop_lag.LARGE, loop_lag.GZIP]
    assert list(felt) == [loop_lag.WITHOUT, *pushed, loop_lag.TRACED, loop_lag.CAPTURED]
    assert all(len(figures) == ROUNDS for figures in felt.values())
    assert all(len(one.latencies) == requests for one in chain(*felt.values()))
    assert [len(table.rows) for table in tables] == [8, 8, 8, 8]
    assert f"{ROUNDS} rounds" in tables[0].setting


def with_a_beat(felt: loop_lag.Felt) -> loop_lag.Felt:
    return evolve(felt, lags=[*felt.lags, 0.001], own_lags=[*felt.own_lags, 0.001])


def test_only_what_the_exporter_does_is_a_hold(sink: Sink, events: list[Fields]) -> None:
    """
    Without the exporter nothing counts as a hold; with it each push or span does, and its steps.
    """
    felt = asyncio.run(measure_lag(events, sink))

    for name in (loop_lag.WITHOUT, loop_lag.TRACED):
        [without] = felt.pop(name)
        assert (without.held.steps, without.held.pushes) == ([], [])
    for name, [one] in felt.items():
        calls = 2 if name == loop_lag.CAPTURED else 1  # where a span begins, and where it ends
        expected = calls * 2 * int(SHORT * loop_lag.REQUESTS) * loop_lag.EVENTS
        assert len(one.held.pushes) == expected
        assert len(one.held.steps) > 0


async def test_a_hold_is_a_callback_that_was_not_started_within() -> None:
    """
    A task in an empty context is timed, step by step; one that was started as usual is not.
    """
    loop = asyncio.get_running_loop()
    holds = Holds()
    with holds.watching():
        await asyncio.create_task(asyncio.sleep(0))
        assert holds.take().steps == []
        await loop.create_task(asyncio.sleep(0), context=contextvars.Context())

    assert len(holds.take().steps) == 2


async def test_no_latency_counts_unless_each_request_was_answered() -> None:
    """
    A client whose requests fail ends the benchmark.
    """

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(fail, "127.0.0.1", 0) as server,
        running_load() as load,
    ):
        with pytest.raises(RuntimeError, match="0 of 3 requests were answered"):
            await load.ask(server.sockets[0].getsockname()[1], requests=3, rate=1000.0)


# Shutdown.


def test_shutdown_has_figures_for_each_variant_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of shutdown meets a full queue and each hostile server, and reports all.
    """
    drained = asyncio.run(measure_drain(events, sink, rounds=ROUNDS))
    stuck = asyncio.run(
        shutdown.measure_stuck(
            events, count=FEW, rounds=1, timeout=SHORT, default_timeout=2 * SHORT
        )
    )
    tables = shutdown.report(events, drained, stuck, queued=QUEUED, count=FEW).tables

    assert all(len(figures) == ROUNDS and min(figures) > 0 for figures in drained.values())
    assert len(drained) == 2 * len(shutdown.BATCHES)
    assert all(len(figures) == 1 for figures in stuck.values())
    assert len(stuck) == 2 * len(HOSTILE) + 1
    assert [[row.name for row in table.rows] for table in tables] == [list(drained), list(stuck)]


def test_a_close_sends_as_many_requests_as_what_it_is_compared_with(
    sink: Sink, events: list[Fields]
) -> None:
    """
    The exporter and the bare client cut the queue into the same number of bodies.
    """
    requests = []

    class CountingSink(Sink):
        def collect(self) -> Received:
            received = super().collect()
            requests.append(received.requests)
            return received

    asyncio.run(measure_drain(events, CountingSink(sink.url)))

    default, beside, larger, beside_larger = requests
    assert default == beside > 1
    assert larger == beside_larger > 1


def test_no_shutdown_counts_unless_all_was_dropped_as_closed(
    events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The benchmark of shutdown ends with an error where events were lost otherwise.
    """
    monkeypatch.setenv("HH_EXPORTER_DISABLED", "true")

    with pytest.raises(RuntimeError, match="should be dropped as closed"):
        asyncio.run(measure_stuck(events))


# Both.


@pytest.mark.parametrize("measure", [measure_lag, measure_drain], ids=["loop_lag", "shutdown"])
def test_no_figure_counts_unless_each_event_arrived_once(
    sink: Sink, events: list[Fields], measure: Measure
) -> None:
    """
    A benchmark ends with an error where an event is missing at the sink.
    """
    with pytest.raises(RuntimeError, match="should have arrived"):
        asyncio.run(measure(events, LossySink(sink.url)))
    sink.collect()  # what the other variants sent meanwhile
