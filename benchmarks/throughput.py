"""
How fast does a burst reach the server, and for how much processor time: against a bare
client that does nothing else, and beside the clients that others would use?
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, TypeAlias

from attrs import frozen

from benchmarks._command import answer
from benchmarks._exporter import opening_exporter
from benchmarks._limit import COMPRESSOR, start_limit
from benchmarks._peers import PEERS, Peer, Start, in_one_go, secluded
from benchmarks._race import Cost, race
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import compare
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import BatchLimits, ModelEvent

BURST = 5_000
"""Events that are there at once; the workload is repeated to make up the number."""
PEER_BURST = 2_000
"""The same beside the peers, which take longer."""
BATCH = BatchLimits(max_events=500, max_bytes=4 * 2**20, linger=60.0)
IN_FLIGHT = 4
LATENCIES = (0.0, 0.03)
"""Seconds after which the sink answers."""
ROUNDS = 15
PEER_ROUNDS = 5
WARM_UP = 2

LIMIT = "the limit"
CLIENT = "the limit with stamps"
EXPORTER = "the exporter"
PACKED_LIMIT = "the limit, gzip"
PACKED_EXPORTER = "the exporter, gzip"
BASELINES = {PACKED_LIMIT: PACKED_LIMIT, PACKED_EXPORTER: PACKED_LIMIT}
"""The limit of those that it is not LIMIT for."""

AT_LEAST = {0.0: {EXPORTER: 0.7}, 0.03: {EXPORTER: 0.9}}
"""Events a second over the limit's, by latency."""
AT_MOST_CPU = {EXPORTER: 2.0}
"""Ids and times alone cost the limit 1.45 times as much; `stages` has the rest."""
PEERS_AT_LEAST = {0.0: {"OpenTelemetry": 8.0, "LangSmith": 4.0, "the vendor's client": 15.0}}
"""The exporter's events a second over theirs, by latency."""

BESIDE = "Beside other clients"

Costs: TypeAlias = Mapping[str, Sequence[Cost]]
"""What one event cost, by variant and round."""


@frozen(kw_only=True)
class Measured:
    """
    What was measured with a sink of one latency.
    """

    latency: float
    bare: Costs
    """From `measure`."""
    peers: Costs
    """From `measure_peers`."""


async def measure(
    events: Sequence[Fields],
    sink: Sink,
    *,
    burst: int = BURST,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[Cost]]:
    """
    Send a burst with the exporter and with the limit, once a round; all of it arrives at *sink*.
    """
    variants = {
        LIMIT: start_limit(BATCH, IN_FLIGHT),
        CLIENT: start_limit(BATCH, IN_FLIGHT, stamps=True),
        EXPORTER: _start_exporter(),
        PACKED_LIMIT: start_limit(BATCH, IN_FLIGHT, compresses=True),
        PACKED_EXPORTER: _start_exporter("gzip"),
    }
    return await race(variants, events, sink, burst=burst, rounds=rounds, warm_up=warm_up)


async def measure_peers(
    events: Sequence[Fields],
    sink: Sink,
    peers: Sequence[Peer] = PEERS,
    *,
    burst: int = PEER_BURST,
    rounds: int = PEER_ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, list[Cost]]:
    """
    Do the same beside those of *peers* that are installed; all start with dicts of fields.
    """
    variants = {
        LIMIT: start_limit(BATCH, IN_FLIGHT),
        EXPORTER: in_one_go(opening_exporter(BATCH, IN_FLIGHT)),
        **{peer.name: peer.start for peer in peers if not peer.missing},
    }
    with secluded():
        return await race(variants, events, sink, burst=burst, rounds=rounds, warm_up=warm_up)


def _start_exporter(compression: Literal["gzip"] | None = None) -> Start:
    exporter = opening_exporter(BATCH, IN_FLIGHT, compression=compression, makes_events=False)
    return in_one_go(exporter, ModelEvent)


