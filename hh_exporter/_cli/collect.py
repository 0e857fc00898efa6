"""
`hh-exporter collect`: a server of model events on this machine, until a signal.

The key is never an option: other users of a machine can read a command line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from ipaddress import ip_address

import click

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._quantities import read_duration, read_rate, read_shares
from hh_exporter._cli._report import Report
from hh_exporter._cli._waiting import caught_signals
from hh_exporter._collector import Collector, Faults
from hh_exporter.exceptions import ConfigError, ExporterError

__all__ = ["collect", "collect_command"]

_KEY = "HH_COLLECTOR_API_KEY"


@click.command("collect")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=f"Address of this machine to listen on; beyond loopback {_KEY} must be set.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(),
    help="Keep the events in this SQLite file; without it they end with the command.",
)
@click.option(
    "--max-events",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Keep no more than the latest so many.",
)
@click.option(
    "--max-age", metavar="TIME", callback=read_duration, help="Keep none longer, as 12h or 7d."
)
@click.option(
    "--latency",
    metavar="TIME",
    default="0s",
    callback=read_duration,
    help="Answer so much later, as 30ms.",
)
@click.option(
    "--fault",
    "faults",
    metavar="KIND:PERCENT",
    multiple=True,
    callback=read_shares,
    help="Fail so many requests, as 503:5%: a status from 400 to 599, partial (of a batch every "
    "second event is refused), reset, or hang (no answer). May be repeated.",
)
@click.option(
    "--rate-limit",
    metavar="RATE",
    callback=read_rate,
    help="Answer 429 and Retry-After to requests beyond it, as 100/s.",
)
def collect_command(
    host: str,
    port: int,
    db: str | None,
    max_events: int,
    max_age: float | None,
    latency: float,
    faults: Mapping[str, float],
    rate_limit: float | None,
) -> None:
    """
    Collect model events on this machine, until Ctrl-C.

    Takes what the HoneyHive API takes, and shows it on a page. Asks for no key,
    unless HH_COLLECTOR_API_KEY is set. To send to it, give its address as `--url`
    or HH_API_URL.
    """
    api_key = os.environ.get(_KEY, "").strip() or None
    if api_key is None and not _is_loopback(host):
        raise click.BadParameter(
            f"{host} is no loopback address, so others can reach it: set {_KEY} to a key that "
            "they must know, or serve this machine alone: 127.0.0.1, ::1 or localhost.",
            param_hint="'--host'",
        )
    try:
        injected = Faults(latency=latency, rate_limit=rate_limit, faults=faults)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    collector = Collector(
        db=db,
        host=host,
        port=port,
        api_key=api_key,
        max_events=max_events,
        max_age=max_age,
        faults=injected,
    )
    asyncio.run(collect(collector, Report()))


async def collect(collector: Collector, report: Report) -> None:
    """
    Run *collector* until SIGINT or SIGTERM.

    Raises:
        CallError: It can't listen, or not use its database.
    """
    with caught_signals() as signals:
        try:
            await collector.start()
        except ExporterError as exc:
            raise CallError(str(exc)) from None
        try:
            # In one piece: a script may read the first line and hang up.
            click.echo(
                f"collecting at {collector.url}\n"
                f"look at them at {collector.url}/\n"
                f"read them at {collector.url}/api/events.jsonl; Ctrl-C ends"
            )
            await signals.first.wait()
            await collector.stop()  # what it finishes counts, too
            count = await collector.count()
        finally:
            await collector.aclose()
    verb, noun = ("was", "1 event") if count == 1 else ("were", f"{count:,} events")
    where = f" in {click.format_filename(collector.db)}" if collector.db is not None else ""
    latest = "the latest " if count == collector.max_events else ""  # older ones made room
    report.say(f"{latest}{noun} {verb} collected{where}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
