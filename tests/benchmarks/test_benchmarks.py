"""
The benchmarks run end to end, and no figure counts unless all events arrived.

What they measured is not looked at: a test of times fails by chance.
"""

from __future__ import annotations

import asyncio
import gzip
import platform
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
import pytest
from attrs import evolve

from benchmarks import calls, pace, push, stages, throughput
from benchmarks.__main__ import NAMES
from benchmarks._report import Report, Row, Table, read_report
from benchmarks._rounds import compare, interleave, percentile
from benchmarks._sink import Received, Sink, running_sink
from benchmarks._workload import Fields, generate_events, load_events
from hh_exporter import BatchLimits, Exporter, ModelEvent
from tests.support import model_event

ROUNDS = 2
FEW = 7
"""Events of a workload."""
BURST = 2 * throughput.BATCH.max_events + 1

Measure = Callable[[Sink], Coroutine[Any, Any, object]]


class LossySink(Sink):
    """
    A sink that knows of one event less than it acknowledged.
    """

    def collect(self) -> Received:
        received = super().collect()
        return evolve(received, events=received.events - 1, distinct=received.distinct - 1)


class DoublingSink(Sink):
    """
    A sink that got one event twice and another one never.
    """

    def collect(self) -> Received:
        received = super().collect()
        return evolve(received, distinct=received.distinct - 1)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink
        sink.collect()  # it still runs


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(FEW)


# The benchmarks.


def test_push_has_a_cost_for_each_variant_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of push measures each variant in each round, warm-up left out, and reports all.
    """
    costs = asyncio.run(push.measure(events, sink, rounds=ROUNDS, warm_up=1))
    made = asyncio.run(push.measure_construction(events, rounds=ROUNDS, warm_up=1))
    measured = push.Measured(tight=[costs, costs], construction=made)
    table, _, construction = push.report(events, measured, warm_up=1).tables

    assert [row.name for row in construction.rows] == [push.PLAIN, push.MODEL_EVENT]
    assert list(costs) == [push.DUMPS, push.FLOOR, push.PUSH, push.CONSTRUCT]
    assert all(len(figures) == ROUNDS and min(figures) > 0 for figures in costs.values())
    assert [row.name for row in table.rows] == list(costs)
    assert f"1 rounds to warm up, then {ROUNDS}." in table.setting


def test_calls_has_a_cost_for_each_variant_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of calls measures both kinds, and each way to record, and reports all.
    """
    kinds = asyncio.run(calls.measure_kinds(events, sink, rounds=ROUNDS, warm_up=0))
    measured = asyncio.run(calls.measure(sink, (), count=FEW, rounds=ROUNDS, warm_up=0))
    found = calls.Measured(kinds=kinds, calls=measured)
    tables = calls.report(events, found, (), count=FEW, warm_up=0).tables

    blocks = [calls.CONSTRUCT, calls.TRACE_BLOCK, calls.RECORD_BLOCK]
    assert list(kinds) == [calls.MODEL_EVENT, calls.EVENT]
    assert list(measured[0]) == [calls.FUNCTION, calls.PUSH, calls.TRACE, *blocks]
    assert list(measured[1]) == [calls.FUNCTION, calls.PUSH, calls.TRACE]
    assert all(len(figures) == ROUNDS for costs in measured for figures in costs.values())
    assert [row.name for row in tables[1].rows] == [calls.PUSH, calls.TRACE, *blocks]
    assert f"{FEW} calls a round" in tables[1].setting


@pytest.mark.parametrize("in_thread", [False, True])
def test_pace_has_the_cost_of_each_call(sink: Sink, events: list[Fields], in_thread: bool) -> None:
    """
    The benchmark of pace times each call in each round, from either thread, and reports all.
    """
    spreads = asyncio.run(
        pace.measure(events, sink, (), in_thread=in_thread, count=20, rounds=ROUNDS, warm_up=0)
    )
    first, _ = pace.report(events, [spreads, spreads], warm_up=0).tables

    assert list(spreads) == [pace.FLOOR, pace.EXPORTER]
    assert all(len(costs) == 20 for rounds in spreads.values() for costs in rounds)
    assert [len(row.figures) for row in first.rows] == [ROUNDS, ROUNDS]