def report(
    events: Sequence[Fields],
    measured: Sequence[Measured],
    peers: Sequence[Peer] = PEERS,
    *,
    burst: int = BURST,
    peer_burst: int = PEER_BURST,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what was *measured* means: processor time by the first of it.
    """
    first = measured[0]
    bare_setting = (
        f"Bursts of {burst} events, push to acknowledged; batches of {BATCH.max_events} events and "
        f"up to {BATCH.max_bytes} bytes, {IN_FLIGHT} in flight; the event loop turns after each "
        f"500 events, as the limit's does between two bodies.\n"
        f"{warm_up} rounds to warm up, then {len(first.bare[LIMIT])}.\n"
        f"{LIMIT}: orjson.dumps, join and aiohttp's POST of dicts that have their ids; "
        "with stamps: they get\n"
        f"str(uuid.uuid4()) and time.time() first; gzip: level 1 by {COMPRESSOR}."
    )
    peers_setting = (
        f"Bursts of {peer_burst} events, from the dicts of their fields to acknowledged; "
        f"{EXPORTER} and {LIMIT} as above;\n"
        f"{warm_up} rounds to warm up, then {len(first.peers[LIMIT])}.\n\n"
    ) + "\n".join(f"- {peer.name}: {peer.description}" for peer in peers)
    tables: list[Table] = []
    for each in measured:
        sink = f"the sink at {each.latency * 1000:.0f} ms"
        if tables:
            bare_setting, peers_setting = (f"As “{table.title}”." for table in tables[:2])
        tables += [
            Table(
                title=f"A burst, {sink}",
                setting=bare_setting,
                figure=f"events a second, over those of {LIMIT}",
                rows=_compare_rates(each.bare, AT_LEAST.get(each.latency, {})),
            ),
            Table(
                title=f"{BESIDE}, {sink}",
                setting=peers_setting,
                figure=f"events a second of {EXPORTER}, over those of",
                rows=_compare_rates_of_peers(each.peers, PEERS_AT_LEAST.get(each.latency, {})),
            ),
        ]
    tables += [
        Table(
            title="A burst, processor time",
            setting=f"This process with all its threads, in the rounds of “{tables[0].title}”.",
            figure=f"processor time of an event, over that of {LIMIT}",
            rows=_compare_cpu(first.bare, LIMIT, AT_MOST_CPU),
        ),
        Table(
            title=f"{BESIDE}, processor time",
            setting=f"This process with all its threads, in the rounds of “{tables[1].title}”.",
            figure=f"processor time of an event, over that of {EXPORTER}",
            rows=_compare_cpu(first.peers, EXPORTER, {}),
        ),
    ]
    installed = [name for peer in peers if not peer.missing for name in peer.needs]
    return Report(
        name="throughput",
        question=" ".join(__doc__.split()),
        workload=describe(events),
        tables=tables,
        versions=find_versions(*installed),
    )


def _compare_rates(costs: Costs, at_least: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            name=name,
            figures=compare(_walls(costs[BASELINES.get(name, LIMIT)]), _walls(figures)),
            orientation=_describe_rate(figures),
            at_least=at_least.get(name),
        )
        for name, figures in costs.items()
    ]


def _compare_rates_of_peers(costs: Costs, at_least: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            name=name,
            figures=compare(_walls(figures), _walls(costs[EXPORTER])),
            orientation=_describe_rate(figures),
            at_least=at_least.get(name),
        )
        for name, figures in costs.items()
    ]


def _compare_cpu(costs: Costs, baseline: str, at_most: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            name=name,
            figures=compare(_cpus(figures), _cpus(costs[BASELINES.get(name, baseline)])),
            orientation=f"{median(_cpus(figures)) * 1000:.4f} s per 1,000 events",
            at_most=at_most.get(name),
        )
        for name, figures in costs.items()
    ]


def _describe_rate(costs: Sequence[Cost]) -> str:
    sink = median(cost.sink_cpu for cost in costs) * 1000
    return f"{1 / median(_walls(costs)):,.0f} events/s; the sink's CPU {sink:.4f} s per 1,000"


def _walls(costs: Sequence[Cost]) -> list[float]:
    return [cost.wall for cost in costs]


def _cpus(costs: Sequence[Cost]) -> list[float]:
    return [cost.cpu for cost in costs]


async def _measure_all(events: Sequence[Fields], latency: float) -> Measured:
    with running_sink(latency) as sink:
        bare = await measure(events, sink)
        return Measured(latency=latency, bare=bare, peers=await measure_peers(events, sink))


def run(events: Sequence[Fields]) -> Report:
    return report(events, [asyncio.run(_measure_all(events, each)) for each in LATENCIES])


if __name__ == "__main__":
    answer(__doc__, run)
