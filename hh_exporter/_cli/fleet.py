"""
`hh-exporter fleet`: what waits in the streams, who delivers it, and what is wrong.

It only looks: streams, consumer and relays are as they were.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._errors import UndoneError
from hh_exporter._cli._quantities import tell_size
from hh_exporter._cli._report import Report, print_columns, printable
from hh_exporter._cli._setup import check_option
from hh_exporter._cli._spools import tell_count, tell_time
from hh_exporter._cli._stream import (
    access_options,
    connected,
    name_options,
    read_access,
    read_names,
)
from hh_exporter._cli._waiting import caught_signals, run_unless
from hh_exporter._clock import Clock, Deadline, SystemClock
from hh_exporter._fleet.plan import PREFETCH, Names
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._settings.kinds import seconds

if TYPE_CHECKING:
    from hh_exporter._fleet.advice import Advice
    from hh_exporter._fleet.census import RelayAnswer
    from hh_exporter._fleet.streams import ConsumerState, State, StreamState
    from hh_exporter._transport.nats import Connection

__all__ = ["Sight", "Watch", "fleet_command"]

_PATIENCE = 10.0
"""Seconds for the answers of the cluster."""
_BETWEEN = 1.0
"""Seconds between two looks that make a rate, in which relays can answer."""
_STREAMS = ("stream", "messages", "size", "of", "used", "oldest", "servers")
_CONSUMERS = ("consumer", "waiting", "in hand", "redelivered", "servers")
_RELAYS = (
    *("relay", "host", "pid", "version", "dialect", "since", "health"),
    *("delivered", "rejected", "dropped", "returned", "queued", "in flight"),
    *("redelivered", "unconfirmed"),
)


@click.command("fleet")
@access_options
@name_options
@click.option(
    "--watch",
    metavar="SECONDS",
    type=float,
    callback=check_option(seconds()),
    help="Look again and again, until Ctrl-C.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each look.")
def fleet_command(*, watch: float | None, as_json: bool, **given: Any) -> None:
    """
    Show the streams of a fleet, its relays, and what is wrong.

    Shows what waits in the stream of events and how old it is, what relays have in
    hand, how many dead letters there are, which relays answer within a second, with
    their counters, and how much is published and delivered per second. Names
    settings that lose events, or may.

    Exits with 0, with 1 if something loses events or the cluster can't be asked, and
    with 2 for a wrong call.
    """
    access = read_access(given, os.environ)
    names = read_names(given, access, os.environ)
    watching = Watch(access, names, SystemClock(), as_json)
    asyncio.run(watching.run(watch))
    raise SystemExit(0 if watching.is_safe else 1)


@frozen(kw_only=True)
class Sight:
    """
    What two looks found, a second apart or more.
    """

    state: State
    relays: list[RelayAnswer]
    advice: list[Advice]
    published: float
    """Messages per second that came into the stream."""
    delivered: float
    """Messages per second that were acknowledged: delivered, or dead letters now."""
    at: float
    """Unix time of the second look."""

    @property
    def is_safe(self) -> bool:
        return not any(each.loses_events for each in self.advice)


class Watch:
    """
    Looks at a fleet, once or again and again, and prints each sight.
    """

    def __init__(self, access: JetStream, names: Names, clock: Clock, as_json: bool) -> None:
        self._access = access
        self._names = names
        self._clock = clock
        self._as_json = as_json
        self.is_safe = False
        """Whether there was a sight, and the last one had nothing that loses events."""

    async def run(self, every: float | None) -> None:
        """
        Look once, or again *every* so many seconds until a signal comes.

        Raises:
            UndoneError: The cluster can't be asked.
        """
        problem: UndoneError | None = None

        async def repeat() -> None:
            nonlocal problem
            while True:
                try:
                    await self._repeat(every)
                except UndoneError as exc:
                    problem = exc
                    if every is not None:
                        Report().say(f"Error: {exc.message}")
                        await self._clock.sleep(every)
                        continue
                return

        with caught_signals() as signals:
            await run_unless(repeat(), signals.first)
        if problem is not None and every is None:
            raise problem

    async def _repeat(self, every: float | None) -> None:
        async with connected(self._access, "operator", self._clock) as connection:
            while True:
                sight = await self._see(connection)
                self.is_safe = sight.is_safe
                if self._as_json:
                    click.echo(orjson.dumps(_summarize(sight)).decode())
                else:
                    if every is not None:
                        click.echo(f"{tell_time(sight.at)}\n")
                    _show(sight)
                if every is None:
                    return
                if not self._as_json:
                    click.echo()
                await self._clock.sleep(max(0.0, every - _BETWEEN))

    async def _see(self, connection: Connection) -> Sight:
        from hh_exporter._fleet.advice import compare
        from hh_exporter._fleet.census import ask_relays

        first, began = await self._look(connection), self._clock.now()
        relays = await ask_relays(connection, self._names.relays, _BETWEEN)
        second = await self._look(connection)
        elapsed = self._clock.now() - began
        ours = [one for one in relays if one.dialect == self._names.dialect]
        prefetch = max((one.prefetch for one in ours), default=0) or PREFETCH
        published, delivered = _rates(first.events, second.events, elapsed)
        return Sight(
            state=second,
            relays=relays,
            advice=compare(
                second,
                max_event_bytes=self._access.max_event_bytes,
                relays=len(ours),
                prefetch=prefetch,
            ),
            published=published,
            delivered=delivered,
            at=self._clock.wall(),
        )

    async def _look(self, connection: Connection) -> State:
        from hh_exporter._fleet.streams import look

        deadline = Deadline.after(self._clock, _PATIENCE)
        return await look(connection, self._names, deadline, with_limits=True)


def _rates(
    first: StreamState | None, second: StreamState | None, elapsed: float
) -> tuple[float, float]:
    """
    Find how many messages came and went each second between two looks.
    """
    if first is None or second is None or elapsed <= 0:
        return 0.0, 0.0
    came = second.last_seq - first.last_seq
    went = came - (second.messages - first.messages)
    return max(0, came) / elapsed, max(0, went) / elapsed


def _show(sight: Sight) -> None:
    state = sight.state
    if rows := [_stream_cells(one, sight.at) for one in _streams(state)]:
        print_columns(_STREAMS, rows)
        click.echo()
    if state.consumer is not None:
        one = state.consumer
        servers = _tell_servers(one)
        numbers = (f"{n:,}" for n in (one.waiting, one.in_hand, one.redelivered))
        print_columns(_CONSUMERS, [(one.name, *numbers, servers)])
        click.echo()
    if sight.relays:
        print_columns(_RELAYS, map(_relay_cells, sight.relays))
    else:
        click.echo("no relay answers: nothing is delivered until one is started")
    click.echo(f"\npublished {sight.published:,.1f}/s, delivered {sight.delivered:,.1f}/s")
    letters = 0 if state.dead is None else state.dead.messages
    click.echo(f"{tell_count(len(sight.relays), 'relay')}, {tell_count(letters, 'dead letter')}")
    for each in sight.advice:
        kind = "this loses events" if each.loses_events else "warning"
        click.echo(f"{kind}: {printable(each.text)}")


def _streams(state: State) -> Iterator[StreamState]:
    yield from filter(None, (state.events, state.dead))


def _stream_cells(one: StreamState, now: float) -> tuple[str, ...]:
    most = int(one.config.get("max_bytes", -1))
    return (
        one.name,
        f"{one.messages:,}",
        tell_size(one.bytes),
        tell_size(most) if most > 0 else "no limit",
        f"{one.bytes / most:.1%}" if most > 0 else "",
        "" if one.oldest_at is None else tell_age(now - one.oldest_at),
        _tell_servers(one),
    )


def _relay_cells(one: RelayAnswer) -> tuple[str, ...]:
    from hh_exporter._fleet.books import BOOKS

    health = one.health + (f" ({one.health_reason})" if one.health_reason else "")
    numbers = (f"{one.books[name]:,}" for name in BOOKS if name != "recovered")
    since = tell_time(one.since)
    return one.id[:8], one.host, str(one.pid), one.version, one.dialect, since, health, *numbers


def _tell_servers(part: StreamState | ConsumerState) -> str:
    """
    Name the servers that keep something, the leader first.
    """
    told = [f"{part.leader} leads"] if part.leader else ["no leader"] * part.is_clustered
    for one in part.replicas:
        state = (
            " is away" if one.is_offline else "" if one.is_current else f" is {one.lag:,} behind"
        )
        told.append(one.name + state)
    return ", ".join(told)


def tell_age(seconds_: float) -> str:
    """
    Write a duration in its largest unit, with two digits or more.
    """
    age = max(0.0, seconds_)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if age >= 2 * size:
            return f"{age / size:.1f} {unit}"
    return f"{age:.1f} s"


def _summarize(sight: Sight) -> dict[str, Any]:
    state = sight.state
    return {
        "at": sight.at,
        "streams": {
            kind: None if one is None else _stream_json(one)
            for kind, one in (("events", state.events), ("dead", state.dead))
        },
        "consumer": None
        if state.consumer is None
        else {
            "name": state.consumer.name,
            "waiting": state.consumer.waiting,
            "in_hand": state.consumer.in_hand,
            "redelivered": state.consumer.redelivered,
            "leader": state.consumer.leader,
        },
        "relays": [attrs.asdict(one) for one in sight.relays],
        "published_per_second": round(sight.published, 3),
        "delivered_per_second": round(sight.delivered, 3),
        "warnings": [attrs.asdict(each) for each in sight.advice],
    }


def _stream_json(one: StreamState) -> dict[str, Any]:
    return {
        "name": one.name,
        "messages": one.messages,
        "bytes": one.bytes,
        "max_bytes": one.config.get("max_bytes"),
        "oldest_at": one.oldest_at,
        "leader": one.leader,
        "replicas": [attrs.asdict(each) for each in one.replicas],
    }