def test_throughput_has_a_cost_for_each_variant_and_round(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of throughput measures each variant in each round, and reports all.
    """
    costs = asyncio.run(throughput.measure(events, sink, burst=BURST, rounds=ROUNDS, warm_up=1))
    measured = throughput.Measured(latency=0.0, bare=costs, peers=costs)
    tables = throughput.report(events, [measured], burst=BURST, warm_up=1).tables

    packed = [throughput.PACKED_LIMIT, throughput.PACKED_EXPORTER]
    assert list(costs) == [throughput.LIMIT, throughput.CLIENT, throughput.EXPORTER, *packed]
    assert all(len(figures) == ROUNDS for figures in costs.values())
    assert all(cost.wall > 0 for figures in costs.values() for cost in figures)
    assert all([row.name for row in table.rows] == list(costs) for table in tables)
    assert f"Bursts of {BURST} events" in tables[0].setting


def test_stages_add_up_to_what_an_event_costs(sink: Sink, events: list[Fields]) -> None:
    """
    The benchmark of stages measures each variant in each round; its parts make up the wholes.
    """
    costs = asyncio.run(stages.measure(events, sink, burst=BURST, rounds=ROUNDS, warm_up=1))
    [table] = stages.report(events, costs, burst=BURST, warm_up=1).tables
    dumps, send, bare, *more, whole = [row.figures for row in table.rows]

    assert [len(figures) for figures in costs.values()] == [ROUNDS] * 6
    assert bare == pytest.approx([cost * 1e6 for cost in costs[stages.LIMIT]])
    assert whole == pytest.approx([cost * 1e6 for cost in costs[stages.EXPORTER]])
    assert bare == pytest.approx(list(map(sum, zip(dumps, send, strict=True))))
    assert whole == pytest.approx(list(map(sum, zip(bare, *more, strict=True))))
    assert f"Bursts of {BURST} events" in table.setting


def test_all_variants_of_throughput_send_as_many_requests(sink: Sink, events: list[Fields]) -> None:
    """
    The exporter and what it is compared with cut a burst into the same number of bodies.
    """
    requests = []

    class CountingSink(Sink):
        def collect(self) -> Received:
            received = super().collect()
            requests.append(received.requests)
            return received

    counting = CountingSink(sink.url)
    asyncio.run(throughput.measure(events, counting, burst=BURST, rounds=1, warm_up=0))

    assert requests == [3, 3, 3, 3, 3]


@pytest.mark.parametrize("faulty", [LossySink, DoublingSink])
@pytest.mark.parametrize(
    "measure",
    [
        lambda sink: push.measure(generate_events(FEW), sink, rounds=1, warm_up=0),
        lambda sink: calls.measure(sink, (), count=FEW, rounds=1, warm_up=0),
        lambda sink: calls.measure_kinds(generate_events(FEW), sink, rounds=1, warm_up=0),
        lambda sink: pace.measure(generate_events(FEW), sink, (), count=FEW, rounds=1, warm_up=0),
        lambda sink: throughput.measure(generate_events(FEW), sink, burst=FEW, rounds=1, warm_up=0),
        lambda sink: stages.measure(generate_events(FEW), sink, burst=FEW, rounds=1, warm_up=0),
    ],
    ids=["push", "calls", "kinds", "pace", "throughput", "stages"],
)
def test_no_figure_counts_unless_each_event_arrived_once(
    sink: Sink, measure: Measure, faulty: type[Sink]
) -> None:
    """
    A benchmark ends with an error where an event is missing at the sink, or came twice.
    """
    with pytest.raises(RuntimeError, match="should have arrived"):
        asyncio.run(measure(faulty(sink.url)))
    sink.collect()  # what the other variants sent meanwhile


def test_no_figure_counts_unless_each_push_was_accepted(
    sink: Sink, events: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The benchmark of push ends with an error where events are dropped.
    """
    monkeypatch.setenv("HH_EXPORTER_DISABLED", "true")

    with pytest.raises(RuntimeError, match="not all pushes were accepted"):
        asyncio.run(push.measure(events, sink, rounds=1, warm_up=0))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_run_alone(name: str) -> None:
    """
    Each benchmark is a module to run, and says which question it asks.
    """
    benchmark = import_module(f"benchmarks.{name}")
    shown = subprocess.run(
        [sys.executable, "-m", benchmark.__name__, "--help"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert benchmark.__doc__
    assert " ".join(benchmark.__doc__.split()) in " ".join(shown.split())


# The workload.


def test_generated_events_have_the_sizes_of_chats() -> None:
    """
    Generated events are of 3.9 KB on average, most of 1 to 4 KB and a few of 200 to 400 KB.
    """
    sizes = [len(orjson.dumps(event)) for event in generate_events()]

    assert 3700 < fmean(sizes) < 4100
    assert sum(1000 <= size <= 4000 for size in sizes) > 0.75 * len(sizes)
    large = [size for size in sizes if size > 20_000]
    assert 3 <= len(large) <= 10
    assert all(190_000 < size < 420_000 for size in large)


def test_generated_events_are_the_same_every_time() -> None:
    """
    Two runs of a benchmark work on the same events, however many they make.
    """
    assert generate_events(FEW) == generate_events(2 * FEW)[:FEW]


def test_recorded_events_are_read_from_gzipped_lines(tmp_path: Path) -> None:
    """
    A file of events has one JSON object a line.
    """
    recorded = [{"model": "gpt-4o", "messages": []}, {"model": "größer"}]
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(event) + b"\n" for event in recorded)))

    assert load_events(path) == recorded


