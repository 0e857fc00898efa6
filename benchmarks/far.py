"""
Does all arrive, and in time, where the server is far away, slow or strict, with default settings?
"""

from __future__ import annotations

import asyncio
import csv
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from attrs import astuple, evolve, fields, frozen

from benchmarks._command import answer
from benchmarks._conduct import Conduct
from benchmarks._offering import Client, Load, Sample
from benchmarks._offers import Offer, make_offer
from benchmarks._peers import PEERS, Peer
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import compare, interleave
from benchmarks._workload import Fields, describe, generate_events

ROUNDS = 3
PEER_ROUNDS = 1
PATIENCE = 12.0
"""Seconds that a client has for the rest once all is offered; the exporter closes in 5."""

EXPORTER = "the exporter"
FIXED = "a fixed limit"
_IN_FLIGHT = 16
OWN = {EXPORTER: Client(), FIXED: Client(in_flight=_IN_FLIGHT)}


@frozen(kw_only=True)
class Scenario:
    """
    A server, what its clients are offered, and what the exporter is to reach there.
    """

    conduct: Conduct
    rate: int
    """Events a second."""
    seconds: float = 6.0
    has_peers: bool = False
    """Whether the other clients are measured, too."""
    share: float | None = None
    """Percent of the events that are acknowledged, at least."""
    time: float | None = None
    """Time until all is acknowledged, over that of the load, at most."""
    high: float | None = None
    """Seconds from push to acknowledged, p99, at most."""
    refused: int | None = None
    """Requests that are refused, at most."""

    def describe(self) -> str:
        """
        Say what the server is like, and what is offered.
        """
        return f"{self.conduct.describe()}; {self.rate:,} events/s for {self.seconds:g} s"


_PLACE = Conduct(delay=0.3)
_STRICT = Conduct(delay=0.03, allowed=10)
SCENARIOS: Mapping[str, Scenario] = {
    "300 ms": Scenario(
        conduct=_PLACE, rate=5_000, seconds=8.0, has_peers=True, share=100.0, time=1.2, high=1.9
    ),
    "300 ms, 10,000/s": Scenario(
        conduct=_PLACE, rate=10_000, seconds=8.0, has_peers=True, share=99.0, time=1.2
    ),
    "100 ms": Scenario(
        conduct=Conduct(delay=0.1), rate=10_000, seconds=8.0, has_peers=True, share=100.0, time=1.2
    ),
    "30 ms": Scenario(conduct=Conduct(delay=0.03), rate=8_000),
    "5 ms": Scenario(conduct=Conduct(delay=0.005), rate=8_000),
    "jitter": Scenario(conduct=evolve(_PLACE, spread=0.5), rate=5_000),
    "step": Scenario(conduct=Conduct(delay=0.005, later=0.3), rate=5_000, seconds=8.0),
    "8 workers": Scenario(conduct=Conduct(delay=0.03, workers=8, per_event=0.001), rate=5_000),
    "2 workers": Scenario(conduct=Conduct(delay=0.03, workers=2, per_event=0.0003), rate=8_000),
    "429": Scenario(conduct=_STRICT, rate=2_000, seconds=10.0, refused=20),
    "429, Retry-After": Scenario(
        conduct=evolve(_STRICT, retry_after=1), rate=2_000, seconds=10.0, refused=20
    ),
    "50 Mbit/s": Scenario(conduct=Conduct(delay=0.03, bandwidth=50e6), rate=1_500),
}
AT_LEAST = 0.95
"""The exporter's events a second over those with a fixed limit."""

Offers: TypeAlias = Mapping[str, Sequence[Offer]]
"""What became of the load of one scenario, by client and round."""


async def measure(
    scenario: Scenario,
    events: Sequence[Fields],
    peers: Sequence[Peer] = PEERS,
    *,
    rounds: int = ROUNDS,
    patience: float = PATIENCE,
) -> dict[str, list[Offer]]:
    """
    Offer the load of *scenario* to each client once a round, each with a server of its own.

    Those of *peers* that are installed have fewer rounds: they take longer.

    Raises:
        RuntimeError: A server noted less than the exporter says was delivered.
    """
    load = Load(events=events, rate=scenario.rate, seconds=scenario.seconds, patience=patience)
    conduct = evolve(scenario.conduct, turns_after=scenario.seconds / 2)

    async def offer_to(clients: Mapping[str, Client], rounds: int) -> dict[str, list[Offer]]:
        offers = {
            name: partial(asyncio.to_thread, make_offer, client, conduct, load)
            for name, client in clients.items()
        }
        return await interleave(offers, rounds=rounds, warm_up=0)

    others = {peer.name: Client(peer=peer.name) for peer in _find_emitters(peers)}
    measured = await offer_to(OWN, rounds)
    if scenario.has_peers:
        measured |= await offer_to(others, min(rounds, PEER_ROUNDS))
    return measured


def _find_emitters(peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.open is not None and not peer.missing]


