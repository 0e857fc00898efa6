"""
The benchmark of captured calls runs end to end, and counts only what all spans came out of.

The other clients of the extra `bench` are tested where it is installed.
"""

from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from attrs import evolve
from opentelemetry.sdk.trace import SpanProcessor

from benchmarks import capture
from benchmarks._bridges import BRIDGES, ENCODERS, Bridge, count_spans
from benchmarks._calls import Calls
from benchmarks._sink import Received, Sink, running_sink

ROUNDS = 2
FEW = 7

SILENT = Bridge(
    name="Silent", setting="drops all", needs=(), open=lambda: nullcontext(SpanProcessor())
)
ABSENT = evolve(SILENT, name="Absent", needs=["no-such-distribution"])


class LossySink(Sink):
    """
    A sink that knows of one event less than it acknowledged.
    """

    def collect(self) -> Received:
        received = super().collect()
        return evolve(received, events=received.events - 1, distinct=received.distinct - 1)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink
        sink.collect()  # it still runs


async def measure(sink: Sink, *bridges: Bridge) -> dict[str, list[capture.Cost]]:
    return await capture.measure(sink, bridges, (), count=FEW, at_once=1, rounds=ROUNDS, warm_up=1)


def test_capture_has_a_cost_for_each_round(sink: Sink) -> None:
    """
    Where a span begins, where it ends, and in the background; what is not installed is named.
    """
    costs = asyncio.run(measure(sink, ABSENT))
    caller, made = capture.report(costs, [ABSENT], (), count=FEW, warm_up=1).tables

    assert list(costs) == [capture.OURS]
    assert len(costs[capture.OURS]) == ROUNDS
    assert all(cost.rest > 0 for cost in costs[capture.OURS])
    assert [row.name for row in caller.rows] == [row.name for row in made.rows] == [capture.OURS]
    assert f"{FEW} calls a round, " in caller.setting
    assert "Absent: not installed: no-such-distribution; pip install '.[bench]'" in made.setting


def test_no_figure_counts_unless_each_call_arrived_once(sink: Sink) -> None:
    """
    The benchmark ends with an error where an event is missing at the sink.
    """
    with pytest.raises(RuntimeError, match="should have arrived"):
        asyncio.run(measure(LossySink(sink.url)))
    sink.collect()


def test_no_figure_counts_unless_each_span_is_in_a_request(sink: Sink) -> None:
    """
    A processor that drops spans is not compared with.
    """
    pytest.importorskip("requests", reason="needs the extra bench")
    with pytest.raises(RuntimeError, match="7 spans should be in requests: 0"):
        asyncio.run(measure(sink, SILENT))


def test_the_calls_are_those_of_an_instrumentation() -> None:
    """
    Four messages and an answer of about 3.8 KB, each call with an id of its own.
    """
    calls = Calls()
    spans = calls.end(calls.begin(FEW))
    attributes = [dict(span.attributes or {}) for span in spans]

    assert len({one["gen_ai.response.id"] for one in attributes}) == FEW
    assert all(str(one["gen_ai.input.messages"]).count('"role"') == 4 for one in attributes)
    sizes = [sum(len(f"{key}{value}") for key, value in one.items()) for one in attributes]
    assert 3_000 < sum(sizes) / FEW < 4_500


def test_spans_in_a_request_are_counted() -> None:
    """
    Compressed or not.
    """
    pytest.importorskip("opentelemetry.exporter.otlp.proto.common", reason="needs the extra bench")
    calls = Calls()
    body = ENCODERS[1].load()(calls.end(calls.begin(FEW)))

    assert count_spans(body) == count_spans(gzip.compress(body)) == FEW


def in_seclusion(sink: Sink) -> None:
    """
    Measure all, in a process of its own: the threads of others may outlive it.
    """
    reached = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            reached.add(arguments[1][:2])

    sys.addaudithook(note)
    costs = asyncio.run(capture.measure(sink, count=FEW, at_once=1, rounds=1, warm_up=0))
    assert list(costs) == [capture.OURS, *(each.name for each in (*BRIDGES, *ENCODERS))]
    assert {f"http://{host}:{port}" for host, port in reached} == {sink.url}, reached
    capture.report(costs, count=FEW)


def test_the_others_take_all_spans_and_speak_to_nobody(sink: Sink) -> None:
    """
    Each call is in the requests of each of them, and none is sent.
    """
    if any(each.missing for each in (*BRIDGES, *ENCODERS)):
        pytest.skip("needs the extra bench")
    process = multiprocessing.get_context("spawn").Process(target=in_seclusion, args=(sink,))

    process.start()
    process.join()

    assert process.exitcode == 0
    process.close()