# Rounds and report.


async def test_variants_take_turns_at_being_first() -> None:
    """
    Each round runs all variants, and none is always the first.
    """
    calls = []

    async def run(name: str) -> int:
        calls.append(name)
        return len(calls)

    figures = await interleave({"a": lambda: run("a"), "b": lambda: run("b")}, rounds=2, warm_up=1)

    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert figures == {"a": [4, 5], "b": [3, 6]}


def test_figures_are_compared_within_their_round() -> None:
    """
    A slow round is slow for all: it does not move a ratio.
    """
    assert compare([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]


def test_a_percentile_is_a_figure_that_was_measured() -> None:
    """
    Of a thousand figures one is above the p99.9; of few it is the largest.
    """
    assert percentile(range(1000), 0.999) == 999
    assert percentile(range(2000), 0.999) == 1998
    assert percentile([3, 1, 2], 0.999) == 3
    assert percentile([3, 1, 2], 0.5) == 2


@pytest.mark.parametrize(
    ("figures", "bounds", "expected"),
    [
        ([1.9, 2.0, 9.0], {"at_most": 2.0}, "≤ 2: met"),
        ([1.0, 2.1, 2.2], {"at_most": 2.0}, "≤ 2: MISSED"),
        ([0.1, 0.6, 0.7], {"at_least": 0.6}, "≥ 0.6: met"),
        ([0.5, 0.5, 0.9], {"at_least": 0.6}, "≥ 0.6: MISSED"),
        ([0.5], {}, ""),
    ],
)
def test_a_target_is_held_against_the_median(
    figures: list[float], bounds: dict[str, Any], expected: str
) -> None:
    """
    A row says whether the median of its rounds meets the target.
    """
    assert Row(name="push", figures=figures, **bounds).target == expected


def test_a_report_is_data_and_markdown() -> None:
    """
    A report comes back from JSON as it was, and shows its figures in aligned columns.
    """
    row = Row(name="push", figures=[1.0, 1.5, 2.0], orientation="7 µs", at_most=1.5)
    table = Table(title="In a loop", setting="Twice.", figure="over the floor", rows=[row])
    report = Report(name="push", question="How much?", workload="7 events.", tables=[table])

    again = read_report(report.to_json())

    shown = report.to_markdown()
    assert again.to_markdown() == shown
    assert shown.startswith("## push\n\nHow much?\n\n7 events.\n\n### In a loop\n\nTwice.\n\n|")
    assert "| push           | 1.50   | 1.00 to 2.00 | ≤ 1.5: met | 7 µs            |" in shown
    assert f"Python {platform.python_version()}" in shown


# The sink.


async def test_the_sink_is_not_misled_by_what_an_event_says(sink: Sink) -> None:
    """
    A text that looks like an event's id is not counted as one.
    """
    async with Exporter(base_url=sink.url, batch=BatchLimits(linger=60.0)) as exporter:
        exporter.push(model_event())
        exporter.push(model_event(messages=[{"role": "user", "content": '{"event_id":"c"}'}]))
        result = await exporter.flush()

    assert result.delivered == 2
    received = sink.collect()
    assert (received.requests, received.events, received.distinct) == (1, 2, 2)


async def test_the_sink_counts_afresh_after_each_look(sink: Sink) -> None:
    """
    What was collected once is not counted again.
    """
    async with Exporter(base_url=sink.url) as exporter:
        exporter.push(ModelEvent(model="gpt-4o"))
        await exporter.flush()

    assert sink.collect().events == 1
    assert sink.collect().events == 0


async def test_the_sink_waits_for_the_whole_request(sink: Sink) -> None:
    """
    A request in pieces counts, and is answered with its ids, once its last byte is there.
    """
    body = b'{"model_events":[{"event_id":"a"},{"event_id":"b"}]}'
    head = b"POST /events/model/batch HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    host, port = sink.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in (head[:20], head[20:-2], head[-2:] + body[:-1]):
            writer.write(piece)
            await writer.drain()
            assert sink.collect().events == 0
        writer.write(body[-1:])
        answer = await reader.readuntil(b"}")
    finally:
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"event_ids":["a","b"],"success":true}')
    assert sink.collect().events == 2
