"""
`hh-exporter demo`: send sample events to a local collector, and check what arrived.

What arrived is compared with what was pushed, value by value: the demo claims
nothing that it has not checked.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from statistics import quantiles
from typing import Any

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._browser import browse, show_page
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report, print_table
from hh_exporter._cli._sample import sample
from hh_exporter._cli._trace import agent_trace
from hh_exporter._cli._waiting import caught_signals, repeated
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector, StoredEvent
from hh_exporter._collector.storage.sessions import described_by
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._exporter import Exporter
from hh_exporter._outcomes import Stats
from hh_exporter.events import AnyEvent, ModelEvent, SessionProperties, new_id
from hh_exporter.exceptions import ExporterError

__all__ = [
    "Comparison",
    "Run",
    "compare",
    "demo",
    "demo_command",
    "make_events",
    "make_exporter",
    "started",
    "stay",
    "wire_forms",
]

_ROUNDS = 3
"""How often the sample is pushed, each time under new ids."""
_PATIENCE = 60.0
"""Seconds after which an event that has no outcome is given up."""
_STAMPS = frozenset({"event_id", "start_time", "end_time"})
"""What the exporter adds to an event that has none."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the collector running afterwards, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the collector; default: any free port.",
)
@click.option(
    "--dialect",
    type=click.Choice(tuple(DIALECTS)),
    default="legacy",
    show_default=True,
    help="How to speak to it.",
)
@click.option(
    "--fleet",
    is_flag=True,
    help="Send them by a fleet: three NATS servers and two relays, of which one each is killed.",
)
@click.option(
    "--open",
    "opens",
    is_flag=True,
    help="Open the page in the browser; implies --keep.",
)
def demo_command(*, keep: bool, port: int, dialect: str, fleet: bool, opens: bool) -> None:
    """
    Send sample events to a local collector.

    Needs no key and no network, and ignores the environment.

    Exits with 0 only if every event arrived as it was pushed.
    """
    show = browse if opens else None
    run = _find_fleet() if fleet else demo
    is_exact = asyncio.run(
        run(Collector(port=port), Report(), keep=keep or opens, dialect=dialect, show=show)
    )
    raise SystemExit(0 if is_exact else 1)


def _find_fleet() -> Callable[..., Coroutine[Any, Any, bool]]:
    """
    Find the demo of a fleet, which needs an extra of its own.

    Raises:
        CallError: It is not installed.
    """
    try:
        from hh_exporter._cli._fleet_demo import fleet_demo
    except ModuleNotFoundError:
        raise CallError("--fleet needs the extra fleet, as in hh_exporter[fleet]") from None
    return fleet_demo


@frozen(kw_only=True)
class Run:
    """
    How the delivery of the sample went.
    """

    stats: Stats
    seconds: float
    """From the first push to the last outcome."""
    pushes: tuple[float, ...]
    """Seconds that each push took."""
    sessions: int
    """How many sessions were events of their own, as in the dialect v1."""

    @property
    def is_balanced(self) -> bool:
        """
        Whether each event that was pushed has exactly one outcome.
        """
        stats = self.stats
        return stats.pushed == len(self.pushes) + self.sessions == stats.settled

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """
        Make the rows of a table.
        """
        for name in ("pushed", "delivered", "rejected", "dropped", "requests", "retries"):
            yield name, f"{getattr(self.stats, name):,}", ""
        rate = self.stats.pushed / self.seconds
        yield "events/s", f"{rate:,.0f}", "from the first push to the last outcome"
        centiles = quantiles(self.pushes, n=100)
        for percent in (50, 99):
            yield f"push p{percent}", f"{centiles[percent - 1] * 1e6:,.1f}", "µs"


@frozen(kw_only=True)
class Comparison:
    """
    How what arrived differs from what was pushed, in events.
    """

    missing: int
    altered: int
    repeated: int
    """Arrivals of an event beyond its first."""
    foreign: int
    """Arrivals of what was not pushed."""

    @property
    def is_exact(self) -> bool:
        return not any(attrs.astuple(self))

    def __str__(self) -> str:
        return ", ".join(f"{n:,} {name}" for name, n in attrs.asdict(self).items() if n)


async def demo(
    collector: Collector,
    report: Report,
    *,
    keep: bool,
    dialect: str = "legacy",
    show: Callable[[str], object] | None = None,
) -> bool:
    """
    Send the sample to *collector*, which is run for it; say whether all is well.

    Args:
        collector: Not started yet.
        report: Where progress is shown.
        keep: Wait for a signal before the collector is closed.
        dialect: How to speak to it.
        show: Called with the page's address if it is kept; may block.

    Raises:
        CallError: The collector can't listen.
    """
    async with started(collector):
        calls = make_events(_ROUNDS)
        session = _describe_session(calls)
        agent = agent_trace(SystemClock().wall() * 1000)
        events = [*calls, *agent]  # the agent last: it is what the page has on top
        # Before the push: what was pushed then must arrive, whatever becomes of the objects.
        pushed = wire_forms(events, dialect)
        described = DIALECTS[dialect]().converter.unstructure(session)
        event = described_by(described)
        exporter = make_exporter(base_url=collector.url, dialect=dialect)
        with report.logs(), report.progress("pushing"):
            run = await _deliver(
                events, session, exporter, report, sessions=0 if event is None else 1
            )
        arrived = [event async for event in collector.events()]
        comparison = compare(pushed, [e for e in arrived if e.event_id != session.session_id])
        known = [
            s.properties
            async for s in collector.sessions()
            if s.properties and s.session_id != agent[-1].session_id
        ]
        is_known = len(known) == 1 and _is_equal(known[0], event.properties if event else described)
        print_table(run.rows())
        click.echo(f"\n{_judge(run, comparison, is_known=is_known)}")
        if keep:
            await stay(collector.url, show)
        else:
            click.echo("Run it with --keep to look at them in the browser.")
    return run.is_balanced and comparison.is_exact and is_known


