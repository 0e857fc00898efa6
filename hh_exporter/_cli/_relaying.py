"""
Run a relay until a signal: progress, numbers, and the books at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import orjson
from attrs import define, field

from hh_exporter._cli._errors import CallError, UndoneError
from hh_exporter._cli._metrics import serve_metrics
from hh_exporter._cli._quantities import read_duration
from hh_exporter._cli._report import Report
from hh_exporter._cli._waiting import caught_signals, repeated, run_unless
from hh_exporter._clock import Clock, SystemClock
from hh_exporter._environment import read_settings
from hh_exporter._fleet.plan import PREFETCH, Names
from hh_exporter._settings.jetstream import JetStream
from hh_exporter.exceptions import ConfigError

if TYPE_CHECKING:  # loaded where a relay runs, with the client of NATS
    from hh_exporter._fleet.books import RelayStats
    from hh_exporter._fleet.relay import Relay

__all__ = ["relaying_options", "run_relay"]

F = TypeVar("F", bound=Callable[..., Any])

_LOOPBACK: Final = "127.0.0.1"
_MOST: Final = 10_000


def relaying_options(command: F) -> F:
    """
    Add the options of a relay that runs.
    """
    for option in reversed(
        (
            click.option(
                "--prefetch",
                metavar="MESSAGES",
                type=click.IntRange(1, _MOST),
                default=PREFETCH,
                show_default=True,
                help="How many it has in hand at most. Those of all relays together must not "
                "exceed the consumer's max_ack_pending.",
            ),
            click.option(
                "--metrics",
                metavar="[HOST:]PORT",
                callback=_read_address,
                help="Serve its numbers to Prometheus there; without HOST on this machine alone.",
            ),
            click.option(
                "--every",
                metavar="TIME",
                default="10s",
                show_default=True,
                callback=read_duration,
                help="With --json: how often to print a line.",
            ),
        )
    ):
        command = option(command)
    return command


def run_relay(
    access: JetStream,
    names: Names,
    environ: Mapping[str, str],
    *,
    prefetch: int,
    metrics: tuple[str, int] | None,
    every: float,
    as_json: bool,
) -> None:
    """
    Run a relay in a loop of its own, until SIGINT or SIGTERM.

    Raises:
        CallError: A setting can't be used.
        UndoneError: The streams are not there, or lose events.
    """
    from hh_exporter._fleet.relay import Relay

    try:
        settings = read_settings({"jetstream": access, "dialect": names.dialect}, environ)
        settings.warn()
    except ConfigError as exc:
        raise CallError(str(exc)) from None

    async def run() -> None:
        try:
            made = Relay(settings=settings, names=names, prefetch=prefetch)
        except ConfigError as exc:
            raise CallError(str(exc)) from None
        await _Running(relay=made, every=every, as_json=as_json).run(metrics)

    report = Report()
    with report.logs():
        asyncio.run(run())


def _read_address(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[str, int] | None:
    if text is None:
        return None
    try:
        url = urlsplit(f"//{text if ':' in text else f'{_LOOPBACK}:{text}'}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if not host or port is None or url.path:
        raise click.BadParameter(f"{text!r} is no port, or host and port, such as 0.0.0.0:9464.")
    return host, port


@define(eq=False, kw_only=True)
class _Running:
    """
    A relay that runs, and what is said of it.
    """

    relay: Relay
    every: float
    as_json: bool
    report: Report = field(factory=Report)
    clock: Clock = field(factory=SystemClock)
    _said_at: float = field(default=0.0, init=False)
    _last: tuple[int, str] = field(default=(0, ""), init=False)

    async def run(self, metrics: tuple[str, int] | None) -> None:
        with ExitStack() as stack:
            if metrics is not None:
                stack.callback(serve_metrics(self.relay.stats, *metrics))
            signals = stack.enter_context(caught_signals())
            stack.enter_context(self.report.progress("relaying"))
            self._said_at = self.clock.now()
            try:
                await run_unless(self._start(), signals.first)
                async with repeated(self._look, self.clock):
                    await signals.first.wait()
            except* ConfigError as group:
                first: BaseException = group
                while isinstance(first, BaseExceptionGroup):
                    first = first.exceptions[0]
                raise UndoneError(str(first)) from None
            finally:
                await run_unless(self.relay.aclose(), signals.second)
        self._say_end()

    async def _start(self) -> None:
        names, servers = self.relay.names, self.relay.settings.jetstream
        assert servers is not None  # noqa: S101
        if not self.as_json:
            to = self.relay.settings.base_url
            self.report.say(f"relaying {names.events} from {servers.address} to {to}; Ctrl-C ends")
        await self.relay.start()

    def _look(self) -> None:
        stats = self.relay.stats()
        settled = stats.delivered + stats.rejected + stats.dropped
        left = max(stats.backlog or 0, stats.queued + stats.in_flight)
        self.report.show(settled, settled + left)
        now = self.clock.now()
        if now < self._said_at + self.every:
            return
        self._said_at = now
        if self.as_json:
            click.echo(orjson.dumps(self.relay.describe()).decode())
        elif (settled, stats.health) != self._last:
            self._last = settled, stats.health
            self.report.note(self._tell(stats))

    def _say_end(self) -> None:
        if self.as_json:
            click.echo(orjson.dumps(self.relay.describe()).decode())
        else:
            self.report.say(self._tell(self.relay.stats()))

    def _tell(self, stats: RelayStats) -> str:
        numbers = {
            "taken": stats.recovered,
            "delivered": stats.delivered,
            "rejected": stats.rejected,
            "dropped": stats.dropped,
            "given back": stats.returned,
            "queued": stats.queued,
            "in flight": stats.in_flight,
            "redelivered": stats.redelivered,
            "unconfirmed": stats.unconfirmed,
        }
        told = ", ".join(f"{number:,} {what}" for what, number in numbers.items())
        is_over = stats.health == "closed"
        why = f": {stats.health_reason}" if stats.health_reason else ""
        return told if is_over or stats.health == "ok" else f"{told}; {stats.health}{why}"
