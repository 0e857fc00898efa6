"""
The exporter is measured beside clients that deliver all that they are given.

The sink understands each of them; those of the extra `bench` are tested where it
is installed.
"""

from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

from benchmarks import calls, throughput
from benchmarks._peers import PEERS, secluded
from benchmarks._sink import Sink, running_sink
from benchmarks._wires import read
from benchmarks._workload import Fields, generate_events

BURST = 7
# Past any proxy of the environment.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ABSENT = evolve(PEERS[0], name="nobody's client", needs=["no-such-distribution"])


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink
        sink.collect()  # it still runs


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(BURST)


TRACERS = [number for number, peer in enumerate(PEERS) if peer.trace is not None]


async def send_bursts(number: int, sink: Sink) -> None:
    async with PEERS[number].start(sink.url, generate_events(BURST)) as send:
        for _ in range(2):
            await send()
            sink.expect(BURST)


async def record_calls(number: int, sink: Sink) -> None:
    """
    Record the calls of each function, of which none is lost, and what it returns is.
    """
    trace = PEERS[number].trace
    assert trace is not None
    async with trace(sink.url) as tracing:
        for function in calls.FUNCTIONS:
            decorated = tracing.decorate(function)
            for _ in range(BURST):
                result = decorated(*calls.ARGUMENTS)
                if not isinstance(result, str):
                    result = await result
                assert result == "On its way."
            await tracing.drain()
            sink.expect(BURST)


def in_seclusion(work: Callable[[int, Sink], Any], number: int, sink: Sink) -> None:
    """
    Have a peer do *work* in a process of its own: its threads may outlive it.
    """
    reached = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            reached.add(arguments[1][0] if event == "socket.connect" else arguments[0])

    sys.addaudithook(note)
    with secluded():
        asyncio.run(work(number, sink))
    assert reached == {"127.0.0.1"}, reached


@pytest.mark.parametrize("number", range(len(PEERS)), ids=[peer.name for peer in PEERS])
def test_a_peer_delivers_all_events_and_nothing_elsewhere(sink: Sink, number: int) -> None:
    """
    Each burst of a peer is at the sink, every event once, and it spoke to nobody else.
    """
    run_secluded(send_bursts, number, sink)


@pytest.mark.parametrize("number", TRACERS, ids=[PEERS[number].name for number in TRACERS])
def test_a_tracer_delivers_all_calls_and_nothing_elsewhere(sink: Sink, number: int) -> None:
    """
    Each call that a peer records is at the sink, once, and it spoke to nobody else.
    """
    run_secluded(record_calls, number, sink)


def run_secluded(work: Callable[[int, Sink], Any], number: int, sink: Sink) -> None:
    if PEERS[number].missing:
        pytest.skip("needs the extra bench")
    process = multiprocessing.get_context("spawn").Process(
        target=in_seclusion, args=(work, number, sink)
    )

    process.start()
    process.join()

    assert process.exitcode == 0
    process.close()


def test_peers_have_a_cost_for_each_round(sink: Sink, events: list[Fields]) -> None:
    """
    The exporter and each peer that is installed are measured in each round, and reported.
    """
    peers = [PEERS[-1], ABSENT]
    costs = asyncio.run(
        throughput.measure_peers(events, sink, peers, burst=BURST, rounds=2, warm_up=1)
    )
    measured = throughput.Measured(latency=0.0, bare=costs, peers=costs)
    tables = throughput.report(events, [measured], peers, peer_burst=BURST, warm_up=1).tables

    assert list(costs) == [throughput.LIMIT, throughput.EXPORTER, peers[0].name]
    assert all(len(figures) == 2 for figures in costs.values())
    beside = [table for table in tables if table.title.startswith(throughput.BESIDE)]
    assert [[row.name for row in table.rows] for table in beside] == [list(costs), list(costs)]


def test_a_peer_that_is_not_installed_is_named(sink: Sink, events: list[Fields]) -> None:
    """
    A report says which peer it had to do without, and how to get it.
    """
    costs = asyncio.run(
        throughput.measure_peers(events, sink, [ABSENT], burst=BURST, rounds=1, warm_up=0)
    )
    measured = throughput.Measured(latency=0.0, bare=costs, peers=costs)

    shown = throughput.report(events, [measured], [ABSENT]).to_markdown()

    assert "nobody's client: not installed: no-such-distribution; pip install" in shown


def test_peers_see_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keys, addresses and proxies of the environment are hidden from peers, and back afterwards.
    """
    names = ["OTEL_EXPORTER_OTLP_HEADERS", "LANGSMITH_API_KEY", "HH_API_KEY", "https_proxy"]
    for name in names:
        monkeypatch.setenv(name, "x")

    with secluded():
        assert not set(names) & set(os.environ)

    assert set(names) <= set(os.environ)


# The sink.


def test_the_sink_counts_what_came_by_gzip() -> None:
    """
    A compressed body is counted as what it was before.
    """
    body = b'{"model_events":[{"event_id":"a"},{"event_id":"b"}]}'
    head = b"POST /events/model/batch HTTP/1.1\r\nContent-Encoding: gzip\r\n\r\n"

    answer = read(head, memoryview(gzip.compress(body)))

    assert answer.ids == [b"a", b"b"]
    assert answer.content == b'{"event_ids":["a","b"],"success":true}'


def test_the_sink_answers_a_single_event() -> None:
    """
    An event that comes alone is answered with its id.
    """
    answer = read(b"POST /events/model HTTP/1.1\r\n\r\n", b'{"model_event": {"event_id": "a"}}')

    assert answer.content == b'{"event_id":"a","success":true}'


def test_the_sink_takes_a_request_larger_than_its_buffer(sink: Sink) -> None:
    """
    A body of any size is read whole.
    """
    body = b'{"model_events":[{"event_id":"a","messages":"%b"}]}' % (b"x" * 3_000_000)
    with OPENER.open(f"{sink.url}/events/model/batch", data=body) as response:
        assert response.status == 200

    assert sink.collect().events == 1


def test_the_sink_refuses_what_it_does_not_know(sink: Sink) -> None:
    """
    A route of no service is answered with 404, and not counted.
    """
    with pytest.raises(urllib.error.HTTPError, match="404"):
        OPENER.open(f"{sink.url}/events/export", data=b"{}")

    assert sink.collect().requests == 0