@asynccontextmanager
async def started(collector: Collector) -> AsyncIterator[None]:
    """
    Run *collector* in the block.

    Raises:
        CallError: It can't listen.
    """
    try:
        await collector.start()
    except ExporterError as exc:
        raise CallError(str(exc)) from None
    try:
        yield
    finally:
        await collector.aclose()


def wire_forms(events: Iterable[AnyEvent], dialect: str) -> dict[str, Mapping[str, object]]:
    """
    Give events the form in which they should arrive, stamps aside, by their ids.
    """
    unstructure = DIALECTS[dialect]().converter.unstructure
    return {event.event_id or "": unstructure(event) for event in events}


def compare(
    pushed: Mapping[str, Mapping[str, object]], stored: Iterable[StoredEvent]
) -> Comparison:
    """
    Compare events by their ids, exactly: 1 is not 1.0.

    Args:
        pushed: The wire form of each event, by its id.
        stored: What the collector holds.
    """
    arrived = defaultdict[str, list[Mapping[str, object]]](list)
    for event in stored:
        arrived[event.event_id].append(event.event)
    return Comparison(
        missing=sum(event_id not in arrived for event_id in pushed),
        altered=sum(
            not _is_equal(event, wire)
            for event_id, wire in pushed.items()
            for event in arrived[event_id][:1]
        ),
        repeated=sum(max(0, len(arrived[event_id]) - 1) for event_id in pushed),
        foreign=sum(len(events) for event_id, events in arrived.items() if event_id not in pushed),
    )


def _is_equal(arrived: Mapping[str, object], wire: Mapping[str, object]) -> bool:
    bare = {name: v for name, v in arrived.items() if name in wire or name not in _STAMPS}
    return _canonical(bare) == _canonical(wire)


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def make_events(rounds: int) -> list[ModelEvent]:
    """
    Repeat the sample with ids of events and sessions that are new each time.
    """
    events = []
    for _ in range(rounds):
        sessions = defaultdict[str, str](new_id)
        for event in sample():
            event.event_id = new_id()
            if event.session_id is not None:
                event.session_id = sessions[event.session_id]
            events.append(event)
    return events


def _describe_session(events: Iterable[ModelEvent]) -> SessionProperties:
    """
    Make properties for the first session.
    """
    event = next(event for event in events if event.session_id is not None)
    return SessionProperties(
        session_id=event.session_id,
        session_name=event.event_name,
        user_properties=event.user_properties,
        metadata={"told_by": "hh-exporter demo"},
    )


async def _deliver(
    events: list[AnyEvent],
    session: SessionProperties,
    exporter: Exporter,
    report: Report,
    *,
    sessions: int,
) -> Run:
    clock = SystemClock()
    pushes = []

    def show() -> None:
        report.show(exporter.stats().settled, len(events))

    async with exporter, repeated(show, clock):
        began = clock.now()
        for event in events:
            own = session if event.session_id == session.session_id else None
            before = clock.now()
            exporter.push(event, own)
            pushes.append(clock.now() - before)
        await exporter.flush(_PATIENCE)
        seconds = clock.now() - began
    return Run(stats=exporter.stats(), seconds=seconds, pushes=tuple(pushes), sessions=sessions)


def make_exporter(**settings: Any) -> Exporter:
    """
    Make an exporter that knows no setting but those given, and none of the user's.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("HH_")}
    try:
        return Exporter(**settings)
    finally:
        os.environ.update(hidden)


def _judge(run: Run, comparison: Comparison, *, is_known: bool) -> str:
    if not run.is_balanced:
        return f"The books do not balance: {len(run.pushes):,} pushed, {run.stats}"
    if not comparison.is_exact:
        return f"Not all arrived as it was pushed: {comparison}."
    if not is_known:
        return "Not all arrived: the properties of the session differ from what was sent."
    return (
        "The session's properties arrived.\n"
        f"All {len(run.pushes):,} events arrived as they were pushed, each once."
    )


async def stay(url: str, show: Callable[[str], object] | None) -> None:
    with caught_signals() as signals:
        click.echo(
            f"Look at them at {url}/\n"
            f"or read them at {url}/api/events.jsonl\n"
            "It stays up until Ctrl-C."
        )
        if show is not None:
            show_page(f"{url}/", show)
        await signals.first.wait()