def report(
    events: Sequence[Fields],
    measured: Mapping[str, Offers],
    scenarios: Mapping[str, Scenario] = SCENARIOS,
    peers: Sequence[Peer] = PEERS,
    *,
    patience: float = PATIENCE,
) -> Report:
    """
    Say what was *measured* means, in *scenarios* of the same names.
    """
    setting = (
        f"Each client and each server in a process of its own; events at a fixed rate; a client "
        f"that isn't done\n{patience:g} s after the load is stopped. {FIXED}: the exporter with "
        f"{_IN_FLIGHT} requests in flight, whatever the\nserver does; all else has its defaults. "
        "For orientation: the last round.\n\n"
    ) + "\n".join(f"- {name}: {scenario.describe()}" for name, scenario in scenarios.items())
    shares = {name: scenario.share for name, scenario in scenarios.items()}
    tables = [
        Table(
            title="Delivered",
            setting=setting,
            figure="events acknowledged, % of those offered",
            rows=_list(measured, lambda offer: offer.share, at_least=shares, describes=True),
        ),
        Table(
            title="Beside a fixed limit",
            setting="The same rounds.",
            figure=f"events a second of {EXPORTER}, over those with {FIXED}",
            rows=[
                Row(
                    name=name,
                    figures=compare(_list_rates(offers[EXPORTER]), _list_rates(offers[FIXED])),
                    at_least=AT_LEAST,
                )
                for name, offers in measured.items()
            ],
        ),
    ]
    bounds: list[tuple[str, str, Callable[[Offer], float], dict[str, float | None]]] = [
        (
            "Time until the last",
            "time until all is acknowledged, over that of the load",
            lambda offer: offer.time,
            {name: scenario.time for name, scenario in scenarios.items()},
        ),
        (
            "Delay",
            "seconds from push to acknowledged, p99",
            lambda offer: offer.high,
            {name: scenario.high for name, scenario in scenarios.items()},
        ),
        (
            "Refused",
            "requests answered by 429",
            lambda offer: offer.refused,
            {name: scenario.refused for name, scenario in scenarios.items()},
        ),
    ]
    for title, figure, read, at_most in bounds:
        bounded = {name: measured[name] for name, most in at_most.items() if most is not None}
        if bounded:
            rows = _list(bounded, read, at_most=at_most)
            tables.append(Table(title=title, setting="The same runs.", figure=figure, rows=rows))
    return Report(
        name="far",
        question=" ".join((__doc__ or "").split()),
        workload=describe(events),
        tables=tables,
        versions=find_versions(*(name for peer in _find_emitters(peers) for name in peer.needs)),
    )


def _list(
    measured: Mapping[str, Offers],
    read: Callable[[Offer], float],
    *,
    at_least: Mapping[str, float | None] | None = None,
    at_most: Mapping[str, float | None] | None = None,
    describes: bool = False,
) -> list[Row]:
    """
    List what *read* finds, by scenario and client; the bounds are the exporter's.
    """
    return [
        Row(
            name=f"{name}: {client}",
            figures=[read(offer) for offer in offers],
            orientation=offers[-1].describe() if describes else "",
            at_least=at_least.get(name) if at_least and client == EXPORTER else None,
            at_most=at_most.get(name) if at_most and client == EXPORTER else None,
        )
        for name, clients in measured.items()
        for client, offers in clients.items()
    ]


def _list_rates(offers: Sequence[Offer]) -> list[float]:
    return [offer.rate for offer in offers]


def _write_trace(measured: Mapping[str, Offers], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(["server", "client", "round", *(each.name for each in fields(Sample))])
        for name, clients in measured.items():
            for client, offers in clients.items():
                for number, offer in enumerate(offers, 1):
                    for sample in offer.offered.samples:
                        writer.writerow([name, client, number, *astuple(sample)])


def _add_options(parser: ArgumentParser) -> None:
    names = ", ".join(SCENARIOS)
    parser.add_argument(
        "--server",
        action="append",
        choices=SCENARIOS,
        metavar="NAME",
        help=f"one of {names}; may be repeated; default: all",
    )
    parser.add_argument("--seconds", type=float, help="of load, instead of each server's own")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help="seconds after the load in which a client has to be done; default: %(default)g",
    )
    parser.add_argument(
        "--trace", type=Path, help="write there, as CSV, what the exporter held every 0.1 s"
    )


def run(
    events: Sequence[Fields],
    *,
    server: Sequence[str] | None = None,
    seconds: float | None = None,
    rounds: int = ROUNDS,
    patience: float = PATIENCE,
    trace: Path | None = None,
) -> Report:
    scenarios = {name: SCENARIOS[name] for name in server or SCENARIOS}
    if seconds is not None:
        scenarios = {name: evolve(each, seconds=seconds) for name, each in scenarios.items()}
    measured = {
        name: asyncio.run(measure(scenario, events, rounds=rounds, patience=patience))
        for name, scenario in scenarios.items()
    }
    if trace is not None:
        _write_trace(measured, trace)
    return report(events, measured, scenarios, patience=patience)


if __name__ == "__main__":
    answer(__doc__, run, find=generate_events, extend=_add_options)
